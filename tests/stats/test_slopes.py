from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from superconsistency.errors import InputError
from superconsistency.stats.slopes import size_dependence, size_slopes

from .made_up import WIDE, curves, generator, powers

REPETITIONS = 2000


def test_a_known_slope_is_found_at_each_step() -> None:
    found = size_slopes(powers([0.0, -0.5, 1.0]), generator())
    np.testing.assert_allclose(found["slope"], [0, -0.5, 1], atol=1e-12)
    np.testing.assert_allclose(found["change"], 10 ** np.array([0, -0.5, 1]) - 1, atol=1e-12)
    np.testing.assert_array_equal(found["sizes"], 4)


def test_the_slope_is_that_of_the_line_through_all_runs() -> None:
    values = powers([-0.2], noise=0.5)
    x = np.repeat(np.log(WIDE), 8)
    line = stats.linregress(x, np.log(values.to_numpy()).ravel())
    assert float(size_slopes(values, generator())["slope"][0]) == pytest.approx(line.slope)


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_intervals_cover_the_true_slope_at_each_step_and_at_all_steps_as_often_as_they_say(
    seeds: int,
) -> None:
    truth = np.linspace(-0.3, 0.1, 6)
    hits = np.zeros((2, 300), dtype=bool)
    for trial in range(300):
        found = size_slopes(
            powers(truth, noise=0.4, seeds=seeds, seed=trial), generator(trial + 1000), resamples=400
        )
        inside = (found["lower"] <= truth) & (found["upper"] >= truth)
        hits[0, trial] = bool(inside[3])
        hits[1, trial] = bool(((found["family_lower"] <= truth) & (found["family_upper"] >= truth)).all())
    assert (hits.mean(axis=1) >= 0.9).all()
    assert (hits.mean(axis=1) <= 0.99).all()


def test_intervals_of_each_step_do_not_cover_all_steps_at_once() -> None:
    """The family needs its own interval: twenty independent steps fail together far too often."""
    hits = []
    for trial in range(150):
        values = powers(np.zeros(20), noise=0.4, seeds=20, seed=trial)
        values = values.copy(data=generator(trial).lognormal(0, 0.3, values.shape))
        found = size_slopes(values, generator(trial + 1), resamples=400)
        each = bool(((found["lower"] <= 0) & (found["upper"] >= 0)).all())
        hits.append((each, bool(((found["family_lower"] <= 0) & (found["family_upper"] >= 0)).all())))
    each, family = np.mean(hits, axis=0)
    assert each < 0.6
    assert family > 0.88


def test_a_width_with_a_diverged_run_leaves_the_slope_from_that_step_on() -> None:
    values = powers([-0.5, -0.5])
    values[3, 0, 1] = np.nan
    found = size_slopes(values, generator())
    np.testing.assert_array_equal(found["sizes"], [4, 3])
    np.testing.assert_allclose(found["slope"], -0.5)


def test_infinite_width_does_not_enter_and_order_does_not_matter() -> None:
    values = powers([-0.25], noise=0.2)
    limit = values.isel(width=[0]).assign_coords(width=[math.inf]) * 100
    mixed = xr.concat([limit, values.isel(width=[2, 0, 3, 1])], dim="width")
    assert float(size_slopes(mixed, generator())["slope"][0]) == pytest.approx(
        float(size_slopes(values, generator())["slope"][0])
    )


def test_learning_rates_are_kept_apart() -> None:
    rates = xr.DataArray([0.1, 0.2], dims="learning_rate", coords={"learning_rate": [0.1, 0.2]})
    widths = xr.DataArray(WIDE, dims="width", coords={"width": WIDE})
    both = powers([0.0]) * (widths ** (rates * 10 - 1)) ** -1
    found = size_slopes(both, generator())
    np.testing.assert_allclose(found["slope"].sel(learning_rate=0.2), -1)
    np.testing.assert_allclose(found["slope"].sel(learning_rate=0.1), 0, atol=1e-12)


@pytest.mark.parametrize("widths", [[64.0], [64.0, math.inf]])
def test_no_slope_is_given_from_one_finite_width(widths: list[float]) -> None:
    values = powers([0.0], widths=[64.0] * len(widths)).assign_coords(width=widths)
    with pytest.raises(InputError, match="number of finite widths") as refused:
        size_slopes(values, generator())
    assert "\n" not in str(refused.value)


def test_intervals_of_slopes_cover_at_their_nominal_rate() -> None:
    hits = []
    for repetition in range(REPETITIONS):
        values = curves(-0.2, noise=0.3, seeds=6, seed=repetition).isel(step=[-1])
        found = size_slopes(values, generator(repetition), resamples=400, level=0.9).isel(step=0)
        hits.append(bool(found["lower"] <= -0.2 <= found["upper"]))
    assert 0.87 <= np.mean(hits) <= 0.93


def test_one_seed_gives_slopes_without_intervals() -> None:
    found = size_slopes(powers([0.0], seeds=1), generator())
    assert float(found["lower"][0]) == -math.inf
    assert float(found["family_upper"][0]) == math.inf


@pytest.mark.parametrize("over", ["depth", "heads"])
def test_any_size_axis_has_the_slopes_that_the_width_has(over: str) -> None:
    values = powers([-0.3, 0.1], noise=0.2)
    found = size_slopes(values.rename(width=over), generator(), over=over)
    expected = size_slopes(values, generator())
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])
    assert found.attrs == {"over": over, "least_size": 64.0, "greatest_size": 4096.0}


def test_losses_below_rounding_have_no_slope() -> None:
    """Two widths that converge to 1e-32 and 1e-90: digits of the arithmetic, not of the network."""
    loss = powers([0.0, 0.0, 0.0], noise=0.1, widths=[64.0, 1e9])
    loss = loss * xr.DataArray([[1.0, 1e-12, 1e-32], [1.0, 1e-17, 1e-90]], dims=("width", "step"))
    found = size_slopes(loss, generator())
    np.testing.assert_array_equal(found["sizes"], [2, 2, 0])
    assert np.isnan(found["slope"][2])


@given(st.floats(1e-6, 1e6), st.integers(-12, 12))
def test_the_slope_is_free_of_the_unit(unit: float, power: int) -> None:
    values = powers([-0.4, 0.2], noise=0.1)
    scaled = size_slopes(values * unit * 10.0**power, generator(), resamples=100)
    plain = size_slopes(values, generator(), resamples=100)
    np.testing.assert_allclose(scaled["slope"], plain["slope"], atol=1e-9)
    np.testing.assert_array_equal(scaled["sizes"], plain["sizes"])


def finals(values: Any, widths: Any) -> xr.DataArray:
    values = np.asarray(values, dtype=float)
    return xr.DataArray(values, {"width": widths, "seed": range(values.shape[1])}, ("width", "seed"))


def test_the_dependence_of_one_value_a_run_has_slope_means_and_spread() -> None:
    widths = np.array([16.0, 64.0, 256.0])
    found = size_dependence(finals(np.outer(3 * widths**-0.5, [1, 1]), widths))
    assert found.slope == pytest.approx(-0.5)
    assert found.spread == pytest.approx(3.0)
    assert (found.runs, found.left_out, found.without) == (6, 0, "")
    np.testing.assert_allclose(found.means, 3 * widths**-0.5)


def test_without_a_generator_the_interval_is_that_of_scipy_over_all_runs() -> None:
    values = powers([-0.2], noise=0.5).isel(step=0, drop=True)
    line = stats.linregress(np.repeat(np.log(WIDE), 8), np.log(values.to_numpy()).ravel())
    reach = stats.t.ppf(0.975, 30) * line.stderr
    np.testing.assert_allclose(size_dependence(values).interval, [line.slope - reach, line.slope + reach])


def test_with_a_generator_the_interval_is_that_of_the_slope_at_a_step() -> None:
    values = powers([-0.2], noise=0.5)
    found = size_dependence(values.isel(step=0, drop=True), generator())
    expected = size_slopes(values, generator())
    assert found.slope == pytest.approx(float(expected["slope"][0]), rel=1e-12)
    assert found.interval == (float(expected["lower"][0]), float(expected["upper"][0]))


@pytest.mark.parametrize("resampled", [True, False])
def test_the_interval_of_the_dependence_covers_at_its_nominal_rate(resampled: bool) -> None:
    widths = np.array([16.0, 64.0, 256.0])
    hits = []
    for trial in range(500):
        noise = np.exp(0.2 * generator(trial).standard_normal((3, 4)))
        chosen = generator(trial + 5000) if resampled else None
        low, high = size_dependence(
            finals(widths[:, None] ** -0.3 * noise, widths), chosen, resamples=300
        ).interval
        hits.append(low <= -0.3 <= high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_where_the_scatter_falls_with_width_only_the_resampled_interval_covers() -> None:
    """Student's takes the scatter to be the same at every width, and is too short where it is not."""
    hits = np.zeros((400, 2), dtype=bool)
    for trial in range(400):
        values = powers([-0.3], noise=1.0, widths=[4.0, 64.0, 128.0, 256.0], seed=trial).isel(
            step=0, drop=True
        )
        for place, chosen in enumerate((generator(trial), None)):
            low, high = size_dependence(values, chosen, resamples=300).interval
            hits[trial, place] = low <= -0.3 <= high
    resampled, pooled = hits.mean(axis=0)
    assert resampled > 0.92
    assert pooled < 0.9


def test_what_has_no_logarithm_leaves_its_width_out_and_is_counted_by_kind() -> None:
    values = [[1, 1], [2, math.nan], [4, 4], [0, 8], [16, -1], [math.inf, 1], [64, 64]]
    found = size_dependence(finals(values, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]))
    assert found.sizes == (1.0, 4.0, 64.0)
    assert (found.runs, found.lost, found.unresolved, found.negative) == (6, 2, 1, 1)
    assert found.slope == pytest.approx(1.0)
    assert found.fair_interval == (-math.inf, math.inf)
    assert "2 diverged or missing and 1 zero or below rounding and 1 negative" in found.without
    assert "N = 1, 4, 64 entered" in found.without


@pytest.mark.parametrize("values", [[[1.0], [math.nan]], [[-1.0], [2.0]], [[1e-30], [1.0]]])
def test_one_width_with_values_has_no_slope_and_says_why(values: list[list[float]]) -> None:
    found = size_dependence(finals(values, [1.0, 2.0]))
    assert math.isnan(found.slope)
    assert found.interval == (-math.inf, math.inf)
    assert found.without


def test_two_points_give_a_slope_without_an_interval() -> None:
    assert size_dependence(finals([[1], [2]], [1.0, 2.0])).interval == (-math.inf, math.inf)
    with pytest.raises(InputError, match="number of finite widths that count is 1"):
        size_dependence(finals([[1], [2]], [1.0, math.inf]))


def test_the_floor_is_that_of_the_whole_run_where_it_is_passed() -> None:
    """The final values alone do not show that they are rounding; their runs do."""
    final = finals([[1.1e-32, 1.2e-32], [2e-32, 2.1e-32]], [64.0, 128.0])
    assert not math.isnan(size_dependence(final).slope)
    found = size_dependence(final, floor=2e-28)
    assert math.isnan(found.slope)
    assert found.unresolved == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resamples": 1}, "number of resamples is 1"),
        ({"resamples": 0}, "number of resamples is 0"),
        ({"level": 1.0}, "level is 1.0"),
        ({"level": 95}, "level is 95"),
        ({"generator": None}, "generator is None"),
        ({"generator": np.random}, "generator is .*accepted: a numpy.random.Generator"),
        ({"over": "seed"}, "size is seed"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"values": curves(0.0, noise=0.1), "generator": generator()} | changes
    with pytest.raises(InputError, match=words) as refused:
        size_slopes(**settings)
    assert "\n" not in str(refused.value)
