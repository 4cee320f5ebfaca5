"""What the table does to every parameter of a network, worked out and checked, and then done."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from ...errors import as_names, invalid, require_instance, require_positive
from ...theory import Scale, gradient_scale, parametrization
from ...theory.parametrization import (
    ATTENTION,
    EMBEDDING,
    HALF,
    HIDDEN,
    READOUT,
    READOUT_BIAS,
    STREAM,
)
from ..networks import ScaledLayer, Scales, parameter_scales
from .branches import Branches
from .factors import multiply_input, multiply_output, multiply_rows
from .infer_layers import FIXED, MATRICES, matches, read_layers, require_used
from .parametrized import Parametrized, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...errors import Names
    from ...theory import Parametrization
    from .factors import Removable
    from .infer_layers import InferredLayer

_MARK = "parametrized_by"
_DRAWN = MATRICES | {EMBEDDING}
_QUERIES = frozenset({"in_proj_weight", "in_proj_bias", "q_proj_weight"})


def parametrize(
    model: nn.Module,
    table: Parametrization | str,
    *,
    base: nn.Module | None = None,
    kinds: Mapping[str, str] | None = None,
    branches: Names = (),
    inside: Names = (),
    queries: Names = (),
    width: float | None = None,
    depth: float | tuple[float, float] | None = None,
) -> Parametrized:
    """Let a network follow a row of the table, in place.

    Names are those of modules or parameters and mean all that is inside; `*` stands within one part of them.

    Parameters
    ----------
    model, table
        The network, at initialisation, and the row or its name. One of this package needs nothing further.
    base
        The same network at another width or with other blocks, at initialisation; it is only read.
    kinds
        Kinds (`theory.KINDS`) by name, where they are not to be read from modules and base.
    branches
        Modules whose output (the first, if a tuple) is a residual branch: the table's factor is put on it.
    inside
        What else belongs to residual branches, such as a normalisation in front of one.
    queries
        Linear layers that give queries, of as many heads as base's: the table's factor of attention logits,
        over `d^(-1/2)`, goes into their weights. Those of `nn.MultiheadAttention` are found without.
    width
        The readout's fan-in, where there is no base and it cannot be read. With a base it is, for each layer,
        the growth of its own outputs, of a readout its inputs.
    depth
        The number of residual branches, where it is not that of `branches`; with a base a pair, the model's
        and the base's.

    Raises
    ------
    InputError
        If something cannot be told or does not fit, or the network or base is parametrized already. Nothing
        is changed then.

    Notes
    -----
    Source: Yang et al. 2022 (Tensor Programs V), Table 3, Lemma J.1, and Appendix H for base shapes.
    """
    _require_networks(model, base)
    table = parametrization(table)
    branches, inside = as_names("branches", branches), as_names("inside", inside)
    queries = as_names("queries", queries)
    if kinds is not None:
        require_instance("kinds", kinds, Mapping, accepted="a dictionary of kinds by name", remedy=_KINDS)
    if _is_scaled(model):
        return _scaled(model, table, (base, kinds, branches, inside, queries, width, depth))
    _require_new(model, base)
    given = _Given(model, table, base, Branches(branches, inside), queries, width, depth)
    return _Plan(given, kinds or {}).apply()


_KINDS = 'pass {"head": "readout"}, for example'


def _scaled(model: nn.Module, table: Parametrization, options: tuple[object, ...]) -> Parametrized:
    """A network of this package, which follows the row already and takes no options."""
    if any(option is not None and option != () for option in options):
        accepted = "nothing further for a network of this package"
        raise invalid("options", options, accepted=accepted, remedy="leave them out")
    return Parametrized(model, table, {}, _own_parts(model, table))


def _require_networks(model: object, base: object) -> None:
    for name, module in (("model", model), ("base", base)):
        if not isinstance(module, nn.Module) and not (name == "base" and module is None):
            raise invalid(name, module, accepted="a torch.nn.Module", remedy="pass the network itself")


def _require_new(model: nn.Module, base: nn.Module | None) -> None:
    for module in (*model.modules(), *(() if base is None else base.modules())):
        if hasattr(module, _MARK):
            found = f"parametrized by {getattr(module, _MARK)}"
            raise invalid("model or base", found, accepted="one that is not yet", remedy="build it anew")
        if is_parametrized(module):
            name = type_before_parametrizations(module).__name__
            raise invalid(
                "model or base",
                f"with a {name} whose weights torch computes (weight_norm, spectral_norm)",
                accepted="layers whose weights are parameters",
                remedy="leave it out, or torch.nn.utils.parametrize.remove_parametrizations first",
            )


class _Given(NamedTuple):
    """What `parametrize` was given."""

    model: nn.Module
    table: Parametrization
    base: nn.Module | None
    branches: Branches
    queries: tuple[str, ...]
    width: float | None
    depth: float | tuple[float, float] | None

    def is_query(self, name: str) -> bool:
        """Whether a parameter is of a layer that gives queries."""
        return any(matches(pattern, name) for pattern in self.queries)

    def read_depth(self) -> float:
        """The number of residual branches, over base's."""
        if self.depth is not None:
            return self._given_depth(self.depth)
        branches = len(self.branches.of(self.model)) or 1
        if self.base is None:
            return float(branches)
        base = len(self.branches.of(self.base))
        if self.branches.outputs and not base:
            what, accepted = "without the branches of the model", "the same network"
            raise invalid("base", what, accepted=accepted, remedy="pass depth, the model's and the base's")
        return branches / (base or 1)

    def _given_depth(self, depth: float | tuple[float, float]) -> float:
        given: tuple[float, ...] = depth if isinstance(depth, tuple) else (depth,)
        if len(given) != (1 if self.base is None else 2):
            accepted = "a number without a base; with one a pair, the model's and the base's"
            raise invalid("depth", depth, accepted=accepted, remedy="pass (24, 6) with a base, for example")
        for value in given:
            require_positive("depth", value, example=6)
        return given[0] / (1.0 if self.base is None else given[1])

    def read_width(self, readings: Sequence[InferredLayer]) -> float | None:
        """The width without a base; with one how everything that grows does, None if not alike."""
        if self.base is not None:
            if self.width is not None:
                accepted = "None with a base, which says how every layer grows"
                raise invalid("width", self.width, accepted=accepted, remedy="leave it out")
            grown = {size for reading in readings for size in (reading.fan_in, reading.fan_out)} - {1.0}
            return grown.pop() if len(grown) == 1 else None if grown else 1.0
        if self.width is not None:
            require_positive("width", self.width, example=64)
            return self.width
        found = {reading.fan_in for reading in readings if reading.kind == READOUT}
        found |= {fan_in for reading in readings for _, fan_in in reading.readouts}
        if len(found) != 1:
            remedy = 'name the readout, kinds={...: "readout"}, or pass width'
            raise invalid("width", sorted(found), accepted="one fan-in of all readouts", remedy=remedy)
        return found.pop()


class _Plan:
    """What is to be done: everything is checked before anything is changed."""

    def __init__(self, given: _Given, kinds: Mapping[str, str]) -> None:
        self.given, self.table = given, given.table
        self.readings = read_layers(given.model, given.base, kinds)
        given.branches.require_fitting(given.model, self.readings, scaled=given.table.knows_depth)
        _require_queries(given)
        width = given.read_width(self.readings)
        self.sizes = {"width": width} if width is not None else {}
        self.sizes["depth"] = given.read_depth()
        self.parts = tuple(self._part(reading) for reading in self.readings)
        self.factors = [one for one in self._factors() if one[0] != 1]

    def apply(self) -> Parametrized:
        """Do it."""
        with torch.no_grad():
            for value, start, _ in self.parts:
                if start != 1:
                    value.mul_(start)
        factors = tuple(add() for _, add in self.factors)
        setattr(self.given.model, _MARK, self.table.name)
        return Parametrized(self.given.model, self.table, self.sizes, self.parts, factors)

    def _part(self, reading: InferredLayer) -> Part:
        query = self.given.is_query(reading.name)
        kind = ATTENTION if query and reading.kind == HIDDEN else reading.kind
        in_branch = kind != STREAM and self.given.branches.has(reading.name)
        asked = READOUT_BIAS if kind == FIXED else kind
        rule = self.table.rule(asked, in_branch=in_branch)
        if query:
            rule = replace(rule, multiplier=rule.multiplier * _attention(self.table))
        free = rule.rescaled(rule.multiplier**-1)
        epsilon = gradient_scale(self.table, asked, in_branch=in_branch) * rule.multiplier**-1
        width = reading.fan_in if kind == READOUT else reading.fan_out
        at = self._at(reading.fan_in, width) | {"head": reading.fan_out}
        sgd, adam, gradient = (float(one.at(**at)) for one in (free.learning_rate, free.adam, epsilon))
        start = _start(reading, math.sqrt(free.variance.at(**at)))
        return Part(reading.value, start, Scales(kind, in_branch, 1.0, sgd, adam, gradient))

    def _at(self, fan_in: float, width: float) -> dict[str, float]:
        """Sizes that the table is asked at; without a base the width is the network's."""
        return {**self.sizes, "fan_in": fan_in, **({} if self.given.base is None else {"width": width})}

    def _factors(self) -> Iterator[tuple[float, Callable[[], Removable]]]:
        """Factors of the forward pass, and what adds each."""
        model, branch = self.given.model, float(self.table.branch.multiplier.at(depth=self.sizes["depth"]))
        for name in self.given.branches.of(model):
            yield branch, partial(multiply_output, model.get_submodule(name), branch)
        for reading in self.readings:
            for readout, growth in reading.readouts:
                tied = _tied_factor(self.table, reading.name, self._at(growth, growth))
                yield tied, partial(multiply_input, readout, tied)
            owner, name = reading.module, reading.name.rpartition(".")[2]
            if isinstance(owner, nn.MultiheadAttention) and name in _QUERIES:
                factor = self._query_factor(owner, reading)
                yield factor, partial(multiply_rows, owner, name, owner.embed_dim, factor)

    def _query_factor(self, module: nn.MultiheadAttention, reading: InferredLayer) -> float:
        head = float(module.head_dim)
        for place in reading.base[:1]:
            if isinstance(place.module, nn.MultiheadAttention):
                head /= place.module.head_dim
        return float(_attention(self.table).at(head=head))


def _attention(table: Parametrization) -> Scale:
    """The table's factor of attention logits over the usual one, in a head's dimension."""
    return table.attention.rename(fan_in="head") * Scale.of(head=HALF)


def _start(reading: InferredLayer, scale: float) -> float:
    """What a parameter's initial values are multiplied by, for a root of the table's variance.

    Raises
    ------
    InputError
        If the values are not finite, or zero in the base alone.
    """
    unchanged = reading.base and reading.base[0].value.shape == reading.value.shape and scale == 1
    if unchanged or not reading.value.numel():
        return 1.0
    own = _root_mean_square([reading.value])
    theirs = _root_mean_square([place.value for place in reading.base]) if reading.base else 1.0
    if not (math.isfinite(own) and math.isfinite(theirs)) or (own and not theirs):
        what, accepted = f"{own:g}, and the base's {theirs:g}", "finite, and zero in both or neither"
        raise invalid(
            f"initial size of {reading.name}", what, accepted=accepted, remedy="initialise both alike"
        )
    if not reading.base and reading.kind not in _DRAWN:
        return scale
    return scale * theirs / own if own else 1.0


def _root_mean_square(values: Sequence[torch.Tensor]) -> float:
    """Over several tensors of one size."""
    wide = [value.detach().to(torch.promote_types(value.dtype, torch.float32)) for value in values]
    return math.sqrt(sum(float(value.square().mean()) for value in wide) / len(wide))


def _tied_factor(table: Parametrization, name: str, there: Mapping[str, float]) -> float:
    """What a readout's inputs are multiplied by for its weights to be those of an embedding.

    Parameters
    ----------
    table, name
        The row, and the parameter's name.
    there
        Sizes at the readout.

    Raises
    ------
    InputError
        If the two rows ask for different learning rates of the same weights.
    """
    lookup, readout = table.rule(EMBEDDING), table.rule(READOUT)
    lookup = lookup.rescaled(lookup.multiplier**-1)
    here = {**there, "fan_in": 1.0}
    factor = math.sqrt(readout.variance.at(**there) / lookup.variance.at(**here))
    pairs = (
        (readout.learning_rate.at(**there) / factor**2, lookup.learning_rate.at(**here)),
        (readout.adam.at(**there) / factor, lookup.adam.at(**here)),
    )
    if not all(math.isclose(one, other) for one, other in pairs):
        what = f"tied to a readout, whose learning rates under {table.title} are others"
        accepted = "a parametrization in which they are the same, such as mup or ntp"
        raise invalid(name, what, accepted=accepted, remedy="let embedding and readout have weights each")
    return float(readout.multiplier.at(**there)) * factor


def _require_queries(given: _Given) -> None:
    """Refuse what gives no queries, or whose heads' dimension is not known."""
    modules = dict(given.model.named_modules())
    require_used("queries", given.queries, [name for name in modules if name])
    for pattern in given.queries:
        for name, module in modules.items():
            exact = matches(pattern, name) and name.count(".") == pattern.count(".")
            if exact and (given.base is None or not isinstance(module, nn.Linear)):
                accepted = "names of nn.Linear, of a model with a base"
                remedy = "pass base and name the layers that give queries, or scale the logits yourself"
                raise invalid("queries", pattern, accepted=accepted, remedy=remedy)


def _is_scaled(model: nn.Module) -> bool:
    """Whether every parameter is in a layer of this package."""
    modules = dict(model.named_modules())
    owners = [name.rpartition(".")[0] for name, _ in model.named_parameters()]
    return bool(owners) and all(owner and isinstance(modules[owner], ScaledLayer) for owner in owners)


def _own_parts(model: nn.Module, table: Parametrization) -> tuple[Part, ...]:
    """Rows of a network of this package.

    Raises
    ------
    InputError
        If multipliers and rates outside of branches are not those of the table.
    """
    scales, values = parameter_scales(model), dict(model.named_parameters())
    widths = [values[name].shape[1] for name, row in scales.items() if row.kind == READOUT]
    for name, row in scales.items():
        if not widths or row.in_branch or row.kind == STREAM:
            continue
        fan_in = values[name].shape[1:].numel() if row.kind in MATRICES else 1
        rule, at = table.rule(row.kind), {"fan_in": float(fan_in), "width": float(widths[0])}
        theirs = (rule.multiplier.at(**at), rule.learning_rate.at(**at), rule.adam.at(**at))
        if not all(map(math.isclose, (row.multiplier, row.sgd, row.adam), theirs)):
            accepted = f"that of the network ({name} is scaled otherwise)"
            remedy = "pass the one it was built with"
            raise invalid("parametrization", table.name, accepted=accepted, remedy=remedy)
    return tuple(Part(values[name], 1.0, row) for name, row in scales.items())
