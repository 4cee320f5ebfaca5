from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    LatentState,
    Problem,
    Weights,
    evolve,
    flattest_minimizer,
    jacobian,
    largest_stable_learning_rate,
    latent_state,
    marginal_sharpness,
    minimizer,
    parametrization,
    smallest_minimizer_sharpness,
    uniform_target,
)
from superconsistency.theory.symbolic import start
from superconsistency.theory.symbolic.core import ETA0, KAPPA
from superconsistency.theory.symbolic.stability import published_left_over

from .strategies import networks


def sharpness(state: LatentState, problem: Problem) -> float:
    return float(OBSERVABLES["sharpness"].compute(state, problem))


def flatten(state: LatentState) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.concatenate([state.w, state.e[np.triu_indices(state.w.size)], [float(state.v)]])


@given(networks(), st.floats(0.05, 2.0))
def test_the_jacobian_is_that_of_central_differences(network: tuple[Problem, Weights], rate: float) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    rows, columns = np.triu_indices(problem.dimension)
    dense, base = jacobian(state, problem, rate), flatten(state)

    def unflatten(flat: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> LatentState:
        e = np.zeros((problem.dimension,) * 2)
        e[rows, columns] = e[columns, rows] = flat[problem.dimension : -1]
        return LatentState(flat[: problem.dimension], e, np.asarray(flat[-1]))

    step = 1e-4
    for index in range(base.size):
        nudge = step * np.eye(base.size)[index]
        ends = [flatten(evolve(unflatten(base + sign * nudge), problem, rate)) for sign in (1, -1)]
        # the laws are cubic: central differences err by step^2 times the third derivative
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), dense[:, index], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), [(1, 1), (5, 3), (3, 64)])
def test_a_marginal_minimizer_has_a_sharpness_of_two_over_the_rate_and_an_eigenvalue_of_minus_one(
    name: str, dimension: int, width: int
) -> None:
    problem = Problem(parametrization(name), width, uniform_target(dimension, 1.5))
    rate = 0.7 * largest_stable_learning_rate(problem)
    state = minimizer(problem, 2 / rate)
    assert sharpness(state, problem) == pytest.approx(2 / rate, rel=1e-12)
    eigenvalues = np.linalg.eigvals(jacobian(state, problem, rate)).real
    assert eigenvalues.min() == pytest.approx(-1, abs=1e-12)
    band = marginal_sharpness(problem, rate)
    assert band.lowest < band.exact == 2 / rate < band.highest


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize("dimension", [1, 4])
def test_the_flattest_minimizer_is_that_of_one_neuron(name: str, dimension: int) -> None:
    problem = Problem(parametrization(name), 1, uniform_target(dimension, 2.0))
    u = problem.target / 2.0
    # E = x u, V = x with multiplier x^2 = |w*|: one neuron, balanced
    x = np.sqrt(2.0 / problem.multiplier)
    by_hand = latent_state(problem, Weights((x * u)[:, None], np.array([x])))
    for found, expected in zip(flattest_minimizer(problem), by_hand, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert sharpness(by_hand, problem) == pytest.approx(smallest_minimizer_sharpness(problem), rel=1e-12)


@given(networks())
def test_no_minimizer_is_flatter_than_the_flattest(network: tuple[Problem, Weights]) -> None:
    problem, (first, second) = network
    # move E so that w = w*: a minimizer through random weights
    missing = problem.target / problem.multiplier - first @ second
    moved = Weights(first + np.outer(missing, second) / (second @ second), second)
    state = latent_state(problem, moved)
    assert sharpness(state, problem) >= smallest_minimizer_sharpness(problem) * (1 - 1e-9)


@pytest.mark.parametrize("factor", [0.9, float("nan"), float("inf")])
def test_a_minimizer_flatter_than_any_is_refused(factor: float) -> None:
    problem = Problem(parametrization("mup"), 8, uniform_target(3, 1.0))
    with pytest.raises(InputError, match="sharpness of a minimizer is"):
        minimizer(problem, factor * smallest_minimizer_sharpness(problem))


def test_a_zero_target_is_stable_at_any_rate() -> None:
    problem = Problem(parametrization("mup"), 8, np.zeros(3))
    assert largest_stable_learning_rate(problem) == float("inf")
    assert float(flattest_minimizer(problem).v) == 0
    with pytest.raises(InputError, match="target that is not zero"):
        minimizer(problem, 1.0)


def test_the_published_band_is_the_printed_one() -> None:
    problem = Problem(parametrization("ntp"), 7, np.array([3.0, 4.0]))
    band = marginal_sharpness(problem, 0.5)
    # eta0 gamma^2 |w*|^2 / (N D) with gamma = 1
    assert band.highest - band.exact == pytest.approx(0.5 * 25 / 14)
    assert band.exact - band.lowest == pytest.approx(0.5 * 25 / 14)


def test_the_published_jacobian_differs_by_the_printed_term_alone() -> None:
    """Eq. 21: + eta0^2 gamma^2/(N D) w* w*^T, applied to a change of w; nothing else is left over."""
    (word, value), *others = published_left_over().items()
    assert not others
    assert (word.scalars, word.rest) == ((("dw'", "w_*"),), ("w_*",))
    assert value == -(ETA0**2) * KAPPA**2


def test_the_published_orders_of_sp_are_the_printed_ones() -> None:
    """App. C.3.2 as printed: Var e_ij = O(N), Var v = O(N^-2)."""
    assert start.START_FORMULAS["C.3.2"]() == {"e_ii": 1, "e_ij": 1, "v": -2}


@pytest.mark.parametrize("factor", [1.0, 1e10, 1e200])
def test_a_minimizer_as_sharp_as_asked_is_found(factor: float) -> None:
    problem = Problem(parametrization("mup"), 8, uniform_target(3, 1.0))
    wanted = factor * smallest_minimizer_sharpness(problem)
    state = minimizer(problem, wanted)
    assert float(state.v) + np.linalg.eigvalsh(state.e)[-1] == pytest.approx(wanted, rel=1e-12)
