"""Bounds on the probability that a search from a random start overlooks a larger eigenvalue.

What a Lanczos search has *not* found shows how little of a larger eigenvalue's vector its start can have held
(van Dorsselaer, Hochstenbach and van der Vorst 2000). If u is a unit eigenvector of the symmetric A with
eigenvalue mu, its parts `w_j = u.v_j` in the basis satisfy the Lanczos recurrence

    (mu - alpha_j) w_j = beta_{j-1} w_{j-1} + beta_j w_{j+1} + f_j,

and elimination from the first row on leaves `w_j = (beta_j / d_j) w_{j+1} + phi_j / d_j`, where `d_j` are the
pivots of `mu - T`, positive while all Ritz values lie below mu. Since no `|w_j|` exceeds 1, the start holds
at most `|w_1| <= prod(beta_j / d_j)` of u, for the product over any number of rows. A random start holds less
than that with a probability that is known.

Rounding enters as `f_j`: what the computed recurrence fails to satisfy along u. It is at most the part of the
product that symmetry did not foresee plus the rounding of the vectors, and elimination carries it along: in
single precision the bound levels off where rounding could hide the eigenvector. An error of the products that
is itself symmetric is not seen: the bound is on the operator whose products are given.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ...theory import Array

_LEAST_SIZE = 3
"""Dimensions from which a component of a random unit vector has its largest density at zero."""


class _Cycle:
    """The part of a recurrence between two restarts.

    Ritz values kept from before are coupled to the first new basis vector alone, by `couplings`; `hidden` is
    the norm of their rows' `f`. Each product then adds its entries of the tridiagonal and what was not
    foreseen.
    """

    def __init__(self, kept: Array, couplings: Array, hidden: float) -> None:
        self.kept, self.couplings, self.hidden = kept, couplings, hidden
        self.steps: list[tuple[float, float, float]] = []


class Recurrence:
    """The coefficients of one Lanczos search with thick restarts, from its start on."""

    def __init__(self) -> None:
        nothing = np.zeros(0)
        self._cycles = [_Cycle(nothing, nothing, 0.0)]
        self._open = True

    def extend(self, diagonal: float, link: float, unforeseen: float) -> None:
        """Record a product.

        Parameters
        ----------
        diagonal, link
            Its part along its own basis vector and the norm of its part outside the basis.
        unforeseen
            Norm of the difference between its other parts and those that symmetry foresees.
        """
        if self._open:
            self._cycles[-1].steps.append((diagonal, link, unforeseen))

    def restart(self, values: Array, couplings: Array) -> None:
        """Record that the basis was replaced by Ritz vectors with these values and couplings to the next."""
        if self._open:
            last = self._cycles[-1]
            hidden = math.sqrt(last.hidden**2 + sum(unforeseen**2 for *_, unforeseen in last.steps))
            self._cycles.append(_Cycle(np.array(values), np.array(couplings), hidden))

    def end(self) -> None:
        """Leave the rest of the search out: what comes next is not linked to the start."""
        self._open = False

    def largest_part(self, value: float, rounding: float) -> float:
        """Most that the start can hold of a unit eigenvector, from 0 to 1.

        Parameters
        ----------
        value
            The eigenvector's eigenvalue, or one below it.
        rounding
            Error of each product that cannot be seen.
        """
        least, factor, lost, products = 1.0, 1.0, 0.0, 0
        for cycle in self._cycles:
            distances = value - cycle.kept
            if (distances <= 0).any():
                break
            shift = float(np.sum(cycle.couplings**2 / distances))
            hidden = math.hypot(cycle.hidden, rounding * math.sqrt(products))
            carried = hidden * float(np.linalg.norm(cycle.couplings / distances))
            for diagonal, link, unforeseen in cycle.steps:
                products += 1
                pivot = value - diagonal - shift
                error = unforeseen + rounding + carried
                if pivot <= 0:  # nothing at all is linked to zero times a part: there is no such part
                    return min(least, lost) if pivot == link == error == 0 else least
                lost += factor * error / pivot
                factor *= link / pivot
                least = min(least, factor + lost)
                shift, carried = link**2 / pivot, error * link / pivot
        return least


class RandomStart(NamedTuple):
    """A search that started with a random part."""

    recurrence: Recurrence
    size: int
    """Dimensions in which the random part was drawn."""
    spread: float
    """Largest norm of the start before it was scaled to one, over that of its random part."""
    rounding: float
    """Error of a product that cannot be seen."""
    unit: float
    """Rounding of a unit vector."""
    complete: bool
    """Whether the search left no direction out."""

    def missed(self, value: float) -> float:
        """Bound on the probability that a larger eigenvalue than this went unseen.

        The start is `x = (q + c z)/|q + c z|`, q found before and z drawn evenly from the unit sphere. Its
        part in u is at most p only if `|u.q/c + u.z| <= p |q + c z| / c <= p spread`: an interval for `u.z`,
        whose probability is at most its length times the density of a component at 0, the largest there is
        in three dimensions or more.
        """
        if self.complete:
            return 0.0
        if self.size < _LEAST_SIZE:
            return 1.0
        part = self.recurrence.largest_part(value, self.rounding) + self.unit
        half = math.lgamma(self.size / 2) - math.lgamma((self.size - 1) / 2)
        return min(1.0, 2 * part * self.spread * math.exp(half) / math.sqrt(math.pi))


def combined(one: float, other: float) -> float:
    """Bound on the probability that two searches, the second from a start of its own, both miss.

    The product of two such bounds is not one: it lies below p with a probability of up to `p (1 - log p)`.
    """
    product = one * other
    return product * (1 - math.log(product)) if product > 0 else 0.0
