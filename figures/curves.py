"""Curves of a record: a quantity against steps, and the best learning rate against width or depth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..stats.coordinates import SIZES
from .style import LINES, ordered_colours

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes

    from ..stats.power_laws import PowerLaw


def draw_curves(axes: Axes, values: xr.DataArray, *, log: bool = True, band: bool = False) -> Axes:
    """A quantity against steps: colour is size, line style learning rate; the geometric mean over seeds.

    With several learning rates a legend names their line styles too.

    Parameters
    ----------
    axes
        Drawn into and returned.
    values
        Dimensions (width or depth, learning_rate, seed, step), positive on a logarithmic axis.
    log
        Logarithmic vertical axis.
    band
        Shade the range over seeds.
    """
    over = _size_of(values)
    colours = ordered_colours(values.sizes[over])
    for colour, size in zip(colours, values[over].to_numpy(), strict=True):
        for index, rate in enumerate(values["learning_rate"].to_numpy()):
            runs = values.sel({over: size, "learning_rate": rate}).to_numpy()
            label = _size_label(over, size) if index == 0 else None
            steps = values["step"].to_numpy()
            axes.plot(steps, _centre(runs, log=log), color=colour, ls=LINES[index % len(LINES)], label=label)
            if band and len(runs) > 1:
                axes.fill_between(
                    steps, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.15, linewidth=0
                )
    rates = values["learning_rate"].to_numpy()
    for index, rate in enumerate(rates if len(rates) > 1 else ()):
        axes.plot([], [], color="0.35", ls=LINES[index % len(LINES)], label=f"$\\eta_0 = {rate:g}$")
    if log:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    return axes


def draw_transfer(axes: Axes, values: xr.DataArray) -> Axes:
    """A final loss against the learning rate, a curve a width or depth, its best learning rate marked.

    Parameters
    ----------
    axes
        Drawn into and returned.
    values
        Dimensions (width or depth, learning_rate); NaN where runs diverged.
    """
    over = _size_of(values)
    colours = ordered_colours(values.sizes[over])
    for colour, size in zip(colours, values[over].to_numpy(), strict=True):
        row = values.sel({over: size}).dropna("learning_rate")
        if row.size == 0:
            continue
        axes.plot(row["learning_rate"], row, color=colour, marker="o", ms=2.5, label=_size_label(over, size))
        best = row.isel(learning_rate=int(np.argmin(row.to_numpy())))
        axes.plot(best["learning_rate"], best, color=colour, marker="*", ms=9, mec="white", mew=0.5)
    rates = values["learning_rate"].to_numpy()
    axes.set_xscale("log")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.set_xlabel("learning rate $\\eta_0$")
    return axes


def draw_edge(axes: Axes, learning_rate: float, threshold: float = 2.0, *, among: bool = False) -> Axes:
    """The edge of stability as a dashed line: `2/eta0`, or another optimizer's threshold over eta0.

    Its name is at the left, where a sharpness that rises to it has not arrived yet; `among` edges of other
    learning rates it says which.
    """
    edge = threshold / learning_rate
    axes.axhline(edge, color="0.35", lw=0.8, ls="--")
    place: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "ha": "left",
        "va": "bottom",
        "fontsize": 7,
    }
    which = f", $\\eta_0 = {learning_rate:g}$" if among else ""
    axes.annotate(f"${threshold:g}/\\eta_0${which}", (0.01, edge), **place)
    return axes


def width_label(width: float) -> str:
    """A width for a legend."""
    return _size_label("width", width)


def _size_of(values: xr.DataArray) -> str:
    """The dimension that curves differ in."""
    return next(name for name in SIZES if name in values.dims)


def _size_label(over: str, size: float) -> str:
    number = "\\infty" if math.isinf(size) else f"{size:.0f}"
    return f"${SIZES[over]} = {number}$"


def _centre(runs: np.ndarray[Any, Any], *, log: bool) -> np.ndarray[Any, Any]:
    """Mean over seeds, geometric where zeros and negative values cannot be shown."""
    if not log:
        return np.asarray(runs.mean(axis=0))
    return np.asarray(np.exp(np.log(np.where(runs > 0, runs, np.nan)).mean(axis=0)))


def draw_edges(axes: Axes, edges: xr.DataArray) -> Axes:
    """The edge of stability of every learning rate as a dashed line, its value beside it.

    Parameters
    ----------
    axes
        Drawn into and returned.
    edges
        Sharpness at the edge, dimension learning_rate and any others, along which it is the same.
    """
    others = [name for name in edges.dims if name != "learning_rate"]
    for edge in np.atleast_1d(edges.isel(dict.fromkeys(others, 0)).to_numpy()):
        if math.isfinite(edge):
            axes.axhline(edge, color="0.35", lw=0.8, ls="--")
            axes.annotate(
                f"edge {edge:.3g}", (0.01, edge), xycoords=("axes fraction", "data"), ha="left", va="bottom",
                fontsize=7,
            )  # fmt: skip
    return axes


def draw_quantities(axes: Axes, values: Mapping[str, xr.DataArray], *, log: bool = True) -> Axes:
    """Several quantities against steps: colours are sizes, line styles quantities.

    Parameters
    ----------
    axes
        Drawn into and returned.
    values
        By name; dimensions (width or depth, learning_rate, seed, step), one learning rate.
    log
        Whether the vertical axis is logarithmic.
    """
    for style, (name, part) in zip(LINES, values.items(), strict=False):
        over = _size_of(part)
        colours = ordered_colours(part.sizes[over])
        for colour, size in zip(colours, part[over].to_numpy(), strict=True):
            runs = part.sel({over: size}).isel(learning_rate=0).transpose("seed", "step").to_numpy()
            label = _size_label(over, size) if name == next(iter(values)) else None
            axes.plot(part["step"], _centre(runs, log=log), color=colour, ls=style, label=label)
        axes.plot([], [], color="0.35", ls=style, label=name.replace("_", " "))
    if log:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    return axes


def draw_against_size(axes: Axes, values: xr.DataArray) -> Axes:
    """A quantity against width or depth, a line a step: means over seeds.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    values
        Dimensions (width or depth, seed, step).
    """
    over = _size_of(values)
    colours = ordered_colours(values.sizes["step"])
    for colour, step in zip(colours, values["step"].to_numpy(), strict=True):
        means = values.sel(step=step).mean("seed")
        axes.plot(means[over], means, marker="o", ms=2.5, color=colour, label=f"step {step}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(f"{over} ${SIZES[over]}$")
    return axes


def draw_laws(axes: Axes, values: xr.DataArray, laws: Mapping[float, PowerLaw]) -> Axes:
    """Means over seeds against time, a colour a width, with fitted power laws dashed.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    values
        Dimensions (width, seed, step).
    laws
        By width; those without an exponent are not drawn.
    """
    steps = values["step"].to_numpy()
    colours = ordered_colours(values.sizes["width"])
    for colour, width in zip(colours, values["width"].to_numpy(), strict=True):
        means = values.sel(width=width).mean("seed").to_numpy()
        law = laws.get(float(width))
        fitted = law is not None and math.isfinite(law.exponent)
        label = f"{width_label(width)}, $t^{{{law.exponent:.2f}}}$" if law and fitted else width_label(width)
        axes.plot(steps[1:], means[1:], color=colour, marker="o", ms=2, label=label)
        if law and fitted:
            late = steps[-law.points :]  # those that were fitted
            axes.plot(late, law.at(late), color=colour, ls="--", lw=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("step")
    return axes
