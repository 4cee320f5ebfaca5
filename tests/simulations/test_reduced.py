from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from superconsistency.errors import InputError
from superconsistency.simulations import Ensemble, choose_method, schedule, simulate
from superconsistency.simulations.reduced import TOLERANCE, ReducedMethod
from superconsistency.theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    IsotropicTarget,
    LatentState,
    PlanarMap,
    Problem,
    evolve,
    initial_state,
    limit_state,
    parametrization,
    uniform_target,
    wishart_state,
)
from superconsistency.theory.krylov_chain import (
    Chain,
    chain_length,
    chain_of_state,
    draw_chain,
    stack,
    target_coordinates,
)

SIZES = [(1, 1), (1, 50), (2, 1), (2, 3), (3, 2), (7, 1), (5, 5), (30, 7), (30, 200), (64, 64)]


def problem_of(dimension: int, width: float, name: str = "mup", norm: float = 1.0) -> Problem:
    return Problem(parametrization(name), width, uniform_target(dimension, norm))


def rate_of(problem: Problem) -> float:
    """A stable learning rate: a third of what the start's sharpness allows, or of the edge."""
    state = wishart_state(problem, np.random.default_rng(9))
    return 0.6 / (float(OBSERVABLES["ntk_sharpness"].compute(state, problem)) + problem.kappa)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), SIZES)
def test_every_observable_of_a_given_network_is_that_of_the_full_system(
    dimension: int, width: int, name: str
) -> None:
    problem = problem_of(dimension, width, name)
    rate = rate_of(problem)
    runs = Ensemble(problem.parametrization, problem.target, (width,), (rate,), (0, 1))
    record = simulate(
        runs,
        record_at=(0, 1, 8),
        quantities=tuple(OBSERVABLES),
        start=wishart_state,
        method="reduced",
    )
    state = wishart_state(problem, runs.generator(width, 1))
    for step in range(9):
        if step in (0, 1, 8):
            for quantity, observable in OBSERVABLES.items():
                found = float(record[quantity].sel(step=step, seed=1, width=width).item())
                expected = float(observable.compute(state, problem))
                assert found == pytest.approx(expected, rel=1e-9, abs=1e-10), (quantity, step)
        state = evolve(state, problem, rate)
    assert float(record["truncation_error"].max()) <= TOLERANCE


@pytest.mark.parametrize(
    ("dimension", "width", "target_norm"), [(400, 800, 1.0), (400, 200, 3.0), (300, 300, 1.0)]
)
def test_the_loss_of_a_given_network_agrees_over_thousands_of_steps(
    dimension: int, width: int, target_norm: float
) -> None:
    runs = Ensemble(
        parametrization("mup"),
        uniform_target(dimension, target_norm),
        (width,),
        (0.3 * math.sqrt(dimension) / target_norm,),
        (0,),
    )
    full, reduced = (
        simulate(runs, record_at=schedule(3000, 100), start=wishart_state, method=method)["loss"]
        for method in ("full" if width > dimension else "factored", "reduced")
    )
    error = np.abs(full - reduced) / full.isel(step=0)
    assert float(error.max()) < 1e-12


@given(
    dimension=st.integers(1, 12),
    width=st.integers(1, 40),
    name=st.sampled_from(sorted(PARAMETRIZATIONS)),
    seed=st.integers(0, 2**16),
    size=st.sampled_from([4, 8]),
)
@settings(max_examples=40, deadline=None)
def test_the_estimate_bounds_what_truncation_does_to_the_loss(
    dimension: int, width: int, name: str, seed: int, size: int
) -> None:
    problem = problem_of(dimension, width, name)
    state = wishart_state(problem, np.random.default_rng(seed))
    rate = 0.3 / (float(OBSERVABLES["ntk_sharpness"].compute(state, problem)) + problem.kappa)
    chain = stack([chain_of_state(state, problem)])
    method = ReducedMethod(problem, np.array([rate]), chain, size)
    diverged = np.full(1, -1, dtype=np.int64)
    method.advance(0, 40, diverged)
    for _ in range(40):
        state = evolve(state, problem, rate)
    alive = np.ones(1, dtype=np.bool_)
    scale = 0.5 + float(0.5 * np.sum(state.w**2))
    error = abs(
        float(method.observe("loss", alive).item()) - float(OBSERVABLES["loss"].compute(state, problem))
    )
    assert error <= scale * (10 * float(method.truncation_error()[0]) + 1e-9)


def test_a_head_that_is_too_short_grows_until_its_error_is_below_the_tolerance() -> None:
    runs = Ensemble(parametrization("mup"), uniform_target(200, 1.0), (100,), (8.0,), (0, 1))
    record = simulate(runs, record_at=schedule(300, 30), start=wishart_state)
    oracle = simulate(runs, record_at=schedule(300, 30), start=wishart_state, method="factored")
    assert 0 < float(record["truncation_error"].max()) <= TOLERANCE
    scale = oracle["loss"].isel(step=0)
    assert float((np.abs(record["loss"] - oracle["loss"]) / scale).max()) < 1e-10


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), [(1, 1), (2, 1), (1, 4), (3, 2), (6, 6), (8, 40)])
def test_a_drawn_chain_has_the_law_of_gaussian_weights(dimension: int, width: int, name: str) -> None:
    draws = 1500
    problem = problem_of(dimension, width, name)
    generators = np.random.default_rng([1, dimension, width]), np.random.default_rng([2, dimension, width])
    direction = problem.target / np.linalg.norm(problem.target)

    def seen(w: Any, e: Any, v: Any, u: Any, rest: float = 0.0) -> list[float]:
        return [w @ u, np.linalg.norm(w), float(v), np.trace(e) + rest, u @ e @ u, w @ e @ w, np.sum(e**2)]

    drawn, direct = [], []
    for _ in range(draws):
        chain = draw_chain(problem, generators[0])
        head = chain.head(chain.length)
        drawn.append(seen(*head, np.eye(chain.length)[0], float(chain.rest)))
        direct.append(seen(*initial_state(problem, generators[1]), direction))
    smallest = min(
        stats.ks_2samp(a, b).pvalue for a, b in zip(np.transpose(drawn), np.transpose(direct), strict=True)
    )
    assert smallest > 1e-4 / 7


def test_a_chain_that_leaves_directions_out_keeps_their_trace() -> None:
    problem, generator = problem_of(500, 300), np.random.default_rng(0)
    assert chain_length(problem) < 500
    traces = [
        float(chain.bands[0].sum() + chain.rest)
        for chain in (draw_chain(problem, generator) for _ in range(400))
    ]
    # gram |E|_F^2 is chi-square with N D degrees of freedom over N D
    expected, deviation = 1.0, math.sqrt(2 / (300 * 500))
    assert abs(np.mean(traces) - expected) < 5 * deviation / 20
    assert np.std(traces) == pytest.approx(deviation, rel=0.2)


@pytest.mark.parametrize("width", [50, 400, 2000])
def test_the_largest_eigenvalue_of_a_drawn_chain_has_the_law_of_a_wishart_matrix(width: int) -> None:
    problem, draws = problem_of(400, width), 150
    chain_draws = np.random.default_rng(1)
    drawn = []
    for _ in range(draws):
        chain = draw_chain(problem, chain_draws)
        drawn.append(np.linalg.eigvalsh(chain.head(chain.length).e)[-1])
    generator = np.random.default_rng(2)
    direct = [np.linalg.eigvalsh(wishart_state(problem, generator).e)[-1] for _ in range(draws)]
    assert stats.ks_2samp(drawn, direct).pvalue > 1e-3


def test_a_longer_chain_would_not_change_the_largest_eigenvalue(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(parametrization("mup"), 10**6, np.ones(1), 10**5)
    values = []
    for airy in (10.0, 20.0):
        monkeypatch.setattr("superconsistency.theory.krylov_chain._AIRY", airy)
        # the same first entries: each diagonal is drawn from its own stream
        chain = _nested_chain(problem)
        method = ReducedMethod(problem, np.array([1.0]), stack([chain]))
        values.append(float(method.observe("ntk_sharpness", np.ones(1, dtype=np.bool_))[0]))
    assert values[0] == pytest.approx(values[1], rel=1e-12)


def _nested_chain(problem: Problem) -> Chain:
    """A chain with the means of its entries, so that a longer one begins with a shorter one."""
    length = chain_length(problem)
    width, dimension = problem.sizes.values()
    i = np.arange(1, length + 1)
    diagonal, below = np.sqrt(width - i) / math.sqrt(width), np.sqrt(dimension + 1 - i) / math.sqrt(width)
    bands = np.zeros((3, length))
    bands[0] = (diagonal**2 + below**2) / dimension
    bands[2, :-2] = diagonal[:-2] * below[2:] / dimension
    return Chain(np.zeros(2), bands, np.asarray(1 / dimension), np.asarray(0.0))


@pytest.mark.parametrize("dimension", [1, 2, 5, 10**6])
def test_at_infinite_width_the_reduced_system_is_the_planar_map(dimension: int) -> None:
    planar = PlanarMap(dimension, 1.5, 0.4 * math.sqrt(dimension) / 1.5)
    runs = Ensemble(
        parametrization("mup"),
        IsotropicTarget(dimension, 1.5),
        (math.inf,),
        (planar.learning_rate,),
        (0,),
    )
    record = simulate(runs, record_at=schedule(25), quantities=("alignment", "second_layer", "sharpness"))
    point = planar.start
    for step in range(26):
        run = record.isel(width=0, learning_rate=0, seed=0, step=step)
        assert float(run["alignment"]) == pytest.approx(float(point.a), rel=1e-11, abs=1e-15)
        assert float(run["second_layer"]) == pytest.approx(float(point.p), rel=1e-11)
        assert float(run["sharpness"]) == pytest.approx(float(planar.sharpness(point)), rel=1e-11)
        point = planar.step(point)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_a_target_of_zero_and_a_start_in_the_limit_have_chains(name: str) -> None:
    for dimension in (1, 2, 3, 9):
        problem = problem_of(dimension, 6, name, norm=0.0)
        state = wishart_state(problem, np.random.default_rng(0))
        _agrees_at_start(state, problem)
    for dimension in (1, 2, 9) if name != "sp" else ():
        problem = problem_of(dimension, 6, name)
        _agrees_at_start(limit_state(problem, np.random.default_rng(0)), problem)


def _agrees_at_start(state: LatentState, problem: Problem) -> None:
    chain = chain_of_state(state, problem)
    head, small = chain.head(chain.length), target_coordinates(problem, chain.length)
    for quantity in ("loss", "sharpness", "gradient_norm", "first_layer_trace"):
        compute = OBSERVABLES[quantity].compute
        expected = float(compute(state, problem))
        assert float(compute(head, small)) == pytest.approx(expected, rel=1e-10, abs=1e-13)


@given(seed=st.integers(0, 2**16), dimension=st.integers(2, 8))
@settings(max_examples=15, deadline=None)
def test_rotating_inputs_leaves_a_chain_unchanged(seed: int, dimension: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.standard_normal(dimension)
    problem = Problem(parametrization("mup"), 20, target)
    state = wishart_state(problem, generator)
    rotation = np.linalg.qr(generator.standard_normal((dimension, dimension)))[0]
    turned = LatentState(rotation @ state.w, rotation @ state.e @ rotation.T, state.v)
    one = chain_of_state(state, problem)
    two = chain_of_state(turned, Problem(problem.parametrization, 20, rotation @ target))
    scale = float(np.trace(state.e))
    np.testing.assert_allclose(two.bands[0, :2], one.bands[0, :2], atol=1e-9 * scale)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(two.head(two.length).e), np.linalg.eigvalsh(one.head(one.length).e), atol=1e-9
    )


def test_the_same_network_is_the_same_whatever_runs_beside_it() -> None:
    settings: dict[str, Any] = {"record_at": schedule(50), "quantities": ("loss", "sharpness")}
    target = IsotropicTarget(10**4, 2.0)
    alone = simulate(Ensemble(parametrization("mup"), target, (10**5,), (3.0,), (7,)), **settings)
    among = simulate(
        Ensemble(parametrization("mup"), target, (10**5, 10), (3.0,), tuple(range(20))), **settings
    )
    for name in ("loss", "sharpness"):
        np.testing.assert_array_equal(alone[name].sel(seed=7), among[name].sel(width=[10**5], seed=7))


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize("norm", [0.0, 1e-12, 1e12])
@pytest.mark.parametrize(("dimension", "width"), [(1, 1), (20, 2), (20, 10**9), (10**6, 3), (10**6, 10**6)])
def test_what_has_not_diverged_is_finite_at_every_size_and_target(
    dimension: int, width: int, norm: float, name: str
) -> None:
    target = IsotropicTarget(dimension, norm)
    runs = Ensemble(parametrization(name), target, (width,), (0.01, 1.0, 100.0), (0,))
    record = simulate(runs, record_at=(0, 1, 60), quantities=tuple(OBSERVABLES))
    reached = (record["diverged_step"] < 0) | (record["diverged_step"] > record["step"])
    for quantity in OBSERVABLES:
        values = record[quantity].transpose(*reached.dims)
        np.testing.assert_array_equal(np.isfinite(values), reached)


def test_a_given_network_is_the_same_beside_one_with_a_longer_chain() -> None:
    target = uniform_target(100, 0.1)
    records = [
        simulate(
            Ensemble(parametrization("mup"), target, (50,), (40.0,), seeds),
            record_at=schedule(100, 20),
            quantities=("loss", "sharpness"),
            start=wishart_state,
            method=method,
        ).sel(seed=7)
        for seeds, method in (((6, 7, 8), "reduced"), ((7,), "factored"))
    ]
    np.testing.assert_allclose(records[0]["sharpness"], records[1]["sharpness"], rtol=1e-10)


def test_a_learning_rate_is_the_same_in_a_sweep_with_one_that_diverges() -> None:
    target = IsotropicTarget(10**5, 1.0)
    alone, beside = (
        simulate(
            Ensemble(parametrization("mup"), target, (10**5,), rates, (0, 1)),
            record_at=schedule(60, 20),
            quantities=("loss", "sharpness"),
        ).sel(learning_rate=50.0)
        for rates in ((50.0,), (50.0, 3e4))
    )
    for name in ("loss", "sharpness", "truncation_error"):
        np.testing.assert_array_equal(alone[name], beside[name])


def test_sizes_beyond_any_memory_run() -> None:
    runs = Ensemble(parametrization("mup"), IsotropicTarget(10**12, 1e6), (10**15,), (0.6,), tuple(range(3)))
    record = simulate(runs, record_at=(0, 200), quantities=tuple(OBSERVABLES))
    last = record.isel(step=-1)
    assert float(last["loss"].max()) < 1e-15
    # the end of the gradient flow, 2 sqrt(1/D^2 + |w*|^2/D), but for the finite learning rate
    assert float(last["sharpness"].mean()) == pytest.approx(2.0, rel=0.05)


def test_divergence_is_found_at_the_same_step_as_in_the_full_system() -> None:
    runs = Ensemble(parametrization("mup"), uniform_target(60, 1.0), (100,), (40.0,), (0, 1, 2))
    full, reduced = (
        simulate(runs, record_at=schedule(60), start=wishart_state, method=method)
        for method in ("full", "reduced")
    )
    assert (full["diverged_step"] > 0).all()
    np.testing.assert_array_equal(full["diverged_step"], reduced["diverged_step"])


def test_auto_says_what_it_chose_and_why() -> None:
    given_small, given_narrow, given_large, drawn = (
        choose_method("auto", problem, start_given=given)
        for problem, given in (
            (problem_of(5, 10), True),
            (problem_of(5, 3), True),
            (problem_of(100, 10), True),
            (problem_of(5, 10), False),
        )
    )
    chosen = [choice.method for choice in (given_small, given_narrow, given_large, drawn)]
    assert chosen == ["full", "factored", "reduced", "reduced"]
    assert "Krylov" in given_large.reason
    assert "law" in drawn.reason


def test_the_reduced_method_is_refused_where_states_are_wanted() -> None:
    with pytest.raises(InputError, match="accepted: auto, full, factored"):
        choose_method("reduced", problem_of(5, 10), start_given=True, states_wanted=True)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), [(1, 2), (3, 2), (20, 200), (40, 10)])
def test_bounds_enclose_the_sharpness_of_the_full_system(dimension: int, width: int, name: str) -> None:
    problem = problem_of(dimension, width, name)
    state = wishart_state(problem, np.random.default_rng(4))
    rate = rate_of(problem)
    method = ReducedMethod(problem, np.array([rate]), stack([chain_of_state(state, problem)]), 64)
    diverged, alive = np.full(1, -1, dtype=np.int64), np.ones(1, dtype=np.bool_)
    for first in (0, 1, 5, 25):
        bounds = method.largest(alive)
        exact = float(OBSERVABLES["sharpness"].compute(state, problem))
        assert bounds.low[0] * (1 - 1e-11) <= exact <= bounds.high[0] * (1 + 1e-11)
        assert bounds.high[0] - bounds.low[0] <= 1e-12 * exact
        method.advance(first, 5 * first or 1, diverged)
        for _ in range(first, 5 * first or 1):
            state = evolve(state, problem, rate)
