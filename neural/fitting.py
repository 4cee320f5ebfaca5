"""Whether a model fits its data: tried once, and what does not fit is said in the terms of both."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import InputError, invalid
from .curvature import Batch
from .curvature.batch import describe_structure, tensors
from .curvature.failures import UserCodeError
from .data import TOKENS
from .user_batches import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .curvature import Objective
    from .loading import Drawn

_BYTES = 256


def fitted_batch(objective: Objective, drawn: Drawn, examples_at_once: int | None) -> Batch:
    """The batch in the form in which the model takes it: tried, and the model left as it was.

    Parameters
    ----------
    objective
        The model and its loss.
    drawn
        The examples, on the model's device. If they are a dictionary with one entry of inputs that the model
        does not take as such, it gets the tensor.
    examples_at_once
        Examples in memory at a time.

    Raises
    ------
    InputError
        If the model or the loss does not run on the examples. Tokens and positions that an embedding does not
        have are named with what it has.
    """
    batch = drawn.batch
    try:
        _try(objective, drawn, batch, examples_at_once)
    except UserCodeError as error:
        own = batch.inputs
        if not isinstance(own, dict) or _binds(objective.model, own):
            raise
        if len(own) == 1:
            alone = Batch(next(iter(own.values())), batch.targets)
            _try(objective, drawn, alone, examples_at_once)
            return alone
        takes = ", ".join(_arguments(objective.model))
        raise invalid(
            "model",
            f"without arguments called {', '.join(map(str, own))}",
            accepted=f"one whose forward takes the data's inputs by name; it takes {takes}",
            remedy="give both the same names",
        ) from error
    return batch


def _try(objective: Objective, drawn: Drawn, batch: Batch, examples_at_once: int | None) -> None:
    with _embeddings_watched(objective.model, drawn, batch):
        objective.loss(batch, examples_at_once)


def _binds(model: nn.Module, named: dict[Any, Any]) -> bool:
    try:
        inspect.signature(model.forward).bind(**named)
    except (TypeError, ValueError):
        return False
    return True


def _arguments(model: nn.Module) -> list[str]:
    """Names of what the model's forward takes; none where it has no signature."""
    try:
        return list(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        return []


def with_targets(model: nn.Module, drawn: Drawn) -> Batch:
    """The batch with its targets among the inputs, for a model that returns its own loss.

    Raises
    ------
    InputError
        If the model takes no targets, or shifts labels that are the next tokens already.
    """
    names, batch = _arguments(model), drawn.batch
    taken = [name for name in (drawn.targets_name, *TARGETS) if name in names]
    if not taken:
        raise invalid(
            "loss",
            "that of the model itself",
            accepted=f"a model whose forward takes targets or labels; it takes {', '.join(names)}",
            remedy="name a loss such as cross-entropy",
        )
    if taken[0] == "labels" and drawn.kind == TOKENS:
        raise invalid(
            "loss",
            "that of the model itself",
            accepted="cross-entropy for text: its targets are the next tokens, which labels are not",
            remedy="pass --loss cross-entropy",
        )
    own = batch.inputs
    if not isinstance(own, Mapping):
        own = dict(zip(names, own if isinstance(own, tuple) else (own,), strict=False))
    return Batch({**own, taken[0]: batch.targets}, batch.targets)


def require_next_tokens(model: nn.Module, batch: Batch) -> None:
    """Refuse labels equal to the tokens themselves for a language model that would shift them.

    Raises
    ------
    InputError
        With the remedy.
    """
    targets, kind = batch.targets, type(model).__name__
    shifts = kind.endswith(("CausalLM", "LMHeadModel"))
    if not shifts or not isinstance(targets, torch.Tensor) or targets.is_floating_point() or targets.ndim < 2:
        return
    for tokens in tensors(batch.inputs):
        if tokens.shape == targets.shape and bool(((tokens == targets) | (targets < 0)).all()):
            raise invalid(
                "labels",
                "the input tokens themselves",
                accepted=f"the next tokens, for cross-entropy; {kind} shifts labels in its own loss only",
                remedy="pass --loss model, or shift the labels by one token",
            )


@contextmanager
def _embeddings_watched(model: nn.Module, drawn: Drawn, batch: Batch) -> Iterator[None]:
    """Inside, numbers that an embedding does not have are refused by name, before the device would fail."""

    def watch(name: str, embedding: Any) -> Any:
        def look(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            numbers = given[0] if given else named.get("input")
            if isinstance(numbers, torch.Tensor) and numbers.numel() and not numbers.is_floating_point():
                low, high = (int(end) for end in torch.aminmax(numbers))
                if low < 0 or high >= embedding.num_embeddings:
                    raise _unknown_number(name, embedding, numbers, drawn, batch)

        return look

    handles = [
        module.register_forward_pre_hook(watch(name, module), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _unknown_number(
    name: str, embedding: Any, numbers: torch.Tensor, drawn: Drawn, batch: Batch
) -> InputError:
    """The error for a token or position outside an embedding."""
    known = int(embedding.num_embeddings)
    accepted = f"0 to {known - 1}: {name or 'the model'} has num_embeddings={known}"
    whole = next((values for values in tensors(batch.inputs) if _begins_with(values, numbers)), None)
    if whole is None and _are_consecutive(numbers):
        longest = numbers.shape[-1] - (int(numbers.max()) + 1 - known)
        shorter = "pass --sequence" if drawn.kind == TOKENS else "cut the sequences to"
        remedy = f"{shorter} {longest}, or give the model more positions"
        return invalid("position", int(numbers.max()), accepted=accepted, remedy=remedy)
    numbers = numbers if whole is None else whole
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0:
        return invalid("token", low, accepted=accepted, remedy="number tokens from 0, padding included")
    remedy = f"give the model at least {high + 1} tokens, or number the tokens from 0"
    if drawn.kind == TOKENS:
        size = max(high + 1, _BYTES) if drawn.name.endswith("bytes") else high + 1
        remedy = f"give the model vocab_size={size}, or pass --level word --vocabulary {known}"
    return invalid(f"largest token of {drawn.name}", high, accepted=accepted, remedy=remedy)


def _begins_with(values: torch.Tensor, numbers: torch.Tensor) -> bool:
    """Whether numbers are the first examples of some inputs."""
    same = values.ndim and values.shape[1:] == numbers.shape[1:] and len(numbers) <= len(values)
    return bool(same) and torch.equal(values[: len(numbers)], numbers.to(values.dtype))


def _are_consecutive(numbers: torch.Tensor) -> bool:
    """Whether numbers are positions: each one more than the one before."""
    return numbers.ndim > 0 and numbers.shape[-1] > 1 and bool((numbers.diff() == 1).all())


def as_placed(batch: Batch, device: torch.device, dtype: torch.dtype) -> Batch:
    """A batch on a device, its numbers in a floating-point type and its complex numbers in the like."""

    def placed(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.is_complex():
            return tensor.to(device, torch.complex128 if dtype == torch.float64 else torch.complex64)
        return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)

    return batch.mapped(placed)


def batch_structure(batch: Batch) -> dict[str, str]:
    """Structure, types and shapes of inputs and targets."""
    return {"inputs": describe_structure(batch.inputs), "targets": describe_structure(batch.targets)}
