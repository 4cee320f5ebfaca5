"""What a user would find for a random model: with plain autograd, and checked by finite differences."""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from .random_models import Specimen, specimen

DIRECTIONS = 2
"""Along which derivatives are compared with finite differences."""


class Truth(NamedTuple):
    """What is to be found."""

    loss: float
    gradient: float
    """Its norm."""
    sharpness: float
    trace: float
    norm: float
    """Spectral norm of the Hessian."""
    size: int
    precision: float
    """To which all this is known, relative to the norm."""
    fault: str = ""
    """Why there is no Hessian of the loss to be found."""


def seeded() -> None:
    """The random state in which an objective of seed 0 evaluates."""
    torch.default_generator.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)


def changed(seed: int, shift: torch.Tensor | None = None) -> Specimen:
    """A new model of a seed as it is measured, its weights moved by a vector."""
    made = specimen(seed, exact=True)
    made.change(made.model)
    if shift is not None:
        with torch.no_grad():
            values = [real(value) for value in made.leaves()]
            steps = torch.split(shift, [value.numel() for value in values])
            for value, step in zip(values, steps, strict=True):
                value.add_(step.view(value.shape))
    seeded()
    return made


def real(value: torch.Tensor) -> torch.Tensor:
    """Complex numbers as pairs, sparse ones as dense."""
    value = value.to_dense() if value.is_sparse else value
    return torch.view_as_real(value) if value.is_complex() else value


def loss_of(seed: int, shift: torch.Tensor | None = None) -> float:
    return float(changed(seed, shift).loss().detach())


def gradient_of(seed: int, shift: torch.Tensor | None = None) -> torch.Tensor:
    """By one backward pass, as in training."""
    made = changed(seed, shift)
    return _gradients(made.loss(), made.leaves(), again=False)


def _gradients(value: torch.Tensor, leaves: list[torch.Tensor], *, again: bool) -> torch.Tensor:
    """As one vector; the graph is kept if it is needed again."""
    pieces = torch.autograd.grad(value, leaves, create_graph=again, retain_graph=True, allow_unused=True)
    known = (
        torch.zeros_like(leaf) if piece is None else piece for piece, leaf in zip(pieces, leaves, strict=True)
    )
    return torch.cat([real(piece).reshape(-1).double() for piece in known])


def _second(seed: int) -> torch.Tensor | None:
    """The Hessian by a second backward pass, None if there is none."""
    made = changed(seed)
    leaves = made.leaves()
    try:
        with sdpa_kernel(SDPBackend.MATH):
            loss = made.loss()
        slope = _gradients(loss, leaves, again=True)
        if not slope.requires_grad:
            return torch.zeros(len(slope), len(slope), dtype=torch.float64)
        return torch.stack([_gradients(entry, leaves, again=False) for entry in slope])
    except RuntimeError:
        return None


def _directions(free: torch.Tensor) -> list[torch.Tensor]:
    """Random unit vectors in the space of what is trained."""
    generator = torch.Generator().manual_seed(1)
    drawn = free * torch.randn(DIRECTIONS, len(free), generator=generator, dtype=torch.float64)
    return list(drawn / drawn.norm(dim=1, keepdim=True))


def truth(seed: int, *, second: bool = True) -> Truth:
    """What is to be found for the model of a seed, without second derivatives if nothing asks for them."""
    made = changed(seed)
    steps, precision = ((3e-2, 3e-3), 1e-2) if made.partly else ((1e-5, 1e-4, 1e-6), 1e-6)
    loss, slope, free = loss_of(seed), gradient_of(seed), made.free()
    found = Truth(
        loss,
        float(slope.norm()),
        np.nan,
        np.nan,
        np.nan,
        len(slope),
        1e-3 if made.partly or made.plan.single else 1e-8,
    )
    if loss != loss_of(seed):
        return found._replace(fault="two evaluations differ")
    if not second:
        return found
    scale = abs(loss) + float(slope.norm())
    for direction in _directions(free):
        expected, known = float(slope @ direction), Along(seed, direction)
        if not any(abs(known.loss(step) - expected) < precision * scale for step in steps):
            return found._replace(fault="the gradient is not the derivative of the loss")
    matrix = _second(seed)
    if matrix is None or not _confirmed(seed, matrix, free, steps, precision):
        matrix = torch.stack([Along(seed, unit).gradient(steps[0]) for unit in torch.diag(free)])
        found = found._replace(precision=max(1e-5, found.precision))
    values = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T))
    norm = float(values.abs().max())
    return found._replace(sharpness=float(values[-1]), trace=float(matrix.trace()), norm=norm)


def _confirmed(
    seed: int, matrix: torch.Tensor, free: torch.Tensor, steps: tuple[float, ...], precision: float
) -> bool:
    """Whether finite differences of the gradient agree with a Hessian."""
    scale = float(matrix.norm()) + 1e-3
    for direction in _directions(free):
        expected, known = matrix @ direction, Along(seed, direction)
        if not any(float((known.gradient(step) - expected).norm()) < precision * scale for step in steps):
            return False
    return True


class Along(NamedTuple):
    """Central differences along a direction."""

    seed: int
    direction: torch.Tensor

    def loss(self, step: float) -> float:
        """Slope of the loss."""
        ahead, behind = (loss_of(self.seed, sign * step * self.direction) for sign in (1, -1))
        return (ahead - behind) / (2 * step)

    def gradient(self, step: float) -> torch.Tensor:
        """Slope of the gradient."""
        ahead, behind = (gradient_of(self.seed, sign * step * self.direction) for sign in (1, -1))
        return (ahead - behind) / (2 * step)
