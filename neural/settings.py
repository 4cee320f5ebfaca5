"""Settings by name: `depth=12` instead of a flag for everything that a run can have."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import invalid
from ..theory import parametrization as row_of_table
from .networks import network as architecture_named
from .training import Optimizer, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}


class _Kind(NamedTuple):
    """How the text of a field's value is read."""

    read: Callable[[str], Any]
    """Raises ValueError if it cannot."""
    accepted: str
    example: str


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise ValueError(text)
    return _TRUTHS[text.lower()]


def _several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(read(part.strip()) for part in text.split(",")) if text else ()


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() == "none" else read(text)


_KINDS = {
    "bool": _Kind(_truth, ", ".join(_TRUTHS), "true"),
    "int": _Kind(int, "a whole number", "2"),
    "float": _Kind(float, "a number", "0.9"),
    "str": _Kind(str, "a word", "none"),
    "int | None": _Kind(_or_none(int), "a whole number, or none", "128"),
    "float | None": _Kind(_or_none(float), "a number, or none", "3"),
    "tuple[str, ...]": _Kind(_several(str), "words separated by commas", "one,other"),
    "tuple[int, ...] | None": _Kind(_or_none(_several(int)), "whole numbers separated by commas", "0,8,64"),
}
"""By the annotation of the field; fields of other types cannot be set."""


def named_config(
    network: str,
    parametrization: str,
    optimizer: str,
    pairs: Sequence[str] = (),
    *,
    label: str = "--set",
    **given: object,
) -> TrainingConfig:
    """A training configuration by names, with settings of network, optimizer and training replaced.

    Parameters
    ----------
    network, parametrization, optimizer
        Names.
    pairs, label
        As of `apply_settings`.
    given
        Fields of `TrainingConfig`.

    Raises
    ------
    InputError
        If a name or setting is not known, or a value is out of range.
    """
    parts = {
        "network": architecture_named(network),
        "optimizer": Optimizer(optimizer),
        "training": TrainingConfig(row_of_table(parametrization), **given),  # type: ignore[arg-type] # checked by it
    }
    changed = apply_settings(pairs, parts, label)
    config: TrainingConfig = replace(
        changed["training"], architecture=changed["network"], optimizer=changed["optimizer"]
    )
    return config


def apply_settings(pairs: Sequence[str], parts: Mapping[str, Any], label: str = "--set") -> dict[str, Any]:
    """Several dataclasses with some of their fields replaced by `name=value` texts.

    Parameters
    ----------
    pairs
        As given on the command line; a name belongs to the first part that has such a field.
    parts
        Dataclass instances by name.
    label
        What the texts are called in an error.

    Returns
    -------
    dict
        The changed parts, by name.

    Raises
    ------
    InputError
        If a text has no `=`, no part has such a field, or a value is not of the field's type or range.
    """
    known = {
        field.name: (name, _KINDS[str(field.type)])
        for name in reversed(list(parts))
        for field in fields(parts[name])
        if str(field.type) in _KINDS
    }
    changes: dict[str, dict[str, Any]] = {name: {} for name in parts}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or key not in known:
            accepted = f"NAME=VALUE of {', '.join(sorted(known))}"
            raise invalid(label, pair, accepted=accepted, remedy="choose one of these")
        part, kind = known[key]
        try:
            changes[part][key] = kind.read(text)
        except ValueError:
            raise invalid(
                f"{label} {key}", text, accepted=kind.accepted, remedy=f"pass {kind.example}, say"
            ) from None
    return {name: replace(part, **changes[name]) for name, part in parts.items()}
