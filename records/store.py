"""The folder of a sweep: every group of runs a file of its own, named by the hash of what makes it."""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, in_words, invalid
from .manifest import KEY
from .storage import read_values, save_record, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

_SHARE = ".share"
_STALE = 3600.0
"""Seconds after which a file that was to be renamed counts as left behind."""


class Held(NamedTuple):
    """A group of runs that a folder has."""

    key: str
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    variables: frozenset[str]


class RunStore:
    """The groups of runs in a folder.

    A group's file is `runs/FF/FAMILY/KEY.nc`: groups of one family differ in learning rates, seeds and what
    was measured.

    Parameters
    ----------
    folder
        Made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, family: str, key: str) -> Path:
        """Where a complete group is.

        Raises
        ------
        InputError
            If a name is none, or the place is outside of the folder.
        """
        return self._inside("runs", (family[:2], family), (family, key), ".nc")

    def checkpoint(self, key: str) -> Path:
        """Where a group under way keeps its state."""
        return self._inside("underway", (), (key,), ".checkpoint")

    def tell(self, key: str, share: float) -> None:
        """Write how far a group under way is, from 0 to 1. Write failures are ignored."""
        with suppress(OSError, InputError):
            write_atomically(self._share_path(key), lambda place: place.write_text(f"{share:.4f}"))

    def shares(self) -> dict[str, float]:
        """How far the groups under way are, by key."""
        names = (entry.name for entry in _entries(self.folder / "underway"))
        keys = (name.removesuffix(_SHARE) for name in names if name.endswith(_SHARE))
        return {key: self._share(key) for key in keys if KEY.fullmatch(key)}

    def forget(self, key: str) -> None:
        """Remove what was written on how far a group is."""
        with suppress(OSError):
            self._share_path(key).unlink(missing_ok=True)

    def _share_path(self, key: str) -> Path:
        return self._inside("underway", (), (key,), _SHARE)

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

    def save(self, family: str, key: str, record: xr.Dataset) -> None:
        """Keep a complete group; a reader sees all of it or nothing."""
        save_record(record.assign_attrs(key=key, family=family), self.path(family, key))
        self.failure_path(key).unlink(missing_ok=True)
        self.checkpoint(key).unlink(missing_ok=True)

    def load(self, family: str, key: str) -> dict[str, NDArray[Any]]:
        """Variables of a complete group.

        Raises
        ------
        InputError
            If it is missing, damaged, or another one's.
        """
        path = self.path(family, key)
        try:
            attrs, values = read_values(path)
        except InputError as error:
            why = "" if error.__cause__ is None else f": {in_words(error.__cause__)}"
            raise invalid(
                "run", str(path), accepted=f"a whole file (it is damaged{why})",
                remedy="rerun the sweep's command, which does such runs again",
            ) from error  # fmt: skip
        known = (str(attrs.get("key")), str(attrs.get("family"))) == (key, family) and "content_hash" in attrs
        if not known or not np.all(values.get("completed", 0) == 1):
            raise invalid(
                "run", str(path), accepted="the runs that the name says", remedy="rerun the sweep's command"
            )  # fmt: skip
        return values

    def complete(self, groups: Iterable[tuple[str, str]]) -> set[str]:
        """Keys of those groups, given by family and key, for which there is a file."""
        asked: dict[str, set[str]] = {}
        for family, key in groups:
            asked.setdefault(family, set()).add(key)
        there = set()
        for family, keys in asked.items():
            there |= {entry.name.removesuffix(".nc") for entry in self._family(family)} & keys
        return there

    def held(self, family: str) -> list[Held]:
        """The complete groups of a family, the largest first; files that cannot be read are left out."""
        found = []
        for entry in self._family(family):
            key = entry.name.removesuffix(".nc")
            with suppress(InputError):
                values = self.load(family, key)
                rates, seeds = (np.atleast_1d(values.get(name, ())) for name in ("learning_rate", "seed"))
                found.append(Held(key, tuple(map(float, rates)), tuple(map(int, seeds)), frozenset(values)))
        return sorted(found, key=lambda one: (-len(one.learning_rates) * len(one.seeds), one.key))

    def _family(self, family: str) -> list[os.DirEntry[str]]:
        if not KEY.fullmatch(family):
            raise _bad_name(family)
        names = _entries(self.folder / "runs" / family[:2] / family)
        return [entry for entry in names if KEY.fullmatch(entry.name.removesuffix(".nc"))]

    def failure_path(self, key: str) -> Path:
        """Where it is kept why a group failed."""
        return self._inside("failures", (), (key,), ".json")

    def fail(self, key: str, reason: str, runs: Iterable[Mapping[str, Any]]) -> None:
        """Keep why a group failed."""
        text = json.dumps({"reason": reason, "runs": list(map(dict, runs))}, indent=2)
        write_atomically(self.failure_path(key), lambda place: place.write_text(text))

    def failures(self, keys: Iterable[str]) -> dict[str, str]:
        """Reasons of those groups that failed, by key."""
        names = {entry.name.removesuffix(".json") for entry in _entries(self.folder / "failures")}
        return {key: self._reason(key) for key in keys if key in names}

    def _reason(self, key: str) -> str:
        try:
            return str(json.loads(self.failure_path(key).read_text())["reason"])
        except (OSError, ValueError, KeyError, TypeError):
            return "unknown: the file that says why cannot be read"

    def _inside(self, part: str, folders: tuple[str, ...], names: tuple[str, ...], suffix: str) -> Path:
        """A path of the folder; `InputError` if a name or a link would lead out of it."""
        for name in names:
            if not KEY.fullmatch(name):
                raise _bad_name(name)
        path = self.folder.joinpath(part, *folders, names[-1] + suffix)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise invalid(
                "run", str(path), accepted="a file inside the folder of the sweep", remedy="remove the link"
            )
        return path


def _bad_name(name: str) -> InputError:
    return invalid("run", name, accepted="64 hexadecimal digits", remedy="sweep again into another folder")


def _entries(folder: Any) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
