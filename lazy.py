"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """A `__getattr__` for a package, which finds its names in its modules.

    Parameters
    ----------
    package
        The package's `__name__`.
    homes
        The module of each name, relative to the package.

    Examples
    --------
    >>> find = lazily("superconsistency", {"InputError": "errors"})
    >>> find("InputError").__name__
    'InputError'
    """

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f".{homes[name]}", package), name)

    return find
