"""CIFAR-10 in its official layout, read without trusting the files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, require_known
from .files import bad_file, inner_folder, require_folder
from .images import SIDE, from_pixels

if TYPE_CHECKING:
    from ...errors import PathText
    from .dataset import Dataset

CIFAR_FOLDER = "cifar-10-batches-py"
TRAINING_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"
_FILES = {"train": TRAINING_FILES, "test": (TEST_FILE,)}
_PIXELS = 3 * SIDE * SIDE
_CLASSES = 10


def read_cifar10(folder: PathText, *, split: str = "train") -> Dataset:
    """Read the five training files of CIFAR-10, or its test file.

    Parameters
    ----------
    folder
        `cifar-10-batches-py` itself or the folder that holds it. Files may hold fewer than 10,000 images.
    split
        `train` or `test`.

    Returns
    -------
    Dataset
        A data set of kind `images`: inputs of shape (examples, 3, 32, 32), channels last.

    Raises
    ------
    InputError
        If the folder or a file is missing, truncated, or holds anything but such a batch.
    """
    require_known("split of CIFAR-10", split, _FILES)
    root = inner_folder(require_folder(folder, f"{CIFAR_FOLDER}/"), CIFAR_FOLDER)
    batches = [read_batch(root / name) for name in _FILES[split]]
    pixels = np.concatenate([batch.pixels for batch in batches])
    labels = np.concatenate([batch.labels for batch in batches])
    name = "cifar-10" if split == "train" else f"cifar-10 ({split})"
    return from_pixels(name, pixels.reshape(-1, 3, SIDE, SIDE), labels)


class CifarFile(NamedTuple):
    """The contents of one file."""

    pixels: NDArray[np.uint8]
    """Shape (examples, 3072), channel by channel."""
    labels: NDArray[np.int64]
    """Shape (examples,)."""


def read_batch(path: Path) -> CifarFile:
    """Read one official batch file.

    Raises
    ------
    InputError
        As in `read_cifar10`.
    """
    try:
        with path.open("rb") as file:
            content = _BatchUnpickler(file, encoding="latin1").load()
        return _checked_batch(content)
    except FileNotFoundError as error:
        raise _bad_file(path, "it is missing") from error
    except Exception as error:  # a hostile pickle can raise anything; all of it means the same
        raise _bad_file(path, error) from error


def _checked_batch(content: Any) -> CifarFile:
    pixels, listed = content["data"].value, content["labels"]
    if not all(type(label) is int for label in listed):
        raise ValueError("labels that are not whole numbers")
    labels = np.array(listed, dtype=np.int64)
    if pixels.ndim != 2 or pixels.shape[1] != _PIXELS or labels.shape != pixels.shape[:1]:
        raise ValueError(f"pixels of shape {pixels.shape} with labels of shape {labels.shape}")
    if labels.size == 0 or labels.min() < 0 or labels.max() >= _CLASSES:
        raise ValueError(f"labels outside 0 to {_CLASSES - 1}")
    return CifarFile(pixels, labels)


def _bad_file(path: Path, why: str | Exception) -> InputError:
    return bad_file(path, "an official CIFAR-10 batch", why, "restore the file from the official archive")


class _ByteArray:
    """Stands in for a NumPy array while unpickling; accepts plain bytes of 8-bit pixels and nothing else."""

    __slots__ = ("value",)

    value: NDArray[np.uint8]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran_order, raw = state
        if not isinstance(dtype, _ByteType) or fortran_order or not isinstance(raw, str | bytes):
            raise pickle.UnpicklingError("it holds an array that is not of 8-bit pixels")
        content = raw.encode("latin1") if isinstance(raw, str) else raw
        self.value = np.frombuffer(content, dtype=np.uint8).reshape(shape).copy()


class _ByteType:
    """Stands in for `numpy.dtype("u1")` while unpickling."""

    __slots__ = ()

    def __init__(self, code: str, *_: object) -> None:
        if code != "u1":
            raise pickle.UnpicklingError(f"it holds an array of type {ascii(code)[:20]}")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment mean nothing for single bytes."""


class _Reconstruct:
    """Stands in for NumPy's function that makes an empty array.

    An instance, not the class: a file can set attributes of a class that it is given.
    """

    __slots__ = ()

    def __call__(self, *_: object) -> _ByteArray:
        return _ByteArray()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it gives a function a state")


class _BatchUnpickler(pickle.Unpickler):
    """Admits the three names that an official batch needs, each replaced by a stand-in without effects."""

    _ADMITTED = {  # noqa: RUF012 - read only
        ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
        ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
        ("numpy", "ndarray"): _ByteArray,
        ("numpy", "dtype"): _ByteType,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look a name up among the admitted ones."""
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            wanted = ascii(f"{module}.{name}"[:60])
            raise pickle.UnpicklingError(f"it asks for {wanted}, which is refused") from None

    def persistent_load(self, _identifier: Any) -> Any:
        """Refuse references to outside objects."""
        raise pickle.UnpicklingError("it asks for an outside object, which is refused")
