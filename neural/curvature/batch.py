"""Examples to measure on: tensors, or tuples and dictionaries of them, as models take them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ...errors import invalid
from ...records import array_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...theory import Array


class Batch(NamedTuple):
    """Examples on which curvature is measured.

    Inputs and targets are tensors, or tuples, lists and dictionaries of tensors and plain values. A tensor
    whose first dimension is the number of examples has one example a row; others, such as a mask over
    positions, belong to all examples.

    Examples
    --------
    >>> import torch
    >>> batch = Batch({"input_ids": torch.zeros(6, 4, dtype=torch.long)}, torch.zeros(6, dtype=torch.long))
    >>> batch.examples, [part.examples for part in batch.parts(4)]
    (6, [4, 2])
    """

    inputs: Any
    targets: Any

    @property
    def examples(self) -> int:
        """Number of examples: rows of the targets' first tensor, or of the inputs' where there is none."""
        for values in (self.targets, self.inputs):
            for tensor in tensors(values):
                if tensor.ndim:
                    return len(tensor)
        return 0

    @property
    def hash(self) -> str:
        """SHA-256 of the examples."""
        if isinstance(self.inputs, torch.Tensor) and isinstance(self.targets, torch.Tensor):
            return array_hash(_array(self.inputs), _array(self.targets))
        arrays = array_hash(*(_array(tensor) for tensor in tensors(tuple(self))))
        structure = repr(mapped(tuple(self), lambda tensor: tuple(tensor.shape)))
        return hashlib.sha256(f"{structure}{arrays}".encode()).hexdigest()

    @property
    def signature(self) -> str:
        """Structure, types and shapes of one example."""

        def kind(tensor: torch.Tensor) -> str:
            return f"{tensor.dtype}{tuple(tensor.shape[1:])}{tensor.device}"

        return repr(mapped(tuple(self), kind))

    def parts(self, size: int | None) -> Iterator[Batch]:
        """Consecutive parts of at most `size` examples; the whole if None."""
        size = size or self.examples
        for begin in range(0, self.examples, size):
            yield self.rows(begin, begin + size)

    def rows(self, begin: int, end: int) -> Batch:
        """The examples from `begin` up to `end`."""
        count = self.examples

        def cut(tensor: torch.Tensor) -> torch.Tensor:
            return tensor[begin:end] if tensor.ndim and len(tensor) == count else tensor

        return Batch(mapped(self.inputs, cut), mapped(self.targets, cut))

    def spread(self, count: int) -> Batch:
        """So many examples at equal distances, the first among them."""
        examples = self.examples
        places = torch.arange(count, device="cpu") * examples // max(count, 1)

        def taken(tensor: torch.Tensor) -> torch.Tensor:
            whole = not tensor.ndim or len(tensor) != examples or count == examples
            return tensor if whole else tensor[places.to(tensor.device)]

        return Batch(mapped(self.inputs, taken), mapped(self.targets, taken))

    def mapped(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """A function of every tensor."""
        return Batch(mapped(self.inputs, function), mapped(self.targets, function))

    def require_paired(self) -> None:
        """Raise unless inputs and targets hold tensors, dense and with equally many examples.

        Raises
        ------
        InputError
            Naming both numbers.
        """
        for tensor in (*tensors(self.inputs), *tensors(self.targets)):
            if tensor.layout != torch.strided or tensor.is_nested:
                remedy = "make it dense with to_dense(), or pad it and pass a mask"
                raise invalid(
                    "batch",
                    f"{describe_structure(tensor)}, not dense",
                    accepted="dense tensors",
                    remedy=remedy,
                )
        own = self.inputs
        if not any(True for _ in tensors(own)) and not any(True for _ in tensors(self.targets)):
            given = f"of {type(own).__name__} and {type(self.targets).__name__}"
            raise invalid("batch", given, accepted="tensors", remedy="convert arrays with torch.as_tensor")
        counted = len(own) if isinstance(own, torch.Tensor) and own.ndim else self.examples
        nested = not isinstance(own, torch.Tensor)
        alone = nested and not any(len(x) == self.examples for x in tensors(own) if x.ndim)
        if not self.examples or counted != self.examples or (alone and any(True for _ in tensors(own))):
            raise invalid(
                "batch",
                f"{describe_structure(self.inputs)} as inputs "
                f"and {describe_structure(self.targets)} as targets",
                accepted="equally many examples, at least one",
                remedy="pair every input with its target",
            )


def mapped(values: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    """A function of every tensor in nested tuples, lists and mappings; anything else as it is.

    Mappings become dictionaries.
    """
    if isinstance(values, torch.Tensor):
        return function(values)
    if isinstance(values, Mapping):
        return {key: mapped(value, function) for key, value in values.items()}
    if isinstance(values, tuple) and hasattr(values, "_fields"):
        return type(values)(*(mapped(value, function) for value in values))
    if isinstance(values, (tuple, list)):
        return type(values)(mapped(value, function) for value in values)
    return values


def tensors(values: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested tuples, lists and mappings, in their order."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from tensors(value)
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from tensors(value)


def own_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that user code may change, in the same memory layout."""
    copied = tensor.detach().clone()
    return copied.requires_grad_() if tensor.requires_grad and tensor.is_leaf else copied


def describe_structure(values: Any) -> str:
    """Structure, types and shapes in a few words, such as `float32 (8, 3)`."""
    if isinstance(values, torch.Tensor):
        return f"{str(values.dtype).removeprefix('torch.')} {tuple(values.shape)}"
    if isinstance(values, Mapping):
        return "{" + ", ".join(f"{key}: {describe_structure(value)}" for key, value in values.items()) + "}"
    if isinstance(values, (tuple, list)):
        return "(" + ", ".join(describe_structure(value) for value in values) + ")"
    return type(values).__name__


def _array(tensor: torch.Tensor) -> Array:
    """A tensor's values as NumPy has them; types that NumPy lacks as their bits."""
    plain = tensor.detach().cpu()
    try:
        return plain.numpy()
    except TypeError:
        return np.ascontiguousarray(plain.contiguous().view(torch.uint8).numpy())
