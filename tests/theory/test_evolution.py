from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.theory import (
    OBSERVABLES,
    LatentState,
    Problem,
    Weights,
    evolve,
    gaussian_weights,
    latent_state,
    parametrization,
)

from .strategies import networks, orthogonal


def raw_step(problem: Problem, weights: Weights, learning_rate: float) -> Weights:
    """Gradient descent on the weights, written out: the oracle of Theorem 5.1."""
    first, second = weights
    m, rate = problem.multiplier, learning_rate * problem.learning_rate_scale
    residual = m * first @ second - problem.target
    return Weights(first - rate * m * np.outer(residual, second), second - rate * m * first.T @ residual)


def stacked(problem: Problem, state: LatentState) -> np.ndarray:
    w, e, v = state
    return np.block([[e, problem.kappa * w[:, None]], [problem.kappa * w[None], np.atleast_2d(v)]])


def assert_states_agree(a: LatentState, b: LatentState, rtol: float = 1e-10) -> None:
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, rtol=rtol, atol=rtol * max(1.0, float(np.abs(right).max())))


@given(networks(), st.floats(0.01, 1.0))
def test_a_latent_step_is_a_gradient_step_on_the_weights(
    network: tuple[Problem, Weights], rate: float
) -> None:
    problem, weights = network
    expected = latent_state(problem, raw_step(problem, weights, rate))
    assert_states_agree(evolve(latent_state(problem, weights), problem, rate), expected)


@given(networks(), st.floats(0.01, 1.0), st.integers(0, 99))
def test_rotating_the_inputs_rotates_the_trajectory(
    network: tuple[Problem, Weights], rate: float, seed: int
) -> None:
    problem, weights = network
    turn = orthogonal(problem.dimension, seed)
    turned = replace(problem, target=turn @ problem.target)
    after = evolve(latent_state(problem, weights), problem, rate)
    start = latent_state(turned, Weights(turn @ weights.first, weights.second))
    expected = LatentState(turn @ after.w, turn @ after.e @ turn.T, after.v)
    assert_states_agree(evolve(start, turned, rate), expected)


@given(networks(), st.integers(0, 99))
def test_permuting_neurons_changes_no_latent_quantity(network: tuple[Problem, Weights], seed: int) -> None:
    problem, weights = network
    order = np.random.default_rng(seed).permutation(int(problem.width))
    permuted = Weights(weights.first[:, order], weights.second[order])
    assert_states_agree(latent_state(problem, permuted), latent_state(problem, weights))


@given(networks(), st.floats(0.01, 0.3), st.integers(1, 20))
def test_the_gram_matrix_stays_positive_semidefinite(
    network: tuple[Problem, Weights], rate: float, steps: int
) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    rate = rate / float(OBSERVABLES["sharpness"].compute(state, problem) + 1e-3)
    for _ in range(steps):
        state = evolve(state, problem, rate)
    gram = stacked(problem, state)
    assert np.linalg.eigvalsh(gram)[0] >= -1e-9 * max(1.0, np.trace(gram))


def test_steps_on_a_stack_of_states_are_steps_on_each() -> None:
    problem = Problem(parametrization("ntp"), 4, np.ones(3))
    states = [latent_state(problem, gaussian_weights(problem, np.random.default_rng(i))) for i in range(5)]
    stack = LatentState(*(np.stack(parts) for parts in zip(*states, strict=True)))
    together = evolve(stack, problem, 0.2)
    for index, state in enumerate(states):
        assert_states_agree(LatentState(*(part[index] for part in together)), evolve(state, problem, 0.2))


def test_a_zero_target_is_approached() -> None:
    problem = Problem(parametrization("mup"), 3, np.zeros(2))
    state = latent_state(problem, gaussian_weights(problem, np.random.default_rng(0)))
    before = float(state.w @ state.w)
    for _ in range(50):
        state = evolve(state, problem, 0.1)
    assert float(state.w @ state.w) < before


def test_a_state_of_another_dimension_is_refused() -> None:
    problem = Problem(parametrization("mup"), 3, np.ones(2))
    state = latent_state(problem, gaussian_weights(problem, np.random.default_rng(0)))
    with pytest.raises(InputError, match="dimension of the state is 2; accepted: that of the target, 5"):
        evolve(state, replace(problem, target=np.ones(5)), 0.1)
