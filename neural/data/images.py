"""Labelled images in memory, ready for training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from ...records import array_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 32
"""Side of every image, in pixels."""


class Images(NamedTuple):
    """A labelled image set, normalised to [-1, 1]."""

    name: str
    images: torch.Tensor
    """float32, shape (examples, channels, 32, 32), channels last in memory."""
    labels: torch.Tensor
    """int64, shape (examples,)."""
    hash: str
    """SHA-256 of pixels and labels as read."""

    def to(self, device: torch.device) -> Images:
        """The same set on a device."""
        return self._replace(images=self.images.to(device), labels=self.labels.to(device))


def from_pixels(name: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
    """Normalise 8-bit pixels, shape (examples, channels, 32, 32), by `(x - 0.5) / 0.5`."""
    scaled = torch.from_numpy(pixels).float().div_(127.5).sub_(1.0)
    return Images(
        name,
        scaled.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(labels),
        array_hash(pixels, labels),
    )


def digits() -> Images:
    """scikit-learn's 1,797 bundled handwritten digits, 8 x 8, resized to 32 x 32 in three equal channels."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, and only needed here

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float()[:, None] * (255.0 / 16.0)
    large = functional.interpolate(small, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    pixels = large.round().clamp(0, 255).to(torch.uint8).repeat(1, 3, 1, 1).numpy()
    return from_pixels("digits", pixels, bunch.target.astype(np.int64))
