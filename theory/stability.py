"""Stability of minimizers: the Jacobian of the laws, the edge of stability, the largest stable learning rate.

At a minimizer (`w = w*`) the laws of Theorem 5.1 stand still whatever e and v are. Linearised there, the
error of w is multiplied by `I - eta0 (e + v I)` and nothing else decays or grows, so a minimizer is stable up
to a sharpness of exactly `2/eta0` (Proposition 5.3, corrected).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import invalid, require_positive
from .evolution import require_dimension
from .state import LatentState

if TYPE_CHECKING:
    from .problem import Array, Problem


def tangent(state: LatentState, problem: Problem, learning_rate: float, change: LatentState) -> LatentState:
    """Change of the next state per change of this one: the Jacobian of Theorem 5.1 applied to a direction.

    Parameters
    ----------
    state
        Where to linearise: `w` (D,), `e` (D, D), `v` ().
    problem, learning_rate
        See `evolve`.
    change
        Direction in the latent space, of the state's shapes; `e` symmetric.

    Returns
    -------
    LatentState
        The image of the direction.

    Raises
    ------
    InputError
        If the state's dimension differs from the target's.
    """
    require_dimension(state, problem)
    c, first = problem.kappa**2, learning_rate
    second = learning_rate**2 * c
    (w, e, v), (dw, de, dv) = state, change
    r = w - problem.target
    theta_dw, e_r = v * dw + e @ dw, e @ r
    return LatentState(
        dw - first * (theta_dw + dv * r + de @ r) + second * ((dw @ r + w @ dw) * r + (w @ r) * dw),
        de
        - first * c * _twice_symmetric(dw, w)
        - first * c * _twice_symmetric(r, dw)
        + second * (dv * np.outer(r, r) + v * _twice_symmetric(dw, r)),
        np.asarray(dv - 2 * first * c * (dw @ r + w @ dw) + second * (2 * (dw @ e_r) + r @ de @ r)),
    )


def _twice_symmetric(a: Array, b: Array) -> Array:
    return np.asarray(np.outer(a, b) + np.outer(b, a))


def jacobian(state: LatentState, problem: Problem, learning_rate: float) -> Array:
    """Jacobian of Theorem 5.1 at a state, in the coordinates (w, upper triangle of e, v).

    Returns
    -------
    Array
        Shape (n, n) with `n = D + D (D + 1)/2 + 1`.
    """
    dimension = problem.dimension
    rows, columns = np.triu_indices(dimension)
    size = dimension + rows.size + 1

    def direction(index: int) -> LatentState:
        flat = np.zeros(size)
        flat[index] = 1.0
        e = np.zeros((dimension, dimension))
        e[rows, columns] = e[columns, rows] = flat[dimension:-1]
        return LatentState(flat[:dimension], e, np.asarray(flat[-1]))

    images = (tangent(state, problem, learning_rate, direction(index)) for index in range(size))
    return np.stack([np.concatenate([w, e[rows, columns], [v]]) for w, e, v in images], axis=1)


def smallest_minimizer_sharpness(problem: Problem) -> float:
    """Smallest sharpness of any minimizer, `2 kappa |w*|`, whatever the width; units of 1/eta0.

    S is positive semidefinite, so at a minimizer `e >= kappa^2 w* w*^T / v`, and the sharpness is at least
    `v + kappa^2 |w*|^2 / v >= 2 kappa |w*|`.
    """
    return 2 * problem.kappa * float(np.linalg.norm(problem.target))


def largest_stable_learning_rate(problem: Problem) -> float:
    """`eta_max = 1 / (kappa |w*|)`: beyond it no minimizer is linearly stable; infinite for a zero target.

    `sqrt(D)/|w*|` under muP at every width, `sqrt(N D)/|w*|` under NTP, `1/|w*|` under SP.
    """
    smallest = smallest_minimizer_sharpness(problem)
    return 2 / smallest if smallest > 0 else math.inf


def flattest_minimizer(problem: Problem) -> LatentState:
    """The minimizer of smallest sharpness: rank one, `w = w* = s u`, `e = kappa s u u^T`, `v = kappa s`."""
    norm = float(np.linalg.norm(problem.target))
    if norm == 0:
        zero = np.zeros((problem.dimension, problem.dimension))
        return LatentState(problem.target.copy(), zero, np.asarray(0.0))
    scale = problem.kappa / norm
    return LatentState(
        problem.target.copy(),
        scale * np.outer(problem.target, problem.target),
        np.asarray(problem.kappa * norm),
    )


def minimizer(problem: Problem, sharpness: float) -> LatentState:
    """A minimizer of a given sharpness, of rank one: `v = kappa |w*| t`, `e = kappa |w*| u u^T / t`.

    Raises
    ------
    InputError
        If no minimizer is that flat, or the target is zero.
    """
    flattest = flattest_minimizer(problem)
    least = smallest_minimizer_sharpness(problem)
    if not least <= sharpness < math.inf or least == 0:
        raise invalid(
            "sharpness of a minimizer",
            sharpness,
            accepted=f"finite, at least 2 kappa |w*| = {least:.6g}, for a target that is not zero",
            remedy="ask for a sharper one or lower the target's norm",
        )
    half = sharpness / least
    ratio = half + math.sqrt(half - 1) * math.sqrt(half + 1)
    return LatentState(flattest.w, flattest.e / ratio, np.asarray(float(flattest.v) * ratio))


class Band(NamedTuple):
    """Where Proposition 5.3 puts the sharpness of a marginally stable minimizer, and where it is."""

    lowest: float
    """Published lower end, `2/eta0 - eta0 kappa^2 |w*|^2`."""
    highest: float
    """Published upper end."""
    exact: float
    """`2/eta0`."""


def marginal_sharpness(problem: Problem, learning_rate: float) -> Band:
    """Sharpness of a marginally stable minimizer: exactly `2/eta0`, with the published band.

    Source: Proposition 5.3, corrected; units of 1/eta0.
    """
    require_positive("learning rate", learning_rate, example=0.5)
    exact = 2 / learning_rate
    reach = learning_rate * problem.kappa**2 * float(problem.target @ problem.target)
    return Band(exact - reach, exact + reach, exact)
