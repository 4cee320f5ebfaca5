"""Records on disk: NetCDF files, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from ..errors import InputError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable


def save_record(record: xr.Dataset, path: Path) -> None:
    """Write a record to NetCDF; a reader sees the old file or the new one, never part of one."""
    write_atomically(path, lambda temporary: record.to_netcdf(temporary, engine="h5netcdf"))


class RecordKeeper:
    """Keeps what a run has so far in a file beside its output, and the output once the run is complete.

    A rerun that is interrupted therefore loses no earlier result, and one that was killed can go on.

    Parameters
    ----------
    output
        Where the complete record goes; without it nothing is kept.
    """

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self.partial_path = output and output.with_name(f"{output.stem}.partial{output.suffix}")
        self._unsaved: xr.Dataset | None = None
        self._saved_at = -math.inf

    def earlier(self) -> xr.Dataset | None:
        """What an earlier run of this output left behind, if it did not end.

        Raises
        ------
        InputError
            If the file is there and is not a record.
        """
        path = self.partial_path
        if path is None or not path.exists():
            return None
        record = load_record(path)
        if "completed" not in record or "schema_version" not in record.attrs:
            remedy = "remove it, or pass another --output"
            raise invalid("partial record", str(path), accepted="what a killed run left", remedy=remedy)
        return record

    def keep_partial(self, record: xr.Dataset) -> None:
        """Keep an incomplete record beside the output, at most once in `_SECONDS`."""
        self._unsaved = record
        if time.monotonic() - self._saved_at >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has not been written."""
        if self.partial_path is not None and self._unsaved is not None:
            save_record(self._unsaved, self.partial_path)
        self._unsaved, self._saved_at = None, time.monotonic()

    def keep_whole(self, record: xr.Dataset) -> None:
        """Keep the complete record in place of the incomplete one."""
        self._unsaved = None
        if self._output is not None and self.partial_path is not None:
            save_record(record, self._output)
            self.partial_path.unlink(missing_ok=True)


_SECONDS = 2.0
"""Seconds between two writes of an incomplete record."""


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

    A link is followed; what it points to is replaced.

    Raises
    ------
    InputError
        If the place cannot be written to.
    """
    require_writable(path)
    temporary: Path | None = None
    try:
        place = path.resolve()
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(place.parent, place.suffix)
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(place)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Fail now rather than after the work; leaves nothing behind.

    Raises
    ------
    InputError
        If no regular file can be put at the path.
    """
    try:
        place = path.resolve()
        if place.exists() and not place.is_file():
            raise _unwritable(path, OSError("it is not a regular file"))
        nearest = next(folder for folder in place.parents if folder.exists())
        _temporary(nearest, "").unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _temporary(folder: Path, suffix: str) -> Path:
    """A new empty file in a folder."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".superconsistency-", suffix=suffix)
    os.close(descriptor)
    return Path(name)


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
