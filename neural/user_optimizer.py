"""What a user's optimizer makes of the curvature: the metric, the edge of stability, and its weight decay."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import invalid
from .curvature.metric import (
    Metric,
    coupled_decay,
    has_decay_beside_the_loss,
    has_metric,
    is_without_state,
    largest_group_rate,
    stability_threshold,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from .curvature import Batch, Objective

    Optimizer = torch.optim.Optimizer

GRADIENT_DESCENT = "gradient descent"

_THRESHOLD = 2.0
"""Sharpness times eta0 at which gradient descent is unstable."""

_PLAIN = "plain Hessian"


class Decay(NamedTuple):
    """Weight decay that is part of the loss."""

    values: float | dict[str, float]
    """For all parameters, or by name."""
    words: str
    """What is said of it; empty if there is nothing to say."""


class Stepping(NamedTuple):
    """How sharpness and learning rate are compared."""

    metric: Metric | None
    """None is the plain Hessian's."""
    words: str
    """What is measured in which metric."""
    method: str
    """What the edge of stability is of: the optimizer's class, or gradient descent."""
    learning_rate: float | None
    """eta0, against which the sharpness is measured."""
    threshold: float
    """Sharpness times eta0 at the edge of stability."""
    is_at_rest: bool = False
    """Whether all of the optimizer's learning rates are zero."""

    @property
    def edge(self) -> float | None:
        """Sharpness beyond which steps of this learning rate are unstable; None without one."""
        return self.threshold / self.learning_rate if self.learning_rate else None


def decay_of(
    optimizer: Optimizer | None, parameters: Mapping[str, torch.Tensor], given: float | None
) -> Decay:
    """The weight decay that is part of the loss.

    Parameters
    ----------
    optimizer, parameters
        The optimizer if it is not left out, and the objective's parameters.
    given
        One number for all parameters; None is the optimizer's own where it acts through the gradient.
    """
    if given is not None:
        return Decay(given, f"with weight decay {given:g}" if given else "")
    if optimizer is None:
        return Decay(0.0, "")
    name, found = type(optimizer).__name__, coupled_decay(optimizer, parameters)
    if found:
        numbers = sorted({found.get(key, 0.0) for key in parameters})
        shown = " or ".join(f"{number:g}" for number in numbers)
        return Decay(found, f"with {name}'s weight decay of {shown}")
    if has_decay_beside_the_loss(optimizer):
        why = ", which is not part of the loss" if has_metric(optimizer) else ""
        return Decay(0.0, f"without {name}'s weight decay{why}")
    return Decay(0.0, "")


def stepping_of(
    optimizer: Optimizer | None,
    objective: Objective,
    batch: Batch,
    learning_rate: float | None,
    *,
    examples_at_once: int | None = None,
) -> Stepping:
    """Metric, learning rate and edge.

    An optimizer whose metric is not known leaves the plain Hessian. At the start of a warm-up, where all
    rates are zero, a learning rate that is given takes the place of the largest one, and the metric is zero.

    Parameters
    ----------
    optimizer
        None if there is none or it is left out.
    objective, batch, examples_at_once
        The loss, whose gradient on the batch makes the metric of Adam's first step.
    learning_rate
        Learning rate of the edge of stability; None is the optimizer's largest.

    Raises
    ------
    InputError
        As in `Metric.from_optimizer`, and if all rates are zero and none is given.
    """
    if optimizer is None or not has_metric(optimizer):
        name = "" if optimizer is None else type(optimizer).__name__
        words = f"optimizer {name}: its metric is not known, {_PLAIN}" if name else _PLAIN
        return Stepping(None, words, GRADIENT_DESCENT, learning_rate, _THRESHOLD)
    name, largest = type(optimizer).__name__, largest_group_rate(optimizer)
    base = largest or learning_rate
    if base is None:
        raise invalid(
            f"learning rate of {name}",
            "0 in all groups, as at the start of a warm-up",
            accepted="a rate above 0, to measure the sharpness against",
            remedy="pass --learning-rate 0.1 for example, or --plain to leave the optimizer out",
        )
    parameters = objective.parameters
    fresh = is_without_state(optimizer, parameters)
    gradients = objective.gradients(batch, examples_at_once) if fresh else None
    metric = Metric.from_optimizer(optimizer, parameters, base=base, gradients=gradients)
    words = f"in the metric of {name}'s first step" if fresh else f"in the metric of {name}"
    if not largest:
        words += ", whose learning rates are all 0"
    held = sum(not (isinstance(root, float) and root == 0) for root in metric.roots)
    if largest and held < len(parameters):
        words += f", which trains {held} of {len(parameters)} tensors"
    rate, threshold = learning_rate or base, stability_threshold(optimizer)
    return Stepping(metric, words, name, rate, threshold, is_at_rest=not largest)
