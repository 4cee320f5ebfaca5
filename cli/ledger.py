"""Commands `verify` and `derive`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import invalid, require_known, require_whole
from .emitting import Plain, emit
from .options import FIGURES_FOLDER, DataDir, Device, Download, Json, Seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..claims import Claim, Entry, ExperimentEntry, Settings


def verify(
    *,
    only: Annotated[
        str | None, typer.Option(help="One room (theory, simulations, neural) or one claim's id.")
    ] = None,
    data_dir: DataDir = None,
    download: Download = False,
    output: Annotated[
        Path | None, typer.Option(help="Also write the ledger: .md as a page, else JSON.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write the page of claims and figures that report makes.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help=f"Folder of figures, whose verdicts are listed; default: {FIGURES_FOLDER}."),
    ] = None,
    evidence: Annotated[
        bool,
        typer.Option("--evidence", help="Also print corrections and tables; a single claim always does."),
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check every claim of the ledger and print the verdicts; exit code 1 if one is not upheld."""
    from ..claims import CLAIMS, Settings, experiment_entries, failed_entries, ledger_parts
    from ..neural import load_images, resolve_device
    from ..records import require_writable

    chosen = [claim for claim in CLAIMS if only in {None, claim.room, claim.id}]
    if not chosen:
        names = sorted({claim.room for claim in CLAIMS}) + [claim.id for claim in CLAIMS]
        require_known("--only", str(only), names)
    require_whole("seed", seed, least=0, example=0)
    resolve_device(device)
    if data_dir is not None or download:
        load_images(data_dir, download=download, progress=True)
    for path in (output, report):
        if path is not None:
            require_writable(path)
    settings = Settings(seed=seed, device=device, data_dir=data_dir, download=download)
    kept = experiment_entries(figures or FIGURES_FOLDER) if only is None else []
    entries = _checked(chosen, settings, kept, output)
    parts = ledger_parts(entries, kept, evidence=evidence or len(chosen) == 1)
    if report is not None:
        parts.append(_write_report(entries, kept, report))
    emit(Plain(_ledger(entries, kept), parts), as_json=as_json)
    if failed_entries(entries) or len(entries) < len(chosen):
        raise typer.Exit(1)


def _checked(
    chosen: Sequence[Claim], settings: Settings, kept: Sequence[ExperimentEntry], output: Path | None
) -> list[Entry]:
    """The entries, written as they are found; an interruption ends them."""
    from ..claims import verify as check
    from .console import ledger_progress, stderr

    entries: list[Entry] = []
    try:
        with ledger_progress(len(chosen)) as progress:
            for entry in check(chosen, settings, lambda claim, fraction: progress(claim.id, fraction)):
                entries.append(entry)
                if output is not None:
                    _write_ledger(entries, kept, output)
    except KeyboardInterrupt:
        stderr().print(f"interrupted after {len(entries)} of {len(chosen)} claims")
    return entries


def derive(
    *,
    name: Annotated[str | None, typer.Argument(help="A statement, as listed without one.")] = None,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX (amsmath) for a paper.")] = False,
    as_json: Json = False,
) -> None:
    """Derive a statement step by step; without a name, list the statements. Exit code 1 if a step fails."""
    from ..theory.symbolic import DERIVATIONS, build_derivation
    from .console import progress_bar
    from .derivations import derivation_parts, list_parts

    if latex and (as_json or name is None):
        given = "--latex --json" if as_json else "--latex"
        raise invalid(
            given, name or "no name", accepted="a name with one of them", remedy="derive 5.1 --latex"
        )
    if name is None:
        found_all = []
        with progress_bar("deriving") as update:
            for known in DERIVATIONS:
                found_all.append(build_derivation(known))
                update(len(found_all), len(DERIVATIONS))
        fields = ("name", "title", "source", "holds")
        listed = [{field: found.to_json()[field] for field in fields} for found in found_all]
        emit(Plain(listed, list_parts(found_all)), as_json=as_json)
        return
    found = build_derivation(name)
    parts = [found.latex] if latex else derivation_parts(found)
    emit(Plain(found.to_json(), parts), as_json=as_json)
    if not found.holds:
        raise typer.Exit(1)


def _write_report(entries: Sequence[Entry], kept: Sequence[ExperimentEntry], report: Path) -> str:
    """Write the page of the ledger; where it is, in words."""
    from ..records import to_json
    from .report import page_words, write_page

    document, command = to_json(_ledger(entries, kept)), "superconsistency verify --report"
    return page_words(report, write_page(document, None, (), report, command=command))


def _ledger(entries: Sequence[Entry], kept: Sequence[ExperimentEntry]) -> dict[str, object]:
    from ..claims import count_verdicts
    from ..records import versions

    return {
        "summary": count_verdicts(entries),
        "claims": [entry.to_json() for entry in entries],
        "experiments": [one._asdict() for one in kept],
        "versions": versions(),
    }


def _write_ledger(entries: Sequence[Entry], kept: Sequence[ExperimentEntry], output: Path) -> None:
    from ..claims import count_verdicts, to_markdown
    from ..records import write_atomically

    if output.suffix == ".md":
        text = to_markdown(entries, f"Ledger of {count_verdicts(entries)}", kept)
    else:
        text = json.dumps(_ledger(entries, kept), indent=2) + "\n"
    write_atomically(output, lambda path: path.write_text(text))
