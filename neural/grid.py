"""Grids of training runs over widths, learning rates and seeds, kept in the common record."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING

from ..errors import invalid, require_distinct
from ..records import empty_record
from .convnet import forward_cost
from .training import Diverged, Measurement, Probe, TrainingConfig, check_run, train

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from .data import Dataset

_MEASURED = ("sharpness", "sharpness_error", "sharpness_residual", "hessian_products")


@dataclass(frozen=True)
class Grid:
    """Which networks to train.

    Attributes
    ----------
    config
        What all runs share.
    widths, learning_rates, seeds
        The grid; every combination is one run.

    Raises
    ------
    InputError
        If a list is empty or has repetitions, or a value is out of range.
    """

    config: TrainingConfig
    widths: tuple[int, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("widths", "learning_rates", "seeds"):
            values = getattr(self, name)
            require_distinct(name.replace("_", " "), values)
        for run in product(self.widths, self.learning_rates, self.seeds):
            check_run(*run)

    def empty(self, data: Dataset) -> xr.Dataset:
        """The grid's record before any run.

        Raises
        ------
        InputError
            If a batch is larger than the data.
        """
        config, examples = self.config, len(data.targets)
        if config.batch_size > examples:
            raise invalid(
                "batch size",
                config.batch_size,
                accepted=f"1 to {examples}, the number of examples",
                remedy="pass a smaller one",
            )
        measured = _MEASURED if config.measure_sharpness else ()
        return empty_record(
            widths=self.widths,
            learning_rates=self.learning_rates,
            seeds=self.seeds,
            steps=config.measured_steps,
            quantities=("loss", *measured),
            configuration=asdict(config)
            | {
                "model": "SimpleConvNet",
                "loss": "cross-entropy",
                "optimizer": "SGD",
                "parametrization": config.parametrization.name,
                "data": data.name,
                "examples": examples,
                "probe_hash": Probe(config, data).hash,
                "device": str(data.inputs.device),
            },
            data_hash=data.hash,
        )


def train_grid(
    grid: Grid,
    data: Dataset,
    *,
    on_progress: Callable[[float, float], None] | None = None,
    on_measurement: Callable[[xr.Dataset], None] | None = None,
) -> xr.Dataset:
    """Train every network of a grid, narrow ones first.

    Parameters
    ----------
    grid
        What to run.
    data
        Training images, on the device to train on.
    on_progress
        Called with (work done, in all), in multiply-adds of forward passes.
    on_measurement
        Called with the record after each measurement, to save it, say: what is not run yet is NaN and not
        `completed`.

    Returns
    -------
    xarray.Dataset
        The common record; a run that diverged has the step in `diverged_step` and no values from there on.
    """
    record = grid.empty(data)
    probe = Probe(grid.config, data)
    axes = (range(len(grid.widths)), range(len(grid.learning_rates)), range(len(grid.seeds)))
    step_costs = [forward_cost(width) for width in grid.widths]
    total = sum(step_costs) * grid.config.steps * len(grid.learning_rates) * len(grid.seeds)
    finished = 0.0
    for cell in sorted(product(*axes), key=lambda cell: grid.widths[cell[0]]):
        width, rate, seed = grid.widths[cell[0]], grid.learning_rates[cell[1]], grid.seeds[cell[2]]
        cost = step_costs[cell[0]]

        def on_step(step: int, finished: float = finished, cost: float = cost) -> None:
            if on_progress is not None:
                on_progress(finished + cost * step, total)

        run = train(grid.config, data, probe, width=width, learning_rate=rate, seed=seed, on_step=on_step)
        for event in run:
            _enter(record, cell, grid.config.measured_steps, event)
            if on_measurement is not None:
                on_measurement(record)
        record["completed"].values[cell] = 1
        finished += cost * grid.config.steps
    if on_measurement is not None:
        on_measurement(record)
    return record


def _enter(
    record: xr.Dataset, cell: tuple[int, int, int], steps: tuple[int, ...], event: Measurement | Diverged
) -> None:
    """Enter a measurement or a divergence of one run."""
    if isinstance(event, Diverged):
        record["diverged_step"].values[cell] = event.step
        return
    place = (*cell, steps.index(event.step))
    record["loss"].values[place] = event.loss
    if event.sharpness is not None:
        record["sharpness"].values[place] = event.sharpness.value
        record["sharpness_error"].values[place] = event.sharpness.error_bound
        record["sharpness_residual"].values[place] = event.sharpness.residual
        record["hessian_products"].values[place] = event.sharpness.matvecs
