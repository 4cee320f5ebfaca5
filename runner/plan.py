"""What a sweep runs: grids over axes, written in a TOML file or given by name."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import InputError, invalid, require_distinct, require_known, require_whole
from ..records import versions
from ..records.store import Manifest, run_key
from .models import MODELS, DataChoice, LatentModel, NetworkModel, as_values, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import xarray as xr

    from .models import Cell, Model

MOST_RUNS = 200_000
"""Runs of a sweep."""

_PARTS = ("model", "data", "settings", "grid", "threads", "device", "cluster")
_SEEDS = "seeds"
_DATA_TYPES = {"dataset": str, "folder": str, "examples": int, "seed": int, "download": bool}


@dataclass(frozen=True)
class Sweep:
    """The runs to do.

    Attributes
    ----------
    model
        What they have in common.
    cells
        Each of them, different from one another; all have the same axes.

    Raises
    ------
    InputError
        If there is no run, or one occurs twice.
    """

    model: Model
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        require_whole("number of runs", len(self.cells), least=1, most=MOST_RUNS, example=60)
        if len(set(self.cells)) < len(self.cells):
            raise invalid("runs", len(self.cells), accepted="each once", remedy="remove a repeated grid")

    @property
    def axes(self) -> dict[str, list[Any]]:
        """Values that occur, by axis, in the order of their first occurrence; numbers ascend."""
        found: dict[str, dict[Any, None]] = {}
        for cell in self.cells:
            for name, value in cell:
                found.setdefault(name, {})[value] = None
        return {name: _ordered(list(values)) for name, values in found.items()}


@dataclass(frozen=True)
class Plan:
    """A sweep whose runs have their names.

    Attributes
    ----------
    sweep
        The runs.
    keys
        Of each, in their order: the hash of all that makes it what it is.
    skeleton
        A record of one run, before it has run.
    """

    sweep: Sweep
    keys: tuple[str, ...]
    skeleton: xr.Dataset

    @property
    def manifest(self) -> Manifest:
        """What the folder of results says of them."""
        axes = self.sweep.axes
        places = {name: {value: index for index, value in enumerate(values)} for name, values in axes.items()}
        keys = {
            tuple(places[name][value] for name, value in cell): key
            for cell, key in zip(self.sweep.cells, self.keys, strict=True)
        }
        record = self.skeleton
        variables = {
            str(name): {
                "dims": list(map(str, part.dims)),
                "dtype": part.dtype.str,
                "attrs": {str(key): str(value) for key, value in part.attrs.items()},
            }
            for name, part in record.variables.items()
        }
        attrs = {
            "configuration": json.dumps(describe(self.sweep.model), sort_keys=True),
            "seeds": json.dumps(axes["seed"]),
            "versions": json.dumps(versions(), sort_keys=True),
            "data_hash": str(record.attrs["data_hash"]),
            "schema_version": int(record.attrs["schema_version"]),
        }
        shown = {name: _alike(values) for name, values in axes.items()}
        return Manifest(shown, keys, [int(step) for step in record["step"]], variables, attrs)


def make_plan(sweep: Sweep, on_progress: Callable[[float, float], None] | None = None) -> Plan:
    """Check every run, and name it.

    Raises
    ------
    InputError
        If a run cannot be done, or runs would not have the same variables or data.
    """
    keys, first = [], None
    for index, cell in enumerate(sweep.cells):
        record = sweep.model.skeleton(cell)
        first = record if first is None else first
        if _shape(record) != _shape(first):
            raise invalid(
                "runs of one sweep",
                dict(cell),
                accepted="runs with the same measurements on the same data",
                remedy="make a sweep of its own for it",
            )
        keys.append(run_key(record))
        if on_progress is not None:
            on_progress(index + 1, len(sweep.cells))
    assert first is not None  # noqa: S101 - a sweep has at least one run
    return Plan(sweep, tuple(keys), first)


def _shape(record: xr.Dataset) -> tuple[Any, ...]:
    return sorted(map(str, record.variables)), record["step"].to_numpy().tolist(), record.attrs["data_hash"]


def _ordered(values: list[Any]) -> list[Any]:
    numbers = [value for value in values if not isinstance(value, str)]
    words = [value for value in values if isinstance(value, str)]
    return [*sorted(numbers), *words]


def _alike(values: list[Any]) -> list[Any]:
    """Values fit for one coordinate: all of them words where some are."""
    return [str(value) for value in values] if any(isinstance(value, str) for value in values) else values


def make_sweep(model: Model, grids: Sequence[Mapping[str, Any]], label: str = "grid") -> Sweep:
    """All runs of some grids, each a value or a list of values for every axis.

    `seeds` is a number of seeds, from 0 on. Axes that are left out have the model's defaults.

    Raises
    ------
    InputError
        If an axis is not known, a value is of another kind, or grids differ in their axes.
    """
    cells: dict[Cell, None] = {}
    for grid in grids:
        values = _filled(model, grid, label)
        for point in product(*values.values()):
            cells[tuple(zip(values, point, strict=True))] = None
            require_whole("number of runs", len(cells), least=1, most=MOST_RUNS, example=60)
    if len({tuple(name for name, _ in cell) for cell in cells}) > 1:
        raise invalid(
            "axes of the grids", sorted({name for cell in cells for name, _ in cell}),
            accepted="the same in all of them", remedy="give depth in each grid or in none",
        )  # fmt: skip
    return Sweep(model, tuple(cells))


def _filled(model: Model, grid: Mapping[str, Any], label: str) -> dict[str, tuple[Any, ...]]:
    given = dict(grid)
    if _SEEDS in given:
        count = given.pop(_SEEDS)
        require_whole("seeds", count if isinstance(count, int) else -1, least=1, most=10**6, example=3)
        given.setdefault("seed", list(range(count)))
    for name in given:
        require_known(f"axis of the {label}", name, (*model.axes, _SEEDS))
    found = {}
    for name, axis in model.axes.items():
        values = given.get(name, axis.default)
        if values is not None:
            several = values if isinstance(values, list | tuple) else [values]
            if not several:
                raise invalid(name, several, accepted="at least one value", remedy="leave the axis out")
            found[name] = as_values(name, axis, several)
            require_distinct(name.replace("_", " "), found[name])
    return found


def read_sweep(path: Path) -> tuple[Sweep, dict[str, Any]]:
    """The sweep of a TOML file, and its table `cluster`.

    The file has `model` (network or latent), a table `grid` or several `[[grid]]`, `settings`, and for
    networks `data`, `threads` and `device`; `docs/sweeps.md` has examples.

    Raises
    ------
    InputError
        If the file cannot be read or is not TOML, or anything in it is not known or out of range.
    """
    document = _parsed(path)
    for name in document:
        require_known(f"part of {path.name}", name, _PARTS)
    for name in ("data", "settings", "cluster"):
        if not isinstance(document.get(name, {}), dict):
            raise invalid(name, document[name], accepted="a table", remedy=f"write [{name}]")
    model = _model(document, path.parent)
    if "grid" not in document:
        raise invalid("grid", "missing", accepted="at least one table", remedy="write [grid] or [[grid]]")
    grids = document["grid"]
    several = grids if isinstance(grids, list) else [grids]
    if not all(isinstance(grid, dict) for grid in several):
        raise invalid("grid", grids, accepted="a table, or several", remedy="write [grid] or [[grid]]")
    return make_sweep(model, several), document.get("cluster", {})


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise invalid(
            "sweep", str(path), accepted=f"a TOML file ({reason})", remedy="see docs/sweeps.md for one"
        ) from error


def _model(document: Mapping[str, Any], folder: Path) -> Model:
    name = document.get("model", "network")
    require_known("model", str(name), tuple(MODELS))
    settings = document.get("settings", {})
    if name == "latent":
        return latent_model(settings)
    data = document.get("data", {})
    for key, value in data.items():
        require_known("setting of the data", key, DataChoice._fields)
        kind = _DATA_TYPES[key]
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise invalid(f"data {key}", value, accepted=f"of type {kind.__name__}", remedy="correct it")
    choice = DataChoice(**data)
    if choice.folder is not None:
        choice = choice._replace(folder=str((folder / str(choice.folder)).resolve()))
    pairs = tuple(f"{key}={_text(value)}" for key, value in settings.items())
    threads, device = document.get("threads", 1), document.get("device", "auto")
    return NetworkModel(pairs, choice, threads, str(device))


def latent_model(settings: Mapping[str, Any]) -> LatentModel:
    """The latent system with some settings changed.

    Raises
    ------
    InputError
        If one is not known or of another type.
    """
    for key in settings:
        require_known("setting", key, [field.name for field in fields(LatentModel)])
    changed: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    try:
        return LatentModel(**changed)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise invalid(
            "settings", dict(settings), accepted="numbers and names", remedy=f"correct them ({error})"
        ) from error


def _text(value: Any) -> str:
    """A TOML value as the text of a setting."""
    if isinstance(value, list):
        return ",".join(_text(part) for part in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
