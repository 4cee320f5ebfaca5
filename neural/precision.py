"""Single precision as it is stored: no shortened products where curvature is measured."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, products of single-precision numbers are not taken in TF32 or bfloat16, on a GPU either.

    PyTorch allows TF32 in convolutions unless told otherwise, whose 10 bits would be the error of every
    curvature. Settings are as before afterwards.
    """
    matmul, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolutions
