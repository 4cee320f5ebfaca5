from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.neural import TwoLayerLinear
from superconsistency.theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    LatentState,
    Problem,
    Weights,
    critical_sharpness,
    evolve,
    gaussian_weights,
    latent_state,
    limit_state,
    parametrization,
)

from .strategies import networks

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.theory import Array


def first_rise(change: Callable[[Array], Array], scale: float) -> float:
    """The first step at which a loss has not fallen: a scan of 4,000 steps, each 1.005 times the last."""
    rates = scale * np.geomspace(1e-5, 1e4, 4_000)
    first = int(np.argmax(change(rates) > 0))
    assert first > 0
    low, high = rates[first - 1], rates[first]
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if change(np.array([middle]))[0] > 0 else (middle, high)
    return float(high)


def raw_critical_sharpness(problem: Problem, weights: Weights) -> float:
    """`2/eta_c` from losses of raw weights moved along autograd's gradient; 0 without a gradient."""
    network = TwoLayerLinear(problem, weights)
    loss = network.loss()
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves backward untyped
    gradients = [value.grad.numpy() for value in network.parameters() if value.grad is not None]
    slope = problem.learning_rate_scale * sum(float((value**2).sum()) for value in gradients)
    if slope == 0:
        return 0.0
    before = problem.multiplier * (weights.first @ weights.second) - problem.target

    def change(rates: Array) -> Array:
        """`L(theta - eta g) - L(theta)`, by the difference of residuals so that nothing cancels."""
        step = rates[:, None] * problem.learning_rate_scale
        moved = weights.first @ gradients[1] + gradients[0] @ weights.second
        bent = gradients[0] @ gradients[1]
        difference = problem.multiplier * (step**2 * bent - step * moved)
        return np.asarray(np.sum(difference * (before + 0.5 * difference), axis=1))

    return 2 / first_rise(change, float(loss.detach()) / slope)


@given(networks())
def test_critical_sharpness_is_that_of_a_line_search_on_raw_weights(network: tuple[Problem, Weights]) -> None:
    problem, weights = network
    found = float(critical_sharpness(latent_state(problem, weights), problem))
    assert found == pytest.approx(raw_critical_sharpness(problem, weights), rel=1e-12)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), [(1, 1), (1, 30), (9, 1), (2, 3), (20, 5), (4, 300)])
@pytest.mark.parametrize("norm", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("growth", [1.0, 4.0])
def test_it_holds_at_every_size_target_and_scale_of_the_weights(
    name: str, dimension: int, width: int, norm: float, growth: float
) -> None:
    problem = Problem(parametrization(name), width, np.full(dimension, norm / np.sqrt(dimension)))
    weights = gaussian_weights(problem, np.random.default_rng([dimension, width]))
    weights = Weights(growth * weights.first, growth * weights.second)
    found = float(critical_sharpness(latent_state(problem, weights), problem))
    assert found == pytest.approx(raw_critical_sharpness(problem, weights), rel=1e-12)


@given(networks(), st.floats(0.9, 0.999))
def test_a_latent_step_lowers_the_loss_below_the_critical_rate_and_not_just_beyond(
    network: tuple[Problem, Weights], part: float
) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    value, before = (
        float(critical_sharpness(state, problem)),
        float(OBSERVABLES["loss"].compute(state, problem)),
    )
    if value == 0:
        return
    after = [
        float(OBSERVABLES["loss"].compute(evolve(state, problem, 2 * share / value), problem))
        for share in (1e-3, 0.5 * part, part, 1.0, 1 + 1e-6)
    ]
    assert max(after[:3]) < before
    assert after[3] == pytest.approx(before, rel=1e-12)
    assert after[4] > before


def test_at_a_minimizer_it_is_the_directional_sharpness() -> None:
    problem = Problem(parametrization("mup"), 7, np.ones(3))
    state = latent_state(problem, gaussian_weights(problem, np.random.default_rng(0)))
    direction = np.array([0.6, 0.0, 0.8])
    curvature = state.e @ direction + state.v * direction
    expected = float(curvature @ curvature / (direction @ curvature))
    for distance in (1e-8, 1e-30, 1e-100):
        near = Problem(problem.parametrization, 7, np.zeros(3))
        found = float(critical_sharpness(state._replace(w=distance * direction), near))
        assert found == pytest.approx(expected, rel=1e-6 if distance == 1e-8 else 1e-14)


def test_it_is_zero_where_the_gradient_is() -> None:
    problem = Problem(parametrization("mup"), 4, np.ones(2))
    nothing = LatentState(np.zeros(2), np.zeros((2, 2)), np.zeros(()))
    fitted = LatentState(np.ones(2), np.eye(2), np.ones(()))
    aside = LatentState(np.zeros(2), np.array([[1.0, -1.0], [-1.0, 1.0]]), np.zeros(()))
    for state in (nothing, fitted, aside):
        assert float(critical_sharpness(state, problem)) == 0


def test_the_infinite_width_start_has_a_critical_rate() -> None:
    """At w = 0 the step is straight: r.a / (|a|^2/2) = D for e = I/D, v = 1/D."""
    problem = Problem(parametrization("mup"), np.inf, np.array([1.0, 2.0, 2.0]))
    state = limit_state(problem, np.random.default_rng(0))
    assert float(critical_sharpness(state, problem)) == pytest.approx(2 / 3, rel=1e-15)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("field", LatentState._fields)
def test_it_is_not_a_number_for_a_state_that_is_not_finite(bad: float, field: str) -> None:
    problem = Problem(parametrization("mup"), 3, np.ones(2))
    state = latent_state(problem, gaussian_weights(problem, np.random.default_rng(0)))
    stack = LatentState(*(np.stack([part, part]) for part in state))
    getattr(stack, field)[0] = bad
    values = critical_sharpness(stack, problem)
    assert np.isnan(values[0])
    assert values[1] == critical_sharpness(state, problem)


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1e8, 1e50])
def test_it_scales_with_the_units_of_the_state(scale: float) -> None:
    """For w = 0 it is homogeneous: of degree one in (e, v)."""
    problem = Problem(parametrization("ntp"), 4, np.array([1.0, -2.0]))
    state = latent_state(problem, gaussian_weights(problem, np.random.default_rng(3)))
    still = LatentState(np.zeros(2), state.e, state.v)
    scaled = LatentState(np.zeros(2), scale * state.e, scale * state.v)
    expected = scale * float(critical_sharpness(still, problem))
    assert float(critical_sharpness(scaled, problem)) == pytest.approx(expected, rel=1e-12)
