"""Symmetric matrices and diagonal operators with chosen spectra, for the tests of eigenvalue searches."""

from __future__ import annotations

from typing import Any

import torch


class Diagonal:
    """A diagonal operator."""

    def __init__(self, values: Any, dtype: torch.dtype = torch.float64) -> None:
        self.values, self.matvecs = torch.as_tensor(values).to(dtype), 0
        self.size, self.dtype, self.device = len(self.values), dtype, torch.device("cpu")

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        self.matvecs += 1
        return self.values * vector


def rotation(size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    basis: torch.Tensor = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    return basis


def with_spectrum(values: Any, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    spectrum = torch.as_tensor(values, dtype=torch.float64)
    basis = rotation(len(spectrum), seed)
    matrix = ((basis * spectrum) @ basis.T).to(dtype)
    return 0.5 * (matrix + matrix.T)


def outermost(matrix: torch.Tensor, count: int, end: str = "largest") -> Any:
    matrix = matrix.double()
    values = torch.linalg.eigvalsh(0.5 * (matrix + matrix.T)).numpy()
    return (values[::-1] if end == "largest" else values)[:count]
