"""Runs that are carried out as one: a rectangle of learning rates and seeds, kept in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .axes import Cell

INNER = ("learning_rate", "seed")
"""Axes along which runs of one group may differ."""


class Group(NamedTuple):
    """Every combination of some learning rates and seeds, all else being shared.

    Without learning rates and seeds it is one run, of a model that has no such axes.
    """

    shared: Cell
    """Labels on the other axes."""
    learning_rates: tuple[float, ...]
    """Ascending."""
    seeds: tuple[int, ...]
    """Ascending."""

    @property
    def size(self) -> int:
        """Number of runs."""
        return max(1, len(self.learning_rates) * len(self.seeds))

    @property
    def cells(self) -> list[Cell]:
        """The runs, learning rate by learning rate."""
        if not self.learning_rates:
            return [self.shared]
        return [
            (*self.shared, ("learning_rate", rate), ("seed", seed))
            for rate in self.learning_rates
            for seed in self.seeds
        ]


def by_shared(cells: Iterable[Cell]) -> dict[Cell, dict[int, list[float]]]:
    """Learning rates by seed, of the runs that share everything else; none where runs have no such axes."""
    found: dict[Cell, dict[int, list[float]]] = {}
    for cell in cells:
        values = dict(cell)
        rates_of = found.setdefault(tuple(pair for pair in cell if pair[0] not in INNER), {})
        if INNER[0] in values:
            rate, seed = (values[name] for name in INNER)
            rates_of.setdefault(int(seed), []).append(float(rate))
    return found


def rectangles(
    shared: Cell, rates_of: Mapping[int, list[float]], joined: Callable[[int], Any], most: int
) -> Iterator[Group]:
    """Cut runs into groups of at most `most`.

    What is left of the runs once some of these groups are complete is cut into the others: a sweep that was
    killed resumes in the same groups. This is why a group has all the seeds of its learning rates, and why
    seeds are apportioned by their values and not by their places.

    Parameters
    ----------
    shared
        What the runs have in common.
    rates_of
        Learning rates by seed.
    joined
        Seeds for which this is the same may be in one group.
    most
        Runs of a group.
    """
    seeds_of: dict[tuple[Any, int], dict[float, list[int]]] = {}
    for seed in sorted(rates_of):
        together = seeds_of.setdefault((joined(seed), seed // most), {})
        for rate in rates_of[seed]:
            together.setdefault(rate, []).append(seed)
    for together in seeds_of.values():
        alike: dict[tuple[int, ...], list[float]] = {}
        for rate in sorted(together):
            alike.setdefault(tuple(together[rate]), []).append(rate)
        for seeds, rates in alike.items():
            count = most // len(seeds)
            for first in range(0, len(rates), count):
                yield Group(shared, tuple(rates[first : first + count]), seeds)
