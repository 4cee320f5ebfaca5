"""Measured numbers with what is known of their errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...theory import Array
    from .tracker import Eigenpairs

EXACT, CERTIFIED, RANDOM, ESTIMATED = "exact", "certified", "standard error", "estimated"
BRACKETED = "bracketed"
NOT_CONVERGED, UNDEFINED = "not converged", "undefined"

ESTIMATE_KINDS = {
    EXACT: "exact to rounding",
    CERTIFIED: "within the error, by a residual",
    RANDOM: "from random vectors or mini-batches; the error is a standard error",
    ESTIMATED: "within the error if the gap to the next eigenvalue is the one seen",
    BRACKETED: "within the error, where the loss was seen to turn from below its start to above it",
    NOT_CONVERGED: "further products would be needed",
    UNDEFINED: "has no value here",
}
"""What the error of an estimate means."""

NOT_FINITE = "not finite"
"""Note of what has no value for that reason, until `measure` finds out why."""


class CurvatureEstimate(NamedTuple):
    """One measured quantity."""

    value: float
    """NaN if it has none."""
    error: float
    """As its kind says."""
    kind: str
    """One of `ESTIMATE_KINDS`."""
    products: int = 0
    """Taken for this quantity, beyond those that earlier ones had taken."""
    note: str = ""
    """Why it has not converged or has no value."""
    missed: float = math.nan
    """At most the probability that an eigenvalue beyond the value and its error was overlooked (as of
    `Eigenpairs`); NaN for other quantities."""


def finite_estimate(value: float) -> CurvatureEstimate:
    """A number known to rounding, or the note that it is none."""
    if math.isfinite(value):
        return CurvatureEstimate(value, 0.0, EXACT)
    return undefined(NOT_FINITE)


def undefined(why: str) -> CurvatureEstimate:
    """A quantity without a value, and why."""
    return CurvatureEstimate(math.nan, math.nan, UNDEFINED, note=why)


def certified(pairs: Eigenpairs) -> CurvatureEstimate:
    """The outermost eigenvalue."""
    if math.isnan(pairs.value):
        return finite_estimate(pairs.value)
    kind = CERTIFIED if pairs.converged else NOT_CONVERGED
    return CurvatureEstimate(pairs.value, pairs.error_bound, kind, note=pairs.note, missed=pairs.missed)


def further(name: str, pairs: Eigenpairs) -> dict[str, CurvatureEstimate]:
    """The eigenvalues after the outermost, by name and number."""
    kind = CERTIFIED if pairs.converged else NOT_CONVERGED
    columns = zip(pairs.values, pairs.error_bounds, pairs.misses, strict=True)
    return {
        f"{name}_{index + 1}": CurvatureEstimate(
            float(value), float(bound), kind, note=pairs.note, missed=float(missed)
        )
        for index, (value, bound, missed) in enumerate(columns)
        if index and math.isfinite(value)
    }


def from_vectors(part: float, spaces: Sequence[Eigenpairs]) -> CurvatureEstimate:
    """A part between 0 and 1 that depends on eigenspaces, whose errors are their angles to the true ones."""
    error = sum(angle_of(pairs.residuals, pairs.values[-1] - pairs.following) for pairs in spaces)
    return estimated(part, min(1.0, error), spaces)


def angle_of(residuals: Array, gap: float) -> float:
    """Sine of the largest angle to the true space, at most (Davis and Kahan), with the gap that was seen."""
    if math.isnan(gap):  # there is nothing outside the space
        return 0.0
    return min(1.0, 2 * float(np.linalg.norm(residuals)) / gap) if gap > 0 else 1.0


def estimated(value: float, error: float, spaces: Sequence[Eigenpairs]) -> CurvatureEstimate:
    """A value whose error rests on the eigenvectors used, and on their having converged."""
    if not (math.isfinite(value) and all(math.isfinite(pairs.value) for pairs in spaces)):
        return finite_estimate(math.nan)
    note = next((pairs.note for pairs in spaces if pairs.note), "")
    return CurvatureEstimate(value, error, NOT_CONVERGED if note else ESTIMATED, note=note)
