"""Images: scikit-learn's digits (built in), CIFAR-10 from a folder or the official archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cifar import read_cifar10
from .dataset import Dataset
from .download import download_cifar10
from .images import digits

if TYPE_CHECKING:
    from pathlib import Path


def load_images(data_dir: Path | None = None, *, download: bool = False, progress: bool = False) -> Dataset:
    """CIFAR-10 from a folder or a download, else the built-in digits.

    Raises
    ------
    InputError
        If the data cannot be read.
    """
    if data_dir is not None:
        return read_cifar10(data_dir)
    if download:
        return read_cifar10(download_cifar10(progress=progress))
    return digits()


__all__ = ["Dataset", "digits", "download_cifar10", "load_images", "read_cifar10"]
