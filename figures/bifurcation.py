"""Bifurcation diagrams of the planar map: its attractor and its Lyapunov exponents over learning rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..simulations.attractors import DOUBLING
from .style import PALETTE

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from ..theory import PlanarMap

_DEEPEST = -2.0
"""Exponents below this, down to minus infinity on superstable cycles, are cut off."""


def draw_attractor(axes: Axes, record: xr.Dataset) -> Axes:
    """The attractor's sharpness over `2/eta0`, against the learning rate over the largest stable one.

    Parameters
    ----------
    axes
        Drawn into and returned.
    record
        From `simulations.attractors.bifurcation_diagram`, along its learning rates or its factors.
    """
    over_edge = record["sharpness"] * record["learning_rate"] / 2
    mu = np.repeat(record["factor"].to_numpy(), record.sizes["sample"])
    values = over_edge.transpose(..., "sample").to_numpy().ravel()
    axes.plot(
        mu, values, ls="", marker=".", ms=0.6, mew=0, alpha=0.5, color=PALETTE[0], rasterized=True, zorder=2
    )
    axes.axhline(1, color="0.35", lw=0.6, ls="--", zorder=1)
    axes.set_ylabel(r"attractor's $\lambda\,\eta_0/2$")
    return axes


def draw_exponents(axes: Axes, record: xr.Dataset) -> Axes:
    """Both Lyapunov exponents with their zero line, chaos shaded; each with a band of two standard errors.

    Parameters
    ----------
    axes
        Drawn into and returned.
    record
        From `simulations.attractors.bifurcation_diagram`.
    """
    mu = record["factor"].to_numpy()
    for name, colour, label in (
        ("lyapunov_second", PALETTE[5], "second"),
        ("lyapunov", PALETTE[1], "largest"),
    ):
        value, error = record[name].to_numpy(), record[f"{name}_error"].to_numpy()
        value = np.where(np.isneginf(value), 10 * _DEEPEST, value)
        axes.plot(mu, value, color=colour, lw=0.7, label=label)
        axes.fill_between(mu, value - 2 * error, value + 2 * error, color=colour, alpha=0.3, lw=0)
    axes.axhline(0, color="0.35", lw=0.6)
    highest = float(record["lyapunov"].max()) if record["lyapunov"].notnull().any() else 0.0
    axes.set_ylim(_DEEPEST, max(1.2 * highest, 0.3))
    axes.set_ylabel("Lyapunov exponents")
    axes.legend(loc="upper left")
    return axes


def mark_bifurcations(axes: Axes, planar: PlanarMap, *, labels: bool = False) -> Axes:
    """Lines where minimizers lose stability, where period two doubles, and where the start diverges."""
    marks = {
        1.0: r"$\mu = 1$",
        DOUBLING: r"$\sqrt{5} - 1$",
        planar.divergence / planar.edge: "divergence",
    }
    low, high = axes.get_xlim()
    shown = {place: words for place, words in marks.items() if low <= place <= high}
    for place in shown:
        axes.axvline(place, color="0.45", lw=0.6, ls=":", zorder=1.5)
    if labels and shown:  # as ticks, which a title above them makes room for
        above = axes.secondary_xaxis("top")
        above.set_xticks(list(shown), list(shown.values()), fontsize=6.5)
        above.tick_params(length=0, pad=1)
        above.spines["top"].set_visible(False)
    return axes
