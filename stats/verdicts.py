"""What an interval says about a claim: shown, refuted, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    Interval = tuple[float, float]

SHOWN, REFUTED, UNDECIDED = "as published", "not as published", "undecided"
"""Verdicts on the paper's claim; undecided wants more seeds or widths."""


def within(interval: Interval, tolerance: float) -> str:
    """Of the claim that a number is zero, to a tolerance."""
    low, high = interval
    if -tolerance <= low and high <= tolerance:
        return SHOWN
    return REFUTED if low > tolerance or high < -tolerance else UNDECIDED


def outside(interval: Interval, tolerance: float) -> str:
    """Of the claim that it is not."""
    return {SHOWN: REFUTED, REFUTED: SHOWN, UNDECIDED: UNDECIDED}[within(interval, tolerance)]


def below(interval: Interval, bound: float) -> str:
    """Of the claim that a number is less than a bound."""
    low, high = interval
    return SHOWN if high < bound else REFUTED if low >= bound else UNDECIDED


def above(interval: Interval, bound: float) -> str:
    """Of the claim that it is more."""
    low, high = interval
    return SHOWN if low > bound else REFUTED if high <= bound else UNDECIDED


def all_of(verdicts: Iterable[str]) -> str:
    """Of several claims together."""
    found = set(verdicts)
    return REFUTED if REFUTED in found else UNDECIDED if UNDECIDED in found or not found else SHOWN
