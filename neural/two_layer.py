"""The two-layer linear network of Section 5, trained on its raw weights by autograd.

It shares no code with the latent simulation; that the two agree is a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ..theory import LatentState, Problem, Weights, latent_state

if TYPE_CHECKING:
    from collections.abc import Iterator


class TwoLayerLinear(nn.Module):
    """`w = multiplier * E V` in float64, with the squared loss against the target.

    Attributes
    ----------
    first
        `E`, shape (D, N).
    second
        `V`, shape (N,).
    """

    def __init__(self, problem: Problem, weights: Weights, device: torch.device | None = None) -> None:
        super().__init__()
        self.problem = problem
        self.first = nn.Parameter(torch.tensor(weights.first, dtype=torch.float64, device=device))
        self.second = nn.Parameter(torch.tensor(weights.second, dtype=torch.float64, device=device))
        self.target: torch.Tensor
        self.register_buffer(
            "target", torch.tensor(problem.target.copy(), dtype=torch.float64, device=device)
        )

    def forward(self) -> torch.Tensor:
        """The end-to-end map `w`, shape (D,)."""
        return torch.mv(self.first, self.second).mul(self.problem.multiplier)

    def loss(self) -> torch.Tensor:
        """`|w - w*|^2 / 2`."""
        residual = self.forward() - self.target
        return 0.5 * (residual @ residual)

    def latent_state(self) -> LatentState:
        """The latent state of the present weights."""
        first, second = (weight.detach().cpu().numpy() for weight in (self.first, self.second))
        return latent_state(self.problem, Weights(first, second))


def descend(model: TwoLayerLinear, learning_rate: float, steps: int) -> Iterator[LatentState]:
    """Gradient descent on the raw weights with step `eta0 gamma^2`; gives the state after every step."""
    rate = learning_rate * model.problem.learning_rate_scale
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    yield model.latent_state()
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss().backward()  # type: ignore[no-untyped-call] # torch leaves backward untyped
        optimizer.step()
        yield model.latent_state()
