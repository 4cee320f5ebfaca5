"""SimpleConvNet, with every layer scaled by its row of the parametrization table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from ..errors import require_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..theory import LayerRule, Parametrization

_IMAGE_DIMENSIONS = 4

WIDEST = 2**14
"""Widest network: 2.4e9 weights, about 10 GB."""


class ScaledLayer(nn.Module):
    """A weight with its forward multiplier, initial variance and learning rate from the table.

    Attributes
    ----------
    weight
        Raw weight; the layer applies `multiplier * weight`.
    multiplier
        Forward multiplier.
    learning_rate_scale
        The layer's learning rate over `eta0`.
    """

    def __init__(
        self, shape: tuple[int, ...], rule: LayerRule, width: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        sizes = {"fan_in": float(math.prod(shape[1:])), "width": float(width)}
        self.multiplier = float(rule.multiplier.at(**sizes))
        self.learning_rate_scale = float(rule.learning_rate.at(**sizes))
        deviation = math.sqrt(rule.variance.at(**sizes))
        layout = torch.channels_last if len(shape) == _IMAGE_DIMENSIONS else torch.contiguous_format
        weight = deviation * torch.randn(shape, generator=generator)
        self.weight = nn.Parameter(weight.contiguous(memory_format=layout))

    def scaled(self) -> torch.Tensor:
        """The weight as the forward pass uses it."""
        return self.multiplier * self.weight


class SimpleConvNet(nn.Module):
    """conv 3->N 3x3 stride 2, pool, ReLU, conv N->N 3x3 stride 4, pool, ReLU, linear N->classes; no biases.

    The published order, ReLU before pooling, gives the same function and gradients at four times the ReLU's
    cost, because maximum and ReLU commute.

    Parameters
    ----------
    parametrization
        A row of the table.
    width
        Number of filters `N`, at least 1.
    generator
        Randomness of the initialisation, on the CPU.
    channels, classes
        Of the images (32 x 32) and labels.

    Notes
    -----
    Source: Figures 1 and 26, Noci et al. 2024.
    """

    def __init__(
        self,
        parametrization: Parametrization,
        width: int,
        generator: torch.Generator,
        *,
        channels: int = 3,
        classes: int = 10,
    ) -> None:
        super().__init__()
        require_whole("width", width, least=1, most=WIDEST, example=64)
        hidden, readout = parametrization.hidden, parametrization.readout
        self.first = ScaledLayer((width, channels, 3, 3), hidden, width, generator)
        self.second = ScaledLayer((width, width, 3, 3), hidden, width, generator)
        self.readout = ScaledLayer((classes, width), readout, width, generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, classes), of images of shape (batch, channels, 32, 32)."""
        hidden = functional.conv2d(images, self.first.scaled(), stride=2, padding=1)
        hidden = functional.relu(functional.max_pool2d(hidden, 2))
        hidden = functional.conv2d(hidden, self.second.scaled(), stride=4, padding=1)
        hidden = functional.relu(functional.max_pool2d(hidden, 2))
        return functional.linear(hidden.flatten(1), self.readout.scaled())


def forward_cost(width: int, channels: int = 3, classes: int = 10) -> float:
    """Multiply-adds of SimpleConvNet's forward pass on one image, for estimates of time left."""
    return 256 * 9 * channels * width + 4 * 9 * width**2 + classes * width


def scaled_layers(model: nn.Module) -> Iterator[ScaledLayer]:
    """The layers that the table scales, in order."""
    return (module for module in model.modules() if isinstance(module, ScaledLayer))


def parameter_groups(model: nn.Module, learning_rate: float) -> list[dict[str, Any]]:
    """Optimizer groups with each layer's learning rate."""
    return [
        {"params": [layer.weight], "lr": learning_rate * layer.learning_rate_scale}
        for layer in scaled_layers(model)
    ]
