"""Drawings of the approach to the edge of stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .curves import width_label
from .style import ordered_colours

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def draw_approach(axes: Axes, relative: xr.DataArray) -> Axes:
    """Sharpness over `2/eta0` against steps: a curve a width, its mean over seeds and their range.

    Parameters
    ----------
    axes
        Drawn into and returned.
    relative
        Dimensions (width, seed, step).
    """
    steps = relative["step"].to_numpy()
    colours = ordered_colours(relative.sizes["width"])
    for colour, width in zip(colours, relative["width"].to_numpy(), strict=True):
        runs = relative.sel(width=width).transpose("seed", "step").to_numpy()
        axes.plot(steps, runs.mean(axis=0), color=colour, label=width_label(width))
        axes.fill_between(steps, runs.min(axis=0), runs.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes.axhline(1.0, color="0.35", lw=0.8, ls="--")
    axes.set_xscale("symlog", linthresh=10, linscale=1.6)
    axes.set_xlim(0, steps[-1])
    axes.set_xticks([0, 2, 4, 6, 8, 10, 100], ["0", "2", "4", "6", "8", "10", "100"])
    axes.minorticks_off()
    axes.set_xlabel("step")
    return axes


def draw_final(axes: Axes, runs: xr.Dataset, *, flow_share: float) -> Axes:
    """Final sharpness over `2/eta0` against `eta0` over the edge, between the flow's and the least possible.

    Parameters
    ----------
    axes
        Drawn into and returned.
    runs
        As `simulations.edge.against_the_edge` gives them; markers are hollow where not every run converged.
    flow_share
        The flow's final sharpness over that of the flattest minimizer, `2 kappa |w*|`.
    """
    shares = runs["relative_rate"].to_numpy()
    final = runs["final_relative_sharpness"].mean("seed")
    converged = runs["converged"].all("seed")
    reach = np.array([0.0, 1.03 * shares.max()])
    axes.plot(reach, flow_share * reach, color="0.35", lw=0.9, ls=":", label="gradient flow")
    axes.plot(reach, reach, color="0.35", lw=0.7, label="flattest minimizer")
    axes.axhline(1.0, color="0.35", lw=0.8, ls="--")
    axes.axvline(1.0, color="0.85", lw=0.8, zorder=0)
    colours = ordered_colours(runs.sizes["width"])
    for index, (colour, width) in enumerate(zip(colours, runs["width"].to_numpy(), strict=True)):
        values, full = final.sel(width=width).to_numpy(), converged.sel(width=width).to_numpy()
        size = 2.5 + 2.5 * (1 - index / len(colours))  # widths that agree are drawn inside each other
        style: dict[str, Any] = {"color": colour, "ls": "", "marker": "o", "ms": size, "mew": 0.7}
        axes.plot(shares[full], values[full], label=width_label(width), **style)
        axes.plot(shares[~full], values[~full], mfc="none", **style)
    axes.plot([], [], color="0.35", ls="", marker="o", ms=3.2, mew=0.7, mfc="none", label="not converged")
    axes.set(xlim=(0, reach[1]), ylim=(0, None))
    lines, words = axes.get_legend_handles_labels()
    axes.add_artist(axes.legend(lines[:2], words[:2], loc="upper left"))
    axes.legend(lines[2:], words[2:], loc="lower right")
    axes.set_xlabel("$\\eta_0$ over the edge $\\sqrt{D}/|w_*|$")
    axes.set_ylabel("final sharpness $\\times\\ \\eta_0/2$")
    return axes
