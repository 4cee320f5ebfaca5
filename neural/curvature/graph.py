"""One pass of a model over a batch, and what is differentiated on it."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch

from ...errors import invalid
from .evaluation import How
from .failures import UserCodeError
from .outputs import ImpossibleQuantityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from .batch import Batch
    from .loss_function import LossFunction
    from .parameters import ParameterList

    Pieces = Sequence[torch.Tensor]
    Deposit = Callable[[int, torch.Tensor], None]
    """Takes what belongs to the parameter of an index, a tensor that it may change and keep."""
    Products = Callable[[Pieces, Deposit], None]
    """A product on one kept graph, from pieces in the parameters' shapes."""


_THROUGH = {True: 1e-3, False: 1e-6}
"""Part of a gradient that rounding may make, in single precision or not."""


def _beside_the_outputs(loss: str) -> ImpossibleQuantityError:
    return ImpossibleQuantityError(
        str(
            invalid(
                "loss",
                f"{loss}, a function of weights beside the outputs",
                accepted="a function of outputs and targets, for the Gauss-Newton matrix",
                remedy="pass weight_decay= for a penalty, and let the model return what the loss needs",
            )
        )
    )


class Graph:
    """A model's pass over a batch, whose derivatives are made when first asked for and then kept.

    Operators that share it share the pass. It stands for the parameters at the time it is made.

    Parameters
    ----------
    objective, batch
        The loss, and the examples it is averaged over.
    """

    def __init__(self, objective: LossFunction, batch: Batch) -> None:
        self.objective, self.batch = objective, batch
        self.leaves: dict[str, torch.Tensor] = objective.leaves()
        self.how = How()

    @property
    def leaf_list(self) -> list[torch.Tensor]:
        """The leaves in the model's order."""
        return list(self.leaves.values())

    @cached_property
    def _pass(self) -> tuple[Any, torch.Tensor]:
        outputs, loss = self.objective.evaluated(self.leaves, self.batch, self.how)
        require_whole_graph(self.objective.listed(), loss)
        return outputs, loss

    @property
    def outputs(self) -> torch.Tensor:
        """What the loss is of in what the model returns.

        Raises
        ------
        ImpossibleQuantityError
            If it is more than one tensor.
        """
        return self.objective.logits(self._pass[0])

    @property
    def loss(self) -> torch.Tensor:
        """The criterion, a scalar, without weight decay."""
        return self._pass[1]

    @cached_property
    def gradients(self) -> list[torch.Tensor]:
        """The loss's gradient with its graph, one tensor a parameter."""
        with self.derivatives():
            return gradients_of(self.loss, self.leaf_list)

    def derivatives(self) -> AbstractContextManager[None]:
        """Inside, derivatives on this graph are taken."""
        return self.objective.derivatives(self.leaves, self.how)

    @cached_property
    def loss_in_outputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Free outputs, detached from the model, and the loss's gradient in them with its graph."""
        free = self.outputs.detach().requires_grad_()
        try:
            # A criterion that changes its argument in place may not change a leaf.
            loss = self.objective.loss_of_logits(free.clone(), self.batch, self.leaves)
        except UserCodeError as error:
            raise _beside_the_outputs(self.objective.name) from error
        gradient = torch.zeros_like(free)
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss, free, create_graph=True, materialize_grads=True)
        if leaves_of(loss).keys() - {id(free)} or not self._comes_through(gradient.detach()):
            raise _beside_the_outputs(self.objective.name)
        return free, gradient

    def _comes_through(self, gradient: torch.Tensor) -> bool:
        """Whether the loss's whole gradient comes through the outputs."""
        if not self.outputs.requires_grad:
            return not any(piece.any() for piece in self.gradients)
        with self.derivatives():
            through = torch.autograd.grad(
                self.outputs, self.leaf_list, gradient, retain_graph=True, materialize_grads=True
            )
        distance, size = 0.0, 0.0
        for piece, whole in zip(through, self.gradients, strict=True):
            distance += float((piece - whole.detach()).double().square().sum())
            size += float(whole.detach().double().square().sum() + piece.double().square().sum())
        tolerance = _THROUGH[any(leaf.dtype == torch.float32 for leaf in self.leaf_list)]
        return not distance > tolerance**2 * size

    @cached_property
    def jacobian(self) -> Jacobian:
        """Jacobian of the outputs with respect to the parameters, by reverse passes."""
        return Jacobian(self.outputs, self.leaf_list)


class Jacobian:
    """Products with the derivative of outputs in leaves, both ways, from one kept graph."""

    def __init__(self, outputs: torch.Tensor, leaves: Pieces) -> None:
        self.outputs, self.leaves = outputs, leaves

    def along(self, direction: Pieces) -> torch.Tensor:
        """`J v`, in the outputs' shape: the derivative in u of `(J^T u) . v`, which is linear in u."""
        cotangent, pulled = self._pulled
        kept = [index for index, piece in enumerate(pulled) if piece.requires_grad]
        if not kept:
            return torch.zeros_like(self.outputs)
        (found,) = torch.autograd.grad(
            [pulled[index] for index in kept],
            cotangent,
            [direction[index] for index in kept],
            retain_graph=True,
            materialize_grads=True,
        )
        return found.detach()

    def back(self, cotangent: torch.Tensor, deposit: Deposit) -> None:
        """`J^T u`, in the leaves' shapes."""
        if self.outputs.requires_grad:
            deposit_gradients([self.outputs], [cotangent], self.leaves, deposit)

    @cached_property
    def _pulled(self) -> tuple[torch.Tensor, Pieces]:
        """A free cotangent u and `J^T u` with its graph."""
        cotangent = torch.zeros_like(self.outputs, requires_grad=True)
        if not self.outputs.requires_grad:
            return cotangent, ()
        pulled = torch.autograd.grad(
            self.outputs, self.leaves, cotangent, create_graph=True, materialize_grads=True
        )
        refuse_once_differentiable(pulled)
        return cotangent, pulled


def gradients_of(scalar: torch.Tensor, leaves: Pieces) -> list[torch.Tensor]:
    """A scalar's gradient with its graph; zeros if it does not depend on any leaf.

    Raises
    ------
    RuntimeError
        If it depends on a function marked as differentiable once.
    """
    if not scalar.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    gradients = torch.autograd.grad(scalar, leaves, create_graph=True, materialize_grads=True)
    refuse_once_differentiable(gradients)
    return list(gradients)


def reverse_product(gradients: Pieces, leaves: Pieces) -> Products:
    """The derivative of a gradient along a direction, from the gradient's kept graph."""
    kept = [index for index, gradient in enumerate(gradients) if gradient.requires_grad]

    def product(direction: Pieces, deposit: Deposit) -> None:
        if kept:
            along = [direction[index] for index in kept]
            deposit_gradients([gradients[index] for index in kept], along, leaves, deposit)

    return product


def deposit_gradients(tensors: Pieces, weights: Pieces, leaves: Pieces, deposit: Deposit) -> None:
    """Gradients of a weighted sum, each handed over, and freed, as soon as it is whole: never all at once.

    Leaves that the sum does not depend on get none. Its graph is kept.
    """

    def hand_over(leaf: torch.Tensor, *, index: int) -> None:
        gradient, leaf.grad = leaf.grad, None
        if gradient is not None:
            deposit(index, gradient)

    hooks = [
        leaf.register_post_accumulate_grad_hook(partial(hand_over, index=index))  # type: ignore[no-untyped-call]
        for index, leaf in enumerate(leaves)
    ]
    try:
        torch.autograd.backward(tensors, weights, retain_graph=True, inputs=leaves)
    finally:
        for hook in hooks:
            hook.remove()
        for leaf in leaves:
            leaf.grad = None


def forward_product(
    scalar: Callable[[Mapping[str, torch.Tensor]], torch.Tensor], leaves: Mapping[str, torch.Tensor]
) -> Products:
    """The derivative of a scalar's gradient along a direction, by forward over reverse; no graph is kept."""
    derivative = forward_derivative(torch.func.grad(scalar), leaves, lambda found: list(found.values()))

    def product(direction: Pieces, deposit: Deposit) -> None:
        for index, piece in enumerate(derivative(direction)):
            deposit(index, piece)

    return product


def forward_derivative(
    function: Callable[[Mapping[str, torch.Tensor]], Any],
    leaves: Mapping[str, torch.Tensor],
    gather: Callable[[Any], Any] = lambda found: found,
) -> Callable[[Pieces], Any]:
    """The derivative of a function of the leaves along a direction, by forward differentiation."""
    plain = {name: leaf.detach() for name, leaf in leaves.items()}

    def product(direction: Pieces) -> Any:
        tangents = dict(zip(plain, direction, strict=True))
        return gather(torch.func.jvp(function, (plain,), (tangents,))[1])

    return product


def nodes(*roots: torch.Tensor) -> Iterator[Any]:
    """Every node of a graph once."""
    seen, ahead = set(), [root.grad_fn for root in roots]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        ahead.extend(following for following, _ in node.next_functions)


def leaves_of(root: torch.Tensor) -> dict[int, torch.Tensor]:
    """The leaves that a graph ends at, by their ids."""
    found = (getattr(node, "variable", None) for node in nodes(root))
    return {id(leaf): leaf for leaf in found if leaf is not None}


def require_whole_graph(listed: ParameterList, loss: torch.Tensor) -> None:
    """Refuse a loss whose graph is cut off, or ends at parameters and not at what takes their place.

    Raises
    ------
    InputError
        Naming the parameter or the operation.
    """
    names = {id(value): name for name, value in listed.trained.items()}
    for node in nodes(loss):
        if node.name().startswith("CompiledFunction"):
            raise invalid(
                "model or loss",
                "compiled by torch.compile in one of its parts",
                accepted="code that is differentiable twice",
                remedy="pass the functions as they were before torch.compile",
            )
        name = names.get(id(getattr(node, "variable", None)))
        if name is not None:
            raise invalid(
                f"parameter {name}",
                "reached around the module, through a stored view or an autograd.Function",
                accepted="parameters used as attributes of their module, or by operations of torch",
                remedy="make views in forward, and hand autograd.Function the attribute itself",
            )


def refuse_once_differentiable(gradients: Iterable[torch.Tensor]) -> None:
    """Raise RuntimeError if gradients depend on a function marked as differentiable once.

    Asked for derivatives in some leaves only, autograd leaves such a function's error out, and the product
    would be wrong without a word.
    """
    for node in nodes(*gradients):
        if node.name().endswith(("autograd::Error", "DelayedError")):
            raise RuntimeError("its backward pass is marked @once_differentiable")
