"""The line of least squares: its slope as a weighted sum, and Student's interval about it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

from .resampling import UNBOUNDED, tails

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Interval = tuple[float, float]


def slope_weights(x: Floats) -> Floats:
    """Weights whose sum with the heights is the slope; x must not all be the same."""
    centred = x - x.mean()
    return np.asarray(centred / (centred @ centred))


def student_slope(x: Floats, y: Floats, level: float = 0.95) -> tuple[float, Interval]:
    """Slope and its interval, which takes distances from the line for independent and alike.

    The interval is infinite with fewer than three points.
    """
    across, up = x - x.mean(), y - y.mean()
    square = float(across @ across)
    slope = float(across @ up) / square
    degrees = x.size - 2
    if degrees < 1:
        return slope, UNBOUNDED
    left = up - slope * across
    reach = float(stdtrit(degrees, tails(level)[1])) * math.sqrt(float(left @ left) / degrees / square)
    return slope, (slope - reach, slope + reach)
