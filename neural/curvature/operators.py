"""Products with the Hessian, its Gauss-Newton part, what is left of it, and the neural tangent kernel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from ...errors import invalid, require_known, require_whole
from .diagnosis import explain_failure, refuse_once_differentiable
from .metric import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .objective import Batch, Objective

    Pieces = Sequence[torch.Tensor]
    Products = Callable[[Pieces], Pieces]
    """A product, tensor by tensor, on one kept graph."""

_T = TypeVar("_T")

DIFFERENTIATION = ("reverse", "forward")
"""Reverse over reverse keeps the gradient's graph and is 1.6 to 2.3 times faster on the CPU
(`make bench-curvature`); forward over reverse keeps none, and needs forward derivatives."""


class SymmetricOperator(Protocol):
    """What the eigenvalue tracker and the stochastic estimates work on."""

    size: int
    """Length n of the vectors."""
    dtype: torch.dtype
    device: torch.device

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """A product, shape (n,) to (n,); the argument is neither changed nor kept."""
        ...


class CurvatureOperator(ABC):
    """Products with `P^1/2 A P^1/2`, `A` a second derivative of the loss in the parameters.

    Parameters
    ----------
    objective, batch
        The loss and the examples, whose mean it is of.
    metric
        `P^1/2`; None is the identity.
    examples_at_once
        Examples whose graph is held at a time. If fewer than the batch, graphs are built again for every
        product and the parts' products are averaged: equal results, with less memory and more time.
    differentiation
        One of `DIFFERENTIATION`.

    Attributes
    ----------
    size, dtype, device
        Of the vectors.
    matvecs
        Products taken.

    Raises
    ------
    InputError
        If the model has an operation without a second derivative, which is named, or batch norm in training
        mode is to see parts of a batch.
    """

    def __init__(
        self,
        objective: Objective,
        batch: Batch,
        metric: Metric | None = None,
        *,
        examples_at_once: int | None = None,
        differentiation: str = "reverse",
    ) -> None:
        require_known("differentiation", differentiation, DIFFERENTIATION)
        self.objective, self.batch = objective, batch
        self.metric = metric or Metric.identity(len(objective.parameters))
        self.differentiation = differentiation
        self.dtype, self.device = objective.dtype, objective.device
        self.matvecs = 0
        self._at_once = _parts(objective, batch, examples_at_once)
        self._kept: Products | None = None
        if self._at_once is None:
            self._kept = self._explained(lambda: self._graph(batch))
        self.size = self._size()

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """One product, shape (n,)."""
        self.matvecs += 1
        return self._explained(lambda: self._product(vector.detach()))

    def matrix(self) -> torch.Tensor:
        """The whole matrix, shape (n, n), one product a column: for small n."""
        identity = torch.eye(self.size, dtype=self.dtype, device=self.device)
        return torch.stack([self(column) for column in identity], dim=1)

    def _size(self) -> int:
        return self.objective.size

    def _explained(self, work: Callable[[], _T]) -> _T:
        """Work whose failure is explained by the module that causes it."""
        try:
            return work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise explain_failure(self.objective, self.batch, error) from error

    def _product(self, vector: torch.Tensor) -> torch.Tensor:
        scaled = self._scaled(vector)
        if self._kept is not None:
            return self._gathered(self._kept(scaled))
        total = torch.zeros_like(vector)
        for part in self.batch.parts(self._at_once):
            share = part.examples / self.batch.examples
            total += share * self._gathered(self._graph(part)(scaled))
        return total

    @abstractmethod
    def _graph(self, part: Batch) -> Products:
        """Products on the graph of one part of the batch."""

    def _scaled(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """`P^1/2 v` in the parameters' shapes."""
        values = list(self.objective.parameters.values())
        pieces = torch.split(vector, [value.numel() for value in values])
        return [
            piece.view_as(value).to(value.dtype)
            if _is_one(root)
            else (root * piece.view_as(value)).to(value.dtype)
            for root, piece, value in zip(self.metric.roots, pieces, values, strict=True)
        ]

    def _gathered(self, pieces: Pieces) -> torch.Tensor:
        """`P^1/2` applied to pieces, as one vector; frees each piece as it goes."""
        out = torch.empty(self.objective.size, dtype=self.dtype, device=self.device)
        remaining, begin = list(reversed(pieces)), 0
        for root in self.metric.roots:
            piece = remaining.pop()
            place = out[begin : begin + piece.numel()].view(piece.shape)
            place.copy_(piece)
            if not _is_one(root):
                place.mul_(root)
            begin += piece.numel()
        return out


def _is_one(root: float | torch.Tensor) -> bool:
    return isinstance(root, float) and root == 1.0


def _parts(objective: Objective, batch: Batch, examples_at_once: int | None) -> int | None:
    """Examples at once, None for the whole batch."""
    if not batch.examples or len(batch.inputs) != batch.examples:
        raise invalid(
            "batch",
            f"{len(batch.inputs)} inputs and {batch.examples} targets",
            accepted="equally many, at least one",
            remedy="pair every input with its target",
        )
    if examples_at_once is None:
        return None
    require_whole("examples at once", examples_at_once, least=1, example=128)
    if examples_at_once >= batch.examples:
        return None
    for name, module in objective.model.named_modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.training:
            raise invalid(
                "examples at once",
                examples_at_once,
                accepted=f"the whole batch while {name} normalises by its batch",
                remedy="call eval() on the model, or leave the batch whole",
            )
    return examples_at_once


def _reverse(scalar: torch.Tensor, leaves: Pieces) -> Products:
    """The derivative of a scalar's gradient along a direction, from its kept graph."""
    if not scalar.requires_grad:
        return lambda _: [torch.zeros_like(leaf) for leaf in leaves]
    gradients = torch.autograd.grad(scalar, leaves, create_graph=True, materialize_grads=True)
    refuse_once_differentiable(gradients)
    kept = [index for index, gradient in enumerate(gradients) if gradient.requires_grad]

    def product(direction: Pieces) -> Pieces:
        if not kept:
            return [torch.zeros_like(leaf) for leaf in leaves]
        return torch.autograd.grad(
            [gradients[index] for index in kept],
            leaves,
            [direction[index] for index in kept],
            retain_graph=True,
            materialize_grads=True,
        )

    return product


def _forward(
    scalar: Callable[[Mapping[str, torch.Tensor]], torch.Tensor], leaves: Mapping[str, torch.Tensor]
) -> Products:
    """The derivative of a scalar's gradient along a direction, by forward over reverse."""
    plain = {name: leaf.detach() for name, leaf in leaves.items()}

    def product(direction: Pieces) -> Pieces:
        tangents = dict(zip(plain, direction, strict=True))
        derivative = torch.func.jvp(torch.func.grad(scalar), (plain,), (tangents,))[1]
        return list(derivative.values())

    return product


class Hessian(CurvatureOperator):
    """The loss's second derivative `H`, in the learning-rate metric. Parameters: `CurvatureOperator`."""

    def _graph(self, part: Batch) -> Products:
        leaves = self.objective.leaves()
        loss = partial(_loss_at, self.objective, part)
        if self.differentiation == "forward":
            return _forward(loss, leaves)
        return _reverse(loss(leaves), list(leaves.values()))


class Residual(CurvatureOperator):
    """`R = H - G`: the model's own second derivatives, weighted by the loss's gradient in the outputs.

    It is the Hessian of `sum(dL/df . f)` with `dL/df` held fixed, so neither H nor G is formed.
    Parameters: `CurvatureOperator`.
    """

    def _graph(self, part: Batch) -> Products:
        leaves = self.objective.leaves()
        outputs = _tensor(self.objective.outputs(leaves, part))
        fixed = _output_gradient(self.objective, part, outputs).detach()
        if self.differentiation == "forward":
            return _forward(lambda at: (fixed * self.objective.outputs(at, part)).sum(), leaves)
        return _reverse((fixed * outputs).sum(), list(leaves.values()))


class GaussNewton(CurvatureOperator):
    """`G = J^T (d2L/df2) J`, positive semidefinite for a convex loss. Parameters: `CurvatureOperator`."""

    def _graph(self, part: Batch) -> Products:
        leaves = self.objective.leaves()
        outputs = _tensor(self.objective.outputs(leaves, part))
        jacobian = _Jacobian(outputs, list(leaves.values()))
        free = outputs.detach().requires_grad_()
        gradient = _output_gradient(self.objective, part, free)

        def product(direction: Pieces) -> Pieces:
            along = jacobian.forward(direction)
            if gradient.requires_grad:
                (along,) = torch.autograd.grad(
                    gradient, free, along, retain_graph=True, materialize_grads=True
                )
            else:
                along = torch.zeros_like(along)
            return jacobian.backward(along)

        return product


class TangentKernel(CurvatureOperator):
    """The empirical neural tangent kernel `J P J^T / examples`, on outputs: n is examples times outputs each.

    Its nonzero eigenvalues are those of the Gauss-Newton matrix under the `squared` loss. The criterion plays
    no part in it. The batch cannot be split: every example's outputs meet every other's.
    Parameters: `CurvatureOperator`.
    """

    def _graph(self, part: Batch) -> Products:
        if self._at_once is not None:
            raise invalid(
                "examples at once",
                self._at_once,
                accepted="the whole batch, for the neural tangent kernel",
                remedy="measure it on fewer examples",
            )
        leaves = self.objective.leaves()
        outputs = _tensor(self.objective.outputs(leaves, part))
        jacobian = _Jacobian(outputs, list(leaves.values()))
        self._outputs = outputs.detach()

        def product(direction: Pieces) -> Pieces:
            (cotangent,) = direction
            weights = self._gathered(jacobian.backward(cotangent.view_as(outputs)))
            return (jacobian.forward(self._scaled(weights)) / part.examples,)

        return product

    def gram(self, *, memory: int = 2**30) -> torch.Tensor:
        """The whole kernel, shape (n, n): from rows of the Jacobian while they fit, else by products.

        Parameters
        ----------
        memory
            Bytes that the Jacobian may take.
        """
        parameters = self.objective.size
        if self.size * parameters * self.dtype.itemsize > memory:
            return self.matrix()
        leaves = self.objective.leaves()
        outputs = _tensor(self.objective.outputs(leaves, self.batch)).reshape(-1)
        rows = torch.empty(self.size, parameters, dtype=self.dtype, device=self.device)
        for row, output in zip(rows, outputs, strict=True):
            pieces = torch.autograd.grad(
                output, list(leaves.values()), retain_graph=True, materialize_grads=True
            )
            row.copy_(self._gathered(pieces))
        return rows @ rows.T / self.batch.examples

    def _size(self) -> int:
        return self._outputs.numel()

    def _product(self, vector: torch.Tensor) -> torch.Tensor:
        if self._kept is None:
            raise RuntimeError  # the constructor refuses parts
        return self._kept((vector.to(self._outputs.dtype),))[0].reshape(-1).to(self.dtype)


class _Jacobian:
    """Products with the derivative of outputs in leaves, both ways, from one kept graph."""

    def __init__(self, outputs: torch.Tensor, leaves: Pieces) -> None:
        self.outputs, self.leaves = outputs, leaves
        # J v is the derivative in u of (J^T u) . v, which is linear in u: two reverse passes.
        self.cotangent = torch.zeros_like(outputs, requires_grad=True)
        self.pulled: Pieces = ()
        if outputs.requires_grad:
            self.pulled = torch.autograd.grad(
                outputs, leaves, self.cotangent, create_graph=True, materialize_grads=True
            )
            refuse_once_differentiable(self.pulled)

    def forward(self, direction: Pieces) -> torch.Tensor:
        """`J v`, in the outputs' shape."""
        kept = [index for index, pulled in enumerate(self.pulled) if pulled.requires_grad]
        if not kept:
            return torch.zeros_like(self.outputs)
        (along,) = torch.autograd.grad(
            [self.pulled[index] for index in kept],
            self.cotangent,
            [direction[index] for index in kept],
            retain_graph=True,
            materialize_grads=True,
        )
        return along.detach()

    def backward(self, cotangent: torch.Tensor) -> Pieces:
        """`J^T u`, in the leaves' shapes."""
        if not self.outputs.requires_grad:
            return [torch.zeros_like(leaf) for leaf in self.leaves]
        return torch.autograd.grad(
            self.outputs, self.leaves, cotangent, retain_graph=True, materialize_grads=True
        )


def _loss_at(objective: Objective, part: Batch, leaves: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return objective.loss_of(objective.outputs(leaves, part), part)


def _output_gradient(objective: Objective, part: Batch, outputs: torch.Tensor) -> torch.Tensor:
    """The loss's gradient in the outputs, with its graph."""
    free = outputs if outputs.is_leaf else outputs.detach().requires_grad_()
    loss = objective.loss_of(free, part)
    (gradient,) = torch.autograd.grad(loss, free, create_graph=True, materialize_grads=True)
    return gradient


def _tensor(outputs: object) -> torch.Tensor:
    if not isinstance(outputs, torch.Tensor):
        raise invalid(
            "model's output",
            type(outputs).__name__,
            accepted="one tensor, for the Gauss-Newton matrix and the tangent kernel",
            remedy="wrap the model so that it returns its logits",
        )
    return outputs
