"""Everything that the user gave stays as it was, and nothing around a measurement reaches it."""

from __future__ import annotations

import random
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Batch, Hessian, Measurements, Meter, Objective, measure
from torch import nn
from torch.nn import functional

from .random_judge import state_of
from .user_code import measured, mlp, outcome, slope_and_matrix, vectors

if TYPE_CHECKING:
    from collections.abc import Callable


class Restless(nn.Module):
    """Uses every kind of randomness, counts, remembers, changes its input, and moves buffers."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer, self.drop = nn.BatchNorm1d(3), nn.Linear(3, 2), nn.Dropout(0.3)
        self.register_buffer("seen", torch.zeros(()))
        self.calls, self.history = 0, [0]
        self.last: torch.Tensor | None = None
        self.own = torch.Generator().manual_seed(3)
        self.numbers, self.python = np.random.default_rng(3), random.Random(3)  # noqa: S311

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x *= 1.1
        self.calls += 1
        self.history.append(self.calls)
        self.seen += 1
        scale = random.random() + np.random.rand() + self.numbers.random() + self.python.random()  # noqa: NPY002, S311
        scale += float(torch.rand((), generator=self.own)) + 0.1 * self.calls
        out: torch.Tensor = self.drop(self.layer(self.norm(x))) * scale
        if self.last is not None:
            out = out + self.last
        self.last = out.detach().mean()
        return out


def restless() -> Restless:
    torch.manual_seed(0)
    model = Restless().double()
    model.layer.bias.requires_grad_(False)
    model.layer.weight.grad = torch.ones_like(model.layer.weight)
    model.layer.weight.register_hook(lambda gradient: 2 * gradient)  # type: ignore[no-untyped-call]
    model.register_forward_hook(lambda *_: None)
    model.layer.register_full_backward_hook(lambda *_: None)
    return model


def hooks_of(model: nn.Module) -> list[Any]:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found: list[Any] = [list(getattr(module, name)) for module in model.modules() for name in names]
    return [*found, *(list(value._backward_hooks or {}) for value in model.parameters())]


def test_two_calls_give_one_value_and_leave_everything_as_it_was() -> None:
    model, (x, y) = restless(), vectors()
    before, hooks = state_of(model, x, y), hooks_of(model)
    first = measured(model, "cross-entropy", x, y)
    assert state_of(model, x, y) == before
    assert hooks_of(model) == hooks
    torch.rand(3)
    random.random()  # noqa: S311
    np.random.rand()  # noqa: NPY002
    assert measured(model, "cross-entropy", x, y).estimates == first.estimates
    assert first["sharpness"].kind == "certified"


def test_a_model_that_raises_leaves_everything_as_it_was() -> None:
    class Failing(Restless):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            super().forward(x)
            raise ValueError("no")

    model, (x, y) = Failing().double(), vectors()
    before = state_of(model, x, y)
    with pytest.raises(InputError, match="no"):
        measured(model, "cross-entropy", x, y)
    assert state_of(model, x, y) == before


def test_gradient_hooks_do_not_change_what_is_measured() -> None:
    model, (x, y) = mlp(), vectors()
    loss = functional.cross_entropy(model(x), y)
    slope, _ = slope_and_matrix(loss, model.parameters())
    next(model.parameters()).register_hook(lambda gradient: 0 * gradient)  # type: ignore[no-untyped-call]
    found = outcome(lambda: measured(model, "cross-entropy", x, y))
    if isinstance(found, Measurements):
        assert found["gradient_norm"].value == pytest.approx(float(slope.norm()), rel=1e-9)


def test_inputs_that_require_gradients_are_data() -> None:
    model, (x, y) = mlp(), vectors()
    expected = measured(model, "cross-entropy", x, y)
    x.requires_grad_()
    found = measured(model, "cross-entropy", x, y)
    assert found.estimates == expected.estimates
    assert x.grad is None
    assert x.requires_grad


class Reader(nn.Module):
    """A recurrent layer over vectors, with a wide readout."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTM(4, 32, batch_first=True), nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.cell(x.view(len(x), 16, 4))[0][:, -1])
        return out


WIDE: dict[str, Callable[[], nn.Module]] = {
    "perceptron": lambda: nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 2)),
    "lstm": Reader,
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3), nn.GELU(), nn.Flatten(), nn.Linear(576, 2)
    ),
}


def _precise(name: str) -> Any:
    return getattr(torch.backends.mkldnn, name)


AMBIENT: dict[str, Callable[[], Any]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no_grad": torch.no_grad,
    "nothing": nullcontext,
}


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("kind", WIDE)
def test_reduced_precision_of_matrix_products_does_not_reach_what_is_measured(
    kind: str, precision: str
) -> None:
    torch.manual_seed(0)
    model, x, y = WIDE[kind](), torch.randn(96, 64), torch.randint(0, 2, (96,))
    objective, batch = Objective(model), Batch(x, y)
    names = ("loss", "gradient_norm", "sharpness", "ggn_sharpness")
    expected = measure(objective, batch, names)
    vector = torch.ones(objective.size)
    product = Hessian(objective, batch)(vector)
    backends = [_precise(name) for name in ("matmul", "conv", "rnn")]
    before = [one.fp32_precision for one in backends]
    try:
        for one in backends:
            one.fp32_precision = precision
        assert measure(objective, batch, names).estimates == expected.estimates
        assert Meter(names)(objective, batch).estimates == expected.estimates
        assert torch.equal(Hessian(objective, batch)(vector), product)
        assert [one.fp32_precision for one in backends] == [precision] * 3
    finally:
        for one, value in zip(backends, before, strict=True):
            one.fp32_precision = value


@pytest.mark.parametrize("ambient", AMBIENT)
@pytest.mark.parametrize("kind", WIDE)
def test_an_ambient_context_does_not_reach_what_is_measured(kind: str, ambient: str) -> None:
    torch.manual_seed(0)
    model, x, y = WIDE[kind](), torch.randn(96, 64), torch.randint(0, 2, (96,))
    names = ("loss", "gradient_norm", "sharpness", "ggn_sharpness")
    expected = measure(Objective(model), Batch(x, y), names)
    product = Hessian(Objective(model), Batch(x, y))(torch.ones(Objective(model).size))
    with ExitStack() as stack:
        stack.enter_context(AMBIENT[ambient]())
        assert measure(Objective(model), Batch(x, y), names).estimates == expected.estimates
        again = Hessian(Objective(model), Batch(x, y))(torch.ones(Objective(model).size))
        assert torch.is_autocast_enabled("cpu") == (ambient == "autocast")
        assert torch.is_grad_enabled() == (ambient != "no_grad")
    assert torch.equal(product, again)


def test_inference_mode_is_left_or_refused_in_one_line() -> None:
    model, (x, y) = mlp(), vectors()
    expected = measured(model, "cross-entropy", x, y)
    with torch.inference_mode():
        found = outcome(lambda: measured(model, "cross-entropy", x, y))
    if isinstance(found, Measurements):
        assert found.estimates == expected.estimates
    else:
        assert "inference" in found
        assert "\n" not in found
