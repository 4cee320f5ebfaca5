"""What one run of a sweep is: a network that is trained, or a trajectory of the latent system."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numba
import numpy as np
import torch

from ..errors import InputError, invalid, require_integer, require_known, require_positive, require_whole
from ..neural import Checkpoint, Grid, load_dataset, resolve_device, train_grid
from ..neural.data import IMAGES
from ..neural.settings import named_config
from ..neural.training import forward_cost
from ..records import schedule
from ..simulations import METHODS, Ensemble, plan_record, simulate
from ..theory import IsotropicTarget, parametrization

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr

    from ..neural import Dataset, TrainingConfig

Cell = tuple[tuple[str, Any], ...]
"""One run: its value on every axis."""

Progress = Callable[[float, float], None]
"""Is told of the work that is done, and of all."""

ALL = "all"
"""Batch size of gradient descent."""


class Axis(NamedTuple):
    """Something that varies over a sweep."""

    kind: str
    """`word`, `whole`, `number`, or `size`, which is whole or `all`."""
    default: tuple[Any, ...] | None
    """Where none is given; None: then the runs have no such axis."""


class Model(Protocol):
    """What the runs of a sweep have in common."""

    axes: ClassVar[Mapping[str, Axis]]
    """By name, in the order of the results."""

    def skeleton(self, cell: Cell) -> xr.Dataset:
        """The run's record before it has run: all that makes the run what it is. Raises `InputError`."""
        ...

    def cost(self, cell: Cell) -> float:
        """Work of the run, in any unit."""
        ...

    def run(self, cell: Cell, checkpoint: Path, on_progress: Progress) -> xr.Dataset:
        """The run's record, gone on from the checkpoint where there is one; tells how far it is if it can."""
        ...


class DataChoice(NamedTuple):
    """Which examples networks are trained on; as of `neural.load_dataset`."""

    dataset: str = "auto"
    folder: str | None = None
    examples: int | None = None
    seed: int = 0
    download: bool = False


@dataclass(frozen=True)
class NetworkModel:
    """Networks trained on data.

    Attributes
    ----------
    settings
        `name=value` of network, optimizer or training, as of `neural.settings.apply_settings`.
    data
        The examples.
    threads
        Of each run; the bits of a result depend on it, so that it does not depend on where runs go.
    device
        `auto` is the best one where the sweep is planned; name it where workers have others, `cuda` say.

    Raises
    ------
    InputError
        If there is not at least one thread, or no such kind of device.
    """

    settings: tuple[str, ...] = ()
    data: DataChoice = field(default_factory=DataChoice)
    threads: int = 1
    device: str = "auto"

    axes: ClassVar[Mapping[str, Axis]] = {
        "parametrization": Axis("word", ("mup",)),
        "architecture": Axis("word", ("simple-convnet",)),
        "optimizer": Axis("word", ("sgd",)),
        "batch_size": Axis("size", (128,)),
        "depth": Axis("whole", None),
        "width": Axis("number", (32, 64, 128)),
        "learning_rate": Axis("number", (0.5,)),
        "seed": Axis("whole", (0, 1, 2)),
    }

    def __post_init__(self) -> None:
        require_integer("threads", self.threads, least=1, most=1024, example=1)
        require_known("device", self.device.partition(":")[0], ("auto", "cpu", "cuda", "mps"))
        if self.device == "auto":
            object.__setattr__(self, "device", resolve_device("auto").type)

    def config(self, cell: Cell) -> TrainingConfig:
        """What the run shares with others at other widths, learning rates and seeds."""
        values = dict(cell)
        depth = [f"depth={values['depth']}"] if "depth" in values else []
        size = values["batch_size"]
        return named_config(
            values["architecture"],
            values["parametrization"],
            values["optimizer"],
            [*self.settings, *depth],
            label="setting",
            batch_size=None if size == ALL else size,
        )

    def grid(self, cell: Cell) -> Grid:
        """The run as a grid of one."""
        values = dict(cell)
        rate, seed = float(values["learning_rate"]), int(values["seed"])
        return Grid(self.config(cell), (_whole(values["width"]),), (rate,), (seed,))

    def skeleton(self, cell: Cell) -> xr.Dataset:
        """As of `Model`."""
        grid = self.grid(cell)
        shared = tuple((name, value) for name, value in cell if name not in {"learning_rate", "seed"})
        record = _network_skeleton(self, shared).copy(deep=True)
        record = record.assign_coords(
            learning_rate=("learning_rate", np.array(grid.learning_rates), record["learning_rate"].attrs),
            seed=("seed", np.array(grid.seeds), record["seed"].attrs),
        )
        record.attrs["seeds"] = str(list(grid.seeds))
        return record

    def cost(self, cell: Cell) -> float:
        """Multiply-adds of the forward passes on one example."""
        shared = tuple((name, value) for name, value in cell if name not in {"learning_rate", "seed"})
        return _network_cost(self, shared)

    def run(self, cell: Cell, checkpoint: Path, on_progress: Progress) -> xr.Dataset:
        """As of `Model`."""
        grid, data = self.grid(cell), self.examples(cell).to(resolve_device(self.device))
        with _threads(self.threads):
            return train_grid(grid, data, checkpoint=_usable(checkpoint), on_progress=on_progress)

    def examples(self, cell: Cell) -> Dataset:
        """The examples that the run's network is trained on, in main memory; read once in a process."""
        kinds = self.config(cell).architecture.kinds
        choice = self.data
        if choice.dataset == "auto" and choice.folder is None and not choice.download and IMAGES not in kinds:
            choice = choice._replace(dataset="random-tokens")
        return _dataset(choice)


@dataclass(frozen=True)
class LatentModel:
    """Trajectories of the latent system of the two-layer linear network (Theorem 5.1).

    Attributes
    ----------
    dimension, target_norm
        Of the target w*.
    steps, measure_every
        Gradient-descent steps, and those between measurements; None is sixteen intervals.
    quantities
        Names of `theory.OBSERVABLES`.
    method
        As of `simulations.simulate`.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    dimension: int = 20
    target_norm: float = 1.0
    steps: int = 200
    measure_every: int | None = None
    quantities: tuple[str, ...] = ("loss", "sharpness")
    method: str = "auto"

    axes: ClassVar[Mapping[str, Axis]] = {
        "parametrization": Axis("word", ("mup",)),
        "width": Axis("number", (64, 256, 1024)),
        "learning_rate": Axis("number", (0.5,)),
        "seed": Axis("whole", tuple(range(10))),
    }

    def __post_init__(self) -> None:
        for name in ("dimension", "steps"):
            require_integer(name, getattr(self, name), least=1, example=20)
        if self.measure_every is not None:
            require_integer("measure_every", self.measure_every, least=1, example=10)
        if not isinstance(self.quantities, tuple) or not all(isinstance(one, str) for one in self.quantities):
            raise invalid("quantities", self.quantities, accepted="a list", remedy='write ["loss"], say')
        require_known("method", self.method, ("auto", *METHODS))
        require_positive("target norm", self.target_norm, example=1.0)

    def skeleton(self, cell: Cell) -> xr.Dataset:
        """As of `Model`."""
        return plan_record(self._ensemble(cell), self._schedule, self.quantities, self.method)

    def cost(self, cell: Cell) -> float:
        """Steps, whatever the width."""
        del cell
        return float(max(1, self.steps))

    def run(self, cell: Cell, checkpoint: Path, on_progress: Progress) -> xr.Dataset:
        """As of `Model`; these runs are over before a checkpoint would be due."""
        del checkpoint, on_progress
        before = numba.get_num_threads()
        numba.set_num_threads(1)  # one run has nothing to share out
        try:
            return simulate(
                self._ensemble(cell), record_at=self._schedule, quantities=self.quantities, method=self.method
            )
        finally:
            numba.set_num_threads(before)

    @property
    def _schedule(self) -> tuple[int, ...]:
        every = max(1, self.steps // 16) if self.measure_every is None else self.measure_every
        return schedule(self.steps, every)

    def _ensemble(self, cell: Cell) -> Ensemble:
        values = dict(cell)
        return Ensemble(
            parametrization(values["parametrization"]),
            IsotropicTarget(self.dimension, self.target_norm),
            (float(values["width"]),),
            (float(values["learning_rate"]),),
            (int(values["seed"]),),
        )


MODELS: dict[str, type[NetworkModel | LatentModel]] = {"network": NetworkModel, "latent": LatentModel}
"""By the name that a sweep's file has."""


def describe(model: Model) -> dict[str, Any]:
    """The model's settings as plain values."""
    name = next(name for name, kind in MODELS.items() if isinstance(model, kind))
    values = asdict(model)  # type: ignore[call-overload] # both are dataclasses
    if isinstance(model, NetworkModel):
        values["data"] = model.data._asdict()
        values["data"].pop("folder")  # a path is no part of a result; the hash of the data is
        values["data"].pop("download")
    return {"model": name, **values}


def _usable(path: Path) -> Checkpoint:
    """A checkpoint to go on from; a damaged one is removed, and the run starts over."""
    kept = Checkpoint(path)
    try:
        kept.load({}, torch.device("cpu"))
    except InputError:
        kept.clear()
    return kept


@lru_cache(maxsize=1024)
def _network_skeleton(model: NetworkModel, shared: Cell) -> xr.Dataset:
    cell = (*shared, ("learning_rate", 1.0), ("seed", 0))
    with _threads(model.threads):
        record = model.grid(cell).empty(model.examples(cell))
    configuration = json.loads(record.attrs["configuration"]) | {"device": model.device}
    return record.assign_attrs(configuration=json.dumps(configuration, sort_keys=True))


@lru_cache(maxsize=1024)
def _network_cost(model: NetworkModel, shared: Cell) -> float:
    cell = (*shared, ("learning_rate", 1.0), ("seed", 0))
    grid, data = model.grid(cell), model.examples(cell)
    size = grid.config.batch_size or data.examples
    return forward_cost(grid.config, grid.widths[0], data) * size * max(1, grid.config.steps)


@lru_cache(maxsize=4)
def _dataset(choice: DataChoice) -> Dataset:
    return load_dataset(
        choice.dataset,
        None if choice.folder is None else Path(choice.folder),
        download=choice.download,
        examples=choice.examples,
        seed=choice.seed,
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _whole(width: float) -> int:
    require_whole("width", width, least=1, example=64)
    return int(width)


def as_values(name: str, axis: Axis, values: Sequence[Any]) -> tuple[Any, ...]:
    """Values of an axis as its kind wants them.

    Raises
    ------
    InputError
        If one is of another kind.
    """
    return tuple(_as_value(name, axis.kind, value) for value in values)


def _as_value(name: str, kind: str, value: Any) -> Any:
    if kind == "word":
        if not isinstance(value, str):
            raise invalid(name, value, accepted="words", remedy='write "mup", say')
        return value
    if kind == "size" and value == ALL:
        return ALL
    if isinstance(value, bool) or not isinstance(value, int | float):
        accepted = "numbers, or all" if kind == "size" else "numbers"
        raise invalid(name, value, accepted=accepted, remedy="write them without quotes")
    if math.isnan(value):
        raise invalid(name, "nan", accepted="numbers", remedy="correct it")
    if not abs(value) < 1e300 and value != math.inf:
        raise invalid(name, str(value), accepted="numbers below 1e300", remedy="pass a smaller one")
    if kind == "number":
        return float(value)
    require_whole(name.replace("_", " "), value, least=0 if name == "seed" else 1, example=1)
    return int(value)
