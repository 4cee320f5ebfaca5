"""Single precision as it is stored: no shortened products where curvature is measured."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW = hasattr(torch.backends, "fp32_precision")
"""Whether PyTorch has a setting for each operation; it refuses the older ones mixed with them."""


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, products of single-precision numbers are not taken in TF32 or bfloat16, on a GPU either.

    PyTorch allows TF32 in convolutions unless told otherwise, whose 10 bits would be the error of every
    curvature. Recurrent layers are included. Settings are as before afterwards.
    """
    places = _places()
    before = [getattr(place, name) for place, name, _ in places]
    try:
        for place, name, full in places:
            setattr(place, name, full)
        yield
    finally:
        for (place, name, _), value in zip(places, before, strict=True):
            setattr(place, name, value)


def _places() -> list[tuple[Any, str, object]]:
    """Settings by owner, name and their value of full precision."""
    backends: Any = torch.backends
    if not _NEW:
        return [(backends.cuda.matmul, "allow_tf32", False), (backends.cudnn, "allow_tf32", False)]
    operations = (
        backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn,
        backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn,
    )  # fmt: skip
    return [(operation, "fp32_precision", "ieee") for operation in operations]
