from __future__ import annotations

import math
from fractions import Fraction

import pytest
from superconsistency.errors import InputError
from superconsistency.theory import PARAMETRIZATIONS, LayerRule, Parametrization, Scale, parametrization

HALF = Fraction(1, 2)

# kappa and Gram normalisation of theory: (exponent of N, exponent of D) each.
EXPECTED = {
    "ntp": ((-HALF, -HALF), (-1, -1)),
    "mup": ((0, -HALF), (-1, -1)),
    "sp": ((0, 0), (0, 0)),
}


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_coupling_and_normalisation_have_the_exponents_of_the_paper(name: str) -> None:
    table = parametrization(name)
    found: object = tuple(
        (scale.exponent("width"), scale.exponent("dimension")) for scale in (table.kappa, table.gram)
    )
    assert found == EXPECTED[name]


def test_mup_is_ntp_with_gamma_equal_to_root_width() -> None:
    ntp, mup = parametrization("ntp"), parametrization("mup")
    gamma = Scale.of(width=HALF)
    assert mup.multiplier == ntp.multiplier * gamma**-1
    assert mup.learning_rate == gamma**2


@pytest.mark.parametrize(("name", "start"), [("ntp", (0, 0, 0)), ("mup", (0, 0, -1)), ("sp", (1, 0, 0))])
def test_the_start_grows_with_width_only_under_sp(name: str, start: tuple[int, int, int]) -> None:
    found: object = tuple(scale.exponent("width") for scale in parametrization(name).start)
    assert found == start


def test_scales_multiply_rename_and_evaluate_exactly() -> None:
    scale = Scale.of(fan_in=-HALF) * Scale.of(fan_in=HALF, width=2)
    assert scale == Scale.of(width=2)
    assert Scale.of(fan_in=1, width=-1).rename(fan_in="width") == Scale()
    assert Scale.of(width=-1).at(width=math.inf) == 0
    assert Scale().at() == 1


def test_layers_trained_at_different_rates_are_refused_by_the_two_layer_theory() -> None:
    odd = Parametrization("odd", "odd", LayerRule(learning_rate=Scale.of(width=1)), LayerRule())
    with pytest.raises(InputError, match="one rate for both layers"):
        _ = odd.kappa
    rule = LayerRule(learning_rate=Scale.of(fan_in=1))  # D for one layer, N for the other
    odd = Parametrization("odd", "odd", rule, rule)
    with pytest.raises(InputError, match="one rate for both layers"):
        _ = odd.kappa


def test_an_unknown_parametrization_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="ntp, mup, sp"):
        parametrization("ntk")
