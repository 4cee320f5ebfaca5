"""The compiled inner loops: they validate nothing, draw nothing and allocate nothing inside a step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit, prange

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Sums may be reordered, so that they run in SIMD; NaN and infinity keep their meaning.
_REORDER = {"reassoc", "contract"}


@njit(parallel=True, cache=True, fastmath=_REORDER)
def advance(
    w: Array,
    e: Array,
    v: Array,
    target: Array,
    learning_rate: Array,
    coupling: Array,
    loss_limit: Array,
    first_step: int,
    steps: int,
    diverged_step: NDArray[np.int64],
) -> None:
    """Take gradient-descent steps on many latent states in place (Theorem 5.1).

    Parameters
    ----------
    w, e, v
        States, shapes (T, D), (T, D, D), (T,); overwritten.
    target
        `w*`, shape (D,), shared.
    learning_rate, coupling, loss_limit
        `eta0`, `kappa^2` and the loss beyond which a trajectory counts as diverged, shape (T,).
    first_step
        Steps taken before this call.
    steps
        Steps to take.
    diverged_step
        Shape (T,); a trajectory whose entry is not negative stands still, and one that diverges gets the
        step at which it did.
    """
    for trajectory in prange(w.shape[0]):
        if diverged_step[trajectory] < 0:
            diverged_step[trajectory] = _advance_one(
                w[trajectory],
                e[trajectory],
                v[trajectory : trajectory + 1],
                target,
                learning_rate[trajectory],
                coupling[trajectory],
                loss_limit[trajectory],
                first_step,
                steps,
            )


@njit(cache=True, fastmath=_REORDER)
def _advance_one(
    w: Array,
    e: Array,
    v: Array,
    target: Array,
    rate: float,
    coupling: float,
    loss_limit: float,
    first_step: int,
    steps: int,
) -> int:
    """Advance one state; the step at which it diverged, or -1.

    Each step passes over `e` once: the new residual follows from `e r` alone, so a row is updated and
    multiplied with the new residual while it is in cache.
    """
    dimension = w.size
    residual, next_residual = w - target, np.empty(dimension)
    e_r = e @ residual
    for step in range(steps):
        w_r, r_r, r_e_r = 0.0, 0.0, 0.0
        for i in range(dimension):
            w_r += w[i] * residual[i]
            r_r += residual[i] * residual[i]
            r_e_r += residual[i] * e_r[i]
        if not 0.5 * r_r <= loss_limit:
            return first_step + step
        scale, norm = rate * rate * coupling, v[0]
        for i in range(dimension):
            change = scale * w_r * residual[i] - rate * (norm * residual[i] + e_r[i])
            next_residual[i] = residual[i] + change
        for i in range(dimension):
            # Row i of -eta0 c (r w^T + w r^T) + eta0^2 c v r r^T.
            along_w = -rate * coupling * residual[i]
            along_r = scale * norm * residual[i] - rate * coupling * w[i]
            row, total = e[i], 0.0
            for j in range(dimension):
                row[j] += along_w * w[j] + along_r * residual[j]
                total += row[j] * next_residual[j]
            e_r[i] = total
        v[0] = norm - 2.0 * rate * coupling * w_r + scale * r_e_r
        for i in range(dimension):
            residual[i] = next_residual[i]
            w[i] = target[i] + residual[i]
    if not 0.5 * np.dot(residual, residual) <= loss_limit:
        return first_step + steps
    return -1


@njit(parallel=True, cache=True, fastmath=_REORDER)
def advance_factored(
    neurons: Array,
    target: Array,
    learning_rate: Array,
    coupling: Array,
    loss_limit: Array,
    first_step: int,
    steps: int,
    diverged_step: NDArray[np.int64],
) -> None:
    """Take gradient-descent steps on factors of the Gram matrix in place, `Z+ = (I - eta0 kappa M) Z`.

    Parameters
    ----------
    neurons
        Factors `S = Z Z^T` by rows of `Z^T`, shape (T, rank, D + 1); overwritten.
    target, learning_rate, loss_limit, first_step, steps, diverged_step
        As for `advance`.
    coupling
        `kappa` (not squared), shape (T,).
    """
    for trajectory in prange(neurons.shape[0]):
        if diverged_step[trajectory] < 0:
            diverged_step[trajectory] = _advance_factor(
                neurons[trajectory],
                target,
                learning_rate[trajectory],
                coupling[trajectory],
                loss_limit[trajectory],
                first_step,
                steps,
            )


@njit(cache=True, fastmath=_REORDER)
def _advance_factor(
    neurons: Array,
    target: Array,
    rate: float,
    kappa: float,
    loss_limit: float,
    first_step: int,
    steps: int,
) -> int:
    """Advance one factor; the step at which it diverged, or -1."""
    rank, dimension = neurons.shape[0], target.size
    residual, end_to_end = np.empty(dimension), np.zeros(dimension)
    for k in range(rank):
        for i in range(dimension):
            end_to_end[i] += neurons[k, i] * neurons[k, dimension]
    for step in range(steps + 1):
        r_r = 0.0
        for i in range(dimension):
            residual[i] = end_to_end[i] / kappa - target[i]
            r_r += residual[i] * residual[i]
            end_to_end[i] = 0.0
        if not 0.5 * r_r <= loss_limit:
            return first_step + step
        if step == steps:
            break
        for k in range(rank):
            neuron = neurons[k]
            outgoing, overlap = neuron[dimension], 0.0
            for i in range(dimension):
                overlap += neuron[i] * residual[i]
            updated = outgoing - rate * kappa * overlap
            neuron[dimension] = updated
            for i in range(dimension):
                neuron[i] -= rate * kappa * outgoing * residual[i]
                end_to_end[i] += neuron[i] * updated
    return -1


@njit(cache=True)
def planar_orbit(
    a: float, p: float, coupling: float, target_norm: float, rate: float, limit: float, orbit: Array
) -> int:
    """Iterate the planar map, filling `orbit` of shape (steps + 1, 2) with (a, p).

    Returns the step at which `|a|` or `|p|` passed the limit, with the rest of the orbit NaN, or -1.
    """
    for step in range(orbit.shape[0]):
        if not (math.fabs(a) <= limit and math.fabs(p) <= limit):
            orbit[step:] = math.nan
            return step
        orbit[step, 0], orbit[step, 1] = a, p
        r = a - target_norm
        second = rate * rate * coupling * r * r
        a, p = a - 2.0 * rate * p * r + second * a, p - 2.0 * rate * coupling * a * r + second * p
    return -1
