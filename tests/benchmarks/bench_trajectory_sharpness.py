"""Cost of the sharpness along trajectories, in units of the steps it is measured at, in this run.

For each setting the same trajectories run with the loss alone and with the loss and the sharpness recorded,
in turns; the difference is the sharpness's cost, divided by that of full steps (Theorem 5.1 on all of e) and
by that of the method's own.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
from superconsistency.simulations import Ensemble, schedule, simulate
from superconsistency.theory import IsotropicTarget, parametrization

NETWORKS, STEPS, REPETITIONS = 32, 240, 7


def seconds(dimension: int, method: str, *, quantities: tuple[str, ...], every: int) -> float:
    """Wall time of one run."""
    ensemble = Ensemble(
        parametrization("mup"),
        IsotropicTarget(dimension, 1.0),
        (10 * dimension,),
        (0.3 * np.sqrt(dimension),),
        tuple(range(NETWORKS)),
    )
    begun = time.perf_counter()
    simulate(ensemble, record_at=schedule(STEPS, every), quantities=quantities, method=method)
    return time.perf_counter() - begun


def per_step(dimension: int, method: str, every: int) -> tuple[float, float]:
    """Microseconds of one step, and of one sharpness, a network; medians of paired runs."""
    sides = ((("loss",), STEPS), (("loss",), every), (("loss", "sharpness"), every))
    runs = [
        [seconds(dimension, method, quantities=names, every=often) for names, often in sides]
        for _ in range(REPETITIONS + 1)
    ][1:]
    step = median(run[0] for run in runs) / (NETWORKS * STEPS)
    sharpness = median(run[2] - run[1] for run in runs) / (NETWORKS * (STEPS // every + 1))
    return 1e6 * step, 1e6 * sharpness


def main() -> None:
    """Print times and ratios."""
    print(f"sharpness along trajectories, muP, N = 10 D, {NETWORKS} networks, medians of {REPETITIONS}")
    print(
        f"{'D':>6} {'method':>8} {'every':>6} {'step':>10} {'sharpness':>10} {'in steps':>9} {'in full':>8}"
    )
    for dimension in (20, 100, 400):
        full_step, _ = per_step(dimension, "full", STEPS)
        for method in ("reduced", "full"):
            for every in (1, 15):
                step, sharpness = per_step(dimension, method, every)
                print(
                    f"{dimension:>6} {method:>8} {every:>6} {step:>7.2f} us {sharpness:>7.2f} us "
                    f"{sharpness / step:>9.1f} {sharpness / full_step:>8.2f}"
                )


if __name__ == "__main__":
    main()
