"""The networks once more, written out with plain operations: an oracle that shares no code with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.neural.networks import (
        ConvNetSettings,
        DenseSettings,
        LanguageModelSettings,
        Network,
        VisionTransformerSettings,
    )


class Hand:
    """Layers written out, with the multipliers of Section 2 of Noci et al. 2024."""

    def __init__(self, model: Network, table: str, depth: int) -> None:
        self.values = {name: value.detach() for name, value in model.named_parameters()}
        self.table = table
        self.branch = {"depth-mup": depth**-0.5, "1/l": 1 / depth}.get(table, 1.0)

    def __call__(self, name: str) -> torch.Tensor:
        """A weight times its multiplier."""
        weight = self.values[f"{name}.weight"]
        fan_in = weight[0].numel()
        factor = 1.0 if self.table == "sp" else fan_in**-0.5
        if name == "readout" and self.table not in {"sp", "ntp"}:
            factor *= fan_in**-0.5
        return factor * weight

    def dense(self, name: str, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self(name).T + self.values.get(f"{name}.bias", torch.zeros(()))

    def norm(self, name: str, values: torch.Tensor, over: tuple[int, ...], channels: int) -> torch.Tensor:
        """Normalised over some dimensions, with a gain and a bias for each of the channels' dimension."""
        centred = values - values.mean(over, keepdim=True)
        normed = centred / (centred.square().mean(over, keepdim=True) + 1e-5).sqrt()
        shape = [-1 if place == channels % values.ndim else 1 for place in range(values.ndim)]
        gain, bias = (self.values[f"{name}.{part}"].view(shape) for part in ("gain", "bias"))
        return normed * gain + bias

    def attention(self, name: str, hidden: torch.Tensor, heads: int, *, causal: bool) -> torch.Tensor:
        time, size = hidden.shape[1], hidden.shape[2] // heads
        scale = size**-0.5 if self.table in {"sp", "ntp"} else 1 / size
        query, key, value = (hidden @ self(f"{name}.{part}").T for part in ("query", "key", "value"))
        ahead = torch.ones(time, time).triu(1).bool() & causal
        mixed = []
        for head in range(heads):
            mine = slice(head * size, (head + 1) * size)
            logits = scale * query[..., mine] @ key[..., mine].transpose(1, 2)
            weights = logits.masked_fill(ahead, -math.inf).softmax(-1)
            mixed.append(weights @ value[..., mine])
        return torch.cat(mixed, -1) @ self(f"{name}.out").T

    def block(self, name: str, hidden: torch.Tensor, settings: Any, *, causal: bool) -> torch.Tensor:
        """A transformer's: `h + m f(norm(h))` or `norm(h + m f(h))`, of attention and of the MLP."""

        def mlp(values: torch.Tensor) -> torch.Tensor:
            inner = self.dense(f"{name}.up", values)
            return self.dense(f"{name}.down", 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2))))

        def attention(values: torch.Tensor) -> torch.Tensor:
            return self.attention(f"{name}.attention", values, settings.heads, causal=causal)

        for norm, part in (("first_norm", attention), ("second_norm", mlp)):
            if settings.norm == "pre":
                hidden = hidden + self.branch * part(self.norm(f"{name}.{norm}", hidden, (-1,), -1))
            else:
                hidden = self.norm(f"{name}.{norm}", hidden + self.branch * part(hidden), (-1,), -1)
        return hidden


def convnet(hand: Hand, settings: ConvNetSettings, images: torch.Tensor) -> torch.Tensor:
    hidden = functional.conv2d(images, hand("first"), stride=settings.first_stride, padding=1)
    over = {"layer": (1, 2, 3), "batch": (0, 2, 3)}
    for stage in range(settings.stages):
        if stage:
            hidden = functional.conv2d(hidden, hand(f"between.{stage - 1}"), padding=1)
        for block in range(settings.depth // settings.stages):
            branch, name = hidden, f"stages.{stage}.{block}"
            for layer in range(settings.layers_per_block):
                weight = settings.gain * hand(f"{name}.convolutions.{layer}")
                branch = functional.conv2d(branch.clamp(min=0), weight, padding=1)
                if settings.norm != "none":
                    branch = hand.norm(f"{name}.norms.{layer}", branch, over[settings.norm], 1)
            hidden = settings.skip * hidden + settings.branch_scale * hand.branch * branch
        hidden = hidden.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    return hidden.clamp(min=0).flatten(1) @ hand("readout").T


def vision_transformer(hand: Hand, settings: VisionTransformerSettings, images: torch.Tensor) -> torch.Tensor:
    cut = functional.unfold(images, settings.patch, stride=settings.patch).transpose(1, 2)
    hidden = cut @ hand("patches").T
    token = hand.values["token.weight"].expand(len(images), 1, -1)
    hidden = torch.cat([token, hidden], 1) + hand.values["positions.weight"]
    for block in range(settings.depth):
        hidden = hand.block(f"blocks.{block}", hidden, settings, causal=False)
    return hand.norm("norm", hidden[:, 0], (-1,), -1) @ hand("readout").T


def language_model(hand: Hand, settings: LanguageModelSettings, tokens: torch.Tensor) -> torch.Tensor:
    hidden = hand.values["tokens.weight"][tokens] + hand.values["positions.weight"][: tokens.shape[1]]
    for block in range(settings.depth):
        hidden = hand.block(f"blocks.{block}", hidden, settings, causal=True)
    if settings.norm == "pre":
        hidden = hand.norm("norm", hidden, (-1,), -1)
    return hidden @ hand("readout").T


def dense_net(hand: Hand, settings: DenseSettings, inputs: torch.Tensor) -> torch.Tensor:
    activate: Callable[[torch.Tensor], torch.Tensor] = {
        "relu": lambda values: values.clamp(min=0),
        "gelu": lambda values: 0.5 * values * (1 + torch.erf(values / math.sqrt(2))),
        "tanh": lambda values: 1 - 2 / (torch.exp(2 * values) + 1),
        "linear": lambda values: values,
    }[settings.activation]
    hidden = hand.dense("first", inputs.flatten(1))
    for layer in range(settings.depth):
        branch = hand.dense(f"hidden.{layer}", activate(hidden))
        hidden = settings.skip * hidden + hand.branch * branch
    return hand.dense("readout", activate(hidden))
