"""What a sweep runs: grids over axes, joined."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import invalid, require_distinct, require_whole
from .axes import Cell, Labels, ordered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .axes import Axis
    from .models import Model

MOST_RUNS = 200_000
"""Runs of a sweep."""

_SEEDS = "seeds"


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
        seen: set[Cell] = set()
        for cell in self.cells:
            if cell in seen:
                words = ", ".join(f"{name} {value}" for name, value in cell)
                raise invalid(
                    "run", words, accepted="runs that differ",
                    remedy="remove it from one of the grids that have it",
                )  # fmt: skip
            seen.add(cell)

    @property
    def axes(self) -> dict[str, list[Any]]:
        """Values that occur, by axis, in the order of their first occurrence; numbers ascend."""
        names = [name for name, _ in self.cells[0]]
        columns = zip(*([value for _, value in cell] for cell in self.cells), strict=True)
        return {name: ordered(values) for name, values in zip(names, columns, strict=True)}


def make_sweep(model: Model, grids: Sequence[Mapping[str, Any]]) -> Sweep:
    """All runs of some grids, each a value or a list of values for every axis.

    Parameters
    ----------
    model
        What the runs have in common.
    grids
        By axis: a value or several. `seeds` is a number of seeds, from 0 on. An axis that no grid names has
        the model's default; one that only some grids name has the model's own setting in the others.
        Learning rates and other numbers that are equal to a relative 1e-9 are one value.

    Raises
    ------
    InputError
        If an axis is not known or is a setting too, a value is of another kind or occurs twice, or a run is
        in two grids.
    """
    counted = [_with_seeds(grid) for grid in grids]
    extra = list(dict.fromkeys(name for grid in counted for name in grid if name not in model.axes))
    names = _in_order(model.order, [*model.axes, *extra])
    known = {name: Labels() for name in names}
    cells: list[Cell] = []
    for grid in counted:
        for cell in _cells(model, grid, names, known):
            cells.append(cell)
            require_whole("number of runs", len(cells), least=1, most=MOST_RUNS, example=60)
    return Sweep(model, tuple(cells))


def _with_seeds(grid: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(grid)
    if _SEEDS in given:
        count = given.pop(_SEEDS)
        whole = isinstance(count, int) and not isinstance(count, bool)
        require_whole("seeds", count if whole else -1, least=1, most=10**6, example=3)
        if "seed" in given:
            raise invalid(_SEEDS, count, accepted="either seeds or seed", remedy="leave one of them out")
        given["seed"] = list(range(count))
    return given


def _in_order(order: Sequence[Any], names: Sequence[str]) -> list[str]:
    """Names in a model's order, those it does not mention in the place of its `...`."""
    middle = list(order).index(...)
    first, last = order[:middle], order[middle + 1 :]
    others = [name for name in names if name not in order]
    return [*(one for one in first if one in names), *others, *(one for one in last if one in names)]


def _cells(
    model: Model, grid: Mapping[str, Any], names: Sequence[str], known: Mapping[str, Labels]
) -> Iterator[Cell]:
    """The runs of one grid, with a label for every name."""
    values: dict[str, tuple[Any, ...]] = {}
    for name in [
        *(one for one in names if one in model.axes),
        *(one for one in names if one not in model.axes),
    ]:
        if name in grid:
            values[name] = _labels(model.axis(name, values), name, grid[name], known[name])
        elif name in model.axes:
            values[name] = tuple(known[name].merged(model.axes[name].default or ()))
    given = [name for name in names if name in values]
    for point in product(*(values[name] for name in given)):
        cell = dict(zip(given, point, strict=True))
        for name in names:
            if name not in cell:
                (cell[name],) = known[name].merged([model.own(name, tuple(cell.items()))])
        yield tuple((name, cell[name]) for name in names)


def _labels(axis: Axis, name: str, given: Any, known: Labels) -> tuple[Any, ...]:
    """Labels of an axis's values, different from one another."""
    several = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise invalid(name, several, accepted="at least one value", remedy="leave the axis out")
    labels = known.merged(axis.read(value) for value in several)
    require_distinct(name.replace("_", " "), tuple(labels))
    return tuple(labels)
