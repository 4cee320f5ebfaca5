"""The exact sharpness at any time: one equation in (w, e, v), derived from the eigenvector equation."""

from __future__ import annotations

from typing import Any

import sympy as sp

from .core import ETA0, KAPPA, LAMBDA, D, Derivation, Step
from .hessian import COUPLING, GRAM, RHO, A, B, Direction, Q, hessian_steps, in_weights, residual_part
from .laws import FIRST, RESIDUAL, SECOND, STATE, TARGET, congruence
from .stated import STATED
from .words import normal_form

ALPHA = sp.Symbol("alpha", positive=True)
"""`lambda - rho^2/lambda`."""
NAMED = sp.MatrixSymbol("B_lambda", D, D)
"""The matrix of the sharpness equation, by name."""


def exact_sharpness() -> Derivation:
    """The sharpness at any time as a root of one equation in (w, e, v)."""
    w = STATE.w
    factor, matrix = STATED["exact-sharpness"](STATE, RESIDUAL, COUPLING, LAMBDA)
    inside = Direction((Q * SECOND.T + KAPPA * RESIDUAL * B.T) / LAMBDA, B)
    second = FIRST.T * Q + KAPPA * SECOND * (Q.T * RESIDUAL) / LAMBDA
    inserted = residual_part(inside).second + FIRST.T * Q
    # alpha lambda kappa m (A V + E b) without its first term alpha v q, for alpha b = `second`
    reduced = GRAM * (KAPPA * RESIDUAL * second.T * SECOND + LAMBDA * FIRST * second)
    law = congruence().result["e"].subs(TARGET, w - RESIDUAL).subs(ETA0, -1 / LAMBDA)
    alpha = LAMBDA - RHO**2 / LAMBDA
    number = sp.Symbol("v", positive=True)
    steps = (
        *hessian_steps(),
        Step(
            "Let lambda be an eigenvalue and (A, b) not zero an eigenvector: lambda A = q V^T + kappa r "
            "b^T and lambda b = E^T q + kappa A^T r. Suppose lambda is none of 0, rho, -rho, with rho = "
            "kappa |r|.",
            sp.Eq(RHO**2, COUPLING * RESIDUAL.T * RESIDUAL, evaluate=False),
        ),
        Step("The first equation gives A, as lambda is not zero.", sp.Eq(A, inside.first, evaluate=False)),
        Step(
            "Insert A into the second: lambda b = E^T q + (kappa/lambda) V (q^T r) + (rho^2/lambda) b.",
            sp.Eq(LAMBDA * B, second + RHO**2 / LAMBDA * B, evaluate=False),
            normal_form(inserted - second - COUPLING / LAMBDA * B * RESIDUAL.T * RESIDUAL),
        ),
        Step(
            "With alpha = lambda - rho^2/lambda, which is not zero, this gives b from q alone.",
            sp.Eq(ALPHA * B, second, evaluate=False),
        ),
        Step(
            "Now A and b depend on q alone, and q = kappa m (A V + E b) has to agree with itself. Multiply "
            "this by alpha lambda and put in A, then alpha b. The term q V^T of A gives alpha v q, as "
            "kappa m V^T V = v; all others are lambda times a matrix of the latent state applied to q, by "
            "kappa m E E^T = e and m E V = w (checked).",
            sp.Eq(ALPHA * (LAMBDA - sp.Symbol("v")) * Q, LAMBDA * matrix * Q, evaluate=False),
            normal_form(reduced - in_weights(LAMBDA * matrix * Q)),
            label="equation",
        ),
        Step(
            "Call that matrix B_lambda and divide by lambda: alpha (lambda - v)/lambda = (lambda - v)(1 - "
            "rho^2/lambda^2). This is the sharpness equation, a nonlinear eigenvalue problem of size D.",
            sp.Eq(factor(sp.Symbol("v"), RHO**2) * Q, NAMED * Q, evaluate=False),
            sp.simplify(alpha * (LAMBDA - number) / LAMBDA - factor(number, RHO**2)),
            label="equation",
        ),
        Step(
            "Conversely let q, not zero, solve it. Define b and A by the two formulas above. Reading the "
            "steps backwards, kappa m (A V + E b) = q and (A, b) is an eigenvector, not zero since q is "
            "not. And if q = 0 then b = 0 and A = 0. So outside {0, rho, -rho} the eigenvalues of gamma^2 H "
            "are exactly the solutions, with the multiplicity of their q: for every N, also N < D."
        ),
        Step(
            "B_lambda is the law of e in Theorem 5.1 at the step eta0 = -1/lambda (checked word by word).",
            sp.Eq(NAMED, matrix, evaluate=False),
            normal_form(law - matrix),
            label="equation",
        ),
        *_largest_root_steps(factor),
    )
    return Derivation(
        "exact-sharpness",
        "The sharpness is the only zero, above kappa |r|, of an equation in (w, e, v), or else kappa |r|",
        "beyond the paper, which leaves it open at the end of Sec. 5.1",
        steps,
        {"factor": factor(sp.Symbol("v"), RHO**2), "matrix": matrix},
    )


def _largest_root_steps(factor: Any) -> tuple[Step, ...]:
    """Why the largest root is alone above rho, and how it is found for certain."""
    unit = sp.MatrixSymbol("n", D, 1)
    positive, norm = Direction(unit * B.T, B), RHO / KAPPA
    seen = residual_part(positive)
    toward = {RESIDUAL: norm * unit}
    return (
        Step(
            "Which solution is the largest? Write K (A, b) = sqrt(kappa m) (A V + E b) for the Jacobian of "
            "the output, so that G = K^T K. For lambda > rho the operator lambda - R is positive definite, "
            "since the eigenvalues of R lie in [-rho, rho] (Lemma 5.2). So lambda - gamma^2 H = (lambda - "
            "R) - K^T K is positive definite exactly if its Schur complement C = I - K (lambda - R)^{-1} "
            "K^T, of size D, is.",
        ),
        Step(
            "The steps above, without requiring q to agree with itself, solved (lambda - R)(A, b) = (q "
            "V^T, E^T q) and computed alpha lambda kappa m (A V + E b); so they computed C, times alpha.",
            sp.Eq(
                ALPHA * sp.MatrixSymbol("C", D, D),
                factor(sp.Symbol("v"), RHO**2) * sp.Identity(D) - NAMED,
                evaluate=False,
            ),
        ),
        Step(
            "As lambda grows from rho, (lambda - R)^{-1} decreases, since its derivative -(lambda - "
            "R)^{-2} is negative definite. So the smallest eigenvalue of C increases: strictly while it is "
            "below one (an eigenvector that K^T sends to zero has eigenvalue one), and towards one. Hence "
            "F, which is alpha > 0 times that eigenvalue, changes sign at most once on (rho, infinity), "
            "from negative to positive. Where it does, lambda - gamma^2 H stops being positive definite: "
            "that is the sharpness. Where it does not, no eigenvalue lies above rho.",
            sp.Eq(
                sp.Function("F")(LAMBDA),
                factor(sp.Symbol("v"), RHO**2) - sp.Function("lambda_max")(sp.Symbol("B_lambda")),
                evaluate=False,
            ),
        ),
        Step(
            "In that case the sharpness is rho itself: gamma^2 H - R = G is positive semidefinite, so the "
            "sharpness is at least lambda_max(R) = rho (Lemma 5.2)."
        ),
        Step(
            "Lemma 5.2 brackets the zero: lambda_max(Theta) - rho <= lambda <= lambda_max(Theta) + rho "
            "with Theta = e + v I. On [max(rho, lambda_max(Theta) - rho), lambda_max(Theta) + rho] a "
            "bracketing root search cannot fail.",
            sp.And(
                sp.Le(sp.Symbol("lambda_Theta") - RHO, LAMBDA, evaluate=False),
                sp.Le(LAMBDA, sp.Symbol("lambda_Theta") + RHO, evaluate=False),
            ),
        ),
        Step(
            "The rest of the spectrum: with n = r/|r|, each b with E b + n (V^T b) = 0 gives the "
            "eigenvector (A, b) = (n b^T, b), as its q vanishes and R multiplies it by rho (checked with "
            "n^T n = 1); with A = -n b^T likewise -rho. D equations for N unknowns: each of +-rho has "
            "multiplicity at least N - D.",
            sp.Eq(FIRST * B + unit * SECOND.T * B, sp.ZeroMatrix(D, 1), evaluate=False),
            (
                normal_form(seen.first.subs(toward) - RHO * positive.first),
                _unit(normal_form(seen.second.subs(toward) - RHO * positive.second), "n"),
            ),
        ),
        Step("Each evaluation of F costs one symmetric eigenvalue of size D, whatever N is."),
    )


def _unit(words: Any, name: str) -> dict[Any, Any]:
    """Words with `n^T n` replaced by 1."""
    found: dict[Any, Any] = {}
    for word, value in words.items():
        kept = word._replace(scalars=tuple(pair for pair in word.scalars if pair != (name, name + "'")[::-1]))
        found[kept] = sp.expand(found.get(kept, 0) + value)
    return {word: value for word, value in found.items() if value != 0}
