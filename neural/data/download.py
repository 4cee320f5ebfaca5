"""Fetching official archives, verified before they are opened."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pooch

from ...errors import invalid
from ...records import write_atomically
from .cifar import CIFAR_FOLDER, TEST_FILE, TRAINING_FILES
from .files import file_error_text
from .folders import ANNOTATIONS_FILE, CLASSES_FILE, TINY_FOLDER
from .text import FILES as TEXT_FILES
from .text import WIKITEXT_FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"

WIKITEXT2_URL = "https://wikitext.smerity.com/wikitext-2-v1.zip"
"""The data set's author's own copy of the archive, whose first address (research.metamind.io) is gone."""
WIKITEXT2_SHA256 = "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c"

TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_IMAGENET_SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"

LARGEST_MEMBER = 2**26
"""Bytes of one file out of an archive; the official ones are smaller."""

_FAILURES = (
    *(OSError, ValueError, KeyError, EOFError),
    *(RuntimeError, zlib.error, tarfile.TarError, zipfile.BadZipFile),  # RuntimeError: encrypted, or unknown
)
"""Errors of the network, of files, and of archives."""

_TINY_MEMBER = re.compile(
    rf"{TINY_FOLDER}/"
    rf"({re.escape(CLASSES_FILE)}|val/{re.escape(ANNOTATIONS_FILE)}|val/images/val_\d+\.JPEG"
    r"|train/(n\d+)/images/\2_\d+\.JPEG)",
    re.ASCII,
)
"""Names of the files that are read, none of which leads out of a folder."""


def download_cifar10(
    cache: Path | None = None, *, url: str = CIFAR10_URL, sha256: str = CIFAR10_SHA256, progress: bool = False
) -> Path:
    """Fetch and unpack CIFAR-10, or find it in the cache.

    Parameters
    ----------
    cache
        Where to keep it; the user's cache folder by default.
    url, sha256
        The archive and its checksum.
    progress
        Show a progress bar on stderr.

    Returns
    -------
    Path
        The folder to give to `read_cifar10`.

    Raises
    ------
    InputError
        If the archive cannot be fetched, its checksum differs, or it has not the official files.
    """
    return _fetched(cache, url, sha256, _unpack_cifar10, progress=progress)


def download_wikitext2(
    cache: Path | None = None,
    *,
    url: str = WIKITEXT2_URL,
    sha256: str = WIKITEXT2_SHA256,
    progress: bool = False,
) -> Path:
    """Fetch and unpack WikiText-2, or find it in the cache: as `download_cifar10`, for `read_wikitext2`."""
    return _fetched(cache, url, sha256, _unpack_wikitext2, progress=progress)


def download_tiny_imagenet(
    cache: Path | None = None,
    *,
    url: str = TINY_IMAGENET_URL,
    sha256: str = TINY_IMAGENET_SHA256,
    progress: bool = False,
) -> Path:
    """Fetch and unpack Tiny-ImageNet, or find it: as `download_cifar10`, for `read_tiny_imagenet`.

    The official test images, which have no labels, and the bounding boxes stay in the archive.
    """
    return _fetched(cache, url, sha256, _unpack_tiny_imagenet, progress=progress)


def _fetched(
    cache: Path | None, url: str, sha256: str, unpack: Callable[[Path, Path], Path], *, progress: bool
) -> Path:
    """The folder that an archive, fetched if it is not in the cache, was unpacked to."""
    folder = Path(pooch.os_cache("superconsistency")) if cache is None else cache
    try:
        downloader = pooch.HTTPDownloader(progressbar=progress, timeout=60)
        archive = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", path=folder, fname=Path(url).name, downloader=downloader
        )
        return unpack(Path(archive), folder)
    except _FAILURES as error:
        raise invalid(
            "download",
            url,
            accepted=f"the official archive with SHA-256 {sha256[:12]}… ({file_error_text(error)})",
            remedy="check the network, or fetch the archive elsewhere and pass its folder",
        ) from error


def _unpack_cifar10(archive: Path, folder: Path) -> Path:
    """Take files out of the archive by name, so that no member decides where it goes."""
    target = folder / CIFAR_FOLDER
    with tarfile.open(archive) as tar:
        for name in (*TRAINING_FILES, TEST_FILE):
            source = tar.extractfile(f"{CIFAR_FOLDER}/{name}")
            if source is None:
                raise tarfile.ExtractError(f"{name} is not a file")
            content = _bounded(source, name)
            if not (target / name).exists() or (target / name).read_bytes() != content:
                _write(target / name, content)
    return target


def _unpack_wikitext2(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as zipped:
        for name in TEXT_FILES.values():
            _take(zipped, zipped.getinfo(f"{WIKITEXT_FOLDER}/{name}"), folder / WIKITEXT_FOLDER / name)
    return folder / WIKITEXT_FOLDER


def _unpack_tiny_imagenet(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as zipped:
        zipped.getinfo(f"{TINY_FOLDER}/{CLASSES_FILE}")
        for member in zipped.infolist():
            if official := _TINY_MEMBER.fullmatch(member.filename):
                _take(zipped, member, folder / TINY_FOLDER / official[1])
    return folder / TINY_FOLDER


def _take(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one file, unless what is there already has its checksum."""
    if path.is_file() and zlib.crc32(path.read_bytes()) == member.CRC:
        return
    with zipped.open(member) as source:
        _write(path, _bounded(source, member.filename))


def _bounded(source: IO[bytes], name: str) -> bytes:
    content = source.read(LARGEST_MEMBER + 1)
    if len(content) > LARGEST_MEMBER:
        raise ValueError(f"{name} has more than {LARGEST_MEMBER} bytes")
    return content


def _write(path: Path, content: bytes) -> None:
    write_atomically(path, partial(Path.write_bytes, data=content))
