from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.records import load_record, record_to_json, save_record
from superconsistency.simulations import trajectory
from superconsistency.simulations.attractors import bifurcation_diagram, detect_period, lyapunov_exponents
from superconsistency.theory import (
    OBSERVABLES,
    PlanarMap,
    PlanarState,
    Problem,
    UniversalState,
    limit_state,
    parametrization,
    uniform_target,
)

DOUBLING = math.sqrt(5) - 1
PERIODS = {0.3: 1, 0.99: 1, 1.01: 2, 1.2: 2, 1.24: 4, 1.3: 16, 1.7: 3, 1.9: 0, 2.0: -1}


@pytest.fixture(scope="module")
def diagram() -> xr.Dataset:
    return bifurcation_diagram(20, 3.0, factors=list(PERIODS))


def test_periods_double_to_chaos_with_a_window_of_three(diagram: xr.Dataset) -> None:
    assert diagram["period"].to_numpy().tolist() == list(PERIODS.values())


@pytest.mark.parametrize(("place", "before", "after"), [(1.0, 1, 2), (DOUBLING, 2, 4)])
def test_the_first_bifurcations_are_where_the_theory_puts_them(place: float, before: int, after: int) -> None:
    found = bifurcation_diagram(20, 3.0, factors=[place - 1e-3, place + 1e-3])["period"]
    assert found.to_numpy().tolist() == [before, after]


@pytest.mark.parametrize(("dimension", "norm"), [(1, 1.0), (5, 1.0), (20, 3.0), (100, 10.0)])
def test_divergence_starts_at_its_closed_form(dimension: int, norm: float) -> None:
    rate = PlanarMap(dimension, norm, 1.0).divergence
    found = bifurcation_diagram(dimension, norm, learning_rates=[rate * (1 - 1e-6), rate * (1 + 1e-6)])
    steps = found["diverged_step"].to_numpy()
    assert steps[0] < 0 < steps[1]
    assert np.isfinite(found["sharpness"][0]).all()
    assert np.isnan(found["sharpness"][1]).all()
    assert np.isnan(found["lyapunov"][1])


@pytest.mark.parametrize("settle", [0, 5, 11, 12])
def test_the_step_of_divergence_does_not_depend_on_when_one_looks(settle: int) -> None:
    assert bifurcation_diagram(20, 3.0, factors=[2.0], settle=settle)["diverged_step"].item() == 11


def test_the_two_cycle_is_that_of_the_cubic(diagram: xr.Dataset) -> None:
    planar = PlanarMap(20, 3.0, 1.2 * PlanarMap(20, 3.0, 1.0).edge)
    points = diagram.isel(learning_rate=list(PERIODS).index(1.2), sample=slice(0, 2))
    x2 = planar.learning_rate * 2 * points["second_layer"].to_numpy()

    def twice(x: float) -> float:
        for _ in range(2):
            x = 2.2 * x - x**3 / 2
        return x

    for square in x2:
        assert math.isclose(twice(math.sqrt(square)), math.sqrt(square), rel_tol=1e-9)
    assert abs(x2[0] - x2[1]) > 0.5
    np.testing.assert_allclose(
        points["alignment"], points["second_layer"] * math.sqrt(20), rtol=1e-12
    )  # on the line y = 0


@pytest.mark.parametrize("factor", [0.3, 0.5, 0.9, 0.99])
def test_below_the_edge_the_exponents_are_those_of_the_minimizer(factor: float) -> None:
    """One is 0, along the line of minimizers; the other is the logarithm of a dense Jacobian's eigenvalue."""
    found = bifurcation_diagram(20, 3.0, factors=[factor]).isel(learning_rate=0)
    planar = PlanarMap(20, 3.0, float(found["learning_rate"]))
    p, h = float(found["second_layer"][-1]), 1e-6
    columns = []
    for da, dp in ((h, 0.0), (0.0, h)):
        ends = [
            planar.step(PlanarState(np.array(3.0 + sign * da), np.array(p + sign * dp))) for sign in (1, -1)
        ]
        columns.append([(ends[0].a - ends[1].a) / (2 * h), (ends[0].p - ends[1].p) / (2 * h)])
    multipliers = np.sort(np.abs(np.linalg.eigvals(np.array(columns).T)))[::-1]
    assert math.isclose(float(found["lyapunov"]), math.log(multipliers[0]), abs_tol=1e-7)
    assert math.isclose(float(found["lyapunov_second"]), math.log(multipliers[1]), rel_tol=1e-6)
    assert math.isclose(multipliers[1], abs(1 - 2 * planar.learning_rate * p), rel_tol=1e-6)


def test_the_cubic_at_twice_the_edge_stretches_by_three() -> None:
    """With `x = sqrt(8) cos t` the cubic is `t -> 3 t + pi`; y grows by `sin 3t / sin t`, on average by 1."""
    found = lyapunov_exponents(UniversalState(np.array(0.3), np.array(0.0)), 2.0, 200_000)
    assert math.isclose(float(found.largest), math.log(3), abs_tol=1e-3)
    assert math.isclose(float(found.second), 0, abs_tol=1e-3)
    assert found.largest_error < 1e-3


def test_exponents_are_those_of_qr_on_the_jacobian() -> None:
    """Against NumPy's QR, step by step, and a long average along a chaotic orbit."""
    mu, steps, state = 1.9, 20_000, np.array([0.37, 0.0])
    start = UniversalState(*state)
    found = lyapunov_exponents(start, mu, 200_000)
    basis, total = np.eye(2), np.zeros(2)
    for _ in range(steps):
        x, y = state
        m = (x * x - y * y) / 2 - mu
        jacobian = np.array([[1 - m - x * x, x * y], [x * y, 1 + m - y * y]])
        basis, growth = np.linalg.qr(jacobian @ basis)
        total += np.log(np.abs(np.diag(growth)))
        state = np.array([x * (1 - m), y * (1 + m)])
    average = total / steps
    assert math.isclose(float(found.largest), average[0], abs_tol=0.02)
    assert math.isclose(float(found.second), average[1], abs_tol=0.02)


def test_the_standard_error_says_how_far_repetitions_scatter() -> None:
    starts = np.random.default_rng(0).uniform(0.1, 1.5, 400)
    found = lyapunov_exponents(UniversalState(starts, np.zeros(400)), 1.9, 4096)
    ratio = found.largest.std() / np.sqrt(np.mean(found.largest_error**2))
    assert 0.7 < ratio < 1.4


def test_chaos_has_a_positive_exponent_and_cycles_have_none(diagram: xr.Dataset) -> None:
    exponent, error = (diagram[name].to_numpy() for name in ("lyapunov", "lyapunov_error"))
    for value, spread, period in zip(exponent, error, PERIODS.values(), strict=True):
        if period > 0:
            assert value <= 3 * spread + 1e-6
        elif period == 0:
            assert value > 0.8


def test_an_exponent_of_minus_infinity_is_a_result() -> None:
    """At the origin y is multiplied by `1 - mu` and x by `1 + mu`: at the edge, by 0 and by 2."""
    found = lyapunov_exponents(UniversalState(np.array(0.0), np.array(0.0)), 1.0, 128)
    assert found.second == -np.inf
    assert math.isclose(float(found.largest), math.log(2), rel_tol=1e-12)


@pytest.mark.parametrize(
    ("dimension", "norm", "factor"),
    [
        (1, 1.0, 0.5),
        (1, 1.0, 1.1),
        (3, 1.0, 0.95),
        (3, 1.0, 1.24),
        (20, 3.0, 0.5),
        (20, 3.0, 1.1),
        (20, 3.0, 1.24),
    ],
)
def test_the_attractor_is_that_of_the_full_dimensional_system(
    dimension: int, norm: float, factor: float
) -> None:
    found = bifurcation_diagram(dimension, norm, factors=[factor], settle=1500, keep=128, average=128)
    found = found.isel(learning_rate=0)
    problem = Problem(parametrization("mup"), math.inf, uniform_target(dimension, norm))
    start = limit_state(problem, np.random.default_rng(0))
    history = trajectory(problem, start, float(found["learning_rate"]), 3000)
    for name in ("sharpness", "loss", "alignment"):
        full = np.sort(OBSERVABLES[name].compute(type(history)(*(part[-8:] for part in history)), problem))
        np.testing.assert_allclose(np.sort(found[name].to_numpy()[-8:]), full, rtol=1e-6, atol=1e-7)


def test_a_zero_target_is_learned_before_the_first_step() -> None:
    found = bifurcation_diagram(3, 0.0, learning_rates=[0.5], settle=10)
    assert found["period"].item() == 1
    assert found["loss"].max() == 0
    assert found["alignment"].max() == 0


@pytest.mark.parametrize("period", [1, 2, 3, 64])
def test_the_least_period_is_found(period: int) -> None:
    wave = np.asarray(np.arange(256) % period + 1, dtype=np.float64)
    assert detect_period(PlanarState(wave, np.ones(256))) == period
    assert detect_period(PlanarState(np.ones(256), wave)) == period


def test_a_period_beyond_the_longest_is_none() -> None:
    assert (
        detect_period(PlanarState(np.asarray(np.arange(256) % 65 + 1, dtype=np.float64), np.ones(256))) == 0
    )


def test_a_diagram_survives_being_kept(diagram: xr.Dataset, tmp_path: Path) -> None:
    save_record(diagram, tmp_path / "diagram.nc")
    xr.testing.assert_identical(load_record(tmp_path / "diagram.nc"), diagram)
    assert record_to_json(diagram)["attrs"]["configuration"]["dimension"] == 20


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "exactly one"),
        ({"factors": [1.0], "learning_rates": [1.0]}, "exactly one"),
        ({"factors": []}, "learning rates"),
        ({"factors": [0.5, 0.5]}, "learning rates"),
        ({"learning_rates": [-1.0]}, "learning rate"),
        ({"factors": [1.0], "settle": -1}, "settling steps"),
        ({"factors": [1.0], "keep": 127}, "points kept"),
        ({"factors": [1.0], "average": 0}, "averaged steps"),
        ({"factors": [1.0], "keep": 10**9}, "points kept"),
    ],
)
def test_what_cannot_be_followed_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        bifurcation_diagram(3, 1.0, **settings)  # type: ignore[arg-type]


def test_a_zero_target_has_no_edge_to_measure_by() -> None:
    with pytest.raises(InputError, match="learning_rates"):
        bifurcation_diagram(3, 0.0, factors=[1.0])
