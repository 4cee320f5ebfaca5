"""Gradient flow, the limit of small steps: its right-hand side, what it conserves, and where it ends.

Time `t` is the number of steps times `eta0`. In the stacked form `S = [[e, kappa w], [kappa w^T, v]]` the
flow is `dS/dt = -kappa (M S + S M)`, `M = [[0, r], [r^T, 0]]`; with `J = diag(I, -1)`, which anticommutes
with M, the matrix `S J` moves by a commutator, so its spectrum stands still (the derivation "flow").
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from ..errors import invalid, require_positive, require_whole
from .evolution import require_dimension
from .problem import require_norm
from .state import LatentState

if TYPE_CHECKING:
    from .problem import Array, Problem


_FINEST = 1e-13
"""Smallest relative tolerance that the integrator can keep in float64."""


class Conserved(NamedTuple):
    """Two integrals of the flow; the first two power sums of the spectrum of `S J`."""

    balance: Array
    """`tr e - v`, shape (...)."""
    square: Array
    """`|e|_F^2 - 2 c |w|^2 + v^2` with `c = kappa^2`, shape (...)."""


def flow_rates(state: LatentState, problem: Problem) -> LatentState:
    """Time derivatives of the latent state under gradient flow, of the state's own shapes.

    The first-order part of `evolve` in `eta0`, `w' = -(v I + e) r`, `e' = -c (r w^T + w r^T)`,
    `v' = -2 c w.r`; leading axes run over networks.

    Raises
    ------
    InputError
        If the state's dimension differs from the target's.
    """
    require_dimension(state, problem)
    coupling = problem.kappa**2
    w, e, v = state
    r = w - problem.target
    mixed = r[..., :, None] * w[..., None, :]
    return LatentState(
        -(np.asarray(v)[..., None] * r + np.einsum("...ij,...j->...i", e, r)),
        -coupling * (mixed + np.swapaxes(mixed, -1, -2)),
        np.asarray(-2 * coupling * np.einsum("...i,...i->...", w, r)),
    )


def conserved(state: LatentState, problem: Problem) -> Conserved:
    """The integrals of a state; gradient descent changes the first by `eta0^2 c (v |r|^2 - r.e r)` a step."""
    w, e, v = state
    require_dimension(state, problem)
    return Conserved(
        np.asarray(np.einsum("...ii->...", e) - v),
        np.asarray(
            np.einsum("...ij,...ij->...", e, e)
            - 2 * problem.kappa**2 * np.einsum("...i,...i->...", w, w)
            + v**2
        ),
    )


def integrate(state: LatentState, problem: Problem, time: float, tolerance: float = 1e-12) -> LatentState:
    """The state of one network after a time of gradient flow, by an explicit method of order eight.

    Parameters
    ----------
    state
        Start, without leading axes.
    problem
        Target and coupling.
    time
        Above zero, in steps times `eta0`; by `20 D` a start at `e = I/D`, `v = 1/D` has settled to rounding
        where its layers do not shrink.
    tolerance
        Relative, of each step; absolute a thousandth of that.

    Raises
    ------
    InputError
        If the time is not above zero, the tolerance out of range, the dimensions differ, the start is not
        finite, or the flow could not be integrated so far.
    """
    require_positive("time", time, example=20 * problem.dimension)
    if not _FINEST <= tolerance < 1:
        accepted = f"from {_FINEST:g} to below 1"
        raise invalid("tolerance", tolerance, accepted=accepted, remedy="pass 1e-12, for example")
    if not all(np.isfinite(part).all() for part in state):
        raise invalid(
            "start of the flow", "not finite", accepted="finite numbers", remedy="pass another state"
        )
    dimension = problem.dimension

    def derivative(_time: float, packed: Array) -> Array:
        return _pack(flow_rates(_unpack(packed, dimension), problem))

    flow_rates(state, problem)  # refuses another dimension
    found = solve_ivp(
        derivative, (0.0, time), _pack(state), method="DOP853", rtol=tolerance, atol=1e-3 * tolerance
    )
    if not found.success:
        raise invalid("time", time, accepted="a time that can be reached", remedy="pass a shorter time")
    return _unpack(found.y[:, -1], dimension)


def final_sharpness_mup(dimension: int, target_norm: float) -> float:
    """Sharpness at which gradient flow ends at infinite width under muP, `2 sqrt(1/D^2 + |w*|^2/D)`.

    It starts from `e = I/D`, `v = 1/D`, `w = 0`, so this is progressive sharpening in closed form.

    Raises
    ------
    InputError
        If the dimension or the norm is out of range.
    """
    require_whole("dimension", dimension, least=1, example=20)
    require_norm(target_norm)
    return 2 * math.hypot(1 / dimension, target_norm / math.sqrt(dimension))


def final_sharpness_planar(problem: Problem, start_alignment: float) -> float:
    """Sharpness at which the flow from `w = a0 u`, `e = I/D`, `v = 1/D` ends, at any width; `u = w*/|w*|`.

    The motion is planar and conserves `p^2 - c a^2`, so `p_inf^2 = 1/D^2 + c (|w*|^2 - a0^2)`. The sharpness
    is `2 p_inf`, or `p_inf + 1/D` across the target (D > 1) where the start was the longer of the two.

    Parameters
    ----------
    problem
        Under a parametrization whose start has these means (NTP, muP).
    start_alignment
        `a0 = w0.u`.

    Raises
    ------
    InputError
        If the start is none of a network (`kappa |a0| < 1/D` is needed), or has other means (SP).
    """
    size = _require_frozen_start(problem, abs(start_alignment))
    norm = float(np.linalg.norm(problem.target))
    p = math.sqrt(size**2 + problem.kappa**2 * (norm - start_alignment) * (norm + start_alignment))
    return 2 * p if problem.dimension == 1 else p + max(p, size)


def final_state_ntp(problem: Problem, start_w: Array) -> LatentState:
    """State at which the flow from `w0`, `e = I/D`, `v = 1/D` ends, to first order in `c = 1/(N D)`.

    `e = I/D + (c D/2)(w* w*^T - w0 w0^T)`, `v = 1/D + (c D/2)(|w*|^2 - |w0|^2)`; the next order is
    `(c D)^2`, that is N^-2.

    Raises
    ------
    InputError
        As in `final_sharpness_ntp`.
    """
    start = np.asarray(start_w, dtype=np.float64)
    if start.shape != problem.target.shape:
        raise invalid(
            "shape of w0",
            start.shape,
            accepted=f"that of the target, {problem.target.shape}",
            remedy="pass one number an input",
        )
    if not problem.parametrization.kappa.exponent("width") < 0:
        raise invalid(
            "an expansion in 1/N under",
            problem.parametrization.title,
            accepted="parametrizations whose coupling falls with the width, as that of NTP",
            remedy="use final_sharpness_mup or integrate",
        )
    size = _require_frozen_start(problem, float(np.linalg.norm(start)))
    weight = problem.kappa**2 * problem.dimension / 2
    target = problem.target
    return LatentState(
        target.copy(),
        size * np.eye(problem.dimension) + weight * (np.outer(target, target) - np.outer(start, start)),
        np.asarray(size + weight * (target @ target - start @ start)),
    )


def final_sharpness_ntp(problem: Problem, start_w: Array) -> float:
    """Sharpness at which gradient flow ends under NTP, to first order in 1/N.

    `2/D + (|w*|^2 - |w0|^2 + top)/(2N)`, `top` the largest eigenvalue of `w* w*^T - w0 w0^T`. It misses
    `O(N^-2)`, and what the fluctuations of `e` and `v` at the start, left out here, add.

    Parameters
    ----------
    problem
        Under a parametrization whose coupling falls with the width (NTP).
    start_w
        `w0`, shape (D,).

    Raises
    ------
    InputError
        If the shapes differ, the coupling does not fall with the width, or the start is none of a network
        (`kappa |w0| < 1/D` is needed).
    """
    limit = final_state_ntp(problem, start_w)
    top = top_of_difference(problem.target, np.asarray(start_w, dtype=np.float64))
    return float(limit.v) + 1 / problem.dimension + problem.kappa**2 * problem.dimension / 2 * top


def top_of_difference(plus: Array, minus: Array) -> float:
    """Largest eigenvalue of `x x^T - y y^T` for x, y of shape (D,).

    `(|x|^2 - |y|^2)/2 + sqrt(((|x|^2 + |y|^2)/2)^2 - (x.y)^2)`; at D = 1, where the matrix has one
    eigenvalue, the difference of the squares itself, which may be negative.
    """
    difference = float((plus - minus) @ (plus + minus))
    if plus.size == 1:
        return difference
    # ((|x|^2 + |y|^2)/2)^2 - (x.y)^2 = |x - y|^2 |x + y|^2 / 4
    product = float(np.linalg.norm(plus - minus) * np.linalg.norm(plus + minus))
    return (difference + product) / 2


def _require_frozen_start(problem: Problem, norm: float) -> float:
    """`1/D`, where the problem starts at `e = I/D`, `v = 1/D` and a network can have a `w0` of this norm."""
    sizes = {"width": problem.width, "dimension": float(problem.dimension)}
    size = 1.0 / problem.dimension
    start = problem.parametrization.start
    if not math.isclose(start.first.at(**sizes), size) or not math.isclose(start.second.at(**sizes), size):
        raise invalid(
            "closed-form flow under",
            problem.parametrization.title,
            accepted="parametrizations that start at e = I/D and v = 1/D, as NTP and muP",
            remedy="use integrate",
        )
    if not problem.kappa * norm < size:
        raise invalid(
            "length of w0",
            norm,
            accepted="less than 1/(kappa D), as in every network with e = I/D and v = 1/D",
            remedy="use a shorter start or a larger width",
        )
    return size


def _pack(state: LatentState) -> Array:
    return np.concatenate([state.w, np.ravel(state.e), np.ravel(state.v)])


def _unpack(packed: Array, dimension: int) -> LatentState:
    return LatentState(
        packed[:dimension], packed[dimension:-1].reshape(dimension, dimension), np.asarray(packed[-1])
    )
