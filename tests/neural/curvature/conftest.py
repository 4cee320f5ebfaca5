"""Small networks of every kind, with batches: the cases that all curvature tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
from superconsistency.neural import SimpleConvNet
from superconsistency.neural.curvature import Batch, Objective
from superconsistency.theory import parametrization
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 4


class Case(NamedTuple):
    model: nn.Module
    batch: Batch
    objective: Objective

    def train(self, steps: int) -> None:
        """SGD on the whole batch."""
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward(
                self.objective.criterion(self.model(self.batch.inputs), self.batch.targets)
            )
            optimizer.step()


class Attention(nn.Module):
    """A pre-LN transformer block with a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, norm_first=True, batch_first=True)
        self.readout = nn.Linear(4, CLASSES)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.readout(self.block(tokens).mean(1))
        return out


def _convnet(norm: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        norm(),
        nn.GELU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, CLASSES)), (6,)),
    "relu-mlp": (lambda: nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, CLASSES)), (6,)),
    "simple-convnet": (
        lambda: SimpleConvNet(
            parametrization("mup"), 4, torch.Generator().manual_seed(0), channels=1, classes=CLASSES
        ),
        (1, 32, 32),
    ),
    "batch-norm": (lambda: _convnet(lambda: nn.BatchNorm2d(4)), (1, 4, 4)),
    "layer-norm": (lambda: _convnet(lambda: nn.GroupNorm(1, 4)), (1, 4, 4)),
    "transformer": (Attention, (5, 4)),
}


def case(name: str, criterion: str = "cross-entropy", *, examples: int = 10, seed: int = 0) -> Case:
    """A network in float64, in training mode, with its batch."""
    build, shape = MODELS[name]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().double()
    inputs = torch.randn(examples, *shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(CLASSES, (examples,), generator=generator)
    return Case(model, Batch(inputs, targets), Objective(model, criterion))


@pytest.fixture(params=sorted(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["cross-entropy", "mse"])
def criterion(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build() -> Callable[..., Case]:
    """What builds a case from its name."""
    return case
