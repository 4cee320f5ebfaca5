from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from superconsistency.theory import (
    PARAMETRIZATIONS,
    LatentState,
    Problem,
    initial_state,
    limit_state,
    parametrization,
    wishart,
)
from superconsistency.theory.symbolic import moments, start
from superconsistency.theory.symbolic.core import D, Derivation, N
from superconsistency.theory.wishart import bartlett_factor, wishart_state

SIZES = [(1, 1), (1, 4), (4, 2), (3, 9)]


def sample(draw: Callable[..., LatentState], problem: Problem, seed: int) -> Mapping[str, Any]:
    generator = np.random.default_rng(seed)
    w, e, v = map(np.array, zip(*(draw(problem, generator) for _ in range(1000)), strict=True))
    return {
        "v": v,
        "w_0": w[:, 0],
        "|w|": np.linalg.norm(w, axis=-1),
        "e_00": e[:, 0, 0],
        "e_-1-1": e[:, -1, -1],
        "largest eigenvalue": np.linalg.eigvalsh(e)[:, -1],
        "w.e w": np.einsum("ni,nij,nj->n", w, e, w),
    }


def smallest_p_value(problem: Problem) -> float:
    weights, bartlett = sample(initial_state, problem, 1), sample(wishart_state, problem, 2)
    return min(float(stats.ks_2samp(values, bartlett[name]).pvalue) for name, values in weights.items())


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), SIZES)
def test_the_wishart_start_has_the_law_of_the_drawn_weights(name: str, dimension: int, width: int) -> None:
    assert smallest_p_value(Problem(parametrization(name), width, np.ones(dimension))) > 1e-5


def test_a_factor_with_wrong_degrees_of_freedom_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(size: int, width: float, generator: np.random.Generator) -> Any:
        factor = bartlett_factor(size, width, generator)
        np.fill_diagonal(factor, np.sqrt(generator.chisquare(width, size=min(factor.shape))))
        return factor

    monkeypatch.setattr(wishart, "bartlett_factor", wrong)
    assert smallest_p_value(Problem(parametrization("mup"), 9, np.ones(3))) < 1e-8


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_the_wishart_start_has_the_exact_moments(name: str) -> None:
    dimension, width, draws = 3, 2, 8000
    problem = Problem(parametrization(name), width, np.ones(dimension))
    generator = np.random.default_rng(5)
    w, e, v = map(np.array, zip(*(wishart_state(problem, generator) for _ in range(draws)), strict=True))
    samples = {"w_i": w[:, 1], "e_ii": e[:, 2, 2], "e_ij": e[:, 0, 2], "v": v}
    for entry, exact in moments.initial_moments(problem.parametrization).items():
        mean, variance = (float(sp.sympify(x).subs({N: width, D: dimension})) for x in exact)
        values = samples[entry]
        error = math.sqrt(stats.moment(values, 4) - variance**2)
        assert np.mean(values) == pytest.approx(mean, abs=5 * math.sqrt(variance / draws))
        assert np.var(values) == pytest.approx(variance, abs=5 * error / math.sqrt(draws))


@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from(list(PARAMETRIZATIONS)), st.integers(0, 1000))
def test_the_gram_matrix_is_positive_semidefinite_of_rank_at_most_the_width(
    dimension: int, width: int, name: str, seed: int
) -> None:
    problem = Problem(parametrization(name), width, np.ones(dimension))
    w, e, v = wishart_state(problem, np.random.default_rng(seed))
    gram = np.block([[e, problem.kappa * w[:, None]], [problem.kappa * w[None], v]])
    values = np.linalg.eigvalsh(gram)
    assert values[0] > -1e-12 * values[-1]
    assert np.linalg.matrix_rank(gram, tol=1e-10 * values[-1]) <= min(width, dimension + 1)


@pytest.mark.parametrize("width", [1, 2, 5, 6, 7, 1e15])
def test_the_factor_is_a_triangle_cut_off_at_the_width(width: float) -> None:
    factor = bartlett_factor(6, width, np.random.default_rng(0))
    assert factor.shape == (6, min(6, width))
    assert not np.triu(factor, 1).any()
    assert (np.diag(factor) > 0).all()


@pytest.mark.parametrize("name", ["mup", "ntp"])
def test_at_infinite_width_the_start_is_the_limit(name: str) -> None:
    problem = Problem(parametrization(name), math.inf, np.ones(4))
    found = wishart_state(problem, np.random.default_rng(7))
    for left, right in zip(found, limit_state(problem, np.random.default_rng(7)), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("width", [10**6, 10**9, 10**12])
def test_fluctuations_keep_their_size_at_widths_that_no_weights_could_be_drawn_at(width: int) -> None:
    dimension = 2
    problem = Problem(parametrization("mup"), width, np.ones(dimension))
    generator = np.random.default_rng(11)
    w, e, v = map(np.array, zip(*(wishart_state(problem, generator) for _ in range(3000)), strict=True))
    unit = 1 / (math.sqrt(width) * dimension)
    standard = {
        "v": (v - 0.5) / (math.sqrt(2) * unit),
        "e_11": (e[:, 1, 1] - 0.5) / (math.sqrt(2) * unit),
        "e_01": e[:, 0, 1] / unit,
        "w_0": w[:, 0] / math.sqrt(1 / (width * dimension)),
    }
    for values in standard.values():
        assert stats.kstest(values, "norm").pvalue > 1e-4


def test_equal_generators_give_equal_starts() -> None:
    problem = Problem(parametrization("mup"), 8, np.ones(3))
    one, two = (wishart_state(problem, np.random.default_rng(3)) for _ in range(2))
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)


def left(derivation: Derivation, label: str) -> bool:
    return bool(derivation.failing(label))


@pytest.mark.parametrize("derive", [start.proposition_c_1, start.standard_start, start.wishart_derivation])
def test_the_derivations_of_the_start_hold_and_are_checked(derive: Callable[[], Derivation]) -> None:
    derivation = derive()
    assert derivation.holds
    assert derivation.latex


def test_wrong_gaussian_moments_refute_every_statement_about_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(moments, "_gaussian_power", lambda power: 0 if power % 2 else power)
    published = start.proposition_c_1()
    assert left(published, "bounds")
    assert left(published, "sharp")
    assert left(start.standard_start(), "sharp")
    assert not start.wishart_derivation().holds


def test_a_bound_that_is_too_small_is_refuted_and_leaves_the_variances_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tight(name: str) -> start.StatedStart:
        stated = start.proposition_c_1_as_stated(name)
        return stated._replace(bound=stated.bound / (2 * D))

    monkeypatch.setitem(start.START_FORMULAS, "C.1", tight)
    derivation = start.proposition_c_1()
    assert {step.text.split(",")[1].split()[0] for step in derivation.failing("bounds")} == {"v", "e_ii"}
    assert not left(derivation, "sharp")


WRONG: dict[str, tuple[Callable[..., Any], Callable[[], Derivation], str]] = {
    "C.1": (
        lambda _: start.StatedStart(1 / D, 1 / D, 2 / N),
        start.proposition_c_1,
        "bounds",
    ),
    "C.1-sharp": (lambda: {"v": 1 / (N * D**2)}, start.proposition_c_1, "sharp"),
    "C.3.2": (lambda: {"v": -1}, start.standard_start, "published"),
    "C.3.2-sharp": (
        lambda: start.standard_moments() | {"v": moments.Moments(sp.Integer(1), 3 / N)},
        start.standard_start,
        "sharp",
    ),
    "sp-first-step": (lambda eta, r, d: -2 * eta * r / d, start.standard_start, "first-step"),
    "wishart": (lambda deltas: deltas[0] * deltas[1], start.wishart_derivation, ""),
}


@pytest.mark.parametrize("statement", start.START_FORMULAS)
def test_a_wrong_statement_about_the_start_is_refuted(
    statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    formula, derive, label = WRONG[statement]
    monkeypatch.setitem(start.START_FORMULAS, statement, formula)
    assert left(derive(), label)


def test_a_wrong_chi_moment_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_chi_power", lambda power, degrees: degrees ** (power // 2))
    assert any(start.bartlett_gaps(2, N))


@pytest.mark.parametrize("power", range(6))
def test_chi_moments_are_those_of_the_distribution(power: int) -> None:
    for degrees in (1, 4):
        expected = stats.chi(degrees).moment(power) if power else 1.0
        assert float(start._chi_power(power, sp.Integer(degrees))) == pytest.approx(expected)


def test_never_negative_sees_what_fails_at_the_edge() -> None:
    assert start.never_negative(1 / N - 1 / (N * D))
    assert not start.never_negative(1 / (N * D) - 1 / N)
    assert not start.never_negative(N - 2)
