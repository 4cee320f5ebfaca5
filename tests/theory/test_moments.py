from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from superconsistency.theory import PARAMETRIZATIONS, Problem, initial_state, parametrization
from superconsistency.theory.symbolic import moments
from superconsistency.theory.symbolic.core import D, N


@pytest.mark.parametrize("power", range(9))
def test_gaussian_moments_are_those_of_the_integral(power: int) -> None:
    x, s = sp.symbols("x s", positive=True)
    density = sp.exp(-(x**2) / (2 * s)) / sp.sqrt(2 * sp.pi * s)
    half = sp.integrate(x**power * density, (x, 0, sp.oo))
    expected = half * (1 + (-1) ** power)
    assert sp.simplify(moments.gaussian_mean(x**power, {x: s}) - expected) == 0


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), [(2, 1), (3, 5)])
def test_exact_moments_are_those_of_drawn_networks(name: str, dimension: int, width: int) -> None:
    problem = Problem(parametrization(name), width, np.ones(dimension))
    generator = np.random.default_rng(0)
    draws = [initial_state(problem, generator) for _ in range(4000)]
    samples = {
        "w_i": [state.w[0] for state in draws],
        "e_ii": [state.e[0, 0] for state in draws],
        "e_ij": [state.e[0, 1] for state in draws],
        "v": [state.v for state in draws],
    }
    sizes = {N: width, D: dimension}
    for entry, moment in moments.initial_moments(problem.parametrization).items():
        variance = float(sp.sympify(moment.variance).subs(sizes))
        assert np.mean(samples[entry]) == pytest.approx(
            float(sp.sympify(moment.mean).subs(sizes)), abs=5 * (variance / 4000) ** 0.5
        )
        assert np.var(samples[entry]) == pytest.approx(variance, rel=0.35)


def test_the_variance_of_v_under_sp_falls_like_one_over_the_width() -> None:
    assert sp.simplify(moments.initial_moments(parametrization("sp"))["v"].variance - 2 / N) == 0
