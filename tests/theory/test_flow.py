from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.theory import (
    OBSERVABLES,
    LatentState,
    Problem,
    Weights,
    evolve,
    latent_state,
    limit_state,
    parametrization,
    uniform_target,
)
from superconsistency.theory import flow as room
from superconsistency.theory.flow import (
    conserved,
    final_sharpness_mup,
    final_sharpness_ntp,
    final_sharpness_planar,
    final_state_ntp,
    flow_rates,
    integrate,
    top_of_difference,
)
from superconsistency.theory.symbolic import flow as symbolic
from superconsistency.theory.symbolic.laws import RESIDUAL

from .strategies import networks

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.theory import Array

Network = tuple[Problem, Weights]


def _frozen(problem: Problem, start: Array) -> LatentState:
    return limit_state(problem, np.random.default_rng(0))._replace(w=start)


def _sharpness(state: LatentState, problem: Problem) -> float:
    return float(OBSERVABLES["sharpness"].compute(state, problem))


def _packed(state: LatentState) -> Array:
    return np.concatenate([np.ravel(part) for part in state])


@given(networks())
def test_the_flow_is_the_small_step_limit_of_gradient_descent(network: Network) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    # The laws are quadratic in the step, so the central difference is exact.
    there, back = (_packed(evolve(state, problem, rate)) for rate in (0.5, -0.5))
    scale = 1 + float(np.max(np.abs([there, back])))
    np.testing.assert_allclose(_packed(flow_rates(state, problem)), there - back, atol=1e-13 * scale)


@given(networks())
def test_the_flow_of_raw_weights_leaves_their_difference_of_squares(network: Network) -> None:
    problem, (first, second) = network
    r = problem.multiplier * (first @ second) - problem.target
    moved_first, moved_second = np.outer(r, second), r @ first
    rate = moved_first.T @ first + first.T @ moved_first
    other = np.outer(moved_second, second) + np.outer(second, moved_second)
    np.testing.assert_allclose(rate, other, atol=1e-12 * (1 + np.max(np.abs(rate))))


@given(networks())
def test_gradient_descent_moves_the_balance_by_the_stated_amount(network: Network) -> None:
    problem, weights = network
    state, rate, c = latent_state(problem, weights), 0.3, problem.kappa**2
    r = state.w - problem.target
    moved = conserved(evolve(state, problem, rate), problem).balance - conserved(state, problem).balance
    stated = rate**2 * c * (state.v * (r @ r) - r @ state.e @ r)
    after = evolve(state, problem, rate)
    scale = float(np.trace(after.e) + after.v + np.trace(state.e) + state.v)
    assert float(moved) == pytest.approx(float(stated), abs=1e-13 * scale)


def _conserved_spectrum(state: LatentState, problem: Problem) -> Array:
    """Eigenvalues of `S J`, real as those of `S^(1/2) J S^(1/2)`; shape (D + 1,), ascending."""
    gram = np.block([[state.e, problem.kappa * state.w[:, None]], [problem.kappa * state.w, state.v]])
    values, vectors = np.linalg.eigh(gram)
    half = vectors * np.sqrt(np.maximum(values, 0.0))
    signs = np.append(np.ones(len(state.w)), -1.0)
    return np.asarray(np.linalg.eigvalsh(half.T @ (signs[:, None] * half)))


@given(networks())
def test_the_integrals_are_power_sums_of_the_conserved_spectrum(network: Network) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    spectrum, found = _conserved_spectrum(state, problem), conserved(state, problem)
    size = float(np.trace(state.e) + state.v)
    assert float(found.balance) == pytest.approx(float(spectrum.sum()), abs=1e-13 * size)
    assert float(found.square) == pytest.approx(float((spectrum**2).sum()), abs=1e-12 * size**2)


@settings(max_examples=15)
@given(networks())
def test_the_integrated_flow_keeps_the_spectrum(network: Network) -> None:
    problem, weights = network
    state = latent_state(problem, weights)
    later = integrate(state, problem, 1 / max(1.0, _sharpness(state, problem)))
    size = float(np.trace(state.e) + state.v + np.trace(later.e) + later.v)
    before, after = (_conserved_spectrum(each, problem) for each in (state, later))
    # The square root of S turns an error of its zero eigenvalues into its root.
    np.testing.assert_allclose(after, before, atol=3e-5 * size)
    for left, right in zip(conserved(later, problem), conserved(state, problem), strict=True):
        assert float(left) == pytest.approx(float(right), abs=1e-9 * (size + size**2))


def test_leading_axes_run_over_networks() -> None:
    problem = Problem(parametrization("ntp"), 7, np.array([1.0, -0.5]))
    generator = np.random.default_rng(3)
    states = [
        latent_state(problem, Weights(generator.standard_normal((2, 7)), generator.standard_normal(7)))
        for _ in range(3)
    ]
    stacked = LatentState(*(np.stack(parts) for parts in zip(*states, strict=True)))
    for function in (flow_rates, conserved):
        together: Any = function(stacked, problem)
        for k, state in enumerate(states):
            for part, single in zip(together, function(state, problem), strict=True):
                np.testing.assert_allclose(part[k], single, rtol=1e-14)


@pytest.mark.parametrize("dimension", [1, 2, 5])
@pytest.mark.parametrize("norm", [0.0, 0.3, 2.0])
def test_flow_under_mup_ends_at_the_closed_form_sharpness(dimension: int, norm: float) -> None:
    problem = Problem(parametrization("mup"), math.inf, uniform_target(dimension, norm))
    end = integrate(_frozen(problem, np.zeros(dimension)), problem, 20 * dimension)
    assert _sharpness(end, problem) == pytest.approx(final_sharpness_mup(dimension, norm), rel=1e-11)
    assert final_sharpness_planar(problem, 0.0) == pytest.approx(
        final_sharpness_mup(dimension, norm), rel=1e-15
    )


def _descended_sharpness(dimension: int, norm: float, rate: float) -> float:
    """Gradient descent on raw weights of width D + 1 with orthogonal layers: e = I/D, v = 1/D, w = 0."""
    width = dimension + 1
    problem = Problem(parametrization("mup"), width, uniform_target(dimension, norm))
    stacked = math.sqrt(width) * np.eye(width)
    first, second = stacked[:-1], stacked[-1]
    raw = rate * problem.learning_rate_scale * problem.multiplier
    for _ in range(20_000):
        r = problem.multiplier * (first @ second) - problem.target
        if np.linalg.norm(r) < 1e-12:
            break
        first, second = first - raw * np.outer(r, second), second - raw * (r @ first)
    return _sharpness(latent_state(problem, Weights(first, second)), problem)


@pytest.mark.parametrize("dimension", [1, 4])
def test_gradient_descent_tends_to_the_flow_in_proportion_to_the_step(dimension: int) -> None:
    closed = final_sharpness_mup(dimension, 1.0)
    gaps = [_descended_sharpness(dimension, 1.0, rate / closed) - closed for rate in (0.02, 0.01)]
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.03)
    assert abs(gaps[1]) < 1e-3 * closed


@pytest.mark.parametrize("dimension", [1, 2, 5])
@pytest.mark.parametrize("alignment", [-1.3, -0.4, 0.0, 0.7, 1.5])
def test_flow_on_the_plane_ends_at_the_exact_sharpness(dimension: int, alignment: float) -> None:
    problem = Problem(parametrization("ntp"), 16 * dimension, uniform_target(dimension, 1.0))
    end = integrate(_frozen(problem, alignment * problem.target), problem, 30 * dimension)
    assert _sharpness(end, problem) == pytest.approx(final_sharpness_planar(problem, alignment), rel=1e-11)


@pytest.mark.parametrize("dimension", [1, 2, 5])
@pytest.mark.parametrize("scale", [0.0, 0.6, 1.4])
def test_what_the_first_order_misses_falls_as_the_width_squared(dimension: int, scale: float) -> None:
    generator = np.random.default_rng(dimension)
    target, start = (vector / np.linalg.norm(vector) for vector in generator.standard_normal((2, dimension)))
    gaps = []
    for width in (200 * dimension, 400 * dimension):
        problem = Problem(parametrization("ntp"), width, target)
        end = integrate(_frozen(problem, scale * start), problem, 25 * dimension)
        predicted = final_state_ntp(problem, scale * start)
        state_gap = np.max(np.abs(_packed(end) - _packed(predicted)))
        gaps.append((_sharpness(end, problem) - final_sharpness_ntp(problem, scale * start), state_gap))
    (sharp, state), (sharp_wide, state_wide) = gaps
    assert sharp / sharp_wide == pytest.approx(4, abs=0.1)
    assert state / state_wide == pytest.approx(4, abs=0.1)


def test_the_sharpness_under_ntp_does_not_move_at_infinite_width() -> None:
    problem = Problem(parametrization("ntp"), math.inf, uniform_target(4, 2.0))
    assert final_sharpness_ntp(problem, np.ones(4)) == 2 / 4
    assert final_sharpness_planar(problem, 1.0) == 2 / 4


vectors = st.integers(1, 5).flatmap(
    lambda size: st.tuples(*(st.lists(st.floats(-3, 3), min_size=size, max_size=size) for _ in range(2)))
)


@given(vectors)
def test_the_top_of_a_difference_is_its_largest_eigenvalue(pair: tuple[list[float], list[float]]) -> None:
    """To forty digits: LAPACK's eigenvalues are off by 2e-11 where entries of 1e-156 stand beside ones."""
    with mpmath.workdps(40):
        plus, minus = map(mpmath.matrix, pair)
        difference = plus * plus.T - minus * minus.T
        expected = float(max(mpmath.eigsy(difference, eigvals_only=True)))
    assert top_of_difference(*map(np.array, pair)) == pytest.approx(expected, abs=1e-11)


def test_the_top_of_a_difference_is_right_where_lapack_is_not() -> None:
    plus, minus = [1.046160087026817e-78, 0.0, 0.0, 3.0], [1.046160087026817e-78, 0.0, 1.0, 3.0]
    exact = (math.sqrt(37) - 1) / 2
    assert top_of_difference(np.array(plus), np.array(minus)) == pytest.approx(exact, rel=1e-15)


NTP = Problem(parametrization("ntp"), 32, np.array([1.0, 0.0]))
SP = Problem(parametrization("sp"), 32, np.array([1.0, 0.0]))
MUP = Problem(parametrization("mup"), 32, np.array([1.0, 0.0]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: flow_rates(_frozen(NTP, np.zeros(2)), Problem(NTP.parametrization, 32, np.ones(3))),
        lambda: integrate(_frozen(NTP, np.zeros(2)), NTP, 0.0),
        lambda: final_sharpness_mup(0, 1.0),
        lambda: final_sharpness_mup(2, -1.0),
        lambda: final_sharpness_ntp(NTP, np.zeros(3)),
        lambda: final_sharpness_ntp(NTP, np.array([4.0, 0.0])),
        lambda: final_sharpness_ntp(MUP, np.zeros(2)),
        lambda: final_sharpness_ntp(SP, np.zeros(2)),
        lambda: final_sharpness_planar(SP, 0.0),
        lambda: final_sharpness_planar(MUP, -2.0),
    ],
)
def test_impossible_input_is_refused_in_one_line(call: Callable[[], Any]) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_flow_that_cannot_be_integrated_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        success = False

    monkeypatch.setattr(room, "solve_ivp", lambda *_args, **_kwargs: Failed())
    with pytest.raises(InputError, match="shorter time"):
        integrate(_frozen(NTP, np.zeros(2)), NTP, 1.0)


@pytest.mark.parametrize("derive", [symbolic.flow_integrals, symbolic.flow_sharpness])
def test_a_derivation_of_the_flow_holds_and_can_be_printed(derive: Callable[[], Any]) -> None:
    found = derive()
    assert found.failing() == []
    assert found.holds
    assert found.latex.count(r"\item") == len(found.steps)


@pytest.mark.parametrize("field", symbolic.FinalState._fields)
def test_every_statement_about_the_end_of_the_flow_can_fail(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    def wrong(*symbols: Any) -> Any:
        stated = symbolic.final_state(*symbols)
        return stated._replace(**{field: 2 * getattr(stated, field)})

    monkeypatch.setitem(symbolic.FLOW_FORMULAS, "flow-sharpness", wrong)
    assert not symbolic.flow_sharpness().holds


def _with_rate(stated: Any, name: str) -> Any:
    return stated._replace(rates=stated.rates._replace(**{name: 2 * getattr(stated.rates, name)}))


def _with_residual(stated: Any, name: str) -> Any:
    right, extra = getattr(stated, name), RESIDUAL.T * RESIDUAL
    return stated._replace(**{name: lambda trace: right(trace) + extra})


@pytest.mark.parametrize(
    ("mistake", "label"),
    [
        (lambda stated: _with_rate(stated, "w"), "limit"),
        (lambda stated: _with_rate(stated, "e"), "spectrum"),
        (lambda stated: _with_rate(stated, "v"), "limit"),
        (lambda stated: _with_residual(stated, "balance"), "balance"),
        (lambda stated: _with_residual(stated, "square"), "square"),
        (lambda stated: stated._replace(change=-stated.change), "descent"),
    ],
)
def test_every_statement_about_the_integrals_can_fail(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Any], Any], label: str
) -> None:
    monkeypatch.setitem(
        symbolic.FLOW_FORMULAS, "flow", lambda *symbols: mistake(symbolic.integrals(*symbols))
    )
    assert label in {step.label for step in symbolic.flow_integrals().failing()}


@pytest.mark.parametrize("tolerance", [0.0, -1.0, 1e-16, 1.0, math.nan])
def test_a_tolerance_that_no_integrator_keeps_is_refused(tolerance: float) -> None:
    problem = Problem(parametrization("mup"), 3, np.ones(2))
    with pytest.raises(InputError, match="tolerance is"):
        room.integrate(limit_state(problem, np.random.default_rng(0)), problem, 1.0, tolerance)


def test_a_start_that_is_not_finite_does_not_flow() -> None:
    problem = Problem(parametrization("mup"), 3, np.ones(2))
    start = limit_state(problem, np.random.default_rng(0))
    with pytest.raises(InputError, match="start of the flow is not finite"):
        room.integrate(start._replace(w=start.w * np.nan), problem, 1.0)
