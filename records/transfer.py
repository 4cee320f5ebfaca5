"""Whether the best learning rate of one width is that of another: interpolated optima and their drift."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import require_whole
from .statistics import power_law_fit

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray


class LearningRateTransfer(NamedTuple):
    """The best learning rate of every width."""

    widths: tuple[float, ...]
    optima: tuple[float, ...]
    """Where a parabola through the best rate and its neighbours, in logarithms, is least."""
    at_edge: tuple[bool, ...]
    """Whether the best is the grid's first or last rate, or its neighbour diverged: it may lie beyond."""
    drift: float
    """Factors of two that the optimum changes by when the width doubles, of widths whose optimum is within
    the grid; zero is transfer, NaN fewer than two such widths."""
    interval: tuple[float, float]
    """95%, Student's over these widths about a power law; infinite with fewer than three."""

    @property
    def words(self) -> str:
        """Optima and drift in words."""
        rates = ", ".join(
            f"{rate:.3g}{' (edge)' if edge else ''}"
            for rate, edge in zip(self.optima, self.at_edge, strict=True)
        )
        if math.isnan(self.drift):
            return f"best learning rates {rates}: too many at the edge of the grid to say how they drift"
        low, high = self.interval
        reach = f"95% {low:+.2f} to {high:+.2f}" if math.isfinite(low) else "too few widths for an interval"
        return f"best learning rates {rates}: {self.drift:+.2f} factors of two a doubling of width ({reach})"


def learning_rate_transfer(losses: xr.DataArray) -> LearningRateTransfer:
    """Best learning rates of final losses, and how they go with the width.

    Parameters
    ----------
    losses
        Dimensions (width, learning_rate), and seed, over which the mean is taken; positive, NaN where a run
        diverged: such a rate does not compete.

    Raises
    ------
    InputError
        If there are fewer than two finite widths at which some rate did not diverge.
    """
    means = losses.mean("seed", skipna=False) if "seed" in losses.dims else losses
    table = means.sortby("width").sortby("learning_rate").transpose("width", "learning_rate")
    widths, rates = table["width"].to_numpy(), table["learning_rate"].to_numpy()
    found = [
        (float(width), *_optimum(np.log(rates), np.log(row)))
        for width, row in zip(widths, table.to_numpy(), strict=True)
        if math.isfinite(width) and np.isfinite(row).any()
    ]
    require_whole("number of widths with a best learning rate", len(found), least=2, example=3)
    kept, logs, edges = zip(*found, strict=True)
    optima = tuple(math.exp(value) for value in logs)
    inside = [pair for pair, edge in zip(zip(kept, optima, strict=True), edges, strict=True) if not edge]
    if len(inside) < 2:
        return LearningRateTransfer(kept, optima, edges, math.nan, (-math.inf, math.inf))
    fit = power_law_fit(*zip(*inside, strict=True))
    return LearningRateTransfer(kept, optima, edges, fit.exponent, fit.interval)


def _optimum(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> tuple[float, bool]:
    """Log of the best rate, and whether it may lie beyond what was tried."""
    best = int(np.nanargmin(losses))
    around = losses[max(0, best - 1) : best + 2]
    if len(around) < 3 or not np.isfinite(around).all():
        return float(rates[best]), True
    curve = np.polynomial.Polynomial.fit(rates[best - 1 : best + 2], around, 2)
    lowest = curve.deriv().roots()
    place = float(lowest[0].real) if len(lowest) else float(rates[best])
    return min(max(place, float(rates[best - 1])), float(rates[best + 1])), False
