from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from superconsistency.neural import HessianOperator, SimpleConvNet, sharpness
from superconsistency.neural.convnet import ScaledLayer, scaled_layers
from superconsistency.neural.training import torch_generator
from superconsistency.theory import PARAMETRIZATIONS, parametrization
from torch.nn import functional


def quadratic(matrix: torch.Tensor, scales: float = 1.0) -> HessianOperator:
    x = torch.ones(len(matrix), dtype=torch.float64, requires_grad=True)
    loss = 0.5 * x @ matrix @ x + x.pow(3).sum() * 0
    return HessianOperator(loss, [x], [scales])


def symmetric(size: int, seed: int) -> torch.Tensor:
    matrix = torch.randn(size, size, generator=torch_generator(seed), dtype=torch.float64)
    return matrix + matrix.T


@pytest.mark.parametrize("size", [1, 2, 3, 39, 41, 120])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_largest_eigenvalue_is_found_within_its_residual(size: int, seed: int) -> None:
    matrix = symmetric(size, seed)
    expected = float(torch.linalg.eigvalsh(matrix)[-1])
    found = sharpness(quadratic(matrix), np.random.default_rng(seed), tolerance=1e-8)
    assert found.converged
    assert abs(found.value - expected) <= found.residual + 1e-10


def test_the_largest_is_not_the_largest_in_modulus() -> None:
    spectrum = torch.linspace(-10.0, 1.0, 100, dtype=torch.float64)
    found = sharpness(quadratic(torch.diag(spectrum)), np.random.default_rng(0), tolerance=1e-6)
    assert found.value == pytest.approx(1.0, rel=1e-4)


def test_the_learning_rate_metric_scales_the_spectrum() -> None:
    matrix = symmetric(50, 0)
    plain, scaled = (
        sharpness(quadratic(matrix, scale), np.random.default_rng(0), tolerance=1e-8).value
        for scale in (1.0, 64.0)
    )
    assert scaled == pytest.approx(64 * plain, rel=1e-6)


def test_a_warm_start_takes_fewer_products() -> None:
    spectrum = torch.cat(
        [torch.linspace(0, 1, 199, dtype=torch.float64), torch.tensor([1.05], dtype=torch.float64)]
    )
    cold = sharpness(quadratic(torch.diag(spectrum)), np.random.default_rng(0))
    warm = sharpness(quadratic(torch.diag(spectrum)), np.random.default_rng(0), start=cold.vector)
    assert warm.products < cold.products


@pytest.mark.parametrize("seed", range(5))
def test_a_warm_start_leaves_an_eigenvector_that_was_overtaken(seed: int) -> None:
    spectrum = torch.linspace(0, 0.9, 500, dtype=torch.float64)
    spectrum[-2:] = torch.tensor([1.0, 1.05])
    second = np.zeros(500)
    second[-2] = 1.0
    found = sharpness(quadratic(torch.diag(spectrum)), np.random.default_rng(seed), start=second)
    assert found.value == pytest.approx(1.05, rel=1e-2)


def test_a_solver_that_fails_says_so() -> None:
    operator = quadratic(symmetric(60, 0))
    operator.gradients = tuple(gradient * math.nan for gradient in operator.gradients)
    found = sharpness(operator, np.random.default_rng(0))
    assert not found.converged
    assert math.isnan(found.value)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_sharpness_of_a_convnet_is_that_of_its_dense_hessian(name: str) -> None:
    model = SimpleConvNet(parametrization(name), 3, torch_generator(0), channels=1, classes=4).double()
    images = torch.randn(12, 1, 32, 32, generator=torch_generator(1), dtype=torch.float64)
    labels = torch.arange(12) % 4
    layers = list(scaled_layers(model))
    weights = [layer.weight for layer in layers]

    def loss() -> torch.Tensor:
        return functional.cross_entropy(model(images), labels)

    operator = HessianOperator(loss(), weights, [layer.learning_rate_scale for layer in layers])
    dense = np.stack([operator(column) for column in np.eye(operator.size)])
    np.testing.assert_allclose(dense, dense.T, atol=1e-9 * np.abs(dense).max())

    def root(layer: ScaledLayer) -> float:
        return math.sqrt(layer.learning_rate_scale)

    step = 1e-5
    direction = np.random.default_rng(0).standard_normal(operator.size)
    sizes = [weight.numel() for weight in weights]
    pieces = torch.split_with_sizes(torch.from_numpy(direction), sizes)
    gradients = []
    for sign in (1, -2, 1):  # forwards, backwards, and back to where it was
        with torch.no_grad():
            for layer, piece in zip(layers, pieces, strict=True):
                layer.weight.add_(piece.view_as(layer.weight), alpha=sign * step * root(layer))
        gradients.append(torch.autograd.grad(loss(), weights))
    difference = np.concatenate(
        [
            (root(layer) * (plus - minus) / (2 * step)).reshape(-1).numpy()
            for layer, plus, minus in zip(layers, *gradients[:2], strict=True)
        ]
    )
    np.testing.assert_allclose(
        operator(direction), difference, rtol=1e-4, atol=1e-6 * np.abs(difference).max()
    )

    found = sharpness(operator, np.random.default_rng(0), tolerance=1e-9)
    assert found.value == pytest.approx(float(np.linalg.eigvalsh(dense)[-1]), rel=1e-7)


def test_measuring_leaves_no_gradients_behind() -> None:
    model = SimpleConvNet(parametrization("mup"), 4, torch_generator(0))
    loss = functional.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.arange(4))
    before = [parameter.clone() for parameter in model.parameters()]
    operator = HessianOperator(loss, list(model.parameters()), [1.0] * 3)
    sharpness(operator, np.random.default_rng(0))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
