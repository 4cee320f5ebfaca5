from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.stats.estimates import Estimate, interval_words, undetermined
from superconsistency.stats.verdicts import (
    REFUTED,
    SHOWN,
    TRANSFER,
    UNDECIDED,
    Above,
    Below,
    Between,
    Judgement,
    Outside,
    Within,
    all_of,
    opposite,
    size_words,
)


@pytest.mark.parametrize(
    ("expected", "interval", "judgement"),
    [
        (Within(0.1), (-0.1, 0.1), SHOWN),
        (Within(0.1), (-0.11, 0.1), UNDECIDED),
        (Within(0.1), (0.11, 0.2), REFUTED),
        (Within(0.1), (-0.3, -0.2), REFUTED),
        (Outside(0.1), (0.11, 0.2), SHOWN),
        (Outside(0.1), (-0.05, 0.0), REFUTED),
        (Outside(0.1), (-0.5, 0.5), UNDECIDED),
        (Below(0.0), (-2.0, -0.1), SHOWN),
        (Below(0.0), (-2.0, 0.0), UNDECIDED),
        (Below(0.0), (0.0, 1.0), REFUTED),
        (Above(0.0), (0.1, math.inf), SHOWN),
        (Above(0.0), (-1.0, 0.0), REFUTED),
        (Between(0.8, 1.3), (0.8, 1.3), SHOWN),
        (Between(0.8, 1.3), (0.7, 1.0), UNDECIDED),
        (Between(0.8, 1.3), (1.31, 1.4), REFUTED),
        (Within(0.1), (-math.inf, math.inf), UNDECIDED),
        (Within(0.1), (math.nan, 0.0), UNDECIDED),
    ],
)
def test_an_interval_decides_only_where_it_lies_on_one_side(
    expected: Any, interval: tuple[float, float], judgement: Judgement
) -> None:
    assert expected.judge(interval) == judgement


numbers = st.floats(-3, 3)


@given(low=numbers, reach=st.floats(0, 3), bound=numbers, shrink=st.floats(0, 1))
def test_a_narrower_interval_never_takes_a_verdict_back(
    low: float, reach: float, bound: float, shrink: float
) -> None:
    high = low + reach
    inner = (low + shrink * reach / 2, high - shrink * reach / 2)
    if inner[0] > inner[1]:
        return
    for expected in (
        Within(abs(bound) + 0.1),
        Outside(abs(bound) + 0.1),
        Below(bound),
        Above(bound),
        Between(bound, bound + 1),
    ):
        wide = expected.judge((low, high))
        assert wide in {UNDECIDED, expected.judge(inner)}


@given(low=numbers, reach=st.floats(0, 3), tolerance=st.floats(0.01, 2))
def test_outside_is_the_opposite_of_within(low: float, reach: float, tolerance: float) -> None:
    interval = (low, low + reach)
    assert Outside(tolerance).judge(interval) == opposite(Within(tolerance).judge(interval))


def test_several_expectations_hold_together_only_if_each_does() -> None:
    assert all_of([SHOWN, SHOWN]) == SHOWN
    assert all_of([SHOWN, UNDECIDED]) == UNDECIDED
    assert all_of([SHOWN, UNDECIDED, REFUTED]) == REFUTED
    assert all_of([]) == UNDECIDED


def test_every_kind_of_question_has_its_words_for_the_same_three_verdicts() -> None:
    assert [str(one) for one in Judgement] == ["as published", "not as published", "undecided"]
    assert [TRANSFER.of(one) for one in Judgement] == ["transfers", "does not transfer", "no verdict"]
    assert [size_words("depth").of(one) for one in Judgement] == [
        "depth-independent", "depends on depth", "undecided",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Within(0.0), "tolerance is 0.0"),
        (lambda: Within(-1.0), "tolerance is -1.0"),
        (lambda: Outside(math.nan), "tolerance is nan"),
        (lambda: Below(math.inf), "bound is inf"),
        (lambda: Above(math.nan), "bound is nan"),
        (lambda: Between(1.0, 1.0), "range expected is"),
        (lambda: Within(0.1).judge((1.0, 0.0)), "interval is .1.0, 0.0.; accepted: its lower end first"),
    ],
)
def test_expectations_that_make_no_sense_are_refused(build: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        build()


def test_an_estimate_is_judged_by_its_whole_family_or_not_at_all() -> None:
    flat = Estimate(0.0, (-0.01, 0.01))
    assert flat.judged(Within(0.05)) == SHOWN
    assert flat._replace(family=((-0.01, 0.01), (-0.1, 0.01))).judged(Within(0.05)) == UNDECIDED
    assert flat._replace(family=((-0.01, 0.01), (0.06, 0.1))).judged(Within(0.05)) == REFUTED
    assert flat._replace(open="2 runs are missing").judged(Within(0.05)) == UNDECIDED
    nothing = undetermined("2 runs are missing", "steps")
    assert math.isnan(nothing.value)
    assert (nothing.unit, nothing.words, nothing.open) == (
        "steps",
        "2 runs are missing",
        "2 runs are missing",
    )


def test_intervals_in_words() -> None:
    assert interval_words((-0.1, 0.2), "+.2f") == "95% -0.10 to +0.20"
    assert interval_words((-0.1, math.inf), "+.2f") == "95% at least -0.10"
    assert interval_words((-math.inf, 0.2), "+.2f", 0.9) == "90% at most +0.20"
    assert interval_words((-math.inf, math.inf)) == "no interval"
