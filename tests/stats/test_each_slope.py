from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from superconsistency.stats.each_slope import SlopeOfEach
from superconsistency.stats.measured import Measured
from superconsistency.stats.measures import SlopeOnSize
from superconsistency.stats.power_laws import power_law_fit
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Between, Within

WIDTHS, LAYERS, STEPS = [64.0, 128.0, 256.0], ["first", "second"], [1, 2, 3]


def planted(exponents: dict[str, float], seeds: int = 8, spread: float = 0.01) -> Measured:
    generator = np.random.default_rng(0)
    noise = np.exp(spread * generator.standard_normal((2, 3, seeds, 3)))
    law = np.array([[width ** exponents[layer] for width in WIDTHS] for layer in LAYERS])
    coordinates = {"layer": LAYERS, "width": WIDTHS, "seed": range(seeds), "step": STEPS}
    return Measured(xr.DataArray(law[:, :, None, None] * noise, coordinates, tuple(coordinates)))


def test_every_layer_and_step_has_its_slope() -> None:
    statistic = SlopeOfEach()
    found = statistic.slopes(np.random.default_rng(0), planted({"first": 0.0, "second": -0.5}))
    assert [member.place for member in found] == [(layer, step) for layer in LAYERS for step in STEPS]
    for member in found:
        assert member.slope == pytest.approx(-0.5 if member.place[0] == "second" else 0.0, abs=0.02)
        assert member.interval[0] < member.slope < member.interval[1]


@pytest.mark.parametrize(("exponent", "verdict"), [(0.0, SHOWN), (0.2, REFUTED), (-0.3, REFUTED)])
def test_one_layer_that_depends_on_width_is_found_among_others(exponent: float, verdict: str) -> None:
    found = SlopeOfEach()(np.random.default_rng(0), planted({"first": 0.0, "second": exponent}))
    assert found.judged(Within(0.05)) == verdict
    assert len(found.family) == 6
    if verdict == REFUTED:
        assert "layer second" in found.words


def test_the_intervals_of_many_hold_at_once_and_are_wider_than_one_alone() -> None:
    measured = planted({"first": 0.0, "second": 0.0})
    whole = SlopeOfEach().slopes(np.random.default_rng(0), measured)
    one = SlopeOfEach(("step",)).slopes(
        np.random.default_rng(0), Measured(measured.values.sel(layer="first", step=[1]))
    )
    assert np.ptp(whole[0].interval) > np.ptp(one[0].interval)
    assert whole[0].slope == pytest.approx(one[0].slope, rel=1e-9)


def test_a_family_of_one_is_a_power_law_through_the_means() -> None:
    values = planted({"first": -0.5, "second": 0.0}, spread=0.2).values.sel(layer="first").isel(step=0)
    alone = Measured(values.rename(seed="start").drop_vars(["layer", "step"]))
    found = SlopeOfEach((), "start")(np.random.default_rng(0), alone)
    law = power_law_fit(
        WIDTHS, values.transpose("seed", "width"), generator=np.random.default_rng(0), paired=False
    )
    assert found.value == pytest.approx(law.exponent)
    assert found.interval == pytest.approx(law.interval, abs=0.05)
    assert found.judged(Between(-0.8, -0.2)) == SHOWN


def test_a_spread_that_falls_with_width_is_no_dependence_of_the_mean() -> None:
    generator, spreads = np.random.default_rng(0), np.array([0.8, 0.4, 0.2])
    noise = np.exp(spreads[:, None] * generator.standard_normal((3, 4000)) - spreads[:, None] ** 2 / 2)
    values = xr.DataArray(noise, {"width": WIDTHS, "seed": range(4000)}, ("width", "seed"))
    found = SlopeOfEach((), resamples=200)(np.random.default_rng(0), Measured(values))
    logs = SlopeOnSize(averaged=True, resamples=200)(
        np.random.default_rng(0), Measured(values.expand_dims("step"))
    )
    assert found.judged(Within(0.05)) == SHOWN
    assert logs.judged(Within(0.05)) == REFUTED


@pytest.mark.parametrize("seeds", [4, 16])
def test_the_intervals_cover_all_slopes_at_once(seeds: int) -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(100):
        noise = np.exp(0.1 * rng.standard_normal((3, seeds, 6)))
        places = {"width": WIDTHS, "seed": range(seeds), "step": range(6)}
        values = xr.DataArray(noise, places, tuple(places))
        slopes = SlopeOfEach(("step",), resamples=300).slopes(rng, Measured(values))
        held += all(low <= 0 <= high for _, _, (low, high) in slopes)
    assert 0.9 < held / 100 <= 1


def test_one_run_of_each_size_decides_nothing() -> None:
    found = SlopeOfEach()(np.random.default_rng(0), planted({"first": 0.0, "second": 0.0}, seeds=1))
    assert found.judged(Within(0.05)) == UNDECIDED


@pytest.mark.parametrize("value", [np.nan, 0.0, -1.0, np.inf])
def test_a_value_without_a_logarithm_leaves_everything_open(value: float) -> None:
    measured = planted({"first": 0.0, "second": 0.0})
    measured.values[0, 0, 0, 0] = value
    found = SlopeOfEach()(np.random.default_rng(0), measured)
    assert found.open == "1 of 144 values are missing, zero or negative"
