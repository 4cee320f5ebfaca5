"""What the quantities of one measurement share: operators, eigenpairs and the gradient, each made once."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch

from ...errors import invalid
from .diagnosis import non_finite_derivative
from .graph import Graph
from .operators import CurvatureOperator, Hessian, TangentKernel
from .parameters import coordinates_of
from .reductions import inner_product, norm
from .tracker import Eigenpairs, NotConvergedWarning, SpectrumTracker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .batch import Batch
    from .metric import Metric
    from .objective import Objective


@dataclass(frozen=True)
class MeasurementSettings:
    """How quantities are measured; see `Meter`."""

    count: int
    trace_products: int
    seed: int
    examples_at_once: int | None
    differentiation: str
    tolerance: float
    mini_batch: int | None


class Given(NamedTuple):
    """Optional arguments of a call of a meter; see `Meter.__call__`."""

    metric: Metric | None = None
    update: Mapping[str, torch.Tensor] | None = None
    mini_batches: Sequence[Batch] | None = None
    rate: float | None = None
    """Critical rate that the last call found, where the next search starts."""


class MeasurementState:
    """What the quantities of one call share: each operator, eigenpair and gradient is made once."""

    def __init__(
        self,
        settings: MeasurementSettings,
        trackers: Mapping[str, SpectrumTracker],
        objective: Objective,
        batch: Batch,
        given: Given,
    ) -> None:
        size = objective.size
        if settings.count > size:
            raise invalid(
                "count", settings.count, accepted=f"1 to {size} parameters", remedy="pass fewer eigenvalues"
            )
        objective.ready(batch, settings.differentiation)
        self.settings, self.trackers = settings, trackers
        self.objective, self.batch, self.given = objective, batch, given
        at_once = settings.examples_at_once
        self.split = at_once is not None and at_once < batch.examples
        self.graph = None if self.split else Graph(objective, batch)
        self._operators: dict[type[CurvatureOperator], CurvatureOperator] = {}
        self._tracked: dict[str, Eigenpairs] = {}
        self.further_products = 0
        """Products taken by operators that are not kept."""
        self.critical_rate: float | None = None
        """Rate at which the loss along the update stops falling, once it has been found."""

    @property
    def products(self) -> int:
        """Products taken by all operators."""
        return self.further_products + sum(operator.matvecs for operator in self._operators.values())

    def operator(self, kind: type[CurvatureOperator]) -> CurvatureOperator:
        """The operator of a kind, on the graph that all share."""
        if kind not in self._operators:
            self._operators[kind] = kind(
                self.objective,
                self.batch,
                self.given.metric,
                examples_at_once=self.settings.examples_at_once,
                differentiation=self.settings.differentiation,
                graph=self.graph,
            )
        return self._operators[kind]

    def tracked(self, name: str, kind: type[CurvatureOperator]) -> Eigenpairs:
        """Eigenpairs by a tracker's name; the estimate says what has not converged, no warning."""
        if name not in self._tracked:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotConvergedWarning)
                self._tracked[name] = self.trackers[name](self.operator(kind))
        return self._tracked[name]

    @property
    def top(self) -> Eigenpairs:
        """The Hessian's largest eigenpairs."""
        return self.tracked("top", Hessian)

    @property
    def kernel(self) -> Eigenpairs:
        """The tangent kernel's largest eigenpairs."""
        return self.tracked("kernel", TangentKernel)

    @cached_property
    def loss(self) -> float:
        """Loss on the whole batch, with weight decay."""
        if self.graph is not None:
            return float(self.graph.loss.detach()) + self.objective.penalty()
        return self.objective.loss(self.batch, self.settings.examples_at_once)

    @cached_property
    def pieces(self) -> dict[str, torch.Tensor]:
        """The gradient in the parameters' coordinates, by name."""
        if self.graph is None or self.settings.differentiation != "reverse":
            found = self.objective.gradients(self.batch, self.settings.examples_at_once)
            return {name: coordinates_of(value) for name, value in found.items()}
        found = {}
        for (name, leaf), piece in zip(self.graph.leaves.items(), self.graph.gradients, strict=True):
            decay = self.objective.decay.of(name)
            found[name] = piece.detach() + decay * leaf.detach() if decay else piece.detach()
        return found

    @cached_property
    def gradient(self) -> torch.Tensor:
        """`P^1/2 g`, shape (n,)."""
        return self.operator(Hessian).gathered(list(self.pieces.values()))

    @cached_property
    def curvature(self) -> float:
        """`g.Hg / |g|^2`, g the gradient in the metric and not zero."""
        direction = self.gradient / norm(self.gradient)
        return inner_product(direction, self.operator(Hessian)(direction))

    @cached_property
    def output_residual(self) -> float:
        """Root mean square over examples of the norm of the example's loss gradient in its outputs."""
        total = 0.0
        for part, share in self.objective.parts(self.batch, self.settings.examples_at_once):
            graph = self.graph or Graph(self.objective, part)
            gradient = graph.loss_in_outputs[1].detach()
            total += share**2 * float(gradient.double().square().sum())
        return math.sqrt(total * self.batch.examples)

    @cached_property
    def why_not_finite(self) -> str:
        """Why quantities have no finite value: the loss, its gradient or its second derivative, and where."""
        if not math.isfinite(self.loss):
            return "the loss is not finite: the network has diverged"
        for name, piece in self.pieces.items():
            if not torch.isfinite(piece).all():
                return f"the gradient is not finite at {name}, though the loss is"
        place = non_finite_derivative(self.objective, self.batch) or f"the loss {self.objective.name}"
        return f"the second derivative is not finite in {place}, though loss and gradient are"
