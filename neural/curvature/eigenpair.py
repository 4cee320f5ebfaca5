"""The largest eigenpair of an operator, from a Lanczos space that grows until the error bound is met."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from ...theory import Array
    from .lanczos import LanczosSpace

SAFETY = 2.0
"""Factor on the quadratic error bound, whose gap is an estimate."""

_NEAR = 0.2
"""Distance to the next eigenvalue, relative to the largest, within which its own uncertainty counts."""

_STEADY = 0.1
"""Change relative to the value since the last call, beyond which what that knew is not relied on."""

_BEFORE_ABSENCE = 12
"""Products from a random start before it is believed that there is nothing larger."""

_COLD_LEAST = 8
"""Products of a search that knows nothing before its bound is believed: a start can miss the largest."""

_SMALL = 0.01
"""Part of the operator's norm below which a value's certificate depends on that norm: as many products are
taken as show it."""

_ZERO = 1e-13
"""Part of the operator's norm below which an eigenvalue is zero to double precision."""

_RESOLVED = 450.0
"""Units of rounding, relative to the operator's norm, below which no eigenvalue is told from zero."""

_FINE, _ROUNDING_PART = 0.1, 0.5
"""Parts of that to which a search for an eigenvalue of zero goes on, and that may be rounding."""

ROUNDED = "rounding of the products is above the tolerance; use float64, or a derivative is wrong"
VANISHED = "the products are too small for their precision; multiply the loss by a constant"


class Pair(NamedTuple):
    """An approximate eigenpair; the vector is left in the first row of the space."""

    value: float
    residual: float
    """Norm of what `A x` has outside the vectors found and x."""
    error_bound: float
    """The residual, or the quadratic bound `2 residual^2 / gap` where that is less; rounding included."""
    second: float
    """The next Ritz value; -inf if the space has one dimension."""
    leaks: Array
    """`A x` along each of the vectors found before, shape (k,)."""
    rounding: float
    """The part of the bound that more products would not lower."""
    scale: float
    """What is known of the operator's norm."""
    note: str
    """Why it has not converged; empty if it has."""

    def is_zero(self, resolution: float) -> bool:
        """Whether it cannot be told from zero: zero lies within the bound.

        Below the resolution it also has to lie outside ten residuals: the quadratic bound knows nothing of an
        eigenvector that has not been told apart, and eigenvalues near zero are many and near to each other.
        """
        unsure = min(resolution * self.scale, self.residual / _FINE)
        return abs(self.value) <= max(self.error_bound, unsure)


def zero_resolution(tolerance: float, dtype: torch.dtype) -> float:
    """Part of the operator's norm below which an eigenvalue is not told from zero."""
    return max(tolerance**2, _RESOLVED * torch.finfo(dtype).eps)


class Aim(NamedTuple):
    """When a search ends."""

    tolerance: float
    """Bound on the error relative to the value."""
    max_products: int
    """Products at which to give up."""
    resolution: float
    """The field `resolution` of the pair: what cannot be told from zero need not be known better."""
    fine: float = _FINE
    """Part of that to which it is known all the same."""
    known_value: float = math.nan
    """The value that an earlier call found; NaN if none did."""
    known_scale: float = 0.0
    """What it knew of the norm."""
    known_second: float = -math.inf
    """Its estimate of the next eigenvalue; the larger of it and the space's own is used."""
    rounding: float = 0.0
    """Error relative to the value that is allowed to rounding, beside the tolerance."""
    ceiling: float = math.inf
    """If finite, only whether the pair lies below this matters, for which a tenth of the distance will do."""

    def allowed(self, pair: Pair) -> float:
        """Error allowed to a value, rounding apart."""
        least = self.fine * self.resolution if pair.is_zero(self.resolution) else 0.0
        return max(self.tolerance * abs(pair.value), self._apart(pair.value), max(least, _ZERO) * pair.scale)

    def allowed_rounding(self, pair: Pair) -> float:
        """Part of a value's bound that may be rounding."""
        least = _ROUNDING_PART * self.resolution if pair.is_zero(self.resolution) else 0.0
        return max(self.rounding * abs(pair.value), self._apart(pair.value), max(least, _ZERO) * pair.scale)

    def _apart(self, value: float) -> float:
        return 0.1 * (self.ceiling - value) if self.ceiling < math.inf else 0.0


def largest_pair(space: LanczosSpace, aim: Aim) -> Pair:
    """Expand a space until its largest Ritz pair has an error bound within tolerance.

    Parameters
    ----------
    space
        With its start, or what an earlier search left; at the end its first two rows are the Ritz vectors of
        the two largest values.
    aim
        When it ends.
    """
    least = min(2, space.capacity) if space.awaiting else 0
    if least and aim.known_second == -math.inf:
        least = _COLD_LEAST
    if aim.ceiling < math.inf:
        least = _BEFORE_ABSENCE
    least = min(least, aim.max_products)
    while True:
        if space.awaiting and not space.expand():
            nothing = np.zeros(len(space.found))
            return Pair(math.nan, math.inf, math.inf, -math.inf, nothing, 0.0, 0.0, "a product is not finite")
        values, vectors = space.ritz()
        pair = _judge(space, values, vectors, aim)
        note = _verdict(space, pair, aim, least)
        if note is not None:
            return _finish(space, pair, vectors, note)
        if space.full:
            most = len(space.rows) - len(space.couplings)
            space.restart(vectors[:, -max(1, min(most, 2 + space.capacity // 3)) :])
            space.advance(np.eye(space.dimension)[0])
        else:
            space.advance(vectors[:, -1])


def _verdict(space: LanczosSpace, pair: Pair, aim: Aim, least: int) -> str | None:
    """Why to stop, empty if because the pair is good enough; None to go on."""
    goal = aim.allowed(pair)
    exhausted = space.invariant()
    if abs(pair.value) < _SMALL * max(aim.known_scale, space.scale):
        least = min(max(least, _COLD_LEAST), aim.max_products)
    if space.matvecs < least and not exhausted:
        return None
    if space.vanishing:
        return VANISHED
    if pair.error_bound - pair.rounding <= goal or exhausted or pair.residual <= pair.rounding:
        return "" if pair.rounding <= aim.allowed_rounding(pair) else ROUNDED
    return f"{space.matvecs} products were not enough" if space.matvecs >= aim.max_products else None


def _judge(space: LanczosSpace, values: Array, vectors: Array, aim: Aim) -> Pair:
    """The largest Ritz pair, its residual and bound.

    The space knows the next eigenvalue by a Ritz value, which lies below it. Its residual is added unless an
    earlier call found it far from the largest, which has not changed much since.
    """
    residuals = space.residuals(vectors)
    value, residual = float(values[-1]), float(residuals[-1])
    second = float(values[-2]) if len(values) > 1 else -math.inf
    steady = abs(value - aim.known_value) < _STEADY * abs(value)
    near = not steady or is_near(value, max(second, aim.known_second))
    upper = second + float(residuals[-2]) if near and len(values) > 1 else second
    bound = error_bound(residual, value - max(upper, aim.known_second))
    leaks = space.leaks[:, : space.dimension] @ vectors[:, -1]
    return Pair(value, residual, bound + space.rounding, second, leaks, space.rounding, space.scale, "")


def is_near(value: float, second: float) -> bool:
    """Whether the next eigenvalue is too near to be left out of account."""
    return value - second < _NEAR * abs(value)


def error_bound(residual: float, gap: float) -> float:
    """Error bound of an eigenvalue, from a residual norm and the distance to what contaminates the vector.

    The lesser of the residual and `2 residual^2 / gap`; the factor two is for the gap, which is an estimate.
    """
    if math.isfinite(gap) and gap > 0:
        return min(residual, SAFETY * residual**2 / gap)
    return residual


def _finish(space: LanczosSpace, pair: Pair, vectors: Array, note: str) -> Pair:
    """Leave the Ritz vectors in the rows, the best first; a zero after it if there is no other."""
    space.restart(vectors)
    if space.dimension == 1 and len(space.rows) > 1:
        space.rows[1].zero_()
    return pair._replace(note=note)
