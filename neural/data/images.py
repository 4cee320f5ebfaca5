"""Images made from pixels, and the built-in digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from ...records import array_hash
from .dataset import IMAGES, Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 32
"""Side of every image, in pixels."""


def from_pixels(
    name: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: int = 10
) -> Dataset:
    """Normalise 8-bit pixels, shape (examples, channels, 32, 32), by `(x - 0.5) / 0.5`."""
    scaled = torch.from_numpy(pixels).float().div_(127.5).sub_(1.0)
    return Dataset(
        name,
        IMAGES,
        scaled.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(labels),
        classes,
        array_hash(pixels, labels),
    )


def digits() -> Dataset:
    """scikit-learn's 1,797 bundled handwritten digits, 8 x 8, resized to 32 x 32 in three equal channels."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, and only needed here

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float()[:, None] * (255.0 / 16.0)
    large = functional.interpolate(small, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    pixels = large.round().clamp(0, 255).to(torch.uint8).repeat(1, 3, 1, 1).numpy()
    return from_pixels("digits", pixels, bunch.target.astype(np.int64))
