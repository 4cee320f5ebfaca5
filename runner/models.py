"""What a model of a sweep has to offer, and the models by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import xarray as xr

    from .axes import Axis, Cell
    from .groups import Group

OnProgress = Callable[[float, float], None]
"""Is told of the work that is done, and of all."""


class Model(Protocol):
    """What the runs of a sweep have in common. Frozen, and fit to be sent to another process."""

    name: ClassVar[str]
    """By which a sweep's file asks for it."""
    order: ClassVar[tuple[Any, ...]]
    """Axes that come first in the results, then those that come last, around `...`."""

    @property
    def axes(self) -> Mapping[str, Axis]:
        """Axes that every sweep has, with their defaults."""
        ...

    def axis(self, name: str, given: Mapping[str, Any]) -> Axis:
        """An axis by name, for grids with these labels on the axes that every sweep has.

        Raises
        ------
        InputError
            If there is no such axis, or the name is a setting of the model already.
        """
        ...

    def own(self, name: str, cell: Cell) -> Any:
        """The label of a setting that a cell does not name."""
        ...

    def groups(self, shared: Cell, rates_of: Mapping[int, list[float]]) -> Iterator[Group]:
        """Runs with these learning rates by seed, cut into those that are carried out as one."""
        ...

    def skeleton(self, group: Group) -> xr.Dataset:
        """The group's record before it has run: all that makes the runs what they are.

        Raises
        ------
        InputError
            If a run is not possible.
        """
        ...

    def cost(self, group: Group) -> float:
        """Work of the group, in any unit."""
        ...

    def run(self, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        """The group's record with dimensions (learning_rate, seed, ...).

        Resumes from a checkpoint if there is one, and reports progress if it can.
        """
        ...
