"""Networks trained on data, as runs of a sweep."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from ..errors import InputError, invalid, require_integer, require_known, require_whole
from ..neural.data import DATASETS, IMAGES, load_dataset
from ..neural.device import resolve_device
from ..neural.settings import named_config, require_settings, setting_kind, setting_label
from ..neural.training.checkpoint import Checkpoint
from ..neural.training.grid import MOST_STACKED, Grid, faster_stacked, forward_cost, train_grid
from ..neural.training.run_group import data_seed
from .axes import NUMBER, WHOLE, WORD, Axis, as_text, axis
from .data import DataChoice
from .groups import rectangles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import xarray as xr

    from ..neural.data import Dataset
    from ..neural.training.config import TrainingConfig
    from .axes import Cell
    from .groups import Group
    from .models import OnProgress

BATCH_SIZE = "batch_size"


@dataclass(frozen=True)
class NetworkModel:
    """Networks trained on data.

    Attributes
    ----------
    settings
        `name=value` of network, optimizer or training, as for `neural.settings.apply_settings`.
    data
        The examples.
    threads
        Threads of each run; the bits of a result depend on them, so they are part of what makes a run.
    device
        `auto` is the best one where the sweep is planned; name it where workers have others, such as `cuda`.
    stacked
        Whether runs that share width and data order train as one stack of networks; None where that is
        faster. The bits depend on it.

    Raises
    ------
    InputError
        If there is not at least one thread, no such kind of device, or a setting is given twice.
    """

    settings: tuple[str, ...] = ()
    data: DataChoice = field(default_factory=DataChoice)
    threads: int = 1
    device: str = "auto"
    stacked: bool | None = None

    name: ClassVar[str] = "network"
    order: ClassVar[tuple[Any, ...]] = (
        "parametrization", "architecture", "optimizer", BATCH_SIZE, "depth", ...,
        "width", "learning_rate", "seed",
    )  # fmt: skip

    def __post_init__(self) -> None:
        require_integer("threads", self.threads, least=1, most=1024, example=1)
        require_known("device", self.device.partition(":")[0], ("auto", "cpu", "cuda", "mps"))
        require_known("data set", self.data.dataset, ("auto", *DATASETS))
        if self.device == "auto":
            object.__setattr__(self, "device", resolve_device("auto").type)
        require_settings(self.settings)
        names = [pair.partition("=")[0] for pair in self.settings]
        for name in names:
            if names.count(name) > 1:
                raise invalid("setting", name, accepted="each name once", remedy="leave one of them out")

    @property
    def axes(self) -> Mapping[str, Axis]:
        """As for `Model`."""
        size = self._given.get(BATCH_SIZE, "128")
        batch = _setting_axis(BATCH_SIZE, ("simple-convnet",))
        return {
            "parametrization": axis(WORD, "parametrization", ("mup",)),
            "architecture": axis(WORD, "architecture", ("simple-convnet",)),
            "optimizer": axis(WORD, "optimizer", ("sgd",)),
            BATCH_SIZE: batch._replace(default=(batch.read(size),)),
            "width": axis(NUMBER, "width", (32.0, 64.0, 128.0)),
            "learning_rate": axis(NUMBER, "learning_rate", (0.5,)),
            "seed": axis(WHOLE, "seed", (0, 1, 2)),
        }

    @property
    def _given(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self.settings)
        return {name: text for name, _, text in pairs}

    def axis(self, name: str, given: Mapping[str, Any]) -> Axis:
        """As for `Model`: any setting of network, optimizer or training is one."""
        if name in self._given:
            raise invalid(
                "axis", name, accepted=f"names that are no setting, and {name}={self._given[name]} is one",
                remedy="give it once",
            )  # fmt: skip
        axes = self.axes
        return axes[name] if name in axes else _setting_axis(name, given["architecture"], tuple(axes))

    def own(self, name: str, cell: Cell) -> Any:
        """As for `Model`."""
        return setting_label(self.config(cell), name)

    def config(self, cell: Cell) -> TrainingConfig:
        """What a run shares with others at other widths, learning rates and seeds."""
        values = dict(cell)
        architecture, parametrization, optimizer = (
            values.pop(name) for name in ("architecture", "parametrization", "optimizer")
        )
        varied = [
            f"{name}={as_text(value)}"
            for name, value in values.items()
            if name not in {"width", "learning_rate", "seed"}
        ]
        fixed = [pair for pair in self.settings if pair.partition("=")[0] not in values]
        return named_config(architecture, parametrization, optimizer, [*fixed, *varied], label="setting")

    def groups(self, shared: Cell, rates_of: Mapping[int, list[float]]) -> Iterator[Group]:
        """As for `Model`: stacks of narrow networks on one data order; wide networks one by one."""
        config, most = _shared_config(self, shared), MOST_STACKED if self.stacks(shared) else 1
        yield from rectangles(shared, rates_of, lambda seed: data_seed(config, seed), most)

    def stacks(self, shared: Cell) -> bool:
        """Whether runs that share these labels train as one stack where they share the order of the data."""
        return _shared_stacks(self, shared) if self.stacked is None else self.stacked

    def grid(self, group: Group) -> Grid:
        """The group as a grid of one width."""
        width = _whole(dict(group.shared)["width"])
        return Grid(_shared_config(self, group.shared), (width,), group.learning_rates, group.seeds)

    def skeleton(self, group: Group) -> xr.Dataset:
        """As for `Model`."""
        grid = self.grid(group)  # checks every run
        record = _network_skeleton(self, group.shared)
        record = record.isel(
            learning_rate=np.zeros(len(grid.learning_rates), int), seed=np.zeros(len(grid.seeds), int)
        )
        record = record.assign_coords(
            learning_rate=("learning_rate", np.array(grid.learning_rates), record["learning_rate"].attrs),
            seed=("seed", np.array(grid.seeds), record["seed"].attrs),
        )
        return record.assign_attrs(seeds=json.dumps(list(grid.seeds)))

    def cost(self, group: Group) -> float:
        """Multiply-adds of the forward passes of all runs."""
        return group.size * _network_cost(self, group.shared)

    def run(self, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        """As for `Model`."""
        data = self.examples(group.shared).to(resolve_device(self.device))
        with thread_count(self.threads):
            record = train_grid(
                self.grid(group),
                data,
                checkpoint=_usable(checkpoint),
                on_progress=on_progress,
                stacked=self.stacks(group.shared),
            )
        return record.isel(width=0)

    def examples(self, shared: Cell) -> Dataset:
        """The examples that a run's network is trained on, in main memory; read once in a process."""
        kinds = _shared_config(self, shared).architecture.kinds
        choice = self.data
        if choice.dataset == "auto" and choice.folder is None and not choice.download and IMAGES not in kinds:
            choice = choice._replace(dataset="random-tokens")
        return _dataset(choice)


def _setting_axis(name: str, architectures: Sequence[str], others: Sequence[str] = ()) -> Axis:
    """The axis of a setting that networks of all these architectures have; the others are no settings."""
    kinds = [setting_kind(architecture, name, others) for architecture in architectures]

    def read(value: Any) -> Any:
        text = as_text(value)
        try:
            return kinds[0].write(kinds[0].read(text))
        except InputError:
            raise
        except ValueError:
            raise invalid(
                name, value, accepted=kinds[0].accepted, remedy=f"write {kinds[0].example}, for example"
            ) from None

    return Axis(read)


def _usable(path: Path) -> Checkpoint:
    """A checkpoint to go on from; a damaged one is removed, and the runs start over."""
    kept = Checkpoint(path)
    try:
        kept.load({}, torch.device("cpu"))
    except InputError:
        kept.clear()
    return kept


@lru_cache(maxsize=1024)
def _shared_config(model: NetworkModel, shared: Cell) -> TrainingConfig:
    return model.config(shared)


@lru_cache(maxsize=1024)
def _shared_stacks(model: NetworkModel, shared: Cell) -> bool:
    width = _whole(dict(shared)["width"])
    return faster_stacked(_shared_config(model, shared), width, model.examples(shared), model.device)


@lru_cache(maxsize=1024)
def _network_skeleton(model: NetworkModel, shared: Cell) -> xr.Dataset:
    """The record of one run before it has run; what is stacked is part of what makes it."""
    grid = Grid(_shared_config(model, shared), (_whole(dict(shared)["width"]),), (1.0,), (0,))
    with thread_count(model.threads):
        record = grid.empty(model.examples(shared)).isel(width=0)
    configuration = json.loads(record.attrs["configuration"])
    configuration |= {"device": model.device, "stacked": model.stacks(shared)}
    return record.assign_attrs(configuration=json.dumps(configuration, sort_keys=True))


@lru_cache(maxsize=1024)
def _network_cost(model: NetworkModel, shared: Cell) -> float:
    config, data = _shared_config(model, shared), model.examples(shared)
    size = config.batch_size or data.examples
    return forward_cost(config, _whole(dict(shared)["width"]), data) * size * max(1, config.steps)


@lru_cache(maxsize=4)
def _dataset(choice: DataChoice) -> Dataset:
    options = choice._asdict()
    name, folder = options.pop("dataset"), options.pop("folder")
    return load_dataset(name, folder, progress=True, **options)


@contextmanager
def thread_count(count: int) -> Iterator[None]:
    """PyTorch with a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _whole(width: float) -> int:
    require_whole("width", width, least=1, example=64)
    return int(width)
