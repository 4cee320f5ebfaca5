"""The Hessian seen from the latent state: Lemma 5.2, the invariant subspace, observables.

Directions in weight space are pairs `(A, b)`, A (D, N) in E and b (N, 1) in V. All statements hold for every
D and N at once; `q` stands for `kappa m (A V + E b)`, the change of the output along a direction, scaled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sympy as sp

from .core import KAPPA, MULTIPLIER, D, Derivation, N, Step, T, coefficient
from .laws import FIRST_LAYER, RESIDUAL, SECOND_LAYER, STATE, TARGET
from .noncommutative import normal_form, words_left
from .published_formulas import PUBLISHED_FORMULAS

A_MATRIX, B_VECTOR = sp.MatrixSymbol("A", D, N), sp.MatrixSymbol("b", N, 1)
Q = sp.MatrixSymbol("q", D, 1)
RHO = sp.Symbol("rho", positive=True)
"""`kappa |r|`."""
GRAM = KAPPA * MULTIPLIER
COUPLING = KAPPA**2


class Direction(NamedTuple):
    """A direction in weight space."""

    first: Any
    """(D, N)."""
    second: Any
    """(N, 1)."""


def in_weights(expression: Any) -> Any:
    """An expression in (w, e, v) written in the raw weights (Eq. 4 and 5)."""
    w, e, v = STATE
    values = {
        w: MULTIPLIER * FIRST_LAYER * SECOND_LAYER,
        e: GRAM * FIRST_LAYER * FIRST_LAYER.T,
        v: GRAM * SECOND_LAYER.T * SECOND_LAYER,
    }
    return expression.subs(values)


def output_change(direction: Direction) -> Any:
    """`q = kappa m (A V + E b)`."""
    return GRAM * (direction.first * SECOND_LAYER + FIRST_LAYER * direction.second)


def gauss_newton_part(output: Any) -> Direction:
    """`G (A, b) = (q V^T, E^T q)` as a function of q."""
    return Direction(output * SECOND_LAYER.T, FIRST_LAYER.T * output)


def residual_part(direction: Direction) -> Direction:
    """`R (A, b) = kappa (r b^T, A^T r)`."""
    return Direction(KAPPA * RESIDUAL * direction.second.T, KAPPA * direction.first.T * RESIDUAL)


def hessian_image(direction: Direction) -> Direction:
    """`gamma^2 H (A, b)`."""
    outer, inner = gauss_newton_part(output_change(direction)), residual_part(direction)
    return Direction(outer.first + inner.first, outer.second + inner.second)


def hessian_steps() -> tuple[Step, ...]:
    """The Hessian applied to a direction, by differentiating the gradient along it."""
    along = Direction(FIRST_LAYER + T * A_MATRIX, SECOND_LAYER + T * B_VECTOR)
    moving = MULTIPLIER * along.first * along.second - TARGET
    gradient = Direction(KAPPA * moving * along.second.T, KAPPA * along.first.T * moving)
    residual = {RESIDUAL: MULTIPLIER * FIRST_LAYER * SECOND_LAYER - TARGET}
    image = hessian_image(Direction(A_MATRIX, B_VECTOR))
    gaps = [
        words_left(coefficient(normal_form(moved), 1), normal_form(part.subs(residual)))
        for moved, part in zip(gradient, image, strict=True)
    ]
    outer, inner = gauss_newton_part(Q), residual_part(Direction(A_MATRIX, B_VECTOR))
    return (
        Step(
            "The network is w = m E V with E (D, N), V (N, 1); the loss L = |r|^2/2 with r = w - w*, w* "
            "the target. kappa > 0 and m > 0 are constants of the parametrization (kappa^2 = 1/D under "
            "muP, 1/(N D) under NTP, 1 under SP). The latent state is w, e = kappa m E E^T and v = kappa m "
            "V^T V. Learning rates are measured by gamma^2 = kappa/m: H is the Hessian of L in all N (D + "
            "1) weights, and the sharpness is the largest eigenvalue of gamma^2 H. The gradient, times "
            "gamma^2, is the pair of its parts in E and V.",
            _pair(KAPPA * RESIDUAL * SECOND_LAYER.T, KAPPA * FIRST_LAYER.T * RESIDUAL),
        ),
        Step(
            "Move the weights to (E + t A, V + t b). The derivative of this gradient at t = 0 is the Hessian "
            "applied to the direction (A, b). Write q for the scaled change of the output, (D, 1).",
            sp.Eq(Q, output_change(Direction(A_MATRIX, B_VECTOR)), evaluate=False),
        ),
        Step(
            "Then gamma^2 H (A, b) is this pair, in E and in V; the t-derivative of the gradient minus it is "
            "checked to be zero, word by word.",
            _pair(outer.first + inner.first, outer.second + inner.second),
            gaps,
        ),
        Step(
            "The terms with q are the Gauss-Newton part G, those with r are R: gamma^2 H = G + R.",
            sp.Eq(sp.Symbol("R"), _pair(*inner), evaluate=False),
        ),
    )


def _pair(first: Any, second: Any) -> Any:
    return sp.Tuple(first, second)


def lemma_5_2() -> Derivation:
    """Lemma 5.2: the NTK, the spectrum of R with multiplicities, and both bounds on the sharpness."""
    stated = PUBLISHED_FORMULAS["5.2"](STATE, D, N)
    ntk = output_change(gauss_newton_part(Q))
    rho_squared = normal_form(stated.bound_squared(COUPLING, RESIDUAL) - COUPLING * RESIDUAL.T * RESIDUAL)
    steps = (
        *hessian_steps(),
        Step(
            "Let K (A, b) = sqrt(kappa m) (A V + E b), the Jacobian of the output in the learning-rate "
            "metric; its transpose is K^T q = sqrt(kappa m) (q V^T, E^T q). So G = K^T K, positive "
            "semidefinite.",
            sp.Eq(sp.Symbol("G"), _pair(*gauss_newton_part(Q)), evaluate=False),
        ),
        Step(
            "The NTK is Theta = K K^T. Applied to any q it gives (e + v I) q; K^T K and K K^T share their "
            "nonzero eigenvalues.",
            sp.Eq(ntk, stated.ntk(Q), evaluate=False),
            normal_form(ntk - in_weights(stated.ntk(Q))),
            label="ntk",
        ),
        *_spectrum_steps(stated.multiplicities),
        Step(
            "Let lambda_H be the sharpness, the largest eigenvalue of gamma^2 H, and lambda_Theta that of "
            "Theta, which is that of G, too. By Weyl's inequality for G + R, with R between -rho and rho, "
            "they differ by at most rho, above and below. That the published bound is this rho is checked.",
            sp.Abs(sp.Symbol("lambda_H") - sp.Symbol("lambda_Theta")) <= RHO,
            rho_squared,
            label="bound",
        ),
        Step(
            "Besides, G is positive semidefinite, so the sharpness is at least lambda_max(R) = rho.",
            sp.Symbol("lambda_H") >= RHO,
        ),
    )
    return Derivation(
        "5.2",
        "NTK Theta = e + v I; spectrum of R; the sharpness lies within kappa |r| of the NTK's largest "
        "eigenvalue",
        "Lemma 5.2",
        steps,
        {"ntk": stated.ntk(Q), "multiplicities": stated.multiplicities},
    )


def _spectrum_steps(multiplicities: dict[str, Any]) -> tuple[Step, ...]:
    """The spectrum of R, from its powers and traces."""
    once = residual_part(Direction(A_MATRIX, B_VECTOR))
    thrice = residual_part(residual_part(once))
    square = residual_part(once)
    cube_gap = [
        normal_form(three - COUPLING * one * RESIDUAL.T * RESIDUAL)
        if one.shape[1] == 1
        else normal_form(three.T * Q - COUPLING * one.T * Q * RESIDUAL.T * RESIDUAL)
        for three, one in zip(thrice, once, strict=True)
    ]
    plus, minus, zero = (multiplicities[key] for key in ("rho", "-rho", "0"))
    return (
        Step(
            "R is symmetric, as <(A', b'), R (A, b)> = kappa r^T (A' b + A b') does not change with the "
            "two directions exchanged. R^3 = rho^2 R with rho = kappa |r| (checked for every direction), "
            "so its eigenvalues are among rho, -rho and 0.",
            sp.Eq(RHO**2, COUPLING * sp.Symbol("|r|") ** 2, evaluate=False),
            cube_gap,
            label="spectrum",
        ),
        Step(
            "R^2 (A, b) = (kappa^2 r r^T A, rho^2 b): it multiplies each of the N columns of A by kappa^2 "
            "r r^T and each of the N entries of b by rho^2, so tr R^2 = 2 N rho^2; R maps E-directions to "
            "V-directions and back, so tr R = 0.",
            _pair(COUPLING * RESIDUAL * RESIDUAL.T * A_MATRIX, RHO**2 * B_VECTOR),
            (
                normal_form(square.first - COUPLING * RESIDUAL * RESIDUAL.T * A_MATRIX),
                normal_form(square.second - COUPLING * B_VECTOR * RESIDUAL.T * RESIDUAL),
            ),
            label="spectrum",
        ),
        Step(
            "From the two traces, for r not zero: rho and -rho with multiplicity N each; the remaining N "
            "(D - 1) of the N (D + 1) eigenvalues are zero.",
            sp.Tuple(*(sp.Tuple(RHO * sign, count) for sign, count in ((1, plus), (-1, minus), (0, zero)))),
            [
                sp.expand(plus + minus - 2 * N),
                sp.expand(plus - minus),
                sp.expand(plus + minus + zero - N * (D + 1)),
            ],
            label="spectrum",
        ),
    )


def invariant_subspace() -> Derivation:
    """The Hessian keeps a space of 3D + 1 dimensions, on which it acts by the latent state alone."""
    a, p, y = (sp.MatrixSymbol(name, D, 1) for name in ("a", "p", "y"))
    beta = sp.MatrixSymbol("beta", 1, 1)
    inside = Direction(
        a * SECOND_LAYER.T + RESIDUAL * p.T * FIRST_LAYER, FIRST_LAYER.T * y + SECOND_LAYER * beta
    )
    image = PUBLISHED_FORMULAS["invariant-subspace"](STATE, RESIDUAL, KAPPA, (a, p, y, beta))
    a_next, p_next, y_next, beta_next = map(in_weights, image)
    there = Direction(
        a_next * SECOND_LAYER.T + RESIDUAL * p_next.T * FIRST_LAYER,
        FIRST_LAYER.T * y_next + SECOND_LAYER * beta_next,
    )
    gaps = [normal_form(got - want) for got, want in zip(hessian_image(inside), there, strict=True)]
    steps = (
        *hessian_steps(),
        Step(
            "Take directions A = a V^T + r (E^T p)^T and b = E^T y + beta V, with a, p, y in R^D and a "
            "number beta: 3 D + 1 parameters, whatever N is.",
            _pair(*inside),
        ),
        Step(
            "gamma^2 H maps such a direction to another of the same form, with these a, p, y, beta; "
            "checked word by word. Only w, e, v and r occur, so the Hessian on this space is a function of "
            "the latent state.",
            sp.Tuple(*image),
            gaps,
        ),
        Step(
            "The space contains the range of G and of the gradient. On its orthogonal complement K "
            "vanishes, so H acts there as R: every other eigenvalue is rho, -rho or 0."
        ),
    )
    return Derivation(
        "invariant-subspace",
        "The Hessian leaves a space of 3D + 1 dimensions invariant; elsewhere its eigenvalues are 0 and "
        "+-kappa |r|",
        "beyond the paper, end of Sec. 5.1",
        steps,
        {"image": image},
    )


def observables_derivation() -> Derivation:
    """Trace, gradient norm and directional sharpness as functions of (w, e, v)."""
    stated = PUBLISHED_FORMULAS["observables"](STATE, RESIDUAL, COUPLING, D)
    e = STATE.e
    gradient = Direction(RESIDUAL * SECOND_LAYER.T, FIRST_LAYER.T * RESIDUAL)
    bent = hessian_image(gradient)
    # tr((r V^T)^T X) = r^T X V for the part in E
    norm = GRAM * (
        RESIDUAL.T * RESIDUAL * SECOND_LAYER.T * SECOND_LAYER + gradient.second.T * gradient.second
    )
    form = GRAM * (RESIDUAL.T * bent.first * SECOND_LAYER + gradient.second.T * bent.second)
    steps = (
        *hessian_steps(),
        Step(
            "Trace. R has trace zero (Lemma 5.2), so tr gamma^2 H = tr G = tr K K^T = tr(e + v I).",
            sp.Eq(sp.Symbol("tr"), sp.Trace(e) + D * sp.Symbol("v"), evaluate=False),
            sp.expand(stated.trace(sp.Symbol("e"), sp.Symbol("v")) - sp.Symbol("e") - D * sp.Symbol("v")),
            label="trace",
        ),
        Step(
            "Gradient norm in the learning-rate metric: gamma grad L = sqrt(kappa m) (r V^T, E^T r), of "
            "squared norm r^T Theta r. To first order a step lowers the loss by eta0 times that.",
            sp.Eq(sp.Symbol("|gamma grad L|^2"), stated.gradient_square, evaluate=False),
            normal_form(norm - in_weights(stated.gradient_square)),
            label="gradient",
        ),
        Step(
            "Directional sharpness: the curvature along the gradient is this over r^T Theta r.",
            stated.gradient_form,
            normal_form(
                form.subs(RESIDUAL, MULTIPLIER * FIRST_LAYER * SECOND_LAYER - TARGET)
                - _at_weights(stated.gradient_form)
            ),
            label="directional",
        ),
    )
    return Derivation(
        "observables",
        "Hessian trace, gradient norm and directional sharpness in (w, e, v)",
        "beyond the paper",
        steps,
        {"gradient_square": stated.gradient_square, "gradient_form": stated.gradient_form},
    )


def _at_weights(expression: Any) -> Any:
    return in_weights(expression.subs(RESIDUAL, STATE.w - TARGET))
