"""Figures of the fluctuations at finite width: error bars predicted and sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from ..simulations import schedule
from ..simulations.error_bars import covered, sample_error_bars
from ..theory import uniform_target
from .curves import width_label
from .drawing import Drawing
from .style import PAGE, ordered_colours, paper_style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .drawing import FigureSettings

_SHOWN = (64, 1024, 16384)
"""Widths drawn over time."""

_WIDTHS = (16, 64, 256, 1024, 4096, 16384)
"""Widths of the ratio."""

_SEEDS = {"laptop": 300, "paper": 3000}

_QUANTITIES = {"sharpness": "sharpness", "loss": "loss", "second_layer": "second-layer norm $v$"}

_RATIO_STEPS = (0, 4, 8, 16, 30)
"""Steps whose ratio is drawn against width."""


def error_bars(settings: FigureSettings) -> Drawing:
    """Predicted bands and deviations over starts against sampled ones, over time and against width."""
    dimension, norm, rate, steps = 10, 1.0, 0.5, 30
    seeds = tuple(range(settings.seed, settings.seed + _SEEDS[settings.scale]))
    bars = sample_error_bars(
        uniform_target(dimension, norm),
        rate,
        widths=_WIDTHS,
        seeds=seeds,
        record_at=schedule(steps),
        quantities=tuple(_QUANTITIES),
        on_progress=settings.on_progress,
    )
    figure, panels = plt.subplots(3, len(_QUANTITIES), figsize=(PAGE, 5.4))
    for column, (name, words) in zip(panels.T, _QUANTITIES.items(), strict=True):
        one = bars.sel(quantity=name)
        draw_bands(column[0], one.sel(width=list(_SHOWN[:2]))).set_title(words)
        draw_deviations(column[1], one.sel(width=list(_SHOWN)))
        draw_ratio(column[2], one.sel(step=list(_RATIO_STEPS)))
    rows = ("mean $\\pm$ 2 deviations", "deviation over starts", "deviation, sampled / predicted")
    for row, words in zip(panels, rows, strict=True):
        row[0].set_ylabel(words)
    _add_legends(panels)
    numbers = _numbers(bars)
    configuration = {
        "parametrization": "mup",
        "dimension": dimension,
        "target_norm": norm,
        "learning_rate": rate,
        "widths": _WIDTHS,
        "steps": steps,
        "seeds": [seeds[0], seeds[-1]],
    }
    return Drawing(figure, _verdict(numbers, bars), numbers, configuration)


def error_bars_figure(bars: xr.Dataset) -> Figure:
    """Bands above, deviations below, a column a quantity; `bars` as `sample_error_bars` gives them."""
    with paper_style():
        figure, panels = plt.subplots(2, bars.sizes["quantity"], figsize=(PAGE, 3.8), squeeze=False)
        for column, name in zip(panels.T, bars["quantity"].to_numpy(), strict=True):
            one = bars.sel(quantity=name)
            draw_bands(column[0], one).set_title(str(name).replace("_", " "))
            draw_deviations(column[1], one)
        panels[0, 0].set_ylabel("mean $\\pm$ 2 deviations")
        panels[1, 0].set_ylabel("deviation over starts")
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
        return figure


def draw_bands(axes: Axes, bars: xr.Dataset) -> Axes:
    """The curve of infinite width with its predicted band at each width, and sampled means with theirs.

    Parameters
    ----------
    axes
        Drawn into and returned.
    bars
        One quantity of `simulations.error_bars.sample_error_bars`; bands are two deviations wide either side.
    """
    steps, limit = bars["step"].to_numpy(), bars["limit"].to_numpy()
    colours = _colours(bars)
    for index, width in enumerate(bars["width"].to_numpy()):
        one = bars.sel(width=width)
        reach = 2 * one["predicted"].to_numpy()
        axes.fill_between(steps, limit - reach, limit + reach, color=colours[width], alpha=0.25, lw=0)
        every = slice(index, None, 3)  # beside each other, not over each other
        axes.errorbar(
            steps[every], one["mean"].to_numpy()[every], 2 * one["sampled"].to_numpy()[every],
            color=colours[width], ls="", marker="o", ms=1.8, lw=0.8, label=width_label(width),
        )  # fmt: skip
    axes.plot(steps, limit, color="black", lw=0.8, label="$N = \\infty$")
    axes.set_xlabel("step")
    return axes


def draw_deviations(axes: Axes, bars: xr.Dataset) -> Axes:
    """Predicted deviations as lines, dotted where first order does not hold; sampled ones with intervals.

    Parameters
    ----------
    axes
        Drawn into and returned.
    bars
        One quantity of `simulations.error_bars.sample_error_bars`.
    """
    steps = bars["step"].to_numpy()
    colours = _colours(bars)
    for width in bars["width"].to_numpy():
        one, colour = bars.sel(width=width), colours[width]
        predicted, holds = one["predicted"].to_numpy(), one["holds"].to_numpy()
        axes.plot(steps, predicted, color=colour, lw=0.6, ls=":")
        axes.plot(steps, np.where(holds, predicted, np.nan), color=colour, lw=1.0)
        _draw_intervals(axes, steps, one, colour, width_label(width))
    sampled = bars["sampled"].to_numpy()
    axes.set_yscale("log")
    seen = sampled[np.isfinite(sampled) & (sampled > 0)]
    if seen.size:
        axes.set_ylim(0.3 * seen.min(), 3 * seen.max())
    else:
        axes.text(0.5, 0.5, "no deviation to show", ha="center", va="center", transform=axes.transAxes)
    axes.set_xlabel("step")
    return axes


def draw_ratio(axes: Axes, bars: xr.Dataset) -> Axes:
    """Sampled over predicted deviation against width, a colour a step; hollow beyond first order.

    Parameters
    ----------
    axes
        Drawn into and returned.
    bars
        One quantity of `simulations.error_bars.sample_error_bars`, at few steps.
    """
    widths = bars["width"].to_numpy()
    colours = ordered_colours(bars.sizes["step"])
    offsets = np.linspace(-0.2, 0.2, bars.sizes["step"])
    axes.axhline(1.0, color="0.35", lw=0.8)
    for colour, offset, step in zip(colours, offsets, bars["step"].to_numpy(), strict=True):
        one = bars.sel(step=step)
        ratios = [(one[name] / one["predicted"]).to_numpy() for name in ("sampled", "lower", "upper")]
        places, holds = widths * 2.0**offset, one["holds"].to_numpy()
        axes.errorbar(places, ratios[0], _reach(*ratios), color=colour, ls="", lw=0.8)
        style: dict[str, Any] = {"color": colour, "ls": "", "marker": "o", "ms": 2.6}
        axes.plot(places[holds], ratios[0][holds], label=f"step {step}", **style)
        axes.plot(places[~holds], ratios[0][~holds], mfc="white", mew=0.6, **style)
    axes.set_xscale("log", base=2)
    axes.set_xticks(widths, [f"{width:g}" for width in widths])
    axes.minorticks_off()
    axes.set_ylim(0.5, 1.8)
    axes.set_xlabel("width $N$")
    return axes


def _add_legends(panels: Any) -> None:
    """Legends where the panels are empty."""
    panels[0, 0].legend(loc="lower right")
    panels[1, 0].plot([], [], color="0.35", lw=1.0, label="predicted")
    panels[1, 0].plot([], [], color="0.35", lw=0.6, ls=":", label="beyond 1st order")
    hollow: dict[str, Any] = {"color": "0.35", "ls": "", "marker": "o", "ms": 2.6, "mfc": "white", "mew": 0.6}
    panels[2, 0].plot([], [], label="beyond 1st order", **hollow)
    lines, words = panels[1, 0].get_legend_handles_labels()
    panels[1, 1].add_artist(panels[1, 1].legend(lines[:2], words[:2], loc="lower left"))
    panels[1, 1].legend(lines[2:], words[2:], loc="upper right")
    steps = panels[2, 0].get_legend_handles_labels()
    panels[2, 2].legend(*steps, loc="upper right", ncols=2, columnspacing=1.0, handletextpad=0.2)


def _colours(bars: xr.Dataset) -> dict[float, Any]:
    """A colour by width; the widths drawn over time have the same in every panel."""
    given = bars["width"].to_numpy().tolist()
    widths = _SHOWN if set(given) <= set(_SHOWN) else sorted(given)
    return dict(zip(widths, ordered_colours(len(widths)), strict=True))


def _reach(value: Any, lower: Any, upper: Any) -> Any:
    """Lengths of error bars below and above."""
    return np.stack([value - lower, upper - value])


def _draw_intervals(axes: Axes, steps: Any, one: xr.Dataset, colour: Any, label: str) -> None:
    values = [one[name].to_numpy() for name in ("sampled", "lower", "upper")]
    axes.errorbar(
        steps[::2], values[0][::2], _reach(*values)[:, ::2], color=colour, ls="", marker="o", ms=1.8, lw=0.8,
        label=label,
    )  # fmt: skip


def _numbers(bars: xr.Dataset) -> dict[str, Any]:
    """Share of cells whose interval covers the prediction, and the ratio's median, in first order."""
    inside = covered(bars)
    ratio = (bars["sampled"] / bars["predicted"]).where(inside.notnull())
    numbers: dict[str, Any] = {}
    for name in bars["quantity"].to_numpy():
        for width in bars["width"].to_numpy():
            at = {"quantity": name, "width": width}
            numbers[f"{name}, N = {width:g}"] = {
                "cells where first order holds": int(inside.sel(at).notnull().sum()),
                "share covered": float(inside.sel(at).mean()),
                "median of sampled over predicted": float(ratio.sel(at).median()),
            }
    return numbers


def _verdict(numbers: dict[str, Any], bars: xr.Dataset) -> str:
    inside, wide = covered(bars), _WIDTHS[-1]
    (share, cells), (all_share, all_cells) = (
        (float(part.mean()), int(part.notnull().sum())) for part in (inside.sel(width=wide), inside)
    )
    medians = ", ".join(
        f"{numbers[f'{name}, N = {wide}']['median of sampled over predicted']:.3f} for {words}"
        for name, words in zip(_QUANTITIES, ("sharpness", "loss", "v"), strict=True)
    )
    return (
        f"the 95% interval of the sampled deviation covers the predicted one in {share:.0%} of the {cells} "
        f"cells (quantity, step) at N = {wide} where first order holds, and in {all_share:.0%} "
        f"of the {all_cells} at all widths; sampled over predicted at N = {wide}: {medians} (medians)"
    )
