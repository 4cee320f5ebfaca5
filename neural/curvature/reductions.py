"""Inner products and norms of long vectors, summed in double precision.

A sum of ten million single-precision numbers can be off by a thousandth; one of a few ten thousand cannot.
"""

from __future__ import annotations

import torch

_COLUMNS = 2**14
"""Coordinates summed in the vectors' own precision."""


def inner_products(rows: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Of every row with a vector, shape (k, n) and (n,) to (k,), in double precision, on their device."""
    total = torch.zeros(len(rows), dtype=torch.float64, device=vector.device)
    for begin in range(0, len(vector), _COLUMNS):
        part = slice(begin, begin + _COLUMNS)
        total += rows[:, part] @ vector[part]
    return total


def inner_product(one: torch.Tensor, other: torch.Tensor) -> float:
    """Of two vectors, shape (n,) each."""
    return float(inner_products(one[None], other))


def norm(vector: torch.Tensor) -> float:
    """Of a vector, shape (n,); without overflow or underflow of its square in double precision."""
    parts = [torch.linalg.vector_norm(part) for part in torch.split(vector, _COLUMNS)]
    return float(torch.linalg.vector_norm(torch.stack(parts).double()))
