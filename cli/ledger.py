"""Commands `verify` and `derive`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import invalid, require_known, require_whole
from .options import DataDir, Device, Download, Json, Seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..claims import Claim, Entry, Settings


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
    evidence: Annotated[
        bool,
        typer.Option("--evidence", help="Also print corrections and tables; a single claim always does."),
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check every claim of the ledger and print the verdicts; exit code 1 if one is not upheld."""
    from ..claims import CLAIMS, Settings, failed_entries
    from ..neural import load_images, resolve_device
    from ..records import require_writable
    from .console import print_json, print_ledger

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
    entries = _checked(chosen, settings, output)
    if as_json:
        print_json(_ledger(entries))
    else:
        print_ledger(entries, evidence=evidence or len(chosen) == 1)
    if report is not None:
        _write_report(entries, report, as_json=as_json)
    if failed_entries(entries) or len(entries) < len(chosen):
        raise typer.Exit(1)


def _checked(chosen: Sequence[Claim], settings: Settings, output: Path | None) -> list[Entry]:
    """The entries, written as they are found; an interruption ends them."""
    from ..claims import verify as check
    from .console import ledger_progress, stderr

    entries: list[Entry] = []
    try:
        with ledger_progress(len(chosen)) as progress:
            for entry in check(chosen, settings, lambda claim, fraction: progress(claim.id, fraction)):
                entries.append(entry)
                if output is not None:
                    _write_ledger(entries, output)
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
    from .console import print_derivation, print_derivations, print_json, progress_bar, stdout

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
        print_derivations(found_all, as_json=as_json)
        return
    found = build_derivation(name)
    if as_json:
        print_json(found.to_json())
    elif latex:
        stdout().print(found.latex, soft_wrap=True)
    else:
        print_derivation(found)
    if not found.holds:
        raise typer.Exit(1)


def _write_report(entries: Sequence[Entry], report: Path, *, as_json: bool) -> None:
    from ..records import to_json
    from .console import stdout
    from .report import write_page

    size = write_page(to_json(_ledger(entries)), None, (), report, command="superconsistency verify --report")
    if not as_json:
        stdout().print(f"report: {report} ({size / 1e6:.1f} MB)", soft_wrap=True)


def _ledger(entries: Sequence[Entry]) -> dict[str, object]:
    from ..records import versions
    from .console import count_verdicts

    return {
        "summary": count_verdicts(entries),
        "claims": [entry.to_json() for entry in entries],
        "versions": versions(),
    }


def _write_ledger(entries: Sequence[Entry], output: Path) -> None:
    from ..claims import to_markdown
    from ..records import write_atomically
    from .console import count_verdicts

    if output.suffix == ".md":
        text = to_markdown(entries, f"Ledger of {count_verdicts(entries)}")
    else:
        text = json.dumps(_ledger(entries), indent=2) + "\n"
    write_atomically(output, lambda path: path.write_text(text))
