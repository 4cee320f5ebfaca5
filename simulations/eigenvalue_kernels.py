"""Compiled search for the largest Hessian eigenvalue of a chain with an evolved head."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from .compiling import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Sums may be reordered, so that they run in SIMD; NaN and infinity keep their meaning.
_REORDER = {"reassoc", "contract"}


@compiled(parallel=True)
def largest_eigenvalues(
    w: Array,
    e: Array,
    v: Array,
    r: Array,
    coupling: Array,
    bands: Array,
    network: NDArray[np.int64],
    tolerance: float,
    vector: Array,
    low: Array,
    high: Array,
) -> None:
    """Bounds on the largest Hessian eigenvalue of chains with an evolved head.

    Parameters
    ----------
    w, e, v
        Heads, shapes (T, h), (T, h, h), (T,).
    r
        Residuals, shape (T, h); zero for the largest eigenvalue of the NTK.
    coupling
        `kappa^2`, shape (T,).
    bands
        Bands of the chains, shape (networks, 3, n), n >= h.
    network
        Which chain a trajectory has, shape (T,).
    tolerance
        Relative distance of the bounds at which the search ends.
    vector
        Eigenvectors, shape (T, n): what the search starts from, and ends with.
    low, high
        Shape (T,), written: the value lies between them.

    Notes
    -----
    The matrix of the sharpness equation (`theory.observables.sharpness`),

        A(x) = (x - v)(1 - rho^2/x^2) - e - c/x (r w^T + w r^T) - c v/x^2 r r^T,

    is positive definite exactly above the largest eigenvalue: eliminating the chain from its far end, then
    the head, tells, at a cost of O(h^3 + n). A solve with the same factors improves the vector, whose root of
    `y.A(x) y = 0` is a lower bound.
    """
    for trajectory in prange(w.shape[0]):
        bounds = _search(
            w[trajectory],
            e[trajectory],
            v[trajectory],
            r[trajectory],
            coupling[trajectory],
            bands[network[trajectory]],
            tolerance,
            vector[trajectory],
        )
        low[trajectory], high[trajectory] = bounds


@compiled(fastmath=_REORDER)
def _search(
    w: Array, e: Array, v: float, r: Array, c: float, bands: Array, tolerance: float, y: Array
) -> tuple[float, float]:
    """Narrow the bounds by definiteness from above and by Rayleigh quotients from below."""
    size = w.size
    rho, tail_bound = math.sqrt(c * np.dot(r, r)), _tail_row_sums(bands, size)
    high = v + rho + max(_row_sums(e, bands), tail_bound)
    low = max(rho, v)
    if not math.isfinite(high) or high <= 0.0:
        return high, high
    image = np.empty(y.size)
    lower, residual = _first_bound(w, e, v, r, c, bands, rho, high, y, image)
    low = max(low, lower)
    step = min(_AHEAD * low, _STEEP * residual * residual / low + 0.25 * tolerance * low)
    shift = min(high, low + step) if lower > 0.0 else high
    if (low - v) * (1 - (rho / low) ** 2) > _FAR * tail_bound:
        bands, y = bands[:, : size + _REACH], y[: size + _REACH]
    factors, tail = np.empty((size, size)), np.empty((3, y.size))
    for _ in range(_MOST_SHIFTS):
        if high - low <= tolerance * high:
            break
        if _factorise(w, e, v, r, c, bands, shift, rho, factors, tail):
            high = shift
            if high - low <= tolerance * high:
                break
            square, product = _solve(factors, tail, y, size)
            r_y, w_y = _dot(r, y, size), _dot(w, y, size)
            linear, constant = 2 * c * r_y * w_y, c * v * r_y * r_y
            x = (shift - v) * (1 - (rho / shift) ** 2)
            quotient = x - linear / shift - constant / shift**2 - product / square
            higher = max(low, min(_root(quotient, linear, constant, v, rho, high), high))
            # One solve more would gain what this one gained, times the square of the shift's distance.
            left = (higher - low) * _STEEP**2 * ((shift - higher) / high) ** 2
            low = higher
            step = max(min(_CLOSER * (high - low), left), 0.25 * tolerance * high)
            shift = min(low + step, 0.5 * (low + high))
        else:
            low = max(low, shift)
            step *= 8
            shift = min(low + step, 0.5 * (low + high)) if high - low > step else 0.5 * (low + high)
    return low, high


@compiled(fastmath=_REORDER)
def _first_bound(
    w: Array,
    e: Array,
    v: float,
    r: Array,
    c: float,
    bands: Array,
    rho: float,
    high: float,
    y: Array,
    image: Array,
) -> tuple[float, float]:
    """Lower bound that a vector gives, which is normalised, and the size of its residual.

    A vector of zero is made one of ones, and gives no bound.
    """
    size, length = w.size, y.size
    square = _dot(y, y, length)
    if not square > 0.0:
        y[:] = 1.0 / math.sqrt(length)
        return 0.0, 0.0
    y /= math.sqrt(square)
    for i in range(size):
        image[i] = _dot(e[i], y, size)
    image[size:] = 0.0
    for i in range(size, length):
        near, far = bands[1, i - 1], bands[2, i - 2]
        image[i] += bands[0, i] * y[i] + near * y[i - 1] + far * y[i - 2]
        image[i - 1] += near * y[i]
        image[i - 2] += far * y[i]
    r_y, w_y = _dot(r, y, size), _dot(w, y, size)
    low = _root(_dot(y, image, length), 2 * c * r_y * w_y, c * v * r_y * r_y, v, rho, high)
    x = (low - v) * (1 - (rho / low) ** 2)
    for i in range(length):
        image[i] -= x * y[i]
    for i in range(size):
        image[i] += c / low * (r[i] * w_y + w[i] * r_y) + c * v / low**2 * r[i] * r_y
    return low, math.sqrt(_dot(image, image, length))


_AHEAD = 1 / 64
"""How far above what the last vector gives the first shift is tried."""

_STEEP = 10.0
"""Largest eigenvalue over its gap, as far as guesses of shifts go; a wrong one costs more shifts."""

_MOST_SHIFTS = 200
"""Halving alone needs about 50 to reach rounding."""

_FAR = 1.1
"""An eigenvalue this far above the tail's has a vector that falls off along it, by 0.64 or more a pair."""

_REACH = 128
"""Coordinates of the tail that such a vector reaches, to rounding."""

_CLOSER = 0.02
"""How close above the lower bound the next shift is tried, as a share of what separates the bounds."""


@compiled(fastmath=_REORDER)
def _dot(a: Array, b: Array, size: int) -> float:
    total = 0.0
    for i in range(size):
        total += a[i] * b[i]
    return total


@compiled(fastmath=_REORDER)
def _row_sums(e: Array, bands: Array) -> float:
    """Largest row sum of an evolved head, with its couplings to the tail."""
    size, length = e.shape[0], bands.shape[1]
    largest = 0.0
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += abs(e[i, j])
        if i >= size - 2 and size < length:
            total += abs(bands[2, i]) + abs(bands[1, i]) * (i == size - 1)
        largest = max(largest, total)
    return largest


@compiled(fastmath=_REORDER)
def _tail_row_sums(bands: Array, size: int) -> float:
    """Gershgorin's bound on the largest eigenvalue of a chain's tail."""
    largest = 0.0
    for i in range(size, bands.shape[1]):
        total = (
            bands[0, i] + abs(bands[1, i - 1]) + abs(bands[2, i - 2]) + abs(bands[1, i]) + abs(bands[2, i])
        )
        largest = max(largest, total)
    return largest


@compiled()
def _root(quotient: float, linear: float, constant: float, v: float, rho: float, high: float) -> float:
    """Largest root of `(x - v)(x^2 - rho^2) - quotient x^2 - linear x - constant`, by Newton from above.

    The cubic is the characteristic polynomial of a compressed Hessian, so its roots are real and Newton's
    method falls monotonically onto the largest.
    """
    x = high
    for _ in range(100):
        value = (x - v) * (x * x - rho * rho) - quotient * x * x - linear * x - constant
        slope = (x * x - rho * rho) + 2 * x * (x - v - quotient) - linear
        if not slope > 0.0:
            break
        step = value / slope
        x -= step
        if step <= 1e-16 * x:
            break
    return x


@compiled(fastmath=_REORDER)
def _factorise(
    w: Array,
    e: Array,
    v: float,
    r: Array,
    c: float,
    bands: Array,
    shift: float,
    rho: float,
    factors: Array,
    tail: Array,
) -> bool:
    """Eliminate the chain from its end, then the head; whether all pivots are positive."""
    size = w.size
    x = (shift - v) * (1 - (rho / shift) ** 2)
    positive, corner, edge, before = _eliminate_tail(bands, x, size, tail)
    if not positive:
        return False
    along_w, along_r = c / shift, c * v / shift**2
    for i in range(size):
        first, second = along_w * r[i], along_w * w[i] + along_r * r[i]
        for j in range(i, size):
            factors[i, j] = -e[i, j] - first * w[j] - second * r[j]
        factors[i, i] += x
    factors[size - 1, size - 1] += corner
    factors[size - 2, size - 1] += edge
    factors[size - 2, size - 2] += before
    for k in range(size):
        pivot = factors[k, k]
        if not pivot > 0.0:
            return False
        inverse = 1.0 / pivot
        for i in range(k + 1, size):
            share = factors[k, i] * inverse
            for j in range(i, size):
                factors[i, j] -= share * factors[k, j]
    return True


@compiled(fastmath=_REORDER)
def _eliminate_tail(bands: Array, x: float, size: int, tail: Array) -> tuple[bool, float, float, float]:
    """Eliminate `x - e` on the tail from its end.

    Whether all pivots are positive, and what to add to the head's last 2x2 block: in the last place, beside
    the diagonal, and in the place before.
    """
    length = bands.shape[1]
    if length == size:
        return True, 0.0, 0.0, 0.0
    pivot, off, carried = x - bands[0, length - 1], -bands[1, length - 2], 0.0
    for i in range(length - 1, size - 1, -1):
        if not pivot > 0.0:
            return False, 0.0, 0.0, 0.0
        far, inverse = -bands[2, i - 2], 1.0 / pivot
        tail[0, i], tail[1, i], tail[2, i] = inverse, off * inverse, far * inverse
        corner, edge = -off * tail[1, i] - carried, -off * tail[2, i]
        carried = far * tail[2, i]
        pivot, off = x - bands[0, i - 1] + corner, edge - bands[1, i - 2]
    return True, corner, edge, -carried


@compiled(fastmath=_REORDER)
def _solve(factors: Array, tail: Array, y: Array, size: int) -> tuple[float, float]:
    """Replace y by the normalised solution of `A z = y`; `|z|^2` and `z.y`."""
    length = y.size
    old = y.copy()
    for i in range(length - 1, size - 1, -1):
        y[i - 1] -= tail[1, i] * y[i]
        y[i - 2] -= tail[2, i] * y[i]
    for k in range(size):
        share = y[k] / factors[k, k]
        for i in range(k + 1, size):
            y[i] -= share * factors[k, i]
    for k in range(size - 1, -1, -1):
        total = y[k]
        for i in range(k + 1, size):
            total -= factors[k, i] * y[i]
        y[k] = total / factors[k, k]
    for i in range(size, length):
        y[i] = y[i] * tail[0, i] - tail[1, i] * y[i - 1] - tail[2, i] * y[i - 2]
    square, product = _dot(y, y, length), _dot(y, old, length)
    norm = math.sqrt(square)
    for i in range(length):
        y[i] /= norm
    return square, product
