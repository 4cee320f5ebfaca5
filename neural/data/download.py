"""Fetching the official CIFAR-10 archive, verified before it is opened."""

from __future__ import annotations

import tarfile
import zlib
from functools import partial
from pathlib import Path

import pooch

from ...errors import invalid
from ...records import write_atomically
from .cifar import FOLDER, TRAINING_FILES

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


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
        If the archive cannot be fetched or its checksum differs.
    """
    folder = Path(pooch.os_cache("superconsistency")) if cache is None else cache
    try:
        downloader = pooch.HTTPDownloader(progressbar=progress, timeout=60)
        archive = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", path=folder, fname=Path(url).name, downloader=downloader
        )
        return _unpack(Path(archive), folder)
    except (OSError, ValueError, KeyError, EOFError, zlib.error, tarfile.TarError) as error:
        raise invalid(
            "download",
            url,
            accepted=f"the official archive with SHA-256 {sha256[:12]}… ({_first_line(error)})",
            remedy="check the network, or fetch the archive elsewhere and pass --data-dir",
        ) from error


def _unpack(archive: Path, folder: Path) -> Path:
    """Take the training files out of the archive by name, so that no member decides where it goes."""
    target = folder / FOLDER
    with tarfile.open(archive) as tar:
        for name in TRAINING_FILES:
            source = tar.extractfile(f"{FOLDER}/{name}")
            if source is None:
                raise tarfile.ExtractError(f"{name} is not a file")
            content = source.read()
            if not (target / name).exists() or (target / name).read_bytes() != content:
                write_atomically(target / name, partial(Path.write_bytes, data=content))
    return target


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
