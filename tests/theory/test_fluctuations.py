from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.theory import (
    OBSERVABLES,
    LatentState,
    PlanarMap,
    PlanarState,
    Problem,
    evolve,
    parametrization,
    uniform_target,
)
from superconsistency.theory.fluctuations import (
    Deviation,
    across_jacobian,
    growth_factors,
    plane_jacobian,
    predicted_deviation,
    sharpness_gradient,
    start_variances,
)
from superconsistency.theory.symbolic import fluctuations as symbolic
from superconsistency.theory.symbolic import moments

from .strategies import orthogonal


def mup(dimension: int, norm: float, width: float = math.inf) -> Problem:
    return Problem(parametrization("mup"), width, uniform_target(dimension, norm))


def basis(dimension: int) -> Any:
    """Orthonormal columns, the first along (1, ..., 1)."""
    matrix = orthogonal(dimension, 3)
    matrix[:, 0] = uniform_target(dimension, 1.0)
    factor, upper = np.linalg.qr(matrix)
    return factor * np.sign(upper[0, 0]) if dimension == 1 else factor * np.where(upper.diagonal() < 0, -1, 1)


def differentiated(
    dimension: int, planar: PlanarMap, at: tuple[float, float], change: LatentState
) -> LatentState:
    """Central difference of a step of Theorem 5.1; a step is cubic, so the error is of order h^2."""
    problem, h = mup(dimension, planar.target_norm), 1e-5
    base = planar.embed(PlanarState(np.asarray(at[0]), np.asarray(at[1])))
    ends = [
        evolve(
            LatentState(*(x + sign * h * d for x, d in zip(base, change, strict=True))),
            problem,
            planar.learning_rate,
        )
        for sign in (1, -1)
    ]
    return LatentState(*((right - left) / (2 * h) for right, left in zip(*ends, strict=True)))


def largest_across(planar: PlanarMap, a: float, p: float) -> float:
    """Largest root of the sharpness equation across the target; none in one dimension."""
    rho2, c = planar.coupling * (a - planar.target_norm) ** 2, planar.coupling
    return 0.0 if planar.dimension == 1 else float(np.roots([1, -(p + c), -rho2, p * rho2]).real.max())


points = st.tuples(st.floats(-2, 2), st.floats(0.05, 2))
settings = st.tuples(st.integers(2, 5), st.floats(0, 3), st.floats(0.05, 1))


@given(settings, points, st.tuples(*[st.floats(-1, 1)] * 3))
def test_the_plane_moves_by_its_jacobian_and_stays_the_plane(
    setting: tuple[int, float, float], at: tuple[float, float], change: tuple[float, float, float]
) -> None:
    dimension, planar = setting[0], PlanarMap(*setting)
    u = basis(dimension)[:, 0]
    moved = LatentState(change[0] * u, change[1] * np.outer(u, u), np.asarray(change[2]))
    found = differentiated(dimension, planar, at, moved)
    x, g, y = np.array(plane_jacobian(*at, *setting[1:], 1 / dimension)) @ change
    np.testing.assert_allclose(found.w, x * u, atol=1e-6)
    np.testing.assert_allclose(found.e, g * np.outer(u, u), atol=1e-6)
    np.testing.assert_allclose(found.v, y, atol=1e-6)


@given(settings, points, st.tuples(*[st.floats(-1, 1)] * 3))
def test_across_the_target_pairs_move_by_their_jacobian_and_the_rest_stands_still(
    setting: tuple[int, float, float], at: tuple[float, float], change: tuple[float, float, float]
) -> None:
    dimension, planar = setting[0], PlanarMap(*setting)
    u, d, other = (basis(dimension)[:, k] for k in (0, 1, dimension - 1))
    mixed, rest = np.outer(u, d) + np.outer(d, u), np.outer(d, other) + np.outer(other, d)
    moved = LatentState(change[0] * d, change[1] * mixed + change[2] * rest, np.asarray(0.0))
    found = differentiated(dimension, planar, at, moved)
    x, g = np.array(across_jacobian(*at, *setting[1:], 1 / dimension)) @ change[:2]
    np.testing.assert_allclose(found.w, x * d, atol=1e-6)
    np.testing.assert_allclose(found.e, g * mixed + change[2] * rest, atol=1e-6)
    np.testing.assert_allclose(found.v, 0, atol=1e-6)


@given(settings, points)
def test_the_sharpness_moves_by_its_gradient_where_the_target_has_it(
    setting: tuple[int, float, float], at: tuple[float, float]
) -> None:
    planar, problem = PlanarMap(*setting), mup(setting[0], setting[1])
    a, p = at[0], at[1] + math.sqrt(planar.coupling) * abs(at[0])
    value = p + math.sqrt(max(p**2 + planar.coupling * (a - setting[1]) * (3 * a - setting[1]), 0))
    whole = float(planar.sharpness(PlanarState(np.asarray(a), np.asarray(p))))
    across = largest_across(planar, a, p)
    assume(whole - across > 0.02)
    assume(value - p > 0.02)
    numerators = sharpness_gradient(value, a, setting[1], planar.coupling)
    u = basis(setting[0])[:, 0]
    base = planar.embed(PlanarState(np.asarray(a), np.asarray(p)))
    none = LatentState(0 * u, 0 * base.e, np.asarray(0.0))
    changes = [none._replace(w=u), none._replace(e=np.outer(u, u)), none._replace(v=np.asarray(1.0))]
    for change, numerator in zip(changes, (numerators[0], numerators[1], numerators[1]), strict=True):
        ends = [
            OBSERVABLES["sharpness"].compute(
                LatentState(*(x + h * d for x, d in zip(base, change, strict=True))), problem
            )
            for h in (1e-5, -1e-5)
        ]
        assert float(ends[0] - ends[1]) / 2e-5 == pytest.approx(
            numerator / (2 * (value - p)), abs=1e-4, rel=1e-4
        )


def dense_deviations(problem: Problem, rate: float, steps: int) -> dict[str, list[float]]:
    """Deviations by pushing a start-sized change of every entry of (w, e, v), without sectors."""
    size, s = problem.dimension, float(np.linalg.norm(problem.target))
    limit = mup(size, s)
    planar = PlanarMap(size, s, rate)
    base, h, unit = planar.embed(planar.start), 1e-4, 1 / (math.sqrt(problem.width) * size)
    changes = [
        LatentState(np.eye(size)[i] * unit * math.sqrt(size), 0 * base.e, np.asarray(0.0))
        for i in range(size)
    ]
    for i in range(size):
        for j in range(i + 1):
            entry = np.zeros((size, size))
            entry[i, j] = entry[j, i] = unit * (math.sqrt(2) if i == j else 1)
            changes.append(LatentState(np.zeros(size), entry, np.asarray(0.0)))
    changes.append(LatentState(np.zeros(size), 0 * base.e, np.asarray(math.sqrt(2) * unit)))
    ends = [
        LatentState(
            *(
                np.stack([x + sign * h * d for d in column])
                for x, column in zip(base, zip(*changes, strict=True), strict=True)
            )
        )
        for sign in (1, -1)
    ]
    found: dict[str, list[float]] = {"alignment": [], "second_layer": [], "loss": [], "sharpness": []}
    for _ in range(steps + 1):
        for name, values in found.items():
            right, left = (OBSERVABLES[name].compute(end, limit) for end in ends)
            values.append(float(np.linalg.norm((right - left) / (2 * h))))
        ends = [evolve(end, limit, rate) for end in ends]
    return found


@pytest.mark.parametrize(
    ("dimension", "norm", "rate"), [(1, 1.0, 0.3), (2, 1.0, 0.4), (5, 2.0, 0.3), (5, 2.0, 1.0)]
)
def test_the_prediction_is_that_of_every_entry_pushed_through_the_laws(
    dimension: int, norm: float, rate: float
) -> None:
    problem, steps = mup(dimension, norm, 64), 15
    predicted = predicted_deviation(problem, rate, steps)
    dense = dense_deviations(problem, rate, steps)
    for name in ("alignment", "second_layer", "loss"):
        np.testing.assert_allclose(getattr(predicted, name), dense[name], rtol=1e-4, atol=1e-9)
    clear = predicted.along_target
    assert clear.any()
    np.testing.assert_allclose(
        predicted.sharpness[clear], np.array(dense["sharpness"])[clear], rtol=1e-4, atol=1e-9
    )


def test_the_prediction_is_the_spread_of_gradient_descent_on_raw_weights() -> None:
    dimension, width, networks, rate, steps = 3, 1500, 500, 0.3, 12
    problem = mup(dimension, 1.5, width)
    generator = np.random.default_rng(0)
    first = generator.standard_normal((networks, dimension, width))
    second = generator.standard_normal((networks, width))
    predicted = predicted_deviation(problem, rate, steps)
    for step in range(steps + 1):
        w = problem.multiplier * np.einsum("nik,nk->ni", first, second)
        measured = {
            "alignment": np.std(OBSERVABLES["alignment"].compute(LatentState(w, w, w), problem)),
            "second_layer": np.std(problem.gram * np.sum(second**2, axis=1)),
        }
        # 4.5 deviations of a standard deviation over 500 networks, and N^(-1/2) for second order.
        if step in {0, 3, 6, 12}:
            for name, value in measured.items():
                assert value == pytest.approx(
                    getattr(predicted, name)[step], rel=4.5 / math.sqrt(1000) + width**-0.5
                )
        r = rate * problem.learning_rate_scale * problem.multiplier * (w - problem.target)
        gradients = r[:, :, None] * second[:, None, :], np.einsum("ni,nik->nk", r, first)
        first, second = first - gradients[0], second - gradients[1]


FIELDS = [name for name in Deviation._fields if name != "along_target"]


@pytest.mark.parametrize("dimension", [1, 2, 20])
@pytest.mark.parametrize("norm", [0.0, 1.0])
def test_deviations_fall_like_the_inverse_root_of_the_width_and_vanish_at_infinity(
    dimension: int, norm: float
) -> None:
    narrow, wide, limit = (predicted_deviation(mup(dimension, norm, n), 0.4, 6) for n in (1, 100, math.inf))
    for name in FIELDS:
        assert getattr(narrow, name).shape == (7,)
        np.testing.assert_allclose(getattr(narrow, name), 10 * getattr(wide, name), rtol=1e-12)
        assert not getattr(limit, name).any()
    np.testing.assert_array_equal(narrow.along_target, limit.along_target)


@pytest.mark.parametrize("dimension", [1, 4])
def test_no_steps_give_the_start(dimension: int) -> None:
    found = predicted_deviation(mup(dimension, 2.0, 9), 0.1, 0)
    variances = start_variances(mup(dimension, 2.0, 9))
    assert found.alignment == pytest.approx([math.sqrt(variances["w"])])
    assert found.loss == pytest.approx([2 * math.sqrt(variances["w"])])
    assert found.imbalance == pytest.approx([math.sqrt(variances["e_same"] + variances["v"])])
    assert found.across == pytest.approx([math.sqrt(variances["w"]) if dimension > 1 else 0])


def test_without_a_residual_the_loss_has_no_deviation_of_first_order() -> None:
    assert not predicted_deviation(mup(3, 0.0, 10), 0.4, 5).loss.any()
    converged = predicted_deviation(mup(3, 1.0, 10), 0.4, 300)
    assert converged.loss[-1] < 1e-20
    assert converged.second_layer[-1] > 1e-3


@pytest.mark.parametrize("rate", [8.0, 1e3, 1e60])
@pytest.mark.parametrize("dimension", [1, 4])
def test_past_divergence_deviations_are_infinite_and_never_nan(dimension: int, rate: float) -> None:
    found = predicted_deviation(mup(dimension, 1.0, 10), rate, 60)
    for name in FIELDS:
        values = getattr(found, name)
        assert not np.isnan(values).any()
        assert np.isfinite(values[0])
        if dimension > 1 or "across" not in name:
            assert np.isinf(values[-1])
    assert not found.along_target[-1]


@given(st.integers(1, 9), st.floats(0.1, 3), st.floats(0.05, 1))
def test_the_targets_sector_is_told_from_the_others(dimension: int, norm: float, fraction: float) -> None:
    planar = PlanarMap(dimension, norm, fraction * math.sqrt(dimension) / norm)
    along = predicted_deviation(mup(dimension, norm, 10), planar.learning_rate, 20).along_target
    state = planar.start
    for here in along:
        a, p = float(state.a), float(state.p)
        if abs(a) > 1e6:  # it diverges: the start was too sharp for this learning rate
            break
        value = p + math.sqrt(max(p**2 + planar.coupling * (a - norm) * (3 * a - norm), 0.0))
        whole = float(planar.sharpness(state))
        if abs(whole - value) > 1e-6 * whole:
            assert not here
        elif value > largest_across(planar, a, p) * (1 + 1e-6):
            assert here
        state = planar.step(state)


def test_the_map_contracts_the_norms_accumulate_and_the_rest_stands_still() -> None:
    problem = mup(10, 1.5, math.inf)
    growth = growth_factors(problem, 0.4, 200)
    assert growth["alignment"][-1] < 1e-12
    assert growth["across"][-1] < 1e-9
    for name in ("first_along", "second_layer", "first_across", "imbalance"):
        assert 0.3 < growth[name][-1] < 3
        assert growth[name][-1] == pytest.approx(growth[name][150], rel=1e-4)
    assert (growth["rest"] == 1).all()
    planar = PlanarMap(10, 1.5, 0.4)
    state, factor = planar.start, 1.0
    for step in range(20):
        assert growth["imbalance"][step] == pytest.approx(factor)
        factor *= 1 - 0.4**2 * planar.coupling * (float(state.a) - 1.5) ** 2
        state = planar.step(state)


def test_in_one_dimension_there_is_nothing_across() -> None:
    growth = growth_factors(mup(1, 1.0, 5), 0.3, 4)
    assert set(growth) == {"alignment", "first_along", "second_layer", "imbalance"}


@pytest.mark.parametrize("name", ["ntp", "sp"])
def test_parametrizations_without_a_planar_limit_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="use muP"):
        predicted_deviation(Problem(parametrization(name), 10, np.ones(2)), 0.1, 3)


@pytest.mark.parametrize(("rate", "steps"), [(0.0, 3), (math.nan, 3), (0.1, -1), (0.1, 1.5)])
def test_impossible_settings_are_refused(rate: float, steps: Any) -> None:
    with pytest.raises(InputError):
        predicted_deviation(mup(2, 1.0, 10), rate, steps)


def test_the_derivation_of_the_fluctuations_holds() -> None:
    derivation = symbolic.fluctuations_derivation()
    assert derivation.holds
    assert derivation.latex


def _doubled(formula: Callable[..., Any], row: int, column: int) -> Callable[..., Any]:
    def wrong(*arguments: Any) -> Any:
        rows = [list(entries) for entries in formula(*arguments)]
        rows[row][column] *= 2
        return rows

    return wrong


WRONG: dict[str, list[Callable[..., Any]]] = {
    "fluctuations-plane": [_doubled(plane_jacobian, i, j) for i, j in ((0, 0), (0, 2), (1, 0), (2, 1))],
    "fluctuations-across": [_doubled(across_jacobian, i, j) for i, j in ((0, 1), (1, 0))],
    "fluctuations-sharpness": [lambda value, a, s, c: (c * (6 * a - 2 * s), value)],
    "fluctuations-start": [lambda n, d: {"v": 1 / (n * d**2)}],
}


@pytest.mark.parametrize("statement", symbolic.FLUCTUATION_FORMULAS)
def test_a_wrong_statement_about_fluctuations_is_refuted(
    statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for formula in WRONG[statement]:
        monkeypatch.setitem(symbolic.FLUCTUATION_FORMULAS, statement, formula)
        assert not symbolic.fluctuations_derivation().holds


def test_wrong_gaussian_moments_refute_the_start_of_the_fluctuations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_gaussian_power", lambda power: 0 if power % 2 else power)
    assert not symbolic.fluctuations_derivation().holds
