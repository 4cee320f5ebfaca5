"""What produced a result: configuration, seeds, versions, data."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_ROOMS = ("theory", "simulations", "neural", "records")
"""Whose source the numbers depend on."""

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
    found = {"python": platform.python_version()} | {name: _installed(name) for name in PACKAGES}
    return found | {"source": source_hash()}


@cache
def source_hash() -> str:
    """First digits of the SHA-256 of this package's own source, as far as numbers depend on it."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


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
