"""Ensembles of latent trajectories over widths, learning rates and seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import (
    as_names,
    invalid,
    require_function,
    require_instance,
    require_known,
    require_positive,
    require_whole,
)
from ..records import (
    NEVER,
    QUANTITIES,
    empty_record,
    require_schedule,
    take_over,
    with_run_variable,
)
from ..records.storage import require_record
from ..theory import OBSERVABLES, IsotropicTarget, LatentState, Problem
from ..theory.evolution import require_dimension
from .blocks import STATE_METHODS, plan_blocks
from .choice import choose_method
from .grid import Ensemble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr

    from ..errors import Names, Numbers
    from .blocks import Block, Start

    Progress = Callable[[int, int], None]

_LARGEST_RECORD = 10**8
"""Numbers that a record may hold."""


def simulate(
    ensemble: Ensemble,
    *,
    record_at: Numbers,
    quantities: Names = ("loss",),
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
        Steps at which to record, as `schedule` gives them, or one step.
    quantities
        Names from `theory.OBSERVABLES`. One that declares no tail is observed on states in all coordinates,
        which `auto` then holds; the networks of a seed are not those that the reduced method draws.
    start
        Gives the state at step zero from a problem and a generator, as `theory.initial_state` does. By
        default that of Gaussian weights is drawn in law.
    method
        `reduced`, `full`, `factored` or `auto`; see `choice`.
    on_progress
        Called with (trajectory-steps done, in all).
    on_block
        Called with the record each time some of its runs are complete, for example to save it.
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
    steps, quantities = _required(ensemble, record_at, quantities)
    _require_functions(start=start, on_progress=on_progress, on_block=on_block)
    blocks = list(plan_blocks(ensemble, steps, quantities, start, method))
    result = _empty(ensemble, steps, quantities, _configuration(ensemble, start, blocks))
    if resume is not None:
        take_over(result, require_record(resume))
    progress = _Counter(ensemble, steps, on_progress)
    for block in blocks:
        part = result.isel(width=block.width_index, seed=block.seeds)  # a view: entries reach the result
        if bool(part["completed"].all()):
            progress(block.runs * steps[-1])
        else:
            block.run(part, progress)
            if on_block is not None:
                on_block(result)
    return result


def _require_functions(**functions: object) -> None:
    for name, function in functions.items():
        require_function(name, function)


def plan_record(
    ensemble: Ensemble, record_at: Numbers, quantities: Names = ("loss",), method: str = "auto"
) -> xr.Dataset:
    """The record that `simulate` would fill, before any run; arguments and errors as there."""
    steps, quantities = _required(ensemble, record_at, quantities)
    blocks = list(plan_blocks(ensemble, steps, quantities, None, method))
    return _empty(ensemble, steps, quantities, _configuration(ensemble, None, blocks))


def _required(
    ensemble: object, record_at: Numbers, quantities: Names
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Steps and quantities; `InputError` unless steps ascend and quantities are known and described."""
    remedy = 'pass Ensemble("mup", [0.6, 0.8], widths=64, learning_rates=0.5, seeds=3), for example'
    require_instance("ensemble", ensemble, Ensemble, accepted="an Ensemble", remedy=remedy)
    names = as_names("quantities", quantities)
    for name in names:
        require_known("recorded quantity", name, OBSERVABLES)
        if name not in QUANTITIES:
            accepted = "one that records.schema.QUANTITIES describes"
            raise invalid("recorded quantity", name, accepted=accepted, remedy="add it with add_observable")
    return require_schedule(record_at), names


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
    require_dimension(start, problem)
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
        producer=__name__,
        threshold=2.0,
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
