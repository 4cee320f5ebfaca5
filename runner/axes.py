"""Axes of a sweep: what varies over it, and how a value is read, compared and labelled."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import TWINS, invalid, require_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Cell = tuple[tuple[str, Any], ...]
"""One run: its label on every axis."""

WORD, WHOLE, NUMBER = "word", "whole", "number"


class Axis(NamedTuple):
    """Something that varies over a sweep."""

    read: Callable[[Any], Any]
    """Gives the label of a value: a number, or a word. Raises `InputError`."""
    default: tuple[Any, ...] | None = None
    """Labels where a grid gives none; None: such a grid has the model's own setting."""


def axis(kind: str, name: str, default: tuple[Any, ...] | None = None) -> Axis:
    """An axis of words, whole numbers or numbers."""
    readers = {WORD: read_word, WHOLE: read_whole, NUMBER: read_number}
    return Axis(lambda value: readers[kind](name, value), default)


def read_word(name: str, value: Any) -> str:
    """A label that is a word."""
    if not isinstance(value, str):
        raise invalid(name, value, accepted="words", remedy='write "mup", for example')
    return value


def read_number(name: str, value: Any) -> float:
    """A label that is a number; infinity is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(name, value, accepted="numbers", remedy="write them without quotes")
    if math.isnan(value):
        raise invalid(name, "nan", accepted="numbers", remedy="correct it")
    if not abs(value) < 1e300 and value != math.inf:
        raise invalid(name, str(value), accepted="numbers below 1e300", remedy="pass a smaller one")
    return float(value)


def read_whole(name: str, value: Any) -> int:
    """A label that is a whole number: a seed from 0 on, anything else from 1 on."""
    number = read_number(name, value)
    require_whole(name.replace("_", " "), number, least=0 if name == "seed" else 1, example=1)
    return int(number)


def as_text(value: Any) -> str:
    """A plain value as the text of a setting; parts of a list are joined by pluses."""
    if isinstance(value, list | tuple):
        return "+".join(as_text(part) for part in value) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


class Labels:
    """The labels of one axis; numbers that are equal to a relative `TWINS` are one label."""

    def __init__(self) -> None:
        self._known: set[Any] = set()
        self._numbers: list[float] = []
        """The known labels that are neither words nor whole numbers, ascending."""

    def merged(self, labels: Iterable[Any]) -> list[Any]:
        """Labels with every number replaced by the first one that it is equal to; all become known."""
        return [self._merged(label) for label in labels]

    def _merged(self, label: Any) -> Any:
        if label in self._known:
            return label
        if isinstance(label, float):  # whole numbers, seeds among them, are one label only if they are equal
            index = bisect_left(self._numbers, label)
            for twin in self._numbers[max(0, index - 1) : index + 1]:
                if math.isclose(twin, label, rel_tol=TWINS):
                    return twin
            insort(self._numbers, label)
        self._known.add(label)
        return label


def ordered(labels: Iterable[Any]) -> list[Any]:
    """Different labels: numbers ascending, then words in the order of their first occurrence."""
    different = list(dict.fromkeys(labels))
    numbers = [label for label in different if not isinstance(label, str)]
    return [*sorted(numbers), *(label for label in different if isinstance(label, str))]


def coordinate(labels: Sequence[Any]) -> list[Any]:
    """Labels fit for one coordinate: words where some are words."""
    return [str(label) for label in labels] if any(isinstance(one, str) for one in labels) else list(labels)
