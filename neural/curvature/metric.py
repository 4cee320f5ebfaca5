"""The learning-rate metric: which multiple of the gradient an optimizer applies to each parameter."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...errors import InputError, invalid, require_positive
from ...theory import ADAM, SGD
from .parameters import coordinates_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Metric(NamedTuple):
    """`P^1/2`: each parameter tensor's root of its learning rates over eta0.

    The sharpness in this metric, `lambda_max(P^1/2 H P^1/2)`, is what a learning rate eta0 makes stable or
    not: the edge is `stability_threshold(optimizer) / eta0`.
    """

    roots: tuple[float | torch.Tensor, ...]
    """One number or a tensor for each parameter, in the model's order. A tensor has the shape of the
    parameter's real coordinates: the parameter's own, or that of `torch.view_as_real` if it is complex."""

    @classmethod
    def identity(cls, count: int) -> Metric:
        """The plain Hessian's."""
        return cls((1.0,) * count)

    @classmethod
    def from_scales(cls, scales: Sequence[float]) -> Metric:
        """The metric of each parameter tensor's learning rate over eta0, at least zero.

        Raises
        ------
        InputError
            If one is negative or not finite.

        Examples
        --------
        >>> from superconsistency.neural import Metric
        >>> Metric.from_scales([1.0, 0.25]).roots
        (1.0, 0.5)
        """
        for scale in scales:
            if not (math.isfinite(scale) and scale >= 0):
                accepted = "a finite number of at least 0"
                raise invalid("learning rate", scale, accepted=accepted, remedy="pass 0.1, for example")
        return cls(tuple(math.sqrt(scale) for scale in scales))

    @classmethod
    def from_optimizer(
        cls,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, torch.Tensor],
        *,
        base: float = 1.0,
        gradients: Mapping[str, torch.Tensor] | None = None,
    ) -> Metric:
        """What an SGD (momentum included), Adam or AdamW optimizer applies to the gradient at its next step.

        Adam's is `rate / ((1 - beta1^t) (sqrt(v / (1 - beta2^t)) + epsilon))`, its state frozen, and zero for
        weights that have had no gradient yet. Before its first step the state is the one that the first
        step's gradient makes: `rate / ((1 - beta1) (|g| + epsilon))`. Weight decay is not part of the metric.
        A parameter that the optimizer does not hold has learning rate zero.

        Parameters
        ----------
        optimizer
            One of these kinds.
        parameters
            The objective's.
        base
            eta0, the rate that the sharpness is measured against: with 1 the sharpness is already times the
            learning rate, and the edge is `stability_threshold(optimizer)`.
        gradients
            By name, in the parameters' shapes, for parameters that Adam has no state of
            (`objective.gradients(batch)`).

        Raises
        ------
        InputError
            If the optimizer is of another kind, maximizes, holds none of the parameters, has a rate that is
            negative or not finite, or has no state of a parameter whose gradient is not given.

        Notes
        -----
        Source: Cohen et al. 2022, Adaptive gradient methods at the edge of stability, Eq. 2.

        Examples
        --------
        >>> import torch
        >>> from superconsistency.neural import Metric
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.0, 0.99), eps=0.0)
        >>> Metric.from_optimizer(optimizer, {"w": weight}, gradients={"w": torch.tensor([0.4, 0.0])}).roots
        (tensor([0.5000, 0.0000]),)
        """
        require_positive("base learning rate", base, example=0.1)
        held = _groups(optimizer, parameters)
        known = {} if gradients is None else gradients
        return cls(
            tuple(
                _root(optimizer, held[name], name, value, base=base, gradient=known.get(name))
                if name in held
                else 0.0
                for name, value in parameters.items()
            )
        )

    def require_fitting(self, parameters: Mapping[str, torch.Tensor]) -> None:
        """Raise unless there is a root for each parameter, a number or of its coordinates' shape.

        Raises
        ------
        InputError
            Naming the parameter and both shapes, or both numbers.
        """
        if len(self.roots) != len(parameters):
            raise invalid(
                "metric",
                f"of {len(self.roots)} roots",
                accepted=f"one root for each of the {len(parameters)} parameters that are measured",
                remedy="make it of objective.parameters",
            )
        for root, (name, value) in zip(self.roots, parameters.items(), strict=True):
            shape = tuple(coordinates_of(value).shape)
            if isinstance(root, torch.Tensor) and tuple(root.shape) != shape:
                raise invalid(
                    f"metric of {name}",
                    f"of shape {tuple(root.shape)}",
                    accepted=f"a number, or a tensor of shape {shape}",
                    remedy="make it of objective.parameters",
                )


def _groups(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.Tensor]
) -> dict[str, dict[str, Any]]:
    """The group of each parameter that the optimizer holds, by the parameter's name."""
    groups = {id(value): group for group in optimizer.param_groups for value in group["params"]}
    held = {name: groups[id(value)] for name, value in parameters.items() if id(value) in groups}
    if not held:
        raise invalid(
            "optimizer",
            type(optimizer).__name__,
            accepted="one that holds parameters of the model",
            remedy="make it of model.parameters(), after the model is built",
        )
    return held


def _root(
    optimizer: torch.optim.Optimizer,
    group: Mapping[str, Any],
    name: str,
    value: torch.Tensor,
    *,
    base: float,
    gradient: torch.Tensor | None,
) -> float | torch.Tensor:
    """One parameter's."""
    if group.get("maximize"):
        raise invalid("optimizer", "maximizing", accepted="one that minimizes", remedy="negate the loss")
    rate = _rate(group) / base
    if _kind(optimizer) == SGD:
        return math.sqrt(rate)
    betas, epsilon = (float(group["betas"][0]), float(group["betas"][1])), float(group["eps"])
    state = optimizer.state.get(value, {})
    if state and float(state.get("step", 0)):
        second = _second_moment(state, group, name, value)
        return adam_root(second, float(state["step"]), rate, betas, epsilon)
    if gradient is None:
        raise invalid(
            "optimizer",
            f"{type(optimizer).__name__} without a state of {name}",
            accepted="Adam after at least one step, or with the gradient of its first",
            remedy="pass gradients=objective.gradients(batch), take a step, or load the state of a run",
        )
    _require_shape(f"gradient of {name}", gradient, value)
    return _first_root(coordinates_of(gradient.to_dense()), rate, betas[0], epsilon)


def _rate(group: Mapping[str, Any]) -> float:
    """A group's learning rate."""
    try:
        rate = float(group["lr"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _bad_rate(group.get("lr")) from error
    if not (math.isfinite(rate) and rate >= 0):
        raise _bad_rate(rate)
    return rate


def _bad_rate(rate: object) -> InputError:
    accepted = "one finite number of at least 0"
    return invalid("learning rate of the optimizer", rate, accepted=accepted, remedy="set lr in param_groups")


def _second_moment(
    state: Mapping[str, Any], group: Mapping[str, Any], name: str, value: torch.Tensor
) -> torch.Tensor:
    """Adam's average of squares in real coordinates; of a complex parameter it has each part's square."""
    key = "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"
    found = state.get(key)
    if not isinstance(found, torch.Tensor):
        raise invalid(
            f"optimizer's state of {name}",
            f"without {key}",
            accepted="one that Adam made with these settings",
            remedy="load the state of the same optimizer, or take a step",
        )
    _require_shape(f"optimizer's {key} of {name}", found, value)
    return coordinates_of(found)


def _require_shape(what: str, found: torch.Tensor, value: torch.Tensor) -> None:
    if found.shape != value.shape or found.is_complex() != value.is_complex():
        raise invalid(
            what,
            f"of shape {tuple(found.shape)}",
            accepted=f"a tensor like the parameter, of shape {tuple(value.shape)}",
            remedy="take it of the same model",
        )


def largest_group_rate(optimizer: torch.optim.Optimizer) -> float:
    """The largest learning rate among an optimizer's groups; 0 at the start of a warm-up.

    Raises
    ------
    InputError
        If one is negative or not a finite number.
    """
    return max(_rate(group) for group in optimizer.param_groups)


def has_metric(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it is known what an optimizer applies to the gradient: for SGD, Adam and AdamW.

    A subclass that steps in its own way is another optimizer.
    """
    return _known_kind(optimizer) is not None


def is_without_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.Tensor]) -> bool:
    """Whether it is Adam, and holds a parameter of these that it has not stepped yet."""
    held = {id(value) for group in optimizer.param_groups for value in group["params"]}
    return _known_kind(optimizer) == ADAM and any(
        id(value) in held and not float(optimizer.state.get(value, {}).get("step", 0))
        for value in parameters.values()
    )


def coupled_decay(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """The weight decay that an optimizer adds to the gradient, by the names of the parameters that have any.

    It is that of SGD and Adam, and makes `decay/2 |theta|^2` a part of the loss. AdamW's is not: it shrinks
    weights beside the step.

    Examples
    --------
    >>> import torch
    >>> from superconsistency.neural.curvature.metric import coupled_decay
    >>> layer = torch.nn.Linear(2, 2)
    >>> groups = [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias]}]
    >>> coupled_decay(torch.optim.SGD(groups, lr=0.1), dict(layer.named_parameters()))
    {'weight': 0.1}
    """
    if not has_metric(optimizer):
        return {}
    held = {
        id(value): float(group["weight_decay"])
        for group in optimizer.param_groups
        for value in group["params"]
        if not _is_decoupled(optimizer, group)
    }
    return {name: held[id(value)] for name, value in parameters.items() if held.get(id(value))}


def has_decay_beside_the_loss(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer shrinks weights in a way that is not part of the loss, as AdamW does."""
    return any(
        bool(group.get("weight_decay")) and (not has_metric(optimizer) or _is_decoupled(optimizer, group))
        for group in optimizer.param_groups
    )


def _is_decoupled(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> bool:
    return bool(group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))


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


def _first_root(gradient: torch.Tensor, rate: float, beta1: float, epsilon: float) -> torch.Tensor:
    """The root at Adam's first step, when `v = (1 - beta2) g^2`; zero where the gradient is zero."""
    root = gradient.abs().add_(epsilon).mul_(1 - beta1).reciprocal_().mul_(rate).sqrt_()
    return root.masked_fill_(gradient == 0, 0.0)


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
    kind = _known_kind(optimizer)
    if kind is None:
        raise invalid(
            "optimizer",
            type(optimizer).__name__,
            accepted="SGD, Adam, AdamW",
            remedy="pass one of these, or Metric.from_scales with the learning rates",
        )
    return kind


def _known_kind(optimizer: torch.optim.Optimizer) -> str | None:
    """SGD or Adam if it steps as they do; None for any other."""
    for known, kind in (
        (torch.optim.SGD, SGD),
        (torch.optim.AdamW, ADAM),
        (torch.optim.Adam, ADAM),
    ):
        # torch wraps the method of a class when the first object of it is made
        own, theirs = (inspect.unwrap(one.step) for one in (type(optimizer), known))
        if isinstance(optimizer, known) and own is theirs:
            return kind
    return None
