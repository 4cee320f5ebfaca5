"""What produced a result: configuration, seeds, versions, data."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from .source import imported_packages, source_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

NUMERICAL = ("numpy", "scipy", "numba", "torch", "sympy")
"""Packages that compute: the bits of a result depend on their versions."""

_SOURCE = "source"


def provenance(
    configuration: Mapping[str, object], *, seeds: Sequence[int], data_hash: str | None, producer: str
) -> dict[str, Any]:
    """Attributes that say how a record came about; nested parts are JSON text.

    Parameters
    ----------
    configuration
        Everything needed to run again.
    seeds
        Seeds of everything random.
    data_hash
        SHA-256 of the data, if there are any.
    producer
        `__name__` of the module whose code computed the numbers; see `versions`.
    """
    return {
        "configuration": json.dumps(configuration, sort_keys=True),
        "seeds": json.dumps([int(seed) for seed in seeds]),
        "versions": json.dumps(versions(producer), sort_keys=True),
        "data_hash": data_hash or "none",
    }


def versions(producer: str | None = None) -> dict[str, str]:
    """Versions of Python, this package and those that compute, and the hash of this package's source.

    Parameters
    ----------
    producer
        Name of a module of this package: the versions and the source are those that it imports, so that what
        it does not use does not count. None is the whole package.
    """
    used = NUMERICAL if producer is None else imported_packages(producer)
    names = ("superconsistency", *(name for name in NUMERICAL if name in used), "xarray")
    found = {"python": platform.python_version()} | {name: _installed(name) for name in names}
    return found | {_SOURCE: source_hash(producer)}


def numerical_versions(versions_of: Mapping[str, str]) -> dict[str, str]:
    """What the bits of a result depend on among `versions`."""
    return {name: value for name, value in versions_of.items() if name in {*NUMERICAL, _SOURCE}}


@cache
def _installed(package: str) -> str:
    """Version of an installed package; looking it up reads files."""
    return metadata.version(package)


def array_hash(*arrays: NDArray[Any]) -> str:
    """SHA-256 of arrays' types, shapes and contents, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
