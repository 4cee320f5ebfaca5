"""Interpolated optima, their drift and the verdict on it, against curves whose optima are known."""

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
from superconsistency.stats.optima import interpolated_optima, ties
from superconsistency.stats.transfer import transfer_verdict
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Judgement

from .made_up import RATES, WIDTHS, bowls, generator, losses

REPETITIONS = 2000


@pytest.mark.parametrize("seeds", [4, 12])
def test_intervals_of_drift_and_optima_cover_at_their_nominal_rate(seeds: int) -> None:
    drift, first = [], []
    for repetition in range(REPETITIONS):
        values = losses(0.3, noise=0.1, seeds=seeds, seed=repetition, start=0.8)
        found = transfer_verdict(values, generator(repetition), resamples=300)
        drift.append(found.interval[0] <= 0.3 <= found.interval[1])
        first.append(found.intervals[0][0] <= 0.8 <= found.intervals[0][1])
    assert 0.87 <= np.mean(drift) <= 0.93
    assert 0.87 <= np.mean(first) <= 0.93


@pytest.mark.parametrize(
    ("drift", "judgement"), [(0.0, SHOWN), (0.1, SHOWN), (0.6, REFUTED), (-0.5, REFUTED)]
)
def test_verdicts_on_transfer_are_those_of_the_known_drift(drift: float, judgement: Judgement) -> None:
    found = transfer_verdict(
        losses(drift, noise=0.05, seeds=6, start=1.0 if drift >= 0 else 4.0), generator()
    )
    assert found.judgement == judgement, found.sentence
    assert found.drift == pytest.approx(drift, abs=0.1)
    assert not any(found.at_edge)


def test_the_excess_is_the_loss_of_the_widest_at_the_narrowest_best_rate() -> None:
    found = transfer_verdict(losses(0.4, noise=0.0, seeds=2), generator())
    expected = math.exp((0.4 * math.log(8)) ** 2 / 2) - 1
    assert found.excess == pytest.approx(expected, rel=0.02)
    assert "at the smallest one's best rate the largest has 4" in found.sentence


@pytest.mark.parametrize("direction", [1, -1])
def test_no_verdict_comes_of_curves_that_only_rise_or_fall(direction: int) -> None:
    values = losses(0.0, noise=0.02, seeds=6)
    monotone = values.copy(data=np.exp(direction * np.log(RATES))[None, :, None] * np.exp(0 * values))
    found = transfer_verdict(monotone, generator())
    assert found.judgement == UNDECIDED
    assert all(found.at_edge)
    assert "may lie beyond the grid at width 16, 32, 64, 128: try more rates" in found.sentence
    assert math.isnan(found.excess)


def test_no_verdict_comes_of_one_seed_two_widths_or_noise() -> None:
    for values, words in (
        (losses(0.0, noise=0.0, seeds=1), "one seed gives no interval: add seeds"),
        (losses(0.0, noise=0.0, seeds=4).isel(width=[0, 1]), "2 widths are too few"),
        (losses(0.0, noise=0.5, seeds=3), "neither within"),
    ):
        found = transfer_verdict(values, generator())
        assert (found.judgement, words in found.sentence) == (UNDECIDED, True), found.sentence


def test_rates_that_diverge_are_counted_and_an_optimum_beside_one_is_marked() -> None:
    values = losses(0.0, noise=0.01, seeds=3)
    values[3, 5:, 0] = np.nan  # 2 and beyond at the widest
    found = transfer_verdict(values, generator())
    assert found.diverged == (0, 0, 0, 4)
    assert found.at_edge == (False, False, False, True)


def test_an_optimum_that_jumps_there_and_back_does_not_transfer() -> None:
    found = transfer_verdict(bowls([1.0, 4.0, 1.0]), generator())
    assert abs(found.drift) < 0.1
    assert found.judgement == REFUTED
    assert "but further between neighbouring widths" in found.sentence


def test_transfer_is_not_claimed_where_the_widest_may_lie_beyond_the_grid() -> None:
    found = transfer_verdict(bowls([1.0, 1.0, 1.0, 64.0, 64.0]), generator())
    assert found.at_edge == (False, False, False, True, True)
    assert found.judgement == UNDECIDED
    assert "without width 128, 256, at the edge of the grid: try more rates" in found.sentence


def test_a_loss_of_zero_is_the_best_there_is() -> None:
    values = losses(0.0, noise=0.01, seeds=3)
    values[:, 4] = 0.0
    found = transfer_verdict(values, generator())
    assert found.optima == pytest.approx([1.0] * 4, rel=0.02)
    assert found.excess >= -1e-6


def test_the_excess_is_unknown_beside_a_divergence() -> None:
    values = losses(0.0, noise=0.01, seeds=3, start=1.2)
    values[0] = losses(0.0, noise=0.01, seeds=3, start=4.5)[0]
    found = transfer_verdict(values, generator())
    assert 4 < found.optima[0] < 8
    assert math.isfinite(found.excess)
    values[3, 7:] = np.nan  # 8 and beyond
    found = transfer_verdict(values, generator())
    assert not found.at_edge[3]
    assert math.isnan(found.excess)


@given(
    drift=st.floats(-0.5, 0.5),
    start=st.floats(0.6, 1.6),
    widths=st.lists(st.sampled_from([16.0, 32.0, 64.0, 128.0]), min_size=3, max_size=4, unique=True),
)
def test_a_parabola_in_logarithms_is_found_exactly(drift: float, start: float, widths: list[float]) -> None:
    sizes = np.sort(widths)
    best = start * (sizes / 32) ** drift
    found = transfer_verdict(bowls(best, noise=0.0, seeds=1, widths=sizes), generator())
    np.testing.assert_allclose(found.optima, best, rtol=1e-6)
    assert found.drift == pytest.approx(drift, abs=1e-6)
    assert not any(found.at_edge)
    assert found.line[0] == pytest.approx(drift, abs=1e-6)


def test_one_seed_has_the_interval_of_a_line_through_the_widths() -> None:
    sizes = 16.0 * 2.0 ** np.arange(5)
    values = bowls((sizes / 64) ** 0.25, noise=0.02, seeds=1, widths=sizes)
    found = transfer_verdict(values, generator())
    line = stats.linregress(np.log(sizes), np.log(found.optima))
    reach = stats.t.ppf(0.975, 3) * line.stderr
    np.testing.assert_allclose(found.line[0], line.slope, rtol=1e-9)
    np.testing.assert_allclose(found.line[1], (line.slope - reach, line.slope + reach), rtol=1e-6)
    assert found.interval == (-math.inf, math.inf)
    assert found.judgement == UNDECIDED


@pytest.mark.parametrize("over", ["depth", "heads"])
def test_any_size_axis_has_the_verdict_that_the_width_has(over: str) -> None:
    values = losses(0.6, noise=0.05, seeds=4)
    found = transfer_verdict(values.rename(width=over), generator(), over=over)
    assert found.sentence == transfer_verdict(values, generator()).sentence.replace("width", over)


def test_order_of_axes_and_values_does_not_matter() -> None:
    values = losses(0.1, noise=0.05, seeds=4)
    shuffled = values.isel(width=[2, 0, 3, 1], learning_rate=slice(None, None, -1)).transpose("seed", ...)
    assert transfer_verdict(shuffled, generator()) == transfer_verdict(values, generator())


@pytest.mark.parametrize("lost", [1, 3, 4])
def test_widths_at_which_nothing_trains_are_said_and_leave_the_verdict_open(lost: int) -> None:
    values = losses(0.0, noise=0.02, seeds=3)
    values[:lost] = np.nan
    found = transfer_verdict(values, generator())
    assert found.judgement == UNDECIDED
    named = ", ".join(f"{width:g}" for width in WIDTHS[:lost])
    assert f"width {named}, where no rate trains every seed" in found.sentence or (
        f"no rate trains every seed at width {named}: try smaller ones" in found.sentence
    )
    assert found.sizes == tuple(WIDTHS[lost:])


def table(
    loss: Any, rates: Any = tuple(RATES[1:-1]), widths: Any = tuple(WIDTHS), noise: float = 0.0
) -> xr.DataArray:
    """Losses of three seeds that are a function of the rate."""
    draws = generator(1).standard_normal((len(widths), len(rates), 3))
    values = np.array([loss(rate) for rate in rates])[None, :, None] * np.exp(noise * draws)
    axes = {"width": list(widths), "learning_rate": list(rates), "seed": range(3)}
    return xr.DataArray(values, axes, ("width", "learning_rate", "seed"))


def bowl(rate: float) -> float:
    return math.exp(0.1 * (math.log2(rate) - 0.3) ** 2)


def test_rates_that_are_equally_good_are_no_best_rate() -> None:
    """Losses of exactly zero, as of networks that have learned everything at three rates."""
    found = transfer_verdict(table(lambda rate: 0.0 if 0.4 < rate < 3 else 1.0), generator())
    assert found.judgement == UNDECIDED
    assert all(found.tied)
    assert not any(found.at_edge)
    np.testing.assert_allclose(found.intervals, [(0.5, 2.0)] * 4)
    assert "several rates share the least loss at width 16, 32, 64, 128" in found.sentence
    assert "0.5 to 2 (tied)" in found.sentence


def test_a_loss_that_is_the_same_at_every_rate_has_no_best_rate_inside_or_beyond() -> None:
    found = transfer_verdict(table(lambda _: 1.0), generator())
    assert found.judgement == UNDECIDED
    assert (
        "the loss is the same at every rate at width 16, 32, 64, 128: no rate is the best" in found.sentence
    )
    assert "beyond the grid" not in found.sentence


def test_losses_below_rounding_are_equally_good() -> None:
    """1e-30 at one rate and 1e-31 at the next are both zero, whatever their order."""
    values = table(lambda rate: 1e-30 * rate**2 if 0.4 < rate < 3 else 1.0, noise=0.5)
    found = transfer_verdict(values, generator())
    assert all(found.tied)
    resolved = transfer_verdict(values, generator(), floor=0.0)
    assert not any(resolved.tied)
    floor = xr.full_like(values, 1e-4)
    floor[:, 3:] = 1.0  # large rates overshoot first; that is no reason to know less of small ones
    assert transfer_verdict(values, generator(), floor=floor).tied == (True,) * 4


def test_two_neighbours_that_are_equally_good_have_the_best_rate_between_them() -> None:
    values = bowls([2**0.5] * 4, noise=0.0, seeds=3)
    found = transfer_verdict(values, generator())
    assert found.judgement == SHOWN
    assert not any(found.tied)
    assert found.optima == pytest.approx([2**0.5] * 4)


def test_a_width_without_a_single_best_rate_leaves_the_verdict_open() -> None:
    values = losses(0.0, noise=0.02, seeds=3)
    values[3] = 1.0
    found = transfer_verdict(values, generator())
    assert found.judgement == UNDECIDED
    assert "without width 128, where several rates are equally good: try more rates" in found.sentence


def test_rates_of_two_joined_grids_that_differ_by_rounding_are_one() -> None:
    values = table(bowl, [0.3, 0.1 + 0.2, 0.6, 1.2, 2.4], noise=0.01)
    values.loc[{"learning_rate": 0.3, "width": [64, 128]}] = np.nan
    values.loc[{"learning_rate": 0.1 + 0.2, "width": [16, 32]}] = np.nan
    found = transfer_verdict(values, generator())
    assert found.judgement == SHOWN
    assert found.diverged == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"losses": table(lambda rate: bowl(rate) - 2.0)}, "least loss is -.*accepted: at least 0"),
        (
            {"losses": table(bowl, [0.5, 1, 1 + 1e-15, 2, 4])},
            "learning rate values is .1.0, 1.000000000000001",
        ),
        ({"losses": table(bowl, [0.5, 1, 1, 2, 4])}, "learning rate values is .1.0, 1.0"),
        ({"losses": table(lambda rate: rate, [0, 0.5, 1, 2, 4])}, "learning rate is 0.0"),
        ({"losses": table(bowl, widths=(64.0, 64.0, 128.0, 256.0))}, "width values is .64.0, 64.0"),
        ({"losses": table(bowl).expand_dims(step=[1, 2])}, "remedy: select one value of step"),
        ({"losses": table(bowl).isel(seed=0)}, "remedy: add the axis: values.expand_dims.'seed'"),
        ({"losses": table(bowl).isel(width=[0])}, "number of finite widths that count is 1"),
        ({"resamples": 1}, "number of resamples is 1"),
        ({"resamples": 0}, "number of resamples is 0"),
        ({"level": 95}, "level is 95"),
        ({"level": 1.0}, "level is 1.0"),
        ({"level": 0}, "level is 0"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"generator": 3}, "generator is 3"),
        ({"over": "learning_rate"}, "size is learning_rate"),
    ],
)
def test_losses_and_settings_that_make_no_sense_are_refused_in_one_line(
    changes: dict[str, Any], words: str
) -> None:
    settings: dict[str, Any] = {"losses": table(bowl, noise=0.05), "generator": generator()} | changes
    with pytest.raises(InputError, match=words) as refused:
        transfer_verdict(**settings)
    assert "\n" not in str(refused.value)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, math.inf]), min_size=1, max_size=6))
def test_ties_are_those_of_a_search_by_hand(row: list[float]) -> None:
    finite = [value for value in row if math.isfinite(value)]
    lowest = [place for place, value in enumerate(row) if finite and value == min(finite)]
    tied = bool(lowest) and lowest[-1] - lowest[0] > 1
    expected = [tied and place in lowest for place in range(len(row))]
    assert ties(np.array([row]))[0].tolist() == expected


@pytest.mark.parametrize("count", [1, 2])
def test_an_optimum_of_fewer_than_three_rates_may_always_lie_beyond(count: int) -> None:
    found = interpolated_optima(np.arange(float(count)), np.ones((3, count)))
    assert found.at_edge.all()


def test_a_carried_rate_that_costs_nothing_is_said_to_cost_no_more() -> None:
    values = losses(0.0, noise=0.05, seeds=3)
    found = transfer_verdict(values, generator())
    costs = "no more loss" if found.excess <= 0 else "% more loss"
    assert found.sentence.endswith(costs)
