"""Which module of a model has no second derivative, a wrong one, or one that is not finite."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.func import functional_call

from ...errors import InputError, invalid
from ..messages import error_text
from .batch import mapped, tensors
from .derivatives import DOUBLE, SINGLE, UNRESOLVED, Defect, defect, drawn_like, scale_of
from .evaluation import How, Substitution, operations
from .graph import refuse_once_differentiable
from .isolation import own_randomness, unchanged
from .parameters import as_parameter, coordinates_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .batch import Batch
    from .loss_function import LossFunction

    Call = tuple[str, torch.nn.Module, tuple[Any, ...], dict[str, Any]]


def explain_failure(objective: LossFunction, batch: Batch, error: BaseException) -> InputError:
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
    for call in calls:
        failure = _failure(_Alone(call))
        if failure is not None:
            return _accused(call.name or "its root", type(call.module).__name__, failure)
    failure = _criterion_failure(objective, batch)
    if failure is not None:
        return _accused("", f"loss {objective.name}", failure)
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
        remedy=f"run both on it by themselves; the error was {error_text(error, first_line=True)}",
    )


_IN_PLACE = "modified by an inplace operation"

_OPERATION = re.compile(r"derivative for (\S+) is not implemented")


def _accused(place: str, kind: str, failure: str) -> InputError:
    """The error that names a module; the operation is in the remedy, which is shown whole."""
    found = _OPERATION.search(failure)
    operation = found[1] if found else ""
    where = f"{place} ({kind})" if place else kind
    if _IN_PLACE in failure:
        why, remedy = "it changes a tensor in place that its derivative needs", f"let {kind} make a new one"
    else:
        why = "" if operation else failure
        remedy = f"replace {operation or 'that operation'} in {kind} by one with a second derivative"
    return invalid(
        "model",
        f"not differentiable twice in {where}" + (f": {why}" if why else ""),
        accepted="operations with a second derivative",
        remedy=remedy,
    )


class _Call(NamedTuple):
    """A module's first call in a pass of the model."""

    name: str
    module: torch.nn.Module
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    @property
    def words(self) -> str:
        """The module's name and class."""
        return f"{self.name or 'its root'} ({type(self.module).__name__})"


def _calls(objective: LossFunction, batch: Batch) -> list[_Call]:
    """Every module's first call, inner modules before outer ones: the order in which they return."""
    names = {id(module): name for name, module in objective.model.named_modules()}
    calls: list[_Call] = []

    def note(
        module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], _output: object
    ) -> None:
        if id(module) in names:
            calls.append(_Call(names.pop(id(module)), module, arguments, named))

    handles = [module.register_forward_hook(note, with_kwargs=True) for module in objective.model.modules()]
    try:
        objective.outputs(objective.leaves(), batch)
    except InputError:
        return []
    finally:
        for handle in handles:
            handle.remove()
    return calls


class _Alone:
    """A module's call by itself: the sum of its squared outputs as a function of its weights and inputs.

    Parameters
    ----------
    call
        A module's call. The function works on copies, so the module is left as it was.
    double
        Whether in double precision.
    """

    def __init__(self, call: _Call, *, double: bool = False) -> None:
        self.call, self.double, self.kinked = call, double, False
        self.weights = {name: value for name, value in call.module.named_parameters() if value.requires_grad}
        given = [item for item in _real((call.arguments, call.named)) if item.requires_grad]
        self.places = {id(item): index for index, item in enumerate(given, len(self.weights))}
        self.point = [self._copied(coordinates_of(value)) for value in (*self.weights.values(), *given)]

    def _copied(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(torch.float64 if self.double else value.dtype, copy=True)

    def __call__(self, leaves: list[torch.Tensor]) -> torch.Tensor:
        """The function of leaves like `point`."""

        def replaced(tensor: torch.Tensor) -> torch.Tensor:
            place = self.places.get(id(tensor))
            # Clones, because an in-place operation may not change a leaf.
            return tensor.detach().clone() if place is None else as_parameter(leaves[place].clone(), tensor)

        module, how = self.call.module, How(double=self.double)
        own = zip(self.weights.items(), leaves, strict=False)
        weights = {name: as_parameter(leaf, value) for (name, value), leaf in own}
        originals = {id(weights[name]): value for name, value in self.weights.items()}
        buffers = {name: value.clone() for name, value in module.named_buffers()}
        arguments, named = mapped((self.call.arguments, self.call.named), replaced)
        with (
            operations(),
            own_randomness(0),
            unchanged(module.modules()),
            Substitution({}, originals, how),
        ):
            outputs = functional_call(module, {**weights, **buffers}, arguments, named)
        self.kinked = self.kinked or how.kinked
        squares = [_pairs(item).square().sum() for item in _real(outputs)]
        return torch.stack(squares).sum() if squares else torch.zeros((), device="cpu")


def _pairs(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _real(values: Any) -> Iterator[torch.Tensor]:
    """The tensors of real or complex numbers among values."""
    return (tensor for tensor in tensors(values) if tensor.is_floating_point() or tensor.is_complex())


def _failure(alone: _Alone) -> str | None:
    """What a double backward pass through one module says, None if nothing."""
    if not alone.point:
        return None
    leaves = [value.clone().requires_grad_() for value in alone.point]
    try:
        _second_derivative(alone(leaves), leaves)
    except (Exception, SystemExit) as error:  # user code can fail in any way
        return error_text(error, first_line=True).partition(": ")[2] or type(error).__name__
    return None


def _second_derivative(scalar: torch.Tensor, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    """The gradient of the squared norm of a gradient."""
    nothing = [torch.zeros_like(leaf) for leaf in leaves]
    if not scalar.requires_grad:
        return nothing
    with operations():
        gradients = torch.autograd.grad(scalar, leaves, create_graph=True, materialize_grads=True)
        refuse_once_differentiable(gradients)
        again = [gradient.square().sum() for gradient in gradients if gradient.requires_grad]
        if not again:
            return nothing
        found = torch.autograd.grad(torch.stack(again).sum(), leaves, materialize_grads=True)
    return list(found)


def _criterion_failure(objective: LossFunction, batch: Batch) -> str | None:
    """What a double backward pass through the criterion alone says, None if nothing."""
    leaves: list[torch.Tensor] = []

    def freed(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor
        leaves.append(tensor.detach().requires_grad_())
        return leaves[-1].clone()

    try:
        free = mapped(objective.outputs(objective.leaves(), batch), freed)
        _second_derivative(objective.loss_of(free, batch), leaves)
    except InputError:
        return None
    except (Exception, SystemExit) as error:  # user code can fail in any way
        return error_text(error, first_line=True).partition(": ")[2] or type(error).__name__
    return None


def module_with_wrong_derivative(objective: LossFunction, batch: Batch) -> str:
    """The innermost module whose derivatives are not those of its values; empty if there is none."""
    for call in _calls(objective, batch):
        for double in (True, False):
            alone = _Alone(call, double=double)
            if not alone.point:
                break
            generator = torch.Generator(device="cpu").manual_seed(0)
            point = [value + 0.05 * scale_of(value) * drawn_like(value, generator) for value in alone.point]
            try:
                found = _defect(alone, point, generator)
            except (Exception, SystemExit):  # noqa: S112 - a module that does not run by itself is not the one looked for
                continue
            if found is not None and found is not UNRESOLVED:
                return call.words
            break
    return ""


def _defect(alone: _Alone, point: list[torch.Tensor], generator: torch.Generator) -> Defect | None:
    precision = DOUBLE if alone.double else SINGLE
    return defect(alone, point, precision, generator, jumps=lambda: alone.kinked)


def non_finite_derivative(objective: LossFunction, batch: Batch) -> str:
    """The innermost module with a second derivative that is not finite, in words; empty if there is none."""
    for call in _calls(objective, batch):
        alone = _Alone(call)
        leaves = [value.clone().requires_grad_() for value in alone.point]
        try:
            found = _second_derivative(alone(leaves), leaves)
        except (Exception, SystemExit):  # noqa: S112 - a module that does not run by itself is not the one looked for
            continue
        if not all(torch.isfinite(piece).all() for piece in found):
            return call.words
    return ""
