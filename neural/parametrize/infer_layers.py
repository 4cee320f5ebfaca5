"""What grows in a network of the user's own: its parameters' kinds, read from their modules and a base.

A base is the same network at another width, usually a smaller one. A matrix of which only the outputs differ
from the base's is an input layer, one of which both sides do a hidden one, one of which only the inputs do a
readout.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ...errors import InputError, invalid, require_known
from ...theory import KINDS
from ...theory.parametrization import (
    ATTENTION,
    BIAS,
    EMBEDDING,
    HIDDEN,
    INPUT,
    NORM,
    READOUT,
    READOUT_BIAS,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

FIXED = "fixed"
"""Kind of a parameter of the base's shape: it stays at the base rate, as a readout's bias does."""

MATRICES = frozenset({INPUT, HIDDEN, ATTENTION, READOUT})
"""Kinds whose fan-in counts."""
_BY_GROWTH = {(True, True): HIDDEN, (False, True): INPUT, (True, False): READOUT, (False, False): FIXED}
"""Kind of a matrix by what grows: its inputs, its outputs."""

_LOOKUPS = (nn.Embedding, nn.EmbeddingBag)
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_LAYERS = (nn.Linear, _ConvNd)
_PACKED = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
_QUERIES_AND_KEYS = frozenset({"q_proj_weight", "k_proj_weight"})

_MATRIX, _LOOKUP, _GAIN, _ADDED, _BARE = "matrix", "lookup", "gain", "added", "bare"
_VECTORS = {_LOOKUP: EMBEDDING, _GAIN: NORM, _ADDED: BIAS}
_TENSOR = 3


class ParameterUse(NamedTuple):
    """One use of a parameter."""

    name: str
    module: nn.Module
    value: nn.Parameter
    role: str
    fan_in: int
    """Terms of each output's sum; 1 for what is no matrix. A bare one is taken as (out, in, ...)."""
    fan_out: int


class InferredLayer(NamedTuple):
    """What is known of a parameter before a table is asked."""

    name: str
    value: nn.Parameter
    kind: str
    """One of `theory.KINDS`, or `FIXED`."""
    told: bool
    """Whether the kind was given."""
    fan_in: float
    """Over base's where there is one; 1 for what is no matrix."""
    fan_out: float
    """The same of outputs; of a vector, its size."""
    module: nn.Module
    base: tuple[ParameterUse, ...]
    """The same parameter in the base; several where the base has another number of blocks."""
    readouts: tuple[tuple[nn.Module, float], ...] = ()
    """For an embedding, the readouts it is tied to, with the growth of their fan-in."""


def read_layers(model: nn.Module, base: nn.Module | None, kinds: Mapping[str, str]) -> list[InferredLayer]:
    """Kind and fan-in of every parameter, in the model's order.

    Parameters
    ----------
    model, base
        The network, and the same one at another width, or with another number of blocks.
    kinds
        By name of a parameter or module (`matches`); the first that fits counts. A vector of a layer so named
        gets the kind of its bias.

    Raises
    ------
    InputError
        If a kind cannot be told, a name fits nothing, or the base is of another architecture.
    """
    for kind in kinds.values():
        require_known("kind of layer", kind, KINDS)
    places = _places(model)
    require_used("kinds", kinds, places)
    theirs = dict.fromkeys(places, ()) if base is None else _counterparts(places, _places(base))
    reader = _Reader(places, theirs, kinds)
    uses: dict[int, list[InferredLayer]] = {}
    for name, place in places.items():
        uses.setdefault(id(place.value), []).append(reader.read(name))
    return [_united(readings) for readings in uses.values()]


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern names a parameter or module or one it is in; `*` stands within one part of a name."""
    wanted, parts = pattern.split("."), name.split(".")
    return len(wanted) <= len(parts) and all(map(fnmatchcase, parts, wanted))


def require_used(what: str, patterns: Iterable[str], names: Collection[str]) -> None:
    """Raise `InputError` unless every pattern names something."""
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            some = ", ".join(list(names)[:4])
            raise invalid(
                what,
                pattern,
                accepted="names as the model's, * for one part of a name",
                remedy=f"choose among {some}, ...",
            )


def _places(model: nn.Module) -> dict[str, ParameterUse]:
    """Every use of every parameter, by name.

    Raises
    ------
    InputError
        If a parameter has no values: on the meta device, or before a lazy module's first batch.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    found = {}
    for name, value in model.named_parameters(remove_duplicate=False):
        owner, _, attribute = name.rpartition(".")
        if nn.parameter.is_lazy(value) or value.is_meta:
            raise invalid(
                "model or base",
                f"without values of {name}",
                accepted="initialised parameters",
                remedy="make it on a device, and run lazy modules on a batch first",
            )
        found[name] = ParameterUse(name, modules[owner], value, *_layout(modules[owner], attribute, value))
    return found


def _layout(module: nn.Module, attribute: str, value: torch.Tensor) -> tuple[str, int, int]:
    """Role, fan-in and fan-out of a parameter in its module."""
    shape, size = value.shape, value.numel()
    if isinstance(module, _LOOKUPS) and attribute == "weight":
        return _LOOKUP, 1, shape[1]
    if isinstance(module, _NORMS) and attribute in {"weight", "bias"}:
        return _GAIN if attribute == "weight" else _ADDED, 1, size
    packed = isinstance(module, _PACKED)
    if packed or (isinstance(module, _LAYERS) and attribute in {"weight", "bias"}):
        if "bias" in attribute:
            return _ADDED, 1, size
        if isinstance(module, _ConvTransposeNd):
            return _MATRIX, shape[0] // module.groups * shape[2:].numel(), shape[1] * module.groups
        return _MATRIX, shape[1:].numel(), shape[0]
    return _BARE, shape[1:].numel(), shape[0] if shape else 1


def _counterparts(
    mine: Mapping[str, ParameterUse], theirs: Mapping[str, ParameterUse]
) -> dict[str, tuple[ParameterUse, ...]]:
    """For each use, the same one in the base, or all of its kind in blocks of which the base has others.

    Raises
    ------
    InputError
        If there is none, or it is of another class or number of dimensions.
    """
    ours, bases = _by_pattern(mine.values()), _by_pattern(theirs.values())
    found: dict[str, tuple[ParameterUse, ...]] = {}
    for pattern in dict.fromkeys((*ours, *bases)):
        here, there = ours.get(pattern, []), bases.get(pattern, [])
        if [place.name for place in here] == [place.name for place in there]:
            found |= {place.name: (other,) for place, other in zip(here, there, strict=True)}
        elif here and there and len({_form(one) for one in here}) == len({_form(one) for one in there}) == 1:
            found |= {place.name: tuple(there) for place in here}
        else:
            raise _another_architecture((here or there)[0].name)
    for name, others in found.items():
        if _class(mine[name]) != _class(others[0]):
            raise _another_architecture(name)
    return found


def _by_pattern(places: Iterable[ParameterUse]) -> dict[str, list[ParameterUse]]:
    """Places by their names without numbers."""
    found: dict[str, list[ParameterUse]] = {}
    for place in places:
        found.setdefault(re.sub(r"\b\d+\b", "*", place.name), []).append(place)
    return found


def _form(place: ParameterUse) -> tuple[object, ...]:
    return type(place.module), place.value.shape


def _class(place: ParameterUse) -> tuple[object, ...]:
    return type(place.module), place.value.ndim


def _another_architecture(name: str) -> InputError:
    return invalid(
        "base",
        f"without a counterpart of {name}",
        accepted="the same network at another width or number of blocks",
        remedy="build both with one function; if blocks differ in shape, equally deep, and pass depth",
    )


class _Reader:
    """Reads places one after the other."""

    def __init__(
        self,
        places: Mapping[str, ParameterUse],
        theirs: Mapping[str, Sequence[ParameterUse]],
        kinds: Mapping[str, str],
    ) -> None:
        self.places, self.theirs, self.kinds = places, theirs, kinds

    def read(self, name: str) -> InferredLayer:
        """One use of a parameter."""
        place, base = self.places[name], tuple(self.theirs[name])
        told, kind = self._told(place) is not None, self._kind(place)
        return InferredLayer(name, place.value, kind, told, *_growth(place, base, kind), place.module, base)

    def _told(self, place: ParameterUse) -> str | None:
        kind = next((kind for pattern, kind in self.kinds.items() if matches(pattern, place.name)), None)
        if kind in MATRICES and place.value.ndim < 2:
            return READOUT_BIAS if kind == READOUT else BIAS
        return kind

    def _kind(self, place: ParameterUse) -> str:
        told = self._told(place)
        if told is not None:
            return told
        if self._of_readout(place):
            return READOUT_BIAS
        base = next(iter(self.theirs[place.name]), None)
        kind = _read_kind(place, base)
        if kind is None:
            raise _untold(place, self.kinds, has_base=base is not None)
        return kind

    def _of_readout(self, place: ParameterUse) -> bool:
        """Whether this is the bias of a readout."""
        owner = place.name.rpartition(".")[0]
        weight = self.places.get(f"{owner}.weight" if owner else "weight")
        layer = place.role == _ADDED and isinstance(place.module, _LAYERS)
        return layer and weight is not None and self._kind(weight) == READOUT


def _read_kind(place: ParameterUse, base: ParameterUse | None) -> str | None:
    """Kind of a parameter by its module and by what differs from the base; None if that does not tell."""
    if place.value.shape == base.value.shape if base else place.role == _BARE and place.value.numel() == 1:
        return FIXED
    grows = base is None or base.fan_out != place.fan_out
    if place.role in _VECTORS:
        return _VECTORS[place.role] if grows else FIXED
    if base is None:
        return None
    if place.role == _BARE:
        return EMBEDDING if _is_vector(place.value.shape, base.value.shape) else None
    kind = _BY_GROWTH[base.fan_in != place.fan_in, grows]
    attends = kind == HIDDEN and place.name.rpartition(".")[2] in _QUERIES_AND_KEYS
    return ATTENTION if attends else kind


def _is_vector(shape: torch.Size, base: torch.Size) -> bool:
    """Whether a bare parameter is a vector that grows, or vectors repeated over the batch: (1, n, width)."""
    grown = sum(ours != theirs for ours, theirs in zip(shape, base, strict=True))
    return grown == 1 and (len(shape) == 1 or (len(shape) >= _TENSOR and shape[0] == 1))


def _growth(place: ParameterUse, base: Sequence[ParameterUse], kind: str) -> tuple[float, float]:
    """Fan-in, of a matrix, and fan-out, over base's where there is one.

    A bare parameter need not have its sides in torch's order: where all that grows in it does so alike, that
    is the growth of its inputs, its outputs or both, as its kind says.
    """
    if not base:
        if kind in MATRICES and place.role == _BARE and place.value.ndim >= _TENSOR:
            raise _untold(place, {place.name: kind}, has_base=False)
        return float(place.fan_in) if kind in MATRICES else 1.0, float(place.fan_out)
    fan_in, fan_out = place.fan_in / base[0].fan_in, place.fan_out / base[0].fan_out
    ratios = {ours / theirs for ours, theirs in zip(place.value.shape, base[0].value.shape, strict=True)}
    if place.role == _BARE and len(ratios - {1.0}) == 1:
        (growth,) = ratios - {1.0}
        fan_in, fan_out = 1.0 if kind == INPUT else growth, 1.0 if kind == READOUT else growth
    return fan_in if kind in MATRICES else 1.0, fan_out


def _untold(place: ParameterUse, kinds: Mapping[str, str], *, has_base: bool) -> InputError:
    what = f"not to be told from {type(place.module).__name__}, shape {tuple(place.value.shape)}"
    said = f'kinds={{"{place.name}": "hidden"}}, for example'
    if has_base:
        remedy = f"pass {said}"
    elif place.name in kinds:
        remedy = "pass base, the same network at another width"
    else:
        remedy = f"pass base, the same network at another width, or {said}"
    return invalid(f"kind of {place.name}", what, accepted=", ".join(KINDS), remedy=remedy)


def _united(uses: Sequence[InferredLayer]) -> InferredLayer:
    """What a parameter is that is used at several places.

    Raises
    ------
    InputError
        If it is of several kinds there, other than an embedding's and a readout's.
    """
    first = uses[0]
    if len({(use.kind, use.fan_in) for use in uses}) == 1:
        return first
    lookups = [use for use in uses if use.kind == EMBEDDING]
    readouts = [use for use in uses if use.kind == READOUT]
    if lookups and len(lookups) + len(readouts) == len(uses):
        tied = tuple((use.module, use.fan_in) for use in readouts)
        return lookups[0]._replace(name=first.name, readouts=tied)
    raise invalid(
        f"kind of {first.name}",
        " and ".join(f"{use.kind} at {use.name}" for use in uses),
        accepted="one kind with one fan-in, or an embedding tied to readouts",
        remedy="let each have parameters of its own",
    )
