from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.records import load_record, save_record
from superconsistency.simulations import iterate
from superconsistency.simulations.basins import OrbitFate, find_outcomes, map_basins
from superconsistency.theory import (
    OBSERVABLES,
    PlanarMap,
    PlanarState,
    Problem,
    UniversalState,
    parametrization,
    uniform_target,
)


def _at(factor: float, dimension: int = 3, norm: float = 1.0) -> PlanarMap:
    return PlanarMap(dimension, norm, factor * PlanarMap(dimension, norm, 1.0).edge)


def _starts(planar: PlanarMap, count: int = 60) -> PlanarState:
    """A grid that reaches past the invariant ellipse on all sides, with points that no network has."""
    x, y = (1.4 * math.sqrt(2 * (2 + sign * planar.mu)) for sign in (1, -1))
    grid = np.meshgrid(np.linspace(0.01, x, count), np.linspace(0.01, y, count))
    a, p = planar.from_universal(UniversalState(*grid))
    return PlanarState(
        np.append(a, [[9 * planar.target_norm + a.max()] * count], axis=0), np.append(p, p[:1], axis=0)
    )


@pytest.mark.parametrize("factor", [0.2, 0.7, 0.95, 1.1, 1.3, 1.9])
@pytest.mark.parametrize(("dimension", "norm"), [(1, 1.0), (3, 1.0), (100, 10.0)])
def test_starts_within_the_invariant_ellipse_stay_and_those_outside_diverge(
    factor: float, dimension: int, norm: float
) -> None:
    planar = _at(factor, dimension, norm)
    starts = _starts(planar)
    outcome = find_outcomes(planar, starts, 3000).outcome
    network = outcome != OrbitFate.NO_NETWORK
    kappa = math.sqrt(planar.coupling)
    x2, y2 = (planar.learning_rate * (starts.p + sign * kappa * starts.a) for sign in (1, -1))
    size = x2 / (2 + planar.mu) + y2 / (2 - planar.mu)
    assert not (outcome[network & (size < 2 - 1e-9)] == OrbitFate.DIVERGED).any()
    assert (outcome[network & (size > 2 + 1e-9)] == OrbitFate.DIVERGED).all()
    assert np.sum(network & (size < 2)) > 100
    assert np.sum(network & (size > 2)) > 100


@pytest.mark.parametrize("factor", [0.3, 0.9, 1.1, 1.5])
def test_an_outcome_is_what_following_the_orbit_shows(factor: float) -> None:
    planar = _at(factor)
    starts = _starts(planar, 9)
    fates = find_outcomes(planar, starts, 20_000)
    for index in np.ndindex(fates.outcome.shape):
        start = PlanarState(starts.a[index], starts.p[index])
        if fates.outcome[index] == OrbitFate.NO_NETWORK:
            assert start.p < math.sqrt(planar.coupling) * abs(start.a)
            continue
        orbit = iterate(planar, 20_000, start)
        a, p = (part[-3:] for part in orbit.states)
        if fates.outcome[index] == OrbitFate.DIVERGED:
            assert orbit.diverged_step == fates.steps[index]
        elif fates.outcome[index] == OrbitFate.MINIMIZER:
            assert np.allclose(a, planar.target_norm, atol=1e-7)
            assert math.isclose(p[-1], fates.last.p[index], rel_tol=1e-6)
            assert planar.minimizer_is_stable(p[-1])
        elif fates.outcome[index] == OrbitFate.PERIOD_TWO:
            assert math.isclose(a[0], a[2], rel_tol=1e-6)
            assert not math.isclose(a[0], a[1], rel_tol=1e-3)
        else:
            assert np.isfinite(a).all()


def test_no_minimizer_is_reached_beyond_the_edge_and_no_cycle_below_it() -> None:
    below, beyond = (find_outcomes(_at(factor), _starts(_at(factor))).outcome for factor in (0.9, 1.1))
    assert (below == OrbitFate.MINIMIZER).any()
    assert not (below == OrbitFate.PERIOD_TWO).any()
    assert (beyond == OrbitFate.PERIOD_TWO).any()
    assert not (beyond == OrbitFate.MINIMIZER).any()


def test_steps_to_a_minimizer_are_counted() -> None:
    planar = _at(0.5)
    orbit = iterate(planar, 100).states
    x, y = planar.to_universal(orbit)
    m = np.abs((x**2 - y**2) / 2 - planar.mu)
    assert find_outcomes(planar, planar.start).steps == np.flatnonzero(m <= 1e-9)[0]


def test_a_start_at_a_minimizer_takes_no_step_if_that_is_stable_and_is_not_one_otherwise() -> None:
    planar = _at(0.5)
    p = np.array([0.9, 1.1]) / planar.learning_rate
    fates = find_outcomes(planar, PlanarState(np.full(2, planar.target_norm), p), 20)
    assert fates.outcome[0] == OrbitFate.MINIMIZER
    assert fates.steps[0] == 0
    assert fates.outcome[1] != OrbitFate.MINIMIZER or fates.steps[1] > 0


def test_a_point_alone_no_steps_and_no_number_are_answered() -> None:
    planar = _at(0.5)
    assert find_outcomes(planar, planar.start, 0).outcome == OrbitFate.OTHER
    assert find_outcomes(planar, PlanarState(np.array(np.nan), np.array(1.0))).outcome == OrbitFate.NO_NETWORK
    assert find_outcomes(planar, PlanarState(np.array([]), np.array([]))).outcome.shape == (0,)


def test_a_zero_target_is_reached_from_near_it() -> None:
    planar = PlanarMap(3, 0.0, 0.5)
    fates = find_outcomes(planar, PlanarState(np.array(0.1), np.array(0.5)))
    assert fates.outcome == OrbitFate.MINIMIZER
    assert iterate(planar, 2000, PlanarState(np.array(0.1), np.array(0.5))).states.a[-1] == pytest.approx(0)


def test_a_grid_of_starts_is_a_record(tmp_path: Path) -> None:
    planar = _at(0.8)
    record = map_basins(planar, np.linspace(-1, 2, 7), np.linspace(0.1, 2, 5), steps=500)
    assert record["outcome"].dims == ("second_layer", "alignment")
    alone = find_outcomes(planar, PlanarState(np.array(0.5), np.array(1.05)), 500)
    place = record.sel(alignment=0.5, second_layer=1.05, method="nearest")
    assert place["outcome"] == alone.outcome
    assert place["final_sharpness"] == pytest.approx(float(planar.minimizer_sharpness(alone.last.p)))
    reached = record["outcome"] == OrbitFate.MINIMIZER
    assert (np.isfinite(record["final_sharpness"]) == reached).all()
    assert (record["final_sharpness"].to_numpy()[reached] < 2 / planar.learning_rate).all()
    save_record(record, tmp_path / "basins.nc")
    xr.testing.assert_identical(load_record(tmp_path / "basins.nc"), record)


@pytest.mark.parametrize("axis", [[], [1.0, 0.5], [0.0, math.nan], [[0.0, 1.0]]])
def test_an_axis_that_is_none_is_refused(axis: list[float]) -> None:
    with pytest.raises(InputError, match="grid of second layer"):
        map_basins(_at(0.5), [0.0, 1.0], axis)


def test_fewer_than_no_steps_are_refused() -> None:
    with pytest.raises(InputError, match="steps is -1"):
        find_outcomes(_at(0.5), _at(0.5).start, -1)


@pytest.mark.parametrize(("dimension", "norm"), [(4, 0.4), (10, 0.25), (3, 0.1)])
def test_a_minimizer_unstable_across_the_target_is_not_called_stable(dimension: int, norm: float) -> None:
    """Where `s sqrt(D) < 1` minimizers lose stability across the target first; a perturbed network leaves."""
    limit = PlanarMap(dimension, norm, 1.0)
    assert limit.largest_safe < limit.edge
    for factor, stable in ((0.97, True), (1.03, False)):
        planar = PlanarMap(dimension, norm, factor * 2 / (norm / math.sqrt(dimension) + 1 / dimension))
        lowest = norm / math.sqrt(dimension)
        problem = Problem(parametrization("mup"), math.inf, uniform_target(dimension, norm))
        minimizer = planar.embed(PlanarState(np.asarray(norm), np.asarray(lowest)))
        sharpness = float(OBSERVABLES["sharpness"].compute(minimizer, problem))
        assert (sharpness * planar.learning_rate < 2) is stable
        assert bool(planar.minimizer_is_stable(np.asarray(lowest))) is stable
        fate = find_outcomes(planar, PlanarState(np.asarray(norm), np.asarray(lowest)))
        assert (int(fate.outcome) == OrbitFate.MINIMIZER) is stable
        assert (int(fate.outcome) == OrbitFate.UNSTABLE_ACROSS) is not stable


def test_a_start_far_from_any_minimizer_is_not_at_one_because_the_learning_rate_is_tiny() -> None:
    planar = PlanarMap(3, 1.0, 1e-9)
    assert int(find_outcomes(planar, planar.start, 10).outcome) == OrbitFate.OTHER
