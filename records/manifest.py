"""What a folder of results says of the sweep it holds."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import in_words, invalid
from .storage import read_json, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "sweep.json"
LAYOUT = 3
"""Version of the folder's layout; 3 is the first with groups of runs."""

KEY = re.compile(r"[0-9a-f]{64}")
_MOST_CELLS = 10**8
MOST_TOGETHER = 2**20
"""Runs of one group, at most."""

_REMEDY = "pass the --output of a sweep"


class Manifest(NamedTuple):
    """What a sweep consists of."""

    axes: dict[str, list[Any]]
    """Values by axis, in the order of the results' dimensions."""
    groups: list[tuple[str, str]]
    """Family and key of every group of runs."""
    runs: dict[tuple[int, ...], tuple[int, int]]
    """By a run's place on the axes: the index of its group, and its index within."""
    coordinates: dict[str, list[Any]]
    """Values of the dimensions that are no axes, such as `step`."""
    variables: dict[str, dict[str, Any]]
    """By variable or coordinate: its `dims` beside the axes, `dtype` and `attrs`."""
    attrs: dict[str, Any]
    """What all runs share: configuration, seeds, versions, hash of the data."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Say in a folder what the sweep in it consists of."""
    document = {
        "layout": LAYOUT,
        "axes": manifest.axes,
        "groups": manifest.groups,
        "runs": [[*place, *within] for place, within in manifest.runs.items()],
        "coordinates": manifest.coordinates,
        "variables": manifest.variables,
        "attrs": manifest.attrs,
    }
    text = json.dumps(document, indent=1)
    write_atomically(folder / MANIFEST, lambda place: place.write_text(text))


def read_manifest(folder: Path) -> Manifest:
    """What the sweep in a folder consists of.

    Raises
    ------
    InputError
        If there is none, or it cannot be one of ours.
    """
    if not (folder / MANIFEST).exists():
        raise invalid("sweep folder", str(folder), accepted=f"one with a {MANIFEST}", remedy=_REMEDY)
    document = read_json(folder / MANIFEST, "sweep folder", _REMEDY)
    layout = document.get("layout")
    if layout != LAYOUT:
        raise invalid(
            "layout of the sweep folder", layout, accepted=f"{LAYOUT}",
            remedy="sweep again into another folder, or update superconsistency",
        )  # fmt: skip
    try:
        return _checked(document)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        accepted = f"one whose {MANIFEST} is whole ({in_words(error)})"
        raise invalid("sweep folder", str(folder), accepted=accepted, remedy=_REMEDY) from error


def _checked(document: Mapping[str, Any]) -> Manifest:
    axes = {str(name): list(values) for name, values in dict(document["axes"]).items()}
    if math.prod(map(len, axes.values())) > _MOST_CELLS or not axes or not all(axes.values()):
        raise ValueError(f"axes of more than {_MOST_CELLS} cells, or of none")
    groups = [(str(family), str(key)) for family, key in document["groups"]]
    if not all(KEY.fullmatch(part) for names in groups for part in names):
        raise ValueError("a group whose name cannot be one")
    runs: dict[tuple[int, ...], tuple[int, int]] = {}
    for row in document["runs"]:
        *place, group, within = row
        ends = [*map(len, axes.values()), len(groups), MOST_TOGETHER]
        if len(row) != len(ends) or not all(
            type(index) is int and 0 <= index < end for index, end in zip(row, ends, strict=True)
        ):
            raise ValueError(f"a run that cannot be one: {row}")
        runs[tuple(place)] = (group, within)
    coordinates = {str(name): list(values) for name, values in document["coordinates"].items()}
    variables = {
        str(name): _variable(about, coordinates, kinds="biufU" if name in coordinates else "biuf")
        for name, about in document["variables"].items()
    }
    if "completed" not in variables:
        raise ValueError("variables that no run has")
    return Manifest(axes, groups, runs, coordinates, variables, dict(document["attrs"]))


def _variable(about: Mapping[str, Any], coordinates: Mapping[str, Any], kinds: str) -> dict[str, Any]:
    dims = [str(dim) for dim in about["dims"]]
    dtype = np.dtype(about["dtype"])
    if dtype.kind not in kinds or not set(dims) <= set(coordinates):
        raise ValueError("variables that no run has")
    return {"dims": dims, "dtype": dtype.str, "attrs": dict(about["attrs"])}
