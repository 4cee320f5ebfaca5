from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from superconsistency.stats.divergence import Fate, counts_by_size, fates, trend_probability

from .made_up import generator


@pytest.mark.parametrize("shape", [(2, 1), (2, 2), (3, 1), (4, 8), (10, 20)])
@pytest.mark.parametrize("seed", range(8))
def test_the_trend_of_events_is_that_of_scipy(shape: tuple[int, int], seed: int) -> None:
    draws = generator(seed)
    events = draws.random(shape) < np.linspace(0.1, draws.uniform(0.1, 0.9), shape[0])[:, None]
    events[0, 0], events[-1, -1] = seed % 2 == 0, seed % 2 == 1  # both kinds occur
    rows = np.repeat(np.arange(shape[0]), shape[1])
    expected = stats.kendalltau(rows, events.ravel()).pvalue
    np.testing.assert_allclose(trend_probability(events), expected, rtol=1e-10)


@pytest.mark.parametrize("happened", [True, False])
def test_events_that_do_not_vary_have_no_trend(happened: bool) -> None:
    assert trend_probability(np.full((4, 3), happened)) == 1


def test_missing_diverged_and_dead_runs_are_three_things() -> None:
    nan = math.nan
    loss = xr.DataArray(
        [[2.3, 1.0, 0.5], [2.3, 9.0, nan], [nan, nan, nan], [2.302585, 2.302585, 2.302585]],
        dims=("seed", "step"),
    )
    expected = [Fate.TRAINED, Fate.DIVERGED, Fate.MISSING, Fate.DEAD]
    assert fates(loss).to_numpy().tolist() == expected
    steps = xr.DataArray([-1, 2, -1, -1], dims="seed")
    assert fates(loss, steps).to_numpy().tolist() == expected
    first = xr.DataArray([-1, 0, 0, -1], dims="seed")  # one that overflows at once has no value either
    assert fates(loss, first).to_numpy().tolist() == [Fate.TRAINED, Fate.DIVERGED, Fate.DIVERGED, Fate.DEAD]


def test_a_converged_run_is_not_dead_and_one_measurement_shows_no_death() -> None:
    assert int(fates(xr.DataArray([1.0, 1e-31, 1e-31], dims="step"))) == Fate.TRAINED
    assert int(fates(xr.DataArray([1.0], dims="step"))) == Fate.TRAINED


def test_long_lists_of_sizes_are_shortened() -> None:
    events = np.ones((6, 2), dtype=bool)
    words = counts_by_size(np.array([1.0, 2, 4, 8, 16, 32]), events, "depth")
    assert words == "2 at L = 1, 2 at L = 2, ..., 2 at L = 32"
