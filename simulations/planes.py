"""Planes: coordinates in which orbits of the infinite-width map and of finite networks are looked at.

A `Plane` knows how a point of the map, (a, p), and a finite network are placed in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import require_known
from ..theory import PlanarState, UniversalState

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..theory import Array, PlanarMap

View = tuple[float, float, float, float]
"""Limits (left, right, bottom, top) of a part of a plane."""
Points = tuple["Array", "Array"]
"""Horizontal and vertical coordinates in a plane."""


@dataclass(frozen=True)
class Plane:
    """Coordinates that a portrait is drawn in.

    Attributes
    ----------
    labels
        Labels of the horizontal and the vertical axis.
    place
        Coordinates of points (a, p) of a map.
    states
        Points (a, p) of coordinates; the inverse of `place`, on one branch where that has several. May give
        points that no network has.
    quantities
        The two recorded quantities that place a finite network.
    measured
        Coordinates from the values of these quantities.
    window
        Limits (left, right, bottom, top) that hold the start, the minimizers and the edge.
    """

    labels: tuple[str, str]
    place: Callable[[PlanarMap, PlanarState], Points]
    states: Callable[[PlanarMap, Array, Array], PlanarState]
    quantities: tuple[str, str]
    measured: Callable[[PlanarMap, Array, Array], Points]
    window: Callable[[PlanarMap], View]


def window(planar: PlanarMap) -> View:
    """Limits (a, a, p, p) that hold the start, the minimizers and the edge."""
    s, kappa = planar.target_norm, math.sqrt(planar.coupling)
    return (-0.35 * s, 1.75 * s, 0.0, max(1.6 * kappa * s, 1.35 / planar.learning_rate))


def _universal(planar: PlanarMap, state: PlanarState) -> Points:
    """`(x, y)`; where a finite network has `v < kappa |a|`, which the limit has not, y is zero."""
    shift = math.sqrt(planar.coupling) * np.asarray(state.a)
    squares = (planar.learning_rate * np.maximum(state.p + sign * shift, 0.0) for sign in (1, -1))
    x, y = (np.sqrt(square) for square in squares)
    return x, y


def _universal_window(planar: PlanarMap) -> View:
    """Limits that hold the invariant ellipse, or the edge where that is larger."""
    right = 1.08 * math.sqrt(2 * (2 + planar.mu))
    return (0.0, right, 0.0, 1.08 * max(math.sqrt(2 * max(2 - planar.mu, 0.0)), math.sqrt(2)))


def _curvatures(planar: PlanarMap, state: PlanarState) -> Points:
    """Largest eigenvalues of R, `kappa |a - s|`, and of G, `p + max(p, 1/D)` (2p for D = 1)."""
    gap = planar.coupling if planar.dimension > 1 else 0.0
    p = np.asarray(state.p)
    return math.sqrt(planar.coupling) * np.abs(state.a - planar.target_norm), p + np.maximum(p, gap)


def _from_curvatures(planar: PlanarMap, residual: Array, gauss_newton: Array) -> PlanarState:
    """The point on the branch a < s, that of networks that have yet to learn the target."""
    gap = planar.coupling if planar.dimension > 1 else 0.0
    p = np.where(gauss_newton >= 2 * gap, gauss_newton / 2, gauss_newton - gap)
    return PlanarState(planar.target_norm - np.asarray(residual) / math.sqrt(planar.coupling), p)


def _curvature_window(planar: PlanarMap) -> View:
    a, _, bottom, top = window(planar)
    return (0.0, math.sqrt(planar.coupling) * (planar.target_norm - a), 2 * bottom, 2 * top)


PLANES = {
    "ap": Plane(
        ("$a$, map along the target", "$p$, norm of the layers"),
        lambda _planar, state: (np.asarray(state.a), np.asarray(state.p)),
        lambda _planar, a, p: PlanarState(a, p),
        ("alignment", "second_layer"),
        lambda _planar, a, v: (a, v),
        window,
    ),
    "xy": Plane(
        (r"$x = \sqrt{\eta_0 (p + \kappa a)}$", r"$y = \sqrt{\eta_0 (p - \kappa a)}$"),
        _universal,
        lambda planar, x, y: planar.from_universal(UniversalState(x, y)),
        ("alignment", "second_layer"),
        lambda planar, a, v: _universal(planar, PlanarState(a, v)),
        _universal_window,
    ),
    "gr": Plane(
        (r"$\lambda_{\max}(R)$, branch $a < |w^*|$", r"$\lambda_{\max}(G)$"),
        _curvatures,
        _from_curvatures,
        ("residual_sharpness", "ntk_sharpness"),
        lambda _planar, residual, ntk: (residual, ntk),
        _curvature_window,
    ),
}
"""(a, p); the universal (x, y); and the largest eigenvalues of the two parts of the Hessian, G against R."""


def plane_of(name: str) -> Plane:
    """A plane by name: `ap`, `xy` or `gr`.

    Raises
    ------
    InputError
        If there is no such plane.
    """
    require_known("plane", name, PLANES)
    return PLANES[name]
