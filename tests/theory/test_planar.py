from __future__ import annotations

import math

import mpmath
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
from superconsistency.theory.planar import UniversalState, largest_root_across, universal_step


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
    assert float(planar.sharpness(state)) == pytest.approx(expected, rel=1e-13)


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


@given(maps, st.floats(-3, 3), st.floats(0.01, 3))
def test_planar_sharpness_is_never_below_that_of_the_rest(planar: PlanarMap, a: float, p: float) -> None:
    state = _state(a, p + math.sqrt(planar.coupling) * abs(a))
    rho = math.sqrt(planar.coupling) * abs(a - planar.target_norm)
    assert float(planar.sharpness(state)) >= rho * (1 - 1e-14)


positive = st.floats(1e-8, 1e4)


@given(st.one_of(st.just(0.0), positive), st.one_of(st.just(0.0), positive), positive)
def test_the_root_across_the_target_is_the_largest_and_accurate_to_rounding(
    p: float, rho: float, gap: float
) -> None:
    found = largest_root_across(np.asarray(p), np.asarray(rho), gap)
    assert float(found) >= max(p, rho)
    with mpmath.workdps(60):
        exact = mpmath.mpf(float(found))
        for _ in range(5):
            inner = exact**2 - mpmath.mpf(rho) ** 2
            value = (exact - mpmath.mpf(p)) * inner - mpmath.mpf(gap) * exact**2
            exact -= value / (inner + 2 * exact * (exact - mpmath.mpf(p) - mpmath.mpf(gap)))
        assert abs(float(found) / exact - 1) < 1e-15
        a, b, c = map(mpmath.mpf, (p, rho, gap))
        roots = mpmath.polyroots([1, -(a + c), -(b**2), a * b**2], maxsteps=500, extraprec=500)
        assert float(max(mpmath.re(root) for root in roots)) == pytest.approx(float(exact), rel=1e-14)


def test_planar_sharpness_takes_arrays_of_points() -> None:
    planar = PlanarMap(5, 1.0, 0.3)
    a, p = np.linspace(-1, 2, 6).reshape(2, 3), np.full((2, 3), 1.5)
    together = planar.sharpness(PlanarState(a, p))
    assert together.shape == (2, 3)
    single = [float(planar.sharpness(_state(x, y))) for x, y in zip(a.ravel(), p.ravel(), strict=True)]
    np.testing.assert_array_equal(together.ravel(), single)


@given(maps, st.floats(-3, 3), st.floats(0.01, 3))
def test_one_universal_map_is_every_planar_map(planar: PlanarMap, a: float, p: float) -> None:
    state = _state(a, p + math.sqrt(planar.coupling) * abs(a))
    moved = planar.from_universal(universal_step(planar.to_universal(state), planar.mu))
    expected = planar.step(state)
    scale = 1 + float(np.max(np.abs([*expected, *state]))) * (1 + planar.learning_rate)
    np.testing.assert_allclose(moved, expected, atol=1e-12 * scale**2)


@given(maps, st.floats(-3, 3), st.floats(0.0, 3))
def test_universal_coordinates_lead_back(planar: PlanarMap, a: float, p: float) -> None:
    state = _state(a, p + math.sqrt(planar.coupling) * abs(a))
    back = planar.from_universal(planar.to_universal(state))
    np.testing.assert_allclose(back, state, atol=1e-13 * (1 + float(state.p) * math.sqrt(planar.dimension)))


def test_a_point_of_no_network_has_no_universal_coordinates() -> None:
    with pytest.raises(InputError, match="at least 0"):
        PlanarMap(4, 1.0, 0.1).to_universal(_state(1.0, 0.4))


@given(st.floats(0.01, 1.99), st.floats(0, 1), st.floats(0, 1))
def test_no_orbit_leaves_the_ellipse(mu: float, radius: float, angle: float) -> None:
    state = UniversalState(
        np.asarray(math.sqrt(2 * (2 + mu) * radius) * math.cos(angle * math.pi / 2)),
        np.asarray(math.sqrt(2 * (2 - mu) * radius) * math.sin(angle * math.pi / 2)),
    )
    for _ in range(6):
        state = universal_step(state, mu)
        inside = state.x**2 / (2 + mu) + state.y**2 / (2 - mu)
        assert float(inside) <= 2 + 1e-8


@pytest.mark.parametrize(("dimension", "norm"), [(1, 1.0), (5, 0.05), (5, 1.0), (20, 1.0), (100, 10.0)])
def test_orbits_from_initialisation_diverge_past_the_closed_form_only(dimension: int, norm: float) -> None:
    limit = PlanarMap(dimension, norm, 1.0).divergence
    for factor, stays in ((0.9, True), (1 - 1e-6, True), (1 + 1e-6, False), (1.01, False)):
        planar = PlanarMap(dimension, norm, factor * limit)
        state = planar.start
        for _ in range(1500):
            state = planar.step(state)
            if not abs(float(state.a)) < 1e6:
                break
        assert (abs(float(state.a)) < 1e6) is stays


def test_divergence_tends_to_twice_the_edge_and_to_twice_the_dimension() -> None:
    assert PlanarMap(20, 1e6, 1.0).divergence == pytest.approx(2 * PlanarMap(20, 1e6, 1.0).edge, rel=1e-6)
    assert PlanarMap(20, 0.0, 1.0).divergence == 40
    assert PlanarMap(20, 1.0, 1.0).divergence == pytest.approx(8)


@pytest.mark.parametrize("dimension", [1, 7, 400])
def test_orbits_diverge_before_the_edge_where_the_target_is_small(dimension: int) -> None:
    for share, before in ((0.99, True), (1.01, False)):
        planar = PlanarMap(dimension, share * 2 / 3 / math.sqrt(dimension), 1.0)
        assert (planar.divergence < planar.edge) is before
