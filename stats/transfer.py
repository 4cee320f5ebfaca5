"""Whether the best learning rate of one width is that of another: interpolated optima and their drift."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.interpolate import Akima1DInterpolator
from scipy.special import ndtri, stdtrit

from ..errors import require_known, require_positive, require_whole
from .power_laws import power_law_fit, resample_means

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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
        (float(width), *_optimum(np.log(rates), _logs(row)))
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


def _logs(losses: Floats) -> Floats:
    """Logarithms, zero taken for the smallest number above it; NaN stays."""
    return np.asarray(np.log(np.maximum(losses, np.finfo(np.float64).tiny)))


def _optimum(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> tuple[float, bool]:
    """Log of the best rate, and whether it may lie beyond what was tried."""
    places, edges = _optima(rates, losses[None])
    return float(places[0]), bool(edges[0])


def _optima(rates: Floats, losses: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Logs of the best rates of curves (curves, rates), and whether each may lie beyond what was tried.

    The minimum of the parabola through the lowest point and its neighbours, which lies between these.
    """
    last = len(rates) - 1
    heights = np.where(np.isfinite(losses), losses, np.inf)
    best = heights.argmin(axis=1)
    rows = np.arange(len(losses))
    middle = np.clip(best, 1, max(last - 1, 1))
    edges = (best == 0) | (best == last)
    if last < 2:
        return rates[best], np.ones(len(losses), dtype=bool)
    x = [rates[middle + offset] for offset in (-1, 0, 1)]
    y = [heights[rows, middle + offset] for offset in (-1, 0, 1)]
    edges |= ~(np.isfinite(y[0]) & np.isfinite(y[2]))
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
        vertex = (x[0] + x[1]) / 2 - left * (x[2] - x[0]) / (2 * (right - left))
    usable = ~edges & np.isfinite(vertex)
    return np.where(usable, np.clip(vertex, x[0], x[2]), rates[best]), edges


VERDICTS = TRANSFERS, MOVES, OPEN = "transfers", "does not transfer", "no verdict"
"""What may be found."""

DRIFT = 0.25
"""Factors of two a doubling of the size that the best rate may move by and still transfer."""

LEVEL = 0.9
"""Of the intervals."""


class TransferVerdict(NamedTuple):
    """Whether the best learning rate of small networks is that of large ones."""

    verdict: str
    """One of `VERDICTS`."""
    sentence: str
    """With its numbers, or why there is none."""
    sizes: tuple[float, ...]
    """Widths, or depths, ascending."""
    optima: tuple[float, ...]
    """Interpolated best rate of each."""
    intervals: tuple[tuple[float, float], ...]
    """Of each, from resampled seeds; infinite with fewer than two."""
    at_edge: tuple[bool, ...]
    """Whether it may lie beyond the grid."""
    diverged: tuple[int, ...]
    """Learning rates at each size at which some run has no final loss."""
    drift: float
    """Factors of two that the optimum moves by when the size doubles; NaN with fewer than two in the grid."""
    interval: tuple[float, float]
    """Of the drift."""
    excess: float
    """Loss of the largest network at the smallest one's best rate over that at its own, less one; NaN where
    one of them may lie beyond the grid or diverges."""


def transfer_verdict(
    losses: xr.DataArray,
    generator: np.random.Generator,
    *,
    over: str = "width",
    tolerance: float = DRIFT,
    level: float = LEVEL,
    resamples: int = 2000,
) -> TransferVerdict:
    """Whether the best learning rate transfers, or why the losses cannot say.

    Parameters
    ----------
    losses
        Final losses, positive, dimensions (width or depth, learning_rate, seed); NaN where a run diverged:
        such a rate does not compete.
    generator, resamples
        Draws resamples of seeds, the same for all rates of a size, and how many.
    over
        `width` or `depth`.
    tolerance
        Factors of two a doubling that count as none.
    level
        Of the intervals, which are widened for few seeds.

    Returns
    -------
    TransferVerdict
        A verdict needs three sizes whose best rates lie within the grid, and two seeds.

    Raises
    ------
    InputError
        If fewer than two sizes have a rate without divergence, or a setting makes no sense.
    """
    require_known("size", over, ("width", "depth"))
    require_positive("tolerance", tolerance, example=DRIFT)
    table = losses.sortby(over).sortby("learning_rate").transpose(over, "learning_rate", "seed")
    sizes, rates = table[over].to_numpy(), np.log(table["learning_rate"].to_numpy())
    runs = table.to_numpy()
    kept = np.isfinite(sizes) & np.isfinite(runs).all(axis=2).any(axis=1)
    require_whole(f"number of {over}s with a best learning rate", int(kept.sum()), least=2, example=3)
    curves = _Curves(sizes[kept], rates, runs[kept])
    spread = curves.resampled(generator, resamples)
    drift, interval = curves.drift(spread, level)
    verdict, words = _judged(curves, (drift, interval), curves.jumps(spread, level), over, tolerance)
    shares = np.eye(len(curves.sizes))
    ends = tuple(
        (2**low, 2**high) for _, (low, high) in (curves.combined(row, spread, level) for row in shares)
    )
    optima = tuple(math.exp(value) for value in curves.optima)
    excess = curves.excess
    sentence = f"{verdict}: {words}; {_optima_words(over, curves.sizes, optima, ends, curves.edges)}"
    if math.isfinite(excess):
        lost = f"{100 * excess:.2g}% more" if excess < 1 else f"{excess + 1:.3g} times as much"
        sentence += f"; at the smallest one's best rate the largest has {lost} loss"
    return TransferVerdict(
        verdict, sentence, tuple(map(float, curves.sizes)), optima, ends, tuple(map(bool, curves.edges)),
        tuple(map(int, curves.diverged)), drift, interval, excess,
    )  # fmt: skip


class _Curves:
    """Loss against learning rate at every size, all in logarithms but the runs."""

    def __init__(self, sizes: Floats, rates: Floats, runs: Floats) -> None:
        self.sizes, self.rates, self.runs = sizes, rates, runs
        self.heights = _logs(runs.mean(axis=2))
        self.optima, self.edges = _optima(rates, self.heights)
        self.diverged = (~np.isfinite(runs).all(axis=2)).sum(axis=1)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Sizes whose best rate lies within the grid."""
        return ~self.edges

    @property
    def excess(self) -> float:
        """Of the largest size at the smallest one's best rate, by interpolation of the log loss."""
        if self.edges[0] or self.edges[-1]:
            return math.nan
        height, place = self.heights[-1], int(np.searchsorted(self.rates, self.optima[0]))
        finite = np.isfinite(height)
        if not finite[max(0, place - 1) : place + 1].all():
            return math.nan
        curve = Akima1DInterpolator(self.rates[finite], height[finite], extrapolate=False)
        return float(np.expm1(curve(self.optima[0]) - curve(self.optima[-1])))

    def resampled(self, generator: np.random.Generator, resamples: int) -> Floats | None:
        """Log optima of resampled seeds less the optima, (sizes, resamples); None of one seed."""
        seeds = self.runs.shape[2]
        if seeds < 2:
            return None
        drawn = np.stack([self._resampled(row, generator, resamples) for row in self.runs])
        return np.asarray((drawn - self.optima[:, None]) * math.sqrt(seeds / (seeds - 1)))

    def combined(
        self, weights: Floats, spread: Floats | None, level: float
    ) -> tuple[float, tuple[float, float]]:
        """A weighted sum of the log2 optima, with its interval (Satterthwaite's degrees of freedom)."""
        value = float(weights @ self.optima) / math.log(2)
        if spread is None:
            return value, (-math.inf, math.inf)
        parts = weights**2 * spread.var(axis=1)
        seeds = self.runs.shape[2]
        degrees = (seeds - 1) * parts.sum() ** 2 / (parts**2).sum() if parts.any() else math.inf
        low, high = np.quantile(weights @ spread, ((1 - level) / 2, (1 + level) / 2)) / math.log(2)
        factor = _student(degrees, level)
        return value, (value + factor * float(low), value + factor * float(high))

    def drift(self, spread: Floats | None, level: float) -> tuple[float, tuple[float, float]]:
        """Slope of the log2 optima within the grid on log2 size, with its interval."""
        inside = self.inside
        if inside.sum() < 2:
            return math.nan, (-math.inf, math.inf)
        places = np.log2(self.sizes)
        centred = np.where(inside, places - places[inside].mean(), 0.0)
        return self.combined(centred / (centred @ centred), spread, level)

    def jumps(self, spread: Floats | None, level: float) -> list[tuple[float, float]]:
        """Least and largest shift a doubling between neighbouring sizes within the grid, all at one level."""
        inside = np.flatnonzero(self.inside)
        found = []
        for one, other in pairwise(inside):
            weights = np.zeros(len(self.sizes))
            weights[[one, other]] = -1.0, 1.0
            weights /= np.log2(self.sizes[other] / self.sizes[one])
            found.append(self.combined(weights, spread, 1 - (1 - level) / max(1, len(inside) - 1))[1])
        return found

    def _resampled(self, runs: Floats, generator: np.random.Generator, resamples: int) -> Floats:
        """Log optima of means over resampled seeds, from runs (rates, seeds)."""
        means = resample_means(runs.T, generator, resamples)
        return _optima(self.rates, _logs(means))[0]


def _student(degrees: float, level: float) -> float:
    """Factor that widens a bootstrap interval for few runs: Student's t over the normal quantile."""
    return (
        float(stdtrit(degrees, (1 + level) / 2) / ndtri((1 + level) / 2)) if math.isfinite(degrees) else 1.0
    )


def _judged(
    curves: _Curves,
    drift: tuple[float, tuple[float, float]],
    jumps: list[tuple[float, float]],
    over: str,
    tolerance: float,
) -> tuple[str, str]:
    """Verdict, and why."""
    value, (low, high) = drift
    beyond = [f"{size:g}" for size, edge in zip(curves.sizes, curves.edges, strict=True) if edge]
    if curves.inside.sum() < 3:
        if beyond:
            return (
                OPEN,
                f"the best rate may lie beyond the grid at {over} {', '.join(beyond)}: try more rates",
            )
        return OPEN, f"{len(curves.sizes)} {over}s are too few to say how the best rate moves: add some"
    if not math.isfinite(low):
        return (
            OPEN,
            f"drift {value:+.2f} factors of two a doubling, but one seed gives no interval: add seeds",
        )
    words = f"the best rate moves by {value:+.2f} factors of two a doubling ({low:+.2f} to {high:+.2f})"
    words += f", without {over} {', '.join(beyond)}, at the edge of the grid" if beyond else ""
    if any(least > tolerance or most < -tolerance for least, most in [(low, high), *jumps]):
        aside = "" if low > tolerance or high < -tolerance else f", but further between neighbouring {over}s"
        return MOVES, words + aside
    if not -tolerance <= low <= high <= tolerance:
        return (
            OPEN,
            f"{words}, which is neither within ±{tolerance:g} nor beyond: add seeds, {over}s or rates",
        )
    return (OPEN, f"{words}: try more rates") if beyond else (TRANSFERS, words)


def _optima_words(
    over: str,
    sizes: Floats,
    optima: tuple[float, ...],
    ends: tuple[tuple[float, float], ...],
    edges: NDArray[np.bool_],
) -> str:
    parts = [
        f"{best:.3g}{' (edge)' if edge else f' ({low:.3g} to {high:.3g})' if high < math.inf else ''}"
        for best, (low, high), edge in zip(optima, ends, edges, strict=True)
    ]
    return f"best rates at {over} {', '.join(f'{size:g}' for size in sizes)}: {', '.join(parts)}"
