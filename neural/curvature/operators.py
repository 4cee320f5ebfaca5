"""Products with the Hessian, its Gauss-Newton part, what is left of it, and the neural tangent kernel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch

from ...errors import InputError, invalid, require_known, require_whole
from .diagnosis import explain_failure
from .evaluation import How, operations, own_context
from .gathering import Gathering, is_one
from .graph import Graph, forward_derivative, forward_product, gradients_of, reverse_product
from .metric import Metric
from .scipy_operator import linear_operator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from scipy.sparse.linalg import LinearOperator

    from .batch import Batch
    from .graph import Deposit, Pieces, Products
    from .objective import Objective

_T = TypeVar("_T")

DIFFERENTIATION = ("reverse", "forward")
"""Reverse over reverse keeps the gradient's graph and is the faster on the CPU (`make bench-curvature`);
forward over reverse keeps none, and needs forward derivatives."""


class CurvatureOperator(ABC):
    """Products with `P^1/2 A P^1/2`, `A` a second derivative of the loss in the parameters.

    Parameters
    ----------
    objective, batch
        The loss, and the examples it is averaged over.
    metric
        `P^1/2`; None is the identity.
    examples_at_once
        Examples whose graph is held at a time. If fewer than the batch, graphs are built again for every
        product and the parts' products are added up, which takes less memory and more time. That the parts
        add up is checked once.
    differentiation
        One of `DIFFERENTIATION`.
    graph
        Graph of the whole batch that another operator has made already; it is then shared.

    Attributes
    ----------
    size, dtype, device
        Length, type and device of the vectors.
    matvecs
        Products taken.

    Raises
    ------
    InputError
        As in `Objective.ready`; if the model has an operation without a second derivative, which is named; if
        parts of the batch do not add up to the whole; or if parameters were replaced, frozen or unfrozen
        after the operator was made.

    Examples
    --------
    >>> import torch
    >>> from superconsistency.neural import Batch, Hessian, Objective
    >>> _ = torch.manual_seed(0)
    >>> batch = Batch(torch.randn(4, 3), torch.tensor([0, 1, 1, 0]))
    >>> hessian = Hessian(Objective(torch.nn.Linear(3, 2)), batch)
    >>> hessian(torch.ones(hessian.size)).shape
    torch.Size([8])
    """

    _decays = False
    """Whether weight decay is part of the matrix."""

    @own_context()
    def __init__(
        self,
        objective: Objective,
        batch: Batch,
        metric: Metric | None = None,
        *,
        examples_at_once: int | None = None,
        differentiation: str = "reverse",
        graph: Graph | None = None,
    ) -> None:
        require_known("differentiation", differentiation, DIFFERENTIATION)
        objective.ready(batch, differentiation)
        self.objective, self.batch = objective, batch
        self.listed = objective.listed()
        self.values = list(self.listed.coordinates().values())
        """The parameters' real coordinates."""
        self.metric = metric or Metric.identity(len(self.values))
        self.metric.require_fitting(self.listed.coordinates())
        self.differentiation = differentiation
        self.dtype, self.device = self.listed.dtype, self.listed.device
        self.matvecs = 0
        self._at_once = _parts(batch, examples_at_once)
        self._kept: Products | None = None
        self._parts: list[tuple[Batch, float]] = []
        if self._at_once is None:
            self._kept = self._explained(lambda: self._inside(graph or Graph(objective, batch)))
        else:
            self._parts = objective.parts(batch, self._at_once)
        self.size = self._size()

    @own_context()
    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        """One product, shape (n,).

        Raises
        ------
        InputError
            If the vector has another shape, or parameters are not those that the operator was made of.
        """
        if not isinstance(vector, torch.Tensor) or vector.is_complex():
            kind = "complex" if isinstance(vector, torch.Tensor) else type(vector).__name__
            raise invalid("vector", kind, accepted="a tensor of real numbers", remedy="pass torch.ones(size)")
        if vector.shape != (self.size,):
            shape = tuple(vector.shape)
            raise invalid(
                "vector", f"of shape {shape}", accepted=f"shape ({self.size},)", remedy="flatten it"
            )
        if self.listed.is_stale:
            raise invalid(
                "operator",
                "built before the parameters changed, or were replaced, frozen or unfrozen",
                accepted="one of the present parameters",
                remedy="build the operator again after each optimizer step",
            )
        self.matvecs += 1
        return self._explained(lambda: self._product(vector.detach()))

    @own_context()
    def matrix(self) -> torch.Tensor:
        """The whole matrix, shape (n, n), one product a column: for small n."""
        identity = torch.eye(self.size, dtype=self.dtype, device=self.device)
        return torch.stack([self(column) for column in identity], dim=1)

    def linear_operator(self) -> LinearOperator:
        """The operator for SciPy's sparse linear algebra."""
        return linear_operator(self)

    def _size(self) -> int:
        return sum(value.numel() for value in self.values)

    def _explained(self, work: Callable[[], _T]) -> _T:
        """Work whose failure is explained by the module that causes it."""
        try:
            return work()
        except torch.OutOfMemoryError:
            raise
        except (InputError, MemoryError):
            raise
        except Exception as error:  # a backward pass of the user's own can fail in any way
            raise explain_failure(self.objective, self.batch, error) from error

    def _product(self, vector: torch.Tensor) -> torch.Tensor:
        scaled, total = self._scaled(vector), self._gathering()
        if self._kept is not None:
            self._kept(scaled, total.add)
        else:
            for part, share in self._parts:
                self._inside(Graph(self.objective, part))(scaled, partial(total.add, share=share))
        if self._decays and self.objective.decay:
            for index, name in enumerate(self.listed.trained):
                decay = self.objective.decay.of(name)
                if decay:
                    total.add(index, decay * scaled[index])
        return total.vector()

    def _inside(self, graph: Graph) -> Products:
        """Products on a graph, taken as its derivatives have to be."""

        def context() -> AbstractContextManager[None]:
            return graph.derivatives() if self.differentiation == "reverse" else operations(lean=False)

        with context():
            products = self._products(graph)

        def product(direction: Pieces, deposit: Deposit) -> None:
            with context():
                products(direction, deposit)

        return product

    @abstractmethod
    def _products(self, graph: Graph) -> Products:
        """Products on the graph of the batch or of one part of it."""

    def _along(self, graph: Graph) -> Callable[[Pieces], torch.Tensor]:
        """The outputs' derivative along a direction."""
        if self.differentiation == "forward":
            return forward_derivative(partial(_outputs_at, self.objective, graph.batch), graph.leaves)
        return graph.jacobian.along

    def _scaled(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """`P^1/2 v` in the parameters' shapes."""
        pieces = torch.split(vector, [value.numel() for value in self.values])
        return [
            self._shaped(root, piece, value)
            for root, piece, value in zip(self.metric.roots, pieces, self.values, strict=True)
        ]

    @staticmethod
    def _shaped(root: float | torch.Tensor, piece: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        shaped = piece.view(value.shape)
        scaled = shaped if is_one(root) else root * shaped
        # Pairs that stand for complex numbers have to begin at an even place.
        scaled = scaled.clone() if scaled.storage_offset() % 2 else scaled
        return scaled.to(value.device, value.dtype)

    @own_context()
    def gathered(self, pieces: Pieces) -> torch.Tensor:
        """`P^1/2` applied to pieces in the parameters' shapes, as one vector."""
        total = self._gathering()
        for index, piece in enumerate(pieces):
            total.add(index, piece.clone())
        return total.vector()

    def _gathering(self) -> Gathering:
        """A new vector, to be put together from the parameters' pieces."""
        return Gathering(self.values, self.metric.roots, self.dtype, self.device)


def _parts(batch: Batch, examples_at_once: int | None) -> int | None:
    """Examples at once, None for the whole batch."""
    if examples_at_once is None:
        return None
    require_whole("examples at once", examples_at_once, least=1, example=128)
    return examples_at_once if examples_at_once < batch.examples else None


class Hessian(CurvatureOperator):
    """The loss's second derivative `H`, in the learning-rate metric. Parameters: `CurvatureOperator`."""

    _decays = True

    def _products(self, graph: Graph) -> Products:
        if self.differentiation == "forward":
            loss = partial(_loss_at, self.objective, graph.batch)
            return forward_product(loss, graph.leaves)
        return reverse_product(graph.gradients, graph.leaf_list)


class Residual(CurvatureOperator):
    """`R = H - G`: the model's own second derivatives, weighted by the loss's gradient in the outputs.

    It is the Hessian of `sum(dL/df . f)` with `dL/df` held fixed, so neither H nor G is formed.
    Parameters: `CurvatureOperator`.
    """

    def _products(self, graph: Graph) -> Products:
        fixed = graph.loss_in_outputs[1].detach()
        if self.differentiation == "forward":
            return forward_product(partial(_weighted_at, self.objective, graph.batch, fixed), graph.leaves)
        weighted = gradients_of((fixed * graph.outputs).sum(), graph.leaf_list)
        return reverse_product(weighted, graph.leaf_list)


class GaussNewton(CurvatureOperator):
    """`G = J^T (d2L/df2) J`, positive semidefinite for a convex loss. Parameters: `CurvatureOperator`.

    Weight decay, which is a convex function of the parameters, is part of it.
    """

    _decays = True

    def _products(self, graph: Graph) -> Products:
        jacobian, along = graph.jacobian, self._along(graph)
        free, gradient = graph.loss_in_outputs

        def product(direction: Pieces, deposit: Deposit) -> None:
            if not gradient.requires_grad:
                return
            moved = along(direction)
            (curved,) = torch.autograd.grad(gradient, free, moved, retain_graph=True, materialize_grads=True)
            jacobian.back(curved, deposit)

        return product


class TangentKernel(CurvatureOperator):
    """The empirical neural tangent kernel `J P J^T / examples`, on outputs: n is examples times outputs each.

    Its nonzero eigenvalues are those of the Gauss-Newton matrix under the `squared` loss. The criterion plays
    no part in it. The batch cannot be split: every example's outputs meet every other's.
    Parameters: `CurvatureOperator`.
    """

    def _products(self, graph: Graph) -> Products:
        outputs, jacobian, along = graph.outputs, graph.jacobian, self._along(graph)
        self._outputs = outputs

        def product(direction: Pieces, deposit: Deposit) -> None:
            (cotangent,) = direction
            weights = self._gathering()
            jacobian.back(cotangent.view_as(outputs), weights.add)
            deposit(0, along(self._scaled(weights.vector())) / graph.batch.examples)

        return product

    @own_context()
    def gram(self, *, memory: int = 2**30) -> torch.Tensor:
        """The whole kernel, shape (n, n): from rows of the Jacobian while they fit, else by products.

        Parameters
        ----------
        memory
            Bytes that the Jacobian may take.
        """
        parameters = sum(value.numel() for value in self.values)
        if self.size * parameters * self.dtype.itemsize > memory:
            return self.matrix()
        graph = Graph(self.objective, self.batch)
        rows = torch.empty(self.size, parameters, dtype=self.dtype, device=self.device)
        for row, output in zip(rows, graph.outputs.reshape(-1), strict=True):
            pieces = torch.autograd.grad(output, graph.leaf_list, retain_graph=True, materialize_grads=True)
            row.copy_(self.gathered(pieces))
        return rows @ rows.T / self.batch.examples

    def _size(self) -> int:
        if self._at_once is not None:
            raise invalid(
                "examples at once",
                self._at_once,
                accepted="the whole batch, for the neural tangent kernel",
                remedy="measure it on fewer examples",
            )
        return self._outputs.numel()

    def _product(self, vector: torch.Tensor) -> torch.Tensor:
        if self._kept is None:
            raise RuntimeError  # the constructor refuses parts
        found: list[torch.Tensor] = []
        self._kept((vector.to(self._outputs.dtype),), lambda _index, piece: found.append(piece))
        return found[0].reshape(-1).to(self.dtype)


def _loss_at(objective: Objective, part: Batch, leaves: Mapping[str, torch.Tensor]) -> torch.Tensor:
    how = How(lean=False)
    return objective.evaluated(leaves, part, how)[1]


def _outputs_at(objective: Objective, part: Batch, leaves: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return objective.logits(objective.outputs(leaves, part, how=How(lean=False)))


def _weighted_at(
    objective: Objective, part: Batch, weights: torch.Tensor, leaves: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    total: torch.Tensor = (weights * _outputs_at(objective, part, leaves)).sum()
    return total
