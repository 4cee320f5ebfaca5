"""The learning-rate metric: which multiple of the gradient an optimizer applies to each parameter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...errors import invalid, require_positive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Metric(NamedTuple):
    """`P^1/2`: each parameter tensor's root of its learning rates over eta0.

    The sharpness in this metric, `lambda_max(P^1/2 H P^1/2)`, is what a learning rate eta0 makes stable or
    not: the edge is `stability_threshold(optimizer) / eta0`.
    """

    roots: tuple[float | torch.Tensor, ...]
    """One number or a tensor of the parameter's shape for each parameter, in the model's order."""

    @classmethod
    def identity(cls, count: int) -> Metric:
        """The plain Hessian's."""
        return cls((1.0,) * count)

    @classmethod
    def from_scales(cls, scales: Sequence[float]) -> Metric:
        """Of each parameter tensor's learning rate over eta0, at least zero.

        Raises
        ------
        InputError
            If one is negative or not finite.
        """
        for scale in scales:
            if not (math.isfinite(scale) and scale >= 0):
                raise invalid(
                    "learning rate", scale, accepted="a finite number of at least 0", remedy="pass 0.1, say"
                )
        return cls(tuple(math.sqrt(scale) for scale in scales))

    @classmethod
    def from_optimizer(
        cls,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, torch.Tensor],
        *,
        base: float = 1.0,
    ) -> Metric:
        """What an SGD (momentum included), Adam or AdamW optimizer applies to the gradient at its next step.

        Adam's is `rate / ((1 - beta1^t) (sqrt(v / (1 - beta2^t)) + epsilon))`, its state frozen, and zero for
        weights that have had no gradient yet. Weight decay is not part of it. A parameter that the optimizer
        does not hold has learning rate zero.

        Parameters
        ----------
        optimizer
            Of one of these kinds; Adam's after at least one step.
        parameters
            The objective's.
        base
            eta0, the rate that the sharpness is measured against: with 1 the sharpness is already times the
            learning rate, and the edge is `stability_threshold(optimizer)`.

        Raises
        ------
        InputError
            If the optimizer is of another kind, maximizes, holds none of the parameters, or has no state yet.

        Notes
        -----
        Source: Cohen et al. 2022, Adaptive gradient methods at the edge of stability, Eq. 2.
        """
        require_positive("base learning rate", base, example=0.1)
        groups = {id(value): group for group in optimizer.param_groups for value in group["params"]}
        if not any(id(value) in groups for value in parameters.values()):
            raise invalid(
                "optimizer",
                type(optimizer).__name__,
                accepted="one that holds parameters of the model",
                remedy="make it of model.parameters(), after the model is built",
            )
        return cls(
            tuple(
                _root(optimizer, groups[id(value)], value, name, base) if id(value) in groups else 0.0
                for name, value in parameters.items()
            )
        )


def _root(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], value: torch.Tensor, name: str, base: float
) -> float | torch.Tensor:
    if group.get("maximize"):
        raise invalid("optimizer", "maximizing", accepted="one that minimizes", remedy="negate the loss")
    rate = float(group["lr"]) / base
    if _kind(optimizer) == "sgd":
        return math.sqrt(rate)
    state = optimizer.state.get(value, {})
    if not state or not float(state["step"]):
        raise invalid(
            "optimizer",
            f"{type(optimizer).__name__} without a state of {name}",
            accepted="Adam after at least one step",
            remedy="take a step, or load the state of a run",
        )
    second = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
    return adam_root(second, float(state["step"]), rate, group["betas"], group["eps"])


def adam_root(
    second: torch.Tensor, steps: float, rate: float, betas: tuple[float, float], epsilon: float
) -> torch.Tensor:
    """Root of what Adam multiplies the gradient by at its next step: its average of squares taken as frozen.

    Zero for a weight that has had no gradient yet, such as the vector of a token that has not occurred: its
    average is not frozen but about to be made by its first gradient, and `1/epsilon` would be the sharpness.

    Parameters
    ----------
    second
        The average of squared gradients.
    steps
        Taken, at least one.
    rate, betas, epsilon
        Learning rate over eta0, and Adam's settings.
    """
    beta1, beta2 = betas
    corrected = (second / (1 - beta2**steps)).sqrt_().add_(epsilon).mul_(1 - beta1**steps)
    root: torch.Tensor = corrected.reciprocal_().mul_(rate).sqrt_()
    return root.masked_fill_(second == 0, 0.0)


def stability_threshold(optimizer: torch.optim.Optimizer) -> float:
    """The sharpness times eta0 at which the optimizer is unstable on a quadratic; the least over its groups.

    2 for SGD, `2 (1 + beta) / (1 - dampening)` with momentum, `2 (1 + beta) / (1 + 2 beta)` with Nesterov's,
    `2 (1 + beta1) / (1 - beta1)` for Adam and AdamW, whose metric is taken as frozen.

    Raises
    ------
    InputError
        If the optimizer is of another kind.

    Notes
    -----
    Source: Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of stability,
    Appendix B, and 2022.
    """
    kind = _kind(optimizer)
    return min(_threshold(kind, group) for group in optimizer.param_groups)


def _threshold(kind: str, group: Mapping[str, Any]) -> float:
    if kind == "adam":
        momentum = float(group["betas"][0])
        return 2 * (1 + momentum) / (1 - momentum)
    momentum = float(group["momentum"])
    if group["nesterov"]:
        return 2 * (1 + momentum) / (1 + 2 * momentum)
    dampening = float(group["dampening"]) if momentum else 0.0
    return 2 * (1 + momentum) / (1 - dampening) if dampening < 1 else math.inf


def _kind(optimizer: torch.optim.Optimizer) -> str:
    if isinstance(optimizer, torch.optim.SGD):
        return "sgd"
    if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
        return "adam"
    raise invalid(
        "optimizer",
        type(optimizer).__name__,
        accepted="SGD, Adam, AdamW",
        remedy="pass one of these, or Metric.from_scales with the learning rates",
    )
