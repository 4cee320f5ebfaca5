"""Layers that remember something, or are random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable


class Counter(nn.Module):
    """Counts its calls in a plain attribute and keeps its last output in another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.calls = 0
        self.last: torch.Tensor | None = None

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        out = torch.tanh(self.layer(h)) * (1 + 0.1 * self.calls)
        if self.last is not None:
            out = out + 0.5 * self.last.mean()
        self.last = out.detach()
        return out


class Averaged(nn.Module):
    """Keeps a running mean in a buffer, which it also uses."""

    mean: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        out = torch.tanh(self.layer(h)) + self.mean
        if self.training:
            with torch.no_grad():
                self.mean.mul_(0.9).add_(0.1 * h.mean(0))
        return out


class Noisy(nn.Module):
    """Scales its output at random, by a generator of some library."""

    def __init__(self, width: int, draw: Callable[[Any], float], source: Any = None) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.draw, self.source = draw, source

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(h)) * (0.5 + self.draw(self.source))
