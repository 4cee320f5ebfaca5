"""Fully connected networks: Eq. 1 of the paper, with or without skips, and its linear versions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from ...errors import require_integer, require_known, require_whole
from ..data.dataset import IMAGES, VECTORS
from .architecture import WIDEST, Architecture, require_finite
from .layers import Dense, Network, Scaling

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...theory import Parametrization
    from ..data import Dataset

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "tanh": torch.tanh,
    "linear": lambda values: values,
}


@dataclass(frozen=True)
class DenseSettings(Architecture):
    """Settings of `DenseNet`.

    Attributes
    ----------
    depth
        Layers between the first and the readout.
    activation
        `relu`, `gelu`, `tanh` or `linear`.
    skip
        tau: 0 for a plain network.
    bias
        Whether layers have biases.
    gain
        Factor on the weights inside branches.
    """

    depth: int = 2
    activation: str = "relu"
    skip: float = 0.0
    bias: bool = False
    gain: float = 1.0

    kinds: ClassVar = (IMAGES, VECTORS)

    def __post_init__(self) -> None:
        require_known("activation", self.activation, ACTIVATIONS)
        require_integer("depth", self.depth, least=0, most=10**4, example=2)
        require_finite(self, "skip", "gain")

    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> DenseNet:
        inputs = math.prod(data.shape)
        return DenseNet(self, *drawn, inputs=inputs, outputs=data.outputs, device=device)


class DenseNet(Network):
    """`h1 = W0 x`, `h = tau h + m W phi(h)` depth times, readout of `phi(h)`; all multipliers the table's.

    With depth 0 and the linear activation it is the two-layer linear network of Section 5, with a depth and
    that activation the deep linear network of Hayou 2025. Without skips (tau = 0) the multiplier m stays, as
    in Eq. 1: it is 1 in rows that do not know depth.

    Parameters
    ----------
    settings
        Depth, activation, skips, biases.
    parametrization, width, generator
        See `SimpleConvNet`.
    inputs, outputs
        Features of an example, flattened, and outputs.
    device
        Device that the weights are made on.

    Notes
    -----
    Source: Eq. 1, Noci et al. 2024.
    """

    def __init__(
        self,
        settings: DenseSettings,
        parametrization: Parametrization,
        width: int,
        generator: torch.Generator,
        *,
        inputs: int,
        outputs: int,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        require_whole("width", width, least=1, most=WIDEST, example=64)
        self.skip, bias = settings.skip, settings.bias
        self.activation = ACTIVATIONS[settings.activation]
        scaling = Scaling(
            parametrization, width, generator, depth=max(1, settings.depth), device=device, gain=settings.gain
        )
        self.multiplier = scaling.branch
        self.first = Dense(scaling, "input", inputs, width, bias=bias)
        self.hidden = nn.ModuleList(
            Dense(scaling, "hidden", width, width, bias=bias, in_branch=True) for _ in range(settings.depth)
        )
        self.readout = Dense(scaling, "readout", width, outputs, bias=bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape (batch, outputs) of inputs of shape (batch, ...)."""
        hidden = self.first(inputs.flatten(1))
        for layer in self.hidden:
            branch = layer(self.activation(hidden))
            branch = self.multiplier * branch
            hidden = self.skip * hidden + branch if self.skip else branch
        outputs: torch.Tensor = self.readout(self.activation(hidden))
        return outputs
