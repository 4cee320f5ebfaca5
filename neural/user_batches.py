"""Batches as users have them, brought into one form: inputs in their own structure, and targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..errors import InputError, invalid
from .curvature import Batch
from .curvature.batch import tensors
from .user_code import kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGETS = ("targets", "target", "labels", "label", "y")
"""Names under which a dictionary's targets are found."""

FORMS = (
    "inputs and targets of equally many examples, at least one: a pair (inputs, targets), a tuple whose last "
    "entry is the targets, or a dictionary with targets or labels"
)

_PIXEL_DIMENSIONS = 3
"""8-bit inputs of at least so many are images; of fewer they are tokens or features."""

_LARGEST_PIXEL = 255


class UserExamples(NamedTuple):
    """A batch, and what its targets were called."""

    batch: Batch
    targets_name: str | None = None
    """The key of a dictionary; None for a tuple."""

    @property
    def number(self) -> int:
        """Number of examples."""
        return self.batch.examples

    def chosen(self, rows: torch.Tensor) -> UserExamples:
        """Some of the examples, by their numbers; what belongs to all of them stays."""
        count = self.number

        def taken(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[rows.to(tensor.device)] if tensor.ndim and len(tensor) == count else tensor

        return self._replace(batch=self.batch.mapped(taken))


def bad_data(data: str, why: str, remedy: str = "") -> InputError:
    """Describe data that cannot be used."""
    remedy = remedy or "give the data one of these forms"
    return invalid("data", data, accepted=f"{FORMS} ({why})", remedy=remedy)


def examples_in(data: str, content: Any) -> UserExamples:
    """Inputs and targets out of a pair, a tuple, a list or a dictionary.

    Arrays and lists of numbers become tensors: whole numbers int64, booleans as they are, and 8-bit inputs of
    three or more dimensions, which are images, floating-point from 0 to 1.

    Parameters
    ----------
    data
        What it is called in errors.
    content
        A tuple or list whose last entry is the targets; or a dictionary with targets under one of `TARGETS`,
        of which everything else is inputs by name, unless they are one entry called `inputs`.

    Raises
    ------
    InputError
        If it has no targets or inputs, something in it is not a number, or the numbers of examples differ.

    Examples
    --------
    >>> from superconsistency.neural.user_batches import examples_in
    >>> examples_in("tokens", {"input_ids": [[1, 2], [3, 4]], "labels": [0, 1]}).batch
    Batch(inputs={'input_ids': tensor([[1, 2],
            [3, 4]])}, targets=tensor([0, 1]))
    """
    if hasattr(content, "_asdict") and set(content._fields) & set(TARGETS):
        content = content._asdict()
    if isinstance(content, Mapping):
        name, inputs, targets = _by_name(data, content)
    elif isinstance(content, (tuple, list)) and len(content) >= 2:
        name, targets = None, content[-1]
        inputs = content[0] if len(content) == 2 else tuple(content[:-1])
    elif isinstance(content, (tuple, list)) and content:
        raise bad_data(data, "it gave inputs without targets", "add targets; for tokens, the next ones")
    else:
        raise bad_data(data, f"it gave {kind_of(content)}")
    batch = Batch(_converted(data, "inputs", inputs), _converted(data, "targets", targets))
    _require_paired(data, batch)
    return UserExamples(batch, name)


def _by_name(data: str, content: Mapping[Any, Any]) -> tuple[str, Any, Any]:
    """The targets' name, the inputs and the targets of a dictionary."""
    found = [name for name in TARGETS if name in content]
    if not found:
        raise bad_data(data, f"it has no targets, only {_listed(content)}", "name the targets, or labels, so")
    named = [name for name in found if name != "y"] or found
    if len(named) > 1:
        raise bad_data(data, f"it has {' and '.join(named)}", "leave one of them out")
    inputs = {key: value for key, value in content.items() if key != named[0]}
    if not inputs:
        raise bad_data(data, "it has no inputs")
    return named[0], inputs["inputs"] if set(inputs) == {"inputs"} else inputs, content[named[0]]


def _listed(content: Mapping[Any, Any], longest: int = 6) -> str:
    """The names in a dictionary."""
    names = [str(name) for name in content]
    more = ["..."] if len(names) > longest else []
    return ", ".join(names[:longest] + more) or "nothing"


def _converted(data: str, what: str, value: Any) -> Any:
    """Tensors for whatever stands for one, in the structure that was given."""
    if isinstance(value, Mapping):
        return {key: _converted(data, f"{what} {key!r}", entry) for key, entry in value.items()}
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return _tensor(data, what, value)
    if isinstance(value, (tuple, list)):
        if numbers_in(value):
            return _tensor(data, what, _array(data, what, value))
        entries = [_converted(data, f"{what} {index}", entry) for index, entry in enumerate(value)]
        return tuple(entries) if isinstance(value, tuple) else entries
    if value is None or isinstance(value, (bool, int, float, np.generic)):
        return value
    remedy = "leave it out, or turn it into numbers"
    raise bad_data(data, f"its {what} {'are' if what == 'inputs' else 'hold'} {kind_of(value)}", remedy)


def numbers_in(values: Any) -> bool:
    """Whether a list holds numbers and nothing else, nested as it may be."""
    if isinstance(values, (tuple, list)):
        return bool(values) and all(numbers_in(value) for value in values)
    return isinstance(values, (bool, int, float, np.number))


def _array(data: str, what: str, values: Sequence[Any]) -> np.ndarray[Any, Any]:
    try:
        return np.array(values)
    except (ValueError, OverflowError) as error:
        remedy = "pad them to one length, with a mask"
        raise bad_data(data, f"its {what} are lists of different lengths", remedy) from error


def _tensor(data: str, what: str, value: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor:
    """A tensor of int64, bool, or finite numbers in floating point."""
    tensor = _from_array(data, what, value) if isinstance(value, np.ndarray) else value.detach()
    if tensor.is_meta or tensor.is_nested or tensor.is_quantized:
        raise bad_data(data, f"its {what} are a tensor without plain numbers", "pass an ordinary tensor")
    tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor
    if tensor.dtype == torch.uint8 and what.startswith("inputs") and tensor.ndim >= _PIXEL_DIMENSIONS:
        return tensor.float() / _LARGEST_PIXEL
    if tensor.is_floating_point() or tensor.is_complex():
        _require_numbers(data, what, tensor)
        return tensor
    return tensor if tensor.dtype == torch.bool else _long(data, what, tensor)


def _from_array(data: str, what: str, value: np.ndarray[Any, Any]) -> torch.Tensor:
    """A copy in one of torch's types, in the order of C."""
    if value.dtype == np.uint8:
        kind: Any = np.uint8
    elif value.dtype.kind in "iu":
        kind = np.uint64 if value.dtype.kind == "u" and value.itemsize == 8 else np.int64
    elif value.dtype.kind == "f":
        kind = np.float32 if value.itemsize <= 4 else np.float64
    elif value.dtype.kind == "c":
        kind = np.complex64 if value.itemsize <= 8 else np.complex128
    elif value.dtype.kind == "b":
        kind = np.bool_
    else:
        raise bad_data(data, f"its {what} are {kind_of(value)}", "leave it out, or turn it into numbers")
    return torch.from_numpy(np.array(value, dtype=kind, order="C"))


def _long(data: str, what: str, tensor: torch.Tensor) -> torch.Tensor:
    found = tensor.long()
    if tensor.dtype == torch.uint64 and (found < 0).any():
        raise bad_data(data, f"its {what} hold whole numbers beyond 2^63", "number them from 0")
    return found


def _require_numbers(data: str, what: str, tensor: torch.Tensor) -> None:
    """Refuse NaN and infinity; masks of several inputs may hold minus infinity, which is added to scores."""
    several = what.startswith("inputs ") and not tensor.is_complex()
    wrong = tensor.isnan() | (tensor == torch.inf) if several else ~torch.isfinite(tensor)
    if wrong.any():
        raise bad_data(data, f"its {what} hold NaN or infinity", "repair the data")


def _require_paired(data: str, batch: Batch) -> None:
    """Refuse inputs and targets of different numbers of examples, or of none."""
    for what, values in zip(("inputs", "targets"), batch, strict=True):
        found = list(tensors(values))
        if found and not any(tensor.ndim for tensor in found):
            raise bad_data(data, f"its {what} are one number")
        if not found:
            raise bad_data(data, f"its {what} are {kind_of(values)}")
    (inputs, targets), count = batch, batch.examples
    rows = [len(tensor) for tensor in tensors(inputs) if tensor.ndim]
    if not count or count not in rows:
        shown = rows[0] if isinstance(inputs, torch.Tensor) else " and ".join(map(str, rows))
        raise bad_data(data, f"{shown} inputs and {len(next(tensors(targets)))} targets")


def join_batches(data: str, found: Sequence[UserExamples]) -> UserExamples:
    """Examples of several batches as one batch.

    Raises
    ------
    InputError
        If the batches differ in structure, in the shape of an example, or in what belongs to all examples.
    """
    counts = [one.number for one in found]
    parts = [tuple(one.batch) for one in found]
    return found[0]._replace(batch=Batch(*_joined(data, parts, counts)))


def _joined(data: str, parts: Sequence[Any], counts: Sequence[int]) -> Any:
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, torch.Tensor):
        return _concatenated(data, parts, counts)
    if isinstance(first, Mapping):
        if any(not isinstance(part, Mapping) or set(part) != set(first) for part in parts):
            raise _uneven(data, "different entries")
        return {key: _joined(data, [part[key] for part in parts], counts) for key in first}
    if isinstance(first, (tuple, list)):
        if any(type(part) is not type(first) or len(part) != len(first) for part in parts):
            raise _uneven(data, "different structures")
        return type(first)(_joined(data, entries, counts) for entries in zip(*parts, strict=True))
    if any(part != first for part in parts):
        raise _uneven(data, f"different plain values, such as {first!r}")
    return first


def _concatenated(data: str, parts: Sequence[Any], counts: Sequence[int]) -> torch.Tensor:
    """One example a row after another; a tensor that belongs to all examples once."""
    first: torch.Tensor = parts[0]
    if not all(isinstance(part, torch.Tensor) and part.dtype == first.dtype for part in parts):
        raise _uneven(data, "tensors of different types")
    if all(part.ndim and len(part) == count for part, count in zip(parts, counts, strict=True)):
        shapes = sorted({tuple(part.shape[1:]) for part in parts})
        if len(shapes) > 1:
            raise _uneven(data, f"examples of shapes {shapes[0]} and {shapes[1]}")
        return torch.cat(list(parts))
    if not all(torch.equal(part, first) for part in parts):
        raise _uneven(data, "tensors of other lengths than the batch, which differ")
    return first


def _uneven(data: str, why: str) -> InputError:
    remedy = "pad the examples to one length, or take no more examples than the first batch has"
    return bad_data(data, f"its batches have {why}", remedy)
