from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural import dense_hessian
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
from superconsistency.theory.observables import ntk_spectrum, reduced_hessian

from .strategies import networks, orthogonal


def dense_sharpness(problem: Problem, weights: Weights) -> float:
    return float(np.linalg.eigvalsh(dense_hessian(problem, weights))[-1])


@given(networks())
def test_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(
    network: tuple[Problem, Weights],
) -> None:
    problem, weights = network
    found = float(OBSERVABLES["sharpness"].compute(latent_state(problem, weights), problem))
    assert found == pytest.approx(dense_sharpness(problem, weights), rel=1e-12)


@given(networks(), st.integers(0, 99))
def test_no_observable_but_the_map_changes_when_the_neurons_are_rotated(
    network: tuple[Problem, Weights], seed: int
) -> None:
    problem, weights = network
    turn = orthogonal(int(problem.width), seed)
    turned = latent_state(problem, Weights(weights.first @ turn, turn.T @ weights.second))
    state = latent_state(problem, weights)
    for observable in OBSERVABLES.values():
        expected = observable.compute(state, problem)
        np.testing.assert_allclose(observable.compute(turned, problem), expected, rtol=1e-9, atol=1e-12)


@given(networks())
def test_sharpness_is_within_the_residual_of_the_kernel_as_lemma_5_2_says(
    network: tuple[Problem, Weights],
) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    gap = OBSERVABLES["sharpness"].compute(state, problem) - OBSERVABLES["ntk_sharpness"].compute(
        state, problem
    )
    bound = problem.kappa * OBSERVABLES["residual_norm"].compute(state, problem)
    assert abs(gap) <= bound * (1 + 1e-9) + 1e-12


def test_at_a_minimizer_the_sharpness_is_that_of_the_kernel() -> None:
    problem = Problem(parametrization("mup"), 7, np.ones(3))
    weights = gaussian_weights(problem, np.random.default_rng(0))
    fitted = Problem(problem.parametrization, 7, latent_state(problem, weights).w)
    state = latent_state(fitted, weights)
    assert OBSERVABLES["sharpness"].compute(state, fitted) == OBSERVABLES["ntk_sharpness"].compute(
        state, fitted
    )


def test_observables_of_a_stack_have_its_shape() -> None:
    problem = Problem(parametrization("mup"), 7, np.ones(3))
    states = [latent_state(problem, gaussian_weights(problem, np.random.default_rng(i))) for i in range(6)]
    stack = LatentState(
        *(np.stack(parts).reshape(2, 3, *parts[0].shape) for parts in zip(*states, strict=True))
    )
    for observable in OBSERVABLES.values():
        values = observable.compute(stack, problem)
        assert values.shape == (2, 3)
        assert values[1, 0] == pytest.approx(float(observable.compute(states[3], problem)))


def test_sharpness_of_a_diverging_state_is_still_that_of_the_dense_hessian() -> None:
    problem = Problem(parametrization("ntp"), 4, np.ones(2))
    weights = gaussian_weights(problem, np.random.default_rng(1))
    scaled = Weights(1e6 * weights.first, 1e5 * weights.second)
    found = float(OBSERVABLES["sharpness"].compute(latent_state(problem, scaled), problem))
    assert found == pytest.approx(dense_sharpness(problem, scaled), rel=1e-12)


def test_a_zero_target_has_no_alignment() -> None:
    problem = Problem(parametrization("mup"), 2, np.zeros(2))
    state = evolve(latent_state(problem, gaussian_weights(problem, np.random.default_rng(0))), problem, 0.1)
    assert OBSERVABLES["alignment"].compute(state, problem) == 0


@given(networks())
def test_every_hessian_eigenvalue_is_in_the_reduced_matrix_or_zero_or_the_residuals(
    network: tuple[Problem, Weights],
) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    dense = np.linalg.eigvalsh(dense_hessian(problem, weights))
    rho = float(OBSERVABLES["residual_sharpness"].compute(state, problem))
    known = np.concatenate([np.linalg.eigvals(reduced_hessian(state, problem)), [0.0, rho, -rho]])
    distance = np.abs(dense[:, None] - known).min(axis=1)
    assert distance.max() <= 1e-7 * max(1.0, np.abs(dense).max())  # a defective matrix has roots of rounding


@given(networks())
def test_the_trace_is_that_of_the_dense_hessian_and_of_the_kernel(network: tuple[Problem, Weights]) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    trace = float(OBSERVABLES["hessian_trace"].compute(state, problem))
    assert trace == pytest.approx(float(np.trace(dense_hessian(problem, weights))), rel=1e-11, abs=1e-11)
    assert trace == pytest.approx(float(ntk_spectrum(state, problem).sum()), rel=1e-11)


@given(networks())
def test_a_small_step_lowers_the_loss_by_gradient_and_directional_sharpness(
    network: tuple[Problem, Weights],
) -> None:
    """Along the gradient the loss is L - eta0 |g|^2 + eta0^2 |g|^2 s/2 to second order."""
    problem, weights = network
    state = latent_state(problem, weights)
    loss, gradient, curvature = (
        float(OBSERVABLES[name].compute(state, problem))
        for name in ("loss", "gradient_norm", "directional_sharpness")
    )
    rate = 1e-3 / max(1.0, float(OBSERVABLES["sharpness"].compute(state, problem)))
    after = float(OBSERVABLES["loss"].compute(evolve(state, problem, rate), problem))
    predicted = loss - rate * gradient**2 + 0.5 * rate**2 * gradient**2 * curvature
    assert after == pytest.approx(predicted, rel=1e-6, abs=1e-15)


def test_a_state_at_its_target_has_no_gradient_and_no_curvature_along_it() -> None:
    problem = Problem(parametrization("mup"), 4, np.zeros(2))
    weights = gaussian_weights(problem, np.random.default_rng(0))
    fitted = Problem(problem.parametrization, 4, latent_state(problem, weights).w)
    state = latent_state(fitted, weights)
    assert OBSERVABLES["gradient_norm"].compute(state, fitted) == 0
    assert OBSERVABLES["directional_sharpness"].compute(state, fitted) == 0


@pytest.mark.parametrize(
    "name",
    [name for name in OBSERVABLES if name not in {"second_layer", "first_layer_trace", "ntk_sharpness"}],
)
def test_a_state_of_another_dimension_has_no_observables(name: str) -> None:
    problem = Problem(parametrization("mup"), 3, np.ones(2))
    state = latent_state(problem, gaussian_weights(problem, np.random.default_rng(0)))
    with pytest.raises(InputError, match="dimension of the state is 2"):
        OBSERVABLES[name].compute(state, Problem(problem.parametrization, 3, np.ones(1)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_sharpness_of_a_state_that_is_not_finite_is_nan(bad: float) -> None:
    problem = Problem(parametrization("mup"), 3, np.ones(2))
    state = latent_state(problem, gaussian_weights(problem, np.random.default_rng(0)))
    for field in LatentState._fields:
        broken = state._replace(**{field: getattr(state, field) * bad})
        assert np.isnan(OBSERVABLES["sharpness"].compute(broken, problem))
    unknown = state._replace(w=state.w * np.nan)
    assert np.isnan(OBSERVABLES["directional_sharpness"].compute(unknown, problem))
