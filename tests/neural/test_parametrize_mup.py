"""Against the reference implementation of maximal update parametrization, and attention written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.neural.parametrize import parametrize
from superconsistency.theory import TABLE
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

mup = pytest.importorskip("mup", reason="the oracle is not installed (make install does)")

VOCABULARY, INPUTS, OUTPUTS, BASE, WIDTH, STEPS = 7, 6, 3, 8, 40, 12
MUP = TABLE["mup"]


class Dense(nn.Module):
    """Layers with biases and a normalisation; those in the middle may grow otherwise."""

    def inner(self, width: int) -> int:
        return 4 * width

    def __init__(self, width: int, readout: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, width)
        self.norm = nn.LayerNorm(width)
        inner = self.inner(width)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.readout = readout(width, OUTPUTS)

    def forward(self, inputs: torch.Tensor) -> Any:
        hidden = self.norm(torch.tanh(self.first(inputs)))
        return self.readout(torch.tanh(self.down(torch.tanh(self.up(hidden)))))


class Unlike(Dense):
    """The layers in the middle grow with a power of the width."""

    def inner(self, width: int) -> int:
        return width**2 // 8


class Images(nn.Module):
    """Convolutions, one of them for each channel by itself, with batch norm."""

    def __init__(self, width: int, readout: type[nn.Linear] = nn.Linear) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 2 * width, 3)
        self.channels = nn.Conv2d(2 * width, 2 * width, 2, groups=2 * width)
        self.readout = readout(2 * width, OUTPUTS)

    def forward(self, inputs: torch.Tensor) -> Any:
        images = inputs.repeat(1, 9)[:, :50].view(-1, 2, 5, 5)
        hidden = torch.tanh(self.second(torch.tanh(self.norm(self.first(images)))))
        return self.readout(torch.tanh(self.channels(hidden)).mean((2, 3)))


class Tied(nn.Module):
    """Tokens embedded and predicted with one matrix."""

    def __init__(self, width: int, readout: Any = None) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.hidden = nn.Linear(width, width)
        if readout is None:
            self.readout = nn.Linear(width, VOCABULARY, bias=False)
            self.readout.weight = self.tokens.weight
        else:
            self.readout = mup.MuSharedReadout(self.tokens.weight, bias=False)

    def forward(self, inputs: torch.Tensor) -> Any:
        mixed = self.tokens(inputs.abs().mul(1e4).long() % VOCABULARY).mean(1)
        return self.readout(torch.tanh(self.hidden(mixed)))[:, :OUTPUTS]


def examples(*, time: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (12, INPUTS) if time is None else (12, time, INPUTS)
    inputs = torch.randn(shape, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(12, OUTPUTS, generator=generator, dtype=torch.float64)


def trajectory(
    model: nn.Module, optimizer: torch.optim.Optimizer, *, time: int | None = None
) -> torch.Tensor:
    """Outputs before each of the steps."""
    inputs, targets = examples(time=time)
    seen = []
    for _ in range(STEPS):
        outputs = model(inputs)
        seen.append(outputs.detach())
        optimizer.zero_grad()
        (outputs - targets).square().mean().backward()
        optimizer.step()
    return torch.stack(seen)


def reference(network: Callable[..., Any], width: int) -> Any:
    """The network with the reference's base shapes."""
    made, base, delta = (network(one, mup.MuReadout).double() for one in (width, BASE, 2 * BASE))
    mup.set_base_shapes(made, base, delta=delta)
    return made


OPTIMIZERS: dict[str, tuple[float, Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (0.05, lambda values, rate: mup.MuSGD(values, lr=rate), {}),
    "momentum": (
        0.02,
        lambda values, rate: mup.MuSGD(values, lr=rate, momentum=0.7, weight_decay=0.02),
        {"momentum": 0.7, "weight_decay": 0.02},
    ),
    "adam": (0.003, lambda values, rate: mup.MuAdam(values, lr=rate, eps=0.0), {"eps": 0.0}),
    "adamw": (
        0.003,
        lambda values, rate: mup.MuAdamW(values, lr=rate, eps=0.0, weight_decay=0.1),
        {"eps": 0.0, "weight_decay": 0.1},
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("network", [Dense, Unlike, Images, Tied])
def test_the_trained_function_is_the_references(network: Any, name: str) -> None:
    rate, theirs, settings = OPTIMIZERS[name]
    torch.manual_seed(0)
    model = network(WIDTH).double()
    found = parametrize(model, MUP, base=network(BASE).double())
    other = reference(network, WIDTH)
    with torch.no_grad():
        for key, value in model.named_parameters():
            multiplied = key == "readout.weight"  # the reference divides its readout's inputs by the growth
            other.get_parameter(key).copy_(value * (WIDTH / BASE if multiplied else 1))
    expected = trajectory(other, theirs(other.parameters(), rate))
    mine = trajectory(model, found.optimizer(name.replace("momentum", "sgd"), rate, **settings))
    assert float((expected[-1] - expected[0]).abs().max()) > 1e-3
    torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("width", [BASE, 3 * BASE, 64 * BASE])
def test_initial_sizes_are_the_references(width: int) -> None:
    torch.manual_seed(0)
    base, model, other = Dense(BASE), Dense(width), reference(Dense, width)
    parametrize(model, MUP, base=base)
    for (key, value), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
        if key == "readout.bias":  # three numbers
            continue
        mine, reference_size = (float(one.detach().square().mean().sqrt()) for one in (value, theirs))
        reference_size /= width / BASE if key == "readout.weight" else 1
        spread = 5 / (2 * base.get_parameter(key).numel()) ** 0.5  # of a base of so many weights
        assert mine == pytest.approx(reference_size, rel=spread), key
