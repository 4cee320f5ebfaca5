"""Several networks of one architecture as one: every layer does the work of all of them at once.

Convolutions become one with groups, the images' channels being those of all networks side by side; dense
layers, embeddings and normalisations become batched ones with the networks along the first axis. Inputs are
shared. Each network's parameters become views of the common ones, so that what trains the whole trains each.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from ...errors import invalid
from .layers import Convolution, Dense, Embedding, Flatten, Norm

if TYPE_CHECKING:
    from collections.abc import Sequence

_IMAGE_DIMENSIONS = 4


class StackedConvolution(nn.Module):
    """Convolutions side by side: shape (batch, networks * channels, side, side)."""

    def __init__(self, layers: Sequence[Convolution]) -> None:
        super().__init__()
        self.weight = _side_by_side([layer.weight for layer in layers])
        _share(self.weight, [layer.weight for layer in layers])
        first = layers[0]
        self.multiplier = first.scales["weight"].multiplier
        self.groups = 1 if first.scales["weight"].kind == "input" else len(layers)
        self.stride, self.padding = first.stride, first.padding

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs for shared images in a network's first layer, otherwise for each network's own."""
        weight = self.multiplier * self.weight
        return functional.conv2d(inputs, weight, stride=self.stride, padding=self.padding, groups=self.groups)


class StackedDense(nn.Module):
    """Dense layers in a batch: shape (networks, ..., features)."""

    def __init__(self, layers: Sequence[Dense]) -> None:
        super().__init__()
        self.weight = _stacked([layer.weight for layer in layers])
        biases = [layer.bias for layer in layers if layer.bias is not None]
        self.bias = _stacked(biases) if biases else None
        self.multiplier = layers[0].scales["weight"].multiplier
        self.shared = layers[0].scales["weight"].kind == "input"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs for shared inputs, shape (..., features), in a first layer, else for each network's own."""
        networks, fan_out, fan_in = self.weight.shape
        weight = self.multiplier * self.weight
        if self.shared:
            found = functional.linear(inputs, weight.flatten(0, 1))
            outputs = found.view(*inputs.shape[:-1], networks, fan_out).movedim(-2, 0)
        else:
            rows = inputs.reshape(networks, -1, fan_in)
            outputs = torch.bmm(rows, weight.transpose(1, 2)).reshape(*inputs.shape[:-1], fan_out)
        return outputs if self.bias is None else outputs + _across(self.bias, outputs)


class StackedEmbedding(nn.Module):
    """Embeddings of shared tokens in a batch: shape (networks, ..., features)."""

    def __init__(self, layers: Sequence[Embedding]) -> None:
        super().__init__()
        self.weight = _stacked([layer.weight for layer in layers])
        self.multiplier = layers[0].scales["weight"].multiplier

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Embeddings of whole numbers of shape (...)."""
        networks, tokens, _ = self.weight.shape
        first = torch.arange(networks, device=inputs.device).view(-1, *(1,) * inputs.ndim) * tokens
        return functional.embedding(first + inputs, (self.multiplier * self.weight).flatten(0, 1))


class StackedNorm(nn.Module):
    """Normalisations of images side by side, or of features in a batch."""

    def __init__(self, layers: Sequence[Norm], *, images: bool) -> None:
        super().__init__()
        join = _side_by_side if images else _stacked
        self.gain = join([layer.gain for layer in layers])
        self.bias = join([layer.bias for layer in layers])
        if images:
            _share(self.gain, [layer.gain for layer in layers])
            _share(self.bias, [layer.bias for layer in layers])
        self.images, self.kind, self.networks = images, layers[0].kind, len(layers)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs' shape."""
        if self.kind == "batch":
            return functional.batch_norm(inputs, None, None, self.gain, self.bias, training=True)
        if self.images:
            return functional.group_norm(inputs, self.networks, self.gain, self.bias)
        normed = functional.layer_norm(inputs, inputs.shape[-1:])
        return normed * _across(self.gain, inputs) + _across(self.bias, inputs)


class StackedFlatten(nn.Module):
    """Images side by side as features in a batch: shape (networks, batch, features)."""

    def __init__(self, networks: int) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images of shape (batch, networks * channels, side, side)."""
        batch, channels, *side = images.shape
        apart = images.view(batch, self.networks, channels // self.networks, *side)
        return apart.movedim(1, 0).flatten(2)


def stacked_network(models: Sequence[nn.Module]) -> nn.Module:
    """One module whose outputs, shape (networks, ...), are those of all models on shared inputs.

    Parameters
    ----------
    models
        Networks of this package with the same settings, width and parametrization. Their parameters become
        views of the module's, one part of the first axis each.

    Raises
    ------
    InputError
        If there is none, or they differ in anything but the values of their parameters.
    """
    if not models or any(_likeness(model) != _likeness(models[0]) for model in models[1:]):
        raise invalid(
            "networks to train together",
            [type(model).__name__ for model in models],
            accepted="at least one, all of the same settings, width, parametrization, precision and device",
            remedy="train each by itself",
        )
    whole = _copied(models[0])
    images = any(isinstance(module, Convolution) for module in models[0].modules())
    for name in [name for name, _ in models[0].named_modules() if name]:
        stacked = _stack([model.get_submodule(name) for model in models], images=images)
        if stacked is not None:
            whole.set_submodule(name, stacked)
    return whole


def _likeness(model: nn.Module) -> tuple[object, ...]:
    """What networks that train together have in common: all but the values of their parameters."""
    settings = [
        (name, type(module), {key: value for key, value in vars(module).items() if not key.startswith("_")})
        for name, module in model.named_modules()
    ]
    parameters = [
        (name, value.shape, value.dtype, value.device, value.requires_grad)
        for name, value in model.named_parameters()
    ]
    return settings, parameters


def _stack(layers: Sequence[Any], *, images: bool) -> nn.Module | None:
    """The stacked twin of layers; None for modules that have no parameters of their own."""
    match layers[0]:
        case Convolution():
            return StackedConvolution(layers)
        case Dense():
            return StackedDense(layers)
        case Embedding():
            return StackedEmbedding(layers)
        case Norm():
            return StackedNorm(layers, images=images)
        case Flatten():
            return StackedFlatten(len(layers))
    return None


def _copied(model: nn.Module) -> nn.Module:
    """A copy of the structure; layers, which are replaced, keep their parameters."""
    return copy.deepcopy(model, {id(value): value for value in model.parameters()})


def _stacked(parts: Sequence[torch.Tensor]) -> nn.Parameter:
    """Parameters in a batch, each of which becomes a view of it."""
    whole = nn.Parameter(torch.stack([part.detach() for part in parts]))
    for part, view in zip(parts, whole.data, strict=True):
        part.data = view
    return _as(whole, parts)


def _side_by_side(parts: Sequence[torch.Tensor]) -> nn.Parameter:
    """Parameters one after the other along the first axis, in the memory layout that they have."""
    return _as(nn.Parameter(torch.cat([part.detach() for part in parts])), parts)


def _share(whole: torch.Tensor, parts: Sequence[torch.Tensor]) -> None:
    for part, view in zip(parts, whole.data.chunk(len(parts)), strict=True):
        part.data = view


def _as(whole: nn.Parameter, parts: Sequence[torch.Tensor]) -> nn.Parameter:
    whole.requires_grad_(parts[0].requires_grad)
    return whole


def _across(vectors: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Vectors (networks, features) for tensors of shape (networks, ..., features)."""
    return vectors.view(len(vectors), *(1,) * (like.ndim - 2), -1)
