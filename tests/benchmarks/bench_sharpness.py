"""Time of one sharpness from (w, e, v) against Lanczos on the weights' Hessian, both in this run.

Run with `make bench`. Both give the same number; the ratio is the median over paired repetitions.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh
from superconsistency.theory import (
    OBSERVABLES,
    Problem,
    gaussian_weights,
    latent_state,
    parametrization,
    uniform_target,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.theory import Array, Weights

DIMENSIONS = (10, 50, 200, 500)
WIDTH = 1024
REPETITIONS = 15


def lanczos(problem: Problem, weights: Weights) -> float:
    """Largest eigenvalue of the Hessian by ARPACK on exact Hessian-vector products, to rounding."""
    first, second = weights
    residual = problem.multiplier * (first @ second) - problem.target
    size = first.size

    def product(flat: Array) -> Array:
        a, b = flat[:size].reshape(first.shape), np.ravel(flat[size:])
        q = problem.gram * (a @ second + first @ b)
        along_first = np.outer(q, second) + problem.kappa * np.outer(residual, b)
        along_second = first.T @ q + problem.kappa * (a.T @ residual)
        return np.concatenate([along_first.ravel(), along_second])

    shape = (size + second.size, size + second.size)
    operator = LinearOperator(shape, matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(shape[0])
    return float(eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False)[0])


def sides(dimension: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """The sharpness of one network at its start, in both ways."""
    problem = Problem(parametrization("mup"), WIDTH, uniform_target(dimension, 1.0))
    weights = gaussian_weights(problem, np.random.default_rng(dimension))
    state = latent_state(problem, weights)
    return lambda: float(OBSERVABLES["sharpness"].compute(state, problem)), lambda: lanczos(problem, weights)


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """Seconds one call takes, and what it gives."""
    begun = time.perf_counter()
    value = work()
    return time.perf_counter() - begun, value


def main() -> None:
    """Print medians and ratios by dimension."""
    print(f"sharpness, muP, N = {WIDTH}, start: medians of {REPETITIONS} paired repetitions")
    print(f"{'D':>5} {'(w, e, v)':>12} {'Lanczos':>12} {'ratio':>8} {'difference':>12}")
    for dimension in DIMENSIONS:
        runs = [tuple(map(timed, sides(dimension))) for _ in range(REPETITIONS)]
        exact, iterated = (median(run[side][0] for run in runs) for side in (0, 1))
        ratio = median(other[0] / one[0] for one, other in runs)
        error = max(abs(one[1] / other[1] - 1) for one, other in runs)
        print(f"{dimension:>5} {1e3 * exact:>9.2f} ms {1e3 * iterated:>9.1f} ms {ratio:>8.1f} {error:>12.1e}")


if __name__ == "__main__":
    main()
