"""The paper's convolutional networks, without biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional

from ...errors import invalid, require_whole
from .layers import Convolution, Dense, Flatten, Network, Norm, Scaling

if TYPE_CHECKING:
    import torch

    from ...theory import Parametrization
    from .settings import ConvNetSettings

WIDEST = 2**14
"""Widest network: SimpleConvNet then has 2.4e9 weights, about 10 GB."""


class SimpleConvNet(Network):
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
    device
        Where the weights are made.

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
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        require_whole("width", width, least=1, most=WIDEST, example=64)
        scaling = Scaling(parametrization, width, generator, device=device)
        self.first = Convolution(scaling, "input", channels, width, stride=2)
        self.second = Convolution(scaling, "hidden", width, width, stride=4)
        self.flatten = Flatten()
        self.readout = Dense(scaling, "readout", width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, classes), of images of shape (batch, channels, 32, 32)."""
        hidden = functional.relu(functional.max_pool2d(self.first(images), 2))
        hidden = functional.relu(functional.max_pool2d(self.second(hidden), 2))
        logits: torch.Tensor = self.readout(self.flatten(hidden))
        return logits


class ConvNet(Network):
    """The paper's residual network: conv 3->N, stages of residual blocks with a conv and pooling between.

    A block is `tau h + beta m branch(h)` with the table's branch multiplier m and a branch of
    k x [ReLU, conv 3x3, norm]; with tau = 0 it is a plain ConvNet. After each stage comes max pooling by 2,
    between stages a plain convolution; the readout sees ReLU of all pixels that are left (4N features of
    images of 32 x 32: the width on the paper's axes).

    Parameters
    ----------
    settings
        Depth, skips, norms.
    parametrization, width, generator, channels, classes, device
        As of `SimpleConvNet`.
    side
        Of the images, in pixels.

    Raises
    ------
    InputError
        If the images are too small for the stages.

    Notes
    -----
    Source: Eq. 1 and Appendix J.4, Noci et al. 2024; Figures 2-4, 6-9, 11-14, 18 and 20-28.
    """

    def __init__(
        self,
        settings: ConvNetSettings,
        parametrization: Parametrization,
        width: int,
        generator: torch.Generator,
        *,
        channels: int = 3,
        side: int = 32,
        classes: int = 10,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        require_whole("width", width, least=1, most=WIDEST, example=64)
        left = _side_left(side, settings)
        scaling = Scaling(
            parametrization,
            width * left**2,
            generator,
            depth=settings.depth,
            device=device,
            gain=settings.gain,
        )
        self.first = Convolution(scaling, "input", channels, width, stride=settings.first_stride)
        blocks = settings.depth // settings.stages
        self.stages = nn.ModuleList(
            nn.ModuleList(ConvBlock(settings, scaling, width) for _ in range(blocks))
            for _ in range(settings.stages)
        )
        self.between = nn.ModuleList(
            Convolution(scaling, "hidden", width, width) for _ in range(settings.stages - 1)
        )
        self.flatten = Flatten()
        self.readout = Dense(scaling, "readout", width * left**2, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, classes), of images of shape (batch, channels, side, side)."""
        hidden = self.first(images)
        for index, stage in enumerate(self.stages):
            if index:
                hidden = self.between[index - 1](hidden)
            for block in stage:  # type: ignore[attr-defined] # a ModuleList, typed as a Module
                hidden = block(hidden)
            hidden = functional.max_pool2d(hidden, 2)
        logits: torch.Tensor = self.readout(self.flatten(functional.relu(hidden)))
        return logits


class ConvBlock(nn.Module):
    """`tau h + beta m branch(h)`, the branch k x [ReLU, conv 3x3, norm].

    Parameters
    ----------
    settings, scaling
        Of the network.
    width
        Channels.
    """

    def __init__(self, settings: ConvNetSettings, scaling: Scaling, width: int) -> None:
        super().__init__()
        self.skip, self.multiplier = settings.skip, settings.branch_scale * scaling.branch
        count, normed = settings.layers_per_block, settings.norm != "none"
        self.convolutions = nn.ModuleList(
            Convolution(scaling, "hidden", width, width, in_branch=True) for _ in range(count)
        )
        self.norms = nn.ModuleList(
            Norm(scaling, settings.norm, width, in_branch=True) if normed else nn.Identity()
            for _ in range(count)
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Shape (batch, width, side, side), as given."""
        branch = hidden
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            branch = norm(convolution(functional.relu(branch)))
        branch = self.multiplier * branch
        return branch if self.skip == 0 else self.skip * hidden + branch


def _side_left(side: int, settings: ConvNetSettings) -> int:
    """Pixels a side that the readout sees."""
    left = -(-side // settings.first_stride)
    for _ in range(settings.stages):
        left //= 2
    if left < 1:
        least = settings.first_stride * (2**settings.stages - 1) + 1
        raise invalid(
            "side of the images",
            side,
            accepted=f"at least {least} pixels with {settings.stages} stages",
            remedy="use larger images, fewer stages or first_stride=1",
        )
    return left
