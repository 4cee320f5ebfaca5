"""How far every layer moves: exponents in width and depth, derived from a row of the parametrization table.

To leading order in the learning rate, with inputs of order one: a layer `h = a W x` of fan-in n and weights
of standard deviation b has outputs of size `a b sqrt(n)`, since its terms are independent at the start. The
loss's gradient in a hidden layer's outputs has the size of the readout's weights, `a b`. SGD changes weights
by `c a (gradient) x`, Adam by `c` whatever the gradient. What a change does to the outputs is coherent with
the inputs: `a (change) x n`. A sum takes the largest exponent of its terms.

Attention multiplies products of queries and keys by `d^-1` or `d^(-1/2)`: at the start the gradient in them
is a sum of d independent terms times that; what a step changes in them is coherent, d terms of one sign.

Source: Yang and Hu 2021 (Tensor Programs IV), Section 3; Yang et al. 2022 (V), Appendix J; for depth, Yang et
al. 2023 (VI) and Bordelon et al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from ..errors import invalid
from .parametrization import (
    ATTENTION,
    EMBEDDING,
    HALF,
    HIDDEN,
    INPUT,
    KINDS,
    READOUT,
    READOUT_BIAS,
    SGD,
    Scale,
    parametrization,
)

if TYPE_CHECKING:
    from .parametrization import LayerRule, Parametrization

_GROWING_INPUTS = frozenset({HIDDEN, ATTENTION, READOUT})
_OUTPUTS = frozenset({READOUT, READOUT_BIAS})
_ONE = Fraction(1)
_NONE = Fraction(0)


class Exponents(NamedTuple):
    """Exponents of one size, width or depth, for a kind of layer; None where there is no power law."""

    activation: Fraction | None
    """Exponent of the layer's outputs at initialisation."""
    change: Fraction | None
    """Exponent of the change that a training step makes in its outputs, through all layers."""
    own_change: Fraction
    """Exponent of the part of that change made through its own weights."""
    weight_change: Fraction
    """Exponent of the change of a raw weight in a step."""
    least_change: Fraction | None
    """The smallest exponent of the terms that `change` is the largest of: at finite sizes the local exponent
    of their sum is anywhere between."""


def width_exponents(
    table: Parametrization | str, kind: str, optimizer: str = SGD, *, attends: bool = False
) -> Exponents:
    """Exponents in the width, at fixed depth, of a kind of layer, at the start of training.

    Parameters
    ----------
    table
        A row of the table, or its name.
    kind, optimizer
        A kind of layer and an optimizer that the table knows.
    attends
        Whether the network has attention, whose logits' change is then part of what layers see.

    Raises
    ------
    InputError
        If the kind or the optimizer is unknown, or hidden layers do not keep the size of what they are given:
        then every layer has exponents of its own.
    """
    table = parametrization(table)
    _require_kept_size(table)
    own = {name: _own_change(table, name, optimizer) for name in KINDS}
    before = [own[INPUT], own[HIDDEN]]
    if attends:  # coherent logits
        before.append(own[ATTENTION] + 1 + table.attention.exponent("fan_in"))
    if kind in {INPUT, EMBEDDING}:
        terms = [own[kind]]
    elif kind == READOUT:
        terms = [own[kind], *(_signal(table) + 1 + change for change in before)]
    else:
        terms = [own[kind], *before]
    rule = table.rule(kind)
    activation = _of_width(rule.multiplier * rule.variance**HALF, kind) + HALF * (kind in _GROWING_INPUTS)
    weight_change = _weight_change(table, kind, optimizer)
    return Exponents(activation, max(terms), own[kind], weight_change, min(terms))


def depth_exponents(
    table: Parametrization | str, kind: str, optimizer: str = SGD, *, in_branch: bool = False
) -> Exponents:
    """Exponents in the number of residual branches, at fixed width, of a kind of layer.

    The stream that branches add to is what their inputs and the readout see: its start is a sum of
    independent terms, its change one of coherent terms. A branch scaled by more than `depth^(-1/2)` makes the
    stream grow faster than any power.

    Raises
    ------
    InputError
        If the kind or the optimizer is unknown.
    """
    table = parametrization(table)
    branch = table.branch.multiplier.exponent("depth")
    within = branch if in_branch else _NONE
    own = _depth_rate(table.rule(kind, in_branch=in_branch), optimizer)
    if optimizer == SGD:
        own += within
    inside = _depth_rate(table.rule(HIDDEN, in_branch=True), optimizer)
    inside += branch if optimizer == SGD else _NONE
    bounded = branch <= -HALF
    stream = max(_NONE, 1 + branch + inside) if bounded else None
    if kind in {INPUT, EMBEDDING} and not in_branch:
        return Exponents(_NONE, own, own, own, own)
    if stream is None:
        return Exponents(None, None, own, own, None)
    return Exponents(_NONE, max(own, stream), own, own, min(own, stream, _NONE))


@dataclass(frozen=True)
class Regime:
    """What a row of the table comes to as the width grows."""

    stable: bool
    """Nothing that training does grows with the width."""
    learns_features: bool
    """Hidden layers' outputs change by as much at every width."""
    maximal: bool
    """Every layer's own weights change its outputs by as much at every width."""

    @property
    def words(self) -> str:
        """The regime in a few words."""
        if not self.stable:
            return "unstable: some outputs change without bound as the network widens"
        if not self.learns_features:
            return "kernel regime: the outputs learn, hidden features stand still"
        return "feature learning" + (", every layer maximally" if self.maximal else ", not in every layer")


def regime(table: Parametrization | str, optimizer: str = SGD) -> Regime:
    """The regime of a row, or of one by name, at large width (Yang and Hu 2021, the dynamical dichotomy).

    Raises
    ------
    InputError
        As in `width_exponents`.
    """
    found = {kind: width_exponents(table, kind, optimizer) for kind in (INPUT, HIDDEN, READOUT)}
    changes = [exponents.change for exponents in found.values()]
    return Regime(
        stable=all(change is not None and change <= 0 for change in changes),
        learns_features=found[HIDDEN].change == 0,
        maximal=all(exponents.own_change == 0 for exponents in found.values()),
    )


def gradient_scale(table: Parametrization | str, kind: str, *, in_branch: bool = False) -> Scale:
    """Size of the loss's gradient in a raw weight, a monomial: what Adam's epsilon is scaled with."""
    table = parametrization(table)
    rule = table.rule(kind)
    signal = Scale()
    if kind not in _OUTPUTS:
        readout = table.readout
        signal = (readout.multiplier * readout.variance**HALF).rename(fan_in="width")
    if kind == ATTENTION:
        signal *= table.attention.rename(fan_in="width") * Scale.of(width=HALF)
    return rule.multiplier * signal * (table.branch.multiplier if in_branch else Scale())


def _own_change(table: Parametrization, kind: str, optimizer: str) -> Fraction:
    multiplier = _of_width(table.rule(kind).multiplier, kind)
    coherent = _ONE if kind in _GROWING_INPUTS else _NONE
    return multiplier + _weight_change(table, kind, optimizer) + coherent


def _weight_change(table: Parametrization, kind: str, optimizer: str) -> Fraction:
    rule = table.rule(kind)
    rate = _of_width(rule.rate(optimizer), kind)
    if optimizer != SGD:
        return rate
    return rate + _of_width(rule.multiplier, kind) + _received(table, kind)


def _received(table: Parametrization, kind: str) -> Fraction:
    """Exponent of the loss's gradient in a layer's outputs, at the start."""
    if kind in _OUTPUTS:
        return _NONE
    return _signal(table) + (HALF + table.attention.exponent("fan_in") if kind == ATTENTION else _NONE)


def _signal(table: Parametrization) -> Fraction:
    """Exponent of the readout's weights in the forward pass, and so of the gradient in hidden layers."""
    return _of_width(table.readout.multiplier * table.readout.variance**HALF, READOUT)


def _of_width(scale: Scale, kind: str) -> Fraction:
    """Exponent of the width, which the fan-in goes with where inputs grow."""
    return scale.exponent("width") + scale.exponent("fan_in") * (kind in _GROWING_INPUTS)


def _depth_rate(rule: LayerRule, optimizer: str) -> Fraction:
    return rule.rate(optimizer).exponent("depth")


def _require_kept_size(table: Parametrization) -> None:
    factor = _of_width(table.hidden.multiplier * table.hidden.variance**HALF, HIDDEN) + HALF
    if factor:
        raise invalid(
            f"size of the hidden layers of {table.name}",
            f"width^{factor} times that of their inputs",
            accepted="multiplier and variance that keep it",
            remedy="use a variance of 1/fan_in, or a multiplier of its root",
        )
