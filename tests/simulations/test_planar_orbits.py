from __future__ import annotations

import math

import numpy as np
import pytest
from superconsistency.errors import InputError
from superconsistency.simulations import iterate
from superconsistency.simulations.planar import FAR, advance_planar
from superconsistency.theory import PlanarMap, PlanarState, UniversalState, universal_step


def test_an_orbit_follows_the_map() -> None:
    planar = PlanarMap(3, 1.0, 0.7)
    orbit = iterate(planar, 30)
    state = planar.start
    for step in range(31):
        np.testing.assert_allclose([orbit.states.a[step], orbit.states.p[step]], state, rtol=1e-10)
        state = planar.step(state)


def _period(factor: float) -> int:
    """Period of the orbit at a multiple of the edge, D = 20 and s = 3; 0 if there is none up to 64."""
    planar = PlanarMap(20, 3.0, 1.0)
    orbit = iterate(PlanarMap(20, 3.0, factor * planar.edge), 200_000).states.a
    tail = orbit[-256:]
    return next((n for n in range(1, 65) if np.allclose(tail[n:], tail[:-n], rtol=0, atol=1e-6)), 0)


@pytest.mark.parametrize(
    ("factor", "period"), [(0.99, 1), (1.01, 2), (1.2, 2), (1.3, 16), (1.7, 3), (1.9, 0)]
)
def test_beyond_the_edge_the_map_doubles_its_period_to_chaos(factor: float, period: int) -> None:
    assert _period(factor) == period


@pytest.mark.parametrize(("dimension", "norm", "factor"), [(20, 3.0, 1.92), (100, 10.0, 1.98), (5, 1.0, 1.6)])
def test_divergence_from_initialisation_starts_before_twice_the_edge(
    dimension: int, norm: float, factor: float
) -> None:
    edge = PlanarMap(dimension, norm, 1.0).edge
    steps = [
        iterate(PlanarMap(dimension, norm, multiple * edge), 20_000).diverged_step
        for multiple in (factor, factor + 0.015, 2.0)
    ]
    assert steps[0] < 0
    assert min(steps[1:]) > 0


def test_a_diverged_orbit_has_no_points_from_there_on() -> None:
    orbit = iterate(PlanarMap(20, 3.0, 2.1 * PlanarMap(20, 3.0, 1.0).edge), 100)
    assert np.isfinite(orbit.states.a[: orbit.diverged_step]).all()
    assert np.isnan(orbit.states.a[orbit.diverged_step :]).all()


def test_an_orbit_may_start_anywhere_and_take_no_step() -> None:
    orbit = iterate(PlanarMap(3, 1.0, 0.7), 0, PlanarState(np.asarray(0.3), np.asarray(0.4)))
    assert (orbit.states.a.item(), orbit.states.p.item()) == (0.3, 0.4)


def test_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(InputError, match="steps is -1"):
        iterate(PlanarMap(3, 1.0, 0.7), -1)


@pytest.mark.parametrize("count", [1, 7, 64, 65, 200])
def test_many_maps_at_once_give_the_orbits_of_each(count: int) -> None:
    rng = np.random.default_rng(count)
    maps = [
        PlanarMap(int(rng.integers(1, 50)), float(rng.uniform(0.1, 3)), float(rng.uniform(0.01, 0.3)))
        for _ in range(count)
    ]
    starts = [planar.to_universal(planar.start) for planar in maps]
    start = UniversalState(*(np.array(part) for part in zip(*starts, strict=True)))
    found = advance_planar(start, np.array([planar.mu for planar in maps]), 45)
    for k, planar in enumerate(maps):
        state = planar.start
        for _ in range(45):
            state = planar.step(state)
        ended = planar.from_universal(UniversalState(found.states.x[k], found.states.y[k]))
        np.testing.assert_allclose(ended, state, rtol=1e-9)


@pytest.mark.parametrize("steps", [0, 1, 31, 32, 33, 100])
def test_the_step_of_divergence_is_the_first_beyond_the_limit(steps: int) -> None:
    rng = np.random.default_rng(steps)
    mu = rng.uniform(0, 3, 300)
    start = UniversalState(rng.uniform(0, 2.5, 300), rng.uniform(0, 2.5, 300))
    when, state = np.full(300, -1), start
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(steps + 1):
            when[(when < 0) & ~(state.x**2 + state.y**2 <= FAR)] = step
            state = universal_step(state, mu)
    found = advance_planar(start, mu, steps)
    np.testing.assert_array_equal(found.diverged_step, when)
    assert np.isnan(found.states.x[when >= 0]).all()
    assert np.isfinite(found.states.x[when < 0]).all()
    if steps == 100:
        assert 50 < np.sum(when >= 0) < 250


def test_an_orbit_diverges_at_the_step_at_which_the_recorded_one_does() -> None:
    for factor in (1.95, 2.0, 2.1, 3.0, 10.0):
        planar = PlanarMap(20, 3.0, factor * PlanarMap(20, 3.0, 1.0).edge)
        recorded = iterate(planar, 2000).diverged_step
        assert (
            advance_planar(planar.to_universal(planar.start), planar.mu, 2000).diverged_step == recorded > 0
        )


def test_starts_beyond_all_bounds_have_diverged_before_the_first_step_is_over() -> None:
    found = advance_planar(UniversalState(np.array([1e60, 0.5]), np.array([0.5, 0.5])), 0.5, 40)
    assert found.diverged_step.tolist() == [0, -1]


def test_an_orbit_beyond_the_edge_ends_on_the_line_without_ever_reaching_subnormal_numbers() -> None:
    x, y = advance_planar(UniversalState(np.array(0.3), np.array(0.3)), 1.2, 1_000_000).states
    assert y == 0
    cubic = float(x)
    for _ in range(2):
        cubic = (1 + 1.2) * cubic - cubic**3 / 2
    assert math.isclose(abs(cubic), abs(float(x)), rel_tol=1e-12)


def test_points_and_parameters_broadcast() -> None:
    start = UniversalState(np.array(0.3), np.array([[0.1], [0.2]]))
    found = advance_planar(start, np.array([0.2, 0.5, 0.9]), 10)
    assert found.states.x.shape == found.diverged_step.shape == (2, 3)
    alone = advance_planar(UniversalState(np.array(0.3), np.array(0.2)), 0.5, 10).states
    assert (found.states.x[1, 1], found.states.y[1, 1]) == (alone.x, alone.y)


@pytest.mark.parametrize(
    ("x", "mu", "steps"), [(math.nan, 1.0, 1), (1.0, -0.1, 1), (1.0, math.inf, 1), (1.0, 1.0, -1)]
)
def test_what_is_no_point_no_parameter_or_no_count_is_refused(x: float, mu: float, steps: int) -> None:
    with pytest.raises(InputError, match="remedy"):
        advance_planar(UniversalState(np.array(x), np.array(0.5)), mu, steps)
