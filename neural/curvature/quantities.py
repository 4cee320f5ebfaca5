"""What can be measured of a loss's curvature, by name."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch

from ...errors import invalid
from ...records.schema import describe
from .along_updates import batch_sharpness, critical_sharpness
from .diagnosis import non_finite_derivative
from .estimates import (
    CERTIFIED,
    EXACT,
    RANDOM,
    Estimate,
    angle_of,
    certified,
    estimated,
    finite,
    from_vectors,
    undefined,
)
from .graph import Graph
from .operators import CurvatureOperator, GaussNewton, Hessian, Residual, TangentKernel
from .parameters import coordinates_of
from .reductions import inner_product, inner_products, norm
from .stochastic import estimate_trace
from .tracker import Eigenpairs, NotConvergedWarning, SpectrumTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .batch import Batch
    from .metric import Metric
    from .objective import Objective


@dataclass(frozen=True)
class MeasurementSettings:
    """How quantities are measured; as of `Meter`."""

    count: int
    trace_products: int
    seed: int
    examples_at_once: int | None
    differentiation: str
    tolerance: float
    mini_batch: int | None


class Given(NamedTuple):
    """What a call of a meter may be given beside objective and batch; as of `Meter.__call__`."""

    metric: Metric | None = None
    update: Mapping[str, torch.Tensor] | None = None
    mini_batches: Sequence[Batch] | None = None
    rate: float | None = None
    """The last call's critical rate, where the search for the next one starts."""


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
        """Products of operators that are not kept."""
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
        """The Hessian's largest."""
        return self.tracked("top", Hessian)

    @property
    def kernel(self) -> Eigenpairs:
        """The tangent kernel's largest."""
        return self.tracked("kernel", TangentKernel)

    @cached_property
    def loss(self) -> float:
        """On the whole batch, with weight decay."""
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


def _loss(state: MeasurementState) -> Estimate:
    return finite(state.loss)


def _gradient_norm(state: MeasurementState) -> Estimate:
    return finite(norm(state.gradient))


def _sharpness(state: MeasurementState) -> Estimate:
    return certified(state.top)


def _smallest(state: MeasurementState) -> Estimate:
    return certified(state.tracked("bottom", Hessian))


def _ggn_sharpness(state: MeasurementState) -> Estimate:
    return certified(state.tracked("ggn", GaussNewton))


def _residual_sharpness(state: MeasurementState) -> Estimate:
    return certified(state.tracked("residual_top", Residual))


def _residual_norm(state: MeasurementState) -> Estimate:
    """The spectral norm of R, from both of its ends."""
    ends = [certified(state.tracked(f"residual_{end}", Residual)) for end in ("top", "bottom")]
    larger = max(ends, key=lambda end: abs(end.value))
    worst = next((end for end in ends if end.kind != CERTIFIED), larger)
    bound = max(abs(end.value) + end.error for end in ends) - abs(larger.value)
    missed = min(1.0, sum(end.missed for end in ends))
    return worst._replace(value=abs(larger.value), error=max(larger.error, bound), missed=missed)


def _output_residual(state: MeasurementState) -> Estimate:
    return finite(state.output_residual)


def _ntk_sharpness(state: MeasurementState) -> Estimate:
    return certified(state.kernel)


def _trace(state: MeasurementState) -> Estimate:
    found = estimate_trace(
        state.operator(Hessian), products=state.settings.trace_products, seed=state.settings.seed
    )
    if math.isnan(found.value):
        return finite(found.value)
    return Estimate(found.value, found.standard_error, RANDOM if found.standard_error else EXACT)


def _directional_sharpness(state: MeasurementState) -> Estimate:
    """`g.Hg / |g|^2`, what a gradient step meets."""
    if norm(state.gradient) == 0:
        return undefined("the gradient is zero")
    return finite(state.curvature)


def _critical_sharpness(state: MeasurementState) -> Estimate:
    """`2/eta_c`, eta_c the first rate at which the loss along the update stops falling."""
    if not math.isfinite(state.loss):
        return finite(state.loss)
    return critical_sharpness(state)


def _batch_sharpness(state: MeasurementState) -> Estimate:
    """The mean of `g.Hg / |g|^2` over mini-batches, gradient and Hessian of each one's own loss."""
    return batch_sharpness(state)


def _gradient_alignment(state: MeasurementState) -> Estimate:
    """Part of the squared gradient in the space of the Hessian's top eigenvectors."""
    length = norm(state.gradient)
    if length == 0:
        return undefined("the gradient is zero")
    inside = torch.linalg.vector_norm(inner_products(state.top.vectors, state.gradient / length))
    return from_vectors(float(inside) ** 2, [state.top])


def _ggn_share(state: MeasurementState) -> Estimate:
    """`v.Gv / v.Hv` at the Hessian's top eigenvector v; the residual's share is what is left of 1."""
    top = state.top
    if not top.value:
        return undefined("the sharpness is zero")
    vector = top.vectors[0]
    share = inner_product(vector, state.operator(GaussNewton)(vector)) / top.value
    largest = state.tracked("ggn", GaussNewton).value
    second = float(top.values[1]) if len(top.values) > 1 else top.following
    angle = angle_of(top.residuals[:1], top.value - second)
    return estimated(share, 2 * angle * max(largest, abs(share * top.value)) / abs(top.value), [top])


def _ggn_overlap(state: MeasurementState) -> Estimate:
    """Overlap of the top spaces of H and G, `|V_H^T V_G|_F^2 / k`, from 0 to 1."""
    top, ggn = state.top, state.tracked("ggn", GaussNewton)
    couplings = torch.stack([inner_products(top.vectors, vector) for vector in ggn.vectors])
    overlap = float(torch.linalg.matrix_norm(couplings)) ** 2 / len(top.vectors)
    return from_vectors(overlap, [top, ggn])


class Quantity(NamedTuple):
    """Something that can be measured."""

    description: str
    """As in the common record's schema."""
    measure: Callable[[MeasurementState], Estimate]


_MEASURES: dict[str, Callable[[MeasurementState], Estimate]] = {
    "loss": _loss,
    "gradient_norm": _gradient_norm,
    "sharpness": _sharpness,
    "smallest_eigenvalue": _smallest,
    "ggn_sharpness": _ggn_sharpness,
    "residual_sharpness": _residual_sharpness,
    "residual_spectral_norm": _residual_norm,
    "output_residual": _output_residual,
    "ntk_sharpness": _ntk_sharpness,
    "hessian_trace": _trace,
    "directional_sharpness": _directional_sharpness,
    "critical_sharpness": _critical_sharpness,
    "batch_sharpness": _batch_sharpness,
    "gradient_alignment": _gradient_alignment,
    "ggn_share": _ggn_share,
    "ggn_overlap": _ggn_overlap,
}

QUANTITIES: dict[str, Quantity] = {
    name: Quantity(describe(name).long_name, measure) for name, measure in _MEASURES.items()
}
"""What `measure` knows, by name; g and all matrices in the learning-rate metric. The schema of records, where
every quantity is described once, has to know each of them."""
