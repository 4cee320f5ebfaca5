"""The verdict on independence of size as a number with its intervals, whatever is expected of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from superconsistency.stats.dependence import judge_size
from superconsistency.stats.independence import IndependenceOfSize
from superconsistency.stats.measured import Measured
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Below, Outside, Within, opposite
from superconsistency.stats.windows import Steps

from .made_up import generator, powers

WIDE = 4.0 ** np.arange(3, 10)


@pytest.mark.parametrize("exponent", [0.0, 0.019, 0.021, -0.05, 0.3])
@pytest.mark.parametrize("noise", [1e-4, 0.02, 0.5])
def test_an_expectation_within_the_tolerance_gets_the_judgement_on_independence(
    exponent: float, noise: float
) -> None:
    values = powers([0.0, exponent], noise=noise, widths=WIDE)
    judged = judge_size(values, generator(), name="loss")
    found = IndependenceOfSize("loss")(generator(), Measured(values))
    assert found.judged(Within(0.02)) == judged.judgement
    assert found.judged(Outside(0.02)) == opposite(judged.judgement)
    assert found.words == judged.sentence
    assert found.open == (judged.sentence if judged.judgement == UNDECIDED else "")


def test_where_independence_is_shown_every_slope_over_neighbours_is_within_the_tolerance() -> None:
    found = IndependenceOfSize()(generator(), Measured(powers([0.005], noise=1e-4, widths=WIDE)))
    assert len(found.family) == len(WIDE) - 2
    assert all(-0.02 <= low <= high <= 0.02 for low, high in found.family)
    assert found.value == pytest.approx(0.005, abs=1e-3)
    assert found.interval[0] <= found.value <= found.interval[1]


def test_a_fall_with_size_is_told_from_a_rise() -> None:
    fall, rise = (
        IndependenceOfSize()(generator(), Measured(powers([slope], noise=1e-3))) for slope in (-0.4, 0.4)
    )
    assert fall.judged(Below(-0.02)) == SHOWN
    assert rise.judged(Below(-0.02)) == REFUTED
    assert fall.value == pytest.approx(-0.4, abs=0.01)


def test_runs_that_diverge_at_wide_widths_only_are_an_infinite_slope() -> None:
    values = powers([0.0, 0.0])
    values[2:, :, 1] = np.nan
    found = IndependenceOfSize()(generator(), Measured(values))
    assert found.interval == (math.inf, math.inf)
    assert found.judged(Within(0.02)) == REFUTED
    assert found.judged(Outside(0.02)) == SHOWN
    assert "diverged 8 at N = 1024" in found.words


def test_runs_without_a_value_are_left_out_with_their_size_and_are_not_said_to_have_diverged() -> None:
    values = powers([0.0], noise=1e-4, widths=WIDE)
    values[0, 0] = np.nan
    found = IndependenceOfSize()(generator(), Measured(values))
    assert found.judged(Within(0.02)) == SHOWN
    assert found.words.startswith("width-independent from N = 256 on")
    assert found.words.endswith("; without a value 1 at N = 64")
    values[:4] = np.nan
    found = IndependenceOfSize()(generator(), Measured(values))
    assert found.judged(Within(0.02)) == found.judged(Outside(0.02)) == UNDECIDED
    assert found.open.startswith("without a value 8 at N = 64")


def test_the_window_chooses_the_steps_that_count() -> None:
    measured = Measured(powers([0.4, 0.0], noise=1e-4))
    statistic = IndependenceOfSize()
    assert statistic(generator(), measured).judged(Within(0.02)) == REFUTED
    assert statistic(generator(), measured, window=Steps(1)).judged(Within(0.02)) == SHOWN


def test_a_value_measured_once_a_run_is_told_without_a_step() -> None:
    once = powers([0.0], noise=1e-4).isel(step=0, drop=True).rename("best_rate").expand_dims("step")
    found = IndependenceOfSize()(generator(), Measured(once))
    assert "best rate has slope" in found.words
    assert "step" not in found.words
