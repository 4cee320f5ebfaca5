"""The folder of a sweep: every run a record of its own, named by the hash of all that makes it what it is."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, invalid
from .schema import RUN_DIMENSIONS, SCHEMA_VERSION
from .storage import read_json, read_values, save_record, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

_KEY = re.compile(r"[0-9a-f]{64}")
_MANIFEST = "sweep.json"
_SHARE = ".share"
_MOST_CELLS = 10**8
_STALE = 3600.0
"""Seconds after which a file that was to be renamed counts as left behind."""


class Manifest(NamedTuple):
    """What a sweep consists of."""

    axes: dict[str, list[Any]]
    """Values by axis, in the order of the results' dimensions."""
    keys: dict[tuple[int, ...], str]
    """Of every run, by its place on the axes."""
    steps: list[int]
    variables: dict[str, dict[str, Any]]
    """`dims`, `dtype` and `attrs` of every variable and coordinate of a run."""
    attrs: dict[str, Any]
    """Of the whole: configuration, seeds, versions, hash of the data."""


class RunStore:
    """The runs in a folder.

    Parameters
    ----------
    folder
        Made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where a complete run is.

        Raises
        ------
        InputError
            If the key is none, or the place is outside of the folder.
        """
        return self._inside("runs", key, ".nc")

    def checkpoint(self, key: str) -> Path:
        """Where a run under way keeps its state."""
        return self._inside("underway", key, ".checkpoint")

    def tell(self, key: str, share: float) -> None:
        """Say how far a run under way is, from 0 to 1; where that cannot be written it stays unsaid."""
        with suppress(OSError, InputError):
            write_atomically(self._share_path(key), lambda place: place.write_text(f"{share:.4f}"))

    def shares(self) -> dict[str, float]:
        """How far the runs under way have said to be, by key."""
        names = (entry.name for entry in _entries(self.folder / "underway"))
        keys = (name.removesuffix(_SHARE) for name in names if name.endswith(_SHARE))
        return {key: self._share(key) for key in keys if _KEY.fullmatch(key)}

    def forget(self, key: str) -> None:
        """Of a run, how far it is."""
        with suppress(OSError):
            self._share_path(key).unlink(missing_ok=True)

    def _share_path(self, key: str) -> Path:
        return self._inside("underway", key, _SHARE)

    def _share(self, key: str) -> float:
        try:
            value = float(self._share_path(key).read_text()[:32])
        except (OSError, ValueError, InputError):  # it may have ended just now
            return 0.0
        return min(max(value, 0.0), 1.0) if math.isfinite(value) else 0.0

    def tidy(self) -> None:
        """Remove what processes that were killed while writing left behind, after an hour."""
        for path in self.folder.rglob(".superconsistency-*"):
            with suppress(OSError):
                if time.time() - path.lstat().st_mtime > _STALE:
                    path.unlink()

    def save(self, key: str, record: xr.Dataset) -> None:
        """Keep a complete run; a reader sees all of it or nothing."""
        save_record(record.assign_attrs(key=key), self.path(key))
        self.failure_path(key).unlink(missing_ok=True)
        self.checkpoint(key).unlink(missing_ok=True)

    def load(self, key: str) -> dict[str, NDArray[Any]]:
        """Variables of a complete run.

        Raises
        ------
        InputError
            If it is missing, damaged, or another run's.
        """
        path = self.path(key)
        try:
            attrs, values = read_values(path)
        except InputError as error:
            why = "" if error.__cause__ is None else f": {_words(error.__cause__)}"
            raise invalid(
                "run",
                str(path),
                accepted=f"a whole file (it is damaged{why})",
                remedy="give the sweep's command again, which does such runs anew",
            ) from error
        known = str(attrs.get("key")) == key and "content_hash" in attrs
        if not known or not np.all(values.get("completed", 0) == 1):
            raise invalid(
                "run",
                str(path),
                accepted="the run that the name says",
                remedy="give the sweep's command again",
            )
        return values

    def complete(self, keys: Iterable[str]) -> set[str]:
        """Those runs of which there is a file."""
        there = {
            entry.name.removesuffix(".nc")
            for part in _entries(self.folder / "runs")
            for entry in _entries(part.path)
        }
        return there & set(keys)

    def failure_path(self, key: str) -> Path:
        """Where it is kept why a run failed."""
        return self._inside("failures", key, ".json")

    def fail(self, key: str, reason: str, run: Mapping[str, Any]) -> None:
        """Keep why a run failed."""
        text = json.dumps({"reason": reason, "run": dict(run)}, indent=2)
        write_atomically(self.failure_path(key), lambda place: place.write_text(text))

    def failures(self, keys: Iterable[str]) -> dict[str, str]:
        """Reasons of those runs that failed."""
        names = {entry.name.removesuffix(".json") for entry in _entries(self.folder / "failures")}
        return {key: self._reason(key) for key in keys if key in names}

    def _reason(self, key: str) -> str:
        try:
            return str(json.loads(self.failure_path(key).read_text())["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown: the file that says why cannot be read"

    def write_manifest(self, manifest: Manifest) -> None:
        """Say what the sweep consists of."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "axes": manifest.axes,
            "runs": [[*place, key] for place, key in manifest.keys.items()],
            "steps": manifest.steps,
            "variables": manifest.variables,
            "attrs": manifest.attrs,
        }
        text = json.dumps(document, indent=1)
        write_atomically(self.folder / _MANIFEST, lambda place: place.write_text(text))

    def manifest(self) -> Manifest:
        """What the sweep in the folder consists of.

        Raises
        ------
        InputError
            If there is none, or it cannot be one of ours.
        """
        remedy = "pass the --output of a sweep"
        if not (self.folder / _MANIFEST).exists():
            raise invalid("sweep folder", str(self.folder), accepted=f"one with a {_MANIFEST}", remedy=remedy)
        document = read_json(self.folder / _MANIFEST, "sweep folder", remedy)
        _check_manifest_version(document)
        try:
            return _read_manifest(document)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            accepted = f"one whose {_MANIFEST} is whole ({_words(error)})"
            raise invalid("sweep folder", str(self.folder), accepted=accepted, remedy=remedy) from error

    def _inside(self, part: str, key: str, suffix: str) -> Path:
        """A path of the folder; `InputError` if a key or a link would lead out of it."""
        if not _KEY.fullmatch(key):
            raise invalid(
                "run", key, accepted="64 hexadecimal digits", remedy="sweep again into another folder"
            )
        deeper = (key[:2],) if part == "runs" else ()
        path = self.folder.joinpath(part, *deeper, key + suffix)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise invalid(
                "run", str(path), accepted="a file inside the folder of the sweep", remedy="remove the link"
            )
        return path


def run_key(skeleton: xr.Dataset) -> str:
    """SHA-256 of all that makes a run what it is: configuration, coordinates, data, seeds, versions."""
    identity = {
        "attrs": {str(name): str(value) for name, value in skeleton.attrs.items()},
        "coordinates": {str(name): part.to_numpy().tolist() for name, part in skeleton.coords.items()},
        "variables": sorted(map(str, skeleton.data_vars)),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _entries(folder: Any) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _words(error: BaseException) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())[:160]


def _check_manifest_version(document: dict[str, Any]) -> None:
    version = document.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise invalid(
            "schema version", version, accepted=f"up to {SCHEMA_VERSION}", remedy="update superconsistency"
        )


def _read_manifest(document: dict[str, Any]) -> Manifest:
    axes = {str(name): list(values) for name, values in dict(document["axes"]).items()}
    if math.prod(map(len, axes.values())) > _MOST_CELLS or not all(axes.values()):
        raise ValueError(f"axes of more than {_MOST_CELLS} cells, or of none")
    keys: dict[tuple[int, ...], str] = {}
    for *place, key in document["runs"]:
        inside = all(
            isinstance(index, int) and 0 <= index < len(values)
            for index, values in zip(place, axes.values(), strict=True)
        )
        if not inside or not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ValueError(f"a run that cannot be one: {place}, {key!r}")
        keys[tuple(place)] = key
    if not set(RUN_DIMENSIONS) <= set(axes):
        raise ValueError("an axis is missing")
    variables = {
        str(name): {
            "dims": [str(axis) for axis in about["dims"]],
            "dtype": np.dtype(about["dtype"]).str,
            "attrs": dict(about["attrs"]),
        }
        for name, about in document["variables"].items()
    }
    if "completed" not in variables or any(
        np.dtype(about["dtype"]).kind not in "biuf" for about in variables.values()
    ):
        raise ValueError("variables that no run has")
    return Manifest(axes, keys, list(document["steps"]), variables, dict(document["attrs"]))
