"""The two-layer linear network of Section 5, trained on its raw weights by autograd.

It shares no code with the latent simulation; that the two agree is a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..theory import LatentState, Problem, Weights, latent_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..theory import Array


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

    def weights(self) -> Weights:
        """The present raw weights."""
        return Weights(*(weight.detach().cpu().numpy().copy() for weight in (self.first, self.second)))

    def latent_state(self) -> LatentState:
        """The latent state of the present weights."""
        return latent_state(self.problem, self.weights())


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


def dense_hessian(problem: Problem, weights: Weights) -> Array:
    """The whole Hessian in the learning-rate metric, `gamma^2 H`, by autograd: an oracle for small networks.

    Returns
    -------
    Array
        Shape (D N + N, D N + N): E row by row, then V; units of 1/eta0.
    """
    shape, target = weights.first.shape, torch.tensor(problem.target.copy())

    def loss(flat: torch.Tensor) -> torch.Tensor:
        first, second = flat[: -shape[1]].reshape(shape), flat[-shape[1] :]
        residual = problem.multiplier * (first @ second) - target
        return 0.5 * (residual @ residual)

    flat = torch.tensor(np.concatenate([weights.first.ravel(), weights.second]))
    hessian: torch.Tensor = torch.func.jacrev(torch.func.jacrev(loss))(flat)
    return np.asarray(problem.learning_rate_scale * hessian.numpy())
