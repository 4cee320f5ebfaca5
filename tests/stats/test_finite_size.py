"""Corrections of narrow networks, which die out as one over the size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.stats.finite_size import correction_words, size_correction

WIDTHS = np.array([32.0, 64.0, 128.0, 256.0])


def runs(values: np.ndarray, widths: np.ndarray = WIDTHS, over: str = "width") -> xr.DataArray:
    return xr.DataArray(values, {over: widths, "seed": np.arange(values.shape[1])}, (over, "seed"))


@given(limit=st.floats(0.1, 100), coefficient=st.floats(-10, 30), seeds=st.integers(1, 5))
def test_an_exact_law_is_found_again(limit: float, coefficient: float, seeds: int) -> None:
    values = np.outer(limit * (1 + coefficient / WIDTHS), np.ones(seeds))
    found = size_correction(runs(values), np.random.default_rng(0), resamples=100)
    assert found.limit == pytest.approx(limit, rel=1e-10)
    assert found.coefficient == pytest.approx(coefficient, abs=1e-8)
    assert found.share(64) == pytest.approx(coefficient / 64, abs=1e-9)
    assert (found.interval == (-math.inf, math.inf)) == (seeds == 1)


def test_an_infinite_width_and_the_order_of_the_axes_do_not_matter() -> None:
    generator = np.random.default_rng(3)
    values = np.outer(2 * (1 + 5 / WIDTHS), np.ones(3)) + 0.01 * generator.standard_normal((4, 3))
    plain = size_correction(runs(values), np.random.default_rng(0))
    more = runs(np.vstack([values, np.ones(3)]), np.append(WIDTHS, np.inf)).transpose("seed", "width")
    assert size_correction(more, np.random.default_rng(0)) == plain


def test_the_interval_covers_the_true_coefficient_in_nine_of_ten_experiments() -> None:
    generator, inside = np.random.default_rng(1), 0
    for _ in range(200):
        noise = 0.05 * generator.standard_normal((4, 4))
        values = np.outer(3 * (1 + 4 / WIDTHS), np.ones(4)) + noise
        low, high = size_correction(runs(values), generator, resamples=400).interval
        inside += low <= 4 <= high
    assert 180 <= inside <= 200


def test_two_sizes_are_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="at least 3"):
        size_correction(runs(np.ones((2, 2)), WIDTHS[:2]), np.random.default_rng(0))


def test_the_words_name_the_axis_and_the_interval() -> None:
    values = np.outer(1 + 1 / WIDTHS, [1.0, 1.0])
    found = size_correction(runs(values, over="depth"), np.random.default_rng(0), over="depth")
    assert correction_words(found, "depth") == "1 (1 + 1/L), 95% 1 to 1 for the coefficient"
