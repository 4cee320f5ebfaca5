"""Super-consistency of made-up curves whose slopes, laws in time and optima are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.stats.consistency import consistency, distance_to_largest, growth
from superconsistency.stats.slopes import width_slopes
from superconsistency.stats.transfer import MOVES, OPEN, TRANSFERS, transfer_verdict
from superconsistency.stats.width import DEPENDS, INDEPENDENT, UNDECIDED

WIDTHS = np.array([16.0, 32.0, 64.0, 128.0])
STEPS = np.array([0, 1, 2, 4, 8, 16])
REPETITIONS = 2000
RATES = 2.0 ** np.arange(-4, 5)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def curves(slope: float, *, noise: float, seeds: int = 8, seed: int = 0, over: str = "width") -> xr.DataArray:
    """`(1 + t) N^slope` with independent noise of the logarithm."""
    draws = generator(seed).standard_normal((len(WIDTHS), seeds, len(STEPS)))
    logs = slope * np.log(WIDTHS)[:, None, None] + np.log1p(STEPS) + noise * draws
    return xr.DataArray(
        np.exp(logs), {over: WIDTHS, "seed": range(seeds), "step": STEPS}, (over, "seed", "step")
    )


def losses(drift: float, *, noise: float, seeds: int, seed: int = 0, start: float = 1.0) -> xr.DataArray:
    """`exp((log rate - log optimum)^2 / 2)`: the optimum moves by `drift` factors of two a doubling."""
    optima = start * (WIDTHS / WIDTHS[0]) ** drift
    draws = generator(seed).standard_normal((len(WIDTHS), len(RATES), seeds))
    logs = (np.log(RATES) - np.log(optima)[:, None]) ** 2 / 2
    return xr.DataArray(
        np.exp(logs[..., None] + noise * draws),
        {"width": WIDTHS, "learning_rate": RATES, "seed": range(seeds)},
        ("width", "learning_rate", "seed"),
    )


def covered(hits: list[bool]) -> float:
    return float(np.mean(hits))


def test_intervals_of_slopes_cover_at_their_nominal_rate() -> None:
    hits = []
    for repetition in range(REPETITIONS):
        values = curves(-0.2, noise=0.3, seeds=6, seed=repetition).isel(step=[-1])
        found = width_slopes(values, generator(repetition), resamples=400, level=0.9).isel(step=0)
        hits.append(bool(found["lower"] <= -0.2 <= found["upper"]))
    assert 0.87 <= covered(hits) <= 0.93


@pytest.mark.parametrize("seeds", [4, 12])
def test_intervals_of_drift_and_optima_cover_at_their_nominal_rate(seeds: int) -> None:
    drift, first = [], []
    for repetition in range(REPETITIONS):
        values = losses(0.3, noise=0.1, seeds=seeds, seed=repetition, start=0.8)
        found = transfer_verdict(values, generator(repetition), resamples=300)
        drift.append(found.interval[0] <= 0.3 <= found.interval[1])
        first.append(found.intervals[0][0] <= 0.8 <= found.intervals[0][1])
    assert 0.87 <= covered(drift) <= 0.93
    assert 0.87 <= covered(first) <= 0.93


@pytest.mark.parametrize(
    ("drift", "verdict"), [(0.0, TRANSFERS), (0.1, TRANSFERS), (0.6, MOVES), (-0.5, MOVES)]
)
def test_verdicts_on_transfer_are_those_of_the_known_drift(drift: float, verdict: str) -> None:
    found = transfer_verdict(
        losses(drift, noise=0.05, seeds=6, start=1.0 if drift >= 0 else 4.0), generator()
    )
    assert found.verdict == verdict, found.sentence
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
    assert found.verdict == OPEN
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
        assert (found.verdict, words in found.sentence) == (OPEN, True), found.sentence


def test_rates_that_diverge_are_counted_and_an_optimum_beside_one_is_marked() -> None:
    values = losses(0.0, noise=0.01, seeds=3)
    values[3, 5:, 0] = np.nan  # 2 and beyond at the widest
    found = transfer_verdict(values, generator())
    assert found.diverged == (0, 0, 0, 4)
    assert found.at_edge == (False, False, False, True)


@pytest.mark.parametrize(
    ("slope", "noise", "verdict"),
    [(0.0, 0.005, INDEPENDENT), (-0.5, 0.05, DEPENDS), (0.0, 1.0, UNDECIDED)],
)
def test_verdicts_on_consistency_are_those_of_the_known_slope(
    slope: float, noise: float, verdict: str
) -> None:
    found = consistency(curves(slope, noise=noise), generator(), name="sharpness")
    assert found.verdict == verdict, found.sentence
    assert found.slopes["slope"].to_numpy() == pytest.approx(slope, abs=4 * noise)


def test_depth_is_judged_as_width_is_and_called_depth() -> None:
    over_width = consistency(curves(-0.5, noise=0.05), generator())
    over_depth = consistency(curves(-0.5, noise=0.05, over="depth"), generator(), over="depth")
    assert "L = 16" in over_depth.sentence
    assert "width" not in over_depth.sentence
    np.testing.assert_array_equal(over_width.slopes["slope"], over_depth.slopes["slope"])


def test_the_distance_to_the_widest_has_the_power_of_time_that_was_put_in() -> None:
    values = curves(0.0, noise=0.0, seeds=2)
    values = values * 0 + 1 + (STEPS / WIDTHS[:, None] ** 0.5 * (WIDTHS[:, None] < 128))[:, None, :] ** 1.5
    distances = distance_to_largest(values)
    assert distances.sizes["width"] == 3
    assert [law.exponent for law in growth(distances, generator()).values() if law] == pytest.approx(
        [1.5] * 3
    )


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(InputError, match="number of recorded steps is 1"):
        consistency(curves(0.0, noise=0.1).isel(step=[0]), generator())
    with pytest.raises(InputError, match=r"dimensions is .*accepted: width, seed and step"):
        consistency(curves(0.0, noise=0.1).expand_dims("learning_rate"), generator())
    with pytest.raises(InputError, match="number of finite widths that count is 1"):
        consistency(curves(0.0, noise=0.1).isel(width=[0]), generator())
    with pytest.raises(InputError, match="number of widths with a best learning rate is 1"):
        transfer_verdict(losses(0.0, noise=0.1, seeds=3).isel(width=[0]), generator())
    with pytest.raises(InputError, match="size is height; accepted: width, depth"):
        consistency(curves(0.0, noise=0.1), generator(), over="height")


def at(optima: list[float], *, seeds: int = 6) -> xr.DataArray:
    """Losses with given optima, whatever their order."""
    widths = 16.0 * 2.0 ** np.arange(len(optima))
    draws = generator().standard_normal((len(optima), len(RATES), seeds))
    logs = (np.log(RATES) - np.log(optima)[:, None]) ** 2 / 2
    return xr.DataArray(
        np.exp(logs[..., None] + 0.02 * draws),
        {"width": widths, "learning_rate": RATES, "seed": range(seeds)},
        ("width", "learning_rate", "seed"),
    )


def test_an_optimum_that_jumps_there_and_back_does_not_transfer() -> None:
    found = transfer_verdict(at([1.0, 4.0, 1.0]), generator())
    assert abs(found.drift) < 0.1
    assert found.verdict == MOVES
    assert "but further between neighbouring widths" in found.sentence


def test_transfer_is_not_claimed_where_the_widest_may_lie_beyond_the_grid() -> None:
    found = transfer_verdict(at([1.0, 1.0, 1.0, 64.0, 64.0]), generator())
    assert found.at_edge == (False, False, False, True, True)
    assert found.verdict == OPEN
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
