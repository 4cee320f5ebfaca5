from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Batch, GaussNewton, Hessian, Objective, Residual
from superconsistency.neural.curvature.functions import LeanSecondDerivatives
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.neural.curvature.operators import CurvatureOperator

CONVOLUTIONS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "strided": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 7, 6)),
    "dilated, no bias": (lambda: nn.Conv2d(2, 4, 3, dilation=2, bias=False), (2, 7, 7)),
    "grouped": (lambda: nn.Conv2d(4, 4, (2, 3), groups=2, stride=(1, 2), padding=(1, 0)), (4, 5, 6)),
    "same": (lambda: nn.Conv2d(2, 3, 3, padding="same"), (2, 5, 5)),
    "reflecting": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 5, 5)),
    "one-dimensional": (lambda: nn.Conv1d(3, 2, 3, padding=1), (3, 9)),
    "three-dimensional": (lambda: nn.Conv3d(2, 2, 2), (2, 3, 4, 3)),
}

APART: dict[str, Callable[[], nn.Module]] = {
    "patches": lambda: nn.Conv2d(3, 2, 3, stride=3),
    "strided beyond the window": lambda: nn.Conv2d(3, 2, (2, 3), stride=(4, 3), padding=1, bias=False),
    "padded by more than is left over": lambda: nn.Conv2d(3, 2, 3, stride=5, padding=2),
    "one pixel": lambda: nn.Conv2d(3, 2, 1),
    "one window": lambda: nn.Conv2d(3, 2, (7, 9), stride=9),
    "overlapping": lambda: nn.Conv2d(3, 2, 3, stride=2),
    "grouped": lambda: nn.Conv2d(3, 3, 2, stride=2, groups=3),
}

POOLINGS: dict[str, nn.Module] = {
    "halving": nn.MaxPool2d(2),
    "overlapping": nn.MaxPool2d(3, stride=2, padding=1),
    "ceiling": nn.MaxPool2d((2, 3), ceil_mode=True),
    "dilated": nn.MaxPool2d(2, stride=1, dilation=2),
    "with indices": nn.MaxPool2d(2, return_indices=True),
    "one-dimensional": nn.Sequential(nn.Flatten(2), nn.MaxPool1d(3)),
}


class First(nn.Module):
    """The first of what a module returns."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found = self.inner(inputs)
        out: torch.Tensor = found[0] if isinstance(found, tuple) else found
        return out


def network(*layers: nn.Module, shape: tuple[int, ...]) -> tuple[nn.Module, Batch]:
    """Layers with a readout, and examples for them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = nn.Sequential(*layers, nn.Tanh(), nn.Flatten()).double()
        inputs = torch.randn(4, *shape, dtype=torch.float64)
        model = nn.Sequential(features, nn.Linear(features(inputs).shape[1], 2)).double()
    return model, Batch(inputs, torch.tensor([0, 1, 1, 0]))


def dense_hessian(model: nn.Module, batch: Batch) -> torch.Tensor:
    """By PyTorch's own derivatives of its own operations."""
    values = {name: value.detach() for name, value in model.named_parameters()}
    sizes = [value.numel() for value in values.values()]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = torch.split(flat, sizes)
        weights = {
            name: piece.view_as(value) for (name, value), piece in zip(values.items(), pieces, strict=True)
        }
        return functional.cross_entropy(
            torch.func.functional_call(model, weights, batch.inputs), batch.targets
        )

    flat = torch.cat([value.reshape(-1) for value in values.values()])
    found: torch.Tensor = torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call]
    return found


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_hessian_through_a_convolution_of_data_is_pytorch_s(name: str) -> None:
    build, shape = CONVOLUTIONS[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layer = build()
    model, batch = network(layer, shape=shape)
    expected = dense_hessian(model, batch)
    torch.testing.assert_close(Hessian(Objective(model), batch).matrix(), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", APART)
def test_the_hessian_through_a_convolution_without_overlap_is_pytorch_s(
    name: str, channels_last: bool
) -> None:
    build = APART[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = (nn.Conv2d(2, 3, 2), nn.Softplus(), build())
    model, batch = network(*layers, shape=(2, 8, 10))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    expected = dense_hessian(model, batch)
    image = torch.randn(1, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    with LeanSecondDerivatives():
        lean = layers[2](image)
    torch.testing.assert_close(lean, layers[2](image), rtol=1e-13, atol=1e-14)
    assert ("Convolution" in type(lean.grad_fn).__name__) == (name in {"overlapping", "grouped"})
    torch.testing.assert_close(Hessian(Objective(model), batch).matrix(), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
def test_the_hessian_through_max_pooling_is_pytorch_s(name: str, channels_last: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = (nn.Conv2d(2, 3, 2), nn.Softplus(), First(POOLINGS[name]))
    model, batch = network(*layers, shape=(2, 7, 6))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    expected = dense_hessian(model, batch)
    torch.testing.assert_close(Hessian(Objective(model), batch).matrix(), expected, rtol=1e-10, atol=1e-13)


class Pooled(nn.Module):
    """A learned image, pooled directly and beside a branch of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.linspace(-1, 1, 24).cos().view(1, 1, 4, 6))
        self.readout = nn.Linear(6, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        image = torch.tanh(self.image)
        pooled = functional.max_pool2d(self.image, 2) + functional.max_pool2d(image, 2)
        pooled = pooled + functional.avg_pool2d(image * self.image, 2)
        out: torch.Tensor = self.readout(inputs * pooled.flatten())
        return out


def test_a_pooling_s_kept_tensor_is_not_changed_by_other_branches_or_later_products() -> None:
    model = Pooled().double()
    batch = Batch(torch.linspace(0, 1, 24, dtype=torch.float64).view(4, 6), torch.tensor([0, 1, 1, 0]))
    expected = dense_hessian(model, batch)
    hessian = Hessian(Objective(model), batch)
    for _ in range(2):
        torch.testing.assert_close(hessian.matrix(), expected, rtol=1e-10, atol=1e-13)


def test_operations_that_nothing_is_gained_from_are_left_alone() -> None:
    image = torch.randn(2, 3, 5, 5, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    with LeanSecondDerivatives():
        names = [
            functional.conv2d(image, weight),
            functional.conv2d(image[0].detach(), weight),
            functional.conv2d(image.detach(), weight.detach()),
            functional.max_pool2d(image[0], 2),
            functional.max_pool2d(image.detach(), 2),
            functional.max_pool2d(input=image, kernel_size=2, return_indices=True)[0],
        ]
        replaced = [functional.conv2d(image.detach(), weight), functional.max_pool2d(image, 2)]
    found: list[Any] = [type(tensor.grad_fn).__name__ for tensor in names]
    assert not any("Data" in name or "_MaxPooling" in name for name in found)
    assert [type(tensor.grad_fn).__name__ for tensor in replaced] == [
        "_DataConvolutionBackward",
        "_MaxPoolingBackward",
    ]


class Again(nn.Module):
    """A module whose activations are computed again in the backward pass."""

    def __init__(self, inner: nn.Module, *, reentrant: bool = False) -> None:
        super().__init__()
        self.inner, self.reentrant = inner, reentrant

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = checkpoint(self.inner, inputs, use_reentrant=self.reentrant)
        return out


def recomputing(wrap: Callable[[nn.Module], nn.Module]) -> tuple[nn.Module, Batch]:
    """Convolution of data, dropout, pooling and attention, the modules wrapped."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.Tanh(), nn.Dropout(0.3))
        block = nn.TransformerEncoderLayer(12, 2, 8, dropout=0.0, batch_first=True)
        shaping = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 12)))
        model = nn.Sequential(wrap(features), shaping, wrap(block), nn.Flatten(), nn.Linear(12, 3)).double()
        inputs = torch.randn(5, 1, 6, 6, dtype=torch.float64)
    return model, Batch(inputs, torch.tensor([0, 1, 2, 0, 1]))


@pytest.mark.parametrize("kind", [Hessian, GaussNewton, Residual])
def test_activation_checkpointing_changes_nothing(kind: type[CurvatureOperator]) -> None:
    plain, again = (
        kind(Objective(model), batch) for model, batch in map(recomputing, (nn.Sequential, Again))
    )
    vector = torch.linspace(-1, 1, plain.size, dtype=torch.float64)
    for _ in range(2):
        torch.testing.assert_close(again(vector), plain(vector), rtol=1e-12, atol=1e-14)


def test_reentrant_checkpointing_is_refused_by_the_name_of_its_module() -> None:
    model, batch = recomputing(lambda inner: Again(inner, reentrant=True))
    model = nn.Sequential(nn.Conv2d(1, 1, 1).double(), model)
    with pytest.raises(InputError, match=r"not differentiable twice in 1\.0 \(Again\)"):
        Hessian(Objective(model), batch)


class Mapped(nn.Module):
    """A convolution and a pooling of one example, mapped over examples."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.readout = nn.Conv2d(1, 3, 3), nn.Linear(12, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        def one(image: torch.Tensor) -> torch.Tensor:
            return functional.max_pool2d(torch.tanh(self.convolution(image[None])), 2)[0]

        out: torch.Tensor = self.readout(torch.vmap(one)(inputs).flatten(1))
        return out


def test_a_model_that_maps_over_examples_has_its_own_hessian() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Mapped().double()
        batch = Batch(torch.randn(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 1, 0]))
    matrix = Hessian(Objective(model), batch).matrix()
    torch.testing.assert_close(matrix, dense_hessian(model, batch), rtol=1e-10, atol=1e-13)
