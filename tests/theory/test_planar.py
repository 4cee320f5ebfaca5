from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.theory import (
    OBSERVABLES,
    PlanarMap,
    PlanarState,
    Problem,
    evolve,
    initial_state,
    parametrization,
    uniform_target,
)


def _state(a: float, p: float) -> PlanarState:
    return PlanarState(np.asarray(a), np.asarray(p))


maps = st.builds(PlanarMap, st.integers(1, 9), st.floats(0.0, 4.0), st.floats(0.05, 3.0))


@given(maps, st.floats(-3, 3), st.floats(0.01, 3))
def test_a_planar_step_is_a_step_of_theorem_5_1(planar: PlanarMap, a: float, p: float) -> None:
    problem = Problem(parametrization("mup"), math.inf, uniform_target(planar.dimension, planar.target_norm))
    state = _state(a, p)
    expected = evolve(planar.embed(state), problem, planar.learning_rate)
    # A zero target has no direction of its own; the embedding chooses one, which the step keeps.
    for left, right in zip(planar.embed(planar.step(state)), expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-10)


@given(maps, st.floats(-3, 3), st.floats(1.0, 3))
def test_planar_sharpness_is_that_of_the_embedded_state(planar: PlanarMap, a: float, p: float) -> None:
    problem = Problem(parametrization("mup"), math.inf, uniform_target(planar.dimension, planar.target_norm))
    state = _state(a, p + math.sqrt(planar.coupling) * abs(a))
    expected = float(OBSERVABLES["sharpness"].compute(planar.embed(state), problem))
    assert float(planar.sharpness(state)) == pytest.approx(expected, rel=1e-9)


def test_the_planar_start_is_the_infinite_width_start() -> None:
    problem = Problem(parametrization("mup"), math.inf, uniform_target(4, 2.0))
    planar = PlanarMap(4, 2.0, 0.1)
    start = initial_state(problem, np.random.default_rng(0))
    for left, right in zip(planar.embed(planar.start), start, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-15)


def test_a_minimizer_stands_still_and_has_its_closed_form_sharpness() -> None:
    planar = PlanarMap(5, 2.0, 0.3)
    minimizer = _state(2.0, 1.4)
    assert planar.step(minimizer) == minimizer
    assert float(planar.sharpness(minimizer)) == pytest.approx(float(planar.minimizer_sharpness(minimizer.p)))


@pytest.mark.parametrize(("p", "stable"), [(1.0, True), (3.0, True), (3.5, False)])
def test_minimizers_are_stable_below_the_edge(p: float, stable: bool) -> None:
    planar = PlanarMap(5, 1.0, 0.3)
    assert bool(planar.minimizer_is_stable(np.asarray(p))) is stable
    state = _state(1.0 + 1e-6, p)
    for _ in range(200):
        state = planar.step(state)
    assert (abs(float(state.a) - 1.0) < 1e-6) is stable


@pytest.mark.parametrize("setting", [(0, 1.0, 0.1), (3, -1.0, 0.1), (3, float("nan"), 0.1), (3, 1.0, 0.0)])
def test_an_impossible_map_is_refused(setting: tuple[int, float, float]) -> None:
    with pytest.raises(InputError):
        PlanarMap(*setting)
