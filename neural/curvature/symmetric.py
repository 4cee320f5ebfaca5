"""Symmetric operators: the interface that eigenvalue searches and stochastic estimates work on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class SymmetricOperator(Protocol):
    """A symmetric matrix known by its products with vectors."""

    size: int
    """Length n of the vectors."""
    dtype: torch.dtype
    device: torch.device

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """A product, shape (n,) to (n,); the argument is neither changed nor kept."""
        ...


class DenseOperator:
    """A symmetric matrix as an operator.

    Parameters
    ----------
    matrix
        Shape (n, n).
    """

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix, self.size = matrix, len(matrix)
        self.dtype, self.device = matrix.dtype, matrix.device

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """One product, shape (n,)."""
        return self.matrix @ vector
