"""Drawings of width: the slope on it at every step, the best learning rate, the distance to the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .curves import width_label
from .style import LINES, PALETTE, ordered_colours

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes

    from ..stats.power_laws import PowerLaw
    from ..stats.windows import Steps


def draw_slopes(axes: Axes, slopes: Mapping[str, xr.Dataset], tolerance: float) -> Axes:
    """Slope on width at each step: the interval of each step dark, the one of all steps at once light.

    Parameters
    ----------
    axes
        Drawn into and returned; between -0.1 and 0.1 its vertical axis is linear, beyond logarithmic.
    slopes
        By label, as `stats.slopes.size_slopes` gives them.
    tolerance
        Half the height of the shaded band in which width does not matter.
    """
    axes.axhspan(-tolerance, tolerance, color="0.88", lw=0, label=f"within ±{tolerance:g}")
    axes.axhline(0, color="0.35", lw=0.8)
    axes.update_datalim([(0, 0)], updatey=False)  # the start, at which nothing has changed, is shown too
    for name, colour in zip(slopes, PALETTE, strict=False):
        one = slopes[name]
        steps = one["step"].to_numpy()
        for low, high, alpha in (("family_lower", "family_upper", 0.2), ("lower", "upper", 0.35)):
            bottom, top = (one[end].where(np.isfinite(one[end])).to_numpy() for end in (low, high))
            axes.fill_between(steps, bottom, top, color=colour, alpha=alpha, lw=0)
        label = f"{name}, {_powers(one.attrs['least_size'])} to {_powers(one.attrs['greatest_size'])}"
        axes.plot(steps, one["slope"], color=colour, marker="o", ms=2, label=label)
    axes.set_yscale("symlog", linthresh=0.1, linscale=1.5)
    axes.set_yticks([-1, -0.1, -0.05, 0, 0.05, 0.1, 1], ["−1", "−0.1", "−0.05", "0", "0.05", "0.1", "1"])
    axes.minorticks_off()
    axes.set_xlabel("step")
    return axes


def draw_best_rates(axes: Axes, found: Mapping[str, xr.DataArray]) -> Axes:
    """Best learning rate against width: mean with two deviations over seeds, and the fitted power.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    found
        By label, with the dimensions (width, seed); infinite width is a grey line.
    """
    for name, colour, style in zip(found, PALETTE, LINES, strict=False):
        rates = found[name].sortby("width").transpose("width", "seed")
        finite = rates.isel(width=np.isfinite(rates["width"].to_numpy()))
        widths, logs = finite["width"].to_numpy(), np.log(finite.to_numpy())
        centre, reach = logs.mean(axis=1), 2 * logs.std(axis=1)
        middle = np.exp(centre)
        ends = [middle - np.exp(centre - reach), np.exp(centre + reach) - middle]
        axes.errorbar(widths, middle, ends, color=colour, ls="", marker="o", ms=2.5, lw=0.8, capsize=1.5)
        usable = np.isfinite(centre)
        if usable.sum() > 1:
            slope, height = np.polyfit(np.log(widths[usable]), centre[usable], 1)
            label = rf"{name}: $\eta_0^* \propto N^{{{slope:+.3f}}}$"
            axes.plot(widths, np.exp(height) * widths**slope, color=colour, ls=style, lw=0.9, label=label)
        for limit in rates.sel(width=np.isinf(rates["width"])).to_numpy():
            axes.axhline(limit.mean(), color="0.6", lw=0.6, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="width $N$", ylabel=r"best learning rate $\eta_0^*$")
    return axes


def draw_rate_approach(axes: Axes, found: Mapping[str, xr.DataArray], laws: Mapping[str, PowerLaw]) -> Axes:
    """Distance of the best learning rate from that of infinite width: mean over seeds, and fitted power.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    found
        By label, with the dimensions (width, seed), infinite width among the widths.
    laws
        By label; those without an exponent are not drawn.
    """
    for name, colour, style in zip(found, PALETTE, LINES, strict=False):
        rates = found[name].transpose("width", "seed")
        logs = np.log(rates.to_numpy())
        infinite = np.isinf(rates["width"].to_numpy())
        distance = np.abs(logs[~infinite] - logs[infinite].mean()).mean(axis=1)
        widths = rates["width"].to_numpy()[~infinite]
        axes.plot(widths, distance, color=colour, ls="", marker="o", ms=2.5)
        law = laws[name]
        if math.isfinite(law.exponent):
            label = f"{name}: $N^{{{law.exponent:.2f}}}$"
            axes.plot(widths, law.at(widths), color=colour, ls=style, lw=0.9, label=label)
    axes.set(xscale="log", yscale="log", xlabel="width $N$")
    axes.set_ylabel(r"$|\log \eta_0^*(N) - \log \eta_0^*(\infty)|$")
    return axes


def draw_time_laws(
    axes: Axes, distances: xr.DataArray, laws: Mapping[float, PowerLaw], window: Steps | None
) -> Axes:
    """Mean distance to the limit against step, a colour a width, with the fitted power dashed.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    distances
        Dimensions (width, seed, step).
    laws
        By width; those without an exponent are not drawn.
    window
        Steps that the laws are drawn over; None is every one.
    """
    steps = distances["step"].to_numpy()
    inside = steps >= 1
    fitted = inside if window is None else (steps >= window.first) & (steps <= window.last)
    for colour, width in zip(
        ordered_colours(distances.sizes["width"]), distances["width"].to_numpy(), strict=True
    ):
        curve = distances.sel(width=width).mean("seed", skipna=False).to_numpy()
        axes.plot(steps[inside], curve[inside], color=colour, label=width_label(width))
        law = laws.get(float(width))
        if law is not None and math.isfinite(law.exponent):
            axes.plot(steps[fitted], law.at(steps[fitted]), color="black", ls="--", lw=0.7)
    axes.set(xscale="log", yscale="log", xlabel="step $t$")
    return axes


def draw_width_laws(axes: Axes, distances: xr.DataArray, laws: Mapping[int, PowerLaw]) -> Axes:
    """Mean distance to the limit against width, a colour a step, with the fitted power dashed.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    distances
        Dimensions (width, seed, step).
    laws
        By step, those that are drawn; one without an exponent is drawn without a line.
    """
    widths = distances["width"].to_numpy()
    for colour, (step, law) in zip(PALETTE, laws.items(), strict=False):
        means = distances.sel(step=step).mean("seed", skipna=False).to_numpy()
        there = math.isfinite(law.exponent)
        words = f"$t = {step}$: $N^{{{law.exponent:.2f}}}$" if there else f"$t = {step}$"
        axes.plot(widths, means, color=colour, ls="", marker="o", ms=3, label=words)
        if there:
            axes.plot(widths, law.at(widths), color=colour, ls="--", lw=0.7)
    axes.set(xscale="log", yscale="log", xlabel="width $N$")
    if laws:
        low, high = axes.get_ylim()
        axes.set_ylim(low / (high / low) ** 0.45, high)
        axes.legend(loc="lower left")
    return axes


def _powers(width: float) -> str:
    """A width, short."""
    power = round(math.log10(width))
    return f"$10^{{{power}}}$" if power >= 5 and width == 10**power else f"{width:g}"
