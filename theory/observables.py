"""What can be read off a latent state: loss, sharpness and their parts, at a cost free of the width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import brentq

from .evolution import require_dimension

if TYPE_CHECKING:
    from collections.abc import Callable

    from .problem import Array, Problem
    from .state import LatentState


def residual(state: LatentState, problem: Problem) -> Array:
    """`r = w - w*`, shape (..., D).

    Raises
    ------
    InputError
        If the state's dimension differs from the target's.
    """
    require_dimension(state, problem)
    return np.asarray(state.w - problem.target)


def loss(state: LatentState, problem: Problem) -> Array:
    """`|w - w*|^2 / 2`, shape (...)."""
    r = residual(state, problem)
    return np.asarray(0.5 * np.einsum("...i,...i->...", r, r))


def residual_norm(state: LatentState, problem: Problem) -> Array:
    """`|w - w*|`, shape (...)."""
    return np.asarray(np.linalg.norm(residual(state, problem), axis=-1))


def alignment(state: LatentState, problem: Problem) -> Array:
    """`w.w* / |w*|`, the end-to-end map along the target, shape (...); zero for a zero target."""
    require_dimension(state, problem)
    norm = np.linalg.norm(problem.target)
    direction = problem.target / norm if norm > 0 else np.zeros_like(problem.target)
    return np.asarray(state.w @ direction)


def second_layer(state: LatentState, problem: Problem) -> Array:  # noqa: ARG001 - one signature for all
    """`v`, shape (...)."""
    return np.asarray(state.v)


def first_layer_trace(state: LatentState, problem: Problem) -> Array:
    """`tr e`, shape (...)."""
    return _first_layer_of_trace(_trace(state), state, problem)


def ntk_sharpness(state: LatentState, problem: Problem) -> Array:  # noqa: ARG001 - one signature for all
    """Largest eigenvalue of the NTK `Theta = e + v I` (Lemma 5.2), shape (...)."""
    return np.asarray(np.linalg.eigvalsh(state.e)[..., -1] + state.v)


def ntk_spectrum(state: LatentState, problem: Problem) -> Array:  # noqa: ARG001 - one signature for all
    """Eigenvalues of the NTK `Theta = e + v I`, ascending, shape (..., D); G's nonzero ones (Lemma 5.2)."""
    return np.asarray(np.linalg.eigvalsh(state.e) + state.v[..., None])


def residual_sharpness(state: LatentState, problem: Problem) -> Array:
    """Largest eigenvalue of R, `kappa |r|`, shape (...); the smallest is its negative (Lemma 5.2)."""
    return np.asarray(problem.kappa * residual_norm(state, problem))


def hessian_trace(state: LatentState, problem: Problem) -> Array:
    """`tr(gamma^2 H) = tr e + D v`, shape (...): R has trace zero."""
    require_dimension(state, problem)
    return _hessian_of_trace(_trace(state), state, problem)


def gradient_norm(state: LatentState, problem: Problem) -> Array:
    """Gradient norm in the learning-rate metric, `|gamma grad L| = sqrt(r.Theta r)`, shape (...)."""
    r = residual(state, problem)
    square = np.einsum("...i,...i->...", r, _ntk_times(state, r))
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))  # rounding can make it negative where it is zero


def directional_sharpness(state: LatentState, problem: Problem) -> Array:
    """Curvature along the gradient, `(|Theta r|^2 + 2 c |r|^2 w.r) / r.Theta r`, shape (...).

    In the learning-rate metric; zero where the gradient is.
    """
    r = residual(state, problem)
    ntk_r = _ntk_times(state, r)
    form = np.einsum("...i,...i->...", ntk_r, ntk_r) + 2 * problem.kappa**2 * np.einsum(
        "...i,...i,...j,...j->...", r, r, state.w, r
    )
    square = np.einsum("...i,...i->...", r, ntk_r)
    return np.asarray(np.divide(form, square, out=np.zeros_like(square), where=square != 0))


def critical_sharpness(state: LatentState, problem: Problem) -> Array:
    """`2/eta_c`, with `eta_c` the first step along the gradient that does not lower the loss, shape (...).

    A step `eta` takes the residual to `r - eta a + eta^2 b`, `a = Theta r`, `b = c (w.r) r` (Theorem 5.1).
    With `x = eta |a|^2 / (2 r.a)` the loss changes by a positive multiple of `x` times

        q(x) = -1 + (1 + rho k) x - k x^2 + rho k^2 x^3 / 2,
        rho = |r|^2 |a|^2 / (2 (r.a)^2),   k = 4 c (w.r) (r.a)^2 / |a|^4,

    so that `2/eta_c = y |a|^2 / r.a`, where `1/y` is the first positive zero of q. There is one: `q(0)` is
    negative, and the highest power that does not vanish has a positive factor. Near a minimizer k vanishes,
    y is 1, and this is the directional sharpness. In the learning-rate metric, units of 1/eta0; zero where
    the gradient is, NaN for a state that is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # states that have diverged
        r = residual(state, problem)
        size = np.linalg.norm(r, axis=-1)
        unit = np.divide(r, size[..., None], out=np.zeros_like(r), where=size[..., None] != 0)
        ntk_unit = _ntk_times(state, unit)
        form = np.einsum("...i,...i->...", unit, ntk_unit)
        square = np.einsum("...i,...i->...", ntk_unit, ntk_unit)
        moving = form > 0  # rounding can make it negative where it is zero
        curvature = np.divide(square, form, out=np.zeros_like(form), where=moving)
        rho = np.divide(curvature, 2 * form, out=np.zeros_like(form), where=moving)
        step = np.divide(2.0, curvature, out=np.zeros_like(form), where=moving)  # of a quadratic loss
        turn = (problem.kappa * step) ** 2 * size * np.einsum("...i,...i->...", state.w, unit)
        value = curvature * _largest_real_root(1 + rho * turn, turn, 0.5 * rho * turn**2)
    return np.asarray(np.where(np.isfinite(size) & np.isfinite(form), value, np.nan))


def _largest_real_root(first: Array, second: Array, third: Array) -> Array:
    """Largest real root of `y^3 - first y^2 + second y - third`, `third` not negative, shape (...)."""
    companion = np.zeros((*np.shape(first), 3, 3))
    companion[..., 0, :] = np.stack([first, -second, third], axis=-1)
    companion[..., 1, 0] = companion[..., 2, 1] = 1.0
    known = np.asarray(np.isfinite(companion).all(axis=(-2, -1)))
    roots = np.linalg.eigvals(np.where(known[..., None, None], companion, 0.0))
    real = np.abs(roots.imag) <= 1e-9 * np.abs(roots)
    largest = np.where(real, roots.real, -np.inf).max(axis=-1)
    return np.asarray(np.where(known, largest, np.nan))


def _trace(state: LatentState) -> Array:
    """`tr e` over the state's own coordinates, shape (...)."""
    return np.asarray(np.einsum("...ii->...", state.e))


def _first_layer_of_trace(trace: Array, _state: LatentState, _problem: Problem) -> Array:
    return trace


def _hessian_of_trace(trace: Array, state: LatentState, problem: Problem) -> Array:
    return np.asarray(trace + problem.sizes["dimension"] * state.v)


def _ntk_times(state: LatentState, vector: Array) -> Array:
    return np.asarray(np.einsum("...ij,...j->...i", state.e, vector) + state.v[..., None] * vector)


def reduced_hessian(state: LatentState, problem: Problem) -> Array:
    """The Hessian on its invariant subspace, in the coordinates (a, p, y, beta): one state, (3D + 1, 3D + 1).

    Its eigenvalues other than 0 and `+-kappa |r|` are those of `gamma^2 H`, for every width; the directions
    are `dE = a V^T + r (E^T p)^T`, `dV = E^T y + beta V`. Not symmetric: the coordinates are not orthonormal.
    """
    (w, e, v), dimension, kappa = state, problem.dimension, problem.kappa
    r = residual(state, problem)
    one, nothing = np.eye(dimension), np.zeros((dimension, dimension))
    column, row = np.zeros((dimension, 1)), np.zeros((1, dimension))
    # the scaled change of the output, q = v a + kappa r (w.p) + e y + kappa w beta
    output = np.hstack([v * one, kappa * np.outer(r, w), e, kappa * w[:, None]])
    return np.vstack(
        [
            output + np.hstack([nothing, nothing, nothing, kappa * r[:, None]]),
            np.hstack([nothing, nothing, kappa * one, column]),
            output + np.hstack([nothing, kappa * (r @ r) * one, nothing, column]),
            np.hstack([kappa * r[None, :], row, row, np.zeros((1, 1))]),
        ]
    )


def sharpness(state: LatentState, problem: Problem) -> Array:
    """Largest Hessian eigenvalue in the learning-rate metric, `lambda_max(gamma^2 H)`, shape (...).

    Above `rho = kappa |r|` the sharpness is the only zero (derivation "exact-sharpness") of

        F(lambda) = (lambda - v)(1 - rho^2/lambda^2)
                    - lambda_max(e + c/lambda (r w^T + w r^T) + c v/lambda^2 r r^T),

    a Schur complement of `lambda - gamma^2 H`: negative below the largest eigenvalue, positive above it.
    Lemma 5.2 brackets the zero within `rho` of `lambda_max(Theta)`, so the search cannot fail. NaN for a
    state that is not finite, as that of a diverged run.
    """
    require_dimension(state, problem)
    lead, dimension = np.shape(state.v), problem.dimension
    flat = zip(
        state.w.reshape(-1, dimension),
        state.e.reshape(-1, dimension, dimension),
        np.reshape(state.v, -1),
        strict=True,
    )
    values = [_sharpness(w, e, float(v), problem) for w, e, v in flat]
    return np.array(values, dtype=np.float64).reshape(lead)


def _sharpness(w: Array, e: Array, v: float, problem: Problem) -> float:
    if not (np.isfinite(w).all() and np.isfinite(e).all() and math.isfinite(v)):
        return math.nan
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


@dataclass(frozen=True)
class NoTail:
    """The observable reads only w, v, the residual, and `e` applied to them.

    All of these lie in the head, the coordinates of a chain (`theory.krylov_chain`) that the residual has
    reached, so that the head's state gives the value.
    """


@dataclass(frozen=True)
class TraceTail:
    """The observable sees the coordinates past the head through the trace of `e` alone.

    Attributes
    ----------
    value
        Returns the observable, shape (...), from `tr e` over all D coordinates, shape (...), the state in
        the head, and the problem, in which D is `sizes["dimension"]`.
    """

    value: Callable[[Array, LatentState, Problem], Array]


@dataclass(frozen=True)
class EigenvalueTail:
    """The observable is a largest eigenvalue, which methods bound on the whole chain.

    Attributes
    ----------
    of_hessian
        Whether it is the Hessian's in the learning-rate metric; otherwise it is the NTK's.
    """

    of_hessian: bool


Tail = NoTail | TraceTail | EigenvalueTail


class Observable(NamedTuple):
    """A quantity that a simulation can record, under its name in the common record.

    `simulations.add_observable` adds one of your own.
    """

    name: str
    compute: Callable[[LatentState, Problem], Array]
    """Returns the value, shape (...), from a state in all coordinates."""
    tail: Tail | None = None
    """How the value is had from the head of a chain. None declares nothing: only methods that hold all
    coordinates then observe it."""


OBSERVABLES: dict[str, Observable] = {
    observable.name: observable
    for observable in (
        Observable("loss", loss, NoTail()),
        Observable("sharpness", sharpness, EigenvalueTail(of_hessian=True)),
        Observable("ntk_sharpness", ntk_sharpness, EigenvalueTail(of_hessian=False)),
        Observable("residual_norm", residual_norm, NoTail()),
        Observable("alignment", alignment, NoTail()),
        Observable("second_layer", second_layer, NoTail()),
        Observable("first_layer_trace", first_layer_trace, TraceTail(_first_layer_of_trace)),
        Observable("residual_sharpness", residual_sharpness, NoTail()),
        Observable("hessian_trace", hessian_trace, TraceTail(_hessian_of_trace)),
        Observable("gradient_norm", gradient_norm, NoTail()),
        Observable("directional_sharpness", directional_sharpness, NoTail()),
        Observable("critical_sharpness", critical_sharpness, NoTail()),
    )
}
"""What can be recorded, by name; `records.schema.QUANTITIES` describes each."""
