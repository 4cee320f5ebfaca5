from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.curvature import (
    DenseOperator,
    Hessian,
    Objective,
    estimate_trace,
    spectral_density,
)

Builder = Any

SPECTRA = {
    "flat": np.linspace(-1, 2, 200),
    "decaying": 0.9 ** np.arange(200),
    "outliers": np.r_[np.random.default_rng(0).normal(0, 0.01, 190), np.linspace(1, 5, 10)],
    "negative": -(np.linspace(0, 1, 200) ** 4),
}


def diagonal(spectrum: Any) -> DenseOperator:
    return DenseOperator(torch.diag(torch.as_tensor(spectrum, dtype=torch.float64)))


def rotated(spectrum: Any, seed: int = 0) -> DenseOperator:
    values = torch.as_tensor(spectrum, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(square).Q
    return DenseOperator((basis * values) @ basis.T)


@pytest.mark.parametrize("memory", [2**30, 1], ids=["xtrace", "hutchinson"])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_trace_is_unbiased_and_its_standard_errors_are_what_they_say(name: str, memory: int) -> None:
    operator, exact = rotated(SPECTRA[name]), float(np.sum(SPECTRA[name]))
    found = [estimate_trace(operator, products=24, seed=seed, memory=memory) for seed in range(200)]
    scores = np.array([(one.value - exact) / one.standard_error for one in found])
    values = np.array([one.value for one in found])
    assert (abs(scores) < 2).mean() > 0.9  # 95% if the mean of 24 samples, or 12, were normal
    assert abs(values.mean() - exact) < 4 * values.std() / math.sqrt(len(values))
    assert all(one.matvecs == 24 for one in found)


def test_splitting_off_the_range_makes_the_trace_of_a_decaying_spectrum_exact() -> None:
    operator = diagonal(0.3 ** np.arange(100))
    split, plain = (estimate_trace(operator, products=40, memory=memory) for memory in (2**30, 1))
    assert split.value == pytest.approx(1 / 0.7, rel=1e-9)
    assert split.standard_error < 1e-6
    assert plain.standard_error == 0  # signs see a diagonal matrix exactly


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_the_trace_of_a_matrix_of_low_rank_is_found(rank: int) -> None:
    spectrum = np.r_[np.arange(1.0, rank + 1), np.zeros(100 - rank)]
    found = estimate_trace(rotated(spectrum), products=10)
    assert found.value == pytest.approx(spectrum.sum(), rel=1e-9, abs=1e-12)
    assert found.standard_error <= 1e-9


@pytest.mark.parametrize("size", [1, 4])
def test_few_dimensions_are_all_taken(size: int) -> None:
    found = estimate_trace(rotated(np.arange(size) - 0.5), products=4)
    assert found.value == pytest.approx(float(np.sum(np.arange(size) - 0.5)))
    assert (found.standard_error, found.matvecs) == (0.0, size)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100), scale=st.floats(0.01, 100))
def test_the_trace_scales_with_the_matrix(seed: int, scale: float) -> None:
    spectrum = np.random.default_rng(seed).normal(size=40)
    plain = estimate_trace(rotated(spectrum, seed), products=12, seed=seed)
    scaled = estimate_trace(rotated(scale * spectrum, seed), products=12, seed=seed)
    assert scaled.value == pytest.approx(scale * plain.value, rel=1e-9, abs=1e-9 * scale)
    assert scaled.standard_error == pytest.approx(scale * plain.standard_error, rel=1e-9)


def test_single_precision_gives_the_trace_to_its_error() -> None:
    operator = rotated(SPECTRA["outliers"])
    single = DenseOperator(operator.matrix.float())
    one, other = estimate_trace(operator), estimate_trace(single)
    assert abs(one.value - SPECTRA["outliers"].sum()) < 4 * one.standard_error
    assert abs(other.value - SPECTRA["outliers"].sum()) < 4 * other.standard_error


@pytest.mark.parametrize("name", ["mlp", "relu-mlp", "simple-convnet", "batch-norm"])
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_trace_of_a_hessian_is_the_oracle_s(build: Builder, name: str) -> None:
    """curvlinops' Hessian, and its own XTrace, on the same parameters and batch."""
    oracle = pytest.importorskip("curvlinops")
    case = build(name)
    case.model.eval()
    parameters = list(case.model.parameters())
    loss = torch.nn.CrossEntropyLoss()
    theirs = oracle.HessianLinearOperator(
        case.model, loss, parameters, [(case.batch.inputs, case.batch.targets)]
    )
    ours = Hessian(Objective(case.model), case.batch)
    vector = torch.randn(ours.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(theirs @ vector, ours(vector), rtol=1e-9, atol=1e-11)
    exact = float(ours.matrix().trace())
    found = estimate_trace(ours, products=32)
    assert abs(found.value - exact) <= 5 * found.standard_error
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = float(oracle.xtrace(theirs, 32))
    assert abs(other - exact) <= 5 * found.standard_error


def test_the_quadrature_of_a_full_basis_is_the_spectrum() -> None:
    spectrum = np.array([-1.0, 0.0, 0.5, 2.0, 2.5])
    found = spectral_density(rotated(spectrum), draws=3, steps=50)
    np.testing.assert_allclose(found.nodes, np.tile(spectrum, (3, 1)), atol=1e-12)
    np.testing.assert_allclose(found.weights.sum(1), 1)
    assert found.matvecs == 15


@pytest.mark.parametrize("name", SPECTRA)
def test_means_over_the_draws_lie_within_their_standard_errors(name: str) -> None:
    spectrum = SPECTRA[name]
    found = spectral_density(rotated(spectrum), draws=30, steps=80, seed=1)
    np.testing.assert_allclose(found.weights.sum(1), 1)
    means = (found.nodes * found.weights).sum(1)
    error = means.std(ddof=1) / math.sqrt(len(means))
    assert abs(means.mean() - spectrum.mean()) <= 4.5 * error


def test_the_smoothed_density_is_that_of_the_dense_spectrum() -> None:
    spectrum, at = SPECTRA["outliers"], np.linspace(-0.5, 5.5, 61)
    found = spectral_density(rotated(spectrum), draws=40, steps=100)
    mean, error = found.density(at, width=0.1)
    dense = np.exp(-0.5 * ((at[:, None] - spectrum) / 0.1) ** 2).mean(1) / (0.1 * math.sqrt(2 * math.pi))
    assert (abs(mean - dense) <= 5 * error + 1e-6).all()
    assert error.max() < 0.2 * dense.max()


def test_equal_seeds_give_equal_bits_and_others_do_not() -> None:
    operator = rotated(SPECTRA["flat"])
    assert estimate_trace(operator, seed=3) == estimate_trace(operator, seed=3)
    assert estimate_trace(operator, seed=3) != estimate_trace(operator, seed=4)
    one, same = (spectral_density(operator, steps=10, seed=3) for _ in range(2))
    assert (one.nodes == same.nodes).all()
    assert (one.weights == same.weights).all()


@pytest.mark.parametrize("size", [3, 100])
def test_products_that_are_not_finite_are_reported(size: int) -> None:
    broken = DenseOperator(torch.full((size, size), math.inf))
    for memory in (2**30, 1):
        found = estimate_trace(broken, memory=memory)
        assert math.isnan(found.value)
        assert found.standard_error == math.inf
    assert np.isnan(spectral_density(broken).nodes).all()


def test_impossible_settings_are_refused() -> None:
    operator = diagonal([1.0, 2.0])
    with pytest.raises(InputError, match="products is 3"):
        estimate_trace(operator, products=3)
    with pytest.raises(InputError, match="draws is 1"):
        spectral_density(operator, draws=1)
    with pytest.raises(InputError, match="steps is 0"):
        spectral_density(operator, steps=0)
    with pytest.raises(InputError, match="width is 0"):
        spectral_density(operator).density(np.zeros(1), 0.0)
