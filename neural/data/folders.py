"""Images in folders, one folder a class, and Tiny-ImageNet in its official layout."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...errors import require_distinct, require_known, require_whole
from .files import bad_file, bad_folder, file_error_text, inner_folder, printable, read_bytes, require_folder
from .images import SIDE, from_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ...errors import PathText
    from .dataset import Dataset

TINY_FOLDER, TINY_SIDE = "tiny-imagenet-200", 64
CLASSES_FILE = "wnids.txt"
ANNOTATIONS_FILE = "val_annotations.txt"

LARGEST_IMAGE = 2**26
"""Pixels of one image before it is made smaller; more are taken for an attack on memory."""

_LARGEST_SIDE = 4096
_RUN_ELSEWHERE = frozenset({"EPS", "WMF"})
"""Formats that Pillow decodes by other programs."""
_PLAIN = re.compile(r"[\w-]+(\.\w+)?", re.ASCII)
_REMEDY = "repair or remove the file"


def read_image_folder(folder: PathText, *, side: int = SIDE, limit: int | None = None) -> Dataset:
    """Read a folder with one subfolder of images a class.

    Parameters
    ----------
    folder
        Its subfolders are the classes and their files the images, both in the order of their names; names
        that begin with a dot are passed over. Any format will do that Pillow itself decodes.
    side
        Side of the images in pixels; the largest square in the middle of each is resized to it.
    limit
        Images of each class, the first ones; None is all.

    Returns
    -------
    Dataset
        A data set of kind `images`, in memory as a whole: inputs of shape (examples, 3, side, side), channels
        last.

    Raises
    ------
    InputError
        If there is no such folder or class, a class is empty, or a file is not an image, is truncated, has
        more than `LARGEST_IMAGE` pixels or leads outside the folder.
    """
    require_whole("side", side, least=1, most=_LARGEST_SIDE, example=SIDE)
    _require_limit(limit)
    folder = require_folder(folder, "one subfolder of images a class")
    classes = [path for path in _visible(folder, folder) if path.is_dir()]
    if not classes:
        raise bad_folder(folder, "a folder with one subfolder of images a class", "put the images into such")
    chosen = [_visible(folder, path)[:limit] for path in classes]
    _require_images(folder, [path.name for path in classes], chosen)
    return _read(f"image-folder {printable(folder.resolve().name)}", folder, chosen, side)


def read_tiny_imagenet(folder: PathText, *, split: str = "train", limit: int | None = None) -> Dataset:
    """Read Tiny-ImageNet.

    Parameters
    ----------
    folder
        `tiny-imagenet-200` itself or the folder that holds it, with `wnids.txt`, `train/<wnid>/images/`,
        `val/images/` and `val/val_annotations.txt`.
    split
        `train` or `val`; the official test images have no labels.
    limit
        Images of each class, the first ones in the order of their names; None is all.

    Returns
    -------
    Dataset
        A data set of kind `images`: inputs of shape (examples, 3, 64, 64), class by class. As many classes as
        `wnids.txt` lists, numbered in the order of their names.

    Raises
    ------
    InputError
        As in `read_image_folder`, and if a list is missing or is not as in the official layout.
    """
    require_known("split of Tiny-ImageNet", split, ("train", "val"))
    _require_limit(limit)
    root = inner_folder(require_folder(folder, f"{TINY_FOLDER}/"), TINY_FOLDER)
    names = _class_names(root)
    chosen = _training_files(root, names) if split == "train" else _validation_files(root, names)
    chosen = [paths[:limit] for paths in chosen]
    _require_images(root, names, chosen)
    return _read("tiny-imagenet" if split == "train" else "tiny-imagenet (val)", root, chosen, TINY_SIDE)


def _require_limit(limit: int | None) -> None:
    if limit is not None:
        require_whole("images of a class", limit, least=1, example=50)


def _require_images(root: Path, names: Sequence[str], chosen: Sequence[Sequence[Path]]) -> None:
    for name, paths in zip(names, chosen, strict=True):
        if not paths:
            raise bad_folder(root / name, "at least one image in each class", "remove the class or fill it")


def _visible(root: Path, folder: Path) -> list[Path]:
    """What a folder holds, hidden names left out, in the order of the names."""
    if not _is_inside(root, folder):
        raise bad_folder(folder, "a folder inside the data folder", "put it there in place of a link")
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        accepted = f"a folder that can be read ({file_error_text(error)})"
        raise bad_folder(folder, accepted, "check it") from error


def _is_inside(root: Path, path: Path) -> bool:
    """Whether a path, its links followed, stays inside a folder."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return False


def _class_names(root: Path) -> list[str]:
    names = sorted(_lines(root / CLASSES_FILE))
    require_distinct("classes of " + CLASSES_FILE, names)
    for name in names:
        _require_plain(root / CLASSES_FILE, name)
    return names


def _training_files(root: Path, names: Sequence[str]) -> list[list[Path]]:
    return [_visible(root, root / "train" / name / "images") for name in names]


def _validation_files(root: Path, names: Sequence[str]) -> list[list[Path]]:
    """The images that the annotations give to each class."""
    listing = root / "val" / ANNOTATIONS_FILE
    found: dict[str, list[Path]] = {name: [] for name in names}
    for line in _lines(listing):
        file, _, rest = line.partition("\t")
        name = rest.split("\t")[0]
        _require_plain(listing, file)
        if name not in found:
            why = f"{name[:40]!r} is not in {CLASSES_FILE}"
            raise bad_file(listing, "a file and one of its classes a line", why, _REMEDY)
        found[name].append(root / "val" / "images" / file)
    return [sorted(paths) for paths in found.values()]


def _lines(path: Path) -> list[str]:
    """Lines of a list that are not blank."""
    text = read_bytes(path, "a list of Tiny-ImageNet's", "restore it from the official archive").decode()
    return [line.strip() for line in text.split("\n") if line.strip()]


def _require_plain(path: Path, name: str) -> None:
    """Refuse names that are paths."""
    if not _PLAIN.fullmatch(name):
        raise bad_file(path, "plain names of files and classes", f"it has {name[:40]!r}", _REMEDY)


def _read(name: str, root: Path, classes: Sequence[Sequence[Path]], side: int) -> Dataset:
    paths = [path for paths in classes for path in paths]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in classes]).astype(np.int64)
    pixels = np.empty((len(paths), side, side, 3), dtype=np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow, on files that it reads all the same
        for image, path in zip(pixels, paths, strict=True):
            image[:] = _decoded(root, path, side)
    return from_pixels(name, pixels.transpose(0, 3, 1, 2), labels, len(classes))


def _decoded(root: Path, path: Path, side: int) -> NDArray[np.uint8]:
    """One image, shape (side, side, 3)."""
    try:
        _require_file(root, path)
        with Image.open(path) as image:
            return np.asarray(_square(image, side))
    except Exception as error:  # a hostile file can raise anything; all of it means the same
        unknown = isinstance(error, UnidentifiedImageError)
        why = "it is in no format that Pillow reads" if unknown else error
        raise bad_file(path.relative_to(root), "an image inside the folder", why, _REMEDY) from error


def _require_file(root: Path, path: Path) -> None:
    if not _is_inside(root, path):
        raise ValueError("it leads outside the folder")
    if not path.is_file():
        raise ValueError("it is a folder" if path.is_dir() else "it is not a file")


def _square(image: Image.Image, side: int) -> Image.Image:
    """The middle of an image, resized in one pass, so that a long strip costs no more than a square."""
    if image.format in _RUN_ELSEWHERE:
        raise ValueError(f"Pillow decodes {image.format} by another program")
    if image.width * image.height > LARGEST_IMAGE:
        raise ValueError(f"it has {image.width} x {image.height} pixels, more than {LARGEST_IMAGE}")
    return ImageOps.fit(_in_colour(image), (side, side), Image.Resampling.BILINEAR)


def _in_colour(image: Image.Image) -> Image.Image:
    """Eight bits for each of three channels."""
    sixteen_bits = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    if sixteen_bits:  # which a plain conversion would cut off at 255
        grey: NDArray[Any] = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode in {"I", "F"}:
        raise ValueError(f"its pixels, of mode {image.mode}, have no largest value")
    return image.convert("RGB")
