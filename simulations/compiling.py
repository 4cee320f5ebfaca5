"""Compilation of the kernels, cached under a hash of all their sources.

Numba takes a cached function for current as long as the file that defines it has not changed. A kernel that
inlines another one, of another file, would then run old code after that one was edited.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from numba import config, njit
from numba.misc.appdirs import AppDirs

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., Any]")

_FOLDER = Path(__file__).parent


@cache
def kernels_hash() -> str:
    """First digits of the SHA-256 of the sources of all kernels.

    Examples
    --------
    >>> len(kernels_hash())
    12
    """
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.glob("*kernels.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def compiled(**options: Any) -> Callable[[Function], Function]:
    """A decorator that compiles a kernel and keeps what was compiled for later processes.

    Parameters
    ----------
    options
        As for `numba.njit`.
    """

    def decorate(function: Function) -> Function:
        settings: Any = config  # Numba sets its names when it is loaded
        before = settings.CACHE_DIR
        settings.CACHE_DIR = str(_base(before) / f"kernels-{kernels_hash()}")
        try:
            found: Function = njit(cache=True, **options)(function)
        finally:
            settings.CACHE_DIR = before
        return found

    return decorate


def _base(chosen: str) -> Path:
    """The folder of caches: the one in `NUMBA_CACHE_DIR`, or beside the sources, or the user's."""
    if chosen:
        return Path(chosen)
    if os.access(_FOLDER, os.W_OK):
        return _FOLDER / "__pycache__"
    user: Any = AppDirs(appname="numba", appauthor=False)  # type: ignore[no-untyped-call] # it has no types
    return Path(user.user_cache_dir)
