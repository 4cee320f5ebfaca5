"""The number that a statistic gives, with its interval and what keeps it from deciding anything."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .resampling import UNBOUNDED
from .verdicts import UNDECIDED, Judgement, all_of

if TYPE_CHECKING:
    from .verdicts import Expectation, Interval


class Estimate(NamedTuple):
    """A number with its interval."""

    value: float
    """NaN where there is none."""
    interval: Interval
    """Confidence interval of the value; infinite where it is not known."""
    unit: str = "1"
    words: str = ""
    """Value and interval in the words of a sentence."""
    family: tuple[Interval, ...] = ()
    """Intervals that hold all at once, where the number is one of several: of each step, or of each size."""
    open: str = ""
    """Why the number cannot decide anything; empty where it can."""

    def judged(self, expectation: Expectation) -> Judgement:
        """What the interval, or every interval of the family, says about an expectation.

        The expectation is shown if every member shows it and refuted if one refutes it. Where the estimate is
        open nothing is decided.
        """
        if self.open:
            return UNDECIDED
        return all_of(expectation.judge(one) for one in self.family or (self.interval,))


def undetermined(reason: str, unit: str = "1") -> Estimate:
    """An estimate without a value, and why."""
    return Estimate(math.nan, UNBOUNDED, unit, reason, (), reason)


def interval_words(interval: Interval, form: str = "+.3f", level: float = 0.95) -> str:
    """An interval in words: `95% +0.10 to +0.20`."""
    low, high = interval
    if math.isinf(low) and math.isinf(high):
        return "no interval"
    if math.isinf(high):
        return f"{100 * level:g}% at least {low:{form}}"
    if math.isinf(low):
        return f"{100 * level:g}% at most {high:{form}}"
    return f"{100 * level:g}% {low:{form}} to {high:{form}}"
