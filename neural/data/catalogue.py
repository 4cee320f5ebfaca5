"""Every data set by name, and which one a folder holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image

from ...errors import as_path, invalid, require_flag, require_known, require_whole
from . import cifar, folders, text
from .dataset import IMAGES
from .download import download_cifar10, download_tiny_imagenet, download_wikitext2
from .files import bad_folder, inner_folder, require_folder
from .images import SIDE, digits
from .subset import stratified_subset
from .synthetic import gaussian_regression, markov_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ...errors import PathText
    from .dataset import Dataset

ANY_DATASET = "auto"

DATASETS: Mapping[str, str] = {
    "digits": "scikit-learn's 1,797 handwritten digits, built in",
    "cifar-10": "CIFAR-10, 10 classes of images of 32 x 32 pixels",
    "tiny-imagenet": "Tiny-ImageNet, 200 classes of images of 64 x 64 pixels",
    "image-folder": "a folder of one's own with one subfolder of images a class",
    "wikitext-2": "WikiText-2, word by word",
    "wikitext-2-bytes": "WikiText-2, byte by byte",
    "random": "Gaussian vectors and what a random linear teacher says of them, built in",
    "random-tokens": "sequences of 100 tokens, each followed by one of four, built in",
}
"""What there is, by the name to ask for it."""

LAYOUTS = "cifar-10-batches-py/, wikitext-2/, tiny-imagenet-200/, or one subfolder of images a class"

RANDOM_EXAMPLES, RANDOM_DIMENSION, RANDOM_TOKENS = 1024, 64, 100
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class _Choices:
    """What is to be read; see `load_dataset`."""

    split: str
    level: str
    sequence: int
    vocabulary: int | None
    side: int
    limit: int | None


class _Source(NamedTuple):
    """A data set in files."""

    read: Callable[[Path, _Choices], Dataset]
    fetch: Callable[..., Path] | None
    """Fetches it and returns the folder; None if there is nothing to fetch."""


def load_dataset(
    name: str = ANY_DATASET,
    folder: PathText | None = None,
    *,
    download: bool = False,
    progress: bool = False,
    split: str = "train",
    examples: int | None = None,
    seed: int = 0,
    level: str = "word",
    sequence: int = 35,
    vocabulary: int | None = None,
    side: int = SIDE,
    limit: int | None = None,
) -> Dataset:
    """Read a data set into memory.

    Parameters
    ----------
    name
        One of `DATASETS`, or `auto`: with a folder what its layout says, CIFAR-10 first; else CIFAR-10 if it
        is to be fetched and the digits if not.
    folder
        Where it is: the official folder or the one that holds it.
    download
        Fetch the official archive where no folder is given, or find it in the cache.
    progress
        Show the progress of a download on stderr.
    split
        `train`; for CIFAR-10 also `test`, for WikiText-2 `valid` and `test`, for Tiny-ImageNet `val`.
    examples, seed
        How many of them, and the seed of their draw: a `stratified_subset`, or the size of the random data.
        None is all, or `RANDOM_EXAMPLES`.
    level, sequence, vocabulary
        See `read_wikitext2`.
    side
        See `read_image_folder`.
    limit
        Images of each class, the first ones, of Tiny-ImageNet and folders of one's own; the rest is not read.

    Raises
    ------
    InputError
        If the name is not known, a setting does not go with it, or the data cannot be read.
    """
    require_known("data set", name, (ANY_DATASET, *DATASETS))
    require_whole("seed", seed, least=0, most=_LARGEST_SEED, example=0)
    require_flag("download", download)
    require_flag("progress", progress)
    place = None if folder is None else as_path("data folder", folder)
    chosen = _recognised(place, download=download) if name == ANY_DATASET else name
    _require_fitting(chosen, place, download=download, split=split, limit=limit)
    if chosen in _DRAWN:
        generator = torch.Generator().manual_seed(int(seed))
        return _DRAWN[chosen](RANDOM_EXAMPLES if examples is None else examples, sequence, generator)
    data = digits() if chosen == "digits" else None
    if data is None:
        choices = _Choices(split, level, sequence, vocabulary, side, limit)
        data = _SOURCES[chosen].read(_place(chosen, place, download=download, progress=progress), choices)
    return data if examples is None else stratified_subset(data, examples, seed)


def load_images(
    data_dir: PathText | None = None, *, download: bool = False, progress: bool = False
) -> Dataset:
    """Images from a folder or CIFAR-10 from a download, else the built-in digits.

    Raises
    ------
    InputError
        If the data cannot be read or are not images.
    """
    data = load_dataset(folder=data_dir, download=download, progress=progress)
    if data.kind != IMAGES:
        raise invalid("data folder", str(data_dir), accepted="images", remedy=f"{data.name} has {data.kind}")
    return data


def _recognised(folder: Path | None, *, download: bool) -> str:
    """The data set that is meant where none is named."""
    if folder is None:
        return "cifar-10" if download else "digits"
    require_folder(folder, LAYOUTS)
    for name, marks in _LAYOUT_MARKS.items():
        official, files = marks
        if any((inner_folder(folder, official) / file).exists() for file in files) or (
            (folder / official).is_dir()
        ):
            return name
    if _has_classes(folder):
        return "image-folder"
    raise bad_folder(folder, f"a folder with {LAYOUTS}", "pass the folder that holds one of these")


_DRAWN: Mapping[str, Callable[[int, int, torch.Generator], Dataset]] = {
    "random": lambda count, _time, generator: gaussian_regression(count, RANDOM_DIMENSION, 1, generator),
    "random-tokens": lambda count, time, generator: markov_tokens(count, time, RANDOM_TOKENS, generator),
}

_LAYOUT_MARKS = {
    "cifar-10": (cifar.CIFAR_FOLDER, (*cifar.TRAINING_FILES, cifar.TEST_FILE)),
    "wikitext-2": (text.WIKITEXT_FOLDER, tuple(text.FILES.values())),
    "tiny-imagenet": (folders.TINY_FOLDER, (folders.CLASSES_FILE,)),
}
"""A folder, or files in it or in its place, by which a layout is recognised; the first that fits is taken."""


def _has_classes(folder: Path) -> bool:
    """Whether some subfolder holds a file that looks like an image."""
    known = Image.registered_extensions()
    try:
        return any(path.suffix.lower() in known for path in folder.glob("*/*"))
    except OSError:
        return False


def _require_fitting(
    name: str, folder: Path | None, *, download: bool, split: str, limit: int | None
) -> None:
    """Refuse settings that would not be looked at."""
    if name not in _SOURCES or name == "image-folder":
        require_known(f"split of {name}", split, ("train",))
    if name not in _SOURCES and (folder is not None or download):
        given = "a download" if folder is None else str(folder)
        accepted = f"none, as {name} is built in"
        raise invalid("source of the data", given, accepted=accepted, remedy="leave it out")
    if limit is not None and name not in {"tiny-imagenet", "image-folder"}:
        remedy = "pass a number of examples instead"
        raise invalid("images of a class", limit, accepted=f"all of them for {name}", remedy=remedy)


def _place(name: str, folder: Path | None, *, download: bool, progress: bool) -> Path:
    """The folder of a data set, fetched if none is given."""
    fetch = _SOURCES[name].fetch
    if folder is not None:
        return folder
    if fetch is not None and download:
        return fetch(progress=progress)
    remedy = "pass the folder" if fetch is None else "pass the folder, or ask for the download"
    raise invalid("data folder", "not given", accepted=f"that of {name}", remedy=remedy)


def _read_cifar10(folder: Path, choices: _Choices) -> Dataset:
    return cifar.read_cifar10(folder, split=choices.split)


def _read_tiny_imagenet(folder: Path, choices: _Choices) -> Dataset:
    return folders.read_tiny_imagenet(folder, split=choices.split, limit=choices.limit)


def _read_image_folder(folder: Path, choices: _Choices) -> Dataset:
    return folders.read_image_folder(folder, side=choices.side, limit=choices.limit)


def _read_wikitext2(folder: Path, choices: _Choices) -> Dataset:
    return text.read_wikitext2(
        folder,
        level=choices.level,
        sequence=choices.sequence,
        split=choices.split,
        vocabulary=choices.vocabulary,
    )


def _read_bytes(folder: Path, choices: _Choices) -> Dataset:
    return _read_wikitext2(folder, replace(choices, level="byte"))


_SOURCES = {
    "cifar-10": _Source(_read_cifar10, download_cifar10),
    "tiny-imagenet": _Source(_read_tiny_imagenet, download_tiny_imagenet),
    "image-folder": _Source(_read_image_folder, None),
    "wikitext-2": _Source(_read_wikitext2, download_wikitext2),
    "wikitext-2-bytes": _Source(_read_bytes, download_wikitext2),
}
