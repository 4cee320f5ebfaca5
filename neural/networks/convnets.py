"""The paper's convolutional networks, without biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn
from torch.nn import functional

from ...errors import invalid, require_integer, require_known, require_whole
from ..data.dataset import IMAGES
from .architecture import WIDEST, Architecture, image_arguments, require_finite
from .layers import NORMS, Convolution, Dense, Flatten, Network, Norm, Scaling

if TYPE_CHECKING:
    import torch

    from ...theory import Parametrization
    from ..data import Dataset

_MOST_STAGES = 14
"""Each halves the images, and those of a side of 2^14 are too large to train on."""


@dataclass(frozen=True)
class SimpleConvNetSettings(Architecture):
    """Settings of `SimpleConvNet`, which has nothing to set."""

    kinds: ClassVar = (IMAGES,)

    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> SimpleConvNet:
        shape = image_arguments(data)
        side = shape.pop("side")
        if side != 32:
            raise invalid(
                "side of the images", side, accepted="32 pixels", remedy="resize them, or choose convnet"
            )
        return SimpleConvNet(*drawn, **shape, device=device)


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
        Channels of the images (32 x 32), and number of labels.
    device
        Device that the weights are made on.

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


@dataclass(frozen=True)
class ConvNetSettings(Architecture):
    """Settings of `ConvNet`.

    Attributes
    ----------
    depth
        Residual blocks L over all stages, a multiple of their number.
    skip
        tau: 0 without skips, 1 with them.
    branch_scale
        beta.
    layers_per_block
        k, convolutions of a branch.
    norm
        `none`, `layer` or `batch`.
    stages
        Number of parts that end with pooling.
    first_stride
        Stride of the first convolution.
    gain
        Factor on the weights inside branches; sqrt(2) in the published code.
    """

    depth: int = 3
    skip: float = 0.0
    branch_scale: float = 1.0
    layers_per_block: int = 1
    norm: str = "none"
    stages: int = 3
    first_stride: int = 2
    gain: float = 1.0

    kinds: ClassVar = (IMAGES,)

    def __post_init__(self) -> None:
        require_known("norm", self.norm, NORMS)
        for name in ("depth", "layers_per_block", "first_stride"):
            require_integer(name.replace("_", " "), getattr(self, name), least=1, most=10**4, example=3)
        require_integer("stages", self.stages, least=1, most=_MOST_STAGES, example=3)
        require_finite(self, "skip", "branch_scale", "gain")
        if self.depth % self.stages:
            raise invalid(
                "depth",
                self.depth,
                accepted=f"multiples of the {self.stages} stages",
                remedy="pass 6, for example",
            )

    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> ConvNet:
        return ConvNet(self, *drawn, **image_arguments(data), device=device)


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
        See `SimpleConvNet`.
    side
        Side of the images, in pixels.

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
        Those of the network.
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
    """Side in pixels of the images that the readout sees."""
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
