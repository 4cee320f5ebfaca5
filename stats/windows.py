"""Windows: the recorded steps that a statistic is taken over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ..errors import invalid, require_integer
from .coordinates import STEP, checked_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Edge = xr.DataArray | float

EDGE = 2.0
"""Edge of stability of gradient descent at learning rate 1, or of a sharpness given over `1/eta0`."""

MEASUREMENTS = 3
"""Measurements whose mean is the final value of a run."""

LATE = 0.5
"""Share of a run, from its start, whose measurements are never part of its final value."""


@dataclass(frozen=True)
class Throughout:
    """Every recorded step."""

    @property
    def words(self) -> str:
        """The window in the words of a sentence."""
        return "throughout"

    def inside(
        self, values: xr.DataArray, sharpness: xr.DataArray | None = None, edge: Edge = EDGE
    ) -> xr.DataArray:
        """Whether each step is inside; dimension step."""
        del sharpness, edge
        return _where(values, lambda steps: np.ones(steps.shape, dtype=bool))


@dataclass(frozen=True)
class Last:
    """The last few recorded steps, as far as they are late ones: the start is never one of them.

    Attributes
    ----------
    count
        How many, at most.
    after
        Share of the run after which a step is late, from 0, which leaves out the start alone, to 1, excluded.
    """

    count: int = MEASUREMENTS
    after: float = LATE

    def __post_init__(self) -> None:
        require_integer("number of last measurements", self.count, least=1, example=MEASUREMENTS)
        if not 0 <= self.after < 1:
            raise invalid(
                "share of the run", self.after, accepted="from 0 to 1, 1 excluded", remedy=f"pass {LATE:g}"
            )

    @property
    def words(self) -> str:
        """The window in the words of a sentence."""
        return "at the last measurement" if self.count == 1 else f"over the last {self.count} measurements"

    def inside(
        self, values: xr.DataArray, sharpness: xr.DataArray | None = None, edge: Edge = EDGE
    ) -> xr.DataArray:
        """Whether each step is inside; dimension step."""
        del sharpness, edge
        return _where(values, lambda steps: np.isin(steps, self.steps(values)))

    def steps(self, values: xr.DataArray | xr.Dataset) -> tuple[int, ...]:
        """The recorded steps inside, ascending; none where only the start was recorded."""
        recorded = np.sort(_recorded(values))
        late = recorded[(recorded > 0) & (recorded > self.after * recorded.max(initial=0))]
        return tuple(int(step) for step in late[-self.count :])


@dataclass(frozen=True)
class Steps:
    """The recorded steps from `first` to `last`, both included."""

    first: float = 1
    last: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise invalid(
                "window", (self.first, self.last), accepted="two steps of at least 0, the earlier first",
                remedy="pass Steps(1, 50)",
            )  # fmt: skip

    @property
    def words(self) -> str:
        """The window in the words of a sentence."""
        end = "on" if math.isinf(self.last) else f"to {self.last:g}"
        return f"from step {self.first:g} {end}"

    def inside(
        self, values: xr.DataArray, sharpness: xr.DataArray | None = None, edge: Edge = EDGE
    ) -> xr.DataArray:
        """Whether each step is inside; dimension step."""
        del sharpness, edge
        return _where(values, lambda steps: (steps >= self.first) & (steps <= self.last))


@dataclass(frozen=True)
class AfterArrival:
    """From the first recorded step on at which a run's sharpness is at a part of the edge of stability."""

    part: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.part < math.inf:
            raise invalid("part of the edge", self.part, accepted="a number above 0", remedy="pass 0.9")

    @property
    def words(self) -> str:
        """The window in the words of a sentence."""
        return f"from the arrival at {self.part:g} of the edge on"

    def inside(
        self, values: xr.DataArray, sharpness: xr.DataArray | None = None, edge: Edge = EDGE
    ) -> xr.DataArray:
        """Whether each step of each run is inside; the dimensions of the sharpness.

        Parameters
        ----------
        values
            What the window is for; has the same steps.
        sharpness
            Sharpness of each run, with the dimension step.
        edge
            Sharpness at the edge of stability, `2/eta0` for gradient descent: a number, or one for each run.

        Raises
        ------
        InputError
            If the sharpness is missing, or an edge is not positive.
        """
        del values
        if sharpness is None:
            raise invalid(
                "sharpness", None, accepted="the sharpness of each run, by which its arrival is found",
                remedy="pass sharpness= and edge=, or choose another window",
            )  # fmt: skip
        near = arrived(sharpness, edge, self.part)
        axis = near.get_axis_num(STEP)
        return near.copy(data=np.logical_or.accumulate(near.to_numpy(), axis=axis))


Window = Throughout | Last | Steps | AfterArrival


def arrived(sharpness: xr.DataArray, edge: Edge, part: float) -> xr.DataArray:
    """Whether the sharpness is at a part of the edge, at each step of each run.

    Raises
    ------
    InputError
        If an edge is not positive.
    """
    if not bool((np.asarray(edge) > 0).all()):
        raise invalid(
            "edge of stability", float(np.asarray(edge).min()), accepted="above 0", remedy="pass 2 / eta0"
        )
    return (sharpness >= part * edge).transpose(*sharpness.dims, ...)


def settled(values: xr.DataArray, measurements: int = MEASUREMENTS, *, after: float = LATE) -> xr.DataArray:
    """Mean over the last measurements of each run, which averages out minibatch noise.

    With few measurements the mean is over those in the second half of the run: the start, and what the run
    passed through, are no part of its final value. A run that diverged has no last measurements: its value is
    NaN.

    Parameters
    ----------
    values
        With the dimension step.
    measurements
        How many, at most.
    after
        Share of the run before which no measurement counts; 0 leaves out the start alone.

    Raises
    ------
    InputError
        If there is no step after the start, or a setting makes no sense.
    """
    window = Last(measurements, after)
    if not window.steps(values):
        raise invalid(
            "recorded steps", tuple(np.atleast_1d(values[STEP].to_numpy()).tolist()),
            accepted="at least one after step 0", remedy="record a later step",
        )  # fmt: skip
    inside = window.inside(values)
    return values.isel({STEP: np.flatnonzero(inside.to_numpy())}).sortby(STEP).mean(STEP, skipna=False)


def final_steps(values: xr.DataArray | xr.Dataset) -> tuple[int, ...]:
    """Steps of the measurements whose mean `settled` takes, ascending; none where only the start is there."""
    return Last().steps(values)


def _recorded(values: xr.DataArray | xr.Dataset) -> NDArray[np.float64]:
    """Recorded steps."""
    if not isinstance(values, xr.DataArray | xr.Dataset):
        raise invalid(
            "values", type(values).__name__, accepted="an xarray.DataArray",
            remedy="pass a variable of a record, such as record['loss']",
        )  # fmt: skip
    if STEP not in values.dims:
        raise invalid(
            "dimensions", tuple(map(str, values.dims)), accepted="step among them",
            remedy="pass a variable that was recorded at several steps",
        )  # fmt: skip
    return np.asarray(values[STEP].to_numpy().astype(np.float64))


def _where(values: xr.DataArray, chosen: Callable[..., object]) -> xr.DataArray:
    """A mask of the steps of values."""
    steps = values[STEP].to_numpy().astype(np.float64)
    return xr.DataArray(np.asarray(chosen(steps)), {STEP: values[STEP].to_numpy()}, (STEP,))


def steps_inside(
    window: Window, table: xr.DataArray, sharpness: xr.DataArray | None, edge: Edge
) -> xr.DataArray:
    """Whether each step of a sorted table is inside a window; for each run where that differs.

    Raises
    ------
    InputError
        If the sharpness is missing where the window needs it, or lacks runs or steps of the table.
    """
    if sharpness is not None:
        sharpness = checked_table(sharpness, [str(name) for name in sharpness.dims])
        for name in sharpness.dims:
            missing = set(table[name].to_numpy().tolist()) - set(sharpness[name].to_numpy().tolist())
            if missing:
                raise invalid(
                    f"{name} of the sharpness", sorted(sharpness[name].to_numpy().tolist()),
                    accepted=f"every {name} of the values", remedy=f"add {name} {min(missing):g}",
                )  # fmt: skip
        sharpness = sharpness.sel({name: table[name] for name in sharpness.dims if name in table.dims})
    return window.inside(table, sharpness, edge)


def common_steps(inside: xr.DataArray) -> xr.DataArray:
    """Whether each step is inside for every run; dimension step."""
    others = [name for name in inside.dims if name != STEP]
    return inside.all(others) if others else inside
