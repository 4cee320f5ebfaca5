from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import optimize
from superconsistency.errors import InputError
from superconsistency.simulations import Ensemble, simulate
from superconsistency.simulations.optimum import best_rates, largest_rate, plan_best_rates
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


def test_several_rates_at_which_a_wide_network_has_nothing_left_are_said() -> None:
    last = best_rates(MUP, TARGET, widths=(10**9,), seeds=(0,), step=5, objective="last")
    assert int(last["minima"][0, 0]) > 1
    mean = best_rates(MUP, TARGET, widths=(10**9,), seeds=(0,), step=5)
    assert int(mean["minima"][0, 0]) == 1
    assert not bool(last["at_edge"].any())


def test_an_optimum_beyond_the_grid_is_flagged() -> None:
    """One step from the start is best at D/2 in the limit, beyond what is stable later."""
    found = best_rates(MUP, IsotropicTarget(20, 1.0), widths=(math.inf,), seeds=(0,), step=1)
    assert bool(found["at_edge"].all())


@pytest.mark.parametrize("target", [TARGET, uniform_target(20, 1.0)])
def test_a_plan_says_what_the_rates_are_of_and_is_what_is_filled(target: Any) -> None:
    settings: dict[str, Any] = {"widths": (8, 16), "seeds": (0, 1), "refinements": 0}
    planned, found = plan_best_rates(MUP, target, **settings), best_rates(MUP, target, **settings)
    assert planned.attrs == found.attrs
    assert {name: part.dtype for name, part in planned.items()} == {
        name: part.dtype for name, part in found.items()
    }
    assert json.loads(found.attrs["configuration"])["dimension"] == 20


def test_the_largest_rate_is_the_lesser_of_the_two_bounds() -> None:
    start = simulate(Ensemble(MUP, TARGET, (256,), (1.0,), (0, 1)), record_at=(0,), quantities=("sharpness",))
    expected = min(2 / float(start["sharpness"].mean()), math.sqrt(20))
    assert largest_rate(MUP, TARGET, 256, (0, 1)) == pytest.approx(expected)
    assert largest_rate(SP, TARGET, 10**6, (0,)) == pytest.approx(2 * 20 / 10**6, rel=0.05)


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
