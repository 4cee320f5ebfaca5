"""Memory of one tracked eigenvalue of a large network, in vectors of its length.

`tracker_memory.py SHAPE [PARAMETERS]` prints one JSON document for a shape of the network, `layers` or
`tensor`, of ten million parameters unless said otherwise. The peak is the process's resident
memory above what it holds with the graph alone, so it is run in a process of its own, which returns freed
memory at once (`MALLOC_MMAP_THRESHOLD_` set low); else the allocator's own reserve is counted, too.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch
from superconsistency.neural.curvature import Batch, DenseOperator, Hessian, Objective, SpectrumTracker
from superconsistency.neural.curvature.reductions import inner_product
from torch import nn

PARAMETERS = int(sys.argv[2]) if len(sys.argv) > 2 else 10**7
ROWS = 4
"""Vectors of the basis: a block of two, the eigenvector and the one that guards it, and two to restart."""
BLOCK = ROWS - 2
TOLERANCE = 1e-3


class OneTensor(nn.Module):
    """All parameters in one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(10, PARAMETERS // 10) / PARAMETERS**0.5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, self.weight).tanh()


def ten_layers() -> nn.Module:
    """A tenth of the parameters each."""
    side = math.isqrt(PARAMETERS // 10)
    pairs = [(nn.Linear(side, side, bias=False), nn.Tanh()) for _ in range(10)]
    return nn.Sequential(*(layer for pair in pairs for layer in pair))


def kibibytes(name: str) -> int:
    """A figure of the process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1])


def main(shape: str) -> None:
    torch.manual_seed(0)
    model = ten_layers() if shape == "layers" else OneTensor()
    size = next(model.parameters()).shape[1]
    # Inputs of different sizes and nearly fitted targets, so that the largest eigenvalue stands apart.
    inputs = 0.5 ** torch.arange(8.0)[:, None] * torch.randn(8, size)
    targets = 0.9 * model(inputs).detach()
    hessian = Hessian(Objective(model, "squared"), Batch(inputs, targets))
    SpectrumTracker(vectors=ROWS)(DenseOperator(torch.eye(20)))  # what is loaded once
    hessian(torch.ones(PARAMETERS))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = kibibytes("VmRSS")
    found = SpectrumTracker(vectors=ROWS, tolerance=TOLERANCE)(hessian)
    peak = kibibytes("VmHWM")
    top = found.vectors[0]
    quotient = inner_product(top, hessian(top)) / inner_product(top, top)
    vector = PARAMETERS * hessian.dtype.itemsize / 1024
    document = {
        "parameters": hessian.size,
        "rows": ROWS,
        "block": BLOCK,
        "vectors": (peak - before) / vector,
        "products": found.matvecs,
        "value": found.value,
        "quotient": quotient,
        "error_bound": found.error_bound,
        "converged": found.converged,
    }
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
