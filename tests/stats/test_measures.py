"""The statistics of claims against runs whose numbers are known, and what keeps them from deciding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.stats.measured import Measured, Statistic
from superconsistency.stats.measures import Drift, ExponentInTime, Mean, SlopeOnSize
from superconsistency.stats.reach import ArrivalTime, Reach
from superconsistency.stats.slopes import size_slopes
from superconsistency.stats.transfer import transfer_verdict
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Above, Below, Between, Outside, Within
from superconsistency.stats.windows import AfterArrival, Last, Steps

from .made_up import STEPS, WIDE, bowls, curves, generator, losses, powers


def at_the_edge(arrivals: Any = (2, 2, 4, 4), *, seeds: int = 6, noise: float = 0.02) -> xr.DataArray:
    """Sharpness that rises until the step of arrival and then stays near the edge 2, whatever the width."""
    logs = np.array([[0.0 if step >= late else -1.0 for step in STEPS] for late in arrivals])
    draws = generator().standard_normal((4, seeds, len(STEPS)))
    values = 2 * np.exp(logs[:, None] + noise * draws)
    axes = {"width": WIDE, "seed": range(seeds), "step": STEPS}
    return xr.DataArray(values, axes, ("width", "seed", "step"))


def test_the_slope_on_size_is_judged_at_every_step_of_the_window_by_intervals_that_hold_together() -> None:
    values = powers([1.0, 0.5, 0.0, 0.0], noise=0.001)
    measured = Measured(values)
    found = SlopeOnSize()(generator(), measured, window=Last(2, after=0.0))
    expected = size_slopes(values.isel(step=[2, 3]), generator())
    np.testing.assert_allclose(
        np.array(found.family).T, [expected["family_lower"], expected["family_upper"]], rtol=1e-9
    )
    assert found.judged(Within(0.05)) == SHOWN
    assert SlopeOnSize()(generator(), measured).judged(Within(0.05)) == REFUTED
    assert SlopeOnSize()(generator(), measured).judged(Outside(0.05)) == REFUTED  # it is zero at two steps
    falling = SlopeOnSize()(generator(), Measured(1 / values), window=Steps(0, 1))
    assert falling.judged(Below(0.0)) == SHOWN
    assert "slope on width -1.000" in falling.words


def test_the_window_opens_once_every_run_has_arrived() -> None:
    sharpness = at_the_edge()
    measured = Measured(sharpness, sharpness=sharpness, edge=2.0)
    found = SlopeOnSize()(generator(), measured, window=AfterArrival(0.8))
    assert len(found.family) == 3  # from step 4 on
    assert found.judged(Within(0.05)) == SHOWN
    assert SlopeOnSize()(generator(), Measured(sharpness)).judged(Within(0.05)) == REFUTED
    never = Measured(sharpness, sharpness=sharpness, edge=20.0)
    open_one = SlopeOnSize()(generator(), never, window=AfterArrival(0.8))
    assert open_one.open == "24 of 24 runs have no step from the arrival at 0.8 of the edge on"
    assert open_one.judged(Within(0.05)) == UNDECIDED


def test_one_slope_of_the_means_over_the_window() -> None:
    values = powers([0.3, -0.1, -0.1, -0.1], noise=0.01)
    found = SlopeOnSize(averaged=True)(generator(), Measured(values), window=Last(3, after=0.0))
    assert len(found.family) == 1
    assert found.value == pytest.approx(-0.1, abs=0.01)
    assert found.judged(Below(0.0)) == SHOWN


def test_the_mean_over_the_edge_is_that_of_each_width_from_its_runs_own_arrivals_on() -> None:
    sharpness = at_the_edge()
    measured = Measured(sharpness / 2, sharpness=sharpness, edge=2.0)
    found = Mean()(generator(), measured, window=AfterArrival(0.8))
    assert found.judged(Between(0.8, 1.3)) == SHOWN
    assert len(found.family) == 4
    assert found.value == pytest.approx(1.0, abs=0.01)
    assert Mean()(generator(), Measured(sharpness / 2)).judged(Between(0.8, 1.3)) == REFUTED


def test_intervals_of_means_hold_for_all_widths_together_as_often_as_they_say() -> None:
    hits = []
    for trial in range(400):
        values = 1 + 0.2 * powers([0.0], noise=0.0).copy(data=generator(trial).standard_normal((4, 8, 1)))
        found = Mean(resamples=300)(generator(trial), Measured(values))
        hits.append(all(low <= 1 <= high for low, high in found.family))
    assert 0.92 <= np.mean(hits) <= 0.98


def test_exponents_in_time_are_judged_for_all_widths_together_from_the_arrival_on() -> None:
    sharpness = at_the_edge((2, 2, 2, 2))
    after = np.where(STEPS >= 2, (np.maximum(STEPS, 1) / 2.0) ** -0.7, 1e-3)
    distance = sharpness.copy(data=after * np.exp(0.02 * generator(1).standard_normal(sharpness.shape)))
    measured = Measured(distance, sharpness=sharpness, edge=2.0)
    found = ExponentInTime()(generator(), measured, window=AfterArrival(0.8))
    assert found.judged(Below(0.0)) == SHOWN
    assert found.judged(Between(-0.9, -0.6)) == SHOWN
    assert len(found.family) == 4
    assert found.value == pytest.approx(-0.7, abs=0.03)
    short = ExponentInTime()(generator(), measured, window=Last(2, after=0.1))
    assert "2 measurements above rounding over the last 2 measurements" in short.open


def test_a_law_that_bends_decides_only_what_all_its_local_exponents_say() -> None:
    steps = np.r_[0, np.geomspace(1, 1000, 10).round()]
    axes = {"width": [64.0, 128.0], "seed": range(6), "step": steps}
    noise = np.exp(0.02 * generator().standard_normal((2, 6, 11)))
    grows = xr.DataArray((1 + 0.02 * steps) * noise, axes, ("width", "seed", "step"))
    found = ExponentInTime()(generator(), Measured(grows))
    assert found.judged(Within(0.4)) == UNDECIDED  # flat at first, steep at last
    assert found.interval[1] - found.interval[0] > 0.5


def test_the_drift_of_final_losses_is_that_of_the_transfer_verdict() -> None:
    final = losses(0.6, noise=0.05, seeds=6)
    start = xr.full_like(final, 10.0)
    values = xr.concat([start, final], dim=xr.DataArray([0, 16], dims="step", name="step"))
    found = Drift()(generator(), Measured(values))
    expected = transfer_verdict(final, generator())
    assert found.value == pytest.approx(expected.drift)
    assert found.interval == pytest.approx(expected.interval)
    assert found.judged(Within(0.25)) == REFUTED
    assert found.judged(Outside(0.25)) == SHOWN
    assert found.words == expected.sentence


@pytest.mark.parametrize(
    ("final", "judgement", "reason"),
    [
        (losses(0.05, noise=0.02, seeds=6), SHOWN, ""),
        (losses(0.05, noise=0.02, seeds=1), UNDECIDED, "one seed gives no interval"),
        (bowls([1.0, 1.0, 1.0, 64.0]), UNDECIDED, "try more rates"),
        (bowls([1.0, 4.0, 1.0]), REFUTED, ""),  # there and back: no drift, but a jump
        (losses(0.0, noise=0.5, seeds=3), UNDECIDED, ""),
    ],
)
def test_a_drift_is_open_where_the_transfer_verdict_is(
    final: xr.DataArray, judgement: Any, reason: str
) -> None:
    values = final.expand_dims(step=[8])
    found = Drift()(generator(), Measured(values))
    assert found.judged(Within(0.25)) == judgement
    assert reason in found.open
    assert bool(found.open) == bool(reason)


def every(values: xr.DataArray) -> tuple[tuple[Statistic, Measured], ...]:
    """Each statistic of one series with runs over the widths."""
    rates = bowls([1.0] * 4, widths=WIDE).expand_dims(step=STEPS)
    blank = xr.full_like(rates, np.nan)
    return (
        (SlopeOnSize(), Measured(values)),
        (Mean(), Measured(values)),
        (ExponentInTime(), Measured(values)),
        (ArrivalTime(), Measured(values)),
        (Drift(), Measured(blank)),
    )


def test_runs_that_are_missing_leave_every_statistic_open_with_their_number() -> None:
    """A claim is judged before anything has run, and says what it lacks."""
    empty = xr.full_like(at_the_edge(), np.nan)
    for statistic, measured in every(empty):
        found = statistic(generator(), measured)
        count = int(np.prod([size for name, size in measured.values.sizes.items() if name != "step"]))
        assert found.open == f"{count} of {count} runs are missing", statistic
        assert found.judged(Above(0.0)) == UNDECIDED
        assert set(statistic.keep) == set(measured.values.dims)
    reach = Reach()(generator(), *(Measured(every(empty)[-1][1].values) for _ in range(2)))
    assert "runs are missing" in reach.open


def test_a_few_missing_runs_are_told_from_diverged_ones_by_the_step_of_divergence() -> None:
    values = powers([0.0, 0.0, 0.0], noise=0.001)
    values[0, 0] = np.nan
    steps = xr.full_like(values.isel(step=0, drop=True), -1)
    assert SlopeOnSize()(generator(), Measured(values, steps)).open == "1 of 32 runs are missing"
    steps[0, 0] = 0
    found = SlopeOnSize()(generator(), Measured(values, steps))
    assert not found.open
    assert "diverged 1 at N = 64" in found.words
    assert found.judged(Within(0.05)) == SHOWN
    shuffled = steps.isel(width=[3, 1, 2, 0], seed=slice(None, None, -1))
    assert SlopeOnSize()(generator(), Measured(values, shuffled)) == found


@pytest.mark.parametrize("statistic", [SlopeOnSize(), Mean()])
def test_a_slope_over_the_widths_that_did_not_diverge_is_no_verdict_where_divergence_depends_on_width(
    statistic: Statistic,
) -> None:
    """As under standard parametrization at a rate that only narrow networks bear."""
    values = powers([0.0, 0.0, 0.0], noise=0.001)
    values[2:, :, 2] = np.nan
    found = statistic(generator(), Measured(values))
    assert (
        "the share of diverged runs depends on the width: diverged 8 at N = 1024, 8 at N = 4096" in found.open
    )


def test_networks_that_are_dead_leave_the_slope_open() -> None:
    values = powers([0.0, 0.0], noise=0.001)
    values[1, 3] = 0.0
    assert SlopeOnSize()(generator(), Measured(values)).open == "2 values are not above rounding throughout"


def test_a_leftover_axis_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="select one value of learning_rate"):
        SlopeOnSize()(generator(), Measured(curves(0.0, noise=0.1).expand_dims(learning_rate=[0.1])))
