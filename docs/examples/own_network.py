"""A residual network made of plain PyTorch modules, and the parametrization table applied to it."""

from __future__ import annotations

import torch
from superconsistency.neural.parametrize import parametrize
from superconsistency.theory import TABLE
from torch import nn
from torch.nn import functional


class Branch(nn.Module):
    """Normalisation, a layer up and a layer down; (B, width) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The branch alone."""
        out: torch.Tensor = self.down(functional.gelu(self.up(self.norm(hidden))))
        return out


class ResidualMLP(nn.Module):
    """A stream that branches add to; (B, ...) with as many features as `inputs` to (B, outputs)."""

    def __init__(self, width: int, depth: int, inputs: int = 3 * 32 * 32, outputs: int = 10) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.branches = nn.ModuleList(Branch(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits."""
        hidden = self.first(inputs.flatten(1))
        for branch in self.branches:
            hidden = hidden + branch(hidden)
        out: torch.Tensor = self.readout(self.norm(hidden))
        return out


def residual_mlp() -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network at four times the width and depth it was tuned at, and its optimizer at the same rate."""
    found = parametrize(
        ResidualMLP(256, 12), TABLE["depth-mup"], base=ResidualMLP(64, 3), branches=["branches.*"]
    )
    return found.model, found.optimizer("sgd", 0.003)
