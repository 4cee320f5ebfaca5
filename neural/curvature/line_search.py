"""The first learning rate at which the loss along an update stops falling, from a few values of the loss.

With `f(eta) = L(theta - eta Delta) - L(theta)` the critical rate `eta_c` is the smallest `eta > 0` beyond
which `f` is positive, and `2/eta_c` is the critical sharpness (Kalra et al. 2026): `Delta.H Delta / g.Delta`
where the loss is quadratic. The search is for a zero of `q = f/eta`, whose value at 0, `-g.Delta`, is known,
and perhaps its slope there, `Delta.H Delta / 2`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.polynomial import Polynomial

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 40
"""Values of the loss after which a search ends with what it has."""

_FARTHEST = 1e6
"""Multiple of the first rate tried beyond which a loss that has not risen is taken never to rise."""

_STRIDE = 4.0
"""Largest factor from a rate at which the loss is below its start to the next one tried; where the polynomial
does not rise it grows by itself."""

_NEAREST = 3
"""Points beside the known start that the interpolating polynomial goes through."""

_MODERATE = 100.0
"""Multiple of the slope at 0 beyond which a value of `q` is too far from zero to interpolate."""

_UNSIGNED = 6
"""Values that differ from the start by no more than rounding after which a search ends."""


_DOUBTS = 2
"""Intervals below the bracket that are looked into because the polynomial is positive there."""

_TRUSTED = 6
"""Values without a rise after which the polynomial's zero is no longer believed: where the loss levels off it
is always just ahead."""

_NONE = 1e-9
"""Reciprocal of a zero, in units of the largest rate that was interpolated, below which there is none."""

_PATIENCE = 10
"""Values after which every other one halves the bracket."""


class CriticalRate(NamedTuple):
    """The first rate at which the loss stops falling."""

    rate: float
    """Infinite if the loss never rises, NaN if the update does not lower it."""
    error: float
    """Distance to the farther end of `bracket`."""
    passes: int
    """Values of the loss that were taken."""
    note: str
    """Why there is no finite rate, or none within the tolerance; empty otherwise."""
    bracket: tuple[float, float]
    """Rates at which the loss is below, and above, its start by more than the rounding of its values."""

    @property
    def sharpness(self) -> float:
        """`2/eta_c`; 0 if the loss never rises."""
        return 2 / self.rate

    @property
    def sharpness_error(self) -> float:
        """Distance from `2/eta_c` to its value at the farther end of the bracket."""
        low, high = self.bracket
        return max(2 / low - self.sharpness, self.sharpness - 2 / high) if low else math.inf


def critical_rate(
    loss: Callable[[float], float],
    *,
    start: float,
    slope: float,
    curvature: float | None = None,
    guess: float | None = None,
    tolerance: float = 1e-3,
    noise: float = 0.0,
) -> CriticalRate:
    """The smallest `eta` beyond which `L(theta - eta Delta) > L(theta)`.

    A polynomial through the nearest values of `q` gives the next rate to try; where it has no zero, or does
    not get closer, the bracket is halved. The loss may rise and fall again between two rates that are tried;
    that is found if the polynomial has it, or if it shows half way to the rate found.

    Parameters
    ----------
    loss
        `L(theta - eta Delta)` at a rate `eta`; a value that is not finite counts as above the start.
    start
        `L(theta)`.
    slope
        `g.Delta`: how fast the loss falls along the update at the start.
    curvature
        `Delta.H Delta`, if known; the search then begins at `2 slope/curvature`.
    guess
        Where it begins instead: what an earlier search found.
    tolerance
        Width of the bracket at which the search ends, relative to the rate.
    noise
        Absolute error of a value of the loss: differences up to twice that have no sign.

    Examples
    --------
    >>> from superconsistency.neural.curvature.line_search import critical_rate
    >>> found = critical_rate(lambda eta: 0.5 * (1 - 4 * eta) ** 2, start=0.5, slope=4.0, curvature=16.0)
    >>> round(found.rate, 6), round(found.sharpness, 6), found.note
    (0.5, 4.0, '')
    """
    if not (math.isfinite(start) and math.isfinite(slope)):
        return _nothing("the loss or its gradient is not finite")
    if slope <= 0:
        return _nothing("the update does not lower the loss to first order")
    search = _Search(start, slope, curvature, tolerance, noise)
    rate: float | None = search.first(guess)
    while rate is not None and search.passes < LIMIT:
        search.enter(rate, loss(rate))
        rate = search.following()
    return search.result()


def _nothing(note: str) -> CriticalRate:
    return CriticalRate(math.nan, math.nan, 0, note, (math.nan, math.nan))


class _Search:
    """The values so far, the bracket `low` to `high` they leave, and where to go on."""

    def __init__(
        self, start: float, slope: float, curvature: float | None, tolerance: float, noise: float
    ) -> None:
        self.start, self.slope, self.tolerance, self.noise = start, slope, tolerance, noise
        known = curvature is not None and math.isfinite(curvature)
        self.curvature = curvature if known else None
        self.low, self.high, self.farthest, self.stride = 0.0, math.inf, math.inf, 1.0
        self.doubts = _DOUBTS
        self.points: dict[float, float] = {}
        self.below: list[float] = []
        self.unsigned: list[float] = []
        self.tried: list[float] = []

    @property
    def passes(self) -> int:
        """Values taken."""
        return len(self.tried)

    def first(self, guess: float | None) -> float:
        """Where to begin: the guess, where a quadratic is back at its start, or where a line reaches zero."""
        quadratic = 2 * self.slope / self.curvature if self.curvature else math.nan
        candidates = (guess or math.nan, quadratic, abs(self.start) / self.slope, 1 / self.slope, 1.0)
        rate = next(value for value in candidates if 0 < value < math.inf)
        self.farthest = _FARTHEST * rate
        return rate

    def enter(self, rate: float, loss: float) -> None:
        """Take in a value of the loss."""
        self.tried.append(rate)
        rise = loss - self.start
        if math.isfinite(rise):
            self.points[rate] = rise / rate
        if not math.isfinite(rise) or rise > 2 * self.noise:
            self.high = min(self.high, rate)
        elif rise < -2 * self.noise or self.noise == 0:
            self.below.append(rate)
        else:
            self.unsigned.append(rate)
        self.low = max((rate for rate in self.below if rate < self.high), default=0.0)

    def following(self) -> float | None:
        """The next rate to try; None at the end."""
        model = self._model()
        crossings = model.crossings()
        hidden = self._hidden(crossings)
        if hidden is not None:
            return hidden
        if self._is_closed():
            return self._half_way()
        root = self._inside(crossings)
        if len(self.unsigned) >= _UNSIGNED:
            return None
        if self.high == math.inf:
            return self._farther(root, model)
        stalled = self.passes >= _PATIENCE and self.passes % 2 == 0
        return self._middle() if root is None or stalled else self._closing(root, model)

    def result(self) -> CriticalRate:
        """What was found."""
        bracket, lost = (self.low, self.high), "differences of the loss are lost in its rounding"
        if self.high == math.inf and len(self.unsigned) >= _UNSIGNED:
            return CriticalRate(math.nan, math.nan, self.passes, lost, bracket)
        if self.high == math.inf:
            note = f"the loss does not rise up to a rate of {max(self.tried):.3g}"
            return CriticalRate(math.inf, math.inf, self.passes, note, bracket)
        inside = self._inside(self._model().crossings())
        rate = 0.5 * (self.low + self.high) if inside is None else inside
        error = max(rate - self.low, self.high - rate)
        return CriticalRate(rate, error, self.passes, "" if self._is_closed() else lost, bracket)

    def _is_closed(self) -> bool:
        return self.high < math.inf and self.high - self.low <= self.tolerance * self.high

    def _model(self) -> _Polynomial:
        """Through `q` at 0, its slope there if known, and the nearest values that are not far from zero."""
        center = 0.5 * (self.low + self.high) if self.high < math.inf else self.low
        moderate = [rate for rate, value in self.points.items() if value < _MODERATE * self.slope]
        nearest = sorted(moderate, key=lambda rate: abs(rate - center))[:_NEAREST]
        start = [-self.slope] if self.curvature is None else [-self.slope, 0.5 * self.curvature]
        return _interpolant(start, [(rate, self.points[rate]) for rate in nearest])

    def _inside(self, crossings: list[tuple[float, float]]) -> float | None:
        """The first crossing in the bracket, at whose ends it may be off by rounding."""
        slack = 1e-9
        for rise, _ in crossings:
            if self.low * (1 - slack) <= rise <= self.high * (1 + slack):
                return min(max(rise, self.low), self.high)
        return None

    def _hidden(self, crossings: list[tuple[float, float]]) -> float | None:
        """The middle of an interval below `low` in which the polynomial is positive and nothing was tried."""
        for rise, fall in crossings:
            middle, reach = 0.5 * (rise + fall), 0.4 * (fall - rise)
            if fall < self.low and self.doubts and all(abs(rate - middle) > reach for rate in self.tried):
                self.doubts -= 1
                return middle
        return None

    def _half_way(self) -> float | None:
        """Half way to the rate found, unless a rate near there was tried."""
        near = any(0.3 * self.low < rate < 0.7 * self.low for rate in self.tried)
        return None if near or self.low == 0 else 0.5 * self.low

    def _farther(self, root: float | None, model: _Polynomial) -> float | None:
        """Beyond all rates tried, by no more than a stride."""
        last = max(self.tried)
        if last >= self.farthest:
            return None
        if root is None or self.passes > _TRUSTED:
            self.stride *= _STRIDE
            return self.stride * last
        return min(self._closing(root, model), _STRIDE * last)

    def _middle(self) -> float:
        if self.low == 0:
            return self.high / 8
        if self.high > _STRIDE * self.low:
            return math.sqrt(self.low * self.high)
        return 0.5 * (self.low + self.high)

    def _closing(self, root: float, model: _Polynomial) -> float:
        """The polynomial's zero or, next to a rate that was tried, beyond it by what closes the bracket."""
        reach = max(0.45 * self.tolerance * root, 4 * self.noise / model.steepness(root))
        reach *= 2.0 ** max(0, len(self.unsigned) - 1)
        near = 1.05 * reach
        on_it = any(abs(rate - root) <= near for rate in self.unsigned)
        if self.high - root > near and (root - self.low <= near or on_it):
            return root + reach
        if root - self.low > near and (self.high - root <= near or on_it):
            return max(root - reach, 0.5 * (self.low + root))
        return root


class _Polynomial(NamedTuple):
    """A polynomial in the rate divided by a unit."""

    scaled: Polynomial
    unit: float

    def crossings(self) -> list[tuple[float, float]]:
        """The intervals of positive rates in which it is positive, the last of which may have no end."""
        # For the reciprocals: the value at 0 leads their polynomial, not what rounding made of a high power.
        inverse = Polynomial(self.scaled.coef[::-1]).roots()
        real = 1 / inverse[(np.abs(inverse.imag) <= 1e-9 * np.abs(inverse)) & (inverse.real > _NONE)].real
        ends = [0.0, *np.sort(real).tolist(), math.inf]
        inner = [0.5 * (one + other) for one, other in pairwise(ends[:-1])] + [2 * ends[-2] + 1]
        return [
            (rise * self.unit, fall * self.unit)
            for (rise, fall), middle in zip(pairwise(ends), inner, strict=True)
            if rise > 0 and self.scaled(middle) > 0
        ]

    def steepness(self, rate: float) -> float:
        """Slope of `f` at a zero of `q`."""
        scaled = rate / self.unit
        return scaled * float(self.scaled.deriv()(scaled))


def _interpolant(start: list[float], points: list[tuple[float, float]]) -> _Polynomial:
    """Newton's interpolation of the value, and perhaps the slope, at 0 and of values at other rates."""
    unit = max((rate for rate, _ in points), default=1.0)
    nodes = [0.0] * len(start) + [rate / unit for rate, _ in points]
    differences = [start[0]] * len(start) + [value for _, value in points]
    polynomial, factor = Polynomial([start[0]]), Polynomial([1.0])
    for order in range(1, len(nodes)):
        factor *= Polynomial([-nodes[order - 1], 1.0])
        differences = [
            start[1] * unit
            if nodes[k] == nodes[k + order]
            else (right - left) / (nodes[k + order] - nodes[k])
            for k, (left, right) in enumerate(pairwise(differences))
        ]
        polynomial += differences[0] * factor
    return _Polynomial(polynomial, unit)
