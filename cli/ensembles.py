"""Commands `error-bars` and `edge-of-stability`: what ensembles over starts and widths show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .options import Dimension, Json, Name, Output, Picture, Seed, Seeds, TargetNorm, Widths
from .pictures import save

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from rich.table import Table


def error_bars(
    *,
    dim: Dimension = 10,
    widths: Widths = "64,1024,16384",
    target_norm: TargetNorm = 1.0,
    learning_rate: Annotated[float, typer.Option(help="Base rate eta0.")] = 0.5,
    steps: Annotated[int, typer.Option(help="Gradient-descent steps.")] = 30,
    seeds: Seeds = 200,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Predict the error bars over starts at every width and step under muP, and sample them."""
    from ..simulations import schedule
    from ..simulations.error_bars import sample_error_bars
    from ..theory import IsotropicTarget
    from .console import progress_bar

    options.check_outputs(output, figure)
    with progress_bar("sampling") as progress:
        bars = sample_error_bars(
            IsotropicTarget(dim, target_norm),
            learning_rate,
            widths=options.numbers(widths, "width"),
            seeds=options.seeds(seed, seeds),
            record_at=schedule(steps, max(1, steps // 30)),
            on_progress=progress,
        )
    _keep(bars, output)
    if figure is not None:
        from ..figures.fluctuations import error_bars_figure

        save(lambda: error_bars_figure(bars), figure)
    _report(bars, error_bars_table(bars), (output, figure), as_json=as_json)


def edge_of_stability(
    *,
    parametrization: Name = "mup",
    dim: Dimension = 10,
    widths: Widths = "64,1024,16384",
    target_norm: TargetNorm = 1.0,
    relative_rates: Annotated[
        str, typer.Option(help="Learning rates over the narrowest width's edge, comma-separated.")
    ] = "0.25,0.5,0.75,0.9,0.97,1.05",
    steps: Annotated[int, typer.Option(help="Gradient-descent steps.")] = 2000,
    seeds: Seeds = 5,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Follow the sharpness towards 2/eta0 at learning rates below, near and beyond the edge."""
    from .. import theory
    from ..simulations.edge import approach_edge
    from .console import progress_bar

    options.check_outputs(output, figure)
    with progress_bar("approaching the edge") as progress:
        runs = approach_edge(
            theory.parametrization(parametrization),
            theory.IsotropicTarget(dim, target_norm),
            widths=options.numbers(widths, "width"),
            relative_rates=options.numbers(relative_rates, "learning rate over the edge", "0.5,0.97"),
            seeds=options.seeds(seed, seeds),
            steps=steps,
            on_progress=progress,
        )
    _keep(runs, output)
    if figure is not None:
        from ..figures.edge import edge_figure

        save(lambda: edge_figure(runs), figure)
    _report(runs, edge_table(runs, parametrization), (output, figure), as_json=as_json)


def error_bars_table(bars: xr.Dataset) -> Table:
    """By quantity and width: predicted and sampled deviation at the last step where first order holds."""
    from rich.table import Table

    from ..simulations.error_bars import covered

    table = Table(title="standard deviation over starts, at the last step where first order holds")
    headings = ("quantity", "N", "step", "predicted", "sampled", "95% interval", "cells covered", "cells")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "quantity" else "right")
    inside = covered(bars)
    for name in bars["quantity"].to_numpy():
        for width in bars["width"].to_numpy():
            at = {"quantity": name, "width": width}
            cells = inside.sel(at).dropna("step")
            head = (str(name), f"{width:g}")
            if cells.size == 0:
                table.add_row(*head, *("none",) * 5, "0")
                continue
            one = bars.sel(at).sel(step=cells["step"][-1])
            interval = f"{float(one['lower']):.4g} to {float(one['upper']):.4g}"
            values = (f"{float(one[key]):.4g}" for key in ("predicted", "sampled"))
            share = f"{float(cells.mean()):.0%}"
            table.add_row(*head, f"{int(one['step'])}", *values, interval, share, f"{cells.size}")
    return table


def edge_table(runs: xr.Dataset, name: str) -> Table:
    """By width and learning rate: where the sharpness ends against 2/eta0, and when it reaches 0.9 of it."""
    from rich.table import Table

    from ..simulations.edge import EDGE_SHARE

    table = Table(title=f"sharpness against 2/eta0 under {name}, means over {runs.sizes['seed']} seeds")
    reached = f"reach {EDGE_SHARE:g} of 2/eta0"
    for heading in (
        "N",
        "eta0 / edge",
        "eta0",
        "final sharpness x eta0/2",
        "converged",
        reached,
        "median step",
    ):
        table.add_column(heading, justify="right")
    for width in runs["width"].to_numpy():
        for rate in runs["learning_rate"].to_numpy():
            one = runs.sel(width=width, learning_rate=rate)
            steps = one["reached_step"].to_numpy()
            arrived = steps[steps >= 0]
            final = float(one["final_relative_sharpness"].mean(skipna=False))
            table.add_row(
                f"{width:g}",
                f"{float(one['relative_rate']):g}",
                f"{rate:.4g}",
                "diverged" if math.isnan(final) else f"{final:.4f}",
                f"{float(one['converged'].mean()):.0%}",
                f"{arrived.size / steps.size:.0%}",
                f"{sorted(arrived)[arrived.size // 2]}" if arrived.size else "never",
            )
    return table


def _keep(record: xr.Dataset, output: Path | None) -> None:
    from ..records import save_record

    if output is not None:
        save_record(record, output)


def _report(
    record: xr.Dataset, table: Table, paths: tuple[Path | None, Path | None], *, as_json: bool
) -> None:
    from ..records import record_to_json
    from .console import print_json, stdout

    if as_json:
        print_json(record_to_json(record))
        return
    console = stdout()
    console.print(table)
    for path in paths:
        if path is not None:
            console.print(f"written: {path}", soft_wrap=True)
