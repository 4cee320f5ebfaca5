"""How far the curves of two sizes lie apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .coordinates import RATE, SEED, STEP, checked_table, require_resampling, symbol
from .divergence import counts_by_size
from .estimates import Estimate, interval_words, undetermined
from .measured import THROUGHOUT, OverSizes, diverged_runs, missing_runs
from .resampling import UNBOUNDED, family_reach, resample_means, unbiased
from .windows import steps_inside

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from .measured import Measured
    from .verdicts import Interval
    from .windows import Window

    Floats = NDArray[np.float64]

_TINY = float(np.finfo(np.float64).tiny)
"""Stands for zero, which has no logarithm."""


@dataclass(frozen=True)
class LargestGap(OverSizes):
    """Largest distance between the curves of the smallest and the largest size, in powers of ten.

    Attributes
    ----------
    floor
        Curves are followed down to this value; below it they count as equal.
    level
        Confidence level of the interval.

    Notes
    -----
    A curve is the geometric mean over seeds; the largest distance is that over all steps inside the window
    and all learning rates. Networks of different sizes are independent, so the seeds are resampled at each
    size by itself. The interval follows from intervals that hold at every step and rate at once. The
    statistic is open where a run diverged.
    """

    floor: float
    level: float = 0.95

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""
        return self.over, RATE, SEED, STEP

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The distance, and where it is largest."""
        (one,) = measured
        unit = "powers of ten"
        require_resampling(generator, self.resamples)
        table = checked_table(one.values, self.keep)
        missing = missing_runs(table, one.diverged_step)
        if missing.any():
            return undetermined(f"{int(missing.sum())} of {missing.size} runs are missing", unit)
        sizes = table[self.over].to_numpy()
        lost = diverged_runs(table, one.diverged_step).to_numpy().reshape(len(sizes), -1)
        if lost.any() or len(sizes) < 2:
            words = f"diverged {counts_by_size(sizes, lost, self.over)}" if lost.any() else "one size only"
            return undetermined(words, unit)
        inside = steps_inside(window, table, one.sharpness, one.edge)
        return self._compared(generator, table.isel({self.over: [0, -1]}).where(inside, 1.0), unit)

    def _compared(self, generator: np.random.Generator, table: xr.DataArray, unit: str) -> Estimate:
        logs = np.log10(np.maximum(table.transpose(self.over, SEED, ...).to_numpy(), _TINY))
        gaps = np.abs(self._mean(logs[0]) - self._mean(logs[1]))
        rate, step = np.unravel_index(int(gaps.argmax()), gaps.shape)
        value = float(gaps.max())
        interval = self._interval(generator, logs)
        first, last = table[self.over].to_numpy()
        words = (
            f"{symbol(self.over)} = {first:g} and {last:g} lie up to {value:.2f} powers of ten apart "
            f"({interval_words(interval, '.2f', self.level)}), "
            f"at eta0 = {table[RATE].to_numpy()[rate]:g} and step {table[STEP].to_numpy()[step]:g}"
        )
        return Estimate(value, interval, unit, words)

    def _mean(self, logs: Floats) -> Floats:
        return np.asarray(np.maximum(logs.mean(axis=0), np.log10(self.floor)))

    def _interval(self, generator: np.random.Generator, logs: Floats) -> Interval:
        """From the largest lower end to the largest upper end of the distances at every rate and step."""
        count, least = logs.shape[1], np.log10(self.floor)
        if count < 2:
            return UNBOUNDED
        flat = logs.reshape(2, count, -1)
        first, last = (np.maximum(resample_means(runs, generator, self.resamples), least) for runs in flat)
        gap = self._mean(flat[0]) - self._mean(flat[1])
        drawn = (first - last - gap) * unbiased(count)
        reach = family_reach(drawn, drawn.std(axis=0), np.full(gap.shape, count - 1.0), self.level)
        return float(np.maximum(abs(gap) - reach, 0).max()), float((abs(gap) + reach).max())
