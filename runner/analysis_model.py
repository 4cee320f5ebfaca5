"""Computations whose result is one dataset, as runs of a sweep."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numba
import numpy as np
import xarray as xr

from ..errors import invalid, require_known
from ..records.schema import SCHEMA_VERSION, describe
from .axes import Axis, as_text, axis
from .groups import INNER, Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from .axes import Cell
    from .models import OnProgress

    Values = Mapping[str, Any]
    """Settings and labels by name."""


class Analysis(NamedTuple):
    """A computation that gives a dataset for every combination of some axes.

    Its datasets have dimensions of their own: those that are no axes.
    """

    axes: Mapping[str, tuple[str, tuple[Any, ...]]]
    """Axes that every sweep has: kind and default labels. Learning rate and seed cannot be among them."""
    defaults: Values
    """Settings with their defaults."""
    plan: Callable[[Values], xr.Dataset]
    """The dataset before it is computed, with the attributes of `records.origin.provenance`."""
    run: Callable[[Values, OnProgress], xr.Dataset]
    """The dataset, of the same variables, coordinates and attributes."""
    cost: Callable[[Values], float] = lambda _: 1.0
    """Work of one dataset, in any unit."""


ANALYSES = ("best-rates", "bifurcation", "coordinates", "error-bars", "curvature-parts", "phase-plane")
"""Names of the analyses; each is `ANALYSIS` of the module of that name in `runner.analyses`."""


def analysis(name: str) -> Analysis:
    """An analysis by name.

    Raises
    ------
    InputError
        If there is none.
    """
    require_known("analysis", name, ANALYSES)
    module = importlib.import_module(f"{__package__}.analyses.{name.replace('-', '_')}")
    found: Analysis = module.ANALYSIS
    return found


@dataclass(frozen=True)
class AnalysisModel:
    """Datasets of one analysis.

    Attributes
    ----------
    analysis
        One of `ANALYSES`.
    settings
        Pairs of name and value that are not as they are by default.

    Raises
    ------
    InputError
        If the analysis or a setting is not known.
    """

    analysis: str
    settings: tuple[tuple[str, Any], ...] = ()

    name: ClassVar[str] = "analysis"
    order: ClassVar[tuple[Any, ...]] = ("parametrization", ..., "width")

    def __post_init__(self) -> None:
        for name, _ in self.settings:
            require_known(f"setting of {self.analysis}", name, tuple(self._about.defaults))

    @property
    def axes(self) -> Mapping[str, Axis]:
        """As for `Model`."""
        return {name: axis(kind, name, default) for name, (kind, default) in self._about.axes.items()}

    def axis(self, name: str, given: Mapping[str, Any]) -> Axis:
        """As for `Model`: an analysis has no further axes."""
        del given
        require_known(f"axis of {self.analysis}", name, tuple(self._about.axes))
        return self.axes[name]

    def own(self, name: str, cell: Cell) -> Any:
        """As for `Model`."""
        del cell
        raise invalid(
            f"axis of {self.analysis}", name, accepted=", ".join(self._about.axes), remedy="choose one"
        )

    def groups(self, shared: Cell, rates_of: Mapping[int, list[float]]) -> Iterator[Group]:
        """As for `Model`."""
        del rates_of
        yield Group(shared, (), ())

    def skeleton(self, group: Group) -> xr.Dataset:
        """As for `Model`."""
        return self._marked(self._about.plan(self._values(group)), group, completed=0)

    def cost(self, group: Group) -> float:
        """As for `Model`."""
        return self._about.cost(self._values(group))

    def run(self, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        """As for `Model`; these computations are over before a checkpoint would be due."""
        del checkpoint
        before = numba.get_num_threads()
        numba.set_num_threads(1)  # other processes run beside this one
        try:
            record = self._about.run(self._values(group), on_progress)
        finally:
            numba.set_num_threads(before)
        return self._marked(record, group, completed=1)

    @property
    def _about(self) -> Analysis:
        return analysis(self.analysis)

    def _values(self, group: Group) -> dict[str, Any]:
        return {**self._about.defaults, **dict(self.settings), **dict(group.shared)}

    def _marked(self, record: xr.Dataset, group: Group, *, completed: int) -> xr.Dataset:
        """A dataset that says what it is, and whether it is complete."""
        axes = self._about.axes
        for name in axes:
            if name in record.dims or name in INNER:
                raise invalid("dimension of an analysis", name, accepted="no axis", remedy="leave it out")
        configuration = json.loads(record.attrs["configuration"]) | {"analysis": self.analysis}
        configuration |= {name: as_text(label) for name, label in group.shared}
        words = describe("completed")._asdict()
        kept = record.assign(completed=xr.DataArray(np.int8(completed), attrs=words))
        return kept.drop_vars([name for name in axes if name in kept.coords]).assign_attrs(
            configuration=json.dumps(configuration, sort_keys=True), schema_version=SCHEMA_VERSION
        )
