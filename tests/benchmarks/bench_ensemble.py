"""Speed of the full kernel against JAX, a NumPy loop and PyTorch on the raw weights, in one run.

Sides take turns in one process; compilation and drawing of starts are not timed. Ratios are medians over
paired repetitions with their range: those are what to quote. `--json` prints one document with all numbers.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import jax_reference
import numba
import numpy as np
import peak
import torch
from rich.console import Console
from rich.table import Table
from superconsistency.neural import TwoLayerLinear, descend
from superconsistency.simulations.kernels import advance
from superconsistency.simulations.reduced import FIRST_SIZE, ReducedMethod
from superconsistency.theory import (
    LatentState,
    Problem,
    evolve,
    gaussian_weights,
    parametrization,
    uniform_target,
    wishart_state,
)
from superconsistency.theory.krylov_chain import Chain, chain_of_state, draw_chain, stack

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, RATE, REPETITIONS = 1024, 0.3, 7
KERNEL = "full kernel"
LONG = 3000
"""Steps of the reduced method, whose cost is mostly that of drawing or projecting its networks."""


class Size(NamedTuple):
    """One row of the table; each side takes its own number of steps, for runs of 0.1 to 1 s."""

    dimension: int
    trajectories: int
    steps: int
    slow_steps: int
    """Steps of the NumPy loop and of the raw weights."""


# Few enough steps that no residual reaches the subnormal numbers, which JAX takes for zero.
SIZES = (
    Size(5, 2560, 2000, 20),
    Size(20, 640, 2000, 50),
    Size(100, 160, 2000, 50),
    Size(400, 16, 1000, 20),
    Size(1000, 2, 1000, 4),
)


def kernel(problem: Problem, states: LatentState, steps: int) -> LatentState:
    """The states after some steps of the full kernel."""
    ends, count = LatentState(*(part.copy() for part in states)), len(states.v)
    rate, coupling, limit = (np.full(count, value) for value in (RATE, problem.kappa**2, np.inf))
    w, e, v = ends
    advance(w, e, v, problem.target, rate, coupling, limit, 0, steps, np.full(count, -1))
    return ends


def reduced(problem: Problem, chains: Chain, steps: int) -> None:
    """Some steps of the reduced method."""
    method = ReducedMethod(problem, np.array([RATE]), chains)
    method.advance(0, steps, np.full(len(chains.v), -1))


def project_and_reduce(problem: Problem, states: LatentState, steps: int) -> None:
    """The reduced method on given networks, their projection included."""
    networks = [LatentState(*(part[k] for part in states)) for k in range(len(states.v))]
    chains = [chain_of_state(state, problem, least=FIRST_SIZE, edge_precision=None) for state in networks]
    reduced(problem, stack(chains), steps)


def draw_and_reduce(problem: Problem, count: int, steps: int) -> None:
    """The reduced method on as many networks drawn in law, the drawing included."""
    generator = np.random.default_rng(0)
    reduced(problem, stack([draw_chain(problem, generator) for _ in range(count)]), steps)


def numpy_loop(problem: Problem, states: LatentState, steps: int) -> None:
    """The plain law, one network after the other."""
    for network in range(len(states.v)):
        state = LatentState(*(part[network] for part in states))
        for _ in range(steps):
            state = evolve(state, problem, RATE)


def raw_weights(problem: Problem, steps: int) -> None:
    """One network's weights."""
    weights = gaussian_weights(problem, np.random.default_rng(0))
    for _ in descend(TwoLayerLinear(problem, weights), RATE, steps):
        pass


def sides(problem: Problem, states: LatentState, size: Size) -> dict[str, tuple[Callable[[], object], int]]:
    """Every side: its work and the trajectory-steps in it. To add a side is to add an entry."""
    full, slow = size.trajectories * size.steps, size.trajectories * size.slow_steps
    long = size.trajectories * LONG
    return {
        KERNEL: (partial(kernel, problem, states, size.steps), full),
        **{
            f"JAX, {name}": (work, full)
            for name, work in jax_reference.contestants(problem, states, RATE, size.steps).items()
        },
        "reduced, networks drawn": (partial(draw_and_reduce, problem, size.trajectories, LONG), long),
        "reduced, networks given": (partial(project_and_reduce, problem, states, LONG), long),
        "NumPy loop": (partial(numpy_loop, problem, states, size.slow_steps), slow),
        "PyTorch raw weights": (partial(raw_weights, problem, size.slow_steps), size.slow_steps),
    }


def timed(work: Callable[[], object], steps: int) -> float:
    """Seconds a trajectory-step."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) / steps


def measure(size: Size, machine: peak.Machine) -> dict[str, Any]:
    """Times, ratios to the kernel and fractions of the machine's limits at one size."""
    problem = Problem(parametrization("mup"), WIDTH, uniform_target(size.dimension, 1.0))
    draws = [wishart_state(problem, np.random.default_rng(seed)) for seed in range(size.trajectories)]
    parts = ([np.asarray(getattr(draw, name)) for draw in draws] for name in LatentState._fields)
    states = LatentState(*(np.array(part, dtype=np.float64) for part in parts))
    contestants = sides(problem, states, size)
    for work, _ in contestants.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(REPETITIONS):
        for name, contestant in contestants.items():
            times[name].append(timed(*contestant))
    own = times[KERNEL]
    limits = {"minimal": peak.minimal(size.dimension), "simple": peak.simple(size.dimension)}
    ratios = {
        name: sorted(other / mine for other, mine in zip(times[name], own, strict=True)) for name in times
    }
    of_jax = {name: median(values) for name, values in ratios.items() if name.startswith("JAX")}
    return {
        **size._asdict(),
        "microseconds": {name: 1e6 * median(values) for name, values in times.items()},
        "ratio": {name: [median(values), values[0], values[-1]] for name, values in ratios.items()},
        "quickest_jax": min(of_jax, key=of_jax.__getitem__, default=None),
        "fraction": {name: machine.seconds(work) / median(own) for name, work in limits.items()},
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """Ratios by size, with fractions of the limits."""
    title = f"N = {WIDTH}, {numba.get_num_threads()} threads, medians of {REPETITIONS} (range)"
    shown = Table(
        "D", "side", "us a step", "times the kernel's", "of the limit", "of the simple limit", title=title
    )
    for row in rows:
        for name, spent in row["microseconds"].items():
            middle, low, high = row["ratio"][name]
            mark = " *" if name == row["quickest_jax"] else ""
            fractions = [f"{row['fraction'][kind]:.0%}" if name == KERNEL else "" for kind in row["fraction"]]
            ratio = "" if name == KERNEL else f"{middle:.3g} ({low:.3g} to {high:.3g})"
            shown.add_row(str(row["dimension"]), name + mark, f"{spent:.3f}", ratio, *fractions)
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--dimensions", type=int, nargs="*", help="only these of the sizes")
    options = parser.parse_args()
    torch.set_num_threads(numba.get_num_threads())
    machine = peak.Machine()
    rows = [
        measure(size, machine) for size in SIZES if size.dimension in (options.dimensions or [size.dimension])
    ]
    limits = {"register_fmas": machine.register_fmas, "cache_fmas": machine.cache_fmas}
    if options.json:
        print(json.dumps({"jax": jax_reference.version(), "limits": limits, "sizes": rows}, indent=2))
        return
    Console().print(table(rows))
    print("* JAX's quickest" if jax_reference.version() else "JAX is not installed: its sides are left out")


if __name__ == "__main__":
    main()
