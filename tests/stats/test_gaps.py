"""Distances between the curves of two sizes, against made-up losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency.stats.gaps import LargestGap
from superconsistency.stats.measured import Measured
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Within
from superconsistency.stats.windows import Steps

from .made_up import generator

GAP = LargestGap(1e-6, resamples=400)


def curves(apart: float, *, scatter: float = 0.1, seeds: int = 12, seed: int = 0, **at: Any) -> xr.DataArray:
    """Losses that fall by a power of ten a step, faster at the large size: `apart` at step 4 in the end."""
    steps, sizes, rates = np.arange(5.0), np.array([30.0, 100.0, 300.0]), np.array([0.1, 0.2])
    fall = steps * (1 + apart / 4 * np.array([0.0, 5.0, 1.0])[:, None])
    noise = scatter * generator(seed).standard_normal((3, 2, seeds, 1))
    values = 10.0 ** (-fall[:, None, None] * np.array([0.5, 1.0])[:, None, None] + noise)
    coordinates = {"width": sizes, "learning_rate": rates, "seed": range(seeds), "step": steps} | at
    return xr.DataArray(values, coordinates, ("width", "learning_rate", "seed", "step"))


@pytest.mark.parametrize(
    ("apart", "judgement"), [(0.0, SHOWN), (0.5, SHOWN), (1.0, UNDECIDED), (2.0, REFUTED)]
)
def test_the_gap_is_that_of_the_outer_sizes_where_it_is_largest(apart: float, judgement: str) -> None:
    found = GAP(generator(), Measured(curves(apart)))
    assert found.value == pytest.approx(apart, abs=0.1)
    assert found.interval[0] <= found.value <= found.interval[1]
    assert found.judged(Within(1.0)) == judgement
    if apart:
        assert "at eta0 = 0.2 and step 4" in found.words


def test_the_interval_covers_the_largest_gap_as_often_as_it_says() -> None:
    hits = []
    for trial in range(300):
        low, high = GAP(generator(trial), Measured(curves(1.0, scatter=0.3, seeds=8, seed=trial))).interval
        hits.append(low <= 1.0 <= high)
    assert np.mean(hits) >= 0.93


def test_below_the_floor_curves_count_as_equal_and_zero_has_a_place() -> None:
    falling = curves(2.0, scatter=0.0)
    assert LargestGap(1e-3, resamples=100)(generator(), Measured(falling)).value == pytest.approx(1.0)
    assert LargestGap(1.0, resamples=100)(generator(), Measured(falling)).value == 0.0
    dead = falling.where(falling["step"] < 4, 0.0)
    assert math.isfinite(GAP(generator(), Measured(dead)).value)


def test_a_window_restricts_the_steps() -> None:
    found = GAP(generator(), Measured(curves(2.0, scatter=0.0)), window=Steps(0, 2))
    assert found.value == pytest.approx(1.0)


def test_what_cannot_be_compared_is_open() -> None:
    lost = curves(0.0).where(lambda runs: (runs["width"] < 300) | (runs["step"] < 2))
    assert GAP(generator(), Measured(lost)).open.startswith("diverged 24 at N = 300")
    missing = curves(0.0).where(lambda runs: runs["seed"] > 0)
    assert "6 of 72 runs are missing" in GAP(generator(), Measured(missing)).open
    assert GAP(generator(), Measured(curves(0.0).isel(width=[0]))).open == "one size only"
    assert GAP(generator(), Measured(curves(2.0, seeds=1))).judged(Within(1.0)) == UNDECIDED
