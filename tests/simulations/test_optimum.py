from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import optimize
from superconsistency.errors import InputError
from superconsistency.simulations import Ensemble, simulate
from superconsistency.simulations.optimum import (
    best_rates,
    check_width,
    drift_towards_limit,
    judge_rates,
    largest_rate,
)
from superconsistency.stats.dependence import DEPENDS, INDEPENDENT
from superconsistency.theory import IsotropicTarget, parametrization, uniform_target

MUP, NTP, SP = (parametrization(name) for name in ("mup", "ntp", "sp"))
TARGET = IsotropicTarget(20, 1.0)


def mean_loss(table: Any, target: Any, width: float, seed: int, rate: float, steps: Any) -> float:
    record = simulate(Ensemble(table, target, (width,), (rate,), (seed,)), record_at=steps)
    return float(record["loss"].mean(skipna=False))


@pytest.mark.parametrize(("dimension", "width"), [(1, 30), (4, 1), (4, 3), (20, 500)])
def test_the_best_rate_is_that_of_a_general_minimiser(dimension: int, width: int) -> None:
    target = uniform_target(dimension, 1.0)
    found = best_rates(MUP, target, widths=(width,), seeds=(3,), step=6).isel(width=0, seed=0)
    best = float(found["best_rate"])
    oracle = optimize.minimize_scalar(
        lambda log_rate: mean_loss(MUP, target, width, 3, math.exp(log_rate), range(1, 7)),
        bracket=(math.log(best) - 0.02, math.log(best) + 0.02),
        options={"xtol": 1e-6},
    )
    assert best == pytest.approx(math.exp(oracle.x), rel=1e-3)
    assert float(found["best_loss"]) == pytest.approx(oracle.fun, rel=1e-4, abs=1e-9)


def test_no_rate_of_a_fine_grid_does_better() -> None:
    found = best_rates(NTP, TARGET, widths=(64,), seeds=(0, 1), step=5, objective="last")
    rates = tuple(float(found["reference"][0]) * np.geomspace(0.02, 1.25, 400))
    loss = simulate(Ensemble(NTP, TARGET, (64,), rates, (0, 1)), record_at=(5,))["loss"].isel(width=0, step=0)
    least = loss.min("learning_rate").to_numpy()
    assert (found["best_loss"].to_numpy()[0] <= least * (1 + 1e-9)).all()


def test_the_kernel_limit_is_solved_best_at_half_its_largest_stable_rate() -> None:
    """At infinite width NTP multiplies the residual by 1 - 2 eta0/D: gone after one step at D/2."""
    found = best_rates(NTP, TARGET, widths=(math.inf,), seeds=(0,))
    assert float(found["best_rate"][0, 0]) == pytest.approx(10.0, rel=1e-5)
    assert float(found["reference"][0]) == pytest.approx(20.0)


def test_the_best_rate_under_mup_nears_its_limit_as_the_root_of_width_and_under_sp_falls_as_its_inverse() -> (
    None
):
    widths = (1024, 16384, 10**6, 10**9)
    mup = judge_rates(
        best_rates(MUP, TARGET, widths=(*widths, math.inf), seeds=range(8)), np.random.default_rng(0)
    )
    assert mup.drift.verdict == INDEPENDENT
    assert mup.approach is not None
    assert mup.approach.exponent == pytest.approx(-0.5, abs=0.08)
    sp = judge_rates(best_rates(SP, TARGET, widths=widths, seeds=range(3)), np.random.default_rng(0))
    assert sp.approach is None
    assert sp.drift.verdict == DEPENDS
    np.testing.assert_allclose(sp.drift.slopes["slope"], -1, atol=0.02)


def test_several_rates_at_which_a_wide_network_has_nothing_left_are_said() -> None:
    last = best_rates(MUP, TARGET, widths=(10**9,), seeds=(0,), step=5, objective="last")
    assert int(last["minima"][0, 0]) > 1
    mean = best_rates(MUP, TARGET, widths=(10**9,), seeds=(0,), step=5)
    assert int(mean["minima"][0, 0]) == 1
    assert not bool(last["at_edge"].any())


def test_an_optimum_beyond_the_grid_is_flagged_and_kept_out_of_the_drift() -> None:
    """One step from the start is best at D/2 in the limit, beyond what is stable later."""
    found = best_rates(MUP, IsotropicTarget(20, 1.0), widths=(math.inf,), seeds=(0,), step=1)
    assert bool(found["at_edge"].all())
    found = found.assign_coords(width=[64.0]).isel(width=[0, 0]).assign_coords(width=[64.0, 128.0])
    drift = judge_rates(found, np.random.default_rng(0)).drift
    assert drift.independent_from is None


def test_the_largest_rate_is_the_lesser_of_the_two_bounds() -> None:
    start = simulate(Ensemble(MUP, TARGET, (256,), (1.0,), (0, 1)), record_at=(0,), quantities=("sharpness",))
    expected = min(2 / float(start["sharpness"].mean()), math.sqrt(20))
    assert largest_rate(MUP, TARGET, 256, (0, 1)) == pytest.approx(expected)
    assert largest_rate(SP, TARGET, 10**6, (0,)) == pytest.approx(2 * 20 / 10**6, rel=0.05)


def test_an_approach_needs_a_limit_and_two_widths() -> None:
    rates = best_rates(MUP, TARGET, widths=(64, math.inf), seeds=(0,), refinements=0)
    assert drift_towards_limit(rates, np.random.default_rng(0)) is None
    assert drift_towards_limit(rates.isel(width=[0]), np.random.default_rng(0)) is None


@pytest.mark.parametrize("name", ["mup", "ntp", "sp"])
def test_a_check_tells_the_parametrizations_apart(name: str) -> None:
    widths = (64, 1024, 16384, 65536, 10**6, 10**7)
    check = check_width(
        parametrization(name), TARGET, np.random.default_rng(0), widths=widths, seeds=range(10), steps=20
    )
    assert check.training.verdict == (INDEPENDENT if name == "mup" else DEPENDS)
    assert isinstance(check.record, xr.Dataset)
    if name == "mup":
        assert check.training.independent_from is not None
        assert check.drift.verdict == INDEPENDENT
    if name == "ntp":
        assert check.training.level.verdict == INDEPENDENT
        wide = check.training.change.wide_slopes
        np.testing.assert_allclose(wide["slope"], -1, atol=0.1)
    if name == "sp":
        assert "diverged" in check.training.level.sentence
        assert check.drift.verdict == DEPENDS


def test_a_zero_target_and_one_step_are_checked_too() -> None:
    check = check_width(
        MUP, IsotropicTarget(3, 0.0), np.random.default_rng(0), widths=(8, 64), seeds=range(3), steps=1
    )
    assert math.isfinite(check.learning_rate)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step": 0}, "step of the loss"),
        ({"objective": "best"}, "objective"),
        ({"refinements": 99}, "refinements"),
        ({"widths": ()}, "widths"),
        ({"seeds": (1, 1)}, "seeds"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        best_rates(MUP, TARGET, **({"widths": (8,), "seeds": (0,)} | changes))
    assert "\n" not in str(refused.value)
