"""Power laws `y = a x^b`, with an interval of the exponent and a test of whether one power fits at all."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit

from ..errors import invalid
from .coordinates import require_level, require_resampling
from .lines import slope_weights, student_slope
from .resampling import UNBOUNDED, expansion, resample_means, tails

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Interval = tuple[float, float]

BEND = 0.02
"""Change of the local exponent over the range of x up to which a law counts as one power."""

_CERTAIN = 0.99
"""Level at which the change has to differ from zero."""


class PowerLaw(NamedTuple):
    """A fitted `y = amplitude x^exponent`."""

    amplitude: float
    """`exp(log_amplitude)`: zero or infinite where that is beyond floating point."""
    exponent: float
    interval: Interval
    """Confidence interval of the exponent; infinite where the points or runs are too few for one."""
    r_squared: float
    """Share of the variance of log y that the line explains; 1 where log y does not vary."""
    points: int
    """LawPoints that entered: those with x and y finite and above zero."""
    log_amplitude: float = math.nan
    ends: tuple[float, float] = (math.nan, math.nan)
    """Local exponents at the smallest and the largest x, of a parabola through the logs; NaN with fewer than
    four points."""
    bent: bool = False
    """Whether the local exponent certainly changes along x, by more than the interval is wide and by more
    than `BEND`: then no single power fits, and the interval, which takes the law for one, is too narrow."""
    open: str = ""
    """Why there is no law to speak of; empty where there is one."""

    @property
    def range(self) -> Interval:
        """The interval, and where the law bends the local exponents at both ends too."""
        if not self.bent:
            return self.interval
        return min(self.interval[0], *self.ends), max(self.interval[1], *self.ends)

    def at(self, x: ArrayLike) -> Floats:
        """Values of the law at x, computed from the logarithms."""
        logs = self.log_amplitude + self.exponent * np.log(np.asarray(x, dtype=np.float64))
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.exp(logs))

    def __str__(self) -> str:
        """The exponent with its interval."""
        low, high = self.interval
        if math.isnan(self.exponent):
            return f"no exponent ({self.open})"
        aside = f"; {self.open}" if self.open else ""
        if not math.isfinite(low):
            return f"{self.exponent:.2f} (too few runs for an interval{aside})"
        if self.bent:
            aside = f"; no single power: {self.ends[0]:.2f} at first, {self.ends[1]:.2f} at last{aside}"
        return f"{self.exponent:.2f} (95% {low:.2f} to {high:.2f}{aside})"


def no_law(reason: str, points: int = 0) -> PowerLaw:
    """What stands for a law where there is none."""
    return PowerLaw(math.nan, math.nan, UNBOUNDED, math.nan, points, open=reason)


class LawPoints(NamedTuple):
    """Usable points of a law, in logarithms, and the runs behind them."""

    logs: Floats
    """Logs of x, shape (n,)."""
    heights: Floats
    """Logs of the mean of y over runs, shape (n,)."""
    runs: Floats
    """Values of y, shape (runs, n)."""


def usable_points(x: ArrayLike, y: ArrayLike, *, least: int = 2) -> LawPoints:
    """LawPoints with x and the mean of y finite and above zero.

    Raises
    ------
    InputError
        If the shapes do not fit, or fewer than `least` different x are left.
    """
    across = np.asarray(x, dtype=np.float64)
    runs = np.atleast_2d(np.asarray(y, dtype=np.float64))
    if across.ndim != 1 or runs.ndim != 2 or runs.shape[1] != across.size:
        raise invalid(
            "shapes of x and y", (across.shape, np.shape(y)), accepted="(n,) with (n,) or (runs, n)",
            remedy="transpose y, or leave points out",
        )  # fmt: skip
    means = runs.mean(axis=0)
    usable = np.isfinite(across) & (across > 0) & np.isfinite(means) & (means > 0)
    if np.unique(across[usable]).size < least:
        raise invalid(
            "points of a power law",
            int(usable.sum()),
            accepted=f"at least {least} that are finite and above 0",
            remedy="widen the window of the fit, or lower the learning rate if runs diverged",
        )
    return LawPoints(np.log(across[usable]), np.log(means[usable]), runs[:, usable])


def power_law_fit(
    x: ArrayLike,
    y: ArrayLike,
    *,
    generator: np.random.Generator | None = None,
    paired: bool = True,
    resamples: int = 2000,
    level: float = 0.95,
) -> PowerLaw:
    """Least-squares line through (log x, log y), with an interval of its slope.

    Parameters
    ----------
    x
        Shape (n,).
    y
        Shape (n,), or (runs, n): then the line goes through the mean over runs, and the interval is from the
        bootstrap over runs, widened for few of them (Hesterberg 2015, expanded percentiles). For a single
        curve it is Student's, which takes the distances from the line for independent. Over paired runs whose
        residuals are strongly skewed the interval is too short: in simulations with 3 to 20 runs it covered
        the exponent in 0.86 to 0.90 of cases, not 0.95.
    generator
        Draws the resamples; needed if `y` has runs.
    paired
        Whether a row of `y` is one run, as along time, or every column has runs of its own, as along sizes.
    resamples
        Number of bootstrap resamples.
    level
        Confidence level of the interval.

    Returns
    -------
    PowerLaw
        With `bent` where one power does not fit, as with an offset: `offset_law_fit` fits that.

    Raises
    ------
    InputError
        If fewer than two points can enter, runs are given without a generator, or a setting makes no sense.
    """
    require_level(level)
    points = usable_points(x, y)
    logs, heights, _ = points
    slope, interval = student_slope(logs, heights, level)
    intercept = float(heights.mean() - slope * logs.mean())
    drawn = None
    if np.ndim(y) > 1:
        chosen = require_resampling(generator, resamples, level)
        drawn = resampled_heights(points, chosen, paired=paired, resamples=resamples)
        interval = resampled_interval(slope_weights(logs), points, drawn, paired=paired, level=level)
    ends, bent = _bend(points, drawn, interval, paired=paired)
    left = heights - intercept - slope * logs
    total = float(((heights - heights.mean()) ** 2).sum())
    explained = 1 - float((left**2).sum()) / total if total > 0 else 1.0
    return PowerLaw(exponential(intercept), slope, interval, explained, logs.size, intercept, ends, bent)


def exponential(log: float) -> float:
    """The exponential, infinite where it is beyond floating point."""
    return math.exp(log) if log < math.log(np.finfo(np.float64).max) else math.inf


def resampled_heights(
    points: LawPoints, generator: np.random.Generator, *, paired: bool, resamples: int
) -> Floats | None:
    """Logs of the means of resampled runs, shape (resamples, n); None for a single run.

    A resample whose mean is not positive counts as one with only the least positive run in it.
    """
    runs = points.runs
    if len(runs) < 2:
        return None
    if paired:
        means = resample_means(runs, generator, resamples)
    else:
        means = np.stack([resample_means(column, generator, resamples) for column in runs.T], axis=1)
    least = np.where(runs > 0, runs, np.inf).min(axis=0) / len(runs)
    return np.asarray(np.log(np.where(means > 0, means, least)))


def resampled_interval(
    weights: Floats,
    points: LawPoints,
    drawn: Floats | None,
    *,
    paired: bool,
    level: float,
    parameters: int = 2,
) -> Interval:
    """Interval of the weighted sum of heights, by expanded percentiles; infinite with one run."""
    count, size = points.runs.shape
    if drawn is None:
        return UNBOUNDED
    value = float(weights @ np.log(points.runs.mean(axis=0)))
    low, high = np.quantile(drawn @ weights, tails(level))
    columns = 1 if paired else max(size - parameters + 1, 1)
    factor = expansion(count, (count - 1) * columns, level)
    return value + factor * (float(low) - value), value + factor * (float(high) - value)


def student_interval(weights: Floats, left: Floats, degrees: int, value: float, level: float) -> Interval:
    """Student's interval of a weighted sum of heights, from what a fit with such degrees leaves of them."""
    if degrees < 1:
        return UNBOUNDED
    error = math.sqrt(float(left @ left) / degrees * float(weights @ weights))
    reach = float(stdtrit(degrees, tails(level)[1])) * error
    return value - reach, value + reach


def _bend(
    points: LawPoints, drawn: Floats | None, interval: Interval, *, paired: bool
) -> tuple[Interval, bool]:
    """Local exponents at the ends of a parabola through the logs, and whether they certainly differ."""
    logs, heights, runs = points
    if np.unique(logs).size < 4:
        return (math.nan, math.nan), False
    middle = logs - logs.mean()
    basis = np.stack([np.ones_like(middle), middle, middle**2], axis=1)
    inverse = np.linalg.pinv(basis)
    _, slope, curvature = (float(part) for part in inverse @ heights)
    first, last = (slope + 2 * curvature * float(place) for place in (middle.min(), middle.max()))
    weights = 2 * float(np.ptp(middle)) * inverse[2]
    if len(runs) > 1:
        low, high = resampled_interval(weights, points, drawn, paired=paired, level=_CERTAIN, parameters=3)
    else:
        left = heights - basis @ (inverse @ heights)
        low, high = student_interval(weights, left, logs.size - 3, last - first, _CERTAIN)
    enough = max(BEND, interval[1] - interval[0])
    return (first, last), bool((low > 0 or high < 0) and abs(last - first) > enough)
