from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import cg, eigsh, lobpcg
from superconsistency.neural.curvature import DenseOperator, GaussNewton, Hessian, TangentKernel
from superconsistency.neural.curvature.scipy_operator import linear_operator
from superconsistency.tests.neural.curvature.spectra import outermost, with_spectrum

Builder = Any


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("which", ["LA", "SA"])
def test_arpack_finds_the_ends_of_a_dense_spectrum(dtype: torch.dtype, which: Any) -> None:
    matrix = with_spectrum(np.random.default_rng(0).standard_normal(60), dtype=dtype)
    operator = linear_operator(DenseOperator(matrix))
    values, _ = eigsh(operator, k=3, which=which, v0=np.ones(60, operator.dtype))
    expected = outermost(matrix, 3, "largest" if which == "LA" else "smallest")
    np.testing.assert_allclose(np.sort(values), np.sort(expected), rtol=0, atol=100 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("kind", [Hessian, GaussNewton, TangentKernel])
def test_a_network_s_operators_are_theirs(build: Builder, kind: Any) -> None:
    case = build("mlp", "cross-entropy")
    operator = kind(case.objective, case.batch)
    matrix = operator.matrix()
    wrapped = linear_operator(operator)
    assert wrapped.shape == tuple(matrix.shape)
    block = np.random.default_rng(0).standard_normal((operator.size, 4))
    np.testing.assert_allclose(wrapped @ block, matrix.numpy() @ block, atol=1e-13)
    values, _ = lobpcg(wrapped, block, tol=1e-9, maxiter=500)
    np.testing.assert_allclose(values, outermost(matrix, 4), atol=1e-10)


def test_it_is_its_own_adjoint() -> None:
    matrix = with_spectrum(np.linspace(1, 2, 8))
    operator, vector = linear_operator(DenseOperator(matrix)), np.arange(8.0)
    for product in (operator.rmatvec(vector), operator.H @ vector, operator.T @ vector):
        np.testing.assert_array_equal(product, operator @ vector)
    solved, failed = cg(operator, vector, rtol=1e-12)
    assert not failed
    np.testing.assert_allclose(matrix.numpy() @ solved, vector, atol=1e-10)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float64, np.float64), (torch.float32, np.float32), (torch.bfloat16, np.float32)],
)
def test_it_has_the_precision_of_the_operator(dtype: torch.dtype, expected: Any) -> None:
    operator = linear_operator(DenseOperator(torch.eye(5, dtype=dtype)))
    assert operator.dtype == expected
    for kind in (np.float32, np.float64, np.int64):
        product = operator @ np.ones(5, kind)
        assert product.dtype == expected
        np.testing.assert_array_equal(product, 1)


@pytest.mark.parametrize("size", [1, 2])
def test_the_smallest_sizes_and_read_only_vectors(size: int) -> None:
    operator = linear_operator(DenseOperator(3 * torch.eye(size, dtype=torch.float64)))
    vector = np.ones(size)
    vector.flags.writeable = False
    np.testing.assert_array_equal(operator @ vector, 3 * vector)
    np.testing.assert_array_equal(operator @ vector[:, None], 3 * vector[:, None])
