"""Compiled steps of a few coordinates: heads of chains, and factors of Gram matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from .compiling import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Sums may be reordered, so that they run in SIMD; NaN and infinity keep their meaning.
_REORDER = {"reassoc", "contract"}


_TINY = 1e-150
"""Residuals below this count as zero: their squares are, and arithmetic on subnormal numbers is slow."""


@compiled(parallel=True, fastmath=_REORDER)
def advance_heads(
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
    leak: Array,
) -> None:
    """Take steps of Theorem 5.1 on small latent states in place, watching their last two coordinates.

    Parameters
    ----------
    w, e, v, target, learning_rate, coupling, loss_limit, first_step, steps, diverged_step
        See `kernels.advance`.
    leak
        Shape (T,): sum over the steps so far of the sizes of the residual's last two coordinates; added to.
    """
    for trajectory in prange(w.shape[0]):
        if diverged_step[trajectory] < 0:
            _advance_head(
                w[trajectory],
                e[trajectory],
                v[trajectory : trajectory + 1],
                target,
                learning_rate[trajectory],
                coupling[trajectory],
                loss_limit[trajectory],
                first_step,
                steps,
                diverged_step[trajectory : trajectory + 1],
                leak[trajectory : trajectory + 1],
            )


@compiled(fastmath=_REORDER)
def _advance_head(
    w: Array,
    e: Array,
    v: Array,
    target: Array,
    rate: float,
    coupling: float,
    loss_limit: float,
    first_step: int,
    steps: int,
    diverged_step: NDArray[np.int64],
    leak: Array,
) -> None:
    size = w.size
    r, e_r = w - target, np.empty(size)
    norm, leaked = v[0], leak[0]
    first, second = rate * coupling, rate * rate * coupling
    for step in range(steps + 1):
        w_r, r_r = 0.0, 0.0
        for i in range(size):
            w_r += w[i] * r[i]
            r_r += r[i] * r[i]
        if not 0.5 * r_r <= loss_limit:
            diverged_step[0] = first_step + step
            break
        if step == steps:
            break
        leaked += abs(r[size - 2]) + abs(r[size - 1])
        r_e_r = 0.0
        for i in range(size):
            row, total = e[i], 0.0
            along_w = -first * r[i]
            along_r = second * norm * r[i] - first * w[i]
            for j in range(size):
                total += row[j] * r[j]
                row[j] += along_w * w[j] + along_r * r[j]
            e_r[i] = total
            r_e_r += r[i] * total
        for i in range(size):
            change = second * w_r * r[i] - rate * (norm * r[i] + e_r[i])
            r[i] = r[i] + change if abs(r[i] + change) > _TINY else 0.0
            w[i] = target[i] + r[i]
        norm += second * r_e_r - 2.0 * first * w_r
    v[0], leak[0] = norm, leaked


@compiled(parallel=True, fastmath=_REORDER)
def advance_factored(
    neurons: Array,
    target: Array,
    learning_rate: Array,
    coupling: Array,
    loss_limit: Array,
    first_step: int,
    steps: int,
    diverged_step: NDArray[np.int64],
    leak: Array,
) -> None:
    """Take gradient-descent steps on factors of the Gram matrix in place, `Z+ = (I - eta0 kappa M) Z`.

    Parameters
    ----------
    neurons
        Factors `S = Z Z^T` by rows of `Z^T`, shape (T, rank, D + 1); overwritten.
    target, learning_rate, loss_limit, first_step, steps, diverged_step
        See `kernels.advance`.
    coupling
        `kappa` (not squared), shape (T,).
    leak
        See `advance_heads`.
    """
    for trajectory in prange(neurons.shape[0]):
        if diverged_step[trajectory] < 0:
            _advance_factor(
                neurons[trajectory],
                target,
                learning_rate[trajectory],
                coupling[trajectory],
                loss_limit[trajectory],
                first_step,
                steps,
                diverged_step[trajectory : trajectory + 1],
                leak[trajectory : trajectory + 1],
            )


@compiled(fastmath=_REORDER)
def _advance_factor(
    neurons: Array,
    target: Array,
    rate: float,
    kappa: float,
    loss_limit: float,
    first_step: int,
    steps: int,
    diverged_step: NDArray[np.int64],
    leak: Array,
) -> None:
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
            diverged_step[0] = first_step + step
            break
        if step == steps:
            break
        leak[0] += abs(residual[max(dimension - 2, 0)]) + abs(residual[dimension - 1])
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
