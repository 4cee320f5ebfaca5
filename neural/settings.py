"""Settings by name: `depth=12` instead of a flag for everything that a run can have."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError, invalid
from ..theory import parametrization as row_of_table
from .data import Augmentation
from .networks import network as architecture_named
from .training import Optimizer, TrainingConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
NONE = "none"

CHOSEN_BY_NAME = {
    "name": "--optimizer",
    "optimizer": "--optimizer",
    "parametrization": "--parametrization",
    "architecture": "--network",
    "network": "--network",
}
"""What has a flag and an axis of its own, and so is no setting: the remedy, by name."""


class SettingKind(NamedTuple):
    """How the value of a field is read from a text, and written as one."""

    read: Callable[[str], Any]
    """Raises ValueError if it cannot."""
    accepted: str
    example: str
    write: Callable[[Any], str | float] = str
    """The value's label: one value has one label, which `read` takes as a text."""


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTHS:
        raise ValueError(text)
    return _TRUTHS[text.lower()]


def _several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Parts that are separated by commas, or by pluses where commas separate the values of an axis."""
    return lambda text: tuple(read(part.strip()) for part in re.split(r"[,+]", text)) if text else ()


def _several_or_nothing(text: str) -> tuple[str, ...]:
    return () if text.lower() == NONE else _several(str)(text)


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text.lower() == NONE else read(text)


def _joined(values: Sequence[Any] | None) -> str:
    return "+".join(map(str, values)) if values else NONE


def _number_or_none(value: float | None) -> str | float:
    return NONE if value is None else value


_PARTS = re.compile(r"(?P<crop>crop)(?P<padding>\d*)|(?P<flip>flip)|(?P<rotate>rotate)(?P<degrees>\d*\.?\d*)")
_STANDARD = {"standard", *(word for word, truth in _TRUTHS.items() if truth)}
_PLAIN = {NONE, *(word for word, truth in _TRUTHS.items() if not truth)}


def _augmentation(text: str) -> Augmentation | None:
    """`none`, `standard`, or parts of it: `crop4+flip+rotate10`, the numbers optional."""
    if text.lower() in _PLAIN:
        return None
    usual = Augmentation()
    if text.lower() in _STANDARD:
        return usual
    padding, flip, degrees = 0, False, 0.0
    for part in _several(str)(text.lower()):
        found = _PARTS.fullmatch(part)
        if found is None:
            raise ValueError(part)
        if found["crop"]:
            padding = int(found["padding"] or usual.padding)
        elif found["flip"]:
            flip = True
        else:
            degrees = float(found["degrees"] or usual.degrees)
    return Augmentation(padding=padding, flip=flip, degrees=degrees)


def _augmentation_label(value: Augmentation | None) -> str:
    if value is None:
        return NONE
    parts = (
        f"crop{value.padding}" if value.padding else "",
        "flip" if value.flip else "",
        f"rotate{value.degrees:g}" if value.degrees else "",
    )
    return _joined([part for part in parts if part])


_WHOLE, _NUMBER = "a whole number", "a number"

_KINDS = {
    "bool": SettingKind(_truth, ", ".join(_TRUTHS), "true", lambda value: str(value).lower()),
    "int": SettingKind(int, _WHOLE, "2", int),
    "float": SettingKind(float, _NUMBER, "0.9", float),
    "str": SettingKind(str, "a word", "none"),
    "int | None": SettingKind(_or_none(int), f"{_WHOLE}, or none", "128", _number_or_none),
    "float | None": SettingKind(_or_none(float), f"{_NUMBER}, or none", "3", _number_or_none),
    "tuple[str, ...]": SettingKind(_several_or_nothing, "words separated by commas", "one,other", _joined),
    "tuple[int, ...] | None": SettingKind(
        _or_none(_several(int)), "whole numbers separated by commas", "0,8,64", _joined
    ),
    "Augmentation | None": SettingKind(
        _augmentation, "none, standard, or some of crop, flip and rotate", "crop4+flip", _augmentation_label
    ),
}
"""By the annotation of the field; fields of other types cannot be set."""

BATCH_SIZE_KIND = SettingKind(
    lambda text: None if text.lower() in {"all", NONE} else int(text), f"{_WHOLE}, or all", "128",
    lambda value: "all" if value is None else value,
)  # fmt: skip
"""None is gradient descent on all examples."""


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
        As for `apply_settings`.
    given
        Fields of `TrainingConfig`; pairs go before them.

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


def require_settings(pairs: Sequence[str], label: str = "setting") -> None:
    """Raise `InputError` if a text `name=value` chooses the network, the parametrization or the optimizer."""
    for pair in pairs:
        if pair.partition("=")[0] in CHOSEN_BY_NAME:
            raise _unknown(label, pair, ())


def setting_kind(network: str, name: str, others: Sequence[str] = ()) -> SettingKind:
    """How values of an axis are read and written that is a setting of networks of one architecture.

    Parameters
    ----------
    network
        Name of the architecture.
    name
        The axis.
    others
        Axes that are no settings; the error lists them too.

    Raises
    ------
    InputError
        If such networks have no such setting.
    """
    known = _known(
        {"network": architecture_named(network), "optimizer": Optimizer, "training": TrainingConfig}
    )
    if name not in known:
        raise _unknown("axis", name, [*others, *known])
    return known[name][1]


def setting_label(config: TrainingConfig, name: str) -> str | float:
    """The label of the value that a setting has in a configuration.

    Raises
    ------
    InputError
        If it has no such setting.
    """
    parts = {"network": config.architecture, "optimizer": config.optimizer, "training": config}
    known = _known(parts)
    if name not in known:
        raise _unknown("setting", name, known)
    part, kind = known[name]
    return kind.write(getattr(parts[part], name))


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
        If a text has no `=`, a name occurs twice or no part has such a field, or a value is not of the
        field's type or range.
    """
    known = _known(parts)
    changes: dict[str, dict[str, Any]] = {name: {} for name in parts}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or key not in known:
            raise _unknown(label, pair, known)
        part, kind = known[key]
        if key in changes[part]:
            raise invalid(
                label, pair, accepted=f"each setting once, and {key} was given already", remedy="choose"
            )
        try:
            changes[part][key] = kind.read(text)
        except InputError:
            raise
        except ValueError:
            raise invalid(
                f"{label} {key}", text, accepted=kind.accepted, remedy=f"pass {kind.example}, for example"
            ) from None
    return {name: replace(part, **changes[name]) for name, part in parts.items()}


def _known(parts: Mapping[str, Any]) -> dict[str, tuple[str, SettingKind]]:
    """The part and the kind of every setting, by its name."""
    found = {
        field.name: (name, _KINDS[str(field.type)])
        for name in reversed(list(parts))
        for field in fields(parts[name])
        if str(field.type) in _KINDS and field.name not in CHOSEN_BY_NAME
    }
    if "batch_size" in found:
        found["batch_size"] = (found["batch_size"][0], BATCH_SIZE_KIND)
    return found


def _unknown(label: str, pair: str, known: Collection[str]) -> InputError:
    name, equals, _ = pair.partition("=")
    if name in CHOSEN_BY_NAME:
        remedy = f"pass {CHOSEN_BY_NAME[name]}, or its axis"
        return invalid(
            label, pair, accepted="settings, which choose neither network nor optimizer", remedy=remedy
        )
    names = ", ".join(sorted(set(known)))
    accepted = f"NAME=VALUE of {names}" if equals or label != "axis" else names
    return invalid(label, pair, accepted=accepted, remedy="choose one of these")
