"""Compiled steps of small latent states, eight trajectories at a time in the lanes of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .compiling import compiled
from .vector_kernels import LANES, add, fma, lanes_within, load_vector, mul, splat, store_vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@compiled()
def aligned(size: int) -> Array:
    """Zeros that begin on a cache line, so that no vector lies across two."""
    raw = np.zeros(size + LANES)
    begin = (-(raw.ctypes.data >> 3)) & (LANES - 1)
    return raw[begin : begin + size]


@compiled()
def advance_lanes(
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
    """Advance up to eight small states, one a lane: every operation is on all of them.

    Only the lower triangle of `e` is held, `e+ = e + r z^T + z r^T`, `z = eta0^2 c v r / 2 - eta0 c w`.
    """
    (count, dimension), triangle = w.shape, aligned(w.shape[1] * (w.shape[1] + 1) // 2 * LANES)
    r, next_r = aligned(dimension * LANES), aligned(dimension * LANES)
    z, e_r = aligned(dimension * LANES), aligned(dimension * LANES)
    scalars, alive = aligned(4 * LANES), 0
    for lane in range(count):
        alive |= (diverged_step[lane] < 0) << lane
        scalars[lane], scalars[LANES + lane] = v[lane], learning_rate[lane]
        scalars[2 * LANES + lane], scalars[3 * LANES + lane] = coupling[lane], loss_limit[lane]
        _copy_lane(e[lane], triangle, lane)
        for i in range(dimension):
            r[i * LANES + lane] = w[lane, i] - target[i]
    zero, half, norm = splat(0.0), splat(0.5), load_vector(scalars, 0)
    rate = mul(splat(-1.0), load_vector(scalars, LANES))
    first = mul(rate, load_vector(scalars, 2 * LANES))  # -eta0 c
    second, limit = mul(rate, first), load_vector(scalars, 3 * LANES)
    _multiply_lanes(triangle, r, e_r)
    for step in range(steps + 1):
        r_r, w_r, r_e_r = zero, zero, zero
        for i in range(dimension):
            along = load_vector(r, i * LANES)
            r_r = fma(along, along, r_r)
            w_r = fma(add(along, splat(target[i])), along, w_r)
            r_e_r = fma(along, load_vector(e_r, i * LANES), r_e_r)
        gone = alive & ~lanes_within(mul(half, r_r), limit)
        if gone:
            _mark(gone, first_step + step, diverged_step)
        alive &= ~gone
        if step == steps or alive == 0:
            break
        keep = fma(second, w_r, fma(rate, norm, splat(1.0)))
        along_r = mul(half, mul(second, norm))
        for i in range(0, dimension * LANES, LANES):
            along = load_vector(r, i)
            store_vector(z, i, fma(along_r, along, mul(first, add(along, splat(target[i // LANES])))))
            store_vector(next_r, i, fma(keep, along, mul(rate, load_vector(e_r, i))))
        norm = fma(second, r_e_r, fma(add(first, first), w_r, norm))
        _update_lanes(triangle, r, z, next_r, e_r)
        r, next_r = next_r, r
    store_vector(scalars, 0, norm)
    for lane in range(count):
        if diverged_step[lane] < 0:
            v[lane] = scalars[lane]
            w[lane] = target + r[lane::LANES]
            _fill_from_lane(triangle, e[lane], lane)


@compiled()
def _mark(gone: int, step: int, diverged_step: NDArray[np.int64]) -> None:
    for lane in range(diverged_step.size):
        if gone >> lane & 1:
            diverged_step[lane] = step


@compiled()
def _copy_lane(e: Array, triangle: Array, lane: int) -> None:
    at = lane
    for i in range(e.shape[0]):
        for j in range(i + 1):
            triangle[at] = e[i, j]
            at += LANES


@compiled()
def _fill_from_lane(triangle: Array, e: Array, lane: int) -> None:
    at = lane
    for i in range(e.shape[0]):
        for j in range(i + 1):
            e[i, j] = e[j, i] = triangle[at]
            at += LANES


@compiled()
def _multiply_lanes(triangle: Array, r: Array, e_r: Array) -> None:
    """Products `e r` of every lane."""
    size, at = r.size, 0
    for i in range(0, size, LANES):
        along, total_i = load_vector(r, i), splat(0.0)
        for j in range(0, i, LANES):
            entry = load_vector(triangle, at)
            total_i = fma(entry, load_vector(r, j), total_i)
            store_vector(e_r, j, fma(entry, along, load_vector(e_r, j)))
            at += LANES
        store_vector(e_r, i, fma(load_vector(triangle, at), along, total_i))
        at += LANES


@compiled()
def _update_lanes(triangle: Array, r: Array, z: Array, next_r: Array, e_r: Array) -> None:
    """Add `r z^T + z r^T` and multiply with the next residual."""
    size, at = r.size, 0
    for i in range(0, size, LANES):
        r_i, z_i, along, total_i = load_vector(r, i), load_vector(z, i), load_vector(next_r, i), splat(0.0)
        for j in range(0, i, LANES):
            entry = fma(r_i, load_vector(z, j), fma(z_i, load_vector(r, j), load_vector(triangle, at)))
            store_vector(triangle, at, entry)
            total_i = fma(entry, load_vector(next_r, j), total_i)
            store_vector(e_r, j, fma(entry, along, load_vector(e_r, j)))
            at += LANES
        entry = fma(add(r_i, r_i), z_i, load_vector(triangle, at))
        store_vector(triangle, at, entry)
        store_vector(e_r, i, fma(entry, along, total_i))
        at += LANES
