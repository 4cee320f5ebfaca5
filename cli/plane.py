"""Commands `portrait` and `bifurcation`: the infinite-width limit under muP as a map of the plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import invalid, require_positive, require_whole
from . import options
from .options import Dimension, Json, Output, Seed, TargetNorm, Widths
from .pictures import save

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from ..figures.drawing import Drawing
    from ..theory import PlanarMap


_MOST_POINTS, _MOST_STEPS = 20_000, 100_000
"""Learning rates of a diagram and steps of a drawn trajectory."""
_ROWS = 16
"""Learning rates that the table of a diagram shows."""


def portrait(
    *,
    dim: Dimension = 3,
    target_norm: TargetNorm = 1.0,
    learning_rate: Annotated[
        float | None, typer.Option(help="Base rate eta0; default: 0.8 of the largest stable one.")
    ] = None,
    plane: Annotated[
        str,
        typer.Option(help="ap: (a, p); xy: universal coordinates; gr: lambda_max of G against that of R."),
    ] = "ap",
    widths: Widths = "64,1024",
    steps: Annotated[int, typer.Option(help="Steps of the trajectories.")] = 60,
    basins: Annotated[bool, typer.Option(help="Colour starts by what they come to.")] = True,
    figure: Annotated[Path, typer.Option("--figure", help="Where to draw it (.png, .pdf, .svg).")] = Path(
        "portrait.png"
    ),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw the phase portrait at infinite width under muP, with finite networks laid over it."""
    from ..theory import PlanarMap

    require_positive("target norm", target_norm, example=1)
    safe = PlanarMap(dim, target_norm, 1.0).largest_safe
    rate = 0.8 * safe if learning_rate is None else learning_rate
    planar = PlanarMap(dim, target_norm, rate)
    # inf, the limit itself, is drawn anyway
    finite = [width for width in options.numbers(widths, "width") if width != float("inf")]
    chosen = tuple(options.whole(width) for width in finite)
    require_whole("seed", seed, least=0, example=0)
    require_whole("steps", steps, least=1, most=_MOST_STEPS, example=60)
    options.check_outputs(None, figure)
    drawing = _portrait(planar, plane, chosen, seed, steps, basins=basins)
    save(lambda: drawing.figure, figure)
    _report(drawing, {"figure": str(figure)}, as_json=as_json)


def bifurcation(
    *,
    dim: Dimension = 20,
    target_norm: TargetNorm = 3.0,
    low: Annotated[
        float, typer.Option("--from", help="Smallest learning rate, over the largest stable one.")
    ] = 0.5,
    high: Annotated[float, typer.Option("--to", help="Largest one, likewise.")] = 2.0,
    points: Annotated[int, typer.Option(help="Learning rates, evenly spaced.")] = 1500,
    output: Output = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Also draw it into this file (.png, .pdf, .svg).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow the infinite-width limit past the edge: periods, Lyapunov exponents, chaos, divergence."""
    import numpy as np

    from .. import theory
    from ..figures.bifurcation import landmarks
    from ..records import save_record
    from ..simulations.attractors import bifurcation_diagram

    require_positive("target norm", target_norm, example=3)
    planar = theory.PlanarMap(dim, target_norm, 1.0)
    require_whole("number of points", points, least=2, most=_MOST_POINTS, example=500)
    if not 0 < low < high < float("inf"):
        raise invalid(
            "range of learning rates", f"{low:g} to {high:g}", accepted="0 < --from < --to",
            remedy="pass --from 0.5 --to 2, for example",
        )  # fmt: skip
    options.check_outputs(output, figure)
    record = bifurcation_diagram(dim, target_norm, factors=np.linspace(low, high, points).tolist())
    if output is not None:
        save_record(record, output)
    if figure is not None:
        _draw_diagram(record, planar, figure)
    paths = {"record": output, "figure": figure}
    written = {name: None if path is None else str(path) for name, path in paths.items()}
    if as_json:
        _print_diagram(record, landmarks(record), written)
        return
    _show_diagram(record, landmarks(record))
    _say_written(written)


def _portrait(
    planar: PlanarMap, plane: str, widths: tuple[float, ...], seed: int, steps: int, *, basins: bool
) -> Drawing:
    import matplotlib as mpl

    mpl.use("agg")
    from ..figures.phase_plane import Layers, plane_portrait
    from ..figures.style import paper_style

    layers = Layers(plane, widths, seed, steps, basins, ellipse=plane == "xy")
    with paper_style():
        return plane_portrait(planar, layers)


def _draw_diagram(record: xr.Dataset, planar: PlanarMap, figure: Path) -> None:
    from ..figures.bifurcation import bifurcation_figure

    save(lambda: bifurcation_figure(record, planar).figure, figure)


def _report(drawing: Drawing, written: Mapping[str, str | None], *, as_json: bool) -> None:
    """A drawing's verdict and numbers."""
    from rich.table import Table

    from .console import print_json, stdout

    if as_json:
        document = {"verdict": drawing.verdict, "numbers": drawing.numbers}
        print_json(document | {"configuration": drawing.configuration} | dict(written))
        return
    table = Table()
    table.add_column("quantity")
    table.add_column("value", justify="right")
    for name, value in drawing.numbers.items():
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    stdout().print(table)
    stdout().print(drawing.verdict, soft_wrap=True)
    _say_written(written)


def _say_written(written: Mapping[str, str | None]) -> None:
    from .console import stdout

    for path in written.values():
        if path is not None:
            stdout().print(f"written: {path}", soft_wrap=True)


def _print_diagram(record: xr.Dataset, found: Mapping[str, float], written: Mapping[str, str | None]) -> None:
    """The diagram as one JSON document, without the points of the attractor, which the record keeps."""
    from ..records import record_to_json
    from .console import print_json

    summary = record.drop_dims("sample")
    print_json({"landmarks": dict(found), "diagram": record_to_json(summary)} | dict(written))


def _show_diagram(record: xr.Dataset, found: Mapping[str, float]) -> None:
    """Some of the learning rates as a table, then what is first met where."""
    import numpy as np
    from rich.table import Table

    from .console import stdout

    table = Table(title="attractor of the infinite-width limit from initialisation")
    for heading in (
        "eta0",
        "over the edge",
        "period",
        "largest exponent",
        "second exponent",
        "diverged at step",
    ):
        table.add_column(heading, justify="right")
    chosen = np.unique(np.linspace(0, record.sizes["learning_rate"] - 1, _ROWS).round().astype(int))
    for k in chosen:
        row = record.isel(learning_rate=int(k))
        period, step = int(row["period"]), int(row["diverged_step"])
        exponents = (
            "" if step >= 0 else f"{float(row[name]):.4f} ± {float(row[name + '_error']):.4f}"
            for name in ("lyapunov", "lyapunov_second")
        )  # fmt: skip
        table.add_row(
            f"{float(row['learning_rate']):.4g}",
            f"{float(row['factor']):.4f}",
            {0: "none up to 64", -1: "diverged"}.get(period, str(period)),
            *exponents,
            "" if step < 0 else str(step),
        )
    stdout().print(table)
    for name, value in found.items():
        stdout().print(f"{name}: {'not met' if np.isnan(value) else f'{value:.4f}'}")
