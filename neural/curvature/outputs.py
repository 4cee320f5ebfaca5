"""What a loss takes of a model's outputs: one tensor, found in tuples, dictionaries and objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ...errors import InputError, invalid
from .batch import describe_structure, tensors

Selector = str | int | Callable[[Any], torch.Tensor] | None
"""A key or attribute, an index, or a function; None to look for it."""

_KEYS = ("logits", "out", "output", "prediction", "predictions")
"""Under which models return what their loss is of, the most usual first."""


class ImpossibleQuantityError(InputError):
    """A quantity that has no meaning for this loss; others may have one."""


def impossible(name: str, value: object, *, accepted: str, remedy: str) -> ImpossibleQuantityError:
    """The error for a quantity without a meaning; parameters as in `errors.invalid`."""
    return ImpossibleQuantityError(str(invalid(name, value, accepted=accepted, remedy=remedy)))


def tensor_in(outputs: Any, selector: Selector = None, *, strict: bool = False) -> torch.Tensor:
    """The one tensor of outputs that a loss is of.

    Parameters
    ----------
    outputs
        What a model returned.
    selector
        Where it is.
    strict
        Whether outputs that are not one tensor are refused unless a selector says which it is.

    Raises
    ------
    InputError
        If there is no such tensor.
    ImpossibleQuantityError
        If outputs are refused for being several.
    """
    if selector is not None:
        return _selected(outputs, selector)
    if isinstance(outputs, torch.Tensor):
        return outputs
    if strict:
        raise ImpossibleQuantityError(
            str(
                invalid(
                    "model's output",
                    describe_structure(outputs),
                    accepted="one tensor, for the Gauss-Newton matrix and the tangent kernel",
                    remedy="say which one the loss is of: output='logits', or --output-key logits",
                )
            )
        )
    found = _found(outputs)
    if found is None:
        raise invalid(
            "model's output",
            describe_structure(outputs),
            accepted="a tensor, or a tuple, dictionary or object that holds one",
            remedy="say where: output='logits', or --output-key logits",
        )
    return found


def loss_in(outputs: Any, _targets: Any = None) -> torch.Tensor:
    """The loss that a model itself returned: `loss` of an object or a mapping, or a number in a tuple.

    Raises
    ------
    InputError
        If there is none.
    """
    found = _entry(outputs, "loss")
    if found is None and isinstance(outputs, (tuple, list)):
        found = next((x for x in outputs if isinstance(x, torch.Tensor) and not x.ndim), None)
    if found is None and isinstance(outputs, torch.Tensor):
        found = outputs
    if not (isinstance(found, torch.Tensor) and found.ndim == 0):
        raise invalid(
            "loss of the model itself",
            describe_structure(outputs),
            accepted="outputs with a loss, one number",
            remedy="put labels into the inputs, or name a loss such as cross-entropy",
        )
    return found


def _selected(outputs: Any, selector: Selector) -> torch.Tensor:
    """The tensor at a key, index, attribute or of a function."""
    try:
        found = selector(outputs) if callable(selector) else _entry(outputs, selector)
    except Exception as error:  # the user's function can fail in any way; all of it means the same
        raise _no_output(outputs, selector, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, torch.Tensor):
        raise _no_output(outputs, selector, f"there is {type(found).__name__}")
    return found


def _no_output(outputs: Any, selector: Selector, why: str) -> InputError:
    return invalid(
        "output",
        selector,
        accepted=f"where a tensor is in {describe_structure(outputs)} ({why})",
        remedy="name a key, an index or an attribute",
    )


def _entry(outputs: Any, key: object) -> Any:
    """An entry by key, index or attribute; None if there is none."""
    if isinstance(outputs, Mapping):
        return outputs.get(key)
    if isinstance(key, str) and key.lstrip("-").isdigit():
        key = int(key)
    if isinstance(key, int) and isinstance(outputs, (tuple, list)):
        return outputs[key] if -len(outputs) <= key < len(outputs) else None
    return getattr(outputs, key, None) if isinstance(key, str) else None


def _found(outputs: Any) -> torch.Tensor | None:
    """The tensor by a usual name, or else the first floating-point tensor that is not one number."""
    for key in _KEYS:
        found = _entry(outputs, key)
        if isinstance(found, torch.Tensor):
            return found
    return next((x for x in tensors(outputs) if x.ndim and (x.is_floating_point() or x.is_complex())), None)
