"""What can be measured of a loss's curvature, by name."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch

from ...errors import invalid
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
from .objective import operations
from .operators import CurvatureOperator, GaussNewton, Hessian, Residual, TangentKernel
from .reductions import inner_product, inner_products, norm
from .stochastic import estimate_trace
from .tracker import Eigenpairs, NotConvergedWarning, SpectrumTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .metric import Metric
    from .objective import Batch, Objective


@dataclass(frozen=True)
class MeasurementSettings:
    """How quantities are measured; as of `Meter`."""

    count: int
    trace_products: int
    seed: int
    examples_at_once: int | None
    differentiation: str


class MeasurementState:
    """What the quantities of one call share: each operator, eigenpair and gradient is made once."""

    def __init__(
        self,
        settings: MeasurementSettings,
        trackers: Mapping[str, SpectrumTracker],
        objective: Objective,
        batch: Batch,
        metric: Metric | None,
    ) -> None:
        if settings.count > objective.size:
            raise invalid(
                "count", settings.count, accepted=f"1 to {objective.size} parameters", remedy="pass 1, say"
            )
        self.settings, self.trackers = settings, trackers
        self.objective, self.batch, self.metric = objective, batch, metric
        at_once = settings.examples_at_once
        self.split = at_once is not None and at_once < batch.examples
        self.graph = None if self.split else Graph(objective, batch)
        self._operators: dict[type[CurvatureOperator], CurvatureOperator] = {}
        self._tracked: dict[str, Eigenpairs] = {}

    @property
    def products(self) -> int:
        """Products taken by all operators."""
        return sum(operator.matvecs for operator in self._operators.values())

    def operator(self, kind: type[CurvatureOperator]) -> CurvatureOperator:
        """The operator of a kind, on the graph that all share."""
        if kind not in self._operators:
            self._operators[kind] = kind(
                self.objective,
                self.batch,
                self.metric,
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
        """On the whole batch."""
        if self.graph is not None:
            return float(self.graph.loss.detach())
        return self.objective.loss(self.batch, self.settings.examples_at_once)

    @cached_property
    def gradient(self) -> torch.Tensor:
        """`P^1/2 g`, shape (n,)."""
        hessian = self.operator(Hessian)
        if self.graph is not None and self.settings.differentiation == "reverse":
            return hessian.gathered([piece.detach() for piece in self.graph.gradients])
        total = torch.zeros(hessian.size, dtype=hessian.dtype, device=hessian.device)
        for part in self.batch.parts(self.settings.examples_at_once):
            graph = Graph(self.objective, part)
            share = part.examples / self.batch.examples
            if graph.loss.requires_grad:
                with operations():
                    pieces = torch.autograd.grad(graph.loss, graph.leaf_list, materialize_grads=True)
                total += share * hessian.gathered(pieces)
        return total

    @cached_property
    def output_residual(self) -> float:
        """Root mean square over examples of the norm of the example's loss gradient in its outputs."""
        total = 0.0
        for part in self.batch.parts(self.settings.examples_at_once):
            graph = self.graph or Graph(self.objective, part)
            gradient = graph.loss_in_outputs[1].detach()
            total += part.examples**2 * float(gradient.double().square().sum())
        return math.sqrt(total / self.batch.examples)


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
    return worst._replace(value=abs(larger.value), error=max(larger.error, bound))


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
    length = norm(state.gradient)
    if length == 0:
        return undefined("the gradient is zero")
    direction = state.gradient / length
    return finite(inner_product(direction, state.operator(Hessian)(direction)))


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
    measure: Callable[[MeasurementState], Estimate]


QUANTITIES: dict[str, Quantity] = {
    "loss": Quantity("mean loss on the batch", _loss),
    "gradient_norm": Quantity("|P^1/2 g|", _gradient_norm),
    "sharpness": Quantity("largest eigenvalue of the Hessian H", _sharpness),
    "smallest_eigenvalue": Quantity("smallest eigenvalue of H", _smallest),
    "ggn_sharpness": Quantity("largest eigenvalue of the Gauss-Newton part G", _ggn_sharpness),
    "residual_sharpness": Quantity("largest eigenvalue of R = H - G", _residual_sharpness),
    "residual_spectral_norm": Quantity("spectral norm of R", _residual_norm),
    "output_residual": Quantity("root mean square of the loss gradient in the outputs", _output_residual),
    "ntk_sharpness": Quantity("largest eigenvalue of the tangent kernel over examples", _ntk_sharpness),
    "hessian_trace": Quantity("trace of H", _trace),
    "directional_sharpness": Quantity("curvature along the gradient, g.Hg / |g|^2", _directional_sharpness),
    "gradient_alignment": Quantity("part of |g|^2 in the top-k eigenvectors of H", _gradient_alignment),
    "ggn_share": Quantity("part of the sharpness that G gives, v.Gv / v.Hv", _ggn_share),
    "ggn_overlap": Quantity("overlap of the top-k eigenvectors of H and G, 0 to 1", _ggn_overlap),
}
"""What `measure` knows, by name; g and all matrices in the learning-rate metric."""
