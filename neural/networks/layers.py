"""Layers scaled by the table: each parameter knows its kind, multiplier and learning rates."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ...errors import require_known
from ...theory import SGD, gradient_scale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...theory import Parametrization

_IMAGE_DIMENSIONS = 4

NORMS = ("none", "layer", "batch")
"""Normalisations of convolutional networks."""


class Scales(NamedTuple):
    """A parameter's row of the table at its sizes."""

    kind: str
    """One of `theory.KINDS`."""
    in_branch: bool
    """Whether inside a residual branch."""
    multiplier: float
    """Factor of the forward pass."""
    sgd: float
    """SGD's learning rate over eta0."""
    adam: float
    """The same of Adam and AdamW."""
    epsilon: float
    """What Adam's epsilon is multiplied by: the size of the gradient."""

    def rate(self, optimizer: str) -> float:
        """The learning rate over eta0 under an optimizer."""
        return self.sgd if optimizer == SGD else self.adam


@dataclass(frozen=True)
class Scaling:
    """What the layers of one network are made with.

    Attributes
    ----------
    table
        A row of the parametrization table.
    width
        The readout's fan-in, which gamma is the root of.
    depth
        Residual branches (one where there are none).
    generator
        Randomness of the initialisation, on the CPU: the same on every device.
    device
        Where the parameters are made; on `meta`, where they have no values, none are drawn.
    gain
        Factor on the weights inside residual branches.
    """

    table: Parametrization
    width: int
    generator: torch.Generator
    depth: int = 1
    device: torch.device | None = None
    gain: float = 1.0

    def scales(self, kind: str, fan_in: int, *, in_branch: bool = False) -> Scales:
        """A parameter's row at its sizes."""
        sizes = {"fan_in": float(fan_in), "width": float(self.width), "depth": float(self.depth)}
        rule = self.table.rule(kind, in_branch=in_branch)
        multiplier = float(rule.multiplier.at(**sizes)) * (self.gain if in_branch and _is_matrix(kind) else 1)
        return Scales(
            kind,
            in_branch,
            multiplier,
            float(rule.learning_rate.at(**sizes)),
            float(rule.adam.at(**sizes)),
            float(gradient_scale(self.table, kind, in_branch=in_branch).at(**sizes)),
        )

    def draw(self, shape: tuple[int, ...], kind: str, fan_in: int) -> nn.Parameter:
        """Normal weights of the table's variance; convolutions with channels last in memory."""
        if self.device is not None and self.device.type == "meta":
            return nn.Parameter(torch.empty(shape, device=self.device))
        sizes = {"fan_in": float(fan_in), "width": float(self.width), "depth": float(self.depth)}
        deviation = math.sqrt(self.table.rule(kind).variance.at(**sizes))
        layout = torch.channels_last if len(shape) == _IMAGE_DIMENSIONS else torch.contiguous_format
        weight = deviation * torch.randn(shape, generator=self.generator)
        return nn.Parameter(weight.contiguous(memory_format=layout).to(self.device))

    def constant(self, value: float, size: int) -> nn.Parameter:
        """A vector that starts at a constant."""
        return nn.Parameter(torch.full((size,), value, device=self.device))

    @property
    def branch(self) -> float:
        """Multiplier of a residual branch."""
        return float(self.table.branch.multiplier.at(depth=float(self.depth)))

    def attention(self, dimension: int) -> float:
        """Factor of attention logits with heads of a dimension."""
        return float(self.table.attention.at(fan_in=float(dimension)))


def _is_matrix(kind: str) -> bool:
    return kind in {"input", "hidden", "attention", "readout"}


class Network(nn.Module, ABC):
    """A network all of whose layers the table scales.

    Attributes
    ----------
    readout
        Its last layer, whose fan-in is the width that the table knows.
    """

    readout: Dense

    @abstractmethod
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (batch, ...)."""


class ScaledLayer(nn.Module, ABC):
    """A layer whose parameters have rows of the table.

    Attributes
    ----------
    scales
        By the name of the parameter.
    """

    scales: dict[str, Scales]

    @abstractmethod
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The layer's outputs."""


class Dense(ScaledLayer):
    """`multiplier * weight @ x`, and a bias if asked for; x has the features last.

    Parameters
    ----------
    scaling, kind
        What it is made with.
    fan_in, fan_out
        Features in and out.
    bias, in_branch
        Whether there is a bias, that starts at zero; whether inside a residual branch.
    """

    def __init__(
        self,
        scaling: Scaling,
        kind: str,
        fan_in: int,
        fan_out: int,
        *,
        bias: bool = False,
        in_branch: bool = False,
    ) -> None:
        super().__init__()
        self.weight = scaling.draw((fan_out, fan_in), kind, fan_in)
        self.scales = {"weight": scaling.scales(kind, fan_in, in_branch=in_branch)}
        self.bias: nn.Parameter | None = None
        if bias:
            self.bias = scaling.constant(0.0, fan_out)
            bias_kind = "readout bias" if kind == "readout" else "bias"
            self.scales["bias"] = scaling.scales(bias_kind, 1, in_branch=in_branch)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape (..., fan_out) of inputs of shape (..., fan_in)."""
        return functional.linear(inputs, self.scales["weight"].multiplier * self.weight, self.bias)


class Convolution(ScaledLayer):
    """`multiplier * weight` convolved with images; no bias.

    Parameters
    ----------
    scaling, kind
        What it is made with.
    channels_in, channels_out, size, stride, padding
        Shape of the convolution.
    in_branch
        Whether inside a residual branch.
    """

    def __init__(
        self,
        scaling: Scaling,
        kind: str,
        channels_in: int,
        channels_out: int,
        *,
        size: int = 3,
        stride: int = 1,
        padding: int = 1,
        in_branch: bool = False,
    ) -> None:
        super().__init__()
        fan_in = channels_in * size * size
        self.weight = scaling.draw((channels_out, channels_in, size, size), kind, fan_in)
        self.scales = {"weight": scaling.scales(kind, fan_in, in_branch=in_branch)}
        self.stride, self.padding = stride, padding

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape (batch, channels_out, ...) of images of shape (batch, channels_in, side, side)."""
        weight = self.scales["weight"].multiplier * self.weight
        return functional.conv2d(inputs, weight, stride=self.stride, padding=self.padding)


class Embedding(ScaledLayer):
    """A vector for each token.

    Parameters
    ----------
    scaling
        What it is made with.
    tokens, width
        How many, of how many features.
    """

    def __init__(self, scaling: Scaling, tokens: int, width: int) -> None:
        super().__init__()
        self.weight = scaling.draw((tokens, width), "embedding", 1)
        self.scales = {"weight": scaling.scales("embedding", 1)}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape (..., width) of whole numbers of shape (...)."""
        return functional.embedding(inputs, self.scales["weight"].multiplier * self.weight)


class Norm(ScaledLayer):
    """Normalisation with a gain and a bias for each feature.

    `layer` normalises each example, or each position of a sequence, over all of its features (all pixels of
    images); `batch` each channel over the batch, whose own statistics are used in training and evaluation
    alike: nothing is accumulated.

    Parameters
    ----------
    scaling
        What it is made with.
    kind
        `layer` or `batch`.
    features
        Channels of images, or features of the last dimension.
    in_branch, in_stream
        Whether inside a residual branch, or in the stream that branches add to.
    """

    def __init__(
        self,
        scaling: Scaling,
        kind: str,
        features: int,
        *,
        in_branch: bool = False,
        in_stream: bool = False,
    ) -> None:
        super().__init__()
        require_known("normalisation", kind, NORMS[1:])
        self.kind = kind
        self.gain, self.bias = scaling.constant(1.0, features), scaling.constant(0.0, features)
        self.scales = {
            name: scaling.scales("stream" if in_stream else kind, 1, in_branch=in_branch)
            for name, kind in (("gain", "norm"), ("bias", "bias"))
        }

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs' shape: (batch, channels, side, side) or, for `layer`, also (..., features)."""
        if self.kind == "batch":
            return functional.batch_norm(inputs, None, None, self.gain, self.bias, training=True)
        if inputs.ndim == _IMAGE_DIMENSIONS:
            return functional.group_norm(inputs, 1, self.gain, self.bias)
        return functional.layer_norm(inputs, self.gain.shape, self.gain, self.bias)


class Flatten(nn.Module):
    """Channels and pixels of images as features."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Shape (batch, channels * side * side) of images of shape (batch, channels, side, side)."""
        return images.flatten(1)


def scaled_layers(model: nn.Module) -> Iterator[tuple[str, ScaledLayer]]:
    """The layers that the table scales, with their names, in the order of the forward pass."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, ScaledLayer))


def parameter_scales(model: nn.Module) -> dict[str, Scales]:
    """The rows of a network's parameters, by the parameter's name, in the model's order."""
    found = {
        f"{layer_name}.{name}": scales
        for layer_name, layer in scaled_layers(model)
        for name, scales in layer.scales.items()
    }
    return {name: found[name] for name, _ in model.named_parameters()}
