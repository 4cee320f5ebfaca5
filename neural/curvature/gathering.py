"""Vectors put together from the pieces of each parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence


class Gathering:
    """A vector put together from pieces, one for each parameter, each multiplied by `P^1/2` as it arrives.

    Memory is touched only where a piece has arrived: pieces and vector together take the space of one vector,
    not two. A lone parameter's piece becomes the vector.

    Parameters
    ----------
    values
        Real coordinates of the parameters.
    roots
        `P^1/2`: a number or a tensor for each parameter.
    dtype, device
        Type and device of the vector.
    """

    def __init__(
        self,
        values: Sequence[torch.Tensor],
        roots: Sequence[float | torch.Tensor],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._values, self._roots = values, roots
        self._sizes = [value.numel() for value in self._values]
        self._total = torch.empty(sum(self._sizes), dtype=dtype, device=device)
        self._empty = set(range(len(self._values)))

    def add(self, index: int, piece: torch.Tensor, share: float = 1.0) -> None:
        """Add a share of a parameter's piece; the piece is changed, and may be kept."""
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
        """The vector, shape (n,), zero where no piece has arrived."""
        for index in self._empty:
            self._place(index).zero_()
        return self._total

    def _place(self, index: int) -> torch.Tensor:
        begin = sum(self._sizes[:index])
        return self._total[begin : begin + self._sizes[index]].view(self._values[index].shape)


def is_one(root: float | torch.Tensor) -> bool:
    """Whether a root of the metric changes nothing."""
    return isinstance(root, float) and root == 1.0
