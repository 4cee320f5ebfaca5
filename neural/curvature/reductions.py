"""Inner products and norms of long vectors, summed in double precision.

A sum of ten million single-precision numbers can be off by a thousandth; one of a few ten thousand cannot.
"""

from __future__ import annotations

import torch

_COLUMNS = 2**14
"""Coordinates summed in the vectors' own precision."""


def inner_products(rows: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Inner products of rows, shape (k, n), with a vector, shape (n,): (k,), in double precision."""
    total = torch.zeros(len(rows), dtype=torch.float64, device=vector.device)
    for begin in range(0, len(vector), _COLUMNS):
        part = slice(begin, begin + _COLUMNS)
        total += rows[:, part] @ vector[part]
    return total


def inner_product(one: torch.Tensor, other: torch.Tensor) -> float:
    """Inner product of two vectors, shape (n,) each."""
    return float(inner_products(one[None], other))


def norm(vector: torch.Tensor) -> float:
    """Norm of a vector, shape (n,); without overflow or underflow of its square in double precision."""
    parts = [torch.linalg.vector_norm(part) for part in torch.split(vector, _COLUMNS)]
    return float(torch.linalg.vector_norm(torch.stack(parts).double()))
