"""Which examples networks are trained on, as a choice that can be kept and sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import invalid, require_known

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: dict[str, type] = {"dataset": str, "folder": str, "download": bool, "split": str, "level": str}
"""Types of what a file says of the data; what is not listed is a whole number."""


class DataChoice(NamedTuple):
    """Which examples networks are trained on; as for `neural.load_dataset`."""

    dataset: str = "auto"
    folder: str | None = None
    examples: int | None = None
    seed: int = 0
    download: bool = False
    split: str = "train"
    level: str = "word"
    sequence: int = 35
    vocabulary: int | None = None
    side: int = 32
    limit: int | None = None


def data_choice(given: Mapping[str, Any]) -> DataChoice:
    """The examples that a file's table `data`, or options of the command line, ask for.

    Raises
    ------
    InputError
        If a name is not known, or a value is of another type.
    """
    for key, value in given.items():
        require_known("setting of the data", key, DataChoice._fields)
        kind = _TYPES.get(key, int)
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise invalid(f"data {key}", value, accepted=f"of type {kind.__name__}", remedy="correct it")
    return DataChoice(**given)
