"""What an interval says about an expectation: shown, refuted, or neither; the only place that decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import invalid, require_positive

if TYPE_CHECKING:
    from collections.abc import Iterable

    Interval = tuple[float, float]


class Judgement(StrEnum):
    """The three verdicts on an expectation; undecided wants more seeds, sizes or steps."""

    SHOWN = "as published"
    REFUTED = "not as published"
    UNDECIDED = "undecided"


SHOWN, REFUTED, UNDECIDED = Judgement.SHOWN, Judgement.REFUTED, Judgement.UNDECIDED


class Words(NamedTuple):
    """What the three judgements are called for one kind of question."""

    shown: str
    refuted: str
    undecided: str

    def of(self, judgement: Judgement) -> str:
        """The word for a judgement."""
        return {SHOWN: self.shown, REFUTED: self.refuted, UNDECIDED: self.undecided}[judgement]


TRANSFER = Words("transfers", "does not transfer", "no verdict")
"""Whether the best learning rate is the same at every size."""


def size_words(over: str) -> Words:
    """Whether a quantity is the same at every size."""
    return Words(f"{over}-independent", f"depends on {over}", UNDECIDED.value)


HELD = Words("holds", "does not hold", UNDECIDED.value)
"""Whether a statement holds that no source makes."""


def spoken(judgement: Judgement, published: str) -> str:
    """A judgement in words, which are `as published` only of what was published.

    Examples
    --------
    >>> spoken(Judgement.SHOWN, "transfer"), spoken(Judgement.SHOWN, "")
    ('as published', 'holds')
    """
    return judgement.value if published else HELD.of(judgement)


class Expectation(Protocol):
    """What a number is expected to be."""

    def judge(self, interval: Interval) -> Judgement:
        """What an interval of the number says."""


@dataclass(frozen=True)
class Between:
    """The number lies from `low` to `high`, both included."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise invalid(
                "range expected", (self.low, self.high), accepted="two numbers, the lower first",
                remedy="pass Between(0.8, 1.3)",
            )  # fmt: skip

    def judge(self, interval: Interval) -> Judgement:
        """Shown where the interval lies inside, refuted where it lies outside."""
        low, high = _ordered(interval)
        if self.low <= low and high <= self.high:
            return SHOWN
        return REFUTED if low > self.high or high < self.low else UNDECIDED


@dataclass(frozen=True)
class Within:
    """The number is zero, to a tolerance."""

    tolerance: float

    def __post_init__(self) -> None:
        require_positive("tolerance", self.tolerance, example=0.05)

    def judge(self, interval: Interval) -> Judgement:
        """Shown where the interval lies inside the tolerance, refuted where it lies beyond."""
        return Between(-self.tolerance, self.tolerance).judge(interval)


@dataclass(frozen=True)
class Outside:
    """The number is not zero, to a tolerance."""

    tolerance: float

    def __post_init__(self) -> None:
        require_positive("tolerance", self.tolerance, example=0.05)

    def judge(self, interval: Interval) -> Judgement:
        """Shown where the interval lies beyond the tolerance, refuted where it lies inside."""
        return opposite(Within(self.tolerance).judge(interval))


@dataclass(frozen=True)
class Below:
    """The number is less than a bound."""

    bound: float

    def __post_init__(self) -> None:
        _require_bound(self.bound)

    def judge(self, interval: Interval) -> Judgement:
        """Shown where the interval lies below the bound, refuted where it lies at or above it."""
        low, high = _ordered(interval)
        return SHOWN if high < self.bound else REFUTED if low >= self.bound else UNDECIDED


@dataclass(frozen=True)
class Above:
    """The number is greater than a bound."""

    bound: float

    def __post_init__(self) -> None:
        _require_bound(self.bound)

    def judge(self, interval: Interval) -> Judgement:
        """Shown where the interval lies above the bound, refuted where it lies at or below it."""
        low, high = _ordered(interval)
        return SHOWN if low > self.bound else REFUTED if high <= self.bound else UNDECIDED


def opposite(judgement: Judgement) -> Judgement:
    """What is said of the negation of the expectation that was judged."""
    return {SHOWN: REFUTED, REFUTED: SHOWN, UNDECIDED: UNDECIDED}[judgement]


def all_of(judgements: Iterable[Judgement]) -> Judgement:
    """Judgement on several expectations together: one that fails fails them all."""
    found = set(judgements)
    return REFUTED if REFUTED in found else UNDECIDED if UNDECIDED in found or not found else SHOWN


def _require_bound(bound: float) -> None:
    if not math.isfinite(bound):
        raise invalid("bound", bound, accepted="a finite number", remedy="pass 0.0")


def _ordered(interval: Interval) -> Interval:
    """The interval, unbounded where an end is NaN."""
    low, high = interval
    if math.isnan(low) or math.isnan(high):
        return -math.inf, math.inf
    if low > high:
        raise invalid("interval", interval, accepted="its lower end first", remedy="exchange the ends")
    return low, high
