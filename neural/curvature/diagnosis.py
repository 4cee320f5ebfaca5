"""Which module of a model has no second derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call

from ...errors import InputError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
    ones first. If all of them are differentiable twice, the error's own words are passed on.
    """
    if "modified by an inplace operation" in str(error):
        return invalid(
            "operator",
            "built before the parameters changed",
            accepted="one of the present parameters",
            remedy="build the operator again after each optimizer step",
        )
    for name, module, arguments, named in _calls(objective, batch):
        failure = _failure(objective, module, arguments, named)
        if failure is not None:
            return invalid(
                "model",
                f"not differentiable twice in {name or 'its root'} ({type(module).__name__}): {failure}",
                accepted="operations with a second derivative",
                remedy=f"replace that operation in {type(module).__name__}",
            )
    return invalid(
        "product with the second derivative",
        f"impossible: {error}",
        accepted="a model whose forward pass and loss run on this batch",
        remedy="run the model on the batch by itself",
    )


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
    except (RuntimeError, NotImplementedError):
        return []
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _failure(
    objective: Objective, module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> str | None:
    """What a double backward pass through one module says, None if nothing."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in module.named_parameters()}
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    inputs = tuple(_leaf(argument) for argument in arguments)
    free = [*leaves.values(), *(item for item in inputs if _is_leaf(item))]
    if not free:
        return None
    try:
        with torch.enable_grad(), objective.own_randomness():
            outputs = functional_call(module, {**leaves, **buffers}, inputs, named)
            total = sum((tensor.square().sum() for tensor in _tensors(outputs)), torch.zeros(()))
            if not total.requires_grad:
                return None
            gradients = torch.autograd.grad(total, free, create_graph=True, materialize_grads=True)
            refuse_once_differentiable(gradients)
            again = [gradient.square().sum() for gradient in gradients if gradient.requires_grad]
            if again:
                torch.autograd.grad(torch.stack(again).sum(), free, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None


def _leaf(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor) and argument.is_floating_point():
        return argument.detach().clone().requires_grad_()
    return argument


def _is_leaf(argument: Any) -> bool:
    return isinstance(argument, torch.Tensor) and argument.requires_grad


def _tensors(outputs: Any) -> Iterator[torch.Tensor]:
    """The real tensors in what a module returns."""
    if isinstance(outputs, torch.Tensor):
        if outputs.is_floating_point():
            yield outputs
    elif isinstance(outputs, dict):
        for value in outputs.values():
            yield from _tensors(value)
    elif isinstance(outputs, (tuple, list)):
        for value in outputs:
            yield from _tensors(value)
