"""Curvature that an update meets: critical sharpness, and batch sharpness of mini-batch gradients."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...errors import InputError, invalid
from ..messages import error_text
from .batch import tensors
from .criteria import denominator
from .estimates import BRACKETED, NOT_CONVERGED, RANDOM, CurvatureEstimate, finite_estimate, undefined
from .line_search import CriticalRate, critical_rate
from .operators import Hessian
from .parameters import coordinates_of
from .reductions import inner_product, norm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .batch import Batch
    from .measurement_state import MeasurementState
    from .objective import Objective

_ROUNDINGS = 4
"""Rounding units by which a loss can be off."""

_MINI_BATCHES, _LEAST = 8, 2
"""Mini-batches of a batch where their size is not given; their least size, and the least number of them."""


def estimate_critical_sharpness(state: MeasurementState) -> CurvatureEstimate:
    """`2/eta_c`, eta_c the first rate at which the loss along the update stops falling.

    Notes
    -----
    Source: Kalra et al. 2026, A scalable measure of loss landscape curvature, arXiv 2601.16979.
    """
    found = _critical_rate(state)
    if isinstance(found, str):
        return undefined(found)
    state.critical_rate = found.rate
    if math.isnan(found.rate):
        return undefined(found.note)
    note = f"{found.passes} values of the loss" + (f"; {found.note}" if found.note else "")
    error = found.sharpness_error
    loose = math.isfinite(found.rate) and error > 2 * state.settings.tolerance * found.sharpness
    return CurvatureEstimate(found.sharpness, error, NOT_CONVERGED if loose else BRACKETED, note=note)


def _critical_rate(state: MeasurementState) -> CriticalRate | str:
    """The search along the gradient step, or along the update that was given; why not, if it is not made."""
    given, objective = state.given, state.objective
    coordinates = objective.listed().coordinates()
    curvature: float | None = None
    if given.update is None:
        slope = norm(state.gradient) ** 2
        if slope == 0:
            return "the gradient is zero"
        roots = [1.0] * len(coordinates) if given.metric is None else given.metric.roots
        pieces = zip(state.pieces.items(), roots, strict=True)
        update = {name: root * (root * piece) for (name, piece), root in pieces}
        if given.rate is None:
            curvature = state.curvature * slope
    else:
        update = {name: coordinates_of(given.update[name]) for name in coordinates}
        pairs = ((update[name].reshape(-1), piece.reshape(-1)) for name, piece in state.pieces.items())
        slope = sum(inner_product(one, other) for one, other in pairs)
        if not slope > 0:
            return "the update does not lower the loss: it is not along the gradient"
    unit = torch.finfo(objective.dtype).eps
    return critical_rate(
        lambda rate: objective.loss_at(
            {name: value - rate * update[name] for name, value in coordinates.items()},
            state.batch,
            state.settings.examples_at_once,
        ),
        start=state.loss,
        slope=slope,
        curvature=curvature,
        guess=given.rate,
        tolerance=state.settings.tolerance,
        noise=_ROUNDINGS * unit * abs(state.loss),
    )


def estimate_batch_sharpness(state: MeasurementState) -> CurvatureEstimate:
    """The mean of `g.Hg / |g|^2` over mini-batches, gradient and Hessian of each one's own loss.

    Notes
    -----
    Source: Andreyev and Beneventano 2024, Edge of stochastic stability, arXiv 2412.20553.
    """
    if _is_ambiguous(state):
        return undefined("a tensor's first two dimensions are both the number of examples: pass mini_batches")
    parts = list(_mini_batches(state))
    try:
        each = [_own_curvature(state, part) for part in parts]
    except InputError as refusal:
        return undefined(f"a mini-batch cannot be measured: {refusal}")
    values = np.array([curvature for curvature in each if curvature is not None])
    if len(values) < _LEAST:
        few = f"{len(values)} of {len(parts)} mini-batches have a gradient"
        return undefined(f"{few}, too few: pass a smaller mini_batch, or more examples")
    if not np.isfinite(values).all():
        return finite_estimate(math.nan)
    spread = float(values.std(ddof=1)) / math.sqrt(len(values))
    return CurvatureEstimate(float(values.mean()), spread, RANDOM, note=f"{len(values)} mini-batches")


def _own_curvature(state: MeasurementState, part: Batch) -> float | None:
    """`g.Hg / |g|^2` of a mini-batch's own loss; None if its gradient is zero, or none of it counts."""
    reduction = denominator(state.objective.criterion)
    if reduction is not None and not reduction.weight(part.targets, part.examples):
        return None
    operator = Hessian(
        state.objective, part, state.given.metric, differentiation=state.settings.differentiation
    )
    gradients = state.objective.gradients(part).values()
    gradient = operator.gathered([coordinates_of(piece) for piece in gradients])
    length = norm(gradient)
    if not length:
        return None
    direction = gradient / length
    curvature = inner_product(direction, operator(direction))
    state.further_products += operator.matvecs
    return curvature


def _is_ambiguous(state: MeasurementState) -> bool:
    """Whether it cannot be seen of one of several inputs that it has one example a row."""
    inputs, count = list(tensors(state.batch.inputs)), state.batch.examples
    several = state.given.mini_batches is None and len(inputs) > 1
    return several and any(value.ndim > 1 and value.shape[:2] == (count, count) for value in inputs)


def _mini_batches(state: MeasurementState) -> Iterator[Batch]:
    """Those given, or equal parts of the batch; a shorter one at the end is left out."""
    if state.given.mini_batches is not None:
        yield from state.given.mini_batches
        return
    examples = state.batch.examples
    size = state.settings.mini_batch or max(min(_LEAST, examples), examples // _MINI_BATCHES)
    for begin in range(0, examples - size + 1, size):
        yield state.batch.rows(begin, begin + size)


def optimizer_update(
    optimizer: torch.optim.Optimizer, objective: Objective, batch: Batch, *, base: float | None = None
) -> Mapping[str, torch.Tensor]:
    """What the optimizer's next step subtracts from each parameter, over eta0: of any optimizer.

    The step is taken on copies, with the gradient on the batch.

    Parameters
    ----------
    optimizer
        Any optimizer whose step needs no closure.
    objective, batch
        Whose gradient it is given.
    base
        eta0; None is the largest learning rate.

    Raises
    ------
    InputError
        If the step fails, or the learning rate is zero.

    Examples
    --------
    >>> import torch
    >>> from superconsistency.neural import Batch, Objective
    >>> model = torch.nn.Linear(3, 1)
    >>> objective, batch = Objective(model, "mse"), Batch(torch.ones(2, 3), torch.zeros(2, 1))
    >>> found = optimizer_update(torch.optim.SGD(model.parameters(), lr=0.1), objective, batch)
    >>> torch.allclose(found["weight"], objective.gradients(batch)["weight"])
    True
    """
    rate = max(float(group["lr"]) for group in optimizer.param_groups) if base is None else base
    if not rate > 0:
        raise invalid("learning rate", rate, accepted="above 0", remedy="pass base=0.1")
    gradients = objective.gradients(batch)
    names = {id(value): name for name, value in objective.parameters.items()}
    copied = copy.deepcopy(optimizer)
    moved: dict[str, torch.Tensor] = {}
    for group, own in zip(optimizer.param_groups, copied.param_groups, strict=True):
        for value, twin in zip(group["params"], own["params"], strict=True):
            name = names.get(id(value))
            twin.grad = None if name is None else gradients[name]
            if name is not None:
                moved[name] = twin
    before = {name: twin.detach().clone() for name, twin in moved.items()}
    try:
        copied.step()
    except Exception as error:  # any optimizer may be given, and fail in any way
        raise invalid(
            "optimizer",
            f"{type(optimizer).__name__}, whose step raised {type(error).__name__}",
            accepted="one that steps without a closure",
            remedy=f"measure along the gradient; the error was {error_text(error, first_line=True)}",
        ) from error
    return {
        name: (before[name] - moved[name].detach()) / rate
        if name in moved
        else torch.zeros_like(value.detach())
        for name, value in objective.parameters.items()
    }
