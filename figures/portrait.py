"""Phase portraits of the planar infinite-width map, in the coordinates of one's choice.

A portrait is drawn in a `Plane`; everything drawn is given in (a, p) and drawn the same way in every plane.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..simulations.basins import OrbitFate, find_outcomes
from ..simulations.planes import PLANES, Plane, plane_of
from ..theory import PlanarState, UniversalState
from .style import PALETTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ..simulations.planes import Points, View
    from ..theory import PlanarMap

__all__ = [
    "PLANES",
    "Plane",
    "draw_basins",
    "draw_cycle",
    "draw_ellipse",
    "draw_orbit",
    "draw_portrait",
    "legend_handles",
    "plane_of",
]

_FIELD, _FINE = 300, 240
"""Points along each side of the grids for the vector field and for the basins."""

_BASINS = {
    OrbitFate.MINIMIZER: ("to a stable minimizer", PALETTE[2], 0.13),
    OrbitFate.PERIOD_TWO: ("to period two", PALETTE[5], 0.30),
    OrbitFate.OTHER: ("other bounded", PALETTE[4], 0.30),
    OrbitFate.DIVERGED: ("diverges", PALETTE[1], 0.38),
    OrbitFate.UNSTABLE_ACROSS: ("to a minimizer unstable across", PALETTE[3], 0.30),
}
"""Words, colour and strength by outcome; they differ in lightness too."""


_PARTS: dict[str, dict[str, Any]] = {
    "_first": {"color": PALETTE[5], "lw": 0.9},
    "_second": {"color": PALETTE[4], "lw": 0.9},
    "_stable": {"color": PALETTE[2], "lw": 2.2, "solid_capstyle": "butt"},
    "_unstable": {"color": PALETTE[3], "lw": 2.2, "ls": ":"},
    "_edge": {"color": "0.25", "lw": 0.8, "ls": "--"},
    "_ellipse": {"color": PALETTE[0], "lw": 1.2, "ls": (0, (4, 1.5))},
    "_cycle": {"ls": "", "marker": "o", "ms": 6, "mfc": "none", "mec": "black", "mew": 1.0},
}
"""How the parts of a portrait look, by the label that tells the legend they are there."""

_EMPTY = "0.85"
"""Grey where no network is."""


def draw_portrait(
    axes: Axes,
    planar: PlanarMap,
    limits: View | None = None,
    *,
    plane: str | Plane = "ap",
    basins: bool = False,
) -> Axes:
    """Vector field of one step, nullclines, edge, minimizers by stability, and the states no network has.

    Parameters
    ----------
    axes
        Drawn into and returned.
    planar
        The map.
    limits
        (left, right, bottom, top); by default the plane's window.
    plane
        What to draw in, or its name in `PLANES`.
    basins
        Pale background by what each start comes to; see `draw_basins`.

    Raises
    ------
    InputError
        If there is no such plane.
    """
    plane = plane_of(plane) if isinstance(plane, str) else plane
    limits = limits or plane.window(planar)
    left, right, bottom, top = limits
    if basins:
        draw_basins(axes, planar, limits, plane=plane)
    _draw_field(axes, planar, plane, limits)
    _draw_minimizers(axes, planar, plane, limits)
    _draw_edge(axes, planar, plane, limits)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_xlabel(plane.labels[0])
    axes.set_ylabel(plane.labels[1])
    return axes


def draw_basins(axes: Axes, planar: PlanarMap, limits: View, *, plane: str | Plane = "ap") -> Axes:
    """A pale background that says what each start comes to: a minimizer, period two, other, divergence."""
    plane = plane_of(plane) if isinstance(plane, str) else plane
    left, right, bottom, top = limits
    sides = ((low, high, (high - low) / _FINE) for low, high in ((left, right), (bottom, top)))
    centres = (np.linspace(low + cell / 2, high - cell / 2, _FINE) for low, high, cell in sides)
    outcome = find_outcomes(planar, plane.states(planar, *np.meshgrid(*centres)), 4000).outcome
    axes.imshow(
        np.ma.masked_equal(outcome, int(OrbitFate.NO_NETWORK)),
        extent=(left, right, bottom, top), origin="lower", aspect="auto", interpolation="nearest",
        cmap=ListedColormap([_pale(kind) for kind in _BASINS]), vmin=-0.5, vmax=len(_BASINS) - 0.5, zorder=0,
    )  # fmt: skip
    return axes


def draw_orbit(axes: Axes, points: Points, colour: str, label: str, *, marker: str = "o") -> Axes:
    """A trajectory in the plane, step by step, its start a square; points are coordinates in the plane."""
    horizontal, vertical = points
    axes.plot(horizontal, vertical, color=colour, lw=0.8, marker=marker, ms=1.8, label=label, zorder=4)
    axes.plot(horizontal[:1], vertical[:1], color=colour, marker="s", ms=4, zorder=5)
    return axes


def draw_cycle(axes: Axes, points: Points) -> Axes:
    """The points of a cycle, ringed; whole rings, where they are on a border too."""
    axes.plot(*points, label="_cycle", zorder=7, clip_on=False, **_PARTS["_cycle"])
    return axes


def draw_ellipse(axes: Axes, planar: PlanarMap, *, plane: str | Plane = "xy") -> Axes:
    """The ellipse `x^2/(2 + mu) + y^2/(2 - mu) = 2`, which no orbit crosses; none is there past mu = 2."""
    plane = plane_of(plane) if isinstance(plane, str) else plane
    if planar.mu < 2:
        angle = np.linspace(0, np.pi / 2, 300)
        x, y = math.sqrt(2 * (2 + planar.mu)) * np.cos(angle), math.sqrt(2 * (2 - planar.mu)) * np.sin(angle)
        points = _shown(planar, plane, planar.from_universal(UniversalState(x, y)))
        axes.plot(*points, label="_ellipse", zorder=3, **_PARTS["_ellipse"])
    return axes


def legend_handles(panels: Sequence[Axes], *, plane: str = "ap") -> list[Artist]:
    """Handles that name, in a legend, the parts of portraits that were drawn in any of some panels.

    Parameters
    ----------
    panels
        Axes with portraits.
    plane
        Name of their plane, whose coordinates the nullclines are named by.
    """
    names = {"ap": ("$a$", "$p$"), "xy": ("$x$", "$y$"), "gr": (r"$\lambda(R)$", r"$\lambda(G)$")}[plane]
    words = {
        "_first": f"{names[0]} stands still",
        "_second": f"{names[1]} stands still",
        "_stable": "stable minimizers",
        "_unstable": "unstable minimizers",
        "_edge": r"edge along the target, $2p = 2/\eta_0$",
        "_ellipse": "invariant ellipse",
        "_cycle": "period of the limit",
    }
    artists = [artist for panel in panels for artist in (*panel.lines, *panel.collections)]
    drawn = {str(artist.get_label()) for artist in artists}
    handles: list[Artist] = [
        Line2D([], [], label=words[part], **_PARTS[part]) for part in words if part in drawn
    ]
    kinds = {kind for panel in panels for image in panel.images for kind in _common(image.get_array())}
    handles += [Patch(color=_pale(kind), label=_BASINS[kind][0]) for kind in _BASINS if kind in kinds]
    if "_empty" in drawn:
        handles.append(Patch(color=_EMPTY, label=r"no network, $N = \infty$"))
    return handles


def _common(outcomes: Any) -> set[OrbitFate]:
    """Outcomes that are seen: those of more than one start in 500."""
    kinds, counts = np.unique(np.ma.compressed(outcomes), return_counts=True)
    return {OrbitFate(int(kind)) for kind in kinds[counts > outcomes.size / 500]}


def _pale(kind: OrbitFate) -> tuple[float, float, float]:
    """A basin's colour, mixed with white."""
    _, colour, strength = _BASINS[kind]
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def _draw_field(axes: Axes, planar: PlanarMap, plane: Plane, limits: View) -> None:
    """Streamlines of what one step adds, the curves where it adds nothing, and where no network is."""
    left, right, bottom, top = limits
    u, v = np.meshgrid(np.linspace(left, right, _FIELD), np.linspace(bottom, top, _FIELD))
    states = plane.states(planar, u, v)
    margin = states.p - math.sqrt(planar.coupling) * np.abs(states.a)
    after = plane.place(planar, planar.step(states))
    change = [np.where(margin >= -1e-12, new - old, np.nan) for new, old in zip(after, (u, v), strict=True)]
    speed = np.hypot(change[0] / (right - left), change[1] / (top - bottom))
    axes.streamplot(
        u, v, change[0], change[1], color=(0.62, 0.62, 0.67), density=0.9, arrowsize=0.5,
        linewidth=0.35 + 0.9 * np.nan_to_num(np.minimum(speed / np.nanquantile(speed, 0.95), 1)),
    )  # fmt: skip
    # Divided by the residual: the minimizers, where both stand still, are drawn apart.
    residual = np.where(states.a == planar.target_norm, np.nan, states.a - planar.target_norm)
    for part, name in zip(change, ("_first", "_second"), strict=True):
        relative = part / residual
        if np.nanmin(relative) < 0 < np.nanmax(relative):
            style = {"colors": [_PARTS[name]["color"]], "linewidths": _PARTS[name]["lw"]}
            axes.contour(u, v, relative, levels=[0.0], **style).set_label(name)
    if margin.min() < -1e-12:
        axes.contourf(u, v, margin, levels=[-math.inf, 0.0], colors=[_EMPTY], zorder=0.5).set_label("_empty")


def _shown(planar: PlanarMap, plane: Plane, states: PlanarState) -> Points:
    """Coordinates of points, NaN for those on a branch that the plane does not show."""
    places = plane.place(planar, states)
    back = plane.states(planar, *places)
    size = max(planar.target_norm, float(np.max(np.abs(states.a), initial=0.0)))
    shown = np.abs(back.a - states.a) <= 1e-6 * size
    horizontal, vertical = (np.where(shown, place, np.nan) for place in places)
    return horizontal, vertical


def _highest(planar: PlanarMap, plane: Plane, limits: View) -> float:
    """A `p` above everything in a window."""
    corners = plane.states(planar, np.array(limits)[[0, 1, 0, 1]], np.array(limits)[[2, 2, 3, 3]])
    return float(np.max(corners.p))


def _draw_minimizers(axes: Axes, planar: PlanarMap, plane: Plane, limits: View) -> None:
    """The line `a = s`, solid where gradient descent is stable, along the target and across it."""
    s, lowest = planar.target_norm, math.sqrt(planar.coupling) * planar.target_norm
    edge, top = planar.highest_stable, _highest(planar, plane, limits)

    def line(low: float, high: float) -> Points:
        p = np.linspace(low, high, 200)
        return plane.place(planar, PlanarState(np.full_like(p, s), p))

    # On a border the line would be cut in half, so what is inside the window is drawn over the frame.
    if edge > lowest:
        stable = _within(limits, line(lowest, min(edge, top)))
        axes.plot(*stable, label="_stable", zorder=3, clip_on=False, **_PARTS["_stable"])
    if max(edge, lowest) < top:
        unstable = _within(limits, line(max(edge, lowest), top))
        axes.plot(*unstable, label="_unstable", zorder=3, clip_on=False, **_PARTS["_unstable"])
        if edge > lowest:
            axes.plot(unstable[0][:1], unstable[1][:1], color="black", marker="_", ms=7, zorder=6)


def _within(limits: View, points: Points) -> Points:
    """Points with those outside a window made NaN."""
    left, right, bottom, top = limits
    horizontal, vertical = points
    inside = (left <= horizontal) & (horizontal <= right) & (bottom <= vertical) & (vertical <= top)
    return np.where(inside, horizontal, np.nan), np.where(inside, vertical, np.nan)


def _draw_edge(axes: Axes, planar: PlanarMap, plane: Plane, limits: View) -> None:
    """Where the NTK's eigenvalue along the target is `2/eta0`: `p = 1/eta0`."""
    p = 1 / planar.learning_rate
    a = np.linspace(-1, 1, 400) * p / math.sqrt(planar.coupling)
    points = _shown(planar, plane, PlanarState(a, np.full_like(a, p)))
    axes.plot(*points, label="_edge", zorder=2.5, **_PARTS["_edge"])
    axes.set(xlim=limits[:2], ylim=limits[2:])
