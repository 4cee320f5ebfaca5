"""Grids of training runs over widths, learning rates and seeds, kept in the common record."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...errors import as_rates, as_seeds, as_sizes, invalid, require_integer, require_positive
from ...records import empty_record, take_over
from ..data import IMAGES
from ..memory import freed_memory_kept
from ..networks import WIDEST, require_kind
from ..precision import full_precision
from .config import require_config
from .probe import Probe, freeze
from .run_group import GivenUp, Measurement, Run, RunGroup, data_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import xarray as xr

    from ...errors import Numbers
    from ..data import Dataset
    from ..networks import Network
    from .checkpoint import Checkpoint
    from .config import TrainingConfig
    from .run_group import Event

LARGEST_RATE = 1e30
"""Times the widest network's factor it is still a single-precision number."""

STACKED = {"cpu": 2.5e5}
"""Multiply-adds of one example's forward pass up to which networks train together, by device type: beyond,
each by itself is as fast (`make bench-training`)."""

STACKED_ELSEWHERE = 2.5e7
"""The same on devices that were not measured, where small networks wait for the launch of operations."""

MOST_STACKED = 32


@dataclass(frozen=True)
class Grid:
    """Which networks to train.

    Widths, learning rates and seeds may be passed in any order, as one number, a list, a range or an array;
    they are kept in ascending order, which is that of the record.

    Attributes
    ----------
    config
        What all runs share.
    widths, learning_rates, seeds
        The grid; every combination is one run. One number n for the seeds means 0 to n - 1, as `--seeds`
        does.

    Raises
    ------
    InputError
        If a list is empty, two of its values differ by no more than rounding, or one is out of range.
    """

    config: TrainingConfig
    widths: tuple[int, ...]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]

    if TYPE_CHECKING:  # what may be passed, which is more than what is kept

        def __init__(
            self, config: TrainingConfig, widths: Numbers, learning_rates: Numbers, seeds: Numbers
        ) -> None: ...

    def __post_init__(self) -> None:
        require_config(self.config)
        kept = {
            "widths": as_sizes("widths", self.widths, example=64),
            "learning_rates": as_rates("learning rates", self.learning_rates, example=0.5),
            "seeds": as_seeds(self.seeds),
        }
        for name, values in kept.items():
            object.__setattr__(self, name, values)
        for run in self.runs:
            check_run(*run)

    @property
    def runs(self) -> list[Run]:
        """Every run, in the record's order."""
        return [Run(*run) for run in product(self.widths, self.learning_rates, self.seeds)]

    def empty(self, data: Dataset) -> xr.Dataset:
        """The grid's record before any run.

        Raises
        ------
        InputError
            If the data set is of a kind that the network does not take, or a batch is larger than it.
        """
        config = self.config
        require_fitting(config, data)
        for width in self.widths:
            freeze(_weightless(config, width, data), config)
        probe = Probe(config, data)
        ends = ("diverged_step",) if config.give_up is None else ("diverged_step", "stopped_step")
        return empty_record(
            widths=self.widths,
            learning_rates=self.learning_rates,
            seeds=self.seeds,
            steps=config.measured_steps,
            quantities=probe.names,
            configuration=config.document()
            | {
                "data": data.name,
                "examples": data.examples,
                "probe_hash": probe.hash,
                "device": str(data.inputs.device),
                "dtype": str(data.inputs.dtype).removeprefix("torch."),
                "curvature_measured_on": probe.batch.examples,
                "loss_measured_on": len(probe.targets[probe.evaluated]),
                "stability_threshold": config.threshold,
                "threads": torch.get_num_threads(),
            },
            producer=__name__,
            threshold=config.threshold,
            data_hash=data.hash,
            ends=ends,
        )


def train_grid(
    grid: Grid,
    data: Dataset,
    *,
    on_progress: Callable[[float, float], None] | None = None,
    on_measurement: Callable[[xr.Dataset], None] | None = None,
    resume: xr.Dataset | None = None,
    checkpoint: Checkpoint | None = None,
    stacked: bool | None = None,
    cuda_graphs: bool = False,
) -> xr.Dataset:
    """Train every network of a grid, narrow ones first.

    Parameters
    ----------
    grid
        What to run.
    data
        Training examples, on the device to train on.
    on_progress
        Called with (work done, in all), in multiply-adds of forward passes.
    on_measurement
        Called with the record after each measurement and whenever runs are complete, to save it, say: what is
        not run yet is NaN and not `completed`.
    resume
        An earlier record of the same grid, whose completed runs are taken over.
    checkpoint
        Keeps the runs under way; what it holds of this grid is gone on from, to the same bits.
    stacked
        Whether runs that share width and data order do their steps together; None where that is faster.
    cuda_graphs
        As of `RunGroup`.

    Returns
    -------
    xarray.Dataset
        The common record; a run that diverged has the step in `diverged_step` and no values from there on;
        one that was given up has it in `stopped_step` and no values after it.

    Raises
    ------
    InputError
        As `Grid.empty`, if an earlier record is of another grid, or a network does not fit the data.
    """
    record = grid.empty(data)
    if resume is not None:
        take_over(record, resume)
    work = _Work(grid, record, data, _Listeners(on_progress, on_measurement, checkpoint))
    work.cuda_graphs = cuda_graphs
    with freed_memory_kept(), full_precision():
        for runs in _run_groups(grid, data, stacked=stacked):
            work.train(runs)
    if checkpoint is not None:
        checkpoint.clear()
    return record


class _Listeners(NamedTuple):
    """Who is told of a grid's progress; as of `train_grid`."""

    on_progress: Callable[[float, float], None] | None
    on_measurement: Callable[[xr.Dataset], None] | None
    checkpoint: Checkpoint | None


class _Work:
    """A grid being trained: the record, and who is told of progress."""

    def __init__(self, grid: Grid, record: xr.Dataset, data: Dataset, listeners: _Listeners) -> None:
        self.grid, self.record, self.data = grid, record, data
        self.on_progress, self.on_measurement, self.checkpoint = listeners
        self.probe = Probe(grid.config, data)
        self.costs = {width: forward_cost(grid.config, width, data) for width in grid.widths}
        self.total = sum(self.costs[run.width] for run in grid.runs) * max(1, grid.config.steps)
        self.finished = 0.0
        self.cuda_graphs = False

    def train(self, runs: tuple[Run, ...]) -> None:
        """Train a group, unless all of it is complete."""
        cells = {run: self._cell(run) for run in runs}
        cost = self.costs[runs[0].width] * len(runs)
        if not all(self.record["completed"].values[cell] for cell in cells.values()):
            group = self._begin(runs)
            for event in group.train(lambda group: self._after_step(group, cost)):
                self._enter(cells[event.run], event)
                if self.on_measurement is not None:
                    self.on_measurement(self.record)
            for cell in cells.values():
                self.record["completed"].values[cell] = 1
            # Before the next group's checkpoint takes the place of this one's.
            if self.on_measurement is not None:
                self.on_measurement(self.record)
        self.finished += cost * self.grid.config.steps

    def _begin(self, runs: tuple[Run, ...]) -> RunGroup:
        """A group from its start, or from where it was when the process was killed."""
        group = RunGroup(self.grid.config, self.data, self.probe, runs, cuda_graphs=self.cuda_graphs)
        if self.checkpoint is not None:
            kept = self.checkpoint.load(self._identity(runs), self.data.inputs.device)
            if kept is not None:
                group.load(kept["group"])
                for run, values in zip(runs, kept["record"], strict=True):
                    for name, saved in values.items():
                        self.record[name].values[self._cell(run)] = saved.cpu().numpy()
        return group

    def _after_step(self, group: RunGroup, cost: float) -> None:
        if self.on_progress is not None:
            self.on_progress(self.finished + cost * group.step, self.total)
        if self.checkpoint is not None and self.checkpoint.due():
            self.checkpoint.save(
                self._identity(group.runs),
                lambda: {"group": group.state(), "record": [self._values(run) for run in group.runs]},
            )

    def _values(self, run: Run) -> dict[str, torch.Tensor]:
        """What the record has of a run."""
        cell = self._cell(run)
        return {str(name): torch.tensor(part.values[cell]) for name, part in self.record.data_vars.items()}

    def _identity(self, runs: tuple[Run, ...]) -> dict[str, Any]:
        keys = ("configuration", "versions", "data_hash")
        return {key: self.record.attrs[key] for key in keys} | {"runs": [list(run) for run in runs]}

    def _cell(self, run: Run) -> tuple[int, int, int]:
        grid = self.grid
        return (
            grid.widths.index(run.width),
            grid.learning_rates.index(run.learning_rate),
            grid.seeds.index(run.seed),
        )

    def _enter(self, cell: tuple[int, int, int], event: Event) -> None:
        """Enter a measurement or the early end of one run."""
        if not isinstance(event, Measurement):
            name = "stopped_step" if isinstance(event, GivenUp) else "diverged_step"
            self.record[name].values[cell] = event.step
            return
        place = (*cell, self.grid.config.measured_steps.index(event.step))
        for name, value in event.values.items():
            self.record[name].values[place] = value


def _run_groups(grid: Grid, data: Dataset, *, stacked: bool | None) -> Iterator[tuple[Run, ...]]:
    """The runs, narrow ones first, in groups that train together."""
    config = grid.config
    for width in sorted(grid.widths):
        joined = faster_stacked(config, width, data) if stacked is None else stacked
        groups: dict[Any, list[Run]] = {}
        for run in grid.runs:
            if run.width == width:
                groups.setdefault(data_seed(config, run.seed) if joined else run, []).append(run)
        for group in groups.values():
            for begin in range(0, len(group), MOST_STACKED):
                yield tuple(group[begin : begin + MOST_STACKED])


def faster_stacked(config: TrainingConfig, width: int, data: Dataset, device: str | None = None) -> bool:
    """Whether networks of one width that share the order of the data train faster as one stack."""
    kind = data.inputs.device.type if device is None else device.partition(":")[0]
    most = STACKED.get(kind, STACKED_ELSEWHERE)
    return forward_cost(config, width, data) <= most


def _weightless(config: TrainingConfig, width: int, data: Dataset) -> Network:
    """A network without memory, of which only shapes are known."""
    return config.network.build(config.table, width, data, torch.Generator(), torch.device("meta"))


def forward_cost(config: TrainingConfig, width: int, data: Dataset) -> float:
    """Multiply-adds of the network's forward pass on one example, counted without doing them."""
    model = _weightless(config, width, data)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(data.inputs[:1].to("meta"))
    return float(counter.get_total_flops()) / 2


def require_fitting(config: TrainingConfig, data: Dataset) -> None:
    """Raise `InputError` unless the network takes such examples, and a batch at most all of them."""
    require_kind(config.network, data)
    if config.augmentation is not None and data.kind != IMAGES:
        raise invalid("augmentation", data.kind, accepted="images", remedy="leave it out")
    if config.batch_size is not None and config.batch_size > data.examples:
        raise invalid(
            "batch size",
            config.batch_size,
            accepted=f"1 to {data.examples}, the number of examples",
            remedy="pass a smaller one",
        )
    if data.targets.is_floating_point() and config.loss == "cross-entropy":
        raise invalid("loss", config.loss, accepted="mse, squared for such targets", remedy="pass mse, say")


def check_run(width: float, learning_rate: float, seed: int) -> None:
    """Refuse a run that cannot be trained.

    Raises
    ------
    InputError
        If the width, learning rate or seed is out of range.
    """
    require_integer("width", width, least=1, example=64, most=WIDEST)
    require_positive("learning rate", learning_rate, example=0.5)
    if learning_rate > LARGEST_RATE:
        raise invalid(
            "learning rate", learning_rate, accepted=f"at most {LARGEST_RATE:g}", remedy="pass 0.5, say"
        )
    require_integer("seed", seed, least=0, example=0)
