"""The compiled inner loops: they validate nothing, draw nothing and allocate nothing inside a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from .compiling import compiled
from .small_kernels import advance_lanes, aligned
from .vector_kernels import (
    LANES,
    add,
    add_outer,
    add_products,
    combine,
    fma,
    load_tile,
    load_vector,
    mul,
    row_sums,
    splat,
    splat_tile,
    store_tile,
    store_vector,
    total,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Sums may be reordered, so that they run in SIMD; NaN and infinity keep their meaning.
_REORDER = {"reassoc", "contract"}


LANES_UP_TO = 20
"""Largest D at which trajectories advance eight at a time in the lanes of vectors. Measured at D = 20, that
is twice as quick as tiles for eight, and slower for fewer than five; above D = 32 tiles always win."""

_DEPTH = 4
"""Steps between updates of tiles. 2 to 16 differ by a tenth where measured, at D = 100 to 1000."""

_TINY = 1e-280
"""Squared residuals below this become zero: arithmetic on subnormal numbers is slow."""

_SWEEP = 16
"""Steps between which `e` is complete in its tiles, a multiple of `_DEPTH`."""


@compiled(parallel=True)
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

    A trajectory's bits depend neither on the others nor on the number of threads. Steps taken in several
    calls agree with one call to rounding. On return `e` is symmetric to the bit; the state of a trajectory
    that diverged has no meaning.

    Parameters
    ----------
    w, e, v
        States, shapes (T, D), (T, D, D), (T,); overwritten. Of `e` the lower triangle is read.
    target
        `w*`, shape (D,), shared.
    learning_rate, coupling, loss_limit
        `eta0`, `kappa^2` and the loss beyond which a trajectory counts as diverged, shape (T,).
    first_step, steps
        Steps taken before this call, and to take.
    diverged_step
        Shape (T,); who has an entry that is not negative stands still; who diverges gets the step.
    """
    if w.shape[1] <= LANES_UP_TO:
        for group in prange((w.shape[0] + LANES - 1) // LANES):
            some = slice(group * LANES, min((group + 1) * LANES, w.shape[0]))
            advance_lanes(
                w[some],
                e[some],
                v[some],
                target,
                learning_rate[some],
                coupling[some],
                loss_limit[some],
                first_step,
                steps,
                diverged_step[some],
            )
        return
    for trajectory in prange(w.shape[0]):
        if diverged_step[trajectory] < 0:
            diverged_step[trajectory] = _advance_tiles(
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


@compiled()
def _advance_tiles(
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
    """Advance one state of any size; the step at which it diverged, or -1.

    With `w = w* + r`: `e = f - eta0 c (R w*^T + w* R^T)`, `f = e_0 + sum b_s r_s r_s^T`, `R = sum r_s` and
    `b = eta0^2 c v - 2 eta0 c`, one outer product a step, not two. Tiles hold the lower triangle of `f`,
    changed every `_DEPTH` steps and read once a step; what they lack yet is added to `f r`. Every `_SWEEP`
    steps `R` goes into `f` too: both grow on orbits that do not converge, their sum does not.
    """
    dimension, size = w.size, (w.size + LANES - 1) // LANES * LANES
    tiles, product = aligned(size * (size + LANES) // 2), aligned(size)
    # Outer products to add, of rows of left and right: R w*, w* R, then residuals since the last.
    left, right = aligned((_DEPTH + 3) * size), aligned((_DEPTH + 3) * size)
    first, second, norm = -rate * coupling, rate * rate * coupling, v[0]
    right[:dimension], right[2 * size : 2 * size + dimension] = target, w - target
    left[size : size + dimension] = first * target
    _copy_tiles(e, tiles, size)
    _pass_tiles(tiles, right[2 * size :], product, left, right, 0, 0)
    pending = age = 0
    for step in range(steps + 1):
        now, after = (2 + pending) * size, (3 + pending) * size
        r_r, w_r = _overlaps(right, now, size)
        if not 0.5 * r_r <= loss_limit:
            return first_step + step
        if step == steps:
            break
        _complete_product(product, left, right, now, first)
        along_r, keep = splat(second * norm + 2.0 * first), splat(1.0 + second * w_r - rate * norm)
        down, r_e_r, minus = splat(first), splat(0.0), splat(-rate)
        if r_r < _TINY:
            keep = minus = splat(0.0)
        for i in range(0, size, LANES):
            r, e_r = load_vector(right, now + i), load_vector(product, i)
            r_e_r = fma(r, e_r, r_e_r)
            store_vector(left, now + i, mul(along_r, r))
            store_vector(right, size + i, add(load_vector(right, size + i), r))
            store_vector(left, i, mul(down, load_vector(right, size + i)))
            store_vector(right, after + i, fma(keep, r, mul(minus, e_r)))
        norm += 2.0 * first * w_r + second * total(r_e_r)
        pending, age, last = pending + 1, age + 1, step + 1 == steps
        if pending < _DEPTH and not last:
            _pass_tiles(tiles, right[after:], product, left, right, 0, 0)
            continue
        swept = last or age >= _SWEEP
        _pass_tiles(tiles, right[after:], product, left, right, 0 if swept else 2, 2 + pending)
        pending, right[2 * size : 3 * size] = 0, right[after : after + size]
        if swept:
            age, left[:size], right[size : 2 * size] = 0, 0.0, 0.0
    v[0], w[:] = norm, target + right[2 * size : 2 * size + dimension]
    _fill_from_tiles(tiles, e)
    return -1


@compiled()
def _overlaps(right: Array, now: int, size: int) -> tuple[float, float]:
    """`r.r` and `w.r` of the present residual."""
    r_r, w_r = splat(0.0), splat(0.0)
    for i in range(0, size, LANES):
        r = load_vector(right, now + i)
        r_r = fma(r, r, r_r)
        w_r = fma(add(r, load_vector(right, i)), r, w_r)
    return total(r_r), total(w_r)


@compiled()
def _complete_product(product: Array, left: Array, right: Array, now: int, first: float) -> None:
    """Turn `f r` into `e r` by the outer products that `f` does not hold yet."""
    size = product.size
    for row in range(0, now, size):
        # Row 0 of right is w*, row 1 is R: each is added times the overlap with the other.
        partner = size - row if row < 2 * size else row
        overlap = splat(0.0)
        for i in range(0, size, LANES):
            overlap = fma(load_vector(right, now + i), load_vector(right, partner + i), overlap)
        if row < 2 * size:
            along = splat(first * total(overlap))
            for i in range(0, size, LANES):
                store_vector(product, i, fma(along, load_vector(right, row + i), load_vector(product, i)))
        else:
            along = splat(total(overlap))
            for i in range(0, size, LANES):
                store_vector(product, i, fma(along, load_vector(left, row + i), load_vector(product, i)))


@compiled()
def _pass_tiles(
    tiles: Array, r: Array, product: Array, left: Array, right: Array, begin: int, end: int
) -> None:
    """Add rows `begin` to `end` of outer products to `f`, then multiply it with `r`.

    Each tile stands for its mirror image as well: its rows give products with the columns' part of `r`,
    its columns with the rows' part.
    """
    size, at, zero = product.size, 0, splat(0.0)
    for i in range(0, size, LANES):
        store_vector(product, i, zero)
    for i in range(0, size, LANES):
        scales = splat_tile(r, i)
        sums = (zero, zero, zero, zero, zero, zero, zero, zero)
        for j in range(0, i + LANES, LANES):
            tile = load_tile(tiles, at)
            if begin < end:
                for row in range(begin * size, end * size, size):
                    tile = add_outer(tile, left, row + i, load_vector(right, row + j))
                store_tile(tiles, at, tile)
            sums = add_products(tile, load_vector(r, j), sums)
            if j < i:
                store_vector(product, j, combine(tile, scales, load_vector(product, j)))
            at += LANES * LANES
        store_vector(product, i, add(load_vector(product, i), row_sums(sums)))


@compiled()
def _copy_tiles(e: Array, tiles: Array, size: int) -> None:
    """Tiles of the lower triangle, row after row of tiles, from `e`, with zeros around it."""
    at, dimension = 0, e.shape[0]
    for i in range(0, size, LANES):
        for j in range(0, i + LANES, LANES):
            for row in range(i, min(i + LANES, dimension)):
                for column in range(j, min(j + LANES, dimension)):
                    low, high = min(row, column), max(row, column)
                    tiles[at + (row - i) * LANES + column - j] = e[high, low]
            at += LANES * LANES


@compiled()
def _fill_from_tiles(tiles: Array, e: Array) -> None:
    """Both triangles of `e`, the same to the bit."""
    at, dimension = 0, e.shape[0]
    for i in range(0, dimension, LANES):
        for j in range(0, i + LANES, LANES):
            for row in range(i, min(i + LANES, dimension)):
                for column in range(j, min(j + LANES, row + 1)):
                    e[row, column] = e[column, row] = tiles[at + (row - i) * LANES + column - j]
            at += LANES * LANES
