"""Steps a second of the planar map: compiled, on two threads, against vectorised NumPy in the same run.

Both take the same orbits; the ratio is the median over paired repetitions.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import numba
import numpy as np
from superconsistency.simulations.planar import advance_planar
from superconsistency.theory import UniversalState, universal_step

if TYPE_CHECKING:
    from superconsistency.theory import Array

ORBITS, REPETITIONS = 8192, 7
COMPILED_STEPS, NUMPY_STEPS = 20_000, 500
RANGES = {"below the edge": (0.1, 0.9), "beyond the edge": (1.05, 1.9)}


def compiled(start: UniversalState, mu: Array) -> float:
    """Map steps a second of the compiled loop."""
    begun = time.perf_counter()
    advance_planar(start, mu, COMPILED_STEPS)
    return ORBITS * COMPILED_STEPS / (time.perf_counter() - begun)


def vectorised(start: UniversalState, mu: Array) -> float:
    """Map steps a second of NumPy, all orbits at once."""
    begun, state = time.perf_counter(), start
    for _ in range(NUMPY_STEPS):
        state = universal_step(state, mu)
    return ORBITS * NUMPY_STEPS / (time.perf_counter() - begun)


def main() -> None:
    """Print medians and the ratio below and beyond the edge."""
    numba.set_num_threads(min(2, numba.get_num_threads()))
    print(f"{ORBITS} orbits, {numba.get_num_threads()} threads, medians of {REPETITIONS} paired repetitions")
    start = UniversalState(np.full(ORBITS, 0.3), np.full(ORBITS, 0.3))
    for words, ends in RANGES.items():
        mu = np.linspace(*ends, ORBITS)
        advance_planar(start, mu, 1)
        pairs = [(compiled(start, mu), vectorised(start, mu)) for _ in range(REPETITIONS)]
        own, other = (median(pair[side] for pair in pairs) for side in (0, 1))
        ratio = median(one / two for one, two in pairs)
        print(f"{words:16} compiled {own:.1e} steps/s, NumPy {other:.1e} steps/s, ratio {ratio:.0f}")


if __name__ == "__main__":
    main()
