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
"""Side of the digits and of CIFAR-10's images, in pixels."""

BLACK = -1.0
"""What a pixel of value 0 is normalised to."""


def from_pixels(
    name: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: int = 10
) -> Dataset:
    """Normalise 8-bit pixels by `(x - 0.5) / 0.5`, `x` from 0 to 1, once and for all.

    Parameters
    ----------
    name
        Name of the data set.
    pixels
        Shape (examples, channels, side, side), of any strides.
    labels
        Shape (examples,), from 0 to `classes - 1`.
    classes
        Number of outputs.
    """
    in_order = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
    return Dataset(
        name,
        IMAGES,
        in_order.float().div_(127.5).add_(BLACK),
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
