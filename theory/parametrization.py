"""The parametrization table: multipliers, initial variances and learning rates as exact exponents.

A parametrization is data. Each kind of layer has monomials in its `fan_in` and the network's `width` and
`depth`; everything else (the latent coupling, the learning-rate metric, what depends on width, how far each
layer moves) is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..errors import invalid, require_known

if TYPE_CHECKING:
    from collections.abc import Mapping

HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Scale:
    """An exact monomial such as `fan_in^(-1/2) width^(-1/2)`; no exponent is stored as zero."""

    exponents: tuple[tuple[str, Fraction], ...] = ()

    @classmethod
    def of(cls, **exponents: int | Fraction) -> Self:
        """Build from exponents by size name: `Scale.of(fan_in=-HALF)`."""
        kept = ((name, Fraction(power)) for name, power in sorted(exponents.items()) if power != 0)
        return cls(tuple(kept))

    def __mul__(self, other: Scale) -> Scale:
        powers = dict(self.exponents)
        for name, power in other.exponents:
            powers[name] = powers.get(name, Fraction(0)) + power
        return Scale.of(**powers)

    def __pow__(self, power: int | Fraction) -> Scale:
        return Scale.of(**{name: exponent * power for name, exponent in self.exponents})

    def rename(self, **names: str) -> Scale:
        """Rename sizes (`rename(fan_in="dimension")`), adding exponents that meet."""
        factors = (Scale.of(**{names.get(name, name): power}) for name, power in self.exponents)
        return math.prod(factors, start=Scale())

    def at(self, **sizes: Any) -> Any:
        """Evaluate at sizes; floats, infinity and SymPy symbols all work.

        Raises
        ------
        KeyError
            If a size that the monomial needs is missing.
        """
        return math.prod((sizes[name] ** power for name, power in self.exponents), start=1)

    def __str__(self) -> str:
        return " ".join(f"{name}^{power}" for name, power in self.exponents) or "1"

    def exponent(self, name: str) -> Fraction:
        """Exponent of one size, zero if absent."""
        return dict(self.exponents).get(name, Fraction(0))


SGD, ADAM, ADAMW = "sgd", "adam", "adamw"
OPTIMIZERS = (SGD, ADAM, ADAMW)
"""Optimizers that the table has learning rates for."""


@dataclass(frozen=True)
class LayerRule:
    """How one kind of layer is scaled.

    Attributes
    ----------
    multiplier
        Factor in the forward pass, in front of the weight.
    variance
        Variance of each weight at initialisation; biases and normalisations start at constants.
    learning_rate
        The layer's SGD learning rate divided by the base rate `eta0`.
    adam
        The same for Adam and AdamW.
    """

    multiplier: Scale = Scale()
    variance: Scale = Scale()
    learning_rate: Scale = Scale()
    adam: Scale = Scale()

    def rate(self, optimizer: str) -> Scale:
        """The learning rate over `eta0` under an optimizer.

        Raises
        ------
        InputError
            If the table has no such optimizer.
        """
        require_known("optimizer", optimizer, OPTIMIZERS)
        return self.learning_rate if optimizer == SGD else self.adam

    def rescaled(self, factor: Scale) -> LayerRule:
        """The rule that trains the same function with a multiplier this many times larger.

        The weight is the smaller; its gradient the larger. SGD's rate goes with the inverse square, Adam's,
        whose steps do not know the gradient's size (its epsilon scaled with it), with the inverse.

        Notes
        -----
        Source: the symmetry of abc-parametrizations, Yang and Hu 2021, and Yang et al. 2022 (Tensor Programs
        V), Lemma J.1.
        """
        return LayerRule(
            self.multiplier * factor,
            self.variance * factor**-2,
            self.learning_rate * factor**-2,
            self.adam * factor**-1,
        )

    def within(self, branch: BranchRule) -> LayerRule:
        """The rule of such a layer inside a residual branch."""
        return replace(
            self, learning_rate=self.learning_rate * branch.learning_rate, adam=self.adam * branch.adam
        )


@dataclass(frozen=True)
class BranchRule:
    """How a residual branch is scaled.

    Attributes
    ----------
    multiplier
        Factor in front of the branch.
    learning_rate, adam
        Further factors on the learning rates of all parameters inside, under SGD and under Adam.
    """

    multiplier: Scale = Scale()
    learning_rate: Scale = Scale()
    adam: Scale = Scale()


KINDS = INPUT, HIDDEN, ATTENTION, READOUT, EMBEDDING, NORM, BIAS, STREAM, READOUT_BIAS = (
    "input",
    "hidden",
    "attention",
    "readout",
    "embedding",
    "norm",
    "bias",
    "stream",
    "readout bias",
)
"""Kinds of layers, by what grows with the width (input: outputs; hidden: both sides, queries and keys of
attention being a kind of their own with the same rule; readout: inputs); lookups of tokens; vectors that
multiply (norm) or are added (bias), and those of normalisations that stand in a residual stream (stream)."""


class StartingScales(NamedTuple):
    """Where the latent state starts, as monomials in width and dimension."""

    first: Scale
    """Diagonal of the mean of `e`."""
    second: Scale
    """Mean of `v`."""
    map_variance: Scale
    """Variance of each entry of `w`, whose mean is zero."""


_ROOT = Scale.of(fan_in=-HALF)
_PARTS = ("hidden", "readout", "embedding", "vector", "stream", "branch")
_RESCALABLE = ("hidden", "readout", "first", "embedding")


@dataclass(frozen=True)
class Parametrization:
    """One row of the table.

    Attributes
    ----------
    name
        Key in the table and on the command line.
    title
        Name for figures and tables.
    hidden
        Rule of layers whose inputs and outputs grow with the width.
    readout
        Rule of the last layer, whose `fan_in` is the width.
    first
        Rule of the first layer; None is the hidden one's.
    embedding
        Rule of a table of token vectors.
    vector
        Rule of biases and normalisations of hidden layers. A readout's bias is not scaled.
    branch
        Rule of residual branches.
    stream
        Rule of the vectors of normalisations in a residual stream; None is that of other vectors. Their
        changes add up over the blocks.
    attention
        Factor of attention logits, in the `fan_in` of a head.
    """

    name: str
    title: str
    hidden: LayerRule
    readout: LayerRule
    first: LayerRule | None = None
    embedding: LayerRule = LayerRule()
    vector: LayerRule = LayerRule()
    branch: BranchRule = BranchRule()
    stream: LayerRule | None = None
    attention: Scale = _ROOT

    @property
    def input(self) -> LayerRule:
        """Rule of the first layer."""
        return self.hidden if self.first is None else self.first

    def rule(self, kind: str, *, in_branch: bool = False) -> LayerRule:
        """The rule of a kind of layer, and of such a layer inside a residual branch.

        Raises
        ------
        InputError
            If there is no such kind.
        """
        require_known("kind of layer", kind, KINDS)
        vector, stream = self.vector, self.stream or self.vector
        matrices = (self.input, self.hidden, self.hidden, self.readout, self.embedding)
        rule = dict(zip(KINDS, (*matrices, vector, vector, stream, LayerRule()), strict=True))[kind]
        return rule.within(self.branch) if in_branch else rule

    @property
    def knows_depth(self) -> bool:
        """Whether anything is scaled with the depth."""
        return self.branch != BranchRule()

    def document(self) -> dict[str, str]:
        """Every scale of the row as text, by its path: what tells rows of one name apart."""
        parts = {name: getattr(self, name) for name in ("input", *_PARTS)}
        found = {
            f"{name}.{field.name}": str(getattr(part, field.name))
            for name, part in parts.items()
            if part is not None
            for field in fields(part)
        }
        return found | {"attention": str(self.attention)}

    def rescaled(self, **factors: Scale) -> Parametrization:
        """An equivalent row: some kinds with multipliers this many times larger, the same function trained.

        Parameters
        ----------
        **factors
            By the name of a rule: `hidden`, `readout`, `first`, `embedding`.
        """
        for name in factors:
            require_known("rule", name, _RESCALABLE)
        one = Scale()
        return replace(
            self,
            name=f"{self.name}, rescaled",
            hidden=self.hidden.rescaled(factors.get("hidden", one)),
            readout=self.readout.rescaled(factors.get("readout", one)),
            first=self.input.rescaled(factors.get("first", one)),
            embedding=self.embedding.rescaled(factors.get("embedding", one)),
        )

    @cached_property
    def multiplier(self) -> Scale:
        """Output multiplier of the two-layer linear network, `w = multiplier * E V`."""
        return self._two_layer(self.input.multiplier, self.readout.multiplier)

    @cached_property
    def learning_rate(self) -> Scale:
        """Raw learning rate over eta0 of the two-layer network (gamma^2 in the paper).

        Raises
        ------
        ValueError
            If the two layers are trained at different rates, for which Theorem 5.1 does not hold.
        """
        rates = {
            self.input.learning_rate.rename(fan_in="dimension"),
            self.readout.learning_rate.rename(fan_in="width"),
        }
        if len(rates) != 1:
            raise invalid(
                f"learning rates of {self.name}",
                sorted(map(str, rates)),
                accepted="one rate for both layers",
                remedy="use a parametrization with a common rate",
            )
        return rates.pop()

    @cached_property
    def kappa(self) -> Scale:
        """The latent coupling, `multiplier * learning_rate`: gamma / sqrt(N D) for NTP and muP, 1 for SP."""
        return self.multiplier * self.learning_rate

    @cached_property
    def gram(self) -> Scale:
        """Normalisation of the Gram matrices, `e = gram * E E^T`, `v = gram * V.V`: `kappa * multiplier`."""
        return self.kappa * self.multiplier

    @cached_property
    def start(self) -> StartingScales:
        """Mean of `e` and `v` and variance of `w` at initialisation (Proposition C.1)."""
        first = self.input.variance.rename(fan_in="dimension")
        second = self.readout.variance.rename(fan_in="width")
        neurons = Scale.of(width=1)
        return StartingScales(
            first=self.gram * neurons * first,
            second=self.gram * neurons * second,
            map_variance=self.multiplier**2 * neurons * first * second,
        )

    @staticmethod
    def _two_layer(first: Scale, second: Scale) -> Scale:
        return first.rename(fan_in="dimension") * second.rename(fan_in="width")


_WIDTH = Scale.of(width=1)
_NTP = LayerRule(_ROOT)
_SP = LayerRule(variance=Scale.of(fan_in=-1))

_MUP = Parametrization(
    "mup",
    "μP",
    hidden=LayerRule(_ROOT, learning_rate=_WIDTH, adam=_ROOT),
    readout=LayerRule(_ROOT * Scale.of(width=-HALF), learning_rate=_WIDTH),
    first=LayerRule(_ROOT, learning_rate=_WIDTH, adam=_ROOT**-1),
    embedding=LayerRule(learning_rate=_WIDTH),
    vector=LayerRule(learning_rate=_WIDTH),
    attention=_ROOT**2,
)
_DEPTH = Scale.of(depth=1)
_STREAM = LayerRule(learning_rate=_WIDTH * _DEPTH**-1, adam=_DEPTH**-1)

PARAMETRIZATIONS: Mapping[str, Parametrization] = MappingProxyType(
    {
        "ntp": Parametrization("ntp", "NTP", hidden=_NTP, readout=_NTP),
        "mup": _MUP,
        "sp": Parametrization("sp", "SP", hidden=_SP, readout=_SP),
    }
)
"""The rows that do not know depth (Noci et al. 2024: Sec. 2 and 5 for NTP and muP with gamma0 = 1, App. C.3
for SP; Table 8 of Yang et al. 2022 for muP's Adam, brought to these multipliers)."""

TABLE: Mapping[str, Parametrization] = MappingProxyType(
    {
        **PARAMETRIZATIONS,
        "depth-mup": replace(
            _MUP,
            name="depth-mup",
            title="Depth-μP",
            branch=BranchRule(_DEPTH**-HALF, adam=_DEPTH**-HALF),
            stream=_STREAM,
        ),
        "1/l": replace(
            _MUP,
            name="1/l",
            title="1/L",
            branch=BranchRule(_DEPTH**-1, learning_rate=_DEPTH),
            stream=_STREAM,
        ),
    }
)
"""The whole table: with Depth-muP (Table 1 of Noci et al. 2024; Yang et al. 2023, Bordelon et al. 2023) and
branches of 1/L, at rates that keep them training (Bordelon et al. 2023: eta0 L^(2 alpha - 1)). The rates of
normalisations in the stream, as of post-LN transformers, are derived here: L of them add up."""


def parametrization(name: str | Parametrization) -> Parametrization:
    """The row of the table that a name stands for; a row itself is returned as it is.

    Raises
    ------
    InputError
        If the name is not in the table.
    """
    if isinstance(name, Parametrization):
        return name
    require_known("parametrization", name.lower() if isinstance(name, str) else name, TABLE)
    return TABLE[name.lower()]
