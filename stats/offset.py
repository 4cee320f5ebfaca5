"""Power laws with an offset, `y = c + a x^b`: what a quantity follows that tends to a value of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import least_squares

from .coordinates import require_level, require_resampling
from .power_laws import (
    LawPoints,
    resampled_heights,
    resampled_interval,
    student_interval,
    usable_points,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Interval = tuple[float, float]

STEEPEST = 8.0
"""Largest modulus of an exponent that is looked for."""

_GRID = 161
"""Exponents tried before the fit is refined."""


class OffsetLaw(NamedTuple):
    """A fitted `y = offset + amplitude x^exponent`."""

    offset: float
    amplitude: float
    """Negative where y rises to the offset, or falls from it."""
    exponent: float
    interval: Interval
    """Confidence interval of the exponent; infinite where the points or runs are too few for one."""
    offset_interval: Interval
    """Confidence interval of the offset."""
    r_squared: float
    """Share of the variance of log y that the law explains."""
    points: int
    """LawPoints that entered: those with x and y finite and above zero."""
    open: str = ""
    """Why the points do not tell the offset from the power; empty where they do."""

    def at(self, x: ArrayLike) -> Floats:
        """Values of the law at x."""
        return np.asarray(self.offset + self.amplitude * np.asarray(x, dtype=np.float64) ** self.exponent)

    def __str__(self) -> str:
        """The exponent and the offset with their intervals."""
        (low, high), (bottom, top) = self.interval, self.offset_interval
        if self.open or not math.isfinite(low):
            reason = self.open or "too few runs for an interval"
            return f"{self.exponent:.2f} beyond {self.offset:.3g} ({reason})"
        return (
            f"{self.exponent:.2f} (95% {low:.2f} to {high:.2f}) beyond {self.offset:.3g} "
            f"({bottom:.3g} to {top:.3g})"
        )


def offset_law_fit(
    x: ArrayLike,
    y: ArrayLike,
    *,
    generator: np.random.Generator | None = None,
    paired: bool = True,
    resamples: int = 2000,
    level: float = 0.95,
) -> OffsetLaw:
    """Least squares of log y by `log(c + a x^b)`, with intervals of exponent and offset.

    Intervals are those of the fit made linear at its minimum; they are good where it is well determined, with
    points on both sides of the bend.

    Parameters
    ----------
    x, y, generator, paired, resamples, level
        As for `power_law_fit`.

    Raises
    ------
    InputError
        If fewer than four points can enter, runs are given without a generator, or a setting makes no sense.
    """
    require_level(level)
    points = usable_points(x, y, least=4)
    drawn = None
    if np.ndim(y) > 1:
        chosen = require_resampling(generator, resamples, level)
        drawn = resampled_heights(points, chosen, paired=paired, resamples=resamples)
    scale = float(points.logs.mean()), float(points.heights.mean())
    middle = LawPoints(points.logs - scale[0], points.heights - scale[1], points.runs * math.exp(-scale[1]))
    offset, amplitude, exponent = _fitted(middle.logs, middle.heights)
    model, slopes = _model(middle.logs, offset, amplitude, exponent)
    left = middle.heights - np.log(model)
    inverse = np.linalg.pinv(slopes / model[:, None])

    def interval(row: int, value: float) -> Interval:
        weights = inverse[row]
        if np.ndim(y) == 1:
            return student_interval(weights, left, left.size - 3, value, level)
        low, high = resampled_interval(weights, middle, _shifted(drawn, scale[1]), paired=paired, level=level,
                                       parameters=3)  # fmt: skip
        shift = value - float(weights @ middle.heights)
        return low + shift, high + shift

    total = float(((middle.heights - middle.heights.mean()) ** 2).sum())
    height = math.exp(scale[1])
    bottom, top = interval(0, offset)
    return OffsetLaw(
        offset * height,
        amplitude * height * math.exp(-exponent * scale[0]),
        exponent,
        interval(2, exponent),
        (bottom * height, top * height),
        1 - float(left @ left) / total if total > 0 else 1.0,
        left.size,
        _obstacle(exponent),
    )


def _shifted(drawn: Floats | None, height: float) -> Floats | None:
    return None if drawn is None else drawn - height


def _obstacle(exponent: float) -> str:
    if abs(exponent) > 0.99 * STEEPEST:
        return f"the exponent is beyond ±{STEEPEST:g}: too few points after the bend"
    return ""


def _model(logs: Floats, offset: float, amplitude: float, exponent: float) -> tuple[Floats, Floats]:
    """Values (n,) and their derivatives by offset, amplitude and exponent, shape (n, 3)."""
    power = np.exp(exponent * logs)
    slopes = np.stack([np.ones_like(power), power, amplitude * power * logs], axis=1)
    return offset + amplitude * power, slopes


def _fitted(logs: Floats, heights: Floats) -> tuple[float, float, float]:
    """Offset, amplitude and exponent of least squares, for centred logarithms.

    For a given exponent the relative distances are linear in offset and amplitude, so that the exponents of a
    grid can be compared; the best of them starts the fit of the logarithms.
    """
    values = np.exp(heights)
    best = (math.inf, 0.0, 1.0, 1.0)
    for exponent in np.linspace(-STEEPEST, STEEPEST, _GRID):
        if abs(exponent) < 1e-6:  # a power of zero is an offset itself
            continue
        power = np.exp(exponent * logs)
        basis = np.stack([np.ones_like(power), power], axis=1) / values[:, None]
        (offset, amplitude), *_ = np.linalg.lstsq(basis, np.ones_like(power))
        model = offset + amplitude * power
        if (model > 0).all():
            left = float(((heights - np.log(model)) ** 2).sum())
            best = min(best, (left, float(offset), float(amplitude), float(exponent)))

    def distances(parameters: Floats) -> Floats:
        model = _model(logs, *map(float, parameters))[0]
        return np.asarray(heights - np.log(np.maximum(model, np.finfo(np.float64).tiny)))

    bounds = ([-np.inf, -np.inf, -STEEPEST], [np.inf, np.inf, STEEPEST])
    found = least_squares(distances, best[1:], bounds=bounds, x_scale="jac", xtol=1e-12, ftol=1e-14)
    offset, amplitude, exponent = map(float, found.x)
    return offset, amplitude, exponent
