"""Thick-restart Lanczos in a fixed number of vectors: one eigenpair, orthogonal to those already found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .reductions import inner_products, norm

if TYPE_CHECKING:
    from ...theory import Array
    from .operators import SymmetricOperator

SAFETY = 2.0
"""Factor on the quadratic error bound, whose gap is an estimate."""

_NEAR = 0.2
"""Distance to the next eigenvalue, relative to the largest, within which its own uncertainty counts."""

_STEADY = 0.1
"""Change relative to the value since the last call, beyond which what that knew is not relied on."""

_ROUNDINGS = 8.0
"""Units of rounding, relative to the operator's norm, that every bound allows for."""

_BEFORE_ABSENCE = 12
"""Products from a random start before it is believed that there is nothing larger."""

_COLD_LEAST = 8
"""Products of a search that knows nothing before its bound is believed: a start can miss the largest."""

_KEPT = 0.7
"""Part of a vector's norm that one orthogonalisation has to leave to be enough (Kahan and Parlett)."""

_ZERO = 1e-13
"""Part of the operator's norm below which an eigenvalue is zero to double precision."""

_COLUMNS = 2**16
"""Coordinates combined at a time when basis vectors are replaced in place."""

_UNDERFLOW = 1e4
"""Times the root of the least normal number: an operator below has residuals whose squares vanish."""

_ROUNDED = "rounding of the products is above the tolerance; use float64, or a derivative is wrong"
_VANISHED = "the products are too small for their precision; multiply the loss by a constant"


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
    note: str
    """Why it has not converged; empty if it has."""


class LanczosSpace:
    """An orthonormal basis, in rows of given memory, with the operator's projection on it.

    Every new vector is orthogonalised twice against all others, whose coefficients are the projection's
    column; that they should have been foreseen by symmetry measures the rounding of the products.

    Parameters
    ----------
    memory
        Rows of length n. The first `found` are orthonormal vectors to stay orthogonal to; the next holds the
        start, of any norm, part of it random; from it up to `end` the basis grows.
    found, end
        Numbers of rows.
    sign
        1 for the largest eigenvalue, -1 for the smallest.
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        memory: torch.Tensor,
        generator: torch.Generator,
        *,
        found: int,
        end: int,
        sign: int = 1,
    ) -> None:
        self.operator, self.generator = operator, generator
        self.found, self.rows = memory[:found], memory[found:end]
        self.sign = sign
        self.projection = np.zeros((self.capacity, self.capacity))
        self.leaks = np.zeros((found, self.capacity))
        self.dimension = self.matvecs = 0
        self.asymmetry = self.scale = 0.0
        self.awaiting = True
        self._memory = memory[:end]
        self._foreseen: Array = np.zeros(0)
        self._next: torch.Tensor | None = None
        if not self._accept(self.rows[0]):
            self._draw()

    @property
    def capacity(self) -> int:
        """Dimensions there is room for."""
        return min(len(self.rows), self.operator.size - len(self.found))

    @property
    def complete(self) -> bool:
        """Whether nothing is left outside the basis and the vectors found."""
        return self.dimension == self.operator.size - len(self.found)

    def expand(self) -> bool:
        """The product of the vector last taken in; False if it is not finite."""
        self.awaiting = False
        place = self.dimension
        image = self.operator(self.rows[place]).mul_(self.sign)
        self.matvecs += 1
        self.dimension += 1
        basis = self.rows[: self.dimension]
        outside, inside = self._orthogonalised(image, basis)
        if not (np.isfinite(inside).all() and np.isfinite(outside).all()):
            return False
        self.leaks[:, place] = outside
        expected = np.zeros(place)
        expected[: len(self._foreseen)] = self._foreseen
        self.asymmetry = max(self.asymmetry, float(np.abs(inside[:-1] - expected).max(initial=0.0)))
        self.projection[: self.dimension, place] = self.projection[place, : self.dimension] = inside
        self._next = image
        self._foreseen = np.zeros(self.dimension)
        self._foreseen[-1] = norm(image)
        return True

    def ritz(self) -> tuple[Array, Array]:
        """Ritz values, ascending, and their coefficients, one column each."""
        size = self.dimension
        values, vectors = np.linalg.eigh(self.projection[:size, :size])
        self.scale = max(self.scale, float(np.abs(values).max()))
        return values, vectors

    def residuals(self, vectors: Array) -> Array:
        """Residual norms of Ritz pairs, orthogonally to the vectors found."""
        residuals: Array = np.abs(self._foreseen @ vectors)
        return residuals

    @property
    def rounding(self) -> float:
        """What the products' rounding can have changed."""
        unit = torch.finfo(self.operator.dtype).eps
        return self.asymmetry + _ROUNDINGS * unit * self.scale + (self.limit if self.vanishing else 0.0)

    @property
    def vanishing(self) -> bool:
        """Whether the operator is so small that its residuals underflow."""
        return 0 < self.scale < self.limit

    @property
    def limit(self) -> float:
        """Norm of an operator below which they do."""
        return _UNDERFLOW * math.sqrt(torch.finfo(self.operator.dtype).tiny)

    def invariant(self) -> bool:
        """Whether the last product lies in the basis, to rounding."""
        return self.complete or float(np.linalg.norm(self._foreseen)) <= self.rounding

    def restart(self, vectors: Array) -> None:
        """Replace the basis by Ritz vectors, best last in `vectors`, best first in the basis."""
        kept = vectors[:, ::-1]
        values = np.diag(kept.T @ self.projection[: self.dimension, : self.dimension] @ kept)
        leaks = self.leaks[:, : self.dimension] @ kept
        foreseen = self._foreseen @ kept
        combine(self.rows[: self.dimension], kept)
        self.dimension = kept.shape[1]
        self.projection[:] = 0
        self.projection[range(self.dimension), range(self.dimension)] = values
        self.leaks[:] = 0
        self.leaks[:, : self.dimension] = leaks
        self._foreseen = foreseen

    def deflate(self) -> None:
        """Count the first basis vector, a Ritz vector, as found, and go on with the others."""
        self.leaks = np.vstack([self.leaks[:, 1:], np.zeros(self.leaks.shape[1] - 1)])
        self.projection = self.projection[1:, 1:]
        self._foreseen = self._foreseen[1:]
        count = len(self.found) + 1
        self.found, self.rows = self._memory[:count], self._memory[count:]
        self.dimension -= 1
        self.matvecs = 0
        if not self.dimension:
            self.advance()

    def advance(self) -> None:
        """Take the last product's new direction into the basis, or a random one if there is none."""
        self.awaiting = True
        if not self.invariant() and self._next is not None and self._accept(self._next):
            return
        self._draw()

    def _accept(self, vector: torch.Tensor) -> bool:
        """Make a vector the next row; False if it has no direction of its own."""
        place = self.dimension
        target = self.rows[place]
        if target.data_ptr() != vector.data_ptr():
            target.copy_(vector)
        self._next = None
        before = norm(target)
        if not (math.isfinite(before) and before > 0):
            return False
        target.div_(before)
        self._orthogonalised(target, self.rows[:place], passes=1)
        length = norm(target)
        if length < _KEPT:  # what is left has lost digits; after a second pass it has none to lose
            self._orthogonalised(target, self.rows[:place], passes=1)
            length = norm(target)
        target.div_(length)
        return length > 1e3 * torch.finfo(target.dtype).eps

    def _draw(self) -> None:
        """A random direction as the next row; what it is linked to is unknown, so nothing is foreseen."""
        self._foreseen = np.zeros(self.dimension)
        place = self.dimension
        for _ in range(3):
            drawn = torch.randn(self.operator.size, generator=self.generator, dtype=self.operator.dtype)
            self.rows[place].copy_(drawn)
            del drawn
            if self._accept(self.rows[place]):
                return

    def _orthogonalised(
        self, vector: torch.Tensor, basis: torch.Tensor, passes: int = 2
    ) -> tuple[Array, Array]:
        """Remove from a vector, in place, its part in the vectors found and the basis; the coefficients."""
        outside, inside = np.zeros(len(self.found)), np.zeros(len(basis))
        for _ in range(passes):
            for block, sums in ((self.found, outside), (basis, inside)):
                if len(block):
                    coefficients = inner_products(block, vector)
                    vector.addmv_(block.T, coefficients.to(vector.dtype), alpha=-1)
                    sums[:] += coefficients.cpu().numpy()
        return outside, inside


class Aim(NamedTuple):
    """When a search ends."""

    tolerance: float
    """Bound on the error relative to the value."""
    max_products: int
    """Products at which to give up."""
    known_value: float = math.nan
    """The value that an earlier call found; NaN if none did."""
    known_second: float = -math.inf
    """Its estimate of the next eigenvalue; the larger of it and the space's own is used."""
    rounding: float = 0.0
    """Error relative to the value that is allowed to rounding, beside the tolerance."""
    ceiling: float = math.inf
    """If finite, only whether the pair lies below this matters, for which a tenth of the distance will do."""

    def allowed(self, value: float) -> float:
        """Error allowed to a value."""
        return max(self.tolerance * abs(value), self._apart(value))

    def allowed_rounding(self, value: float) -> float:
        """Part of a value's bound that may be rounding."""
        return max(self.rounding * abs(value), self._apart(value))

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
            return Pair(math.nan, math.inf, math.inf, -math.inf, nothing, 0.0, "a product is not finite")
        values, vectors = space.ritz()
        pair = _judge(space, values, vectors, aim)
        note = _verdict(space, pair, aim, least)
        if note is not None:
            return _finish(space, pair, vectors, note)
        if space.dimension == space.capacity:
            space.restart(vectors[:, -max(1, min(space.capacity - 1, 2 + space.capacity // 3)) :])
        space.advance()


def _verdict(space: LanczosSpace, pair: Pair, aim: Aim, least: int) -> str | None:
    """Why to stop, empty if because the pair is good enough; None to go on."""
    goal = max(aim.allowed(pair.value), _ZERO * space.scale)
    exhausted = space.invariant()
    if space.matvecs < least and not exhausted:
        return None
    if space.vanishing:
        return _VANISHED
    if pair.error_bound - pair.rounding <= goal or exhausted or pair.residual <= pair.rounding:
        allowed = max(aim.allowed_rounding(pair.value), _ZERO * space.scale)
        return "" if pair.rounding <= allowed else _ROUNDED
    return f"{space.matvecs} products were not enough" if space.matvecs >= aim.max_products else None


def _judge(space: LanczosSpace, values: Array, vectors: Array, aim: Aim) -> Pair:
    """The largest Ritz pair, its residual and bound.

    Of the next eigenvalue the space knows a Ritz value, which lies below it. Its residual is added unless an
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
    return Pair(value, residual, bound + space.rounding, second, leaks, space.rounding, "")


def is_near(value: float, second: float) -> bool:
    """Whether the next eigenvalue is too near to be left out of account."""
    return value - second < _NEAR * abs(value)


def error_bound(residual: float, gap: float) -> float:
    """Of an eigenvalue, from a residual norm and the distance to what the vector is contaminated with.

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


def combine(rows: torch.Tensor, coefficients: Array) -> None:
    """Replace the first rows by combinations of all, in place, some columns at a time.

    Parameters
    ----------
    rows
        Shape (k, n).
    coefficients
        One column for each new row, shape (k, j), j at most k.
    """
    mix = torch.tensor(coefficients.T.copy()).to(rows.device, rows.dtype)
    for begin in range(0, rows.shape[1], _COLUMNS):
        part = rows[:, begin : begin + _COLUMNS]
        part[: len(mix)] = mix @ part
