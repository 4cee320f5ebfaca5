from __future__ import annotations

import numpy as np
import pytest
from superconsistency.errors import InputError
from superconsistency.simulations import iterate
from superconsistency.theory import PlanarMap, PlanarState


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
