from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.records import NEVER
from superconsistency.simulations import Ensemble, schedule, simulate, trajectory
from superconsistency.theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    IsotropicTarget,
    evolve,
    initial_state,
    limit_state,
    parametrization,
    uniform_target,
)


def ensemble(name: str = "mup", **changes: Any) -> Ensemble:
    base = Ensemble(parametrization(name), uniform_target(4, 1.5), (2, 16), (0.05, 0.1), (0, 1, 2))
    return replace(base, **changes)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize("width", [1, 3, 5, 30])
def test_every_trajectory_is_that_of_the_closed_form(name: str, width: int) -> None:
    runs = ensemble(name, widths=(width,))
    record = simulate(runs, record_at=(0, 7, 20), quantities=tuple(OBSERVABLES), start=initial_state)
    problem = runs.problem(width)
    for rate, seed in ((0.05, 2), (0.1, 0)):
        state = initial_state(problem, runs.generator(width, seed))
        for _ in range(20):
            state = evolve(state, problem, rate)
        found = record.sel(width=width, learning_rate=rate, seed=seed, step=20)
        for quantity, observable in OBSERVABLES.items():
            expected = float(observable.compute(state, problem))
            assert float(found[quantity]) == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_all_methods_agree_where_the_rank_is_full() -> None:
    runs = ensemble(widths=(12,))
    full, factored, reduced = (
        simulate(runs, record_at=schedule(50), start=initial_state, method=method)["loss"]
        for method in ("full", "factored", "reduced")
    )
    np.testing.assert_allclose(full, factored, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(full, reduced, rtol=1e-9, atol=1e-15)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (simulate(ensemble(), record_at=schedule(30, 10)) for _ in range(2))
    assert first.identical(second)


def test_a_run_does_not_depend_on_what_else_is_in_the_ensemble() -> None:
    alone = simulate(ensemble(widths=(16,), seeds=(2,)), record_at=schedule(30))
    among = simulate(ensemble(), record_at=schedule(30)).sel(width=[16], seed=[2])
    np.testing.assert_array_equal(alone["loss"], among["loss"])


def test_networks_are_independent_between_widths_and_seeds() -> None:
    runs = ensemble()
    draws = {runs.generator(width, seed).standard_normal() for width in (2, 16, math.inf) for seed in (0, 1)}
    assert len(draws) == 6


def test_divergence_is_a_result_with_its_step() -> None:
    record = simulate(
        ensemble(learning_rates=(0.1, 50.0)), record_at=schedule(40), quantities=("loss", "sharpness")
    )
    fine, wild = (record.isel(learning_rate=index) for index in (0, 1))
    assert (fine["diverged_step"] == NEVER).all()
    assert np.isfinite(fine["sharpness"]).all()
    assert (wild["diverged_step"] > 0).all()
    for width in range(2):
        for seed in range(3):
            run = wild.isel(width=width, seed=seed)
            at = int(run["diverged_step"])
            assert np.isfinite(run["loss"][:at]).all()
            assert np.isnan(run["loss"][at:]).all()


def test_divergence_is_found_between_recorded_steps_too() -> None:
    runs = ensemble(learning_rates=(50.0,))
    every, last = (simulate(runs, record_at=steps)["diverged_step"] for steps in (schedule(40), (0, 40)))
    np.testing.assert_array_equal(every, last)


@pytest.mark.parametrize("method", ["auto", "full", "factored"])
def test_under_mup_only_the_start_depends_on_width(method: str) -> None:
    runs = ensemble(widths=(2, 5, 1000, math.inf))
    record = simulate(runs, record_at=schedule(60, 20), start=limit_state, method=method)
    for width in range(3):
        np.testing.assert_allclose(record["loss"].isel(width=width), record["loss"].isel(width=3), rtol=1e-9)


def test_a_factor_is_refused_where_it_does_not_hold_the_map() -> None:
    with pytest.raises(InputError, match="coupling is below"):
        simulate(ensemble("ntp", widths=(math.inf,)), record_at=(0, 1), method="factored")


def test_at_infinite_width_under_ntp_the_kernel_is_frozen() -> None:
    runs = ensemble("ntp", widths=(math.inf,))
    record = simulate(runs, record_at=schedule(50), quantities=("ntk_sharpness", "second_layer"))
    np.testing.assert_allclose(record["ntk_sharpness"], 0.5)
    np.testing.assert_allclose(record["second_layer"], 0.25)


def test_the_record_says_what_produced_it() -> None:
    record = simulate(ensemble(), record_at=(0, 1), start=initial_state)
    configuration = json.loads(record.attrs["configuration"])
    assert configuration["parametrization"] == "mup"
    chosen = {width: choice["method"] for width, choice in configuration["method"].items()}
    assert chosen == {"2": "factored", "16": "full"}
    assert configuration["method"]["2"]["reason"].startswith("N <= D")
    assert json.loads(record.attrs["versions"])["superconsistency"]
    assert record["loss"].attrs["units"]


def test_progress_ends_at_the_whole() -> None:
    calls: list[tuple[int, int]] = []
    simulate(ensemble(), record_at=schedule(30, 10), on_progress=lambda *call: calls.append(call))
    assert calls[-1][0] == calls[-1][1]
    assert sorted(calls) == calls


def test_complete_blocks_are_offered_for_saving() -> None:
    seen: list[int] = []
    simulate(
        ensemble(), record_at=(0, 5), on_block=lambda record: seen.append(int(record["completed"].sum()))
    )
    assert seen == [6, 12]


@pytest.mark.parametrize("changes", [{"target": np.ones(20_000), "method": "full"}, {"seeds": range(10**6)}])
def test_an_ensemble_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    method = changes.pop("method", "auto")
    with pytest.raises(InputError, match="at most"):
        simulate(ensemble(**changes), record_at=schedule(30), method=method)


def test_zero_steps_record_the_start() -> None:
    record = simulate(ensemble(), record_at=schedule(0))
    assert record.sizes["step"] == 1
    assert np.isfinite(record["loss"]).all()


def test_a_single_trajectory_stops_at_divergence() -> None:
    runs = ensemble()
    problem = runs.problem(16)
    states = trajectory(problem, initial_state(problem, runs.generator(16, 0)), 50.0, 40)
    assert np.isfinite(states.v[0])
    assert np.isnan(states.v[-1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"widths": ()}, "widths"),
        ({"widths": (4, 4)}, "widths"),
        ({"widths": (0,)}, "width"),
        ({"learning_rates": (-0.1,)}, "learning rate"),
        ({"learning_rates": (float("nan"),)}, "learning rate"),
        ({"seeds": (-1,)}, "seed"),
    ],
)
def test_an_impossible_ensemble_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ensemble(**changes)


@given(
    widths=st.lists(st.sampled_from([1, 3, 7, 20, math.inf]), min_size=1, unique=True),
    rates=st.lists(st.sampled_from([0.01, 0.05, 0.1, 0.2]), min_size=1, unique=True),
    seeds=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
)
@settings(max_examples=15, deadline=None)
def test_the_order_in_which_a_grid_is_given_changes_nothing_but_the_records_order(
    *, widths: list[float], rates: list[float], seeds: list[int]
) -> None:
    given_order = ensemble(widths=widths, learning_rates=rates, seeds=seeds)
    ascending = ensemble(widths=sorted(widths), learning_rates=sorted(rates), seeds=sorted(seeds))
    record = simulate(given_order, record_at=(0, 5))
    assert record.identical(simulate(ascending, record_at=(0, 5)))
    for width in widths:
        alone = simulate(ensemble(widths=width, learning_rates=rates, seeds=seeds), record_at=(0, 5))
        np.testing.assert_array_equal(alone["loss"], record["loss"].sel(width=[width]))


def test_slices_by_label_select_what_lies_between_whatever_order_was_given() -> None:
    runs = Ensemble("mup", IsotropicTarget(20, 1.0), (256, 64, 1024), (0.5, 0.1 + 0.2, 1.0), (1, 0))
    record = simulate(runs, record_at=(0, 5))
    assert record["loss"].sel(width=slice(64, 1024)).sizes["width"] == 3
    assert record["loss"].sel(width=slice(64, 256)).sizes["width"] == 2
    assert float(record["learning_rate"].sel(learning_rate=0.3, method="nearest")) == 0.1 + 0.2
    assert record["seed"].to_numpy().tolist() == [0, 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rates": (0.3, 0.1 + 0.2)},
        {"learning_rates": (0.5, 1.0, 0.5 * (1 + 1e-10))},
        {"widths": (10**12, 10**12 + 1)},
        {"widths": (math.inf, math.inf)},
    ],
)
def test_two_values_of_an_axis_that_differ_by_rounding_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"(learning rates|widths) is \(") as refused:
        ensemble(**changes)
    assert "\n" not in str(refused.value)


def test_values_of_an_axis_that_differ_by_more_than_rounding_are_two() -> None:
    assert len(ensemble(learning_rates=(0.5, 0.5 * (1 + 1e-8))).learning_rates) == 2


@pytest.mark.parametrize(
    "widths", [[16, 64], (64, 16), range(16, 65, 48), np.array([64.0, 16.0]), iter([16, 64])]
)
def test_an_axis_may_be_given_in_any_form_and_is_kept_as_plain_numbers(widths: Any) -> None:
    kept = ensemble(widths=widths).widths
    assert [(width, type(width)) for width in kept] == [(16, int), (64, int)]


def test_one_number_is_one_width_and_one_rate_and_so_many_seeds() -> None:
    runs = Ensemble("mup", [0.6, 0.8], widths=32, learning_rates=1, seeds=3)
    assert (runs.widths, runs.learning_rates, runs.seeds) == ((32,), (1.0,), (0, 1, 2))
    assert isinstance(runs.learning_rates[0], float)
    assert runs.parametrization == parametrization("mup")
    assert simulate(runs, record_at=7, quantities="sharpness")["sharpness"].sizes["step"] == 1


def test_one_seed_is_a_list_of_one() -> None:
    assert ensemble(seeds=[3]).seeds == (3,)


@pytest.mark.parametrize("steps", [(), (-1, 2), (3, 3), (5, 1)])
def test_an_impossible_schedule_is_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="recorded steps"):
        simulate(ensemble(), record_at=steps)


def test_an_unknown_quantity_or_method_is_refused() -> None:
    with pytest.raises(InputError, match="recorded quantity"):
        simulate(ensemble(), record_at=(0,), quantities=("entropy",))
    with pytest.raises(InputError, match="method"):
        simulate(ensemble(), record_at=(0,), method="fast")


def test_a_schedule_ends_with_the_last_step() -> None:
    assert schedule(10, 4) == (0, 4, 8, 10)
    with pytest.raises(InputError, match="steps"):
        schedule(-1)
    with pytest.raises(InputError, match="interval"):
        schedule(5, 0)
