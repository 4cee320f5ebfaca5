"""Settings by name: `--set depth=12` instead of a flag for everything that a run can have."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from ..errors import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}


def apply_settings(pairs: Sequence[str], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Several dataclasses with some of their fields replaced by `name=value` texts.

    Parameters
    ----------
    pairs
        As given on the command line; a name belongs to the first part that has such a field.
    parts
        Dataclass instances by name.

    Returns
    -------
    dict
        The changed parts, by name.

    Raises
    ------
    InputError
        If a text has no `=`, no part has such a field, or a value is not of the field's type or range.
    """
    known = {field.name: name for name in reversed(list(parts)) for field in fields(parts[name])}
    changes: dict[str, dict[str, Any]] = {name: {} for name in parts}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or key not in known:
            raise invalid(
                "--set",
                pair,
                accepted=f"NAME=VALUE of {', '.join(sorted(known))}",
                remedy="choose one of these",
            )
        part = known[key]
        changes[part][key] = _value(key, text, getattr(parts[part], key))
    return {name: replace(part, **changes[name]) for name, part in parts.items()}


def _value(key: str, text: str, like: Any) -> Any:
    """A text as a value of the kind that another is of."""
    if isinstance(like, bool):
        if text.lower() not in _TRUTHS:
            raise invalid(f"--set {key}", text, accepted=", ".join(_TRUTHS), remedy="pass true, say")
        return _TRUTHS[text.lower()]
    if isinstance(like, tuple):
        return tuple(_plain(part) for part in text.split(",")) if text else ()
    if isinstance(like, str):
        return text
    value = _plain(text)
    if text.lower() == "none":
        return None
    if isinstance(value, str):
        raise invalid(f"--set {key}", text, accepted="a number", remedy=f"pass {like}, as it is now")
    if isinstance(like, int) and isinstance(value, float):
        if not value.is_integer():
            raise invalid(f"--set {key}", text, accepted="a whole number", remedy=f"pass {like}, say")
        return int(value)
    return value


def _plain(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
