"""Loss against learning rate at every size: the best rates, how they move, and what carrying one costs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.interpolate import Akima1DInterpolator

from .coordinates import RATE, SEED, finite
from .optima import interpolated_optima, log_losses, ties
from .resampling import UNBOUNDED, resample_means, satterthwaite, tails, unbiased, widening
from .resolution import checked_floor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .optima import Flags
    from .resolution import Floor

    Floats = NDArray[np.float64]
    Interval = tuple[float, float]


class LossCurves:
    """Losses of several runs at every size and rate, rates and heights in logarithms.

    Attributes
    ----------
    sizes, lost
        Sizes at which some rate trains every seed, ascending, and the others.
    rates
        Logs of the rates, ascending.
    runs
        Losses, shape (size, rate, seed).
    heights
        Logs of the means over seeds, none below the floor, shape (size, rate).
    places
        Log of the best rate of each size; the middle of the tied ones where there are several.
    at_edge, tied
        Whether it may lie beyond the rates, and whether several rates share the least loss.
    """

    def __init__(self, losses: xr.DataArray, floor: Floor) -> None:
        """Take checked losses of dimensions (size, learning_rate, seed), ascending along each."""
        runs, over = losses.to_numpy(), str(losses.dims[0])
        sizes = losses[over].to_numpy()
        kept = np.isfinite(runs).all(axis=2).any(axis=1)
        self.sizes, self.lost = sizes[kept], sizes[~kept]
        self.rates = np.log(losses[RATE].to_numpy())
        self.runs = runs[kept]
        self._floors = self._least(losses, floor)[kept]
        self.heights = log_losses(self.runs.mean(axis=2), self._floors[:, None])
        found = interpolated_optima(self.rates, self.heights)
        shared = ties(self.heights)
        self.tied: Flags = np.asarray(shared.any(axis=1))
        self.at_edge: Flags = found.at_edge & ~self.tied
        self._shared = [self.rates[row] for row in shared]
        middles = [(row[0] + row[-1]) / 2 if row.size else np.nan for row in self._shared]
        self.places = np.where(self.tied, middles, found.places)

    @staticmethod
    def _least(losses: xr.DataArray, floor: Floor) -> Floats:
        """What is resolved at each size: the least floor of its rates, since large ones overshoot."""
        least = checked_floor(losses, floor)
        if not isinstance(least, xr.DataArray) or not least.dims:
            return np.full(losses.shape[0], float(least))
        own = least.reindex({name: losses[name] for name in least.dims}).where(finite(losses))
        whole = own.transpose(*losses.dims).mean(SEED, skipna=False)
        return np.asarray(whole.min(RATE).fillna(0.0).to_numpy())

    @property
    def inside(self) -> Flags:
        """Sizes with a single best rate, which lies within the grid."""
        return ~(self.at_edge | self.tied)

    @property
    def flat(self) -> Flags:
        """Sizes at which every rate that trains has the same loss."""
        trained = np.isfinite(self.heights).sum(axis=1)
        return np.asarray(self.tied & (np.array([row.size for row in self._shared]) == trained))

    @property
    def diverged(self) -> NDArray[np.int64]:
        """Rates of each size at which some run has no loss."""
        return np.asarray((~np.isfinite(self.runs).all(axis=2)).sum(axis=1))

    def loss_at(self, size: int, place: float) -> float:
        """Log loss of a size, by its index, at a log rate: interpolated, NaN beside a divergence."""
        height, right = self.heights[size], int(np.searchsorted(self.rates, place))
        finite = np.isfinite(height)
        if not finite[max(0, right - 1) : right + 1].all() or finite.sum() < 2:
            return math.nan
        curve = Akima1DInterpolator(self.rates[finite], height[finite], extrapolate=False)
        return float(curve(place))

    def excess(self, size: int) -> float:
        """Loss of the largest size at another one's best rate over that at its own, less one.

        NaN where one of the two best rates is not within the grid or lies beside a divergence.
        """
        if not (self.inside[size] and self.inside[-1]):
            return math.nan
        return float(np.expm1(self.loss_at(-1, self.places[size]) - self.loss_at(-1, self.places[-1])))

    def resampled(self, generator: np.random.Generator, resamples: int) -> Floats | None:
        """Log optima of resampled seeds less the optima, (size, resample); None with one seed or no size."""
        seeds = self.runs.shape[2]
        if seeds < 2 or not self.sizes.size:
            return None
        drawn = []
        for runs, floors in zip(self.runs, self._floors, strict=True):
            means = resample_means(runs.T, generator, resamples)
            drawn.append(interpolated_optima(self.rates, log_losses(means, floors)).places)
        return np.asarray((np.stack(drawn) - self.places[:, None]) * unbiased(seeds))

    def combined(self, weights: Floats, spread: Floats | None, level: float) -> tuple[float, Interval]:
        """A weighted sum of the log2 optima, with its interval (Satterthwaite's degrees of freedom)."""
        value = float(weights @ self.places) / math.log(2)
        if spread is None:
            return value, UNBOUNDED
        variances = (weights**2 * spread.var(axis=1))[:, None]
        degrees = satterthwaite(variances, self.runs.shape[2])[0]
        low, high = np.quantile(weights @ spread, tails(level)) / math.log(2)
        factor = float(widening(degrees, level))
        return value, (value + factor * float(low), value + factor * float(high))

    def drift(self, spread: Floats | None, level: float) -> tuple[float, Interval]:
        """Slope of the log2 optima within the grid on log2 size, with its interval."""
        inside = self.inside
        if inside.sum() < 2:
            return math.nan, UNBOUNDED
        places = np.log2(self.sizes)
        centred = np.where(inside, places - places[inside].mean(), 0.0)
        return self.combined(centred / (centred @ centred), spread, level)

    def jumps(self, spread: Floats | None, level: float) -> list[Interval]:
        """Least and largest shift a doubling between neighbouring sizes within the grid, all at one level."""
        inside = np.flatnonzero(self.inside)
        found = []
        for one, other in pairwise(inside):
            weights = np.zeros(len(self.sizes))
            weights[[one, other]] = -1.0, 1.0
            weights /= np.log2(self.sizes[other] / self.sizes[one])
            found.append(self.combined(weights, spread, 1 - (1 - level) / max(1, len(inside) - 1))[1])
        return found

    def intervals(self, spread: Floats | None, level: float) -> list[Interval]:
        """Interval of the best rate of each size; of tied rates the least and the greatest."""
        found = []
        for index, shares in enumerate(np.eye(len(self.sizes))):
            low, high = self.combined(shares, spread, level)[1]
            if self.tied[index]:
                low, high = (float(end) / math.log(2) for end in self._shared[index][[0, -1]])
            found.append((2**low, 2**high))
        return found
