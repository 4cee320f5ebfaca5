"""What random models begin and end with: inputs of every layout, and outputs in every form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from .random_losses import CLASSES, DENSE, LANGUAGE, MISSHAPEN, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable

    from .random_losses import Loss, Shape

WIDTH, TIME, TOKENS = 3, 3, 6


class Assembled(nn.Module):
    """A front that makes vectors, blocks on them, and a head that makes outputs."""

    head: nn.Module

    def __init__(self, front: nn.Module, blocks: list[nn.Module], form: str) -> None:
        super().__init__()
        self.front, self.blocks, self.form = front, nn.ModuleList(blocks), form

    def forward(self, x: Any) -> Any:
        return self._formed(self._hidden(self.front(x)))

    def _hidden(self, h: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            h = block(h.flatten(0, -2)).view(*h.shape)
        return h

    def _formed(self, h: torch.Tensor) -> Any:
        return FORMS[self.form].pack(self.head(h), h)


class TwoInputs(Assembled):
    """Takes vectors and tokens."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> Any:  # type: ignore[override]
        return self._formed(self._hidden(self.front((left, right))))


class Masked(Assembled):
    """Takes what a tokenizer returns."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Any:
        return self._formed(self._hidden(self.front((input_ids, attention_mask))))


class Named(NamedTuple):
    """Outputs with names."""

    hidden: torch.Tensor
    logits: torch.Tensor


class Form(NamedTuple):
    """A way in which a model returns its outputs."""

    pack: Callable[[torch.Tensor, torch.Tensor], Any]
    """From logits and hidden state."""
    logits: Callable[[Any], torch.Tensor]
    option: Any = None
    """What the objective is told of it."""
    sure: bool = True


FORMS: dict[str, Form] = {
    "tensor": Form(lambda o, _: o, lambda out: out),
    "tuple": Form(lambda o, h: (o, h), lambda out: out[0]),
    "scalar first": Form(lambda o, h: (h.square().mean(), o, h), lambda out: out[1]),
    "dict": Form(lambda o, h: {"hidden": h, "logits": o}, lambda out: out["logits"]),
    "other key": Form(lambda o, h: {"h": h, "scores": o}, lambda out: out["scores"], option="scores"),
    "index": Form(lambda o, h: (h, o), lambda out: out[1], option=1),
    "attribute": Form(lambda o, h: Named(h, o), lambda out: out.logits, option="logits"),
    "named tuple": Form(lambda o, h: Named(h, o), lambda out: out.logits, sure=False),
    "function": Form(lambda o, h: [[h, o]], lambda out: out[0][1], option=lambda out: out[0][1]),
}


class Embedded(nn.Module):
    """Embeds tokens, as a mean over time or one by one."""

    def __init__(self, *, pooled: bool, sparse: bool = False, padding: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(TOKENS, WIDTH, sparse=sparse, padding_idx=padding)
        self.pooled = pooled

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.table(tokens)
        return h.mean(1) if self.pooled else h


class Mixing(nn.Module):
    """Vectors and tokens, or tokens and a mask, as one vector."""

    def __init__(self, *, masked: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(TOKENS, WIDTH, padding_idx=0)
        self.masked = masked

    def forward(self, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        if not self.masked:
            product: torch.Tensor = pair[0] * self.table(pair[1])
            return product
        tokens, mask = pair
        kept = mask.to(self.table.weight.dtype).unsqueeze(-1)
        mean: torch.Tensor = (self.table(tokens) * kept).sum(1) / kept.sum(1)
        return mean


class Viewed(nn.Module):
    """A convolution whose result is flattened with `view`, or whose input is."""

    def __init__(self, *, convolve: bool) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(2, 2, 3) if convolve else None
        self.out = nn.Linear(8 if convolve else 32, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x if self.convolve is None else functional.relu(self.convolve(x))
        out: torch.Tensor = self.out(h.view(h.size(0), -1))
        return out


class LastState(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.cell = kind(2, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.cell(x.transpose(0, 1))[0][-1]
        return out


class InPlaceFirst(nn.Module):
    """Changes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x -= x.mean()
        out: torch.Tensor = self.layer(x.mul_(1.5).clamp_(-1))
        return out


class FromDict(nn.Module):
    """Takes the whole batch as one dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: dict[str, Any]) -> torch.Tensor:
        out: torch.Tensor = self.layer(x["features"]) * x["scale"]
        return out


def _pooled_images(convolution: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(convolution(), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, WIDTH))


class Front(NamedTuple):
    """What a model does first, with inputs for it."""

    build: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    kind: type[Assembled] = Assembled
    sure: bool = True
    splits: bool = True


def _rows(count: int) -> torch.Tensor:
    return torch.randn(count, WIDTH)


def _columns(count: int) -> torch.Tensor:
    return torch.randn(WIDTH, count).t()


def _images(count: int) -> torch.Tensor:
    return torch.randn(count, 2, 4, 4)


def _series(count: int) -> torch.Tensor:
    return torch.randn(count, TIME, 2)


def _tokens(count: int) -> torch.Tensor:
    return torch.randint(TOKENS, (count, TIME))


def _masked_tokens(count: int) -> dict[str, torch.Tensor]:
    lengths = torch.randint(1, TIME + 1, (count, 1))
    return {"input_ids": _tokens(count), "attention_mask": (torch.arange(TIME) < lengths).long()}


FRONTS: dict[str, Front] = {
    "rows": Front(lambda: nn.Linear(WIDTH, WIDTH), _rows),
    "no front": Front(nn.Identity, _rows),
    "rows not contiguous": Front(lambda: nn.Linear(WIDTH, WIDTH), _columns),
    "in place on the input": Front(InPlaceFirst, _rows, splits=False),
    "in-place activation of the input": Front(lambda: nn.ReLU(inplace=True), _rows),
    "viewed image": Front(lambda: Viewed(convolve=False), _images),
    "viewed convolution": Front(lambda: Viewed(convolve=True), _images),
    "pooled convolution": Front(
        lambda: _pooled_images(lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")), _images
    ),
    "batch norm of images": Front(
        lambda: _pooled_images(lambda: nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2))),
        _images,
        splits=False,
    ),
    "group norm of images": Front(
        lambda: _pooled_images(lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.GroupNorm(2, 2))), _images
    ),
    "spatial dropout": Front(
        lambda: _pooled_images(lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.Dropout2d(0.5))),
        _images,
        splits=False,
    ),
    "lstm": Front(lambda: LastState(nn.LSTM), _series),
    "gru": Front(lambda: LastState(nn.GRU), _series),
    "embedding": Front(lambda: Embedded(pooled=True), _tokens),
    "embedding with padding": Front(lambda: Embedded(pooled=True, padding=0), _tokens),
    "sparse embedding": Front(lambda: Embedded(pooled=True, sparse=True), _tokens, sure=False),
    "two inputs": Front(
        lambda: Mixing(masked=False), lambda n: (_rows(n), torch.randint(TOKENS, (n,))), TwoInputs
    ),
    "tokens and mask": Front(lambda: Mixing(masked=True), _masked_tokens, Masked),
    "one dictionary": Front(FromDict, lambda n: {"features": _rows(n), "scale": 1.5}),
}
"""Each to vectors (N, width)."""


class Last(nn.Module):
    """A head of one output, with or without its dimension."""

    def __init__(self, *, squeezed: bool) -> None:
        super().__init__()
        self.layer, self.squeezed = nn.Linear(WIDTH, 1), squeezed

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(h)
        return out.squeeze(-1) if self.squeezed else out


class TiedHead(nn.Module):
    """Logits by the transposed embedding."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.weight = table.weight

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h @ self.weight.t()


class PixelHead(nn.Module):
    """Logits for every pixel of an image of (N, height, width, channels)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(h.permute(0, 3, 1, 2))
        return out


class Pixels(nn.Module):
    """A convolution to (N, height, width, channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, WIDTH, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x)
        return out.permute(0, 2, 3, 1).contiguous()


def _table(model: Assembled) -> nn.Embedding:
    table = model.front.table
    if not isinstance(table, nn.Embedding):
        raise TypeError(table)
    return table


class Layout(NamedTuple):
    """Models whose outputs have one shape."""

    weight: float
    """How often it is drawn."""
    fronts: dict[str, Front]
    head: Callable[[Assembled], nn.Module]
    """From the model without a head."""
    outputs: tuple[int, ...]
    """Shape of one example's."""
    losses: dict[str, Callable[[Shape], Loss]]
    ambiguous: bool = False
    """Whether torch reads the outputs in another way than a language model's."""


_TOKEN_FRONTS = {"embedding": Front(lambda: Embedded(pooled=False), _tokens)}
_PIXEL_FRONTS = {"pixels": Front(Pixels, _images)}

LAYOUTS: dict[str, Layout] = {
    "classes": Layout(8, FRONTS, lambda _: nn.Linear(WIDTH, 3), (3,), CLASSES),
    "values": Layout(4, FRONTS, lambda _: nn.Linear(WIDTH, 2), (2,), VALUES),
    "scalar": Layout(1.5, FRONTS, lambda _: Last(squeezed=True), (), VALUES),
    "column": Layout(1.5, FRONTS, lambda _: Last(squeezed=False), (1,), VALUES | MISSHAPEN),
    "language": Layout(2, _TOKEN_FRONTS, lambda _: nn.Linear(WIDTH, 5), (TIME, 5), LANGUAGE),
    "tied language": Layout(
        1, _TOKEN_FRONTS, lambda model: TiedHead(_table(model)), (TIME, TOKENS), LANGUAGE
    ),
    "ambiguous": Layout(
        0.5, _TOKEN_FRONTS, lambda _: nn.Linear(WIDTH, TIME), (TIME, TIME), LANGUAGE, ambiguous=True
    ),
    "dense": Layout(2, _PIXEL_FRONTS, lambda _: PixelHead(3), (3, 2, 2), DENSE),
}
