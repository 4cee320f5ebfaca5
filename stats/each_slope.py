"""Slopes on size of several things at once, such as every layer at every step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from .coordinates import SEED, STEP
from .estimates import Estimate, interval_words, undetermined
from .lines import slope_weights
from .measured import THROUGHOUT
from .resampling import family_reach, resample_means, satterthwaite, unbiased
from .slopes import size_table

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from .measured import Measured
    from .verdicts import Interval
    from .windows import Window

    Floats = NDArray[np.float64]

_LEVEL = 0.95
"""Confidence level of all intervals together."""


class MemberSlope(NamedTuple):
    """The slope of one member of a family."""

    place: tuple[Any, ...]
    """Its coordinate on every axis of the family."""
    slope: float
    interval: Interval
    """One of the intervals that hold for the whole family at once."""


@dataclass(frozen=True)
class SlopeOfEach:
    """Slope of log mean on log size of every member of a family, by intervals that hold for all at once.

    Attributes
    ----------
    family
        Names of the axes whose values are the members; without any there is one.
    runs
        Name of the axis of runs.
    over
        Name of the size axis.
    resamples
        Number of bootstrap resamples.

    Notes
    -----
    The line goes through the logs of the means over runs: the means of the logs would see the spread of runs,
    which falls with width. Runs are resampled whole, so that the intervals know how the members of a run vary
    together (sup-t, Montiel Olea and Plagborg-Moller 2019). The statistic is open where a value is missing,
    zero or negative.
    """

    family: tuple[str, ...] = ("layer", STEP)
    runs: str = SEED
    over: str = "width"
    resamples: int = 2000
    series = 1

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""
        return self.over, self.runs, *self.family

    def slopes(self, generator: np.random.Generator, measured: Measured) -> list[MemberSlope]:
        """The slope of every member; none where a value has no logarithm."""
        values = measured.values.transpose(*self.keep)
        if _unusable(values):
            return []
        sizes, runs = values[self.over].to_numpy(), values[self.runs].to_numpy()
        flat = values.to_numpy().reshape(len(sizes), len(runs), -1)
        places = {self.over: sizes, SEED: runs, STEP: np.arange(flat.shape[2])}
        table = size_table(xr.DataArray(flat, places, (self.over, SEED, STEP)), self.over)
        slope, reach = self._fitted(table[self.over].to_numpy(), table.to_numpy(), generator)
        members = product(*(values[name].to_numpy().tolist() for name in self.family))
        return [
            MemberSlope(place, float(value), (float(value - wide), float(value + wide)))
            for place, value, wide in zip(members, slope, reach, strict=True)
        ]

    def _fitted(self, sizes: Floats, table: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Slopes (member,) from values (size, run, member), and how far their intervals reach."""
        weights, means, count = slope_weights(np.log(sizes)), table.mean(axis=1), table.shape[1]
        slope = weights @ np.log(means)
        if count < 2:
            return slope, np.full(slope.shape, np.inf)
        drawn = np.stack([resample_means(runs, generator, self.resamples) for runs in table])
        scatter = np.einsum("w,wbm->bm", weights, np.log(drawn / means[:, None])) * unbiased(count)
        variances = weights[:, None] ** 2 * table.var(axis=1, ddof=1) / count / means**2
        error, degrees = np.sqrt(variances.sum(axis=0)), satterthwaite(variances, count)
        return slope, family_reach(scatter, error, degrees, _LEVEL)

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The slope whose interval reaches farthest, and the intervals of all members."""
        del window
        (one,) = measured
        unusable = _unusable(one.values)
        if unusable:
            return undetermined(f"{unusable} of {one.values.size} values are missing, zero or negative")
        slopes = self.slopes(generator, one)
        far = max(slopes, key=lambda member: max(-member.interval[0], member.interval[1]))
        place = ", ".join(f"{name} {value}" for name, value in zip(self.family, far.place, strict=True))
        words = f"slope on {self.over} {far.slope:+.3f} ({interval_words(far.interval)})"
        words += f" at {place}, the farthest of {len(slopes)}" if place else ""
        return Estimate(far.slope, far.interval, "1", words, tuple(member.interval for member in slopes))


def _unusable(values: xr.DataArray) -> int:
    """Number of values without a logarithm."""
    return int((~(np.isfinite(values) & (values > 0))).sum())
