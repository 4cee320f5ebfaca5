from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.curvature import (
    Batch,
    DenseOperator,
    Hessian,
    NotConvergedWarning,
    Objective,
    SpectrumTracker,
)
from superconsistency.tests.neural.curvature.spectra import outermost, rotation, with_spectrum
from torch import nn

Builder = Any


@pytest.mark.parametrize("seed", [0, 1])
def test_every_certified_value_lies_within_its_bound_of_the_dense_hessian(
    build: Builder, name: str, criterion: str, seed: int
) -> None:
    """Networks, losses, seeds, stages from initialisation to convergence: 960 eigenvalues in all."""
    case = build(name, criterion, seed=seed)
    ends = ((1, "largest"), (3, "largest"), (1, "smallest"))
    trackers = [SpectrumTracker(count=count, end=end, seed=seed) for count, end in ends]
    for stage in range(8):
        operator = Hessian(case.objective, case.batch)
        dense = operator.matrix()
        for (count, end), track in zip(ends, trackers, strict=True):
            found = track(operator)
            assert found.converged, found.note
            assert (found.error_bounds <= 1e-3 * np.abs(found.values) * (1 + 1e-12)).all()
            error = np.abs(found.values - outermost(dense, count, end))
            assert (error <= found.error_bounds + 1e-13 * float(dense.abs().max())).all()
        case.train(8 if stage < 5 else 100)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 40, 300])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("end", ["largest", "smallest"])
def test_a_fine_tolerance_is_reached_in_every_size(size: int, count: int, end: str) -> None:
    matrix = with_spectrum(np.random.default_rng(size).standard_normal(size))
    if count > size:
        with pytest.raises(InputError, match=f"count is {count}; accepted: a whole number from 1 to {size}"):
            SpectrumTracker(count=count)(DenseOperator(matrix))
        return
    found = SpectrumTracker(count=count, end=end, tolerance=1e-9)(DenseOperator(matrix))
    assert found.converged
    np.testing.assert_allclose(found.values, outermost(matrix, count, end), atol=1e-8)
    vectors = found.vectors
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(count, dtype=torch.float64), atol=1e-9, rtol=0)
    residual = (matrix @ vectors.T - vectors.T * torch.tensor(found.values)).norm(dim=0).numpy()
    assert (residual <= found.residuals + 1e-12).all()


def test_the_largest_is_not_the_largest_in_modulus() -> None:
    matrix = with_spectrum(np.linspace(-1000, 1, 200))
    found = SpectrumTracker(tolerance=1e-6)(DenseOperator(matrix))
    assert found.converged
    assert found.value == pytest.approx(1.0, rel=1e-6)


def test_a_tenfold_eigenvalue_is_found_ten_times() -> None:
    matrix = with_spectrum(np.r_[np.ones(10), np.linspace(-1, 0.8, 150)])
    track = SpectrumTracker(count=12)
    for _ in range(3):
        found = track(DenseOperator(matrix))
        assert found.converged
        np.testing.assert_allclose(found.values, np.r_[np.ones(10), outermost(matrix, 12)[10:]], atol=1e-3)
    single = SpectrumTracker()(DenseOperator(matrix))
    assert single.value == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2])
def test_an_eigenvalue_that_overtakes_is_followed(seed: int, count: int) -> None:
    """Two eigenvectors, fixed, whose eigenvalues cross in steps of 4 %."""
    basis = rotation(300, seed)
    bulk = torch.linspace(-0.4, 0.4, 298, dtype=torch.float64)
    track = SpectrumTracker(count=count, seed=seed)
    for falling, rising in zip(np.linspace(1, 0.6, 11), np.linspace(0.6, 1, 11), strict=True):
        spectrum = torch.cat([bulk, torch.tensor([falling, rising], dtype=torch.float64)])
        found = track(DenseOperator((basis * spectrum) @ basis.T))
        expected = np.sort([falling, rising])[::-1][:count]
        assert found.converged
        assert (np.abs(found.values - expected) <= found.error_bounds).all()


@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
@pytest.mark.parametrize("size", [1, 7, 90])
def test_a_multiple_of_the_identity_is_known_exactly(value: float, size: int) -> None:
    found = SpectrumTracker()(DenseOperator(value * torch.eye(size, dtype=torch.float64)))
    assert found.converged
    assert found.value == pytest.approx(value, abs=1e-14)
    assert found.matvecs <= 2


def test_a_diverged_network_is_a_result_not_a_number() -> None:
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        model.weight.fill_(math.inf)
    batch = Batch(torch.ones(4, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.int64))
    track = SpectrumTracker()
    found = track(Hessian(Objective(model), batch))
    assert math.isnan(found.value)
    assert not found.converged
    assert found.note == "a product is not finite"
    with torch.no_grad():
        model.weight.zero_()
    assert track(Hessian(Objective(model), batch)).converged


def test_products_that_run_out_are_said_loudly() -> None:
    matrix = with_spectrum(np.linspace(0, 1, 400))
    with pytest.warns(NotConvergedWarning, match="the largest eigenvalue .* 5 products were not enough"):
        found = SpectrumTracker(max_products=5)(DenseOperator(matrix))
    assert not found.converged


def test_products_that_are_not_symmetric_are_not_certified() -> None:
    matrix = with_spectrum(np.linspace(0, 1, 100))
    matrix += 0.05 * torch.triu(torch.ones(100, 100, dtype=torch.float64), 1)
    with pytest.warns(NotConvergedWarning, match="a derivative is wrong"):
        found = SpectrumTracker()(DenseOperator(matrix))
    assert not found.converged


@pytest.mark.parametrize(("least", "tolerance"), [(0.0, 1e-10), (-1e4, 1e-3)])
def test_a_tolerance_below_rounding_is_not_certified(least: float, tolerance: float) -> None:
    matrix = with_spectrum(np.r_[np.linspace(least, 0.5, 200), 1.0], dtype=torch.float32)
    with pytest.warns(NotConvergedWarning, match="use float64"):
        found = SpectrumTracker(tolerance=tolerance)(DenseOperator(matrix))
    assert not found.converged


def test_a_warm_start_takes_at_most_three_fifths_of_a_cold_one_s_products() -> None:
    drift = with_spectrum(np.random.default_rng(0).uniform(-0.01, 0.01, 400), seed=1)
    matrix = with_spectrum(np.r_[np.linspace(-0.5, 0.5, 397), 0.7, 0.8, 1.0])
    track = SpectrumTracker()
    track(DenseOperator(matrix))
    for step in range(1, 8):
        moved = DenseOperator(matrix + step * drift)
        assert track(moved).matvecs <= 0.6 * SpectrumTracker()(moved).matvecs


@pytest.mark.parametrize("gap", [0.3, 0.01, 0.003])
def test_a_near_neighbour_does_not_slow_a_warm_start_down(gap: float) -> None:
    """The two largest eigenvectors turn into each other by a little at every call."""
    basis = rotation(300, 0)
    spectrum = torch.cat([torch.linspace(-0.3, 0.3, 298), torch.tensor([1 - gap, 1])]).double()
    track, products = SpectrumTracker(), []
    for step in range(8):
        cosine, sine = math.cos(0.1 * step), math.sin(0.1 * step)
        turned = basis.clone()
        turned[:, 298] = cosine * basis[:, 298] - sine * basis[:, 299]
        turned[:, 299] = sine * basis[:, 298] + cosine * basis[:, 299]
        found = track(DenseOperator((turned * spectrum) @ turned.T))
        assert abs(found.value - 1) <= found.error_bound
        products.append(found.matvecs)
    assert np.mean(products[1:]) <= 5


@pytest.mark.parametrize("count", [1, 2])
def test_an_exact_eigenvector_does_not_end_a_search_that_another_has_overtaken(count: int) -> None:
    values = torch.linspace(-1, 0.5, 40, dtype=torch.float64)
    values[:3] = torch.tensor([1.0, 0.9, 0.8])
    track = SpectrumTracker(count=count, tolerance=1e-12)
    track(DenseOperator(torch.diag(values)))
    values[1] = 1.1
    found = track(DenseOperator(torch.diag(values)))
    np.testing.assert_allclose(found.values, [1.1, 1.0][:count], rtol=1e-12)


def test_the_same_seed_gives_the_same_bits() -> None:
    matrices = [with_spectrum(np.random.default_rng(step).standard_normal(60)) for step in range(4)]
    first, second = (
        [SpectrumTracker(count=2, seed=3)(DenseOperator(matrix)) for matrix in matrices] for _ in "ab"
    )
    for one, other in zip(first, second, strict=True):
        assert (one.values == other.values).all()
        assert torch.equal(one.vectors, other.vectors)


def test_few_vectors_of_memory_find_the_same() -> None:
    matrix = with_spectrum(np.r_[np.linspace(-1, 1, 200), 1.2, 1.4])
    for count in (1, 4):
        small = SpectrumTracker(count=count, vectors=count + 3, tolerance=1e-5)(DenseOperator(matrix))
        np.testing.assert_allclose(small.values, outermost(matrix, count), rtol=1e-5)


def test_a_result_is_not_overwritten_by_the_next_call() -> None:
    track = SpectrumTracker()
    first = track(DenseOperator(with_spectrum(np.linspace(0, 1, 30))))
    kept = first.vectors.clone()
    track(DenseOperator(with_spectrum(np.linspace(0, 3, 30), seed=5)))
    assert torch.equal(first.vectors, kept)


@settings(max_examples=40, deadline=None)
@given(
    spectrum=st.lists(st.floats(-10, 10), min_size=1, max_size=40),
    seed=st.integers(0, 100),
    scale=st.floats(1e-6, 1e6),
)
def test_the_spectrum_does_not_depend_on_the_basis_and_scales_with_the_matrix(
    spectrum: list[float], seed: int, scale: float
) -> None:
    """Orthogonal equivariance, for any spectrum."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        found = SpectrumTracker(tolerance=1e-6)(DenseOperator(scale * with_spectrum(spectrum, seed)))
    rounding = 1e-12 * scale * max(map(abs, spectrum))
    assert abs(found.value - scale * max(spectrum)) <= found.error_bound + rounding


def test_an_operator_whose_residuals_would_underflow_is_reported() -> None:
    matrix = 1e-168 * with_spectrum(np.linspace(0, 1, 20))
    with pytest.warns(NotConvergedWarning, match="multiply the loss by a constant"):
        found = SpectrumTracker()(DenseOperator(matrix))
    assert abs(found.value - 1e-168) <= found.error_bound


@pytest.mark.parametrize(
    ("setting", "value"),
    [("tolerance", 0.0), ("tolerance", 1.0), ("count", 0), ("seed", -1), ("max_products", 1), ("vectors", 3)],
)
def test_an_impossible_setting_is_refused(setting: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{setting.replace('_', ' ')} is {value}"):
        SpectrumTracker(**{setting: value})


def test_an_unknown_end_is_refused() -> None:
    with pytest.raises(InputError, match="end is both; accepted: largest, smallest"):
        SpectrumTracker(end="both")
