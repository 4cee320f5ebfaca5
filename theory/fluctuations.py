"""Fluctuations at finite width under muP, to first order in N^(-1/2).

About the planar trajectory of infinite width (`planar`: `w = a u`, `e = I/D + (p - 1/D) u u^T`, `v = p`) the
linearised laws split into sectors that never mix, since they commute with rotations that keep the target:

    in the plane:  (w.u, u.e u, v), 3x3;
    across it:     (w.d, d.e u), 2x2, alike for each of the D - 1 directions d;
    the rest:      d.e d', which stands still.

The start is Wishart: all of these start uncorrelated, with variances proportional to 1/N.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import invalid, require_whole
from .planar import PlanarMap, PlanarState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .problem import Array, Problem

Rows = tuple[tuple[Any, ...], ...]
"""A small matrix, row by row, of numbers or SymPy expressions."""


class Deviation(NamedTuple):
    """Standard deviations over starts, to first order; every field has shape (steps + 1,).

    Where the trajectory of infinite width has diverged they are infinite; none is ever NaN.
    """

    alignment: Array
    """Deviation of `w.u`, the map along the target (for a zero target: along any one direction)."""
    first_along: Array
    """Deviation of `u.e u`."""
    second_layer: Array
    """Deviation of `v`."""
    imbalance: Array
    """Deviation of `u.e u - v`, which evolves by itself, times `1 - eta0^2 c r^2` a step."""
    across: Array
    """Deviation of `w.d` for one direction d across the target; zero at D = 1, like the next."""
    first_across: Array
    """Deviation of `d.e u`; it accumulates what `w.d` loses."""
    loss: Array
    """Deviation of the loss, `|r|` times that of `w.u`; zero where the residual is zero, since the loss is of
    order 1/N there."""
    residual_norm: Array
    """Deviation of `|r|`, to first order that of `w.u`; where the residual is zero, that of its part along
    the target."""
    sharpness: Array
    """Deviation of the Hessian's largest eigenvalue in the target's sector."""
    along_target: NDArray[np.bool_]
    """Whether that eigenvalue is the sharpness. Elsewhere (near `a = |w*|/2`, or with no target) the D - 1
    directions across share the largest one, and the sharpness follows the largest eigenvalue of a random
    matrix, which is no linear function of the start: no deviation is given for it."""


def predicted_deviation(problem: Problem, learning_rate: float, steps: int) -> Deviation:
    """Standard deviation of what a run shows at every step, from the law of its start alone.

    Parameters
    ----------
    problem
        Under muP; its width enters by the factor N^(-1/2), so that infinity gives zeros.
    learning_rate
        `eta0`.
    steps
        Number of steps, at least 0; each costs O(1), whatever D and N.

    Raises
    ------
    InputError
        If the parametrization has no planar limit (NTP, SP), or a setting makes no sense.

    Notes
    -----
    Correct up to a factor `1 + O(1/N)` at any one step. That step has to come before the residual falls below
    the fluctuations, of order `(N D)^(-1/2)`, for the loss and the residual, and before `w.u`, contracting
    faster than `w.d`, falls below the squares of these; `v`, `e` and the sharpness keep to it for ever
    where D is well below N (the D - 1 directions across add up: 3% off at D = N/10, a fifth at D = N).
    """
    _require_planar_limit(problem)
    require_whole("number of steps", steps, least=0, example=100)
    planar = PlanarMap(problem.dimension, float(np.linalg.norm(problem.target)), learning_rate)
    start = start_variances(problem)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return _deviations(planar, _propagate(planar, start, steps))


def growth_factors(problem: Problem, learning_rate: float, steps: int) -> Mapping[str, Array]:
    """By direction, the deviation at every step over that at the start, shape (steps + 1,), at any width.

    Below 1 a direction contracts, which is super consistency; above 1 it accumulates. `rest` is the part of
    `e` across the target on both sides. At D = 1 nothing lies across.

    Raises
    ------
    InputError
        As in `predicted_deviation`.
    """
    deviation = predicted_deviation(replace(problem, width=1), learning_rate, steps)
    names = ["alignment", "first_along", "second_layer", "imbalance", "across", "first_across"]
    if problem.dimension == 1:
        names = names[:4]
    growth = {name: getattr(deviation, name) / getattr(deviation, name)[0] for name in names}
    return growth if problem.dimension == 1 else growth | {"rest": np.ones(steps + 1)}


def start_variances(problem: Problem) -> Mapping[str, float]:
    """Variances at initialisation by coordinate: `w`, `e_same` (u.e u), `e_other` (d.e u), `v`.

    Source: `N D S_0` is Wishart, so `N D^2 Cov(S_ij, S_kl) = delta_ik delta_jl + delta_il delta_jk`.
    """
    sizes = {"width": float(problem.width), "dimension": float(problem.dimension)}
    first, second, variance = (float(scale.at(**sizes)) for scale in problem.parametrization.start)
    relative = 1.0 / problem.width
    return {
        "w": variance,
        "e_same": 2 * first**2 * relative,
        "e_other": first**2 * relative,
        "v": 2 * second**2 * relative,
    }


def plane_jacobian(a: Any, p: Any, target_norm: Any, learning_rate: Any, coupling: Any) -> Rows:
    """Derivative of one step of (w.u, u.e u, v) at a planar state, 3x3; symbols will do for numbers."""
    eta, c, r = learning_rate, coupling, a - target_norm
    of_map = -2 * eta * c * (a + r) + 2 * eta**2 * c * p * r
    square = eta**2 * c * r**2
    return (
        (1 - 2 * eta * p + square + 2 * eta**2 * c * a * r, -eta * r, -eta * r),
        (of_map, 1, square),
        (of_map, square, 1),
    )


def across_jacobian(a: Any, p: Any, target_norm: Any, learning_rate: Any, coupling: Any) -> Rows:
    """Derivative of one step of (w.d, d.e u) at a planar state, 2x2; the coupling is 1/D as well."""
    eta, c, r = learning_rate, coupling, a - target_norm
    return (
        (1 - eta * (p + c) + eta**2 * c * a * r, -eta * r),
        (-eta * c * (a + r) + eta**2 * c * p * r, 1),
    )


def sharpness_gradient(value: Any, a: Any, target_norm: Any, coupling: Any) -> tuple[Any, Any]:
    """Numerators of the derivatives of the target's sector's eigenvalue in `w.u` and in `u.e u` or `v`.

    The common denominator is `2 (value - p)`; `p` itself does not occur. Here the sharpness equation is
    `value^2 - (u.e u + v) value - c r (r + 2 w.u) = 0` with `r = w.u - |w*|`.
    """
    return coupling * (6 * a - 4 * target_norm), value


def _require_planar_limit(problem: Problem) -> None:
    table = problem.parametrization
    means = (table.kappa, table.start.first, table.start.second)
    if (
        any(scale.exponent("width") != 0 for scale in means)
        or table.start.map_variance.exponent("width") >= 0
    ):
        raise invalid(
            "parametrization of the fluctuations",
            table.title,
            accepted="one whose laws hold no width and whose start tends to w = 0, as muP's",
            remedy="use muP",
        )


class _Sectors(NamedTuple):
    """The planar trajectory and factors `B` of the covariances `B B^T` about it."""

    base: PlanarState
    """Fields of shape (steps + 1,)."""
    plane: Array
    """Shape (steps + 1, 3, 3)."""
    across: Array
    """Shape (steps + 1, 2, 2)."""


def _propagate(planar: PlanarMap, start: Mapping[str, float], steps: int) -> _Sectors:
    """Push the start's deviations through the Jacobians; factors, unlike covariances, keep their sign."""
    orbit = np.empty((steps + 1, 2))
    plane, across = np.empty((steps + 1, 3, 3)), np.empty((steps + 1, 2, 2))
    orbit[0] = planar.start
    plane[0] = np.diag(np.sqrt([start["w"], start["e_same"], start["v"]]))
    across[0] = np.diag(np.sqrt([start["w"], start["e_other"]])) * (planar.dimension > 1)
    for step in range(steps):
        a, p = orbit[step]
        at = (a, p, planar.target_norm, planar.learning_rate, planar.coupling)
        plane[step + 1] = np.array(plane_jacobian(*at)) @ plane[step]
        across[step + 1] = np.array(across_jacobian(*at)) @ across[step]
        orbit[step + 1] = planar.step(PlanarState(a, p))
    return _Sectors(PlanarState(orbit[:, 0], orbit[:, 1]), plane, across)


def _deviations(planar: PlanarMap, sectors: _Sectors) -> Deviation:
    (a, p), plane, across = sectors
    r = a - planar.target_norm
    value, along = _target_sector(planar, sectors.base)
    of_map, of_norm = sharpness_gradient(value, a, planar.target_norm, planar.coupling)
    combined = of_map[:, None] * plane[:, 0] + of_norm[:, None] * (plane[:, 1] + plane[:, 2])
    rows = {
        "alignment": plane[:, 0],
        "first_along": plane[:, 1],
        "second_layer": plane[:, 2],
        "imbalance": plane[:, 1] - plane[:, 2],
        "across": across[:, 0],
        "first_across": across[:, 1],
        "loss": r[:, None] * plane[:, 0],
        "residual_norm": plane[:, 0],
        "sharpness": combined / (2 * (value - p))[:, None],
    }
    size = np.stack([np.linalg.norm(row, axis=-1) for row in rows.values()])
    diverged = np.logical_or.accumulate(~np.isfinite([a, p, *size[:-1]]).all(axis=0))
    # A double root, value = p, has no derivative: the sharpness alone is then infinite.
    size[np.broadcast_to(diverged, size.shape) | np.isnan(size)] = np.inf
    return Deviation(**dict(zip(rows, size, strict=True)), along_target=along & ~diverged)


def _target_sector(planar: PlanarMap, base: PlanarState) -> tuple[Array, NDArray[np.bool_]]:
    """The target's sector's eigenvalue and whether it is the largest, each (steps + 1,).

    Across the target the sharpness equation is `(x - p)(x^2 - c r^2) = c x^2`; above its largest zero the
    left side is the larger one. A tie is none of the target's sector, which first order cannot tell apart.
    """
    a, p = base
    r, c = a - planar.target_norm, planar.coupling
    # p^2 + c r (r + 2 a), as a sum of squares, but for rounding: p >= kappa |a| in every network
    square = p**2 - c * a**2 + c * (a + r) ** 2
    value = p + np.sqrt(np.maximum(square, 0.0))
    if planar.dimension == 1:
        return value, np.isfinite(value)
    return value, (value - p) * (value**2 - c * r**2) > c * value**2 * (1 + _TIE)


_TIE = 1e-9
"""Relative distance below which two sectors count as equal."""
