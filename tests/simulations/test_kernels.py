from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group
from superconsistency.simulations import kernels
from superconsistency.simulations.kernels import LANES_UP_TO, advance
from superconsistency.theory import (
    LatentState,
    Problem,
    Weights,
    evolve,
    initial_state,
    latent_state,
    limit_state,
    parametrization,
    uniform_target,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from superconsistency.theory import Array

FAR = 1e30


def problem(dimension: int, norm: float = 1.0) -> Problem:
    return Problem(parametrization("mup"), 2 * dimension + 20, uniform_target(dimension, norm))


def starts(at: Problem, count: int) -> LatentState:
    """Random networks, stacked."""
    networks = [initial_state(at, np.random.default_rng(seed)) for seed in range(count)]
    return LatentState(*(np.array([np.asarray(network[k]) for network in networks]) for k in range(3)))


def run(
    at: Problem, start: LatentState, rates: Array, steps: int, first_step: int = 0, limit: float = FAR
) -> tuple[LatentState, NDArray[np.int64]]:
    """States after some steps, and divergences."""
    states = LatentState(*(np.array(part, dtype=np.float64) for part in start))
    count = len(states.v)
    diverged = np.full(count, -1, dtype=np.int64)
    rate, coupling = np.asarray(rates, dtype=np.float64), np.full(count, at.kappa**2)
    w, e, v = states
    advance(w, e, v, at.target, rate, coupling, np.full(count, limit), first_step, steps, diverged)
    return states, diverged


def law(at: Problem, start: LatentState, rates: Array, steps: int) -> LatentState:
    """The plain law of Theorem 5.1."""
    ends = []
    for network, rate in enumerate(rates):
        state = LatentState(*(part[network] for part in start))
        for _ in range(steps):
            state = evolve(state, at, float(rate))
        ends.append(state)
    return LatentState(*(np.array([np.asarray(end[k]) for end in ends]) for k in range(3)))


def assert_same(found: LatentState, expected: LatentState, tolerance: float) -> None:
    for name, one, other in zip(LatentState._fields, found, expected, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale + 1e-300, err_msg=name)


@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 8, 20, 21, 33, 100, 130])
@pytest.mark.parametrize(("count", "steps"), [(1, 1), (3, 3), (9, 60)])
def test_every_step_is_that_of_theorem_5_1(dimension: int, count: int, steps: int) -> None:
    at = problem(dimension)
    start, rates = starts(at, count), np.linspace(0.1, 0.6, count)
    found, diverged = run(at, start, rates, steps)
    assert_same(found, law(at, start, rates, steps), 1e-13)
    assert (diverged == -1).all()


@pytest.mark.parametrize("dimension", [5, 33])
def test_rounding_does_not_grow_over_thousands_of_stable_steps(dimension: int) -> None:
    at, rates = problem(dimension), np.array([0.3])
    start = starts(at, 1)
    assert_same(run(at, start, rates, 3000)[0], law(at, start, rates, 3000), 1e-13)


def test_sums_that_cancel_do_not_grow_on_an_orbit_of_period_two() -> None:
    # Beyond the edge the residual stays of order one, and so do the outer products that are summed.
    at = problem(LANES_UP_TO + 4, 3.0)
    start = LatentState(*(np.asarray(part)[None] for part in limit_state(at, np.random.default_rng(0))))
    rates = np.array([1.1 * np.sqrt(at.dimension) / 3.0])
    found, diverged = run(at, start, rates, 4000)
    assert diverged[0] == -1
    assert np.linalg.norm(found.w[0] - at.target) > 0.1
    assert_same(found, law(at, start, rates, 4000), 1e-10)


@pytest.mark.parametrize("norm", [0.0, 1.0])
@pytest.mark.parametrize("dimension", [1, 2, 8, 13, 20])
def test_lanes_and_tiles_are_the_same_law(dimension: int, norm: float) -> None:
    at = problem(dimension, norm)
    start, rate = starts(at, 1), 0.3
    in_lanes, _ = run(at, start, np.array([rate]), 57)
    tiled = LatentState(*(np.array(part) for part in start))
    one = tiled.w[0], tiled.e[0], tiled.v[:1]
    assert kernels._advance_tiles(*one, at.target, rate, at.kappa**2, FAR, 0, 57) == -1
    assert_same(in_lanes, tiled, 1e-13)


@pytest.mark.parametrize("dimension", [1, 5, 20, 21, 100])
def test_pieces_of_a_run_are_the_run_to_rounding(dimension: int) -> None:
    at = problem(dimension)
    start, rates = starts(at, 3), np.array([0.1, 0.3, 0.5])
    whole, _ = run(at, start, rates, 40)
    state, taken = start, 0
    for steps in (1, 0, 17, 2, 20):
        state, _ = run(at, state, rates, steps, first_step=taken)
        taken += steps
    assert_same(state, whole, 1e-13)


@pytest.mark.parametrize("dimension", [1, 5, 20, 33])
@pytest.mark.parametrize("first_step", [0, 7])
def test_divergence_is_found_at_its_step(dimension: int, first_step: int) -> None:
    at = problem(dimension)
    start, rates = starts(at, 10), np.geomspace(0.3, 60 * dimension, 10)
    _, diverged = run(at, start, rates, 90, first_step, limit=1e6)
    expected = []
    for network, rate in enumerate(rates):
        state, found = LatentState(*(part[network] for part in start)), -1
        for step in range(91):
            if not 0.5 * np.sum((state.w - at.target) ** 2) <= 1e6:
                found = first_step + step
                break
            state = evolve(state, at, float(rate))
        expected.append(found)
    assert diverged.tolist() == expected
    assert {-1} < set(expected)


@pytest.mark.parametrize("dimension", [3, 30])
def test_a_trajectory_that_diverged_stands_still(dimension: int) -> None:
    at = problem(dimension)
    states, before = starts(at, 2), starts(at, 2)
    diverged = np.array([4, -1])
    ones = np.ones(2)
    advance(*states, at.target, 0.3 * ones, at.kappa**2 * ones, FAR * ones, 5, 10, diverged)
    assert diverged.tolist() == [4, -1]
    for now, then in zip(states, before, strict=True):
        np.testing.assert_array_equal(now[0], then[0])
        assert (now[1] != then[1]).any()


@pytest.mark.parametrize("dimension", [3, 30])
def test_not_a_number_counts_as_divergence(dimension: int) -> None:
    at = problem(dimension)
    states = starts(at, 2)
    states.w[1, -1] = np.nan
    assert run(at, states, np.array([0.3, 0.3]), 4, first_step=2)[1].tolist() == [-1, 2]


@pytest.mark.parametrize("dimension", [2, 20, 33])
def test_bits_depend_neither_on_threads_nor_on_other_trajectories(dimension: int) -> None:
    at = problem(dimension)
    start, rates = starts(at, 19), np.linspace(0.1, 0.6, 19)
    one, _ = run(at, start, rates, 33)  # tests have one thread
    try:
        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(4, most))
        several, _ = run(at, start, rates, 33)
    finally:
        numba.set_num_threads(1)
    alone, _ = run(at, LatentState(*(part[13:14] for part in start)), rates[13:14], 33)
    for k in range(3):
        np.testing.assert_array_equal(one[k], several[k])
        np.testing.assert_array_equal(one[k][13], alone[k][0])


@given(
    dimension=st.sampled_from([1, 2, 6, 20, 23, 40]), seed=st.integers(0, 10**6), rate=st.floats(0.01, 0.9)
)
@settings(max_examples=25)
def test_rotated_inputs_give_rotated_states_exactly_symmetric(dimension: int, seed: int, rate: float) -> None:
    at, randomness = problem(dimension), np.random.default_rng(seed)
    turn = ortho_group.rvs(dimension, random_state=randomness) if dimension > 1 else -np.eye(1)
    first = randomness.standard_normal((dimension, int(at.width)))
    second = randomness.standard_normal(int(at.width))
    rotated = Problem(at.parametrization, at.width, turn @ at.target)
    here = LatentState(*(np.asarray(part)[None] for part in latent_state(at, Weights(first, second))))
    there = LatentState(
        *(np.asarray(part)[None] for part in latent_state(rotated, Weights(turn @ first, second)))
    )
    found, _ = run(at, here, np.array([rate]), 12)
    moved, _ = run(rotated, there, np.array([rate]), 12)
    np.testing.assert_array_equal(moved.e, np.swapaxes(moved.e, 1, 2))
    back = LatentState(moved.w @ turn, turn.T @ moved.e @ turn, moved.v)
    assert_same(back, found, 1e-11)
