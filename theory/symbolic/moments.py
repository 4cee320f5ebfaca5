"""Proposition C.1's moments, exact in N and D, by Gaussian moment algebra.

Every entry of the initial state is a scaled sum over neurons, `scale * sum_k f(x_k)`, of a polynomial `f`
in one neuron's independent Gaussian weights. Neurons are independent and alike, so

    E[sum f] = N E[f],     Var[sum f] = N (E[f^2] - E[f]^2),

and E of a polynomial follows from `E[x^(2k)] = (2k - 1)!! variance^k`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sympy as sp

from .core import D, N

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..parametrization import Parametrization

FIRST_WEIGHT, OTHER_WEIGHT, SECOND_WEIGHT = sp.symbols("E_ik E_jk V_k", real=True)
"""One neuron's weights: from input i, from another input j, and to the output."""


class Moments(NamedTuple):
    """Mean and variance, exact in N and D."""

    mean: Any
    variance: Any


def gaussian_mean(polynomial: Any, variances: Mapping[Any, Any]) -> Any:
    """Mean of a polynomial in independent centred Gaussian symbols of given variances."""
    symbols = list(variances)
    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(polynomial, *symbols).terms():
        factors = (
            _gaussian_power(power) * variances[symbol] ** sp.Rational(power, 2)
            for symbol, power in zip(symbols, powers, strict=True)
        )
        total += coefficient * sp.prod(factors)
    return sp.simplify(total)


def _gaussian_power(power: int) -> Any:
    """`E[x^power]` of a standard normal variable."""
    return sp.Integer(0) if power % 2 else sp.factorial2(power - 1)


def initial_moments(parametrization: Parametrization) -> Mapping[str, Moments]:
    """Mean and variance of `w_i`, `e_ii`, `e_ij` (i != j) and `v` at initialisation.

    Source: Proposition C.1 for NTP and muP, App. C.3.2 for SP.
    """
    sizes = {"width": N, "dimension": D}
    first = parametrization.input.variance.rename(fan_in="dimension").at(**sizes)
    second = parametrization.readout.variance.rename(fan_in="width").at(**sizes)
    variances = {
        FIRST_WEIGHT: sp.sympify(first),
        OTHER_WEIGHT: sp.sympify(first),
        SECOND_WEIGHT: sp.sympify(second),
    }
    multiplier, gram = (getattr(parametrization, name).at(**sizes) for name in ("multiplier", "gram"))
    summands = {
        "w_i": multiplier * FIRST_WEIGHT * SECOND_WEIGHT,
        "e_ii": gram * FIRST_WEIGHT**2,
        "e_ij": gram * FIRST_WEIGHT * OTHER_WEIGHT,
        "v": gram * SECOND_WEIGHT**2,
    }
    return {name: _sum_over_neurons(summand, variances) for name, summand in summands.items()}


def _sum_over_neurons(summand: Any, variances: Mapping[Any, Any]) -> Moments:
    mean = gaussian_mean(summand, variances)
    square = gaussian_mean(summand**2, variances)
    return Moments(sp.simplify(N * mean), sp.simplify(N * (square - mean**2)))
