"""Transformers: the paper's vision transformer and language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from ...errors import invalid, require_integer, require_known, require_whole
from ..data.dataset import IMAGES, TOKENS
from .architecture import WIDEST, Architecture, image_arguments
from .layers import Dense, Embedding, Network, Norm, Scaling

if TYPE_CHECKING:
    from ...theory import Parametrization
    from ..data import Dataset


@dataclass(frozen=True)
class VisionTransformerSettings(Architecture):
    """Settings of `VisionTransformer`.

    Attributes
    ----------
    depth
        Blocks.
    heads
        Attention heads; they have to divide the width.
    patch
        Side of a patch, in pixels.
    ratio
        Width of the MLP over that of the network.
    inner
        Width of the MLP, whatever the network's width; None follows the ratio.
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
        return VisionTransformer(self, *drawn, **image_arguments(data), device=device)


@dataclass(frozen=True)
class LanguageModelSettings(Architecture):
    """Settings of `LanguageModel`; see `VisionTransformerSettings`."""

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


def _require_transformer(settings: VisionTransformerSettings | LanguageModelSettings) -> None:
    for name in ("depth", "heads", "ratio"):
        require_integer(name, getattr(settings, name), least=1, most=10**4, example=2)
    require_known("norm", settings.norm, ("pre", "post"))
    if settings.inner is not None:
        require_integer("inner width", settings.inner, least=1, most=10**6, example=128)


class Attention(nn.Module):
    """Multi-head attention, its logits scaled by the table (1/d_head under muP); no biases.

    Parameters
    ----------
    scaling
        That of the network.
    width, heads
        Features, and the heads that share them.
    causal
        Whether a position sees only itself and those before.
    """

    def __init__(self, scaling: Scaling, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        kinds = ("attention", "attention", "hidden", "hidden")
        self.query, self.key, self.value, self.out = (
            Dense(scaling, kind, width, width, in_branch=True) for kind in kinds
        )
        self.scale = scaling.attention(width // heads)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Shape (batch, time, width), as given."""
        query, key, value = (self._split(layer(hidden)) for layer in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal, scale=self.scale
        )
        outputs: torch.Tensor = self.out(mixed.transpose(-3, -2).flatten(-2))
        return outputs

    def logits(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """What the softmax is taken of, without the mask; shape (batch, heads, time, time)."""
        return self.scale * (self._split(queries) @ self._split(keys).transpose(-2, -1))

    def _split(self, features: torch.Tensor) -> torch.Tensor:
        """Shape (batch, heads, time, features of a head)."""
        apart = features.view(*features.shape[:-1], self.heads, -1)
        return apart.transpose(-3, -2)


class TransformerBlock(nn.Module):
    """Attention and a GELU MLP, each a residual branch with the table's multiplier.

    `pre`: `h + m branch(norm(h))`; `post`: `norm(h + m branch(h))`.

    Parameters
    ----------
    settings, scaling
        Those of the network.
    width
        Features.
    causal
        See `Attention`.
    """

    def __init__(
        self,
        settings: VisionTransformerSettings | LanguageModelSettings,
        scaling: Scaling,
        width: int,
        *,
        causal: bool,
    ) -> None:
        super().__init__()
        self.multiplier, self.pre = scaling.branch, settings.norm == "pre"
        inner = settings.inner or settings.ratio * width
        self.first_norm = Norm(scaling, "layer", width, in_branch=self.pre, in_stream=not self.pre)
        self.attention = Attention(scaling, width, settings.heads, causal=causal)
        self.second_norm = Norm(scaling, "layer", width, in_branch=self.pre, in_stream=not self.pre)
        self.up = Dense(scaling, "hidden", width, inner, in_branch=True, bias=settings.bias)
        self.down = Dense(scaling, "hidden", inner, width, in_branch=True, bias=settings.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Shape (batch, time, width), as given."""
        if self.pre:
            hidden = hidden + self.multiplier * self.attention(self.first_norm(hidden))
            return hidden + self.multiplier * self._mlp(self.second_norm(hidden))
        hidden = self.first_norm(hidden + self.multiplier * self.attention(hidden))
        normed: torch.Tensor = self.second_norm(hidden + self.multiplier * self._mlp(hidden))
        return normed

    def _mlp(self, hidden: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.down(functional.gelu(self.up(hidden)))
        return outputs


class VisionTransformer(Network):
    """Patches, a class token and positions; pre-LN blocks; the readout sees the class token.

    Parameters
    ----------
    settings
        Depth (blocks, of two branches each), heads, patch.
    parametrization, width, generator, channels, side, classes, device
        See `ConvNet`; the heads have to divide the width, the patch the side.

    Raises
    ------
    InputError
        If they do not.

    Notes
    -----
    Source: Figures 4c and 22c and Appendix J.3, Noci et al. 2024.
    """

    def __init__(
        self,
        settings: VisionTransformerSettings,
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
        require_heads(width, settings.heads)
        patch = settings.patch
        if side % patch:
            raise invalid(
                "patch", patch, accepted=f"a divisor of the images' side {side}", remedy="pass 4, for example"
            )
        scaling = Scaling(parametrization, width, generator, depth=settings.depth, device=device)
        self.patch = patch
        self.patches = Dense(scaling, "input", channels * patch * patch, width)
        self.token = Embedding(scaling, 1, width)
        self.positions = Embedding(scaling, (side // patch) ** 2 + 1, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(settings, scaling, width, causal=False) for _ in range(settings.depth)
        )
        self.norm = Norm(scaling, "layer", width)
        self.readout = Dense(scaling, "readout", width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, classes), of images of shape (batch, channels, side, side)."""
        hidden = self.patches(self._cut(images))
        first = torch.zeros(len(images), 1, dtype=torch.int64, device=images.device)
        hidden = torch.cat([self.token(first), hidden], dim=-2)
        places = torch.arange(hidden.shape[-2], device=images.device)
        hidden = hidden + self.positions(places).unsqueeze(-3)
        for block in self.blocks:
            hidden = block(hidden)
        logits: torch.Tensor = self.readout(self.norm(hidden[..., 0, :]))
        return logits

    def _cut(self, images: torch.Tensor) -> torch.Tensor:
        """Patches, row by row: shape (batch, patches, features)."""
        batch, channels, side, _ = images.shape
        count = side // self.patch
        cut = images.reshape(batch, channels, count, self.patch, count, self.patch)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, count * count, -1)


class LanguageModel(Network):
    """A causal transformer on tokens, GPT-2's with pre-LN, or with post-LN; readout and embedding not tied.

    Parameters
    ----------
    settings
        Depth (blocks, of two branches each), heads, norm.
    parametrization, width, generator, device
        See `ConvNet`; the heads have to divide the width.
    tokens, time
        Size of the vocabulary; positions of a sequence.

    Raises
    ------
    InputError
        If the heads do not divide the width.

    Notes
    -----
    Source: Figures 15 and 16 and Appendix J.2, Noci et al. 2024.
    """

    def __init__(
        self,
        settings: LanguageModelSettings,
        parametrization: Parametrization,
        width: int,
        generator: torch.Generator,
        *,
        tokens: int,
        time: int,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        require_heads(width, settings.heads)
        scaling = Scaling(parametrization, width, generator, depth=settings.depth, device=device)
        self.tokens = Embedding(scaling, tokens, width)
        self.positions = Embedding(scaling, time, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(settings, scaling, width, causal=True) for _ in range(settings.depth)
        )
        self.norm = Norm(scaling, "layer", width) if settings.norm == "pre" else nn.Identity()
        self.readout = Dense(scaling, "readout", width, tokens)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, time, vocabulary), of tokens of shape (batch, time)."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.tokens(tokens) + self.positions(places).unsqueeze(-3)
        for block in self.blocks:
            hidden = block(hidden)
        logits: torch.Tensor = self.readout(self.norm(hidden))
        return logits


def require_heads(width: int, heads: int) -> None:
    """Raise `InputError` unless the heads divide the width."""
    require_whole("width", width, least=1, most=WIDEST, example=64)
    if width % heads:
        raise invalid(
            "width",
            width,
            accepted=f"multiples of the {heads} heads",
            remedy=f"pass {8 * heads}, for example",
        )
