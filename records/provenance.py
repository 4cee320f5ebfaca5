"""What produced a result: configuration, seeds, versions, data."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

PACKAGES = ("superconsistency", "numpy", "scipy", "numba", "torch", "sympy", "xarray")


def provenance(
    configuration: Mapping[str, object], *, seeds: Sequence[int], data_hash: str | None
) -> dict[str, Any]:
    """Attributes that say how a record came about; nested parts are JSON text."""
    return {
        "configuration": json.dumps(configuration, sort_keys=True),
        "seeds": json.dumps([int(seed) for seed in seeds]),
        "versions": json.dumps(versions(), sort_keys=True),
        "data_hash": data_hash or "none",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    return {"python": platform.python_version()} | {name: _installed(name) for name in PACKAGES}


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
