"""Every network, made small, with noise to run it on: what the tests of networks and training share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from superconsistency.neural.data import Dataset
from superconsistency.neural.networks import Network, network
from superconsistency.neural.training import torch_generator
from superconsistency.theory import parametrization

if TYPE_CHECKING:
    from superconsistency.neural.networks import Architecture

CLASSES, TOKENS, TIME = 5, 7, 4

SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "simple-convnet": ({}, 1),
    "convnet": ({}, 1),
    "resnet": ({"norm": "layer", "layers_per_block": 2}, 1),
    "vit": ({"depth": 1, "heads": 2, "patch": 16}, 2),
    "transformer": ({"depth": 1, "bias": True}, 2),
    "transformer-post": ({"depth": 2, "heads": 1}, 1),
    "mlp": ({"bias": True}, 1),
    "residual-mlp": ({"depth": 2}, 1),
    "two-layer-linear": ({}, 1),
    "deep-linear": ({"depth": 1}, 1),
}
"""Settings that make every network small, and its least width."""


def small(name: str, **changes: Any) -> Architecture:
    """Settings of a network, made small."""
    return network(name, **SMALL[name][0] | changes)


def examples(
    settings: Architecture, count: int = 3, *, side: int = 32, dtype: torch.dtype = torch.float64
) -> Dataset:
    """Noise of the first kind that a network takes."""
    generator = torch_generator(0)
    kind = settings.kinds[0]
    labels = torch.arange(count) % CLASSES
    if kind == "tokens":
        tokens = torch.randint(TOKENS, (count, TIME), generator=generator)
        return Dataset("noise", kind, tokens, tokens.flip(1), TOKENS, "")
    images = torch.randn(count, 3, side, side, generator=generator, dtype=torch.float64).to(dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    return Dataset("noise", kind, images, labels, CLASSES, "")


def built(
    settings: Architecture, table: str, width: int, *, data: Dataset | None = None, seed: int = 0
) -> Network:
    """A network in double precision, whose biases and normalisations are not at their constants."""
    data = examples(settings) if data is None else data
    model = settings.build(parametrization(table), width, data, torch_generator(seed)).double()
    generator = torch_generator(seed, 1)
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim == 1:
                value.add_(0.3 * torch.randn(value.shape, generator=generator, dtype=value.dtype))
    return model
