"""A small residual network to try `superconsistency curvature` on, as one would write one's own."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a skip connection; (B, C, H, W) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The images plus a residual branch."""
        branch = functional.gelu(self.first_norm(self.first(images)))
        return functional.gelu(images + self.second_norm(self.second(branch)))


class SmallResNet(nn.Module):
    """Three blocks on images of 32 by 32 with three channels; (B, 3, 32, 32) to (B, 10)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(3)))
        self.readout = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        out: torch.Tensor = self.readout(self.blocks(self.stem(images)).mean((2, 3)))
        return out


def small_resnet() -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network at initialisation, and the optimizer that it is to be trained with."""
    model = SmallResNet()
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
