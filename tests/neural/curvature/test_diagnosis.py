from __future__ import annotations

from typing import Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Batch, GaussNewton, Hessian, Objective
from superconsistency.neural.curvature.diagnosis import explain_failure
from superconsistency.neural.curvature.parameters import require_measurable
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        out: torch.Tensor = cotangents[0] * x.cos()
        return out


def once(x: torch.Tensor) -> torch.Tensor:
    apply: Any = Once.apply
    out: torch.Tensor = apply(x)
    return out


class ConvBlock(nn.Module):
    """Convolution and batch norm, then a function without a second derivative in its own forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return once(self.activation(self.norm(self.convolution(images))))


class Scale(nn.Module):
    """Takes everything by keyword, in a list."""

    def forward(self, *, parts: list[torch.Tensor]) -> torch.Tensor:
        return once(parts[0]) * parts[1]


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Scale()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.inner(parts=[x, x])
        return out


class Flash(nn.Module):
    """Attention that insists on a kernel without a second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        heads = self.project(tokens)[:, None]
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            return nn.functional.scaled_dot_product_attention(heads, heads, heads)[:, 0]


class InPlace(nn.Module):
    """Overwrites what the sigmoid's derivative needs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.sigmoid()
        doubled = 2 * y
        y += 1
        return y + doubled


def nested(block: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(nn.Sequential(block, nn.Flatten()), nn.Linear(width, 2))


def labelled(*shape: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.randn(4, *shape, generator=generator), torch.tensor([0, 1, 1, 0]))


FAILING: dict[str, tuple[nn.Module, Batch, str]] = {
    "a function in a block": (nested(ConvBlock(), 18), labelled(1, 3, 3), r"0\.0 \(ConvBlock\): .*once_diff"),
    "flash attention": (
        nested(Flash(), 12),
        labelled(3, 4),
        r"0\.0 \(Flash\); .*aten::_scaled_dot_product_flash_attention_for_cpu_backward in Flash",
    ),
    "tensors by keyword": (
        nn.Sequential(nn.Linear(3, 3), Wrapped(), nn.Linear(3, 2)),
        labelled(3),
        r"1\.inner \(Scale\)",
    ),
    "a change in place": (
        nn.Sequential(nn.Linear(3, 3), InPlace(), nn.Linear(3, 2)),
        labelled(3),
        r"1 \(InPlace\): it changes a tensor in place",
    ),
    "the model itself": (ConvBlock(), labelled(1, 2, 2), r"its root \(ConvBlock\)"),
}


def logits(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(outputs.flatten(1), targets)


@pytest.mark.parametrize("kind", [Hessian, GaussNewton])
@pytest.mark.parametrize("case", FAILING)
def test_the_innermost_module_without_a_second_derivative_is_named(case: str, kind: Any) -> None:
    model, batch, words = FAILING[case]
    objective = Objective(model, logits)
    with pytest.raises(InputError, match=f"model is not differentiable twice in {words}") as raised:
        kind(objective, batch)(torch.ones(objective.size))
    assert "\n" not in str(raised.value)


def test_a_diagnosis_leaves_the_model_as_it_was() -> None:
    model, batch, _ = FAILING["a function in a block"]
    for value in model.parameters():
        value.grad = torch.full_like(value, 0.5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flags, random = [module.training for module in model.modules()], torch.get_rng_state()
    inputs = batch.inputs.clone()
    explain_failure(Objective(model), batch, RuntimeError("some words"))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert flags == [module.training for module in model.modules()]
    assert all((value.grad == 0.5).all() for value in model.parameters() if value.grad is not None)
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert torch.equal(inputs, batch.inputs)


HEALTHY: dict[str, tuple[nn.Module, Batch]] = {
    "in-place activation": (
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)),
        labelled(3),
    ),
    "attention": (nested(nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), 12), labelled(3, 4)),
    "frozen function": (
        nn.Sequential(ConvBlock().requires_grad_(requires_grad=False), nn.Flatten(), nn.Linear(8, 2)),
        labelled(1, 2, 2),
    ),
}


@pytest.mark.parametrize("case", HEALTHY)
def test_a_healthy_model_is_not_blamed_and_the_errors_words_are_kept(case: str) -> None:
    model, batch = HEALTHY[case]
    message = str(explain_failure(Objective(model), batch, RuntimeError("the dog ate it\nall of it")))
    assert "every module is differentiable twice by itself" in message
    assert message.endswith("the error was RuntimeError: the dog ate it")


def test_a_model_that_does_not_run_is_said_not_to() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    message = str(explain_failure(Objective(model), labelled(5), RuntimeError("shapes")))
    assert "the model does not run on this batch" in message
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(("inside", "place"), [(True, "1"), (False, "its root")])
def test_a_compiled_module_is_refused_by_name_wherever_it_is(inside: bool, place: str) -> None:
    compiled: Any = torch.compile(nn.Linear(2, 2), backend="eager")
    model = nn.Sequential(nn.Linear(2, 2), compiled) if inside else compiled
    with pytest.raises(InputError, match=f"at {place}; .*its _orig_mod"):
        require_measurable(model, None)


def test_a_model_that_is_not_compiled_is_let_through() -> None:
    require_measurable(HEALTHY["attention"][0], None)
