"""Stability of minimizers: Proposition 5.3 as it holds, and the largest stable learning rate."""

from __future__ import annotations

from typing import Any

import sympy as sp

from .core import ETA0, KAPPA, Derivation, N, Step, T, coefficient
from .laws import STATE, TARGET, congruence
from .noncommutative import normal_form, words_left
from .published_formulas import PUBLISHED_FORMULAS, Law

STATE_CHANGE = Law(
    sp.MatrixSymbol("dw", *TARGET.shape), sp.MatrixSymbol("de", *STATE.e.shape), sp.MatrixSymbol("dv", 1, 1)
)
"""A change of the latent state, as symbols."""


def linearised_laws(point: Any = TARGET) -> Law:
    """The laws' derivative along `STATE_CHANGE` where w is `point`, as normal forms by quantity."""
    w, e, v = STATE
    laws = congruence().result
    moved = {w: point + T * STATE_CHANGE.w, e: e + T * STATE_CHANGE.e, v: v + T * STATE_CHANGE.v}
    return Law(*(coefficient(normal_form(laws[name].xreplace(moved)), 1) for name in Law._fields))


def published_left_over() -> dict[Any, Any]:
    """Derived minus published first row of the Jacobian (Eq. 21), applied to a change of w."""
    published = PUBLISHED_FORMULAS["5.3-published"](STATE, STATE_CHANGE, TARGET, ETA0, KAPPA**2)
    return words_left(linearised_laws().w, normal_form(published))


def proposition_5_3() -> Derivation:
    """The Jacobian at a minimizer, and the exact edge of stability."""
    w = STATE.w
    premise = congruence()
    still = {
        name: normal_form((law - getattr(STATE, name)).subs(w, TARGET))
        for name, law in premise.result.items()
    }
    stated = PUBLISHED_FORMULAS["5.3"](STATE, STATE_CHANGE, TARGET, ETA0, KAPPA**2)
    rows = linearised_laws()
    mu = sp.Symbol("mu", positive=True)
    steps = (
        *premise.steps,
        Step(
            "Read the laws of w, e, v off the blocks of S+ (that of w over kappa). Every (w*, e, v) is a "
            "fixed point: each law minus its argument is checked to vanish at w = w*.",
            None,
            still,
        ),
        *(
            Step(
                f"Move the state to (w* + t dw, e + t de, v + t dv). The derivative of {name}+ at t = 0:",
                sp.Eq(sp.Symbol(f"d{name}^+"), getattr(stated, name), evaluate=False),
                words_left(getattr(rows, name), normal_form(getattr(stated, name))),
            )
            for name in Law._fields
        ),
        Step(
            "So the change of w is multiplied by I - eta0 (e + v I) alone: the term of second order in the "
            "step, (w.r) r, is quadratic in r = w - w* and has no derivative there. The Jacobian is block "
            "triangular: its eigenvalues are 1, for (e, v) with symmetric e, and 1 - eta0 mu for the "
            "eigenvalues mu of Theta = e + v I.",
            1 - ETA0 * mu,
        ),
        Step(
            "The eigenvalues 1, of (e, v), are neutral at every step: they move along the set of "
            "minimizers. Marginally stable means that the largest modulus of the others, 1 - eta0 mu, is "
            "1. For w* not zero V is not zero, so every mu >= v > 0 and each 1 - eta0 mu is below 1: the "
            "modulus 1 is reached only at -1, by the largest mu. Solved for it:",
            sp.Eq(sp.Symbol("lambda_Theta"), 2 / ETA0, evaluate=False),
            sp.solve(sp.Eq(1 - ETA0 * mu, -1), mu)[0] - PUBLISHED_FORMULAS["5.3-sharpness"](ETA0),
        ),
        Step(
            "The sharpness lambda_H is the largest eigenvalue of gamma^2 H = G + R (Lemma 5.2). At a "
            "minimizer r = 0, so R = 0, and it is lambda_max(G) = lambda_max(Theta): exactly 2/eta0, with "
            "no correction.",
            sp.Eq(sp.Symbol("lambda_H"), PUBLISHED_FORMULAS["5.3-sharpness"](ETA0), evaluate=False),
        ),
    )
    return Derivation(
        "5.3",
        "A marginally stable minimizer has a sharpness of exactly 2/eta0",
        "Proposition 5.3, corrected",
        steps,
        {"jacobian": rows},
    )


def largest_stable_rate() -> Derivation:
    """`eta_max = 1/(kappa |w*|)` over all minimizers."""
    v, s = sp.symbols("v s", positive=True)
    smallest, largest_rate = PUBLISHED_FORMULAS["eta-max"](KAPPA, s)
    bound = v + KAPPA**2 * s**2 / v
    gram = sp.Matrix([[KAPPA * s, KAPPA * s], [KAPPA * s, KAPPA * s]])
    steps = (
        Step(
            "The Gram matrix S = [[e, kappa w], [kappa w^T, v]] is positive semidefinite. At a minimizer w "
            "= w*, so its Schur complement e - kappa^2 w* w*^T / v is, too (v > 0, else w = 0).",
            sp.Ge(sp.Symbol("e"), KAPPA**2 * sp.Symbol("w_*") * sp.Symbol("w_*^T") / v, evaluate=False),
        ),
        Step(
            "Along w*, of norm s, the NTK e + v I is therefore at least this; the sharpness of a minimizer "
            "is lambda_max(e + v I), as R = 0.",
            sp.Ge(sp.Symbol("lambda_H"), bound, evaluate=False),
        ),
        Step(
            "By the inequality of the means that is at least 2 kappa s: the difference is a square over v.",
            sp.Eq(bound - smallest, (v - KAPPA * s) ** 2 / v, evaluate=False),
            sp.simplify(bound - smallest - (v - KAPPA * s) ** 2 / v),
        ),
        Step(
            "Equality holds at v = kappa s, e = kappa s u u^T with u = w*/s: there S has the rank one (one "
            "neuron is enough, so the bound holds at every width), and the largest eigenvalue of e + v I "
            "is 2 kappa s.",
            gram,
            (sp.simplify(gram.det()), sp.simplify(gram[0, 0] + gram[1, 1] - smallest)),
        ),
        Step(
            "A minimizer is stable only if its sharpness is below 2/eta0 (Proposition 5.3, corrected), so "
            "none is beyond this learning rate.",
            sp.Eq(sp.Symbol("eta_max"), largest_rate, evaluate=False),
            sp.simplify(sp.solve(sp.Eq(smallest, 2 / ETA0), ETA0)[0] - largest_rate),
        ),
    )
    return Derivation(
        "eta-max",
        "No minimizer is stable beyond the learning rate 1/(kappa |w*|), at any width",
        "beyond the paper",
        steps,
        {"smallest_sharpness": smallest, "largest_rate": largest_rate, "width": N},
    )
