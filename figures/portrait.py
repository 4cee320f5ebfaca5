"""The phase portrait of the planar infinite-width map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..theory import PlanarState
from .style import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..theory import Array, PlanarMap

Window = tuple[float, float, float, float]


def window(planar: PlanarMap) -> Window:
    """Limits (a, a, p, p) that hold the start, the minimizers and the edge."""
    s, kappa = planar.target_norm, math.sqrt(planar.coupling)
    return (-0.35 * s, 1.75 * s, 0.0, max(1.6 * kappa * s, 1.35 / planar.learning_rate))


def draw_portrait(axes: Axes, planar: PlanarMap, limits: Window | None = None) -> Axes:
    """Vector field, nullclines, minimizers coloured by stability, and the states no network has.

    Parameters
    ----------
    axes
        Drawn into and returned.
    planar
        The map.
    limits
        (a, a, p, p); by default `window`.
    """
    left, right, bottom, top = limits or window(planar)
    a, p = np.meshgrid(np.linspace(left, right, 300), np.linspace(bottom, top, 300))
    da, dp = _change(planar, a, p)
    inside = p >= math.sqrt(planar.coupling) * np.abs(a)
    speed = np.ma.masked_array(np.hypot(da / (right - left), dp / (top - bottom)), mask=~inside)
    axes.streamplot(
        a, p, np.where(inside, da, np.nan), np.where(inside, dp, np.nan),
        color=(0.72, 0.72, 0.76), linewidth=0.35 + 0.9 * speed / speed.max(), density=0.9, arrowsize=0.5,
    )  # fmt: skip
    for change, colour in ((da, PALETTE[5]), (dp, PALETTE[4])):
        axes.contour(a, p, np.where(inside, change, np.nan), levels=[0.0], colors=[colour], linewidths=0.9)
    _shade_empty(axes, planar, (left, right, bottom, top))
    _draw_minimizers(axes, planar, top)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_xlabel("$a$, map along the target")
    axes.set_ylabel("$p$, norm of the layers")
    return axes


def draw_orbit(axes: Axes, states: PlanarState, colour: str, label: str, *, marker: str = "o") -> Axes:
    """A trajectory in the plane, step by step."""
    axes.plot(states.a, states.p, color=colour, lw=0.8, marker=marker, ms=1.8, label=label, zorder=4)
    axes.plot(states.a[:1], states.p[:1], color=colour, marker="s", ms=4, zorder=5)
    return axes


def legend_entries(axes: Axes) -> Axes:
    """Empty curves that name the portrait's parts in a legend."""
    for colour, style, label in (
        (PALETTE[4], "-", "$p$ stands still"),
        (PALETTE[2], "-", "stable minimizers"),
        (PALETTE[3], ":", "unstable minimizers"),
    ):
        axes.plot([], [], color=colour, ls=style, label=label, lw=2 if "minimizers" in label else 0.9)
    return axes


def _change(planar: PlanarMap, a: Array, p: Array) -> PlanarState:
    """What one step adds."""
    after = planar.step(PlanarState(a, p))
    return PlanarState(after.a - a, after.p - p)


def _shade_empty(axes: Axes, planar: PlanarMap, limits: Window) -> None:
    """Positive semidefiniteness of the Gram matrix: no network has `p < kappa |a|`."""
    a = np.linspace(limits[0], limits[1], 200)
    axes.fill_between(a, 0, math.sqrt(planar.coupling) * np.abs(a), color="0.9", lw=0, zorder=0.5)


def _draw_minimizers(axes: Axes, planar: PlanarMap, top: float) -> None:
    """The line `a = s`, solid where gradient descent is stable, up to the edge `p = 1/eta0`."""
    s, lowest = planar.target_norm, math.sqrt(planar.coupling) * planar.target_norm
    edge = 1 / planar.learning_rate
    if edge > lowest:
        axes.plot([s, s], [lowest, min(edge, top)], color=PALETTE[2], lw=2.2, zorder=3)
    if edge < top:
        axes.plot([s, s], [max(edge, lowest), top], color=PALETTE[3], lw=2.2, ls=":", zorder=3)
        axes.plot([s], [max(edge, lowest)], color="black", marker="_", ms=7, zorder=6)
