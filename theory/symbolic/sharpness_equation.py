"""The exact sharpness at any time: one equation in (w, e, v), derived from the eigenvector equation."""

from __future__ import annotations

from typing import Any

import sympy as sp

from .core import ETA0, KAPPA, LAMBDA, D, Derivation, Step
from .hessian import (
    A_MATRIX,
    B_VECTOR,
    COUPLING,
    GRAM,
    RHO,
    Direction,
    Q,
    hessian_steps,
    in_weights,
    output_change,
    residual_part,
)
from .laws import FIRST_LAYER, RESIDUAL, SECOND_LAYER, STATE, TARGET, congruence
from .noncommutative import normal_form, without_unit
from .published_formulas import PUBLISHED_FORMULAS

ALPHA = sp.Symbol("alpha", positive=True)
"""`lambda - rho^2/lambda`."""
NAMED = sp.MatrixSymbol("B_lambda", D, D)
"""The matrix of the sharpness equation, by name."""


def exact_sharpness() -> Derivation:
    """The sharpness at any time as a root of one equation in (w, e, v)."""
    factor, matrix = PUBLISHED_FORMULAS["exact-sharpness"](STATE, RESIDUAL, COUPLING, LAMBDA)
    steps = (
        *hessian_steps(),
        *_elimination_steps(),
        *_equation_steps(factor, matrix),
        *_largest_root_steps(factor),
        *_edge_steps(factor),
    )
    return Derivation(
        "exact-sharpness",
        "The sharpness is the only zero, above kappa |r|, of an equation in (w, e, v), or else kappa |r|",
        "beyond the paper, which leaves it open at the end of Section 5.1",
        steps,
        {"factor": factor(sp.Symbol("v"), RHO**2), "matrix": matrix},
    )


def _elimination_steps() -> tuple[Step, ...]:
    """A and b from q, by the eigenvector equation."""
    inside, second = _inside(), _second()
    inserted = residual_part(inside).second + FIRST_LAYER.T * Q
    return (
        Step(
            "Let lambda be an eigenvalue and (A, b) not zero an eigenvector: lambda A = q V^T + kappa r "
            "b^T and lambda b = E^T q + kappa A^T r. Suppose lambda is none of 0, rho, -rho, with rho = "
            "kappa |r|.",
            sp.Eq(RHO**2, COUPLING * RESIDUAL.T * RESIDUAL, evaluate=False),
        ),
        Step(
            "The first equation gives A, as lambda is not zero.",
            sp.Eq(A_MATRIX, inside.first, evaluate=False),
        ),
        Step(
            "Insert A into the second: lambda b = E^T q + (kappa/lambda) V (q^T r) + (rho^2/lambda) b.",
            sp.Eq(LAMBDA * B_VECTOR, second + RHO**2 / LAMBDA * B_VECTOR, evaluate=False),
            normal_form(inserted - second - COUPLING / LAMBDA * B_VECTOR * RESIDUAL.T * RESIDUAL),
        ),
        Step(
            "With alpha = lambda - rho^2/lambda, which is not zero, this gives b from q alone.",
            sp.Eq(ALPHA * B_VECTOR, second, evaluate=False),
        ),
    )


def _inside() -> Direction:
    """The eigenvector with A from q and b."""
    return Direction((Q * SECOND_LAYER.T + KAPPA * RESIDUAL * B_VECTOR.T) / LAMBDA, B_VECTOR)


def _second() -> Any:
    """`alpha b` from q."""
    return FIRST_LAYER.T * Q + KAPPA * SECOND_LAYER * (Q.T * RESIDUAL) / LAMBDA


def _equation_steps(factor: Any, matrix: Any) -> tuple[Step, ...]:
    """The equation that q has to solve, and what its matrix is."""
    w, second = STATE.w, _second()
    # alpha lambda kappa m (A V + E b) without its first term alpha v q, for alpha b = `second`
    reduced = GRAM * (KAPPA * RESIDUAL * second.T * SECOND_LAYER + LAMBDA * FIRST_LAYER * second)
    law = congruence().result["e"].subs(TARGET, w - RESIDUAL).subs(ETA0, -1 / LAMBDA)
    step = FIRST_LAYER + KAPPA / LAMBDA * RESIDUAL * SECOND_LAYER.T
    alpha = LAMBDA - RHO**2 / LAMBDA
    number = sp.Symbol("v", positive=True)
    return (
        Step(
            "Now A and b depend on q alone, and q = kappa m (A V + E b) has to agree with itself. Multiply "
            "this by alpha lambda and put in A, then alpha b. The term q V^T of A gives alpha v q, as "
            "kappa m V^T V = v; all others are lambda times a matrix of the latent state applied to q, by "
            "kappa m E E^T = e and m E V = w (checked). Here v is a number.",
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
            "Conversely let q, not zero, solve it, and define b and A by the two formulas above. Step 9 "
            "computes kappa m (A V + E b) from these formulas alone: times alpha lambda it is alpha v q + "
            "lambda B_lambda q, which is alpha lambda q by the equation. So it equals q, and (A, b) is an "
            "eigenvector, not zero since q is not. If on the other hand q = 0, then b = 0 and A = 0. So (A, "
            "b) -> q is a linear one-to-one map from the eigenspace of lambda to the solutions at lambda: "
            "outside {0, rho, -rho} the eigenvalues of gamma^2 H are exactly the solutions, with the same "
            "multiplicity, for every N, also N < D."
        ),
        Step(
            "B_lambda is e - eta0 kappa^2 (r w^T + w r^T) + eta0^2 kappa^2 v r r^T, the law of e in "
            "Theorem 5.1, at the step eta0 = -1/lambda (checked). So it is a Gram matrix, kappa m Y Y^T "
            "with Y = E + (kappa/lambda) r V^T (checked), and positive semidefinite.",
            sp.Eq(NAMED, matrix, evaluate=False),
            (normal_form(law - matrix), normal_form(in_weights(matrix) - GRAM * step * step.T)),
            label="equation",
        ),
    )


def _largest_root_steps(factor: Any) -> tuple[Step, ...]:
    """Why the largest solution is alone above rho."""
    return (
        Step(
            "Which solution is the largest? Write K (A, b) = sqrt(kappa m) (A V + E b) for the Jacobian of "
            "the output; K^T q = sqrt(kappa m) (q V^T, E^T q), so G = K^T K. For lambda > rho the operator "
            "lambda I - R is positive definite, since the eigenvalues of R lie in [-rho, rho] (Lemma 5.2). "
            "Then both Schur complements of the block operator [[lambda I - R, K^T], [K, I]] decide its "
            "definiteness: lambda I - gamma^2 H = (lambda I - R) - K^T K is positive definite exactly if C "
            "= I - K (lambda I - R)^{-1} K^T, of size D, is."
        ),
        Step(
            "The steps above, without requiring q to agree with itself, solved (lambda I - R)(A, b) = (q "
            "V^T, E^T q) and found alpha lambda kappa m (A V + E b) = alpha v q + lambda B_lambda q. But "
            "kappa m (A V + E b) is then K (lambda I - R)^{-1} K^T q = q - C q. Divide by lambda and "
            "subtract from alpha q.",
            sp.Eq(
                ALPHA * sp.MatrixSymbol("C", D, D),
                factor(sp.Symbol("v"), RHO**2) * sp.Identity(D) - NAMED,
                evaluate=False,
            ),
        ),
        Step(
            "Let c be the smallest eigenvalue of C, and F = alpha c, with alpha > 0 on (rho, infinity): "
            "that is the formula below. C has the derivative K (lambda I - R)^{-2} K^T in lambda, positive "
            "semidefinite; its form at q is |(lambda I - R)^{-1} K^T q|^2, zero only if K^T q = 0, and "
            "then C q = q. So c never decreases, and strictly increases while it is below one: if C q = c "
            "q at some lambda with |q| = 1 and c < 1, then K^T q is not 0, and at any smaller lambda the "
            "form of C at q, hence its smallest eigenvalue, is smaller. As lambda grows C tends to I, so c "
            "tends to one.",
            sp.Eq(
                sp.Function("F")(LAMBDA),
                factor(sp.Symbol("v"), RHO**2) - sp.Function("lambda_max")(sp.Symbol("B_lambda")),
                evaluate=False,
            ),
        ),
        Step(
            "Hence F is positive for large lambda and has at most one zero on (rho, infinity), where it "
            "goes from negative to positive. At that zero C is singular, and above it lambda I - gamma^2 H "
            "is positive definite: the zero is the sharpness. If there is no zero, F is positive on all of "
            "(rho, infinity), and no eigenvalue lies above rho; then the sharpness is rho itself, because "
            "gamma^2 H - R = G is positive semidefinite, so the sharpness is at least lambda_max(R) = rho "
            "(Lemma 5.2)."
        ),
    )


def _edge_steps(factor: Any) -> tuple[Step, ...]:
    """When the sharpness is rho, why the bracket holds it, and the rest of the spectrum."""
    unit, norm = sp.MatrixSymbol("n", D, 1), RHO / KAPPA
    v = sp.Symbol("v", positive=True)
    # Y = 0: e = v n n^T, kappa w = -v n and |r| = rho/kappa give B_lambda along n
    along = v - 2 * RHO * v / LAMBDA + RHO**2 * v / LAMBDA**2
    at_edge = (1 - RHO / LAMBDA) * (LAMBDA + RHO - 2 * v)
    toward = {RESIDUAL: norm * unit}
    first, second = in_weights(STATE.e), in_weights(KAPPA * STATE.w)
    gone = {FIRST_LAYER: -unit * SECOND_LAYER.T}
    number = in_weights(STATE.v)
    gaps = [
        without_unit(normal_form(first.subs(gone) - unit * number * unit.T), "n"),
        without_unit(normal_form(second.subs(gone) + unit * number), "n"),
    ]
    return (
        Step(
            "When is it rho? Let r not be zero and n = r/|r|. At lambda = rho the first term of F "
            "vanishes: F(rho) = -lambda_max(B_rho) <= 0, as B_rho = kappa m Y Y^T with Y = E + n V^T. "
            "Unless Y = 0, F is negative at rho and has its zero above. If Y = 0, then e = v n n^T and "
            "kappa w = -v n (checked), B_lambda is zero across n, and along n F is this (checked): the "
            "sharpness is max(rho, 2 v - rho).",
            sp.Eq(sp.Function("F")(LAMBDA), at_edge, evaluate=False),
            (gaps, sp.simplify(factor(v, RHO**2) - along - at_edge)),
        ),
        Step(
            "Lemma 5.2 brackets the sharpness, Theta = e + v I. For r not zero F is not positive at the "
            "lower end of [max(rho, lambda_max(Theta) - rho), lambda_max(Theta) + rho]: if that end is "
            "rho, by the last step; if it is above rho, because F > 0 there would put every eigenvalue "
            "below it. Nor is it negative at the upper end. So a bracketing search finds the zero. Where F "
            "vanishes at the lower end already, as for Y = 0, that end is the sharpness; for r = 0 it is "
            "lambda_max(Theta), without a search.",
            sp.And(
                sp.Le(sp.Symbol("lambda_Theta") - RHO, LAMBDA, evaluate=False),
                sp.Le(LAMBDA, sp.Symbol("lambda_Theta") + RHO, evaluate=False),
            ),
        ),
        *(
            Step(
                f"At the excluded value {sign}rho, for r not zero: each b with E b {other} n (V^T b) = 0 "
                f"gives the eigenvector (A, b) = ({sign}n b^T, b), as its q vanishes and R multiplies it by "
                f"{sign}rho (checked with n^T n = 1). These are D equations for N unknowns: where N > D the "
                "multiplicity is at least N - D.",
                sp.Eq(
                    FIRST_LAYER * B_VECTOR + factor_ * unit * SECOND_LAYER.T * B_VECTOR,
                    sp.ZeroMatrix(D, 1),
                    evaluate=False,
                ),
                _rho_gaps(unit, toward, factor_),
            )
            for sign, other, factor_ in (("", "+", 1), ("-", "-", -1))
        ),
        Step(
            "And every A with r^T A = 0 and A V = 0 has, with b = 0, the eigenvalue 0: multiplicity at least "
            "(D - 1)(N - 1). Each evaluation of F costs one symmetric eigenvalue of size D, whatever N is."
        ),
    )


def _rho_gaps(unit: Any, toward: Any, sign: int) -> list[Any]:
    """What `R` and the output change leave of an eigenvector to `sign * rho`."""
    vector = Direction(sign * unit * B_VECTOR.T, B_VECTOR)
    seen = residual_part(vector)
    condition = FIRST_LAYER * B_VECTOR + sign * unit * SECOND_LAYER.T * B_VECTOR
    return [
        normal_form(output_change(vector) - GRAM * condition),
        normal_form(seen.first.subs(toward) - sign * RHO * vector.first),
        without_unit(normal_form(seen.second.subs(toward) - sign * RHO * vector.second), "n"),
    ]
