from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from superconsistency.neural.curvature import (
    Batch,
    DenseOperator,
    Hessian,
    Metric,
    NotConvergedWarning,
    Objective,
    SpectrumTracker,
    measure,
)
from superconsistency.tests.neural.curvature.spectra import Diagonal, outermost, with_spectrum
from torch import nn

DTYPES = [torch.float64, torch.float32]
RESOLUTION = {torch.float64: 1e-6, torch.float32: 450 * torch.finfo(torch.float32).eps}
"""Part of the norm below which an eigenvalue is zero, at a tolerance of a thousandth."""


def assert_within_bounds(found: Any, matrix: torch.Tensor, end: str) -> None:
    error = np.abs(found.values - outermost(matrix, len(found.values), end))
    assert (error <= found.error_bounds + 1e-15 * float(matrix.abs().max())).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("end", ["smallest", "largest"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("zeros", [1, 4, 50])
def test_zeros_at_the_end_of_a_semidefinite_spectrum_converge(
    dtype: torch.dtype, end: str, count: int, zeros: int
) -> None:
    """Cold and warm, single and multiple, several at a time."""
    sign = 1 if end == "smallest" else -1
    matrix = with_spectrum(sign * np.r_[np.zeros(zeros), np.linspace(0.2, 3, 40)], dtype=dtype)
    track = SpectrumTracker(count=count, end=end)
    for _ in range(3):
        found = track(DenseOperator(matrix))
        assert found.converged, found.note
        assert_within_bounds(found, matrix, end)
        nearly = found.values[: min(zeros, count)]
        assert (np.abs(nearly) <= 3 * RESOLUTION[dtype]).all()
        assert (found.error_bounds[: min(zeros, count)] <= 3 * RESOLUTION[dtype] * 1.01).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("end", ["smallest", "largest"])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 2, 30])
def test_the_zero_operator_is_known_at_once(dtype: torch.dtype, end: str, count: int, size: int) -> None:
    if count > size:
        return
    track = SpectrumTracker(count=count, end=end)
    for _ in range(3):
        found = track(Diagonal(np.zeros(size), dtype))
        assert found.converged
        assert (found.values == 0).all()
        assert (found.error_bounds == 0).all()
        assert found.matvecs <= 2 * count + 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_learning_rate_of_zero_gives_curvature_zero(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3).to(dtype)
    batch = Batch(torch.randn(8, 5, dtype=dtype), torch.randint(3, (8,)))
    operator = Hessian(Objective(model), batch, Metric.from_scales([0.0, 0.0]))
    found = SpectrumTracker()(operator)
    assert found.converged
    assert found.value == found.error_bound == 0
    assert found.matvecs <= 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_convex_problems_have_a_smallest_eigenvalue_of_zero(dtype: torch.dtype) -> None:
    """Logistic regression: weights of all classes can be shifted together."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(8, 3, dtype=dtype), torch.randint(0, 2, (8,))
    objective = Objective(nn.Linear(3, 2).to(dtype))
    found = measure(objective, Batch(inputs, targets), ["sharpness", "smallest_eigenvalue"]).estimates
    smallest = found["smallest_eigenvalue"]
    assert smallest.kind == "certified", smallest.note
    assert abs(smallest.value) <= smallest.error <= 1.01 * RESOLUTION[dtype] * found["sharpness"].value


@pytest.mark.parametrize("end", ["smallest", "largest"])
@pytest.mark.parametrize("value", [-1e-3, 1e-5, -1e-5, -2e-6])
def test_a_small_eigenvalue_that_can_be_resolved_meets_its_relative_tolerance(end: str, value: float) -> None:
    sign = 1 if end == "smallest" else -1
    matrix = with_spectrum(sign * np.r_[value, np.linspace(0.1, 1, 60)])
    found = SpectrumTracker(end=end)(DenseOperator(matrix))
    assert found.converged
    assert found.error_bound <= 1e-3 * abs(value) * 1.001
    assert found.value == pytest.approx(sign * value, rel=1e-3)


@pytest.mark.parametrize("value", [1e-4, -1e-4])
def test_one_that_rounding_hides_only_in_part_is_not_called_converged(value: float) -> None:
    """Told from zero in single precision, but not known to a thousandth."""
    matrix = with_spectrum(np.r_[value, np.linspace(0.1, 1, 60)], dtype=torch.float32)
    with pytest.warns(NotConvergedWarning, match="use float64"):
        found = SpectrumTracker(end="smallest")(DenseOperator(matrix))
    assert not found.converged
    assert_within_bounds(found, matrix, "smallest")


@settings(max_examples=150, deadline=None)
@given(
    spectrum=st.lists(
        st.one_of(st.just(0.0), st.floats(-14, 0).map(lambda power: 10**power)), min_size=1, max_size=40
    ),
    dtype=st.sampled_from(DTYPES),
    end=st.sampled_from(["smallest", "largest"]),
    count=st.integers(1, 3),
    negative=st.one_of(st.just(0.0), st.floats(-14, -5).map(lambda power: 10**power)),
    seed=st.integers(0, 100),
)
def test_the_bound_contains_the_value_whatever_is_near_zero(
    spectrum: list[float], dtype: torch.dtype, end: str, count: int, negative: float, seed: int
) -> None:
    """Zeros, and eigenvalues on both sides of every threshold; converged or not, cold and warm."""
    sign = 1 if end == "smallest" else -1
    matrix = with_spectrum(sign * np.r_[spectrum, -negative], seed, dtype)
    track = SpectrumTracker(count=min(count, len(matrix)), end=end, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        for _ in range(2):
            assert_within_bounds(track(DenseOperator(matrix)), matrix, end)
