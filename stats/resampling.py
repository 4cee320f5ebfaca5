"""The bootstrap over seeds, and what widens its intervals for few of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

UNBOUNDED = (-math.inf, math.inf)
"""The interval of what is not known."""


def tails(level: float) -> tuple[float, float]:
    """Probabilities of the lower and the upper end of a two-sided interval: 0.025 and 0.975 at 0.95."""
    return round((1 - level) / 2, 15), (1 + level) / 2


def resample_means(runs: Floats, generator: np.random.Generator, resamples: int) -> Floats:
    """Means of resampled runs; shape (resamples, ...) from (runs, ...).

    Each resample draws as many runs as there are, with replacement.
    """
    count = len(runs)
    shares = generator.multinomial(count, np.full(count, 1 / count), size=resamples) / count
    return np.asarray(np.tensordot(shares, runs, axes=1))


def widening(degrees: float | Floats, level: float) -> Floats:
    """Student's quantile over the normal one: what a bootstrap interval is widened by for few runs."""
    upper = tails(level)[1]
    return np.asarray(stdtrit(degrees, upper) / ndtri(upper))


def unbiased(runs: int) -> float:
    """Factor that makes up for resampled means, whose variance has n in place of n - 1."""
    return math.sqrt(runs / (runs - 1))


def expansion(runs: int, degrees: float, level: float = 0.95) -> float:
    """Factor that widens a bootstrap interval for few runs (Hesterberg 2015): both corrections at once."""
    return unbiased(runs) * float(widening(degrees, level))


def satterthwaite(variances: Floats, runs: int) -> Floats:
    """Degrees of freedom of a sum of independent terms, shape (...) from their variances (terms, ...).

    Each term's variance is estimated from the same number of runs; without any variance it is infinite.
    """
    squares = (variances**2).sum(axis=0)
    error = np.sqrt(variances.sum(axis=0))
    ratio = np.divide(error**4, squares, out=np.full_like(error, np.inf), where=squares > 0)
    return np.asarray((runs - 1) * ratio)


def family_reach(drawn: Floats, error: Floats, degrees: Floats, level: float) -> Floats:
    """Half the width of intervals that hold all at once (sup-t, Montiel Olea and Plagborg-Moller 2019).

    Parameters
    ----------
    drawn
        Resampled estimates less the estimates, shape (resamples, family).
    error, degrees
        Standard errors and their degrees of freedom, shape (family,).
    level
        Probability that all intervals hold.
    """
    scaled = np.divide(np.abs(drawn), error, out=np.zeros_like(drawn), where=error > 0)
    # The least degrees of freedom, since with few seeds those of each member are known poorly themselves.
    probability = ndtr(-np.quantile(scaled.max(axis=1), level))
    return np.asarray(np.abs(stdtrit(degrees.min(), probability)) * error)
