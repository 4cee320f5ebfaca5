"""Command `figure`: the figures of the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import require_known, require_whole
from .options import DataDir, Device, Download, Json, Seed, Workers

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure


RUNS = ".runs"
"""Folder beside the figures, in which the runs of networks are kept."""


def figure(
    *,
    name: Annotated[str, typer.Argument(help="As listed without one, such as 10 or portrait.")] = "",
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
    from .. import figures
    from ..experiments.gallery import draw_figure, figure_list
    from ..neural import resolve_device
    from ..records import require_writable
    from .console import print_json, progress_bar, stdout

    if not name:
        _list(as_json=as_json)
        return
    require_known("figure", name, tuple(figure_list()))
    require_whole("seed", seed, least=0, example=0)
    resolve_device(device)
    stem = output / f"figure-{name}"
    require_writable(stem.with_suffix(".png"))
    with progress_bar(f"figure {name}") as progress:
        settings = figures.FigureSettings(
            scale, seed, device, data_dir, download, progress, output / RUNS, workers
        )
        drawing = draw_figure(name, settings)
    paths = [str(path) for path in figures.save_drawing(drawing, stem)]
    if as_json:
        print_json({"figure": name, "files": paths, "verdict": drawing.verdict, "numbers": drawing.numbers})
    else:
        stdout().print(f"figure {name}: {drawing.verdict}\n" + "\n".join(paths), soft_wrap=True)


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draw, without a screen and in the paper's style, into a file; for the commands with `--figure`."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    from ..figures import paper_style, save_picture

    with paper_style():
        drawn = draw()
    save_picture(drawn, path)
    plt.close(drawn)


def _list(*, as_json: bool) -> None:
    """What there is to draw."""
    from rich.table import Table

    from ..experiments.gallery import figure_list
    from .console import print_json, stdout

    known = figure_list()
    if as_json:
        print_json({name: entry.title for name, entry in known.items()})
        return
    table = Table(title="superconsistency figure NAME")
    for column in ("name", "figure", "scales"):
        table.add_column(column)
    for name, entry in known.items():
        table.add_row(name, entry.title, ", ".join(entry.scales))
    stdout().print(table)
