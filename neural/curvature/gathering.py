"""Products put together from what belongs to each parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .operators import CurvatureOperator


class Gathering:
    """`P^1/2` times what belongs to each parameter, as it comes, in one vector.

    Memory is touched only where something has come: pieces and vector together are one vector, not two. A
    lone parameter's piece becomes the vector.
    """

    def __init__(self, operator: CurvatureOperator) -> None:
        self._values = operator.values
        self._roots = operator.metric.roots
        self._sizes = [value.numel() for value in self._values]
        self._total = torch.empty(sum(self._sizes), dtype=operator.dtype, device=operator.device)
        self._empty = set(range(len(self._values)))

    def add(self, index: int, piece: torch.Tensor, share: float = 1.0) -> None:
        """Add a share of what belongs to a parameter; the piece is changed, and may be kept."""
        root = self._roots[index]
        own = piece.is_contiguous() and not piece._is_zerotensor()
        for factor in (root, share):
            if not is_one(factor):
                piece = piece.mul_(factor) if own else piece * factor
        if index not in self._empty:
            self._place(index).add_(piece)
            return
        self._empty.remove(index)
        alone = len(self._values) == 1 and piece.is_contiguous() and piece.dtype == self._total.dtype
        if alone:
            self._total = piece.view(-1)
        else:
            self._place(index).copy_(piece)

    def vector(self) -> torch.Tensor:
        """The vector, shape (n,), zero where nothing has come."""
        for index in self._empty:
            self._place(index).zero_()
        return self._total

    def _place(self, index: int) -> torch.Tensor:
        begin = sum(self._sizes[:index])
        return self._total[begin : begin + self._sizes[index]].view(self._values[index].shape)


def is_one(root: float | torch.Tensor) -> bool:
    """Whether a root of the metric changes nothing."""
    return isinstance(root, float) and root == 1.0
