"""Power laws with an offset against laws that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import curve_fit
from superconsistency.errors import InputError
from superconsistency.stats.offset import offset_law_fit
from superconsistency.stats.power_laws import power_law_fit

from .made_up import generator

X = np.geomspace(1, 300, 12)


@given(
    st.sampled_from([0.1, 0.5, 3.0]),
    st.sampled_from([(2.0, -0.7), (1.0, -2.0), (0.1, 1.5), (5.0, 0.3)]),
    st.floats(-30, 30),
)
def test_offset_amplitude_and_exponent_are_found_in_any_unit(
    offset: float, law: tuple[float, float], power: float
) -> None:
    amplitude, exponent = law
    unit = 10.0**power
    found = offset_law_fit(X, unit * (offset + amplitude * X**exponent))
    assert found.exponent == pytest.approx(exponent, rel=1e-4)
    assert found.offset == pytest.approx(unit * offset, rel=1e-3)
    assert found.amplitude == pytest.approx(unit * amplitude, rel=1e-3)
    np.testing.assert_allclose(found.at(X), unit * (offset + amplitude * X**exponent), rtol=1e-5)


def test_a_curve_that_rises_to_its_offset_has_a_negative_amplitude() -> None:
    found = offset_law_fit(X, 3 - 2 * X**-0.5)
    assert (found.offset, found.amplitude) == pytest.approx((3, -2), rel=1e-4)
    assert found.exponent == pytest.approx(-0.5, rel=1e-4)


def test_the_fit_is_that_of_a_general_minimiser() -> None:
    y = (0.3 + 2 * X**-0.7) * np.exp(0.05 * generator().standard_normal(12))
    found = offset_law_fit(X, y)
    expected, _ = curve_fit(lambda x, c, a, b: np.log(c + a * x**b), X, np.log(y), p0=(0.3, 2.0, -0.7))
    np.testing.assert_allclose((found.offset, found.amplitude, found.exponent), expected, rtol=1e-4)


@pytest.mark.parametrize("law", [(0.3, 2.0, -0.7), (0.0, 1.0, -0.5), (1.0, 0.1, 1.5)])
@pytest.mark.parametrize("kind", ["curve", "paired", "unpaired"])
def test_intervals_of_exponent_and_offset_cover_where_those_of_a_single_power_do_not(
    law: tuple[float, float, float], kind: str
) -> None:
    offset, amplitude, exponent = law
    hits = np.zeros((120, 3), dtype=bool)
    for trial in range(120):
        draws = generator(trial)
        y = (offset + amplitude * X**exponent) * np.exp(0.06 * draws.standard_normal((8, 12)))
        given_runs = {"generator": draws, "paired": kind == "paired", "resamples": 200}
        settings = {} if kind == "curve" else given_runs
        runs = y[0] if kind == "curve" else y
        found = offset_law_fit(X, runs, **settings)  # type: ignore[arg-type]
        plain = power_law_fit(X, runs, **settings)  # type: ignore[arg-type]
        hits[trial] = [
            found.interval[0] <= exponent <= found.interval[1],
            found.offset_interval[0] <= offset * math.exp(0.06**2 / 2) <= found.offset_interval[1],
            plain.interval[0] <= exponent <= plain.interval[1],
        ]
    covered = hits.mean(axis=0)
    assert 0.9 <= covered[0] <= 0.99
    assert 0.88 <= covered[1] <= 1
    assert covered[2] == 0 if offset else covered[2] > 0.9


def test_one_run_has_no_interval_and_a_step_no_exponent() -> None:
    found = offset_law_fit(X, (1 + X**-1.0)[None], generator=generator())
    assert found.interval == (-math.inf, math.inf)
    assert "too few runs" in str(found)
    steep = offset_law_fit(X, np.where(X > 1, 1.0, 2.0))
    assert "too few points after the bend" in str(steep)


@pytest.mark.parametrize("count", [1, 3])
def test_no_offset_is_fitted_to_three_points(count: int) -> None:
    with pytest.raises(InputError, match="accepted: at least 4 that are finite and above 0"):
        offset_law_fit(X[:count], X[:count])
