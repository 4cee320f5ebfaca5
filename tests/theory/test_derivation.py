from __future__ import annotations

from typing import Any

import pytest
import sympy as sp
from superconsistency.theory import PARAMETRIZATIONS, derivation, parametrization
from superconsistency.theory.published import Law, theorem_5_1
from superconsistency.theory.words import normal_form


@pytest.fixture(scope="module")
def congruence() -> derivation.Derivation:
    return derivation.congruence_law()


def test_a_gradient_step_multiplies_the_stacked_weights_by_one_matrix() -> None:
    assert derivation.gradient_step().result == {"E": {}, "V": {}}


def test_theorem_5_1_follows_for_every_dimension_and_width_at_once(congruence: derivation.Derivation) -> None:
    assert derivation.difference(congruence, theorem_5_1) == {"w": {}, "e": {}, "v": {}}


@pytest.mark.parametrize("size", derivation.COMPONENT_SIZES)
def test_theorem_5_1_follows_entry_by_entry(size: tuple[int, int]) -> None:
    assert derivation.component_law(*size).difference(theorem_5_1) == {"w": 0, "e": 0, "v": 0}


def _wrong(quantity: str, change: Any) -> Any:
    """Theorem 5.1 with one seeded error."""

    def formula(state: Law, target: Any, eta0: Any, coupling: Any) -> Law:
        law = theorem_5_1(state, target, eta0, coupling)
        return law._replace(**{quantity: getattr(law, quantity) + change(state, target, eta0, coupling)})

    return formula


ERRORS = {
    "w": lambda s, t, h, c: h**2 * c * t * s.w.T * (s.w - t),  # a missing term
    "e": lambda s, _t, h, c: 4 * h * c * s.w * s.w.T,  # a sign
    "v": lambda s, t, h, c: h**2 * c * s.w.T * s.e * t,  # a factor 2
}


@pytest.mark.parametrize("quantity", ERRORS)
def test_both_derivations_reject_a_wrong_formula(congruence: derivation.Derivation, quantity: str) -> None:
    formula = _wrong(quantity, ERRORS[quantity])
    left_over = derivation.difference(congruence, formula)
    assert {name for name, words in left_over.items() if words} == {quantity}
    entries = derivation.component_law(2, 3).difference(formula)
    assert {name for name, count in entries.items() if count} == {quantity}


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_the_width_is_in_the_laws_under_ntp_alone(congruence: derivation.Derivation, name: str) -> None:
    found = derivation.width_in_laws(congruence, parametrization(name))
    assert found == dict.fromkeys(("w", "e", "v"), name == "ntp")


def test_every_step_of_a_derivation_has_words_and_latex(congruence: derivation.Derivation) -> None:
    assert all(step.text and step.latex for step in congruence.steps)


D = sp.Symbol("D", integer=True, positive=True)
A, B = (sp.MatrixSymbol(name, D, 1) for name in "ab")
SYMMETRIC = sp.MatrixSymbol("e", D, D)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (A.T * B, B.T * A),
        (A.T * SYMMETRIC * B, B.T * SYMMETRIC * A),
        (A * A.T * B, A * B.T * A),
        (SYMMETRIC * B * A.T * B, SYMMETRIC * B * B.T * A),
        ((A + B) * (A + B).T, A * A.T + A * B.T + B * A.T + B * B.T),
    ],
)
def test_equal_expressions_have_one_normal_form(left: Any, right: Any) -> None:
    assert normal_form(left) == normal_form(right)


@pytest.mark.parametrize(("left", "right"), [(A * B.T, B * A.T), (A * A.T * B, B * A.T * A), (A, 2 * A)])
def test_different_expressions_have_different_normal_forms(left: Any, right: Any) -> None:
    assert normal_form(left) != normal_form(right)
