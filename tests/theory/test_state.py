from __future__ import annotations

import math

import numpy as np
import pytest
from superconsistency.errors import InputError
from superconsistency.theory import (
    PARAMETRIZATIONS,
    Problem,
    gaussian_weights,
    initial_state,
    latent_state,
    limit_state,
    parametrization,
    uniform_target,
)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), [(1, 1), (4, 2), (2, 5), (3, 500)])
def test_the_streamed_start_is_that_of_the_weights(name: str, dimension: int, width: int) -> None:
    problem = Problem(parametrization(name), width, np.ones(dimension))
    drawn = latent_state(problem, gaussian_weights(problem, np.random.default_rng(3)))
    streamed = initial_state(problem, np.random.default_rng(3))
    for left, right in zip(streamed, drawn, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize("name", ["mup", "ntp"])
def test_a_wide_start_is_near_the_limit(name: str) -> None:
    problem = Problem(parametrization(name), 200_000, np.ones(2))
    wide = initial_state(problem, np.random.default_rng(0))
    limit = limit_state(problem, np.random.default_rng(0))
    np.testing.assert_allclose(wide.e, limit.e, atol=0.01)
    np.testing.assert_allclose(wide.v, limit.v, atol=0.01)


def test_the_limit_of_the_map_vanishes_under_mup_and_is_gaussian_under_ntp() -> None:
    dimension = 4000
    maps = {
        name: limit_state(
            Problem(parametrization(name), math.inf, np.ones(dimension)), np.random.default_rng(0)
        ).w
        for name in ("mup", "ntp")
    }
    assert not maps["mup"].any()
    assert np.var(maps["ntp"]) * dimension == pytest.approx(1.0, abs=0.1)


def test_sp_has_no_infinite_width_limit() -> None:
    with pytest.raises(InputError, match="parametrization at infinite width is SP"):
        Problem(parametrization("sp"), math.inf, np.ones(2))


@pytest.mark.parametrize("width", [0, -1, 1.5, float("nan")])
def test_an_impossible_width_is_refused(width: float) -> None:
    with pytest.raises(InputError, match="width"):
        Problem(parametrization("mup"), width, np.ones(2))


@pytest.mark.parametrize("target", [[], [[1.0]], [float("nan")], [float("inf")]])
def test_an_impossible_target_is_refused(target: object) -> None:
    with pytest.raises(InputError, match="target"):
        Problem(parametrization("mup"), 3, np.array(target))


def test_a_start_too_large_to_draw_is_refused_with_the_limit_as_remedy() -> None:
    problem = Problem(parametrization("mup"), 10**12, np.ones(2))
    with pytest.raises(InputError, match="width inf"):
        initial_state(problem, np.random.default_rng(0))


def test_weights_of_infinite_width_are_refused() -> None:
    problem = Problem(parametrization("mup"), math.inf, np.ones(2))
    with pytest.raises(InputError, match="finite widths"):
        gaussian_weights(problem, np.random.default_rng(0))


def test_a_uniform_target_has_its_norm() -> None:
    assert np.linalg.norm(uniform_target(7, 3.0)) == pytest.approx(3.0)
    with pytest.raises(InputError, match="dimension"):
        uniform_target(0, 1.0)
