"""Drawings of the fluctuations at finite width: deviations predicted and sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .curves import width_label
from .style import ordered_colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes


def draw_bands(axes: Axes, bars: xr.Dataset, among: Sequence[float]) -> Axes:
    """The curve of infinite width with its predicted band at each width, and sampled means with theirs.

    Parameters
    ----------
    axes
        Drawn into and returned.
    bars
        One quantity of `simulations.error_bars.sample_error_bars`; bands are two deviations wide either side.
    among
        Widths that share the colours.
    """
    steps, limit = bars["step"].to_numpy(), bars["limit"].to_numpy()
    colours = _colours(among)
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


def draw_deviations(axes: Axes, bars: xr.Dataset, among: Sequence[float]) -> Axes:
    """Predicted deviations as lines, dotted where first order does not hold; sampled ones with intervals.

    Parameters
    ----------
    axes
        Drawn into and returned.
    bars
        One quantity of `simulations.error_bars.sample_error_bars`.
    among
        Widths that share the colours.
    """
    steps = bars["step"].to_numpy()
    colours = _colours(among)
    for width in bars["width"].to_numpy():
        one, colour = bars.sel(width=width), colours[width]
        predicted, holds = one["predicted"].to_numpy(), one["holds"].to_numpy() == 1
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
        places, holds = widths * 2.0**offset, one["holds"].to_numpy() == 1
        axes.errorbar(places, ratios[0], _reach(*ratios), color=colour, ls="", lw=0.8)
        style: dict[str, Any] = {"color": colour, "ls": "", "marker": "o", "ms": 2.6}
        axes.plot(places[holds], ratios[0][holds], label=f"step {step}", **style)
        axes.plot(places[~holds], ratios[0][~holds], mfc="white", mew=0.6, **style)
    axes.set_xscale("log", base=2)
    every = -(-widths.size // 6)  # more names would not fit beside each other
    axes.set_xticks(widths[::every], [f"{width:g}" for width in widths[::every]])
    axes.minorticks_off()
    axes.set_ylim(0.5, 1.8)
    axes.set_xlabel("width $N$")
    return axes


def name_deviations(axes: Axes) -> Axes:
    """Name the lines of `draw_deviations` below, and its widths above."""
    kinds = [
        axes.plot([], [], color="0.35", label="predicted", lw=1.0)[0],
        axes.plot([], [], color="0.35", label="beyond 1st order", lw=0.6, ls=":")[0],
    ]
    widths = [pair for pair in zip(*axes.get_legend_handles_labels(), strict=True) if pair[0] not in kinds]
    axes.add_artist(axes.legend(handles=kinds, loc="lower left"))
    axes.legend([line for line, _ in widths], [words for _, words in widths], loc="upper right")
    return axes


def name_ratio(axes: Axes) -> Axes:
    """Name the steps of `draw_ratio`, and its hollow markers."""
    hollow: dict[str, Any] = {"color": "0.35", "ls": "", "marker": "o", "ms": 2.6, "mfc": "white", "mew": 0.6}
    axes.plot([], [], label="beyond 1st order", **hollow)
    axes.legend(loc="upper right", ncols=2, columnspacing=1.0, handletextpad=0.2)
    return axes


def _colours(among: Sequence[float]) -> dict[float, Any]:
    """A colour by width, the same in every panel that shows some of these widths."""
    return dict(zip(sorted(among), ordered_colours(len(among)), strict=True))


def _reach(value: Any, lower: Any, upper: Any) -> Any:
    """Lengths of error bars below and above."""
    return np.stack([value - lower, upper - value])


def _draw_intervals(axes: Axes, steps: Any, one: xr.Dataset, colour: Any, label: str) -> None:
    values = [one[name].to_numpy() for name in ("sampled", "lower", "upper")]
    axes.errorbar(
        steps[::2], values[0][::2], _reach(*values)[:, ::2], color=colour, ls="", marker="o", ms=1.8, lw=0.8,
        label=label,
    )  # fmt: skip
