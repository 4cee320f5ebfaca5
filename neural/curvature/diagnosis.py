"""Which module of a model has no second derivative."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...errors import InputError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .objective import Batch, Objective

    Call = tuple[str, torch.nn.Module, tuple[Any, ...], dict[str, Any]]


def require_differentiable_twice(model: torch.nn.Module) -> None:
    """Refuse a compiled model, whose backward pass has no derivative.

    Raises
    ------
    InputError
        Naming the module.
    """
    for name, module in model.named_modules():
        if hasattr(module, "_orig_mod"):
            raise invalid(
                "model",
                f"compiled by torch.compile at {name or 'its root'}",
                accepted="a module that is differentiable twice",
                remedy="pass the module as it was before torch.compile (its _orig_mod)",
            )


def refuse_once_differentiable(gradients: Iterable[torch.Tensor]) -> None:
    """Raise RuntimeError if gradients depend on a function marked as differentiable once.

    Asked for derivatives in some leaves only, autograd leaves such a function's error out, and the product
    would be wrong without a word.
    """
    seen, ahead = set(), [gradient.grad_fn for gradient in gradients]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name().endswith(("autograd::Error", "DelayedError")):
            raise RuntimeError("its backward pass is marked @once_differentiable")
        ahead.extend(following for following, _ in node.next_functions)


def explain_failure(objective: Objective, batch: Batch, error: Exception) -> InputError:
    """What made a product fail, as an error that names the innermost module without a second derivative.

    Each module is run again by itself on the inputs it had, on copies of its parameters and buffers, inner
    ones first; the model is left as it was. If all of them are differentiable twice, nothing is blamed and
    the error's own words are passed on.

    Parameters
    ----------
    objective, batch
        What the product was of.
    error
        What it raised.

    Returns
    -------
    InputError
        Naming the module by qualified name and class, and the operation where PyTorch names it.
    """
    calls = _calls(objective, batch)
    for name, module, arguments, named in calls:
        failure = _failure(objective, module, arguments, named)
        if failure is not None:
            return _accused(name or "its root", type(module).__name__, failure)
    if _IN_PLACE in str(error):
        return invalid(
            "operator",
            "built before the parameters changed",
            accepted="one of the present parameters",
            remedy="build the operator again after each optimizer step",
        )
    runs = (
        "every module is differentiable twice by itself" if calls else "the model does not run on this batch"
    )
    return invalid(
        "product with the second derivative",
        f"impossible, and {runs}",
        accepted="a model and a loss that run on this batch",
        remedy=f"run both on it by themselves; the error was {_words(error)}",
    )


_IN_PLACE = "modified by an inplace operation"

_OPERATION = re.compile(r"derivative for (\S+) is not implemented")


def _accused(place: str, kind: str, failure: str) -> InputError:
    """The error that names a module; the operation is in the remedy, which is shown whole."""
    found = _OPERATION.search(failure)
    operation = found[1] if found else ""
    if _IN_PLACE in failure:
        why, remedy = "it changes a tensor in place that its derivative needs", f"let {kind} make a new one"
    else:
        why = "" if operation else failure
        remedy = f"replace {operation or 'that operation'} in {kind} by one with a second derivative"
    return invalid(
        "model",
        f"not differentiable twice in {place} ({kind})" + (f": {why}" if why else ""),
        accepted="operations with a second derivative",
        remedy=remedy,
    )


def _words(error: Exception) -> str:
    """An error's class and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _calls(objective: Objective, batch: Batch) -> list[Call]:
    """Every module's first call, inner modules before outer ones: the order in which they return."""
    names = {id(module): name for name, module in objective.model.named_modules()}
    calls: list[Call] = []

    def note(
        module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], _output: object
    ) -> None:
        if id(module) in names:
            calls.append((names.pop(id(module)), module, arguments, named))

    handles = [module.register_forward_hook(note, with_kwargs=True) for module in objective.model.modules()]
    try:
        objective.outputs(objective.leaves(), batch)
    except RuntimeError:
        return []
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _failure(
    objective: Objective, module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> str | None:
    """What a double backward pass through one module says, None if nothing."""
    parameters = dict(module.named_parameters())
    leaves = {name: _leaf(value) for name, value in parameters.items() if value.requires_grad}
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    inputs, options = _mapped((arguments, named), _leaf)
    free = [*leaves.values(), *(item for item in _tensors((inputs, options)) if item.requires_grad)]
    if not free:
        return None
    try:
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), objective.own_randomness():
            # Copies, because an in-place operation may not change a leaf.
            inputs, options = _mapped((inputs, options), torch.Tensor.clone)
            outputs = functional_call(module, {**leaves, **buffers}, inputs, options)
            _differentiate_twice(outputs, free)
    except RuntimeError as error:
        return _words(error).partition(": ")[2] or type(error).__name__
    return None


def _differentiate_twice(outputs: Any, free: list[torch.Tensor]) -> None:
    total = sum((tensor.square().sum() for tensor in _tensors(outputs)), torch.zeros(()))
    if not total.requires_grad:
        return
    gradients = torch.autograd.grad(total, free, create_graph=True, materialize_grads=True)
    refuse_once_differentiable(gradients)
    again = [gradient.square().sum() for gradient in gradients if gradient.requires_grad]
    if again:
        torch.autograd.grad(torch.stack(again).sum(), free, allow_unused=True)


def _leaf(value: torch.Tensor) -> torch.Tensor:
    """A copy that stands at the beginning of a graph if the value depends on what is trained."""
    return value.detach().clone().requires_grad_(value.requires_grad)


def _mapped(values: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A function of every tensor in arguments, which may be nested; anything else as it is."""
    if isinstance(values, torch.Tensor):
        return function(values)
    if isinstance(values, dict):
        return {key: _mapped(value, function) for key, value in values.items()}
    if type(values) in {tuple, list}:
        return type(values)(_mapped(value, function) for value in values)
    return values


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    """The real tensors in what a module takes or returns."""
    if isinstance(values, torch.Tensor):
        if values.is_floating_point():
            yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from _tensors(value)
