"""Records on disk: NetCDF files, written whole or not at all."""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from xarray.backends import H5NetCDFStore

from ..errors import InputError, OutputError, as_path, in_words, invalid
from .origin import array_hash
from .schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ..errors import PathText

_CONTENT = "content_hash"
"""Attribute of a file: SHA-256 of the values, by which damage is found."""


_NOT_NETCDF = (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError)
"""What the writing of a dataset raises that NetCDF cannot hold."""


def save_record(record: xr.Dataset, path: PathText) -> None:
    """Write a record to NetCDF; a reader sees the old file or the new one, never part of one.

    Raises
    ------
    InputError
        If it is no dataset, holds what NetCDF does not, or the place cannot be written to.
    """
    require_record(record)
    whole = record.assign_attrs({_CONTENT: _content(record.variables)})
    try:
        content = _netcdf(whole)
    except (*_NOT_NETCDF, h5netcdf.CompatibilityError) as error:
        accepted = f"variables and attributes that NetCDF can hold ({in_words(error, 100)})"
        raise invalid(
            "record", str(path), accepted=accepted, remedy="leave them out, or make them text"
        ) from error
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _netcdf(record: xr.Dataset) -> bytes:
    """The content of a record's file, made in memory: where a disk is full HDF5 would end the process.

    `Dataset.to_netcdf` can do so too, but locks the file's name through Dask where it is in a Dask worker.
    """
    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        record.dump_to_store(H5NetCDFStore(file))
    return content.getvalue()


def require_record(record: object) -> xr.Dataset:
    """The record; `InputError` unless it is a dataset."""
    if not isinstance(record, xr.Dataset):
        accepted, remedy = "an xarray.Dataset, as simulate and train_grid return", "pass the whole record"
        raise invalid("record", record, accepted=accepted, remedy=remedy)
    return record


def _content(values: Mapping[Any, Any]) -> str:
    """SHA-256 of all variables that are numbers, in the order of their names."""
    arrays = {str(name): np.asarray(part) for name, part in values.items()}
    return array_hash(*(arrays[name] for name in sorted(arrays) if arrays[name].dtype.kind in "biuf"))


class RecordKeeper:
    """Keeps what a run has so far in a file beside its output, and the output once the run is complete.

    A rerun that is interrupted therefore loses no earlier result, and one that was killed can go on.

    Parameters
    ----------
    output
        Where the complete record goes; without it nothing is kept.
    """

    def __init__(self, output: PathText | None) -> None:
        self._output = place = None if output is None else as_path("output", output)
        self.partial_path = place and place.with_name(f"{place.stem}.partial{place.suffix}")
        self._unsaved: xr.Dataset | None = None
        self._saved_at = -math.inf
        self._complete = 0

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
        """Keep an incomplete record beside the output, once in `_SECONDS` and whenever a run is complete."""
        self._unsaved = record
        complete = int((record["completed"] == 1).sum()) if "completed" in record else 0
        if complete > self._complete or time.monotonic() - self._saved_at >= _SECONDS:
            self._complete = complete
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


def load_record(path: PathText) -> xr.Dataset:
    """Read a record into memory.

    Raises
    ------
    InputError
        If the file is missing, is not a record or of a later version, or was damaged.
    """
    path = as_path("record", path)
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            record = file.load()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _no_record(path, error) from error
    check_version(record, path)
    _check_content(record.attrs.pop(_CONTENT, None), record.variables, path)
    return record


def read_values(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Attributes and variables of a record's file, without their dimensions: twenty times as fast.

    Raises
    ------
    InputError
        As of `load_record`.
    """
    try:
        with h5py.File(path) as file:
            attrs = dict(file.attrs)
            values = {str(name): _own_values(file, name) for name in file}
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise _no_record(path, error) from error
    _check_content(attrs.get(_CONTENT), values, path)
    return attrs, values


def _own_values(file: h5py.File, name: str) -> NDArray[Any]:
    """A variable that the file itself holds; links to other files could make it any file's."""
    link = file.get(name, getlink=True)
    part = file[name] if isinstance(link, h5py.HardLink) else None
    inside = isinstance(part, h5py.Dataset) and not part.external and not part.is_virtual
    if part is None or not inside:
        raise ValueError(f"{name} is not kept in it")
    return np.asarray(part[()])


def _no_record(path: Path, error: Exception) -> InputError:
    remedy = "it is damaged, or no record: make it anew" if path.is_file() else "check the path"
    return invalid("record", str(path), accepted="a NetCDF record", remedy=f"{remedy} ({error})")


def _check_content(written: object, values: Mapping[Any, Any], path: Path) -> None:
    if written is not None and str(written) != _content(values):
        raise invalid(
            "record",
            str(path),
            accepted="one whose values are those written",
            remedy="remove it and run again",
        )


def check_version(record: xr.Dataset, path: Path) -> None:
    """`InputError` if a record is of a later version than this program knows; earlier ones can be read."""
    version = record.attrs.get("schema_version", 1)
    if not _is_number(version) or version > SCHEMA_VERSION:
        raise invalid(
            "schema version",
            str(version),
            accepted=f"1 to {SCHEMA_VERSION}, which {path.name} is beyond",
            remedy="update superconsistency",
        )


def _is_number(version: object) -> bool:
    return isinstance(version, (int, np.integer)) and int(version) >= 1


_MOST_BYTES = 2**28
"""Largest size of a JSON file."""


def read_json(path: PathText, what: str, remedy: str) -> dict[str, Any]:
    """A JSON object from a file that may hold anything.

    Raises
    ------
    InputError
        If it cannot be read, is very large, or is no object; the message calls it `what`.
    """
    path = as_path(what, path)
    try:
        size = path.stat().st_size
        document = json.loads(path.read_text(encoding="utf-8")) if size <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise invalid(what, str(path), accepted=f"a JSON file ({reason})", remedy=remedy) from error
    if not isinstance(document, dict):
        accepted = f"a JSON object of at most {_MOST_BYTES} bytes"
        raise invalid(what, str(path), accepted=accepted, remedy=remedy)
    return document


def write_atomically(path: PathText, write: Callable[[Path], object]) -> None:
    """Write a file by way of a temporary one beside it, renamed into place when complete.

    A link is followed; what it points to is replaced.

    Raises
    ------
    InputError
        If the place cannot be written to.
    """
    path = as_path("output", path)
    require_writable(path)
    temporary: Path | None = None
    try:
        place = path.resolve()
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(place.parent, place.suffix or ".part")  # PyTorch wants a suffix
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(place)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def require_writable(path: PathText) -> None:
    """Fail now rather than after the work; leaves nothing behind.

    Raises
    ------
    InputError
        If no regular file can be put at the path.
    """
    path = as_path("output", path)
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


def _unwritable(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    accepted = f"a writable path ({reason})"
    return OutputError(invalid("output", str(path), accepted=accepted, remedy="pass another --output"))


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
