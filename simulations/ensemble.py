"""Ensembles of latent trajectories over widths, learning rates and seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from ..errors import invalid, require_distinct, require_known, require_positive, require_whole
from ..records import NEVER, empty_record
from ..theory import OBSERVABLES, LatentState, Problem, initial_state
from .methods import choose_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import xarray as xr

    from ..theory import Array, Observable, Parametrization

    Start = Callable[[Problem, np.random.Generator], LatentState]
    Progress = Callable[[int, int], None]

DIVERGENCE_FACTOR = 1e30
"""A loss this many times the initial one (or |w*|^2 / 2, or 1, if larger) counts as divergence."""

_UPDATES = 10**9
"""Entries of `e` that one call of a kernel may update: about a second."""

_LARGEST_RECORD = 10**8
"""Numbers that a record may hold."""

_LARGEST_STATES = 2**31
"""Bytes of latent state that one network at all learning rates may take."""

_MEMORY = 2**28
"""Bytes of latent state that are advanced together."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A grid of latent trajectories.

    Attributes
    ----------
    parametrization
        A row of the table.
    target
        `w*`, shape (D,).
    widths
        Hidden widths, finite or `math.inf`.
    learning_rates
        Base learning rates `eta0`, above zero.
    seeds
        One network per width and seed; all learning rates start from the same one.

    Raises
    ------
    InputError
        If any value is out of range, naming it.
    """

    parametrization: Parametrization
    target: Array
    widths: tuple[float, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("widths", "learning_rates", "seeds"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            require_distinct(name.replace("_", " "), values)
        for rate in self.learning_rates:
            require_positive("learning rate", rate, example=0.5)
        for seed in self.seeds:
            require_whole("seed", seed, least=0, example=0)
        for width in self.widths:
            self.problem(width)

    def problem(self, width: float) -> Problem:
        """The problem at one width."""
        return Problem(self.parametrization, width, self.target)

    def generator(self, width: float, seed: int) -> np.random.Generator:
        """The randomness of one network; independent between widths as between seeds."""
        return np.random.default_rng([seed, 0 if math.isinf(width) else int(width)])


def simulate(
    ensemble: Ensemble,
    *,
    record_at: Sequence[int],
    quantities: Sequence[str] = ("loss",),
    start: Start = initial_state,
    method: str = "auto",
    on_progress: Progress | None = None,
    on_block: Callable[[xr.Dataset], None] | None = None,
) -> xr.Dataset:
    """Run every trajectory of an ensemble to the last recorded step.

    Parameters
    ----------
    ensemble
        What to run.
    record_at
        Steps at which to record, ascending; see `schedule`.
    quantities
        Names from `theory.OBSERVABLES`.
    start
        Gives the state at step zero from a problem and a generator: `theory.initial_state` (Gaussian
        weights, or the limit at infinite width) or `theory.limit_state`.
    method
        `full`, `factored` or `auto`; see `methods`.
    on_progress
        Called with (trajectory-steps done, in all).
    on_block
        Called with the record each time some of its runs are complete, to save it, say.

    Returns
    -------
    xarray.Dataset
        The common record. A trajectory that diverged has the step in `diverged_step` and no values from
        there on.

    Raises
    ------
    InputError
        If a quantity is unknown or the steps are not ascending from at least zero.
    """
    steps = _checked_schedule(record_at)
    _check_size(ensemble, len(steps))
    observables = [_observable(name) for name in quantities]
    result = _empty(ensemble, steps, quantities, _configuration(ensemble, start, method))
    progress = _Counter(ensemble, steps, on_progress)
    for width_index, seeds in product(range(len(ensemble.widths)), _seed_slices(ensemble)):
        problem = ensemble.problem(ensemble.widths[width_index])
        networks = [start(problem, ensemble.generator(problem.width, seed)) for seed in ensemble.seeds[seeds]]
        block = _Block(problem, networks, ensemble.learning_rates, method)
        part = result.isel(width=width_index, seed=seeds)  # a view: what is entered is entered in the result
        block.run(part, observables, progress)
        if on_block is not None:
            on_block(result)
    return result


class _Counter:
    """Counts trajectory-steps for a progress callback."""

    def __init__(self, ensemble: Ensemble, steps: Sequence[int], on_progress: Progress | None) -> None:
        runs = len(ensemble.widths) * len(ensemble.learning_rates) * len(ensemble.seeds)
        self._taken, self._total = 0, runs * steps[-1]
        self._on_progress = on_progress

    def __call__(self, taken: int) -> None:
        self._taken += taken
        if self._on_progress is not None:
            self._on_progress(self._taken, self._total)


def trajectory(
    problem: Problem, start: LatentState, learning_rate: float, steps: int, method: str = "auto"
) -> LatentState:
    """Every state of one trajectory from a given one.

    Parameters
    ----------
    problem, start, learning_rate
        What to run: one state, `w` of shape (D,).
    steps
        Steps to take.
    method
        As for `simulate`.

    Returns
    -------
    LatentState
        Shapes (steps + 1, D), (steps + 1, D, D) and (steps + 1,); NaN from the step of divergence on.
    """
    require_positive("learning rate", learning_rate, example=0.5)
    require_whole("steps", steps, least=0, example=200)
    block = _Block(problem, [start], (learning_rate,), method)
    history = LatentState(*(np.full((steps + 1, *np.shape(part)), np.nan) for part in start))
    for step in range(steps + 1):
        block.advance(max(step - 1, 0), step)
        if block.diverged_step[0] >= 0:
            break
        for kept, part in zip(history, block.method.states(), strict=True):
            kept[step] = part[0]
    return history


class _Block:
    """Networks of one width, each at every learning rate, that advance together."""

    def __init__(
        self, problem: Problem, networks: list[LatentState], learning_rates: Sequence[float], method: str
    ) -> None:
        self.problem = problem
        self.shape = (len(learning_rates), len(networks))
        columns = zip(*(networks * len(learning_rates)), strict=True)
        states = LatentState(*(np.array(column, dtype=np.float64) for column in columns))
        initial = OBSERVABLES["loss"].compute(states, problem)
        reference = np.maximum(initial, max(1.0, 0.5 * float(problem.target @ problem.target)))
        rates = np.repeat(np.array(learning_rates, dtype=np.float64), len(networks))
        self.method = choose_method(method, problem)(problem, states, rates, DIVERGENCE_FACTOR * reference)
        self.diverged_step = np.full(rates.size, NEVER, dtype=np.int64)

    def run(
        self, part: xr.Dataset, observables: Sequence[Observable], on_steps: Callable[[int], None]
    ) -> None:
        """Run to the last step, entering what is seen into a record of dimensions (rate, seed, step)."""
        for index, (before, after) in enumerate(pairwise((0, *part["step"].to_numpy().tolist()))):
            self.advance(before, after, on_steps)
            for name, values in self.observe(observables).items():
                part[name].values[..., index] = values
        part["diverged_step"].values[...] = self.diverged_step.reshape(self.shape)
        part["completed"].values[...] = 1

    def advance(self, before: int, after: int, on_steps: Callable[[int], None] | None = None) -> None:
        """Step from one recorded step to the next, in calls short enough to be interrupted between them."""
        runs = self.diverged_step.size
        most = max(1, _UPDATES // (runs * self.problem.dimension**2))
        for first in range(before, after, most):
            last = min(first + most, after)
            self.method.advance(first, last, self.diverged_step)
            if on_steps is not None:
                on_steps(runs * (last - first))

    def observe(self, observables: Sequence[Observable]) -> dict[str, Array]:
        """Observables by name, NaN for diverged trajectories; shape (learning rates, seeds)."""
        alive = self.diverged_step < 0
        states = LatentState(*(part[alive] for part in self.method.states()))
        result = {}
        for observable in observables:
            values = np.full(self.diverged_step.size, np.nan)
            values[alive] = observable.compute(states, self.problem)
            result[observable.name] = values.reshape(self.shape)
        return result


def _seed_slices(ensemble: Ensemble) -> Iterator[slice]:
    """Cut the seeds so that a block's states stay within `_MEMORY`."""
    bytes_per_seed = 8 * ensemble.target.size**2 * len(ensemble.learning_rates)
    size = max(1, _MEMORY // bytes_per_seed)
    for first in range(0, len(ensemble.seeds), size):
        yield slice(first, first + size)


def _checked_schedule(record_at: Sequence[int]) -> tuple[int, ...]:
    steps = tuple(record_at)
    if not steps or steps[0] < 0 or any(before >= after for before, after in pairwise(steps)):
        raise invalid(
            "recorded steps",
            steps,
            accepted="ascending whole numbers of at least 0",
            remedy="use schedule(steps)",
        )
    return steps


def _check_size(ensemble: Ensemble, records: int) -> None:
    """Refuse ensembles that do not fit into memory."""
    runs = len(ensemble.widths) * len(ensemble.learning_rates) * len(ensemble.seeds)
    if runs * records > _LARGEST_RECORD:
        raise invalid(
            "runs times recorded steps",
            runs * records,
            accepted=f"at most {_LARGEST_RECORD}",
            remedy="record less often, or run fewer seeds",
        )
    dimension, rates = ensemble.target.size, len(ensemble.learning_rates)
    if 8 * dimension**2 * rates > _LARGEST_STATES:
        largest = math.isqrt(_LARGEST_STATES // (8 * rates))
        raise invalid(
            "dimension",
            dimension,
            accepted=f"at most {largest} at {rates} learning rates",
            remedy="use a smaller dimension, or fewer learning rates",
        )


def _observable(name: str) -> Observable:
    require_known("recorded quantity", name, OBSERVABLES)
    return OBSERVABLES[name]


def _empty(
    ensemble: Ensemble, steps: Sequence[int], quantities: Sequence[str], configuration: dict[str, object]
) -> xr.Dataset:
    return empty_record(
        widths=ensemble.widths,
        learning_rates=ensemble.learning_rates,
        seeds=ensemble.seeds,
        steps=steps,
        quantities=quantities,
        configuration=configuration,
    )


def _configuration(ensemble: Ensemble, start: Start, method: str) -> dict[str, object]:
    return {
        "model": "two-layer linear network, latent state (Theorem 5.1)",
        "parametrization": ensemble.parametrization.name,
        "target": ensemble.target.tolist(),
        "widths": [str(width) for width in ensemble.widths],
        "learning_rates": list(ensemble.learning_rates),
        "start": getattr(start, "__name__", repr(start)),
        "method": {
            str(width): choose_method(method, ensemble.problem(width)).name for width in ensemble.widths
        },
    }
