"""Corners of ordinary models in which a check of derivatives, or of parts, can itself go wrong."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch
from superconsistency.neural.curvature import Batch, Measurements, Objective, measure
from torch import nn
from torch.nn import functional

from .user_code import (
    DOUBLE,
    NAMES,
    assert_measured,
    assert_right_or_refused,
    measured,
    mlp,
    outcome,
    vectors,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Noisy(nn.Module):
    """A small network whose hidden units are changed by a function."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.change(self.first(x)))
        return out


def test_rectifiers_that_are_exactly_at_zero_are_measured() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 1, 8, 8, dtype=DOUBLE), torch.randint(2, (6,))
    images[:, :, :3] = 0  # black pixels and no bias: the first units there are at their kinks
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)
    ).double()
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(value)
    loss = functional.cross_entropy(model(images), labels)
    assert_measured(measured(model, "cross-entropy", images, labels), loss, model.parameters())


def test_layers_that_start_at_zero_are_measured() -> None:
    model, (x, y) = mlp(), vectors()
    for value in model[2].parameters():
        nn.init.zeros_(value)
    loss = functional.cross_entropy(model(x), y)
    assert_measured(measured(model, "cross-entropy", x, y), loss, model.parameters())


@pytest.mark.parametrize("scale", [1e-14, 1e-6, 1e9])
def test_the_scale_of_the_loss_does_not_matter(scale: float) -> None:
    model, (x, y) = mlp(), vectors()

    def scaled(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return scale * functional.cross_entropy(outputs, targets)

    assert_measured(measured(model, scaled, x, y), scaled(model(x), y), model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_large_offsets_of_the_loss_do_not_matter(dtype: torch.dtype) -> None:
    model, (x, y) = mlp(dtype), vectors(dtype)

    def raised(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs, targets) + 1e3

    found = measure(Objective(model, raised), Batch(x, y), NAMES)
    model.double()
    plain = functional.cross_entropy(model(x.double()), y) + 1e3
    assert_measured(found, plain, model.parameters(), rel=1e-9 if dtype == DOUBLE else 1e-4)


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_losses_without_a_positive_eigenvalue_are_measured(sign: float) -> None:
    model, (x, y) = nn.Linear(3, 2).double(), vectors()

    def concave(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        squares = torch.stack([value.square().sum() for value in model.parameters()])
        return sign * squares.sum() + outputs.mean()

    assert_measured(measured(model, concave, x, y), concave(model(x), y), model.parameters())


def test_embeddings_of_padding_are_constants() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.last = nn.Embedding(5, 3, padding_idx=0), nn.Linear(3, 2)
            nn.init.normal_(self.table.weight)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.last(torch.tanh(self.table(tokens).mean(1)))
            return out

    torch.manual_seed(0)
    model, (_, y) = Bag().double(), vectors()
    tokens = torch.randint(0, 5, (8, 4))
    loss = functional.cross_entropy(model(tokens), y)
    assert_measured(measured(model, "cross-entropy", tokens, y), loss, model.parameters())


def test_complex_weights_behind_an_odd_number_of_real_ones_are_measured_or_named() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, dtype=DOUBLE))
            self.weight = nn.Parameter(torch.randn(3, 2, dtype=torch.complex128))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return ((x * self.scale).to(self.weight.dtype) @ self.weight).abs().square()

    torch.manual_seed(0)
    model, (x, y) = Mixed(), vectors()
    pairs = torch.view_as_real(model.weight.detach()).clone().requires_grad_()
    outputs = ((x * model.scale).to(pairs.dtype.to_complex()) @ torch.view_as_complex(pairs)).abs().square()
    found = outcome(partial(measured, model, "cross-entropy", x, y))
    # The pairs come first: views of a flat vector as complex numbers have to begin at an even place.
    assert_right_or_refused(found, functional.cross_entropy(outputs, y), [pairs, model.scale])
    if isinstance(found, str):
        assert "weight" in found
        assert "complex" in found


def test_a_derivative_that_is_wrong_only_at_the_weights_themselves_is_noticed() -> None:
    """The second derivative of |w|^2 at 0 is 2, and 0 by autograd, which multiplies two signs of zero."""
    model, (x, y) = mlp(), vectors()
    nn.init.zeros_(dict(model.named_parameters())["0.bias"])

    def absolute(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        squares = torch.stack([value.abs().square().sum() for value in model.parameters()])
        return functional.cross_entropy(outputs, targets) + squares.sum()

    squares = torch.stack([value.square().sum() for value in model.parameters()]).sum()
    found = outcome(partial(measured, model, absolute, x, y))
    assert_right_or_refused(found, functional.cross_entropy(model(x), y) + squares, model.parameters())


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(
    "change",
    [
        lambda h: h + h * (torch.rand(len(h), 1) < 0.1),
        lambda h: functional.dropout(h, 0.02),
        lambda h: h + 1e-3 * torch.randn_like(h),
        lambda h: h * (torch.arange(len(h))[:, None] < 5),
        lambda h: torch.cat([h[:4], h[4:].flip(0)]),
    ],
    ids=["stochastic depth", "rare dropout", "little noise", "place in the batch", "order"],
)
def test_parts_that_are_another_function_of_later_examples_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], parts: int
) -> None:
    model, (x, y) = Noisy(change).double(), vectors()
    whole = measure(Objective(model), Batch(x, y), NAMES, tolerance=1e-6)
    found = outcome(
        lambda: measure(Objective(model), Batch(x, y), NAMES, tolerance=1e-6, examples_at_once=parts)
    )
    if isinstance(found, Measurements):
        for name in NAMES:
            bound = found[name].error + whole[name].error + 1e-9 * abs(whole[name].value)
            assert abs(found[name].value - whole[name].value) <= bound, name


class Rounded(torch.autograd.Function):
    """Rounds, and passes gradients straight through."""

    @staticmethod
    def forward(_: object, h: torch.Tensor) -> torch.Tensor:
        return (4 * h).round() / 4

    @staticmethod
    def backward(_: object, outer: torch.Tensor) -> torch.Tensor:
        return outer


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_gradients_of_quantised_weights_are_refused(seed: int, share: float) -> None:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rounded: torch.Tensor = Rounded.apply(self.first.weight)  # type: ignore[no-untyped-call]
            weight = share * rounded + (1 - share) * self.first.weight
            out: torch.Tensor = self.last(functional.relu(functional.linear(x, weight, self.first.bias)))
            return out

    found = outcome(partial(measured, Quantised().double(), "cross-entropy", *vectors()))
    if isinstance(found, Measurements):
        assert found["sharpness"].kind in {"undefined", "not converged"}, found["sharpness"]
        assert math.isnan(found["hessian_trace"].value)


@pytest.mark.parametrize(("width", "seed"), [(1, 37), (2, 18)])
def test_narrow_quantised_networks_whose_units_die_nearby_are_refused(width: int, seed: int) -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.middle = nn.Linear(3, width), nn.Linear(width, width)
            self.last = nn.Linear(width, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight: torch.Tensor = Rounded.apply(self.middle.weight)  # type: ignore[no-untyped-call]
            h = functional.linear(functional.relu(self.first(x)), weight, self.middle.bias)
            out: torch.Tensor = self.last(functional.relu(h))
            return out

    torch.manual_seed(seed)
    model = Narrow().double()
    x, y = torch.randn(6, 3).double(), torch.randint(2, (6,))
    found = outcome(partial(measured, model, "cross-entropy", x, y))
    if isinstance(found, Measurements):
        assert found["sharpness"].kind in {"undefined", "not converged"}, found["sharpness"]


def test_a_compiled_loss_inside_a_criterion_is_refused() -> None:
    """Its backward pass is one opaque function, without a second derivative."""
    inside = torch.compile(functional.cross_entropy, backend="aot_eager")

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return inside(outputs, targets) + 0.1 * outputs.square().mean()

    model, (x, y) = mlp(), vectors()
    own = functional.cross_entropy(model(x), y) + 0.1 * model(x).square().mean()
    found = outcome(partial(measured, model, loss, x, y))
    assert_right_or_refused(found, own, model.parameters())
