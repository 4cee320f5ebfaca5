from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from superconsistency.errors import InputError
from superconsistency.theory import PARAMETRIZATIONS, derivation, parametrization
from superconsistency.theory.symbolic import DERIVATIONS, Derivation, Step, hessian, laws
from superconsistency.theory.symbolic.core import KAPPA, D, coefficient, nothing_left
from superconsistency.theory.symbolic.noncommutative import normal_form, words_left
from superconsistency.theory.symbolic.published_formulas import PUBLISHED_FORMULAS, Law, theorem_5_1_formula


@pytest.mark.parametrize("name", DERIVATIONS)
def test_every_derivation_holds_says_what_it_does_and_is_balanced_latex(name: str) -> None:
    found = derivation(name)
    assert found.holds, found.failing()
    assert found.name == name
    assert found.title
    assert found.source
    assert all(step.text.endswith((".", ":", ".)")) for step in found.steps), [
        step.text for step in found.steps
    ]
    assert sum(step.checked for step in found.steps) >= 2
    latex = found.latex
    assert latex.startswith(r"\paragraph{")
    assert latex.count(r"\item") == len(found.steps)
    assert latex.count("{") == latex.count("}")
    assert latex.count("$") % 2 == 0


def test_a_derivation_asked_for_by_another_name_is_refused_with_the_list() -> None:
    with pytest.raises(InputError, match=r"accepted: 5\.1"):
        derivation("5.9")


def test_a_derivation_without_a_checked_step_does_not_hold() -> None:
    assert not Derivation("x", "X", "here", (Step("It is so."),)).holds
    assert not Derivation(
        "x", "X", "here", (Step("It is so.", left_over=1), Step("And so.", left_over=0))
    ).holds
    assert Derivation("x", "X", "here", (Step("It is so.", left_over=0),)).holds


def test_a_statement_rests_on_its_own_steps_and_on_those_without_a_label() -> None:
    steps = (Step("a.", left_over=0), Step("b.", left_over=1, label="b"), Step("c.", left_over=0, label="c"))
    found = Derivation("x", "X", "here", steps)
    assert found.failing("b") == [steps[1]]
    assert found.failing("c") == []


@pytest.mark.parametrize("rest", [None, 0, sp.Integer(0), "", {}, {"a": 0}, [0, {}], sp.zeros(2, 2)])
def test_nothing_is_left_of_zero_in_any_form(rest: Any) -> None:
    assert nothing_left(rest)


@pytest.mark.parametrize("rest", [1, "why", {"a": sp.Symbol("x")}, [0, 1], sp.eye(2), float("nan")])
def test_something_is_left_of_anything_else(rest: Any) -> None:
    assert not nothing_left(rest)


def _wrong(quantity: str, change: Any) -> Any:
    """Theorem 5.1 with one seeded error."""

    def formula(state: Law, target: Any, eta0: Any, coupling: Any) -> Law:
        law = theorem_5_1_formula(state, target, eta0, coupling)
        return law._replace(**{quantity: getattr(law, quantity) + change(state, target, eta0, coupling)})

    return formula


ERRORS = {
    "w": lambda s, t, h, c: h**2 * c * t * s.w.T * (s.w - t),  # a missing term
    "e": lambda s, _t, h, c: 4 * h * c * s.w * s.w.T,  # a sign
    "v": lambda s, t, h, c: h**2 * c * s.w.T * s.e * t,  # a factor 2
}


@pytest.mark.parametrize("quantity", ERRORS)
def test_both_derivations_reject_a_wrong_formula(quantity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    formula = _wrong(quantity, ERRORS[quantity])
    monkeypatch.setitem(PUBLISHED_FORMULAS, "5.1", formula)
    failing = derivation("5.1").failing()
    assert [step.label for step in failing] == [quantity, quantity]
    entries = laws.component_law(2, 3).difference(formula)
    assert {name for name, count in entries.items() if count} == {quantity}


@pytest.mark.parametrize("size", laws.COMPONENT_SIZES)
def test_theorem_5_1_follows_entry_by_entry(size: tuple[int, int]) -> None:
    assert laws.component_law(*size).difference(theorem_5_1_formula) == {"w": 0, "e": 0, "v": 0}


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_the_width_is_in_the_laws_under_ntp_alone(name: str) -> None:
    found = laws.width_in_laws(derivation("congruence").result, parametrization(name))
    assert found == dict.fromkeys(("w", "e", "v"), name == "ntp")


def test_the_sharpness_equation_holds_for_numbers() -> None:
    """The symbolic matrix, with numbers put in, has the dense Hessian's eigenvalues as its solutions."""
    generator = np.random.default_rng(0)
    first, second, residual = (
        generator.standard_normal((2, 3)),
        generator.standard_normal(3),
        generator.standard_normal(2),
    )
    kappa, multiplier = 0.7, 0.4
    gram = kappa * multiplier
    outer = gram * np.block(
        [
            [np.kron(np.eye(2), np.outer(second, second)), np.kron(first, second[:, None])],
            [np.kron(first.T, second), first.T @ first],
        ]
    )
    corner = np.kron(residual[:, None], np.eye(3))
    inner = kappa * np.block([[np.zeros((6, 6)), corner], [corner.T, np.zeros((3, 3))]])
    rho2 = float(kappa**2 * residual @ residual)
    w, e, v = multiplier * first @ second, gram * first @ first.T, float(gram * second @ second)
    for value in np.linalg.eigvalsh(outer + inner):
        if abs(value) < 1e-9 or abs(value**2 - rho2) < 1e-9:
            continue
        state = Law(sp.Matrix(w), sp.Matrix(e), sp.Matrix([[v]]))
        factor, matrix = PUBLISHED_FORMULAS["exact-sharpness"](state, sp.Matrix(residual), kappa**2, value)
        solutions = np.linalg.eigvalsh(np.array(matrix, dtype=float)) - factor(v, rho2)
        assert np.abs(solutions).min() == pytest.approx(0, abs=1e-10)


def test_the_residual_part_is_symmetric() -> None:
    other = hessian.Direction(
        sp.MatrixSymbol("C", *hessian.A_MATRIX.shape), sp.MatrixSymbol("d", *hessian.B_VECTOR.shape)
    )
    here = hessian.Direction(hessian.A_MATRIX, hessian.B_VECTOR)
    left, right = hessian.residual_part(here), hessian.residual_part(other)
    # <other, R here> = <here, R other>: kappa (r.C b + d.A^T r) from either side
    one = laws.RESIDUAL.T * other.first * here.second * KAPPA + other.second.T * left.second
    two = laws.RESIDUAL.T * here.first * other.second * KAPPA + here.second.T * right.second
    assert words_left(normal_form(one), normal_form(two)) == {}


A, B = (sp.MatrixSymbol(name, D, 1) for name in "ab")
SYMMETRIC = sp.MatrixSymbol("e", D, D)


def test_the_coefficient_of_a_power_is_read_off_every_word() -> None:
    t = sp.Symbol("t", real=True)
    words = normal_form((A + t * B) * (A + t * B).T)
    assert coefficient(words, 1) == normal_form(A * B.T + B * A.T)
    assert coefficient(words, 3) == {}


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
