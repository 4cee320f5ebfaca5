"""How soon a quantity arrives at the edge of stability, and how large a learning rate still trains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .coordinates import RATE, SEED, STEP, checked_table, finite_sizes, require_resampling, symbol
from .divergence import counts_by_size
from .estimates import Estimate, interval_words, undetermined
from .lines import slope_weights
from .measured import THROUGHOUT, Measured, OverSizes, diverged_runs, missing_runs
from .power_laws import power_law_fit
from .windows import arrived

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from .verdicts import Interval
    from .windows import Window

    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ArrivalTime(OverSizes):
    """Exponent in size of the steps until the sharpness is at a part of the edge of stability.

    Attributes
    ----------
    part
        Share of the edge at which a run has arrived.

    Notes
    -----
    A run that never arrives counts as arriving at the last step, and the interval is unbounded on the side to
    which its true time would move the exponent: upwards where such runs are at the larger sizes, downwards
    where they are at the smaller ones. The statistic is open where they are at both, where runs diverge
    before they arrive, and where runs are at the edge from the start.
    """

    part: float = 0.9

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The exponent; the values are the sharpness, and every step counts whatever the window."""
        del window
        (one,) = measured
        require_resampling(generator, self.resamples)
        table = finite_sizes(checked_table(one.values, self.keep), self.over)
        missing = missing_runs(table, one.diverged_step)
        if missing.any():
            return undetermined(f"{int(missing.sum())} of {missing.size} runs are missing")
        times = arrival_steps(table, one.edge, self.part).to_numpy()
        sizes = table[self.over].to_numpy()
        lost = np.isnan(times) & diverged_runs(table, one.diverged_step).to_numpy()
        if lost.any():
            return undetermined(f"diverged before they arrive: {counts_by_size(sizes, lost, self.over)}")
        if (times == 0).any():
            return undetermined(f"at the edge from the start: {counts_by_size(sizes, times == 0, self.over)}")
        return self._fitted(generator, sizes, times, float(table[STEP][-1]))

    def _fitted(self, generator: np.random.Generator, sizes: Floats, times: Floats, last: float) -> Estimate:
        late = np.isnan(times)
        towards = np.sign(slope_weights(np.log(sizes)))[late.any(axis=1)]
        if late.all() or len(set(towards.tolist())) > 1:
            return undetermined(f"never arrive: {counts_by_size(sizes, late, self.over)}")
        known = np.where(late, last, times)
        law = power_law_fit(sizes, known.T, generator=generator, paired=False, resamples=self.resamples)
        low, high = law.interval
        aside = ""
        if late.any():
            low, high = (low, math.inf) if towards[0] > 0 else (-math.inf, high)
            aside = f"; never arrive: {counts_by_size(sizes, late, self.over)}"
        means = ", ".join(
            f"{mean:.0f} at {symbol(self.over)} = {size:g}"
            for size, mean in zip(sizes, known.mean(axis=1), strict=True)
        )
        words = (
            f"steps to {self.part:g} of the edge {means}; exponent in {self.over} {law.exponent:+.2f} "
            f"({interval_words((low, high), '+.2f')}){aside}"
        )
        return Estimate(law.exponent, (low, high), "1", words)


def arrival_steps(sharpness: xr.DataArray, edge: xr.DataArray | float, part: float = 0.9) -> xr.DataArray:
    """First recorded step at which each run is at a part of the edge; NaN for one that never is."""
    near = arrived(sharpness, edge, part)
    first = near[STEP].isel({STEP: near.argmax(STEP)}).astype(np.float64)
    return first.where(near.any(STEP)).drop_vars(STEP, errors="ignore")


@dataclass(frozen=True)
class Reach:
    """How much larger a learning rate trains in one series of runs than in another, in factors of two.

    Attributes
    ----------
    over
        Name of the size axis.

    Notes
    -----
    A rate trains at a size if no run diverged there, at it or at any smaller rate. The largest rate that
    trains lies between that and the next one tried, which gives the interval of each size: it has no sampling
    error, and is unbounded where the largest rate tried still trains.
    """

    over: str = "width"
    series = 2

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values of both series must have."""
        return self.over, RATE, SEED, STEP

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The shift of the largest rate that trains, first series over second; nothing is drawn."""
        del generator, window
        unit = "factors of two"
        brackets = []
        for one in measured:
            table = checked_table(one.values, self.keep)
            missing = missing_runs(table, one.diverged_step)
            if missing.any():
                return undetermined(f"{int(missing.sum())} of {missing.size} runs are missing", unit)
            brackets.append(self._brackets(table, one.diverged_step))
        first, second = brackets
        shared = [size for size in first if size in second]
        if not shared:
            return undetermined(f"the two series share no {self.over}", unit)
        family: list[Interval] = []
        for size in shared:
            (low, high), (other_low, other_high) = first[size], second[size]
            least = low - other_high if math.isfinite(low - other_high) else -math.inf
            most = high - other_low if math.isfinite(high - other_low) else math.inf
            family.append((least, most))
        interval = min(low for low, _ in family), max(high for _, high in family)
        known = [(first[size][0], second[size][0]) for size in shared]
        moves = [one - other for one, other in known if math.isfinite(one) and math.isfinite(other)]
        value = float(np.median(moves)) if moves else math.nan
        words = f"largest rate that trains moves by {value:+.2f} factors of two"
        return Estimate(value, interval, unit, words, tuple(family))

    def _brackets(self, table: xr.DataArray, diverged_step: xr.DataArray | None) -> dict[float, Interval]:
        """Log2 of the largest rate that trains at each size, and of the next one tried."""
        lost = diverged_runs(table, diverged_step).any(SEED).transpose(self.over, RATE).to_numpy()
        rates = np.log2(table[RATE].to_numpy())
        found = {}
        for size, row in zip(table[self.over].to_numpy(), lost, strict=True):
            count = int(np.argmax(row)) if row.any() else len(row)
            below = float(rates[count - 1]) if count else -math.inf
            found[float(size)] = (below, float(rates[count]) if count < len(row) else math.inf)
        return found
