"""Command `report`: claims, figures and results as one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import invalid
from .emitting import Plain, emit
from .options import FIGURES_FOLDER, Json, Seed

if TYPE_CHECKING:
    from collections.abc import Sequence

LEDGER, REPORT = Path("results/ledger.json"), Path("results/report.html")
"""Where `make verify` keeps the ledger, and where the report goes."""


def report(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of sweeps, or records, to judge.", show_default=False),
    ] = None,
    *,
    ledger: Annotated[
        Path | None, typer.Option(help=f"JSON of verify --output; default: {LEDGER}, if it is there.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help=f"Folder of figures; default: {FIGURES_FOLDER}, if it is there.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The page.")] = REPORT,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Build one HTML page of claims with their evidence, figures with their verdicts, and results."""
    from ..report import read_ledger

    found = ledger or (LEDGER if LEDGER.exists() else None)
    document = None if found is None else read_ledger(found)
    size = write_page(document, figures, results or [], output, command="superconsistency report", seed=seed)
    emit(Plain({"report": str(output), "bytes": size}, [page_words(output, size)]), as_json=as_json)


def page_words(output: Path, size: int) -> str:
    """Where the page is, and how large."""
    return f"report: {output} ({size / 1e6:.1f} MB)"


def write_page(
    ledger: dict[str, Any] | None,
    figures: Path | None,
    results: Sequence[Path],
    output: Path,
    *,
    command: str,
    seed: int = 0,
) -> int:
    """Write the page; its size in bytes.

    Raises
    ------
    InputError
        If there is nothing to show, a part cannot be read, or the page cannot be written.
    """
    from ..experiments.gallery import figure_list
    from ..records import require_writable
    from ..report import Contents, read_figures, summarise, write_report
    from .console import progress_bar

    require_writable(output)
    folder = figures or (FIGURES_FOLDER if FIGURES_FOLDER.is_dir() else None)
    titles = {name: entry.title for name, entry in figure_list().items()}
    pictures = [] if folder is None else read_figures(folder, titles)
    if ledger is None and not pictures and not results:
        raise invalid(
            "report", "empty", accepted="a ledger, figures or results",
            remedy=f"superconsistency verify --output {LEDGER}",
        )  # fmt: skip
    summaries = []
    with progress_bar("judging results") as update:
        for index, path in enumerate(results):
            summaries.append(summarise(path, seed))
            update(index + 1, len(results))
    write_report(Contents(ledger, pictures, summaries, command=command), output)
    return output.stat().st_size
