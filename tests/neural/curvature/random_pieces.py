"""Awkward layers from vectors to vectors, of the kinds that people write."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from .random_functions import Constant, Cube, Once, Rounded, applied
from .random_stateful import Averaged, Counter, Noisy

if TYPE_CHECKING:
    from collections.abc import Callable


class Piece(NamedTuple):
    """A layer that a random model may hold."""

    build: Callable[[int], nn.Module]
    """From the width to a module from (N, width) to (N, width), its weights drawn by torch."""
    sure: bool = True
    """Whether its curvature has to be right; otherwise it may be refused."""
    splits: bool = True
    """Whether a batch in parts gives the same loss."""
    single: bool = False
    """Whether a part of it runs in float32."""


def unregistered(module: nn.Module, values: list[torch.Tensor]) -> list[torch.Tensor]:
    """Those that are not, or no longer, parameters of a module."""
    known = {id(value) for value in module.parameters()}
    return [value for value in values if id(value) not in known and value.requires_grad]


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.function(h)


class Linear(nn.Module):
    """A linear layer followed by a function of the layer and its input."""

    def __init__(self, width: int, function: Callable[[nn.Linear, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.function = function

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.function(self.layer, h)


class Listed(nn.Module):
    """Uses its layer's parameters through a plain Python list."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.pair = [self.layer.weight, self.layer.bias]

    def strays(self) -> list[torch.Tensor]:
        """What it still uses after its layer's parameters were replaced."""
        return unregistered(self, self.pair)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(functional.linear(h, *self.pair))


class Closed(nn.Module):
    """Uses its layer through a lambda, and its weight through a dictionary."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = layer = nn.Linear(width, width)
        self.apply_layer: Callable[[torch.Tensor], torch.Tensor] = lambda h: torch.tanh(layer(h))
        self.known = {"weight": layer.weight}

    def strays(self) -> list[torch.Tensor]:
        return unregistered(self, list(self.known.values()))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.apply_layer(h) + 0.1 * h @ self.known["weight"]
        return out


class Stray(nn.Module):
    """Holds a trained weight that no module has registered."""

    def __init__(self, width: int, *, parameter: bool) -> None:
        super().__init__()
        weight = 0.5 * torch.randn(width, width)
        self.weights = [nn.Parameter(weight) if parameter else weight.requires_grad_()]

    def strays(self) -> list[torch.Tensor]:
        return list(self.weights)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(h @ self.weights[0])


HOLDERS = (Listed, Closed, Stray)
"""Layers that tell, by `strays`, which weights they use that are nobody's parameters."""


class Complex(nn.Module):
    """Has complex weights and a real output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.5 * torch.randn(width, width, dtype=torch.complex128))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        out = h.to(self.weight.dtype) @ self.weight
        return out.real * torch.cos(out.imag)


class Island(nn.Module):
    """A float32 layer inside a float64 model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width, dtype=torch.float32)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(h.float())).double()


class Fused(nn.Module):
    """Views of one flat parameter, a scalar, an empty one, and one that is not used."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.flat = nn.Parameter(0.5 * torch.randn(width * width + width))
        self.scale = nn.Parameter(torch.tensor(1.3))
        self.empty = nn.Parameter(torch.empty(0))
        self.unused = nn.Parameter(torch.randn(2))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        width = h.shape[1]
        weight, bias = self.flat[: width * width], self.flat[width * width :]
        return self.scale * torch.sigmoid(h @ weight.view(width, width).t() + bias)


class Recurrent(nn.Module):
    """Reads the features one after the other."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], width: int) -> None:
        super().__init__()
        self.cell = kind(1, 2, batch_first=True)
        self.out = nn.Linear(2, width)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.cell(h.unsqueeze(-1))
        out: torch.Tensor = self.out(hidden[:, -1])
        return out


class Attending(nn.Module):
    """Attends over the features, by PyTorch's own module or function."""

    def __init__(self, *, module: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(1, 2)
        self.attend = nn.MultiheadAttention(2, 1, batch_first=True) if module else None

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(h.unsqueeze(-1))
        if self.attend is None:
            mixed = functional.scaled_dot_product_attention(tokens, tokens.tanh(), tokens, is_causal=True)
        else:
            mixed, _ = self.attend(tokens, tokens, tokens, need_weights=False)
        return h + mixed.sum(-1)


def _twice(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    return torch.tanh(layer(torch.tanh(layer(h))))


def _in_place(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = layer(h)
    out *= 0.7
    return functional.elu(out, inplace=True) + h


def _written(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(h)
    out[:, ::2] = layer(h)[:, ::2].sin()
    out[:, 1::2] += h[:, 1::2]
    return out


def _transposed(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    columns = (layer.weight @ h.t()).flip(0)
    return torch.tanh(columns.t()[:, torch.arange(h.shape[1] - 1, -1, -1)] + layer.bias)


def _tied(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    return functional.linear(functional.gelu(layer(h)), layer.weight.t())


def _solved(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    matrix = layer.weight @ layer.weight.t() + torch.eye(h.shape[1], dtype=h.dtype)
    solved: torch.Tensor = torch.linalg.solve(matrix, h, left=False)
    return solved


def _transformed(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    spectrum: torch.Tensor = torch.fft.rfft(layer(h))
    signal: torch.Tensor = torch.fft.irfft(spectrum * 1.2, n=h.shape[1])
    return signal.tanh()


def _branched(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = layer(h)
    return out.tanh() if out.sum().item() > 0 else out.sin()


def _stabilised(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = layer(h)
    shift = out.max(dim=1, keepdim=True).values.detach()
    total = (out - shift).exp().sum(1, keepdim=True).log() + shift
    return out - total


def _recomputed(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = checkpoint(lambda given: torch.tanh(layer(given)), h, use_reentrant=False)
    return out


def _cut(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = layer(h)
    return out * torch.sigmoid(out.detach())


def _quantised(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    return functional.linear(h, applied(Rounded, layer.weight), layer.bias)


def _reversed(layer: nn.Linear, h: torch.Tensor) -> torch.Tensor:
    return torch.tanh(layer(applied(Cube, h, -1.0)))


def _linear(function: Callable[[nn.Linear, torch.Tensor], torch.Tensor]) -> Callable[[int], nn.Module]:
    return lambda width: Linear(width, function)


def _then(*layers: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    """A linear layer, then these."""
    return lambda width: nn.Sequential(nn.Linear(width, width), *(layer(width) for layer in layers))


def _evaluating(build: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda width: build(width).eval()


def _moved(width: int) -> nn.Module:
    """A batch norm whose stored statistics are not at their constants."""
    norm = nn.BatchNorm1d(width)
    with torch.no_grad():
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return norm


def _frozen(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width).requires_grad_(False), nn.Tanh())


def _half_frozen(width: int) -> nn.Module:
    layer = nn.Linear(width, width)
    layer.bias.requires_grad_(False)
    return nn.Sequential(layer, nn.Softplus())


def _convolved(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, width)), nn.Conv1d(1, 2, 3, padding=1), nn.SiLU(), nn.Flatten(),
        nn.Linear(2 * width, width),
    )  # fmt: skip


def _layer_norm(width: int) -> nn.Module:
    return nn.LayerNorm(width)


def _rms_norm(width: int) -> nn.Module:
    return nn.RMSNorm(width)


def _lstm(width: int) -> nn.Module:
    return Recurrent(nn.LSTM, width)


def _gru(width: int) -> nn.Module:
    return Recurrent(nn.GRU, width)


def _noisy(draw: Callable[[Any], float], source: Callable[[], Any] = lambda: None) -> Callable[[int], Noisy]:
    return lambda width: Noisy(width, draw, source())


BLOCKS: dict[str, Piece] = {
    "tanh": Piece(_then(lambda _: nn.Tanh())),
    "in-place relu": Piece(_then(lambda _: nn.ReLU(inplace=True))),
    "in-place selu": Piece(_then(lambda _: nn.SELU(inplace=True))),
    "in-place arithmetic": Piece(_linear(_in_place)),
    "written into slices": Piece(_linear(_written)),
    "shared twice": Piece(_linear(_twice)),
    "tied to its transpose": Piece(_linear(_tied)),
    "transposed": Piece(_linear(_transposed)),
    "listed": Piece(Listed),
    "closed over": Piece(Closed),
    "unregistered parameter": Piece(lambda width: Stray(width, parameter=True), sure=False),
    "unregistered tensor": Piece(lambda width: Stray(width, parameter=False), sure=False),
    "frozen": Piece(_frozen),
    "frozen bias": Piece(_half_frozen),
    "complex": Piece(Complex, sure=False),
    "float32 island": Piece(Island, sure=False, single=True),
    "views, scalar, empty, unused": Piece(Fused),
    "dropout": Piece(_then(lambda _: nn.Dropout(0.3)), splits=False),
    "in-place alpha dropout": Piece(_then(lambda _: nn.AlphaDropout(0.2, inplace=True)), splits=False),
    "dropout in evaluation": Piece(_evaluating(_then(lambda _: nn.Dropout(0.3)))),
    "batch norm": Piece(_then(nn.BatchNorm1d), splits=False),
    "batch norm in evaluation": Piece(_evaluating(_then(_moved, lambda _: nn.Tanh()))),
    "batch norm without statistics": Piece(
        _evaluating(_then(lambda width: nn.BatchNorm1d(width, track_running_stats=False))), splits=False
    ),
    "cumulative batch norm": Piece(
        _then(lambda width: nn.BatchNorm1d(width, momentum=None, affine=False)), splits=False
    ),
    "layer norm": Piece(_then(_layer_norm)),
    "group norm": Piece(_then(lambda width: nn.GroupNorm(1, width), lambda _: nn.Mish())),
    "rms norm": Piece(_then(_rms_norm)),
    "weight norm": Piece(
        lambda width: parametrizations.weight_norm(nn.Linear(width, width)), sure=False
    ),  # PyTorch's own second derivative of it is wrong
    "spectral norm": Piece(lambda width: parametrizations.spectral_norm(nn.Linear(width, width)), sure=False),
    "convolution": Piece(_convolved),
    "lstm": Piece(_lstm),
    "gru": Piece(_gru),
    "multihead attention": Piece(lambda _: Attending(module=True)),
    "causal attention": Piece(lambda _: Attending(module=False)),
    "linear solve": Piece(_linear(_solved)),
    "fourier": Piece(_linear(_transformed)),
    "branch on a value": Piece(_linear(_branched), splits=False),
    "stabilised by detach": Piece(_linear(_stabilised)),
    "checkpoint": Piece(_linear(_recomputed)),
    "counter": Piece(Counter, splits=False),
    "running mean": Piece(Averaged, splits=False),
    "python random": Piece(_noisy(lambda _: random.random()), splits=False),  # noqa: S311
    "numpy random": Piece(_noisy(lambda _: float(np.random.rand())), splits=False),  # noqa: NPY002
    "torch generator": Piece(
        _noisy(
            lambda source: float(torch.rand((), generator=source)), lambda: torch.Generator().manual_seed(5)
        ),
        splits=False,
    ),
    "numpy generator": Piece(
        _noisy(lambda source: float(source.random()), lambda: np.random.default_rng(5)), splits=False
    ),
    "python generator": Piece(
        _noisy(lambda source: float(source.random()), lambda: random.Random(5)),  # noqa: S311
        splits=False,
    ),
    "fresh entropy": Piece(
        _noisy(lambda _: float(np.random.default_rng().random())), sure=False, splits=False
    ),
    "own function": Piece(lambda _: Function(lambda h: applied(Cube, h, 1.0))),
    "own function, twice too large": Piece(lambda _: Function(lambda h: applied(Cube, h, 2.0)), sure=False),
    "own function without second derivative": Piece(
        lambda _: Function(lambda h: applied(Constant, h)), sure=False
    ),
    "own function, once": Piece(lambda _: Function(lambda h: applied(Once, h)), sure=False),
    "gradient reversal": Piece(_linear(_reversed), sure=False),
    "straight-through": Piece(_linear(_quantised), sure=False),
    "detached gate": Piece(_linear(_cut), sure=False),
}
