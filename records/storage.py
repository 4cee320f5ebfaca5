"""Records on disk: NetCDF files, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from ..errors import InputError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable


def save_record(record: xr.Dataset, path: Path) -> None:
    """Write a record to NetCDF; a reader sees the old file or the new one, never part of one."""
    write_atomically(path, lambda temporary: record.to_netcdf(temporary, engine="h5netcdf"))


def load_record(path: Path) -> xr.Dataset:
    """Read a record into memory.

    Raises
    ------
    InputError
        If the file is missing or is not a record.
    """
    try:
        with xr.open_dataset(path, engine="h5netcdf") as record:
            return record.load()
    except (OSError, ValueError, KeyError) as error:
        raise invalid(
            "record", str(path), accepted="a NetCDF record", remedy=f"check the path ({error})"
        ) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file by way of a temporary one beside it, renamed into place when complete.

    Raises
    ------
    InputError
        If the place cannot be written to.
    """
    require_writable(path)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Fail now rather than after the work, making the folder if need be.

    Raises
    ------
    InputError
        If a file cannot be created at the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise _unwritable(path, IsADirectoryError("it is a folder"))
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writable-")
        os.close(descriptor)
        Path(name).unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> InputError:
    reason = error.strerror or str(error)
    return invalid(
        "output", str(path), accepted=f"a writable path ({reason})", remedy="pass another --output"
    )


def to_json(value: Any) -> Any:
    """Nested values fit for JSON, which knows neither NaN (made null) nor infinity (made "inf")."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def record_to_json(record: xr.Dataset) -> dict[str, Any]:
    """A record as JSON values, its configuration and versions unpacked."""
    document = record.to_dict()
    for name in ("configuration", "seeds", "versions"):
        document["attrs"][name] = json.loads(document["attrs"][name])
    result: dict[str, Any] = to_json(document)
    return result
