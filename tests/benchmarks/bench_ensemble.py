"""Speed of the latent simulator against a NumPy loop and PyTorch on the raw weights, in one run.

Prints medians over paired repetitions; the ratios are what to quote.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from superconsistency.neural import TwoLayerLinear, descend
from superconsistency.simulations import Ensemble, simulate
from superconsistency.theory import evolve, gaussian_weights, initial_state, parametrization, uniform_target

WIDTH, STEPS, RATE, REPETITIONS = 1024, 300, 0.3, 5


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def sides(dimension: int, seeds: int) -> dict[str, Callable[[], object]]:
    """The same trajectories by each method, one network after the other where a method knows no other way."""
    runs = Ensemble(
        parametrization("mup"), uniform_target(dimension, 1.0), (WIDTH,), (RATE,), tuple(range(seeds))
    )
    problem = runs.problem(WIDTH)
    states = [initial_state(problem, runs.generator(WIDTH, seed)) for seed in runs.seeds]
    weights = [gaussian_weights(problem, runs.generator(WIDTH, seed)) for seed in runs.seeds]

    def numpy_loop() -> None:
        for state in states:
            for _ in range(STEPS):
                state = evolve(state, problem, RATE)  # noqa: PLW2901

    def raw_weights() -> None:
        for network in weights:
            for _ in descend(TwoLayerLinear(problem, network), RATE, STEPS):
                pass

    # Starts are drawn beforehand on all sides, so that only steps are timed.
    prepared = iter(states * (REPETITIONS + 1))
    return {
        "kernel": lambda: simulate(runs, record_at=(0, STEPS), start=lambda *_: next(prepared)),
        "NumPy loop": numpy_loop,
        "PyTorch raw weights": raw_weights,
    }


def main() -> None:
    np.seterr(all="raise")
    print(f"N = {WIDTH}, {STEPS} steps, {torch.get_num_threads()} threads, medians of {REPETITIONS} runs")
    for dimension, seeds in ((5, 16), (20, 16), (100, 16), (400, 4)):
        contestants = sides(dimension, seeds)
        for work in contestants.values():
            work()
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(REPETITIONS):
            for name, work in contestants.items():
                times[name].append(seconds(work))
        step = median(times["kernel"]) / (seeds * STEPS)
        print(f"\nD = {dimension}, {seeds} networks: kernel {1e6 * step:.2f} us a step and network")
        for name in list(contestants)[1:]:
            ratio = median(other / own for other, own in zip(times[name], times["kernel"], strict=True))
            print(f"  {name:20} takes {ratio:8.1f} times as long")


if __name__ == "__main__":
    main()
