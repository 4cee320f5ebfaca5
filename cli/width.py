"""Commands `width-check`, `optimum` and `deviation`: does width matter, and what of it dies out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import invalid, require_distinct
from . import options
from .options import Dimension, Json, Output, Picture, Seed, Seeds, TargetNorm, Widths
from .pictures import save

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import xarray as xr
    from rich.table import Table

    from ..simulations.optimum import RateDrift, WidthCheck
    from ..stats.dependence import SizeVerdict
    from ..theory import Parametrization

_DECADES = "64,256,1024,4096,16384,65536,1e6,1e7,1e8,1e9"

Names = Annotated[
    str, typer.Option("--parametrizations", "--parametrization", help="ntp, mup, sp, comma-separated.")
]
Rate = Annotated[
    float | None,
    typer.Option(help="Base rate eta0; default: half the largest stable rate of the narrowest width."),
]
SlowRate = Annotated[
    float | None,
    typer.Option(help="Base rate eta0; default: a tenth of the largest stable one, so that time is long."),
]
FitWindow = Annotated[
    str | None,
    typer.Option(help="First and last step of the fits in time; default: 1 until the loss halves."),
]


def width_check(
    *,
    parametrizations: Names = "mup,ntp,sp",
    dim: Dimension = 20,
    widths: Widths = _DECADES,
    target_norm: TargetNorm = 1.0,
    learning_rate: Rate = None,
    steps: Annotated[int, typer.Option(help="Gradient-descent steps.")] = 40,
    seeds: Seeds = 20,
    tolerance: Annotated[float, typer.Option(help="Log-log slope on width that counts as none.")] = 0.02,
    least_width: Annotated[float, typer.Option(help="Narrower widths do not count for the verdict.")] = 1,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Check whether sharpness, sharpening and the best learning rate depend on width."""
    import numpy as np

    from ..simulations.optimum import check_width
    from ..theory import IsotropicTarget
    from .console import progress_bar

    chosen = _parametrizations(parametrizations)
    options.check_outputs(output, figure)
    checks = {}
    with progress_bar("checking widths") as progress:
        for table in chosen:
            checks[table.name] = check_width(
                table,
                IsotropicTarget(dim, target_norm),
                np.random.default_rng(seed),
                widths=tuple(map(options.whole, options.numbers(widths, "width"))),
                seeds=options.seeds(seed, seeds),
                steps=steps,
                learning_rate=learning_rate,
                tolerance=tolerance,
                least_width=least_width,
            )
            progress(len(checks), len(chosen))
    document = {name: check_document(check) for name, check in checks.items()}
    if figure is not None:
        from ..figures.width import width_check_figure

        save(lambda: width_check_figure(checks, tolerance), figure)
    _report(document, (slope_table(checks), verdict_table(checks)), output, figure, as_json=as_json)


def optimum(
    *,
    parametrizations: Names = "mup,ntp,sp",
    dim: Dimension = 20,
    widths: Widths = _DECADES,
    target_norm: TargetNorm = 1.0,
    step: Annotated[int, typer.Option(help="Last step that counts.")] = 10,
    objective: Annotated[
        str, typer.Option(help="mean: of the loss over steps 1 to --step; last: the loss at --step.")
    ] = "mean",
    seeds: Seeds = 20,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find the learning rate of least loss for every network, and how it moves with width."""
    import numpy as np

    from ..simulations.optimum import best_rates, judge_rates
    from ..theory import IsotropicTarget
    from .console import progress_bar

    chosen = _parametrizations(parametrizations)
    options.check_outputs(output, figure)
    finite = tuple(map(options.whole, options.numbers(widths, "width")))
    found = {}
    with progress_bar("looking for the best learning rates") as progress:
        for table in chosen:
            limit = (math.inf,) if _has_limit(table) else ()
            found[table.name] = best_rates(
                table,
                IsotropicTarget(dim, target_norm),
                widths=(*finite, *limit),
                seeds=options.seeds(seed, seeds),
                step=step,
                objective=objective,
            )
            progress(len(found), len(chosen))
    fits = {name: judge_rates(rates, np.random.default_rng(seed)) for name, rates in found.items()}
    document = {name: {"rates": rates.to_dict(), **_drift(fits[name])} for name, rates in found.items()}
    if figure is not None:
        from ..figures.width import optimum_figure

        save(lambda: optimum_figure(found), figure)
    _report(document, (rate_table(found), drift_table(fits)), output, figure, as_json=as_json)


def deviation(
    *,
    parametrization: options.Name = "mup",
    dim: Dimension = 20,
    widths: Widths = "64,256,1024,4096,16384",
    target_norm: TargetNorm = 1.0,
    learning_rate: SlowRate = None,
    steps: Annotated[int, typer.Option(help="Gradient-descent steps, at least 2.")] = 100,
    window: FitWindow = None,
    seeds: Seeds = 20,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit the distance to the limit of infinite width by powers of time and of width (Eq. 3, Figure 3)."""
    import numpy as np

    from ..simulations import schedule
    from ..simulations.deviation import all_laws, deviations, growth_window
    from ..simulations.optimum import largest_rate
    from ..theory import IsotropicTarget
    from ..theory import parametrization as look_up
    from .console import progress_bar

    table, target = look_up(parametrization), IsotropicTarget(dim, target_norm)
    options.check_outputs(output, figure)
    finite = tuple(map(options.whole, options.numbers(widths, "width")))
    chosen = options.seeds(seed, seeds)
    if learning_rate is None:
        learning_rate = 0.1 * largest_rate(table, target, min(finite), chosen)
    with progress_bar("simulating") as progress:
        found = deviations(
            table,
            target,
            widths=finite,
            learning_rate=learning_rate,
            seeds=chosen,
            record_at=schedule(steps),
            on_progress=progress,
        )
    chosen_window = growth_window(found) if window is None else _window(window)
    laws = all_laws(found, np.random.default_rng(seed), chosen_window)
    document = {
        "laws": laws,
        "learning_rate": learning_rate,
        "window": chosen_window,
        "distances": found.mean("seed").to_dict(),
    }
    if figure is not None:
        from ..figures.width import deviation_figure

        save(lambda: deviation_figure(found), figure)
    _report(
        document, (law_table(laws, chosen_window), law_table(laws, None)), output, figure, as_json=as_json
    )


def slope_table(checks: Mapping[str, WidthCheck]) -> Table:
    """Slope of log sharpness on log width at some steps, over all widths and over the wide ones."""
    from rich.table import Table

    table = Table(title="slope of log sharpness on log width; 95% interval of each step")
    for heading in ("", "eta0", "step", "all widths", "from N =", "these widths", "ten times the width"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, check in checks.items():
        level = check.training.level
        count = level.slopes.sizes["step"]
        for index in sorted({0, 1, count // 4, count - 1}):
            every, wide = level.slopes.isel(step=index), level.wide_slopes.isel(step=index)
            change = float(wide["change"])
            table.add_row(
                name,
                f"{check.learning_rate:.3g}",
                f"{int(every['step'])}",
                _slope(every),
                f"{level.wide_slopes.attrs['least_size']:g}",
                _slope(wide),
                "none" if math.isnan(change) else f"{change:+.2%}",
            )
    return table


def verdict_table(checks: Mapping[str, WidthCheck]) -> Table:
    """The verdicts by parametrization, with their numbers."""
    from rich.table import Table

    table = Table(title="does width matter?", show_lines=True)
    for heading in ("", "verdict", "from N =", "because"):
        table.add_column(heading, overflow="fold")
    for name, check in checks.items():
        start = check.training.independent_from
        table.add_row(
            name,
            check.training.verdict,
            "-" if start is None else f"{start:g}",
            "\n".join((*check.training.sentences, f"best learning rate: {check.drift.sentence}")),
        )
    return table


def check_document(check: WidthCheck) -> dict[str, Any]:
    """A check for JSON: verdicts, slopes at every step, best rates and their drift."""
    parts = {"sharpness": check.training.level, "change of sharpness": check.training.change}
    return {
        "learning_rate": check.learning_rate,
        "verdict": check.training.verdict,
        "independent_from": check.training.independent_from,
        **{name: _judged(found) for name, found in parts.items()},
        "best learning rate": _judged(check.drift),
        "best rates": check.rates.to_dict(),
    }


def rate_table(found: Mapping[str, xr.Dataset]) -> Table:
    """The best learning rate by width: mean over seeds, deviation, and what is to be said against it."""
    from rich.table import Table

    table = Table(title="best learning rate")
    headings = ("", "N", "best eta0", "deviation", "over the edge", "at the grid's end", "several minima")
    for heading in headings:
        table.add_column(heading, justify="left" if not heading else "right")
    for name, rates in found.items():
        for width in rates["width"].to_numpy():
            one = rates.sel(width=width)
            best = one["best_rate"]
            table.add_row(
                name,
                f"{width:g}",
                f"{float(best.mean()):.5g}",
                f"{float(best.std()):.2g}",
                f"{float(best.mean() / one['reference']):.3f}",
                f"{int(one['at_edge'].sum())} of {best.size}",
                f"{int((one['minima'] > 1).sum())} of {best.size}",
            )
    return table


def drift_table(fits: Mapping[str, RateDrift]) -> Table:
    """The drift of the best rate with width, and its approach to the limit."""
    from rich.table import Table

    table = Table(title="drift of the best learning rate with width", show_lines=True)
    for heading in ("", "all widths", "verdict", "distance to the limit"):
        table.add_column(heading, overflow="fold")
    for name, fit in fits.items():
        every = fit.drift.slopes.isel(step=0)
        words = f"{float(every['change']):+.2%} per factor ten\nslope {_slope(every)}"
        near = "no limit" if fit.approach is None else f"N^{fit.approach}"
        table.add_row(name, words, fit.drift.sentence, near)
    return table


def _drift(fit: RateDrift) -> dict[str, Any]:
    return {"drift": _judged(fit.drift), "approach": fit.approach and fit.approach._asdict()}


def law_table(rows: list[dict[str, Any]], window: tuple[int, int] | None) -> Table:
    """The fits in time over a window, by width, or without a window those in width, by step."""
    from rich.table import Table

    in_time = window is not None
    law = "a N^-alpha" if window is None else f"a t^beta over steps {window[0]} to {window[1]}"
    table = Table(title=f"distance to the limit, g = {law}; 95% intervals")
    columns = ("N", "a", "beta") if in_time else ("step", "a", "alpha")
    for heading in ("quantity", "limit", *columns, "interval", "R^2"):
        table.add_column(heading, justify="left" if heading in {"quantity", "limit"} else "right")
    for row in rows:
        if row["law"] != ("time" if in_time else "width") or row["exponent"] is None:
            continue
        low, high = row["interval"]
        sign, ends = (1, (low, high)) if in_time else (-1, (-high, -low))
        table.add_row(
            row["quantity"],
            row["limit"],
            f"{row['at']:g}",
            f"{row['amplitude']:.3g}",
            f"{sign * row['exponent']:.3f}",
            f"{ends[0]:.3f} to {ends[1]:.3f}" if math.isfinite(low) else "too few seeds",
            f"{row['r_squared']:.3f}",
        )
    return table


def _parametrizations(text: str) -> list[Parametrization]:
    from ..theory import parametrization

    names = tuple(name.strip() for name in text.split(","))
    require_distinct("parametrizations", names)
    return [parametrization(name) for name in names]


def _has_limit(table: Parametrization) -> bool:
    """Whether the mean start of a parametrization stays finite as it widens."""
    scales = (table.start.first, table.start.second, table.start.map_variance, table.kappa)
    return all(scale.exponent("width") <= 0 for scale in scales)


def _window(text: str) -> tuple[int, int]:
    numbers = options.numbers(text, "window")
    if len(numbers) != 2:
        raise invalid("window", text, accepted="two steps", remedy="write 1,50, for example")
    return options.whole(numbers[0]), options.whole(numbers[1])


def _slope(one: xr.Dataset) -> str:
    slope, low, high = (float(one[name]) for name in ("slope", "lower", "upper"))
    return "none" if math.isnan(slope) else f"{slope:+.4f} ({low:+.4f} to {high:+.4f})"


def _judged(found: SizeVerdict) -> dict[str, Any]:
    """A verdict for JSON."""
    parts = {"slopes": found.slopes, "wide_slopes": found.wide_slopes}
    return {
        "verdict": found.verdict,
        "sentence": found.sentence,
        "independent_from": found.independent_from,
        **{
            name: {str(key): part.to_numpy().tolist() for key, part in slopes.variables.items()}
            | {"widths": [slopes.attrs["least_size"], slopes.attrs["greatest_size"]]}
            for name, slopes in parts.items()
        },
    }


def _report(
    document: Any, tables: tuple[Table, ...], output: Path | None, picture: Path | None, *, as_json: bool
) -> None:
    """Keep the document as JSON if asked for, and print it or the tables."""
    import json

    from ..records import to_json, write_atomically
    from .console import print_json, stdout

    if output is not None:
        text = json.dumps(to_json(document), allow_nan=False, indent=2) + "\n"
        write_atomically(output, lambda path: path.write_text(text))
    if as_json:
        print_json(document)
        return
    console = stdout()
    for table in tables:
        console.print(table)
    for path in (output, picture):
        if path is not None:
            console.print(f"written: {path}", soft_wrap=True)
