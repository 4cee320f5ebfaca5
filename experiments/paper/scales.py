"""Settings that figures of the paper share."""

from __future__ import annotations

from ..base import over

EPOCH = 50_000 // 128
"""Steps of an epoch of CIFAR-10 at the paper's usual batch size."""

TINY = {
    "width": over(2, 4, 8), "seed": over(0, 1), "steps": 8, "measure_every": 2, "batch_size": 16,
    "hessian_examples": 4, "evaluation_examples": 32, "tolerance": 0.1,
}  # fmt: skip
"""Settings of networks at smoke scale."""
