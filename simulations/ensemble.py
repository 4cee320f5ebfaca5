"""Ensembles of latent trajectories over widths, learning rates and seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import invalid, require_distinct, require_known, require_positive, require_whole
from ..records import NEVER, empty_record, require_schedule, take_over, with_run_variable
from ..theory import OBSERVABLES, IsotropicTarget, LatentState, Problem
from ..theory.krylov_chain import target_coordinates
from .blocks import STATE_METHODS, plan
from .choice import choose_method

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr

    from ..theory import Array, Parametrization
    from .blocks import Block, Start

    Progress = Callable[[int, int], None]

_LARGEST_RECORD = 10**8
"""Numbers that a record may hold."""


def _plain(value: float) -> float:
    """A number of NumPy's as Python's own."""
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A grid of latent trajectories.

    Attributes
    ----------
    parametrization
        A row of the table.
    target
        `w*`, shape (D,), or `IsotropicTarget` where only its norm matters; D may then be of any size.
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
    target: Array | IsotropicTarget
    widths: tuple[float, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("widths", "learning_rates", "seeds"):
            values = tuple(_plain(value) for value in getattr(self, name))
            object.__setattr__(self, name, values)
            require_distinct(name.replace("_", " "), values)
        for rate in self.learning_rates:
            require_positive("learning rate", rate, example=0.5)
        for seed in self.seeds:
            require_whole("seed", seed, least=0, example=0)
        for width in self.widths:
            self.compact_problem(width)

    @property
    def runs(self) -> int:
        """Trajectories in all."""
        return len(self.widths) * len(self.learning_rates) * len(self.seeds)

    def problem(self, width: float) -> Problem:
        """The problem at one width, in all its coordinates."""
        target = self.target.vector if isinstance(self.target, IsotropicTarget) else self.target
        return Problem(self.parametrization, width, target)

    def compact_problem(self, width: float) -> Problem:
        """The problem at one width, along the target only."""
        if isinstance(self.target, IsotropicTarget):
            return Problem(self.parametrization, width, np.array([self.target.norm]), self.target.dimension)
        return target_coordinates(self.problem(width), 1)

    def generator(self, width: float, seed: int) -> np.random.Generator:
        """The randomness of one network; independent between widths as between seeds."""
        return np.random.default_rng([seed, 0 if math.isinf(width) else int(width)])


def simulate(
    ensemble: Ensemble,
    *,
    record_at: Sequence[int],
    quantities: Sequence[str] = ("loss",),
    start: Start | None = None,
    method: str = "auto",
    on_progress: Progress | None = None,
    on_block: Callable[[xr.Dataset], None] | None = None,
    resume: xr.Dataset | None = None,
) -> xr.Dataset:
    """Run every trajectory of an ensemble to the last recorded step.

    Parameters
    ----------
    ensemble
        What to run.
    record_at
        Steps at which to record, as `schedule` gives them.
    quantities
        Names from `theory.OBSERVABLES`.
    start
        Gives the state at step zero from a problem and a generator, as `theory.initial_state` does. By
        default that of Gaussian weights is drawn in law, whatever the width and dimension.
    method
        `reduced`, `full`, `factored` or `auto`; see `choice`.
    on_progress
        Called with (trajectory-steps done, in all).
    on_block
        Called with the record each time some of its runs are complete, to save it, say.
    resume
        A record of the same call of which some runs are complete: those are taken over, to the bit.

    Returns
    -------
    xarray.Dataset
        The common record; no values from `diverged_step` on; `truncation_error` is an estimate.

    Raises
    ------
    InputError
        If a quantity is unknown, steps do not ascend, memory is too small, or `resume` is of another call.
    """
    steps = _required(record_at, quantities)
    blocks = list(plan(ensemble, steps, quantities, start, method))
    result = _empty(ensemble, steps, quantities, _configuration(ensemble, start, blocks))
    if resume is not None:
        take_over(result, resume)
    progress = _Counter(ensemble, steps, on_progress)
    for block in blocks:
        part = result.isel(width=block.width_index, seed=block.seeds)  # a view: entries reach the result
        if bool(part["completed"].all()):
            progress(block.runs * steps[-1])
            continue
        block.run(part, progress)
        if on_block is not None:
            on_block(result)
    return result


def plan_record(
    ensemble: Ensemble, record_at: Sequence[int], quantities: Sequence[str] = ("loss",), method: str = "auto"
) -> xr.Dataset:
    """The record that `simulate` would fill, before any run; arguments and errors as there."""
    steps = _required(record_at, quantities)
    blocks = list(plan(ensemble, steps, quantities, None, method))
    return _empty(ensemble, steps, quantities, _configuration(ensemble, None, blocks))


def _required(record_at: Sequence[int], quantities: Sequence[str]) -> tuple[int, ...]:
    """The steps; `InputError` unless they ascend and the quantities are known."""
    for name in quantities:
        require_known("recorded quantity", name, OBSERVABLES)
    return require_schedule(record_at)


class _Counter:
    """Counts trajectory-steps for a progress callback."""

    def __init__(self, ensemble: Ensemble, steps: Sequence[int], on_progress: Progress | None) -> None:
        self._taken, self._total = 0, ensemble.runs * steps[-1]
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
    choice = choose_method(method, problem, start_given=True, states_wanted=True)
    states = LatentState(*(np.asarray(part, dtype=np.float64)[None] for part in start))
    runner = STATE_METHODS[choice.method](problem, np.array([learning_rate]), states)
    diverged_step = np.full(1, NEVER, dtype=np.int64)
    history = LatentState(*(np.full((steps + 1, *np.shape(part)), np.nan) for part in start))
    for step in range(steps + 1):
        runner.advance(max(step - 1, 0), step, diverged_step)
        if diverged_step[0] >= 0:
            break
        for kept, part in zip(history, runner.states(), strict=True):
            kept[step] = part[0]
    return history


def _empty(
    ensemble: Ensemble, steps: Sequence[int], quantities: Sequence[str], configuration: dict[str, object]
) -> xr.Dataset:
    if ensemble.runs * len(steps) > _LARGEST_RECORD:
        raise invalid(
            "runs times recorded steps",
            ensemble.runs * len(steps),
            accepted=f"at most {_LARGEST_RECORD}",
            remedy="record less often, or run fewer seeds",
        )
    record = empty_record(
        widths=ensemble.widths,
        learning_rates=ensemble.learning_rates,
        seeds=ensemble.seeds,
        steps=steps,
        quantities=quantities,
        configuration=configuration,
    )
    return with_run_variable(record, "truncation_error")


def _configuration(ensemble: Ensemble, start: Start | None, blocks: Sequence[Block]) -> dict[str, object]:
    target = ensemble.target
    described: object = (
        {"dimension": target.dimension, "norm": target.norm}
        if isinstance(target, IsotropicTarget)
        else target.tolist()
    )
    return {
        "model": "two-layer linear network, latent state (Theorem 5.1)",
        "parametrization": ensemble.parametrization.name,
        "target": described,
        "widths": [str(width) for width in ensemble.widths],
        "learning_rates": list(ensemble.learning_rates),
        "start": "in law" if start is None else getattr(start, "__name__", repr(start)),
        "method": {str(block.width): block.choice._asdict() for block in blocks},
    }
