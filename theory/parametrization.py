"""The parametrization table: multipliers, initial variances and learning rates as exact exponents.

A parametrization is data. Each layer kind has three monomials in the layer's `fan_in` and the network's
`width`; everything else (the latent coupling, the learning-rate metric, what depends on width) is derived.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    def __pow__(self, power: int) -> Scale:
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

    def exponent(self, name: str) -> Fraction:
        """Exponent of one size, zero if absent."""
        return dict(self.exponents).get(name, Fraction(0))


@dataclass(frozen=True)
class LayerRule:
    """How one kind of layer is scaled.

    Attributes
    ----------
    multiplier
        Factor in the forward pass, in front of the weight.
    variance
        Variance of each weight at initialisation.
    learning_rate
        The layer's SGD learning rate divided by the base rate `eta0`.
    """

    multiplier: Scale = Scale()
    variance: Scale = Scale()
    learning_rate: Scale = Scale()


class StartingScales(NamedTuple):
    """Where the latent state starts, as monomials in width and dimension."""

    first: Scale
    """Diagonal of the mean of `e`."""
    second: Scale
    """Mean of `v`."""
    map_variance: Scale
    """Variance of each entry of `w`, whose mean is zero."""


@dataclass(frozen=True)
class Parametrization:
    """One row of the table, for SGD.

    Attributes
    ----------
    name
        Key in the table and on the command line.
    title
        Name for figures and tables.
    hidden
        Rule of every layer before the readout.
    readout
        Rule of the last layer, whose `fan_in` is the width.
    """

    name: str
    title: str
    hidden: LayerRule
    readout: LayerRule

    @cached_property
    def multiplier(self) -> Scale:
        """Output multiplier of the two-layer linear network, `w = multiplier * E V`."""
        return self._two_layer(self.hidden.multiplier, self.readout.multiplier)

    @cached_property
    def learning_rate(self) -> Scale:
        """Raw learning rate over eta0 of the two-layer network (gamma^2 in the paper).

        Raises
        ------
        ValueError
            If the two layers are trained at different rates, for which Theorem 5.1 does not hold.
        """
        rates = {
            self.hidden.learning_rate.rename(fan_in="dimension"),
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
        first = self.hidden.variance.rename(fan_in="dimension")
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


_FAN_IN = Scale.of(fan_in=-HALF)

PARAMETRIZATIONS: Mapping[str, Parametrization] = MappingProxyType(
    {
        "ntp": Parametrization("ntp", "NTP", hidden=LayerRule(_FAN_IN), readout=LayerRule(_FAN_IN)),
        "mup": Parametrization(
            "mup",
            "μP",
            hidden=LayerRule(_FAN_IN, learning_rate=Scale.of(width=1)),
            readout=LayerRule(_FAN_IN * Scale.of(width=-HALF), learning_rate=Scale.of(width=1)),
        ),
        "sp": Parametrization(
            "sp",
            "SP",
            hidden=LayerRule(variance=Scale.of(fan_in=-1)),
            readout=LayerRule(variance=Scale.of(fan_in=-1)),
        ),
    }
)
"""The table (Noci et al. 2024, Sec. 2 and 5 for NTP and muP with gamma0 = 1; App. C.3 for SP)."""


def parametrization(name: str) -> Parametrization:
    """Look a parametrization up by name.

    Raises
    ------
    InputError
        If the name is not in the table.
    """
    require_known("parametrization", name.lower(), PARAMETRIZATIONS)
    return PARAMETRIZATIONS[name.lower()]
