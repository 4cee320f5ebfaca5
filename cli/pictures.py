"""Command `figure`: the figures of the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import require_known, require_whole
from .emitting import Plain, emit
from .options import DataDir, Device, Download, Json, Seed, Workers

_ALL = "all"
"""Stands for every figure."""

RUNS = ".runs"
"""Folder beside the figures, in which the runs of networks are kept."""


def figure(
    *,
    name: Annotated[
        str, typer.Argument(help="As listed without one, such as 10 or portrait; all makes every one.")
    ] = "",
    scale: Annotated[
        str,
        typer.Option(
            help="smoke: seconds; laptop: 15 minutes on two cores at most, 30 for 1; paper: as published."
        ),
    ] = "laptop",
    data_dir: DataDir = None,
    download: Download = False,
    output: Annotated[Path, typer.Option(help="Folder for the PDF, PNG and JSON.")] = Path(),
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Make a figure, and score what it claims; without a name, list the figures.

    Runs are kept in .runs beside it: rerun the same command to resume, to redraw or to score again.
    """
    import matplotlib as mpl

    mpl.use("agg")
    from ..experiments.gallery import FigureSettings, draw_figure, figure_list, save_drawing
    from ..records import require_writable
    from .console import progress_bar

    if not name:
        _list(as_json=as_json)
        return
    require_known("figure", name, (*figure_list(), _ALL))
    require_whole("seed", seed, least=0, example=0)
    _check_device(device)
    chosen = tuple(figure_list()) if name == _ALL else (name,)
    for one in chosen:
        require_writable(output / f"figure-{one}.png")
    documents = []
    for one in chosen:
        with progress_bar(f"figure {one}") as progress:
            drawing = draw_figure(
                one,
                FigureSettings(scale, seed, device, data_dir, download, progress, output / RUNS, workers),
            )
        paths = save_drawing(drawing, output / f"figure-{one}")
        found = {"verdict": drawing.verdict, "numbers": drawing.numbers}
        documents.append({"figure": one, "files": list(map(str, paths)), **found})
        if not as_json:
            emit(Plain(documents[-1], drawing.parts), written=paths)
    if as_json:
        emit(Plain(documents if name == _ALL else documents[0]), as_json=True)


def _check_device(device: str) -> None:
    """Refuse a device that is not there; `auto` always is, and needs no PyTorch to say so."""
    if device != "auto":
        from ..neural import resolve_device

        resolve_device(device)


def _list(*, as_json: bool) -> None:
    """What there is to draw."""
    from ..experiments.gallery import figure_list
    from ..records.tables import Table

    known = figure_list()
    rows = tuple((name, entry.title, ", ".join(entry.scales)) for name, entry in known.items())
    titles = {name: entry.title for name, entry in known.items()}
    listed = Table("superconsistency figure NAME", ("name", "figure", "scales"), rows)
    emit(Plain(titles, [listed]), as_json=as_json)
