"""Drawings of the two-layer linear network: Figure 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from .curves import width_label
from .style import ordered_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_hessian_parts(axes: Axes, runs: xr.Dataset) -> Axes:
    """The eigenvalue of R against that of G: mean over seeds, an arrow a step, a colour a width.

    Parameters
    ----------
    axes
        Drawn into and returned; its vertical axis becomes logarithmic.
    runs
        `gauss_newton` and `residual` with dimensions (width, seed, step), as
        `simulations.edge.sharpening_on_data` gives them.
    """
    axes.set_yscale("log")
    driven = runs["gauss_newton"].mean("seed")
    logs: xr.DataArray = xr.apply_ufunc(np.log, runs["residual"])
    residual = xr.apply_ufunc(np.exp, logs.mean("seed"))
    for colour, width in zip(ordered_colours(runs.sizes["width"]), runs["width"].to_numpy(), strict=True):
        x, y = driven.sel(width=width).to_numpy(), residual.sel(width=width).to_numpy()
        axes.plot(x, y, color=colour, lw=0.8, label=width_label(width))
        axes.plot(x[:1], y[:1], color=colour, marker="s", ms=3.5)
        # In units of the axes an arrow ends where the next begins, on a logarithmic axis too.
        axes.quiver(
            x[:-1], y[:-1], np.diff(x), np.diff(y),
            angles="xy", scale_units="xy", scale=1, color=colour, width=0.005, headwidth=4, minlength=0.2,
        )  # fmt: skip
    axes.set_xlabel("$\\lambda_{\\max}(G)$, Gauss-Newton part")
    return axes
