"""A sweep whose runs have their names, in groups that are carried out as one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import invalid
from ..records.manifest import Manifest
from ..records.origin import numerical_versions
from .axes import coordinate
from .groups import INNER, Group, by_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import xarray as xr

    from ..records.store import Held, RunStore
    from .axes import Cell
    from .grids import Sweep
    from .models import Model

_QUANTITIES = "quantities"


class Named(NamedTuple):
    """A group of runs with its names."""

    group: Group
    family: str
    """Hash of what all groups share that differ in learning rates, seeds and measured quantities only."""
    key: str
    """Hash of all that makes the group what it is."""


@dataclass(frozen=True)
class Plan:
    """A sweep whose runs have their names.

    Attributes
    ----------
    sweep
        The runs.
    named
        The groups they are in; a group that was carried out before may have further runs.
    skeleton
        A record of one group, before it has run.
    configuration
        What all runs have in common.
    """

    sweep: Sweep
    named: tuple[Named, ...]
    skeleton: xr.Dataset
    configuration: Mapping[str, Any]

    @cached_property
    def places(self) -> dict[Cell, tuple[int, int]]:
        """The index of each run's group, and its index within."""
        asked = set(self.sweep.cells)
        found: dict[Cell, tuple[int, int]] = {}
        for index, named in enumerate(self.named):
            for place, cell in enumerate(_cells_of(named.group, self.sweep.cells[0])):
                if cell in asked:
                    found.setdefault(cell, (index, place))
        return found

    @cached_property
    def runs_of(self) -> dict[str, list[Cell]]:
        """The sweep's runs in each group, by its key."""
        found: dict[str, list[Cell]] = {named.key: [] for named in self.named}
        for cell in self.sweep.cells:
            found[self.named[self.places[cell][0]].key].append(cell)
        return found

    def count(self, keys: Iterable[str]) -> int:
        """Number of the sweep's runs in some groups."""
        return sum(len(self.runs_of[key]) for key in keys)

    @cached_property
    def manifest(self) -> Manifest:
        """What the folder of results says of them."""
        axes = self.sweep.axes
        index = {name: {value: place for place, value in enumerate(values)} for name, values in axes.items()}
        runs = {
            tuple(index[name][value] for name, value in cell): self.places[cell] for cell in self.sweep.cells
        }
        record = self.skeleton
        free = _free(record, axes)
        variables = {
            str(name): {
                "dims": [str(dim) for dim in part.dims if dim in free],
                "dtype": part.dtype.str,
                "attrs": {str(key): str(value) for key, value in part.attrs.items()},
            }
            for name, part in record.variables.items()
        }
        attrs = {
            "configuration": json.dumps(self.configuration, sort_keys=True),
            "seeds": json.dumps(axes["seed"]) if "seed" in axes else str(record.attrs["seeds"]),
            "versions": str(record.attrs["versions"]),
            "data_hash": str(record.attrs["data_hash"]),
            "schema_version": int(record.attrs["schema_version"]),
        }
        return Manifest(
            {name: coordinate(values) for name, values in axes.items()},
            [(named.family, named.key) for named in self.named],
            runs,
            {name: record[name].to_numpy().tolist() for name in free},
            variables,
            attrs,
        )


def _cells_of(group: Group, like: Cell) -> list[Cell]:
    """The runs of a group, with their axes in the order of a run of the sweep."""
    names = [name for name, _ in like]
    runs = map(dict, group.cells)
    return [tuple((name, labels[name]) for name in names) for labels in runs]


def make_plan(
    sweep: Sweep, store: RunStore | None = None, on_progress: Callable[[float, float], None] | None = None
) -> Plan:
    """Check every run, and name it.

    Parameters
    ----------
    sweep
        The runs.
    store
        Results of before: groups in it that hold runs of the sweep are kept, and only the other runs are put
        into groups of their own. The bits of a run may depend on what else is in its group.
    on_progress
        Called with (runs named, in all).

    Raises
    ------
    InputError
        If a run cannot be done, or runs would not have the same variables or data.
    """
    named: list[Named] = []
    first, done = None, 0
    common: dict[str, Any] = {}
    for shared, rates_of in by_shared(sweep.cells).items():
        record = sweep.model.skeleton(_one_run(shared, rates_of))
        configuration = json.loads(record.attrs["configuration"])
        common = _in_common(configuration if first is None else common, configuration)
        first = record if first is None else first
        if _shape(record, rates_of) != _shape(first, rates_of):
            raise invalid(
                "runs of one sweep", dict(shared),
                accepted="runs with the same measurements on the same data",
                remedy="make a sweep of its own for it",
            )  # fmt: skip
        named += _named(sweep.model, shared, rates_of, record, store)
        done += sum(map(len, rates_of.values()))
        if on_progress is not None:
            on_progress(done, len(sweep.cells))
    if first is None:
        raise invalid("number of runs", 0, accepted="at least 1", remedy="add some")
    return Plan(sweep, tuple(named), first, common | {"model": sweep.model.name})


def _in_common(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Entries that two nested configurations share."""
    found = {}
    for name in one.keys() & other.keys():
        if isinstance(one[name], dict) and isinstance(other[name], dict):
            found[name] = _in_common(one[name], other[name])
        elif one[name] == other[name]:
            found[name] = one[name]
    return found


def _free(record: xr.Dataset, axes: Collection[str]) -> list[str]:
    """Dimensions of a record that are no axes."""
    return [str(name) for name in record.dims if name not in axes]


def _one_run(shared: Cell, rates_of: Mapping[int, Sequence[float]]) -> Group:
    if not rates_of:
        return Group(shared, (), ())
    seed = next(iter(rates_of))
    return Group(shared, (rates_of[seed][0],), (seed,))


def _named(
    model: Model,
    shared: Cell,
    rates_of: Mapping[int, list[float]],
    record: xr.Dataset,
    store: RunStore | None,
) -> Iterator[Named]:
    """Groups that hold all of some runs that share everything but learning rate and seed."""
    family = family_key(record)
    if not rates_of:
        yield Named(Group(shared, (), ()), family, group_key(record))
        return
    left = {seed: set(rates) for seed, rates in rates_of.items()}
    wanted = set(map(str, record.data_vars))
    for held in [] if store is None else store.held(family):
        if _serves(held, left, wanted):
            for seed in held.seeds:
                if seed in left:
                    left[seed] -= set(held.learning_rates)
            yield Named(Group(shared, held.learning_rates, held.seeds), family, held.key)
    rest = {seed: sorted(rates) for seed, rates in left.items() if rates}
    for group in model.groups(shared, rest) if rest else ():
        yield Named(group, family, group_key(model.skeleton(group)))


def _serves(held: Held, left: Mapping[int, set[float]], wanted: set[str]) -> bool:
    """Whether a group of before holds runs that are asked for, with all their variables."""
    new = any(set(held.learning_rates) & left.get(seed, set()) for seed in held.seeds)
    return new and wanted <= held.variables


def _shape(record: xr.Dataset, rates_of: Mapping[int, Any]) -> tuple[Any, ...]:
    free = _free(record, INNER if rates_of else ())
    coordinates = [record[name].to_numpy().tolist() for name in free]
    return sorted(map(str, record.variables)), free, coordinates, record.attrs["data_hash"]


def family_key(record: xr.Dataset) -> str:
    """SHA-256 of what makes the runs of a record, but for their learning rates, seeds and quantities."""
    return _hash(_identity(record))


def group_key(record: xr.Dataset) -> str:
    """SHA-256 of all that makes the runs of a record what they are.

    Configuration, coordinates, data, seeds, and the source and numerical packages that the runs import.
    """
    inner = {name: record[name].to_numpy().tolist() for name in INNER if name in record.coords}
    return _hash(_identity(record) | inner | {"variables": sorted(map(str, record.data_vars))})


def _identity(record: xr.Dataset) -> dict[str, Any]:
    attrs = {str(name): str(value) for name, value in record.attrs.items() if name != "seeds"}
    configuration = json.loads(attrs["configuration"])
    configuration.pop(_QUANTITIES, None)
    attrs["configuration"] = json.dumps(configuration, sort_keys=True)
    attrs["versions"] = json.dumps(numerical_versions(json.loads(attrs["versions"])), sort_keys=True)
    coordinates = {
        str(name): part.to_numpy().tolist() for name, part in record.coords.items() if name not in INNER
    }
    return {"attrs": attrs, "coordinates": coordinates}


def _hash(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
