"""Trajectories of the latent system, as runs of a sweep."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numba

from ..errors import InputError, invalid, require_integer, require_known
from ..records.recording import require_schedule, schedule
from ..simulations.choice import METHODS
from ..simulations.ensemble import plan_record, simulate
from ..simulations.grid import Ensemble
from ..theory import IsotropicTarget, parametrization
from ..theory.problem import require_norm
from .axes import NUMBER, WHOLE, WORD, Axis, axis
from .groups import rectangles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import xarray as xr

    from .axes import Cell
    from .groups import Group
    from .models import OnProgress

_MOST = 512
"""Runs of a group: more would leave other processes idle, fewer would spend the time on writing files."""


@dataclass(frozen=True)
class LatentModel:
    """Trajectories of the latent system of the two-layer linear network (Theorem 5.1).

    Attributes
    ----------
    dimension, target_norm
        Dimension and norm of the target w*.
    steps, measure_every
        Gradient-descent steps, and those between measurements; None is sixteen intervals.
    measure_at
        Steps at which runs are measured, in place of `measure_every`; a text such as `0+1+2+4` may be passed.
    quantities
        Names of `theory.OBSERVABLES`.
    method
        As for `simulations.simulate`.
    chosen
        Names of settings that were chosen, even as they are by default: none of them can be an axis.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    dimension: int = 20
    target_norm: float = 1.0
    steps: int = 200
    measure_every: int | None = None
    measure_at: tuple[int, ...] | None = None
    quantities: tuple[str, ...] = ("loss", "sharpness")
    method: str = "auto"
    chosen: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    name: ClassVar[str] = "latent"
    order: ClassVar[tuple[Any, ...]] = ("parametrization", ..., "width", "learning_rate", "seed")

    def __post_init__(self) -> None:
        for name in ("dimension", "steps"):
            require_integer(name, getattr(self, name), least=1, example=20)
        if self.measure_every is not None:
            require_integer("measure_every", self.measure_every, least=1, example=10)
        if self.measure_at is not None:
            object.__setattr__(self, "measure_at", _measured_steps(self.measure_at, self.steps))
        if not isinstance(self.quantities, tuple) or not all(isinstance(one, str) for one in self.quantities):
            raise invalid("quantities", self.quantities, accepted="a list", remedy='write ["loss"]')
        require_known("method", self.method, ("auto", *METHODS))
        require_norm(self.target_norm)

    @property
    def axes(self) -> Mapping[str, Axis]:
        """As for `Model`."""
        return {
            "parametrization": axis(WORD, "parametrization", ("mup",)),
            "width": axis(NUMBER, "width", (64.0, 256.0, 1024.0)),
            "learning_rate": axis(NUMBER, "learning_rate", (0.5,)),
            "seed": axis(WHOLE, "seed", tuple(range(10))),
        }

    def axis(self, name: str, given: Mapping[str, Any]) -> Axis:
        """As for `Model`: every setting but the quantities and the measured steps is an axis too."""
        del given
        if name in self.axes:
            return self.axes[name]
        kinds = {
            "dimension": WHOLE,
            "target_norm": NUMBER,
            "steps": WHOLE,
            "measure_every": WHOLE,
            "method": WORD,
        }
        require_known("axis", name, (*self.axes, *kinds))
        if name in self.chosen or getattr(self, name) != getattr(type(self), name):
            raise invalid(
                "axis", name, accepted=f"names that are no setting, and {name}={getattr(self, name)} is one",
                remedy="give it once",
            )  # fmt: skip
        return axis(kinds[name], name)

    def own(self, name: str, cell: Cell) -> Any:
        """As for `Model`."""
        del cell
        return self._every if name == "measure_every" else getattr(self, name)

    def groups(self, shared: Cell, rates_of: Mapping[int, list[float]]) -> Iterator[Group]:
        """As for `Model`."""
        yield from rectangles(shared, rates_of, lambda _: 0, _MOST)

    def skeleton(self, group: Group) -> xr.Dataset:
        """As for `Model`."""
        chosen, ensemble = _chosen(self, group)
        record = plan_record(ensemble, chosen.schedule, chosen.quantities, chosen.method).isel(width=0)
        # The coordinates say which learning rates a group has; runs of one family share the rest.
        configuration = json.loads(record.attrs["configuration"])
        del configuration["learning_rates"]
        return record.assign_attrs(configuration=json.dumps(configuration, sort_keys=True))

    def cost(self, group: Group) -> float:
        """Steps of all runs, whatever the width."""
        return float(group.size * max(1, _settings(self, group.shared).steps))

    def run(self, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        """As for `Model`; these runs are over before a checkpoint would be due."""
        del checkpoint
        chosen, ensemble = _chosen(self, group)
        before = numba.get_num_threads()
        numba.set_num_threads(1)  # other processes run beside this one
        try:
            record = simulate(
                ensemble, record_at=chosen.schedule, quantities=chosen.quantities, method=chosen.method,
                on_progress=on_progress,
            )  # fmt: skip
        finally:
            numba.set_num_threads(before)
        return record.isel(width=0)

    @property
    def schedule(self) -> tuple[int, ...]:
        """Steps at which a run is measured."""
        return schedule(self.steps, self._every) if self.measure_at is None else self.measure_at

    @property
    def _every(self) -> int:
        return max(1, self.steps // 16) if self.measure_every is None else self.measure_every


def _measured_steps(given: tuple[int, ...] | str, steps: int) -> tuple[int, ...]:
    """Steps as a tuple; `InputError` unless they ascend, up to `steps` at most."""
    if isinstance(given, str):
        parts = given.split("+")
        if not all(map(str.isdecimal, parts)):
            raise invalid("measure_at", given, accepted="whole numbers joined by +", remedy="write 0+1+2+4")
        given = tuple(map(int, parts))
    found = require_schedule(given)
    if found[-1] > steps:
        raise invalid("measured steps", found[-1], accepted=f"at most {steps}", remedy="take more steps")
    return found


_SETTINGS = tuple(one.name for one in fields(LatentModel) if one.compare)


def latent_model_from(settings: Mapping[str, Any]) -> LatentModel:
    """The latent system with some settings changed.

    Raises
    ------
    InputError
        If one is not known or of another type.
    """
    for key in settings:
        require_known("setting", key, _SETTINGS)
    changed: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    try:
        return LatentModel(**changed, chosen=frozenset(changed))
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise invalid(
            "settings", dict(settings), accepted="numbers and names", remedy=f"correct them ({error})"
        ) from error


@lru_cache(maxsize=1024)
def _settings(model: LatentModel, shared: Cell) -> LatentModel:
    """The model with the settings that a cell names."""
    return replace(model, **{name: value for name, value in shared if name in _SETTINGS})


def _chosen(model: LatentModel, group: Group) -> tuple[LatentModel, Ensemble]:
    values, chosen = dict(group.shared), _settings(model, group.shared)
    return chosen, Ensemble(
        parametrization(values["parametrization"]),
        IsotropicTarget(chosen.dimension, chosen.target_norm),
        (float(values["width"]),),
        group.learning_rates,
        group.seeds,
    )
