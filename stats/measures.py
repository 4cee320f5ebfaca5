"""The statistics that claims rest on: each is configured first, then called with what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .coordinates import RATE, SEED, STEP, finite_sizes, symbol
from .estimates import Estimate, interval_words, undetermined
from .measured import THROUGHOUT, Measured, OverSizes, diverged_runs, undiverged_sizes, windowed
from .over_time import POINTS, SPAN, growth
from .resampling import UNBOUNDED, family_reach, resample_means, unbiased
from .resolution import rounding_floor
from .slopes import table_slopes
from .transfer import DRIFT, transfer_verdict
from .verdicts import REFUTED, UNDECIDED, Within
from .windows import Last, common_steps

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from .power_laws import PowerLaw
    from .verdicts import Interval
    from .windows import Window

    Floats = NDArray[np.float64]


FINAL = Last()
"""Measurements whose mean is the final value of a run."""


@dataclass(frozen=True, kw_only=True)
class SlopeOnSize(OverSizes):
    """Slope of log value on log size at every step inside the window, by intervals that hold at all at once.

    Attributes
    ----------
    averaged
        Take one slope, of each run's mean over the window, instead of one at every step.
    least
        Smaller sizes do not count.

    Notes
    -----
    Sizes with diverged runs are left out. The statistic is open where the share of diverged runs depends on
    the size, and where a value inside the window is zero, negative or below rounding.
    """

    averaged: bool = False
    least: float = 0.0

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The slope at the step whose interval reaches farthest, and the intervals of all steps."""
        (one,) = measured
        runs = windowed(one, self.keep, window)
        if runs.open:
            return undetermined(runs.open)
        sizes = runs.table[self.over].to_numpy()
        if (np.isfinite(sizes) & (sizes >= self.least)).sum() < 2:
            return undetermined(f"fewer than two finite {self.over}s from {self.least:g} on")
        table = finite_sizes(runs.table, self.over, self.least)
        table, left_out, reason = undiverged_sizes(table, one.diverged_step, self.over)
        if reason or table.sizes[self.over] < 2:
            return undetermined(reason or f"fewer than two {self.over}s without diverged runs: {left_out}")
        table = self._inside(table, runs.inside)
        if not table.sizes[STEP]:
            return undetermined(f"no step is inside for every run {window.words}")
        if not bool((table > 0).all()):
            return undetermined(f"{int((~(table > 0)).sum())} values are not above rounding {window.words}")
        slopes = table_slopes(table, generator, over=self.over, resamples=self.resamples)
        family = _ends(slopes["family_lower"], slopes["family_upper"])
        far = int(np.argmax([max(-low, high) for low, high in family]))
        value, step = float(slopes["slope"][far]), slopes[STEP].to_numpy()[far]
        at = window.words if self.averaged else f"at step {step:g}, {window.words}"
        since = f" from {symbol(self.over)} = {self.least:g} on" if self.least else ""
        words = f"slope on {self.over}{since} {value:+.3f} ({interval_words(family[far])}) {at}"
        return Estimate(value, family[far], "1", words + (f"; {left_out}" if left_out else ""), family)

    def _inside(self, table: xr.DataArray, inside: xr.DataArray) -> xr.DataArray:
        own = _own(inside, table)
        if self.averaged:
            return run_means(table, own).expand_dims(STEP, axis=-1)
        return table.isel({STEP: np.flatnonzero(common_steps(own).to_numpy())})


@dataclass(frozen=True, kw_only=True)
class Mean(OverSizes):
    """Mean over runs of each run's mean over the window, by intervals that hold for all sizes at once.

    Attributes
    ----------
    unit
        Unit of the values.
    level
        Confidence level of the intervals.

    Notes
    -----
    Diverged runs are treated as by `SlopeOnSize`.
    """

    unit: str = "1"
    level: float = 0.95

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The mean over sizes, the range of its intervals, and the interval of each size."""
        (one,) = measured
        runs = windowed(one, self.keep, window)
        if runs.open:
            return undetermined(runs.open, self.unit)
        table, left_out, reason = undiverged_sizes(runs.table, one.diverged_step, self.over)
        if reason or not table.sizes[self.over]:
            return undetermined(reason or f"no {self.over} without diverged runs: {left_out}", self.unit)
        means = run_means(table, _own(runs.inside, table)).transpose(self.over, SEED).to_numpy()
        family = mean_intervals(means, generator, self.resamples, self.level)
        value = float(means.mean())
        interval = min(low for low, _ in family), max(high for _, high in family)
        words = f"mean {value:.3g} ({interval_words(interval, '.3g', self.level)}) {window.words}"
        return Estimate(value, interval, self.unit, words + (f"; {left_out}" if left_out else ""), family)


@dataclass(frozen=True, kw_only=True)
class ExponentInTime(OverSizes):
    """Exponent in time of the mean over runs at each size, by intervals that hold for all sizes at once.

    Attributes
    ----------
    span, points
        Least ratio of the window's last step to its first, and least number of measurements.

    Notes
    -----
    The statistic is open unless every size has a law. Where a law bends, its interval is widened to hold the
    local exponents at both ends of the window.
    """

    span: float = SPAN
    points: int = POINTS

    def laws(
        self, generator: np.random.Generator, measured: Measured, window: Window = THROUGHOUT
    ) -> dict[float, PowerLaw]:
        """The law of each size."""
        table = windowed(measured, self.keep, window).table
        level = 1 - 0.05 / max(table.sizes[self.over], 1)
        return growth(
            table, generator, self.over, window=window, sharpness=measured.sharpness, edge=measured.edge,
            span=self.span, points=self.points, resamples=self.resamples, level=level,
        )  # fmt: skip

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The median of the exponents, the range of their intervals, and the interval of each size."""
        (one,) = measured
        runs = windowed(one, self.keep, window)
        if runs.open:
            return undetermined(runs.open)
        laws = self.laws(generator, one, window)
        reasons = [f"{symbol(self.over)} = {size:g}: {law.open}" for size, law in laws.items() if law.open]
        if reasons:
            return undetermined("; ".join(reasons))
        family = tuple(law.range for law in laws.values())
        value = float(np.median([law.exponent for law in laws.values()]))
        interval = min(low for low, _ in family), max(high for _, high in family)
        listed = ", ".join(
            f"{law.exponent:+.2f} ({interval_words(law.range, '+.2f')}) at {symbol(self.over)} = {size:g}"
            for size, law in laws.items()
        )
        return Estimate(value, interval, "1", f"exponent in time {listed}, {window.words}", family)


@dataclass(frozen=True, kw_only=True)
class Drift(OverSizes):
    """Factors of two that the best learning rate moves by when the size doubles: `transfer_verdict`.

    Attributes
    ----------
    tolerance
        Factors of two that count as none; a move beyond it between two neighbouring sizes takes the place of
        the drift over all sizes.

    Notes
    -----
    The loss of a run is its mean over the window. A rate at which a run diverged does not compete. The
    statistic is open where the best rates of fewer than three sizes lie within the grid, or with one seed.
    """

    tolerance: float = DRIFT

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""
        return self.over, RATE, SEED, STEP

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = FINAL
    ) -> Estimate:
        """The drift with its interval, in the words of the transfer verdict."""
        (one,) = measured
        unit = "factors of two a doubling"
        runs = windowed(one, self.keep, window)
        if runs.open:
            return undetermined(runs.open, unit)
        table = runs.table
        if one.diverged_step is not None:
            table = table.where(~diverged_runs(table, one.diverged_step))
        found = transfer_verdict(
            run_means(table, runs.inside), generator, over=self.over, tolerance=self.tolerance,
            resamples=self.resamples, floor=rounding_floor(one.values) if one.floor is None else one.floor,
        )  # fmt: skip
        expected = Within(self.tolerance)
        interval = found.interval
        if found.judgement == REFUTED and expected.judge(interval) != REFUTED:
            interval = next(jump for jump in found.jumps if expected.judge(jump) == REFUTED)
        blocked = found.judgement == UNDECIDED and expected.judge(interval) != UNDECIDED
        reason = found.sentence if blocked or not math.isfinite(interval[0]) else ""
        return Estimate(found.drift, interval, unit, found.sentence, (), reason)


def _own(inside: xr.DataArray, table: xr.DataArray) -> xr.DataArray:
    """The window of the sizes that are left in a table."""
    return inside.sel({name: table[name] for name in inside.dims})


def run_means(table: xr.DataArray, inside: xr.DataArray) -> xr.DataArray:
    """Mean of each run over its own steps inside the window; NaN where one of them has no value."""
    return table.where(inside, 0.0).sum(STEP, skipna=False) / inside.sum(STEP)


def mean_intervals(
    means: Floats, generator: np.random.Generator, resamples: int, level: float
) -> tuple[Interval, ...]:
    """Intervals of the means over runs, shape (size, run), that hold for all sizes at once."""
    count = means.shape[1]
    if count < 2:
        return (UNBOUNDED,) * len(means)
    centre = means.mean(axis=1)
    spread = means - centre[:, None]
    drawn = np.stack([resample_means(row, generator, resamples) for row in spread], axis=1)
    error = means.std(axis=1, ddof=1) / math.sqrt(count)
    degrees = np.full(len(means), count - 1.0)
    reach = family_reach(drawn * unbiased(count), error, degrees, level)
    return tuple((float(c - r), float(c + r)) for c, r in zip(centre, reach, strict=True))


def _ends(lower: xr.DataArray, upper: xr.DataArray) -> tuple[Interval, ...]:
    return tuple(
        (float(low), float(high)) for low, high in zip(lower.to_numpy(), upper.to_numpy(), strict=True)
    )
