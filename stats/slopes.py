"""The slope of log value on log size: at every step, and of one value a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from .coordinates import (
    RATE,
    SEED,
    STEP,
    checked_table,
    finite_sizes,
    require_resampling,
    require_size_name,
    symbol,
)
from .lines import student_slope
from .resampling import UNBOUNDED, family_reach, resample_means, satterthwaite, tails, unbiased, widening
from .resolution import resolved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .resolution import Floor

    Floats = NDArray[np.float64]


def size_slopes(
    values: xr.DataArray,
    generator: np.random.Generator,
    *,
    over: str = "width",
    floor: Floor = None,
    resamples: int = 2000,
    level: float = 0.95,
) -> xr.Dataset:
    """Slope of log value on log size at each step, with intervals.

    The slope is that of the line through the means over seeds of the log. A size enters at a step if all its
    runs have a finite, positive, resolved value there: runs that survive at a size where others diverged are
    no fair sample of it. Infinite sizes do not enter.

    Parameters
    ----------
    values
        Dimensions (size, seed), and step and learning_rate where there are any.
    generator
        Draws the resamples: seeds with replacement, within each size.
    over
        Name of the size axis: `width`, `depth` or another.
    floor
        Values at or below it are not resolved; None is `rounding_floor`.
    resamples
        Number of bootstrap resamples.
    level
        Confidence level of the intervals.

    Returns
    -------
    xarray.Dataset
        With the dimension step: `slope`; `lower` and `upper`, the interval of each step (percentiles);
        `family_lower` and `family_upper`, which hold at all steps at once (sup-t, Montiel Olea and
        Plagborg-Moller 2019); `sizes`, how many entered; `change`, the relative change for a factor ten of
        size. Intervals are widened for few seeds (Hesterberg 2015, with Satterthwaite's degrees of freedom);
        with one seed they are infinite. Where fewer than two sizes enter all is NaN. Attributes: `over`,
        `least_size` and `greatest_size`.

    Raises
    ------
    InputError
        If there are fewer than two finite sizes, further dimensions, or a coordinate or setting makes no
        sense.
    """
    require_size_name(over)
    require_resampling(generator, resamples, level)
    table = resolved(checked_table(values, (over, SEED), (STEP, RATE)), floor)
    if RATE not in table.dims:
        return table_slopes(table, generator, over=over, resamples=resamples, level=level)
    parts = [
        table_slopes(table.isel({RATE: index}), generator, over=over, resamples=resamples, level=level)
        for index in range(table.sizes[RATE])
    ]
    return xr.concat(parts, dim=table[RATE])


def size_table(values: xr.DataArray, over: str, floor: Floor = None, least: float = 0.0) -> xr.DataArray:
    """The finite sizes from `least` on, ascending, unresolved values zero; dimensions (size, seed, step).

    Raises
    ------
    InputError
        If there are fewer than two such sizes, or a coordinate makes no sense.
    """
    table = resolved(checked_table(values, (over, SEED), (STEP,)), floor)
    return finite_sizes(_with_steps(table, over), over, least)


def _with_steps(table: xr.DataArray, over: str) -> xr.DataArray:
    whole = table if STEP in table.dims else table.expand_dims(STEP)
    return whole.transpose(over, SEED, STEP)


def table_slopes(
    table: xr.DataArray, generator: np.random.Generator, *, over: str, resamples: int, level: float = 0.95
) -> xr.Dataset:
    """`size_slopes` of a table that has been checked."""
    table = finite_sizes(_with_steps(table, over), over)
    sizes, numbers = table[over].to_numpy(), table.to_numpy()
    logs = np.log(np.where(np.isfinite(numbers) & (numbers > 0), numbers, np.nan))
    slope, entered, weights = _lines(np.log(sizes), logs)
    found = {"slope": slope, "change": np.expm1(math.log(10) * slope), "sizes": entered}
    found |= _intervals(slope, logs, weights, generator, resamples=resamples, level=level)
    return xr.Dataset(
        {quantity: (STEP, part) for quantity, part in found.items()},
        {STEP: table[STEP].to_numpy()} if STEP in table.coords else {},
        {"over": over, "least_size": float(sizes[0]), "greatest_size": float(sizes[-1])},
    )


def _lines(x: Floats, logs: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Slopes (step,), sizes that entered (step,), and the weight of each size's mean (size, step)."""
    means = logs.mean(axis=1)
    usable = np.isfinite(means)
    entered = usable.sum(axis=0)
    centre = np.where(usable, x[:, None], 0.0).sum(axis=0) / np.maximum(entered, 1)
    centred = np.where(usable, x[:, None] - centre, 0.0)
    square = (centred**2).sum(axis=0)
    enough = entered >= 2
    weights = centred / np.where(enough, square, 1.0)
    slope = np.where(enough, (weights * np.where(usable, means, 0.0)).sum(axis=0), np.nan)
    return slope, entered, weights


def _intervals(
    slope: Floats,
    logs: Floats,
    weights: Floats,
    generator: np.random.Generator,
    *,
    resamples: int,
    level: float,
) -> dict[str, Floats]:
    """Ends of the intervals, each (step,), of slopes (step,) from logs (size, seed, step)."""
    seeds = logs.shape[1]
    if seeds < 2:
        ends = np.where(np.isfinite(slope), np.inf, np.nan)
        return {"lower": -ends, "upper": ends, "family_lower": -ends, "family_upper": ends}
    spread = logs - logs.mean(axis=1, keepdims=True)
    spread = np.where(np.isfinite(spread), spread, 0.0)  # these have no weight
    means = np.stack([resample_means(runs, generator, resamples) for runs in spread])
    drawn = np.einsum("wbt,wt->bt", means, weights) * unbiased(seeds)
    variances = weights**2 * spread.var(axis=1, ddof=1) / seeds
    error = np.sqrt(variances.sum(axis=0))
    degrees = satterthwaite(variances, seeds)
    widened = widening(degrees, level)
    low, high = np.quantile(drawn, tails(level), axis=0)
    reach = family_reach(drawn, error, degrees, level)
    return {
        "lower": slope + widened * low,
        "upper": slope + widened * high,
        "family_lower": slope - reach,
        "family_upper": slope + reach,
    }


class SizeDependence(NamedTuple):
    """A quantity's dependence on size, from one value of each of several runs at each of several sizes."""

    slope: float
    """Slope of log value on log size; zero means no dependence, NaN that fewer than two sizes entered."""
    interval: tuple[float, float]
    """95% confidence interval of the slope; infinite where there are too few runs for one."""
    spread: float
    """Largest mean over smallest mean, minus one."""
    means: tuple[float, ...]
    """Mean over runs at each size that entered, sizes ascending."""
    sizes: tuple[float, ...]
    """Sizes that entered: finite, with a positive, resolved value in every run."""
    runs: int
    """Runs that entered."""
    lost: int
    """Runs at finite sizes without a finite value: they diverged, or are missing."""
    unresolved: int
    """Runs at finite sizes whose value is zero, or below rounding."""
    negative: int
    """Runs at finite sizes whose value is negative."""
    over: str = "width"
    """Name of the size axis."""

    @property
    def left_out(self) -> int:
        """Runs at finite sizes that have no logarithm to enter."""
        return self.lost + self.unresolved + self.negative

    @property
    def fair_interval(self) -> tuple[float, float]:
        """The interval for a verdict: infinite if runs were left out.

        The sizes at which every run survived are no fair sample where others diverged.
        """
        return UNBOUNDED if self.left_out else self.interval

    @property
    def without(self) -> str:
        """What was left out and why, in words; empty where every run entered."""
        counts = (
            (self.lost, "diverged or missing"),
            (self.unresolved, "zero or below rounding"),
            (self.negative, "negative"),
        )
        parts = [f"{count} {words}" for count, words in counts if count]
        if not parts:
            return ""
        entered = ", ".join(f"{size:g}" for size in self.sizes)
        used = f"; {symbol(self.over)} = {entered} entered" if self.sizes else ""
        every = self.left_out + self.runs
        return f"of {every} values at finite {self.over}, {' and '.join(parts)}{used}"


def size_dependence(
    values: xr.DataArray,
    generator: np.random.Generator | None = None,
    *,
    over: str = "width",
    floor: Floor = None,
    resamples: int = 2000,
) -> SizeDependence:
    """Slope of the log of one value a run on log size, that of `size_slopes`.

    Parameters
    ----------
    values
        Dimensions (size, seed); NaN where a run diverged.
    generator
        Draws the resamples of seeds within each size. Without one the interval is Student's over all runs
        about the line, which takes their scatter to be the same at every size and the line to be straight.
    over, floor, resamples
        As for `size_slopes`; without a floor the largest value of all runs is the scale of what is resolved.

    Raises
    ------
    InputError
        If there are fewer than two finite sizes, further dimensions, or a coordinate or setting makes no
        sense.
    """
    require_size_name(over)
    if generator is not None:
        require_resampling(generator, resamples)
    table = finite_sizes(resolved(checked_table(values, (over, SEED)), floor), over)
    numbers = table.to_numpy()
    finite = np.isfinite(numbers)
    whole = (finite & (numbers > 0)).all(axis=1)
    sizes, usable = table[over].to_numpy()[whole], numbers[whole]
    lost, unresolved = int((~finite).sum()), int((numbers == 0).sum())
    negative = int((finite & (numbers < 0)).sum())
    means = tuple(float(np.mean(row)) for row in usable)
    kept = tuple(map(float, sizes))
    counts = (means, kept, usable.size, lost, unresolved, negative, over)
    if len(kept) < 2:
        return SizeDependence(math.nan, UNBOUNDED, math.nan, *counts)
    x = np.repeat(np.log(sizes)[:, None], usable.shape[1], axis=1)
    slope, interval = student_slope(x.ravel(), np.log(usable).ravel())
    if generator is not None:
        found = table_slopes(table, generator, over=over, resamples=resamples).isel({STEP: 0})
        interval = float(found["lower"]), float(found["upper"])
    return SizeDependence(slope, interval, max(means) / min(means) - 1, *counts)
