"""The limits of this machine, and the time they leave for a step of the full law.

Work of a step, for one trajectory of dimension D. `minimal`: the best algorithm known here holds one
triangle of `e`, D^2/2 entries, and does three fused multiply-adds (FMAs) an entry held: one updates it (with
`w = w* + r` the law is one outer product a step), two multiply it and its mirror image with the residual.
Updates of several steps can wait for each other, so an entry must be read once a step and need not be
written: 8 bytes an entry held. `simple`: the full matrix, three FMAs and 16 bytes (read, write) an entry.
The limit is the slower of FMAs at the in-cache rate and bytes at the bandwidth measured for the working set
of the trajectories in flight, one a thread. Vectors of length D are left out in both.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np
from numba import njit, prange
from superconsistency.simulations.vector_kernels import (
    LANES,
    add,
    fma,
    load_vector,
    splat,
    store_vector,
    total,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_CHAINS = 12
_RESIDENT = 2048
"""Numbers a thread reads again and again: 16 KiB, inside a first-level cache."""


class Work(NamedTuple):
    """What a step needs a trajectory."""

    fmas: float
    read: float
    """Bytes."""
    written: float
    held: float
    """Bytes of the working set."""


def minimal(dimension: int) -> Work:
    """One triangle, one outer product."""
    entries = dimension * (dimension + 1) / 2
    return Work(3 * entries, 8 * entries, 0.0, 8 * entries)


def simple(dimension: int) -> Work:
    """The full matrix, read and written."""
    entries = float(dimension**2)
    return Work(3 * entries, 8 * entries, 8 * entries, 8 * entries)


@njit(parallel=True)
def _fma_registers(rounds: int, out: Array) -> None:
    for thread in prange(out.size):
        x, y = splat(1.0 + 1e-9 * thread), splat(1e-9)
        a, b, c, d, e, f = y, y, x, x, add(x, y), add(y, y)
        g, h, i, j, k, m = add(a, f), add(c, e), add(c, f), add(d, e), add(e, e), add(f, f)
        for _ in range(rounds):
            a, b, c, d, e, f = (
                fma(a, x, y),
                fma(b, x, y),
                fma(c, x, y),
                fma(d, x, y),
                fma(e, x, y),
                fma(f, x, y),
            )
            g, h, i, j, k, m = (
                fma(g, x, y),
                fma(h, x, y),
                fma(i, x, y),
                fma(j, x, y),
                fma(k, x, y),
                fma(m, x, y),
            )
        first = add(add(add(a, b), add(c, d)), add(e, f))
        out[thread] = total(add(first, add(add(add(g, h), add(i, j)), add(k, m))))


@njit(parallel=True)
def _fma_in_cache(rounds: int, data: Array, out: Array) -> None:
    """Two FMAs a vector read, as in a product with a symmetric matrix."""
    for thread in prange(out.size):
        x, row = splat(0.5), data[thread]
        zero = splat(0.0)
        a, b, c, d, e, f, g, h = (zero, zero, zero, zero, zero, zero, zero, zero)
        for _ in range(rounds):
            for at in range(0, row.size, 4 * LANES):
                p, q = load_vector(row, at), load_vector(row, at + LANES)
                r, s = load_vector(row, at + 2 * LANES), load_vector(row, at + 3 * LANES)
                a, b, c, d = fma(p, x, a), fma(q, x, b), fma(r, x, c), fma(s, x, d)
                e, f, g, h = fma(p, p, e), fma(q, q, f), fma(r, r, g), fma(s, s, h)
        out[thread] = total(add(add(add(a, b), add(c, d)), add(add(e, f), add(g, h))))


@njit(parallel=True)
def _read(rounds: int, data: Array, out: Array) -> None:
    for thread in prange(out.size):
        row, a = data[thread], splat(0.0)
        b, c, d = a, a, a
        for _ in range(rounds):
            for at in range(0, row.size, 4 * LANES):
                a, b = add(a, load_vector(row, at)), add(b, load_vector(row, at + LANES))
                c, d = add(c, load_vector(row, at + 2 * LANES)), add(d, load_vector(row, at + 3 * LANES))
        out[thread] = total(add(add(a, b), add(c, d)))


@njit(parallel=True)
def _read_write(rounds: int, data: Array, out: Array) -> None:
    for thread in prange(out.size):
        row, x = data[thread], splat(1e-3)
        for _ in range(rounds):
            for at in range(0, row.size, 4 * LANES):
                for part in range(at, at + 4 * LANES, LANES):
                    store_vector(row, part, add(load_vector(row, part), x))
        out[thread] = row[0]


def _rate(work: Callable[[int], None], amount: float, repetitions: int = 7, lasting: float = 0.02) -> float:
    """Largest amount a second; a limit is what was reached once."""
    work(1)
    rounds, seconds = 1, 0.0
    while seconds < lasting:
        rounds *= 2
        begun = time.perf_counter()
        work(rounds)
        seconds = time.perf_counter() - begun
    best = seconds
    for _ in range(repetitions):
        begun = time.perf_counter()
        work(rounds)
        best = min(best, time.perf_counter() - begun)
    return amount * rounds / best


def _rows(size: int) -> Array:
    """Data of every thread, beginning on cache lines."""
    raw = np.zeros(numba.get_num_threads() * size + LANES)
    begin = (-(raw.ctypes.data // 8)) % LANES
    return raw[begin : begin + raw.size - LANES].reshape(-1, size)


class Machine:
    """Measured limits, all threads together."""

    def __init__(self) -> None:
        threads = numba.get_num_threads()
        self._out = np.zeros(threads)
        self.register_fmas = _rate(
            lambda n: _fma_registers(1000 * n, self._out), 1000.0 * _CHAINS * LANES * threads
        )
        resident = _rows(_RESIDENT)
        self.cache_fmas = _rate(lambda n: _fma_in_cache(n, resident, self._out), 2.0 * resident.size)

    def bandwidth(self, held: float) -> tuple[float, float]:
        """Bytes a second read, and read and written, for so many bytes a thread."""
        step = 4 * LANES
        data = _rows(max(step, round(held / 8 / step) * step))
        read = _rate(lambda n: _read(n, data, self._out), 8.0 * data.size)
        both = _rate(lambda n: _read_write(n, data, self._out), 16.0 * data.size)
        return read, both

    def seconds(self, work: Work) -> float:
        """Least time of a step, averaged over trajectories on all threads."""
        read, both = self.bandwidth(work.held)
        moved = work.read / read if not work.written else (work.read + work.written) / both
        return max(work.fmas / self.cache_fmas, moved)


def main() -> None:
    """Print the limits."""
    machine = Machine()
    print(
        f"{numba.get_num_threads()} threads, float64 FMAs: registers {machine.register_fmas / 1e9:.1f} G/s,"
    )
    print(f"first-level cache {machine.cache_fmas / 1e9:.1f} G/s")
    print(f"{'D':>5} {'read':>10} {'read+write':>11} {'minimal':>11} {'simple':>11}")
    for dimension in (5, 20, 100, 400, 1000):
        read, both = machine.bandwidth(minimal(dimension).held)
        least, plain = (1e6 * machine.seconds(work(dimension)) for work in (minimal, simple))
        print(
            f"{dimension:>5} {read / 1e9:>5.0f} GB/s {both / 1e9:>6.0f} GB/s "
            f"{least:>8.3f} us {plain:>8.3f} us"
        )


if __name__ == "__main__":
    main()
