"""The one exception that bad input raises, wherever it is met, and the checks that every room makes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class InputError(ValueError):
    """A value from outside that cannot be used; its message is one line fit to show to a person."""


class OutputError(InputError):
    """A place that cannot be written to."""


def invalid(name: str, value: object, *, accepted: str, remedy: str) -> InputError:
    """Describe a rejected value.

    Parameters
    ----------
    name
        What was given, in the user's words ("learning rate").
    value
        The value itself; shown shortened.
    accepted
        The accepted range or set.
    remedy
        What to do instead.

    Returns
    -------
    InputError
        With a message of exactly one line: name, value, accepted range, remedy.
    """
    message = f"{name} is {_shown(value)}; accepted: {accepted}; remedy: {remedy}"
    return InputError(" ".join(message.split()))


def require_positive(name: str, value: float, *, example: object) -> None:
    """Raise `InputError` unless a value is a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise invalid(name, value, accepted="a finite number above 0", remedy=f"pass {example}, say")


LARGEST_WHOLE = 2**53
"""Whole numbers up to this are exact in floating point."""


def require_whole(
    name: str, value: float, *, least: int, example: object, most: float = LARGEST_WHOLE
) -> None:
    """Raise `InputError` unless a value is a whole number from `least` to `most`, which may be infinite."""
    if least <= value <= most and (value == math.inf or value == int(value)):
        return
    if most == math.inf:
        accepted = f"a whole number of at least {least}, or inf"
    elif value > most:
        accepted = f"a whole number from {least} to {most:.0f}"
    else:
        accepted = f"a whole number of at least {least}"
    raise invalid(name, value, accepted=accepted, remedy=f"pass {example}, say")


def require_integer(
    name: str, value: object, *, least: int, example: object, most: float = LARGEST_WHOLE
) -> None:
    """Raise `InputError` unless a value is an `int` from `least` to `most`; 2.0 is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid(name, value, accepted="a whole number", remedy=f"pass {example}, say")
    require_whole(name, value, least=least, example=example, most=most)


def require_distinct(name: str, values: Collection[object]) -> None:
    """Raise `InputError` unless there is at least one value and none occurs twice."""
    if not values or len(set(values)) < len(values):
        raise invalid(
            name, tuple(values), accepted="different values, at least one", remedy="list each of them once"
        )


def require_known(name: str, value: str, known: Collection[str]) -> None:
    """Raise `InputError` unless a name is among the known ones."""
    if value not in known:
        raise invalid(name, value, accepted=", ".join(known), remedy="choose one of these")


def _shown(value: object, longest: int = 120) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
