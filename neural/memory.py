"""Freed memory kept by the process while networks train, where the C library would give it back each time."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
"""Parameters of glibc's mallopt(3)."""

_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26}
_SETTLED = {_MMAP_MAX: 2**16, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 0, _MMAP_THRESHOLD: 2**25}
"""Where glibc's own adjustment ends once large tensors have been freed; setting anything switches it off."""


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Inside, the C library keeps what is freed: activations of the next step need no new pages.

    A step otherwise maps its large tensors anew and touches every page for the first time, which takes up to
    half of its time (`make bench-training`). Elsewhere than with glibc nothing happens, and little in a
    thread other than the first, whose memory glibc gives back whatever it is told, unless the environment
    has MALLOC_ARENA_MAX=1. Afterwards the library is where its own adjustment to large tensors would have
    brought it, and unused memory is given back; the end of the innermost of nested uses ends them all.
    """
    library = _glibc()
    if library is None:
        yield
        return
    _set(library, _KEPT)
    try:
        yield
    finally:
        _set(library, _SETTLED)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _set(library: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        library.mallopt(option, value)
