"""Thick-restart Lanczos in a fixed number of vectors, orthogonal to those already found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from .missed import Recurrence
from .reductions import inner_products, norm

if TYPE_CHECKING:
    from ...theory import Array
    from .symmetric import SymmetricOperator

_ROUNDINGS = 8.0
"""Units of rounding, relative to the operator's norm, that every bound allows for."""

_KEPT = 0.7
"""Part of a vector's norm that one orthogonalisation has to leave to be enough (Kahan and Parlett)."""

_COLUMNS = 2**16
"""Coordinates combined at a time when basis vectors are replaced in place."""

_UNDERFLOW = 1e4
"""Times the root of the least normal number: an operator below has residuals whose squares vanish."""


class LanczosSpace:
    """An orthonormal basis, in rows of given memory, with the operator's projection on it.

    Every new vector is orthogonalised twice against all others, whose coefficients are the projection's
    column; that they should have been foreseen by symmetry measures the rounding of the products.

    What products have outside the basis lies in as many pending directions as there were starts, so that
    every Ritz vector's residual is known. With one start the pending direction is Lanczos's next vector. With
    several the pending ones are turned so that the next holds the residual of the Ritz vector to improve: a
    start near a neighbour of the eigenvector sought is told apart from it at once, where a mixture of the two
    in a single start would take a polynomial for that.

    Parameters
    ----------
    memory
        Rows of length n. The first `found` are orthonormal vectors to stay orthogonal to; the next hold the
        starts, of any norm, part of them random; from them up to `end` the basis grows.
    found, end
        Numbers of rows.
    starts
        Number of starts, fewer than the rows for the basis.
    sign
        1 for the largest eigenvalue, -1 for the smallest.
    scale
        What is known of the operator's norm; the vectors found may hold all of it.
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        memory: torch.Tensor,
        generator: torch.Generator,
        *,
        found: int,
        end: int,
        starts: int = 1,
        sign: int = 1,
        scale: float = 0.0,
    ) -> None:
        self.operator, self.generator = operator, generator
        self.found, self.rows = memory[:found], memory[found:end]
        self.sign = sign
        self.projection = np.zeros((self.capacity, self.capacity))
        self.leaks = np.zeros((found, self.capacity))
        self.dimension = self.matvecs = 0
        self.asymmetry, self.scale = 0.0, scale
        self.recurrence = Recurrence()
        if starts > 1:
            self.recurrence.end()
        self.awaiting = True
        self.couplings = np.zeros((0, 0))
        """Parts of the basis vectors' products along each pending direction: those in the rows after the
        basis and, until it is taken in there, the last product's own."""
        self._starts = starts
        self._memory = memory[:end]
        self._next: torch.Tensor | None = None
        for start in range(starts):
            self._pend(self.rows[start], np.zeros(0))
        if not len(self.couplings):
            self._draw()

    @property
    def capacity(self) -> int:
        """Dimensions there is room for."""
        return min(len(self.rows), self.operator.size - len(self.found))

    @property
    def full(self) -> bool:
        """Whether there is no row for another pending direction."""
        return self.dimension + len(self.couplings) > len(self.rows)

    @property
    def complete(self) -> bool:
        """Whether nothing is left outside the basis and the vectors found."""
        return self.dimension == self.operator.size - len(self.found)

    def expand(self) -> bool:
        """The product of the first pending direction, which joins the basis; False if it is not finite."""
        self.awaiting = False
        place = self.dimension
        image = self.operator(self.rows[place]).mul_(self.sign)
        self.matvecs += 1
        self.dimension += 1
        outside, inside = self._orthogonalised(image, self.rows[: place + len(self.couplings)])
        if not (np.isfinite(inside).all() and np.isfinite(outside).all()):
            return False
        inside, pending = inside[: place + 1], inside[place + 1 :]
        self.leaks[:, place] = outside
        unforeseen = inside[:-1] - self.couplings[0]
        self.asymmetry = max(self.asymmetry, float(np.abs(unforeseen).max(initial=0.0)))
        self.projection[: self.dimension, place] = self.projection[place, : self.dimension] = inside
        self._next = image
        link = norm(image)
        self.couplings = np.column_stack([self.couplings[1:], pending])
        self.couplings = np.vstack([self.couplings, np.append(np.zeros(place), link)])
        self.recurrence.extend(inside[-1], link, float(np.linalg.norm(unforeseen)))
        return True

    def ritz(self) -> tuple[Array, Array]:
        """Ritz values, ascending, and their coefficients, one column each."""
        size = self.dimension
        values, vectors = np.linalg.eigh(self.projection[:size, :size])
        self.scale = max(self.scale, float(np.abs(values).max()))
        return values, vectors

    def residuals(self, vectors: Array) -> Array:
        """Residual norms of Ritz pairs, orthogonally to the vectors found."""
        residuals: Array = np.linalg.norm(self.couplings @ vectors, axis=0)
        return residuals

    @property
    def rounding(self) -> float:
        """What the products' rounding can have changed."""
        return self.asymmetry + self.unit * self.scale + (self.limit if self.vanishing else 0.0)

    @property
    def unit(self) -> float:
        """Rounding of a unit vector."""
        return _ROUNDINGS * torch.finfo(self.operator.dtype).eps

    @property
    def vanishing(self) -> bool:
        """Whether the operator is so small that its residuals underflow."""
        return 0 < self.scale < self.limit

    @property
    def limit(self) -> float:
        """Norm of an operator below which they do."""
        return _UNDERFLOW * math.sqrt(torch.finfo(self.operator.dtype).tiny)

    def invariant(self) -> bool:
        """Whether all starts are in the basis, and all products lie in it, to rounding."""
        linked = self.dimension < self._starts or float(np.linalg.norm(self.couplings)) > self.rounding
        return self.complete or not linked

    def restart(self, vectors: Array) -> None:
        """Replace the basis by Ritz vectors, best last in `vectors`, best first in the basis."""
        kept = vectors[:, ::-1]
        values = np.diag(kept.T @ self.projection[: self.dimension, : self.dimension] @ kept)
        leaks = self.leaks[:, : self.dimension] @ kept
        combine_rows(self.rows[: self.dimension], kept)
        for row in range(len(self.couplings) - 1):
            self.rows[kept.shape[1] + row].copy_(self.rows[self.dimension + row])
        self.dimension = kept.shape[1]
        self.projection[:] = 0
        self.projection[range(self.dimension), range(self.dimension)] = values
        self.leaks[:] = 0
        self.leaks[:, : self.dimension] = leaks
        self.couplings = self.couplings @ kept
        self.recurrence.restart(values, self.couplings[-1])

    def deflate(self) -> None:
        """Count the first basis vector, a Ritz vector, as found, and go on with the others."""
        self.leaks = np.vstack([self.leaks[:, 1:], np.zeros(self.leaks.shape[1] - 1)])
        self.projection = self.projection[1:, 1:]
        self.couplings = self.couplings[:, 1:]
        count = len(self.found) + 1
        self.found, self.rows = self._memory[:count], self._memory[count:]
        self.dimension -= 1
        self.matvecs = 0
        self.recurrence = Recurrence()
        self.recurrence.end()
        if not self.dimension:
            self.advance()

    def advance(self, improve: Array | None = None) -> None:
        """Take the last product's new direction into the pending ones, or a random one if there are none.

        Parameters
        ----------
        improve
            Coefficients of the Ritz vector whose residual the next direction is to hold, shape (dimension,).
        """
        self.awaiting = True
        link, self.couplings = self.couplings[-1], self.couplings[:-1]
        if self._next is not None and float(np.linalg.norm(link)) > self.rounding:
            self._pend(self._next, link)
        self._next = None
        if not len(self.couplings):
            self._draw()
        elif len(self.couplings) > 1 and self.dimension >= self._starts and improve is not None:
            self._turn(self.couplings @ improve)

    def _turn(self, residual: Array) -> None:
        """Turn the pending directions so that the first is along a combination of them."""
        basis = np.linalg.qr(np.column_stack([residual, np.eye(len(residual))])).Q
        combine_rows(self.rows[self.dimension : self.dimension + len(residual)], basis)
        self.couplings = basis.T @ self.couplings

    def _pend(self, vector: torch.Tensor, link: Array) -> bool:
        """Make a vector the last pending direction; False if it has no direction of its own."""
        place = self.dimension + len(self.couplings)
        target = self.rows[place]
        if target.data_ptr() != vector.data_ptr():
            target.copy_(vector)
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
        own = length > 1e3 * torch.finfo(target.dtype).eps
        if own:
            self.couplings = np.vstack([self.couplings, link])
        return own

    def _draw(self) -> None:
        """A random pending direction; what it is linked to is unknown, so nothing is foreseen."""
        if self.dimension:
            self.recurrence.end()
        for _ in range(3):
            drawn = torch.randn(
                self.operator.size, generator=self.generator, dtype=self.operator.dtype, device="cpu"
            )
            self.rows[self.dimension].copy_(drawn)
            del drawn
            if self._pend(self.rows[self.dimension], np.zeros(self.dimension)):
                return
        self.couplings = np.zeros((1, self.dimension))  # no direction is finite: the product will say so

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


def combine_rows(rows: torch.Tensor, coefficients: Array) -> None:
    """Replace the first rows by combinations of all, in place, some columns at a time.

    Parameters
    ----------
    rows
        Shape (k, n).
    coefficients
        One column for each new row, shape (k, j), j at most k.
    """
    mix = torch.from_numpy(coefficients.T.copy()).to(rows.device, rows.dtype)
    for begin in range(0, rows.shape[1], _COLUMNS):
        part = rows[:, begin : begin + _COLUMNS]
        part[: len(mix)] = mix @ part
