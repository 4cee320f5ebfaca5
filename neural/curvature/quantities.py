"""What can be measured of a loss's curvature, by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from ...records.schema import describe
from .along_updates import estimate_batch_sharpness, estimate_critical_sharpness
from .estimates import (
    CERTIFIED,
    EXACT,
    RANDOM,
    CurvatureEstimate,
    angle_of,
    certified,
    estimated,
    finite_estimate,
    from_vectors,
    undefined,
)
from .operators import GaussNewton, Hessian, Residual
from .reductions import inner_product, inner_products, norm
from .stochastic import estimate_trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from .measurement_state import MeasurementState


def _loss(state: MeasurementState) -> CurvatureEstimate:
    return finite_estimate(state.loss)


def _gradient_norm(state: MeasurementState) -> CurvatureEstimate:
    return finite_estimate(norm(state.gradient))


def _sharpness(state: MeasurementState) -> CurvatureEstimate:
    return certified(state.top)


def _smallest(state: MeasurementState) -> CurvatureEstimate:
    return certified(state.tracked("bottom", Hessian))


def _ggn_sharpness(state: MeasurementState) -> CurvatureEstimate:
    return certified(state.tracked("ggn", GaussNewton))


def _residual_sharpness(state: MeasurementState) -> CurvatureEstimate:
    return certified(state.tracked("residual_top", Residual))


def _residual_norm(state: MeasurementState) -> CurvatureEstimate:
    """The spectral norm of R, from both of its ends."""
    ends = [certified(state.tracked(f"residual_{end}", Residual)) for end in ("top", "bottom")]
    larger = max(ends, key=lambda end: abs(end.value))
    worst = next((end for end in ends if end.kind != CERTIFIED), larger)
    bound = max(abs(end.value) + end.error for end in ends) - abs(larger.value)
    missed = min(1.0, sum(end.missed for end in ends))
    return worst._replace(value=abs(larger.value), error=max(larger.error, bound), missed=missed)


def _output_residual(state: MeasurementState) -> CurvatureEstimate:
    return finite_estimate(state.output_residual)


def _ntk_sharpness(state: MeasurementState) -> CurvatureEstimate:
    return certified(state.kernel)


def _trace(state: MeasurementState) -> CurvatureEstimate:
    found = estimate_trace(
        state.operator(Hessian), products=state.settings.trace_products, seed=state.settings.seed
    )
    if math.isnan(found.value):
        return finite_estimate(found.value)
    return CurvatureEstimate(found.value, found.standard_error, RANDOM if found.standard_error else EXACT)


def _directional_sharpness(state: MeasurementState) -> CurvatureEstimate:
    """`g.Hg / |g|^2`, what a gradient step meets."""
    if norm(state.gradient) == 0:
        return undefined("the gradient is zero")
    return finite_estimate(state.curvature)


def _critical_sharpness(state: MeasurementState) -> CurvatureEstimate:
    """`2/eta_c`, eta_c the first rate at which the loss along the update stops falling."""
    if not math.isfinite(state.loss):
        return finite_estimate(state.loss)
    return estimate_critical_sharpness(state)


def _batch_sharpness(state: MeasurementState) -> CurvatureEstimate:
    """The mean of `g.Hg / |g|^2` over mini-batches, gradient and Hessian of each one's own loss."""
    return estimate_batch_sharpness(state)


def _gradient_alignment(state: MeasurementState) -> CurvatureEstimate:
    """Part of the squared gradient in the space of the Hessian's top eigenvectors."""
    length = norm(state.gradient)
    if length == 0:
        return undefined("the gradient is zero")
    inside = torch.linalg.vector_norm(inner_products(state.top.vectors, state.gradient / length))
    return from_vectors(float(inside) ** 2, [state.top])


def _ggn_share(state: MeasurementState) -> CurvatureEstimate:
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


def _ggn_overlap(state: MeasurementState) -> CurvatureEstimate:
    """Overlap of the top spaces of H and G, `|V_H^T V_G|_F^2 / k`, from 0 to 1."""
    top, ggn = state.top, state.tracked("ggn", GaussNewton)
    couplings = torch.stack([inner_products(top.vectors, vector) for vector in ggn.vectors])
    overlap = float(torch.linalg.matrix_norm(couplings)) ** 2 / len(top.vectors)
    return from_vectors(overlap, [top, ggn])


class CurvatureQuantity(NamedTuple):
    """Something that can be measured."""

    description: str
    """As in the common record's schema."""
    measure: Callable[[MeasurementState], CurvatureEstimate]


_MEASURES: dict[str, Callable[[MeasurementState], CurvatureEstimate]] = {
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

CURVATURE_QUANTITIES: dict[str, CurvatureQuantity] = {
    name: CurvatureQuantity(describe(name).long_name, measure) for name, measure in _MEASURES.items()
}
"""What `measure` knows, by name; g and all matrices in the learning-rate metric. The schema of records, where
every quantity is described once, has to know each of them."""
