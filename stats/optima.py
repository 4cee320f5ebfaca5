"""The best learning rate of a curve of losses: interpolated, at the edge of what was tried, or tied."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

TIE = 1e-9
"""Relative difference up to which two losses are the same."""


class Optima(NamedTuple):
    """Best rates of several curves, logarithms throughout."""

    places: Floats
    """Log of the best rate of each curve, shape (curves,)."""
    at_edge: Flags
    """Whether it is the first or last rate, or has a neighbour that diverged: it may lie beyond."""


def log_losses(losses: Floats, floor: Floats | float = 0.0) -> Floats:
    """Logarithms of losses, those below the floor taken for it; NaN stays."""
    return np.asarray(np.log(np.maximum(losses, np.maximum(floor, np.finfo(np.float64).tiny))))


def interpolated_optima(rates: Floats, heights: Floats) -> Optima:
    """Best rates of curves: the minimum of the parabola through the lowest point and its neighbours.

    Parameters
    ----------
    rates
        Logs of the rates, ascending, shape (rates,).
    heights
        Logs of the losses, shape (curves, rates); not finite where runs diverged: such a rate does not
        compete.
    """
    last = len(rates) - 1
    heights = np.where(np.isfinite(heights), heights, np.inf)
    best = heights.argmin(axis=1)
    rows = np.arange(len(heights))
    middle = np.clip(best, 1, max(last - 1, 1))
    edges = (best == 0) | (best == last)
    if last < 2:
        return Optima(rates[best], np.ones(len(heights), dtype=bool))
    x = [rates[middle + offset] for offset in (-1, 0, 1)]
    y = [heights[rows, middle + offset] for offset in (-1, 0, 1)]
    edges |= ~(np.isfinite(y[0]) & np.isfinite(y[2]))
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
        vertex = (x[0] + x[1]) / 2 - left * (x[2] - x[0]) / (2 * (right - left))
    usable = ~edges & np.isfinite(vertex)
    return Optima(np.where(usable, np.clip(vertex, x[0], x[2]), rates[best]), edges)


def ties(heights: Floats) -> Flags:
    """Which points of curves (curves, rates) share the least loss where no single rate is the best.

    Two neighbours that share it are no tie: the best rate lies between them.
    """
    finite = np.isfinite(heights)
    least = np.where(finite, heights, np.inf).min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # where every rate diverged
        lowest = finite & (heights - least <= TIE)
    places = np.arange(heights.shape[1])
    first = np.where(lowest, places, heights.shape[1]).min(axis=1)
    last = np.where(lowest, places, -1).max(axis=1)
    return np.asarray(lowest & ((last - first) > 1)[:, None])
