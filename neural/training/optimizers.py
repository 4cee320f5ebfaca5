"""SGD, Adam and AdamW on the parameters of one network or several, each with its own learning rate.

The updates are those of `torch.optim`, which tests compare them with; they stand here because networks that
train together have a learning rate each, which no parameter group can express.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from ...errors import as_number, invalid, require_known
from ...theory import ADAM, ADAMW, OPTIMIZERS, SGD
from ..curvature.metric import adam_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..networks import Scales


_FOREIGN = {SGD: ("beta1", "beta2", "epsilon"), ADAM: ("momentum", "weight_decay"), ADAMW: ("momentum",)}
"""Settings that an optimizer does not have."""


@dataclass(frozen=True)
class Optimizer:
    """Which optimizer, and its settings; learning rates per layer are the parametrization table's.

    Attributes
    ----------
    name
        `sgd`, `adam` or `adamw`.
    momentum
        Heavy ball of SGD.
    beta1, beta2
        Decay rates of Adam's moving averages.
    epsilon
        Adam's epsilon, multiplied by the size the table gives to a parameter's gradient, so that it matters
        alike at every width and depth. With 0 a weight whose gradient has always been zero is lost, as in
        PyTorch.
    weight_decay
        Part of each weight that a step takes away, over `eta0`: the same in every layer and at every width,
        since its coefficient is divided by the layer's learning rate. SGD's is part of the gradient; Adam has
        none, AdamW's does not pass through its averages.

    Raises
    ------
    InputError
        If a value is out of range, or is not one of this optimizer's.
    """

    name: str = SGD
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_known("optimizer", self.name, OPTIMIZERS)
        for name in ("momentum", "beta1", "beta2", "epsilon", "weight_decay"):
            value = as_number(name.replace("_", " "), getattr(self, name), example=0.0)
            object.__setattr__(self, name, float(value))
        for name in ("momentum", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise invalid(
                    name, getattr(self, name), accepted="from 0 to below 1", remedy="pass 0.9, for example"
                )
        for name in ("epsilon", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                words = name.replace("_", " ")
                raise invalid(words, getattr(self, name), accepted="at least 0", remedy="pass 0, for example")
        for name in _FOREIGN[self.name]:
            value, without = getattr(self, name), getattr(Optimizer, name)
            if value != without:
                words, accepted = name.replace("_", " "), f"{without:g} with {self.name}"
                raise invalid(
                    words, value, accepted=accepted, remedy="leave it out, or pass another optimizer"
                )

    @property
    def threshold(self) -> float:
        """Sharpness times eta0 at the edge of stability, weight decay left out.

        2 (1 + momentum) for SGD, 2 (1 + beta1)/(1 - beta1) for Adam (Cohen et al. 2021, 2022).
        """
        if self.name == SGD:
            return 2 * (1 + self.momentum)
        return 2 * (1 + self.beta1) / (1 - self.beta1)

    def begin(
        self, parameters: Sequence[torch.Tensor], scales: Sequence[Scales], rates: Sequence[float]
    ) -> OptimizerSteps:
        """The optimizer before its first step.

        Parameters
        ----------
        parameters
            What is trained, of one network or of several along the first axis (`networks.stacking`).
        scales
            Row of the table of each parameter.
        rates
            eta0 of each network.
        """
        return OptimizerSteps(self, parameters, scales, rates)


class OptimizerMoments(NamedTuple):
    """What an optimizer remembers of each parameter, in its shape; None where it has none."""

    first: list[torch.Tensor] | None
    """Momentum buffer, or Adam's average of gradients."""
    second: list[torch.Tensor] | None
    """Adam's average of squared gradients."""


class OptimizerSteps:
    """An optimizer at work: its parameters, memory and number of steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        parameters: Sequence[torch.Tensor],
        scales: Sequence[Scales],
        rates: Sequence[float],
    ) -> None:
        self.optimizer = optimizer
        self.parameters = list(parameters)
        self.networks = len(rates)
        self.scales = [scale.rate(optimizer.name) for scale in scales]
        self.epsilons = [optimizer.epsilon * scale.epsilon for scale in scales]
        self.base = [_along(rates, value) for value in self.parameters]
        self.taken = 0
        remembers = optimizer.name != SGD or optimizer.momentum > 0
        kept = [torch.zeros_like(value) for value in self.parameters] if remembers else None
        squares = [torch.zeros_like(value) for value in self.parameters] if optimizer.name != SGD else None
        self.moments = OptimizerMoments(kept, squares)

    @torch.no_grad()
    def step(self, gradients: Sequence[torch.Tensor], factor: float = 1.0) -> None:
        """One step.

        Parameters
        ----------
        gradients
            Gradients of the parameters, in their order.
        factor
            Factor of the schedule on all rates.
        """
        self.taken += 1
        for index, gradient in enumerate(gradients):
            self._update(index, gradient, self.base[index] * factor)

    def _update(self, index: int, gradient: torch.Tensor, rate: float | torch.Tensor) -> None:
        optimizer, scale, parameter = self.optimizer, self.scales[index], self.parameters[index]
        decay = optimizer.weight_decay
        if decay and optimizer.name == ADAMW:
            parameter.mul_(1 - rate * decay)
        elif decay:
            gradient = gradient.add(parameter, alpha=decay / scale)
        if optimizer.name == SGD:
            _descend(parameter, self._averaged(index, gradient), rate * scale)
            return
        first, second = self._adam(index, gradient)
        corrected = math.sqrt(1 - optimizer.beta2**self.taken)
        size = second.sqrt().div_(corrected).add_(self.epsilons[index])
        _descend(parameter, first / size, rate * (scale / (1 - optimizer.beta1**self.taken)))

    def _averaged(self, index: int, gradient: torch.Tensor) -> torch.Tensor:
        if self.moments.first is None:
            return gradient
        return self.moments.first[index].mul_(self.optimizer.momentum).add_(gradient)

    def _adam(self, index: int, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.moments.first is None or self.moments.second is None:
            raise RuntimeError(f"{self.optimizer.name} has no memory")
        beta1, beta2 = self.optimizer.beta1, self.optimizer.beta2
        first = self.moments.first[index].lerp_(gradient, 1 - beta1)
        second = self.moments.second[index].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        return first, second

    def roots(self, network: int, shapes: Sequence[torch.Size]) -> list[float | torch.Tensor] | None:
        """Root of what one network's gradient is multiplied by over eta0, for each parameter.

        None before Adam's first step, when that is not known. As of `curvature.Metric`; in the shapes that
        the parameters have in the network by itself.
        """
        if self.optimizer.name == SGD:
            return [math.sqrt(scale) for scale in self.scales]
        if self.taken == 0 or self.moments.second is None:
            return None
        betas = (self.optimizer.beta1, self.optimizer.beta2)
        return [
            adam_root(part(second, network, self.networks, shape), self.taken, scale, betas, epsilon)
            for second, scale, epsilon, shape in zip(
                self.moments.second, self.scales, self.epsilons, shapes, strict=True
            )
        ]

    def state(self) -> dict[str, object]:
        """Everything that a further step depends on, as tensors and plain values."""
        return {"taken": self.taken, "first": self.moments.first, "second": self.moments.second}

    def load(self, state: dict[str, object]) -> None:
        """Go on from a state of the same optimizer and parameters."""
        taken = state["taken"]
        if not isinstance(taken, int):
            raise TypeError("the number of steps taken is not a whole number")
        self.taken = taken
        for kept, saved in zip(self.moments, (state["first"], state["second"]), strict=True):
            if kept is not None and isinstance(saved, list):
                for value, earlier in zip(kept, saved, strict=True):
                    value.copy_(earlier)


def part(whole: torch.Tensor, network: int, networks: int, shape: torch.Size) -> torch.Tensor:
    """One network's part of what several share along the first axis, in the shape it has by itself."""
    mine = whole.detach().chunk(networks)[network]
    return mine if mine.shape == shape else mine.view(shape)


def _along(rates: Sequence[float], parameter: torch.Tensor) -> float | torch.Tensor:
    """A rate, or those of networks along the first axis of a parameter; shape (first axis, 1, ...)."""
    if len(rates) == 1:
        return rates[0]
    repeated = torch.tensor(rates, dtype=parameter.dtype).repeat_interleave(len(parameter) // len(rates))
    return repeated.view(-1, *(1,) * (parameter.ndim - 1)).to(parameter.device)


def _descend(parameter: torch.Tensor, direction: torch.Tensor, rate: float | torch.Tensor) -> None:
    if isinstance(rate, torch.Tensor):
        parameter.addcmul_(direction, rate, value=-1)
    else:
        parameter.add_(direction, alpha=-rate)
