"""What can be read off a latent state: loss, sharpness and their parts, at a cost free of the width."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import brentq

if TYPE_CHECKING:
    from collections.abc import Callable

    from .problem import Array, Problem
    from .state import LatentState


def loss(state: LatentState, problem: Problem) -> Array:
    """`|w - w*|^2 / 2`, shape (...)."""
    r = state.w - problem.target
    return np.asarray(0.5 * np.einsum("...i,...i->...", r, r))


def residual_norm(state: LatentState, problem: Problem) -> Array:
    """`|w - w*|`, shape (...)."""
    return np.asarray(np.linalg.norm(state.w - problem.target, axis=-1))


def alignment(state: LatentState, problem: Problem) -> Array:
    """`w.w* / |w*|`, the end-to-end map along the target, shape (...); zero for a zero target."""
    norm = np.linalg.norm(problem.target)
    direction = problem.target / norm if norm > 0 else np.zeros_like(problem.target)
    return np.asarray(state.w @ direction)


def second_layer(state: LatentState, problem: Problem) -> Array:  # noqa: ARG001 - one signature for all
    """`v`, shape (...)."""
    return np.asarray(state.v)


def first_layer_trace(state: LatentState, problem: Problem) -> Array:  # noqa: ARG001 - one signature for all
    """`tr e`, shape (...)."""
    return np.asarray(np.einsum("...ii->...", state.e))


def ntk_sharpness(state: LatentState, problem: Problem) -> Array:  # noqa: ARG001 - one signature for all
    """Largest eigenvalue of the NTK `Theta = e + v I` (Lemma 5.2), shape (...)."""
    return np.asarray(np.linalg.eigvalsh(state.e)[..., -1] + state.v)


def sharpness(state: LatentState, problem: Problem) -> Array:
    """Largest Hessian eigenvalue in the learning-rate metric, `lambda_max(gamma^2 H)`, shape (...).

    Above `rho = kappa |r|` the sharpness is the only zero of

        F(lambda) = (lambda - v)(1 - rho^2/lambda^2)
                    - lambda_max(e + c/lambda (r w^T + w r^T) + c v/lambda^2 r r^T),

    a Schur complement of `lambda - gamma^2 H`: negative below the largest eigenvalue, positive above it.
    Lemma 5.2 brackets the zero within `rho` of `lambda_max(Theta)`, so the search cannot fail.
    """
    lead = state.v.shape
    dimension = problem.dimension
    flat = zip(
        state.w.reshape(-1, dimension),
        state.e.reshape(-1, dimension, dimension),
        state.v.reshape(-1),
        strict=True,
    )
    values = [_sharpness(w, e, float(v), problem) for w, e, v in flat]
    return np.array(values, dtype=np.float64).reshape(lead)


def _sharpness(w: Array, e: Array, v: float, problem: Problem) -> float:
    r = w - problem.target
    kappa = problem.kappa
    rho = kappa * float(np.linalg.norm(r))
    ntk = float(np.linalg.eigvalsh(e)[-1]) + v
    coupled = kappa**2 * (np.outer(r, w) + np.outer(w, r))
    rank_one = kappa**2 * v * np.outer(r, r)

    def schur(value: float) -> float:
        matrix = e + coupled / value + rank_one / value**2
        return float((value - v) * (1 - (rho / value) ** 2) - np.linalg.eigvalsh(matrix)[-1])

    # The bracket is exact; where rounding puts the zero on or past one of its ends, that end is the answer.
    low, high = max(rho, ntk - rho), ntk + rho
    if low >= high or schur(low) >= 0:
        return low
    if schur(high) <= 0:
        return high
    precision = float(np.finfo(float).eps)
    return float(brentq(schur, low, high, xtol=precision * high, rtol=4 * precision))


class Observable(NamedTuple):
    """A quantity that a simulation can record, under its name in the common record."""

    name: str
    compute: Callable[[LatentState, Problem], Array]


OBSERVABLES = {
    observable.name: observable
    for observable in (
        Observable("loss", loss),
        Observable("sharpness", sharpness),
        Observable("ntk_sharpness", ntk_sharpness),
        Observable("residual_norm", residual_norm),
        Observable("alignment", alignment),
        Observable("second_layer", second_layer),
        Observable("first_layer_trace", first_layer_trace),
    )
}
