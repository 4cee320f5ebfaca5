from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from superconsistency.stats.resampling import (
    expansion,
    family_reach,
    resample_means,
    satterthwaite,
    tails,
    widening,
)

from .made_up import generator


@pytest.mark.parametrize("degrees", [1, 2.5, 7, 400, math.inf])
def test_the_expansion_is_that_of_scipy(degrees: float) -> None:
    expected = math.sqrt(8 / 7) * stats.t.ppf(0.975, degrees) / stats.norm.ppf(0.975)
    np.testing.assert_allclose(expansion(8, degrees), expected, rtol=1e-12)


def test_resampled_means_spread_as_means_do() -> None:
    values = generator().standard_normal((30, 2))
    drawn = resample_means(values, generator(), 20000)
    np.testing.assert_allclose(drawn.std(axis=0), values.std(axis=0) / math.sqrt(30), rtol=0.03)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 1 - 0.05 / 7])
def test_tails_and_widening_are_those_of_the_distributions(level: float) -> None:
    lower, upper = tails(level)
    assert lower + upper == pytest.approx(1)
    expected = stats.t.ppf((1 + level) / 2, 4) / stats.norm.ppf((1 + level) / 2)
    assert float(widening(4.0, level)) == pytest.approx(expected)
    assert float(widening(math.inf, level)) == pytest.approx(1)


def test_degrees_of_freedom_are_those_of_welch() -> None:
    one, other = generator(1).standard_normal((2, 7)) * [[1.0], [3.0]]
    expected = stats.ttest_ind(one, other, equal_var=False).df
    variances = np.array([[one.var(ddof=1) / 7], [other.var(ddof=1) / 7]])
    assert satterthwaite(variances, 7)[0] == pytest.approx(expected)
    assert satterthwaite(np.zeros((2, 1)), 7)[0] == math.inf


@pytest.mark.parametrize("members", [1, 5, 30])
def test_family_intervals_of_independent_means_hold_together(members: int) -> None:
    seeds, hits = 12, []
    for trial in range(400):
        runs = generator(trial).standard_normal((seeds, members))
        drawn = resample_means(runs - runs.mean(axis=0), generator(trial + 1000), 400) * math.sqrt(12 / 11)
        error = runs.std(axis=0, ddof=1) / math.sqrt(seeds)
        reach = family_reach(drawn, error, np.full(members, seeds - 1.0), 0.9)
        hits.append(bool((np.abs(runs.mean(axis=0)) <= reach).all()))
    assert 0.86 <= np.mean(hits) <= 0.97
