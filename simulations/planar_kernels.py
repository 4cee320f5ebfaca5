"""Compiled loops of the planar map in its universal coordinates; they validate nothing.

The map is iterated as `x+ = x (1 - m)`, `y+ = y (1 + m)`, `m = (x - y)(x + y)/2 - mu` and not as (a, p): it
takes eight operations a step, and beyond the edge, where `y` vanishes, `y` keeps its relative precision,
which `p - kappa a` loses by cancellation. Two things need care. Signs of x and y mean nothing, so whatever
compares points compares squares. And `y` runs into subnormal numbers, which are slow: below `NEGLIGIBLE` it
is set to zero, an invariant line; its square was beyond the reach of x long before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import prange

from .compiling import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]

INTERLEAVED = 64
"""Orbits a thread interleaves: enough that no step waits for the one before, few enough for the cache."""

BLOCK = 32
"""Steps between two looks for divergence; a block in which an orbit diverges is repeated to find the step."""

NEGLIGIBLE = 1e-140
"""A coordinate below this is set to zero; its square is on the verge of the subnormal numbers."""

RENORMALISE = 8
"""Steps a tangent vector takes between two logarithms."""

MINIMIZER, PERIOD_TWO, OTHER_FATE, DIVERGED = 0, 1, 2, 3
"""Fates that `find_fates` tells apart."""


@compiled(parallel=True)
def advance_universal(
    x: Array, y: Array, mu: Array, limit: float, steps: int, diverged_step: Integers
) -> None:
    """Take steps of many maps in place, interleaving `INTERLEAVED` orbits a thread so that they run in SIMD.

    Parameters
    ----------
    x, y, mu
        Points and parameters, shape (T,); points are overwritten.
    limit
        An orbit diverges at the first step whose `x^2 + y^2` is beyond it, or is no number.
    steps
        Steps to take.
    diverged_step
        Shape (T,), filled with the step of divergence or -1; the point is then the last one before it.
    """
    groups = (x.size + INTERLEAVED - 1) // INTERLEAVED
    for group in prange(groups):
        first = group * INTERLEAVED
        last = min(first + INTERLEAVED, x.size)
        _advance_group(x[first:last], y[first:last], mu[first:last], limit, steps, diverged_step[first:last])


@compiled()
def _advance_group(x: Array, y: Array, mu: Array, limit: float, steps: int, diverged_step: Integers) -> None:
    """Advance one group of orbits; a diverged one rests at the origin, a fixed point, until the end."""
    count = x.size
    here_x, here_y, parameter = np.zeros(INTERLEAVED), np.zeros(INTERLEAVED), np.zeros(INTERLEAVED)
    here_x[:count], here_y[:count], parameter[:count] = x, y, mu
    before_x, before_y = np.empty(INTERLEAVED), np.empty(INTERLEAVED)
    diverged_step[:] = -1
    for done in range(0, steps, BLOCK):
        before_x[:], before_y[:] = here_x, here_y
        for _ in range(min(BLOCK, steps - done)):
            for lane in range(INTERLEAVED):
                m = 0.5 * (here_x[lane] - here_y[lane]) * (here_x[lane] + here_y[lane]) - parameter[lane]
                here_x[lane] -= here_x[lane] * m
                here_y[lane] += here_y[lane] * m
        for lane in range(INTERLEAVED):
            if not here_x[lane] * here_x[lane] + here_y[lane] * here_y[lane] <= limit:
                taken, x[lane], y[lane] = _last_before(before_x[lane], before_y[lane], parameter[lane], limit)
                diverged_step[lane] = done + taken
                here_x[lane] = here_y[lane] = 0.0
            if math.fabs(here_y[lane]) < NEGLIGIBLE:
                here_y[lane] = 0.0
            if math.fabs(here_x[lane]) < NEGLIGIBLE:
                here_x[lane] = 0.0
    for lane in range(count):
        if diverged_step[lane] < 0:
            x[lane], y[lane] = here_x[lane], here_y[lane]


@compiled()
def _last_before(x: float, y: float, mu: float, limit: float) -> tuple[int, float, float]:
    """The step within a block at which an orbit diverges, and the point before it."""
    step, last_x, last_y = 0, x, y
    while x * x + y * y <= limit:
        last_x, last_y = x, y
        m = 0.5 * (x - y) * (x + y) - mu
        x, y = x - x * m, y + y * m
        step += 1
    return step, last_x, last_y


@compiled(parallel=True)
def record_universal(
    x: Array, y: Array, mu: Array, limit: float, seen_x: Array, seen_y: Array, diverged_step: Integers
) -> None:
    """Record the next points of many orbits, shape (T, points) each, the present ones first.

    An orbit that diverged before, or does now, has NaN from there on; `diverged_step` (T,) counts from the
    first recorded point and is left alone where it is not negative.
    """
    for orbit in prange(x.size):
        here_x, here_y = x[orbit], y[orbit]
        for step in range(seen_x.shape[1]):
            if diverged_step[orbit] < 0 and not here_x * here_x + here_y * here_y <= limit:
                diverged_step[orbit] = step
            if diverged_step[orbit] >= 0:
                seen_x[orbit, step:] = math.nan
                seen_y[orbit, step:] = math.nan
                break
            seen_x[orbit, step], seen_y[orbit, step] = here_x, here_y
            m = 0.5 * (here_x - here_y) * (here_x + here_y) - mu[orbit]
            here_x, here_y = here_x - here_x * m, here_y + here_y * m
            if math.fabs(here_y) < NEGLIGIBLE:
                here_y = 0.0


@compiled(parallel=True)
def measure_exponents(
    x: Array, y: Array, mu: Array, limit: float, growth: Array, diverged_step: Integers, stretch: int
) -> None:
    """Lyapunov exponents of many orbits, block by block, moving the points on.

    Parameters
    ----------
    x, y, mu, limit
        See `advance_universal`.
    growth
        Shape (T, blocks, 2), filled with each block's mean logarithm of the growth of a tangent vector and
        of an area; NaN in and after the block in which an orbit diverges.
    diverged_step
        Shape (T,); an orbit whose entry is not negative is left out, one that diverges gets its step.
    stretch
        Stretches of `RENORMALISE` steps in a block.
    """
    for orbit in prange(x.size):
        growth[orbit] = math.nan
        if diverged_step[orbit] < 0:
            diverged_step[orbit] = _measure_one(
                x[orbit : orbit + 1], y[orbit : orbit + 1], mu[orbit], limit, growth[orbit], stretch
            )


@compiled()
def _measure_one(x: Array, y: Array, mu: float, limit: float, growth: Array, stretch: int) -> int:
    """One orbit's exponents; the step at which it diverged, or -1.

    The Jacobian is `[[1 - m - x^2, x y], [x y, 1 + m - y^2]]`; the tangent vector takes to the direction of
    the largest exponent within the first block, which is why that one is not reported but passed over.
    """
    here_x, here_y = x[0], y[0]
    along, across = math.cos(0.7), math.sin(0.7)
    for block in range(-1, growth.shape[0]):
        line, area = 0.0, 0.0
        for part in range(stretch):
            determinant = 1.0
            for inner in range(RENORMALISE):
                if not here_x * here_x + here_y * here_y <= limit:
                    return ((block + 1) * stretch + part) * RENORMALISE + inner
                m = 0.5 * (here_x - here_y) * (here_x + here_y) - mu
                xx, xy, yy = 1 - m - here_x * here_x, here_x * here_y, 1 + m - here_y * here_y
                along, across = xx * along + xy * across, xy * along + yy * across
                determinant *= xx * yy - xy * xy
                here_x, here_y = here_x - here_x * m, here_y + here_y * m
            if math.fabs(here_y) < NEGLIGIBLE:
                here_y = 0.0
            length = math.hypot(along, across)
            line += math.log(length) if length > 0 else -math.inf
            area += math.log(math.fabs(determinant)) if determinant != 0 else -math.inf
            along, across = (along / length, across / length) if length > 0 else (1.0, 0.0)
        if block >= 0:
            growth[block, 0], growth[block, 1] = (
                line / (stretch * RENORMALISE),
                area / (stretch * RENORMALISE),
            )
    x[0], y[0] = here_x, here_y
    return -1


@compiled(parallel=True)
def find_fates(
    x: Array, y: Array, mu: float, limit: float, tolerance: float, outcome: Integers, steps: Integers
) -> None:
    """Follow many orbits of one map until each one's fate is known.

    Parameters
    ----------
    x, y
        Starts, shape (T,), overwritten by the last points.
    mu, limit
        See `advance_universal`.
    tolerance
        A minimizer is reached at `|m|` within it times the larger of mu and `x^2 + y^2`; a cycle of period
        two where a point returns after two steps to within this fraction of the way one step takes it.
    outcome, steps
        Shape (T,); outcomes, and the steps each took. `steps` holds the most that may be taken.
    """
    for orbit in prange(x.size):
        x[orbit], y[orbit], outcome[orbit], steps[orbit] = _find_fate(
            x[orbit], y[orbit], mu, limit, tolerance, steps[orbit]
        )


@compiled()
def _find_fate(
    x: float, y: float, mu: float, limit: float, tolerance: float, most: int
) -> tuple[float, float, int, int]:
    """The last point of an orbit, its outcome and the step at which that was known."""
    once_x, once_y, twice_x, twice_y = math.nan, math.nan, math.nan, math.nan
    for step in range(most + 1):
        x2, y2 = x * x, y * y
        if not x2 + y2 <= limit:
            return x, y, DIVERGED, step
        m = 0.5 * (x - y) * (x + y) - mu
        if math.fabs(m) <= tolerance * max(mu, x2 + y2):
            if x2 + y2 < 2:
                return x, y, MINIMIZER, step
        else:
            moved = math.fabs(x2 - once_x) + math.fabs(y2 - once_y)
            if math.fabs(x2 - twice_x) + math.fabs(y2 - twice_y) < tolerance * moved:
                return x, y, PERIOD_TWO, step
        twice_x, twice_y, once_x, once_y = once_x, once_y, x2, y2
        if step < most:
            x, y = x - x * m, y + y * m
            if math.fabs(y) < NEGLIGIBLE:
                y = 0.0
    return x, y, OTHER_FATE, most


@compiled()
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
