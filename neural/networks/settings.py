"""Settings of the networks, each with its module: what a run's configuration says of its architecture."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import invalid, require_integer, require_known
from ..data.dataset import IMAGES, TOKENS, VECTORS
from .convnets import ConvNet, SimpleConvNet
from .dense import ACTIVATIONS, DenseNet
from .layers import NORMS, Network
from .transformers import LanguageModel, VisionTransformer

if TYPE_CHECKING:
    import torch

    from ...theory import Parametrization
    from ..data import Dataset

_MOST_STAGES = 14
"""Each halves the images, and those of a side of 2^14 are too large to train on."""


class Architecture(ABC):
    """Settings that know how to build their network.

    Attributes
    ----------
    kinds
        Kinds of data sets that the network takes.
    """

    kinds: ClassVar[tuple[str, ...]]

    def build(
        self,
        table: Parametrization,
        width: int,
        data: Dataset,
        generator: torch.Generator,
        device: torch.device | None = None,
    ) -> Network:
        """The network at a width, for the shapes of a data set, in the precision of its inputs.

        Raises
        ------
        InputError
            If the settings do not fit the width or the data.
        """
        require_kind(self, data)
        network = self._network(data, table, width, generator, device=device)
        return network.to(data.inputs.dtype) if data.inputs.is_floating_point() else network

    @abstractmethod
    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> Network:
        """The network for a data set's shapes; parametrization, width and generator are passed on."""


def _of_images(data: Dataset) -> dict[str, Any]:
    """Arguments of a network of images."""
    channels, side = data.shape[:2]
    return {"channels": channels, "side": side, "classes": data.outputs}


@dataclass(frozen=True)
class SimpleConvNetSettings(Architecture):
    """SimpleConvNet, which has none."""

    kinds: ClassVar = (IMAGES,)

    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> SimpleConvNet:
        shape = _of_images(data)
        side = shape.pop("side")
        if side != 32:
            raise invalid(
                "side of the images", side, accepted="32 pixels", remedy="resize them, or choose convnet"
            )
        return SimpleConvNet(*drawn, **shape, device=device)


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
        Parts that end with pooling.
    first_stride
        Of the first convolution.
    gain
        On the weights inside branches; sqrt(2) in the published code.
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
        _require_finite(self, "skip", "branch_scale", "gain")
        if self.depth % self.stages:
            raise invalid(
                "depth", self.depth, accepted=f"multiples of the {self.stages} stages", remedy="pass 6, say"
            )

    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> ConvNet:
        return ConvNet(self, *drawn, **_of_images(data), device=device)


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
        On the weights inside branches.
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
        _require_finite(self, "skip", "gain")

    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> DenseNet:
        inputs = math.prod(data.shape)
        return DenseNet(self, *drawn, inputs=inputs, outputs=data.outputs, device=device)


@dataclass(frozen=True)
class VisionTransformerSettings(Architecture):
    """Settings of `VisionTransformer`.

    Attributes
    ----------
    depth
        Blocks.
    heads
        Of attention; they have to divide the width.
    patch
        Side of a patch, in pixels.
    ratio
        Width of the MLP over that of the network.
    inner
        Width of the MLP whatever the network's; None follows the ratio.
    norm
        `pre` or `post`.
    bias
        Whether the MLP has biases.
    """

    depth: int = 3
    heads: int = 8
    patch: int = 4
    ratio: int = 4
    inner: int | None = None
    norm: str = "pre"
    bias: bool = False

    kinds: ClassVar = (IMAGES,)

    def __post_init__(self) -> None:
        _require_transformer(self)
        require_integer("patch", self.patch, least=1, example=4)

    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> VisionTransformer:
        return VisionTransformer(self, *drawn, **_of_images(data), device=device)


@dataclass(frozen=True)
class LanguageModelSettings(Architecture):
    """Settings of `LanguageModel`; as of `VisionTransformerSettings`."""

    depth: int = 2
    heads: int = 2
    ratio: int = 4
    inner: int | None = None
    norm: str = "pre"
    bias: bool = False

    kinds: ClassVar = (TOKENS,)

    def __post_init__(self) -> None:
        _require_transformer(self)

    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> LanguageModel:
        return LanguageModel(self, *drawn, tokens=data.outputs, time=data.shape[0], device=device)


def require_kind(settings: Architecture, data: Dataset) -> None:
    """Raise `InputError` unless the network takes such examples."""
    require_known("kind of the data", data.kind, settings.kinds)


def _require_finite(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not math.isfinite(value):
            words = name.replace("_", " ")
            raise invalid(words, value, accepted="a finite number", remedy="pass 1, say")


def _require_transformer(settings: VisionTransformerSettings | LanguageModelSettings) -> None:
    for name in ("depth", "heads", "ratio"):
        require_integer(name, getattr(settings, name), least=1, most=10**4, example=2)
    require_known("norm", settings.norm, ("pre", "post"))
    if settings.inner is not None:
        require_integer("inner width", settings.inner, least=1, most=10**6, example=128)


NETWORKS: dict[str, Any] = {
    "simple-convnet": SimpleConvNetSettings(),
    "convnet": ConvNetSettings(),
    "resnet": ConvNetSettings(depth=6, skip=1.0),
    "vit": VisionTransformerSettings(),
    "transformer": LanguageModelSettings(),
    "transformer-post": LanguageModelSettings(norm="post"),
    "mlp": DenseSettings(),
    "residual-mlp": DenseSettings(depth=6, skip=1.0),
    "two-layer-linear": DenseSettings(depth=0, activation="linear"),
    "deep-linear": DenseSettings(depth=3, activation="linear"),
}
"""Networks by name, with the settings they have unless told otherwise."""


def network(name: str, **changes: Any) -> Architecture:
    """Settings of a network by name, some of them changed.

    Raises
    ------
    InputError
        If there is no such network or no such setting, or a value is out of range.
    """
    require_known("network", name, NETWORKS)
    settings = NETWORKS[name]
    known = [field.name for field in fields(settings)]
    for key in changes:
        require_known(f"setting of {name}", key, known)
    changed: Architecture = replace(settings, **changes)
    return changed
