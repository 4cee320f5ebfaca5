"""Gradient flow: what it conserves, for every D and N, and the sharpness it ends at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sympy as sp
from sympy.matrices.expressions.blockmatrix import block_collapse

from .core import ETA0, KAPPA, LAMBDA, A, D, Derivation, N, P, S, Step, U, coefficient
from .laws import RESIDUAL, STATE, TARGET, congruence
from .noncommutative import Word, normal_form
from .published_formulas import Law

if TYPE_CHECKING:
    from collections.abc import Callable

COUPLING_SYMBOL = sp.Symbol("c", positive=True)
"""`kappa^2`; 1/D under muP, 1/(N D) under NTP."""
START = sp.MatrixSymbol("w_0", D, 1)
"""`w0`, end-to-end map at the start."""
A0, G = sp.symbols("a_0 g", real=True)
B = sp.Symbol("b", positive=True)
"""Start a0 of a, and g = w*.w0; b = |w0|."""


class Integrals(NamedTuple):
    """What is stated of the integrals of the flow."""

    rates: Law
    """Time derivatives of (w, e, v)."""
    balance: Callable[[Any], Any]
    """`d(tr e - v)`, (1, 1), from the rates, with the trace of a matrix given as a function."""
    square: Callable[[Any], Any]
    """Time derivative of `|e|_F^2 - 2 c |w|^2 + v^2`, (1, 1), likewise."""
    change: Any
    """What one step of gradient descent adds to `tr e - v`, (1, 1)."""


def integrals(state: Law, r: Any, eta0: Any, coupling: Any) -> Integrals:
    """The flow, two functions it conserves, and what gradient descent adds to the first."""
    w, e, v = state
    rates = Law(-(r * v + e * r), -coupling * (r * w.T + w * r.T), -2 * coupling * w.T * r)
    return Integrals(
        rates,
        lambda trace: trace(rates.e) - rates.v,
        lambda trace: 2 * trace(e * rates.e) - 4 * coupling * w.T * rates.w + 2 * v * rates.v,
        eta0**2 * coupling * (r.T * r * v - r.T * e * r),
    )


class FinalState(NamedTuple):
    """What is stated of the end of the flow from `e = I/D`, `v = 1/D`."""

    mup: Any
    """Sharpness from `w0 = 0` at infinite width under muP."""
    planar: Any
    """`p^2` at the end, from `w0 = a0 u`, for any coupling."""
    first: Any
    """Coefficient of the coupling in e, (D, D), from any w0."""
    second: Any
    """Coefficient of the coupling in v, (1, 1)."""
    top: Any
    """Largest eigenvalue of `w* w*^T - w0 w0^T` for D > 1."""
    sharpness: Any
    """Sharpness under NTP to first order in 1/N, from the same top."""


def final_state(target: Any, start: Any, top: Any) -> FinalState:
    """The end of the flow; `top` stands for the largest eigenvalue in the sharpness."""
    return FinalState(
        mup=2 * sp.sqrt(1 / D**2 + S**2 / D),
        planar=1 / D**2 + COUPLING_SYMBOL * (S**2 - A0**2),
        first=D / 2 * (target * target.T - start * start.T),
        second=D / 2 * (target.T * target - start.T * start),
        top=(S**2 - B**2) / 2 + sp.sqrt(((S**2 + B**2) / 2) ** 2 - G**2),
        sharpness=2 / D + (S**2 - B**2 + top) / (2 * N),
    )


FLOW_FORMULAS: dict[str, Callable[..., Any]] = {"flow": integrals, "flow-sharpness": final_state}
"""Stated formulas by statement."""


def trace(expression: Any) -> Any:
    """Trace of a sum of matrix products that end in a row, as a 1x1 matrix: the row goes first."""
    moved = []
    for term in sp.Add.make_args(expression.doit().expand().doit()):
        number, factors = term.as_coeff_matrices()
        moved.append(number * sp.MatMul(factors[-1], *factors[:-1]))
    return sp.MatAdd(*moved)


def flow_steps(stated: Integrals) -> tuple[Step, ...]:
    """The flow as the part of the laws that is of first order in the step."""
    premise = congruence()
    inside = {RESIDUAL: STATE.w - TARGET}
    return (
        *premise.steps,
        *(
            Step(
                f"Let eta0 tend to 0 with t = eta0 times the number of steps. The part of the law of {name} "
                "of first order in eta0 is its time derivative.",
                sp.Eq(sp.Symbol(rf"\dot {name}"), rate, evaluate=False),
                _difference(coefficient(normal_form(law), 1, ETA0), normal_form(rate.subs(inside))),
                label="limit",
            )
            for (name, law), rate in zip(premise.result.items(), stated.rates, strict=True)
        ),
    )


def _difference(left: Any, right: Any) -> dict[Any, Any]:
    words = {word: sp.expand(left.get(word, 0) - right.get(word, 0)) for word in {*left, *right}}
    return {word: value for word, value in words.items() if value != 0}


def flow_integrals() -> Derivation:
    """The flow conserves the spectrum of `S J`; gradient descent moves its trace at second order."""
    stated = FLOW_FORMULAS["flow"](STATE, RESIDUAL, ETA0, KAPPA**2)
    law = congruence().result
    inside = {RESIDUAL: STATE.w - TARGET}
    descent = trace(law["e"] - STATE.e) - (law["v"] - STATE.v)
    steps = (
        *flow_steps(stated),
        *_commutator_steps(stated.rates),
        Step(
            "The trace of S J is tr e - v; its time derivative is checked to be zero.",
            sp.Symbol(r"\operatorname{tr} e") - sp.Symbol("v"),
            normal_form(stated.balance(trace)),
            label="balance",
        ),
        Step(
            "The trace of (S J)^2 is |e|_F^2 - 2 c |w|^2 + v^2; its time derivative is checked to be zero.",
            sp.Symbol(r"|e|_F^2") - 2 * KAPPA**2 * sp.Symbol("|w|^2") + sp.Symbol("v") ** 2,
            normal_form(stated.square(trace)),
            label="square",
        ),
        Step(
            "One step of gradient descent changes tr e - v by exactly this: the terms of first order cancel.",
            stated.change,
            normal_form(descent - stated.change.subs(inside)),
            label="descent",
        ),
    )
    return Derivation(
        "flow",
        "Gradient flow conserves the spectrum of S J; gradient descent moves its trace by O(eta0^2) a step",
        "beyond the paper",
        steps,
        {"w": stated.rates.w, "e": stated.rates.e, "v": stated.rates.v, "change": stated.change},
    )


def _commutator_steps(rates: Law) -> tuple[Step, ...]:
    """`d(S J)/dt` is a commutator with `S J`."""
    w, e, v = STATE
    one = sp.Identity(1)
    gram = sp.BlockMatrix([[e, KAPPA * w], [KAPPA * w.T, v]])
    mixing = sp.BlockMatrix([[sp.ZeroMatrix(D, D), RESIDUAL], [RESIDUAL.T, sp.ZeroMatrix(1, 1)]])
    signs = sp.BlockMatrix([[sp.Identity(D), sp.ZeroMatrix(D, 1)], [sp.ZeroMatrix(1, D), -one]])
    rate = block_collapse(-KAPPA * (mixing * gram + gram * mixing))
    product = block_collapse(gram * signs)
    bracket = block_collapse(-KAPPA * (mixing * product - product * mixing))
    moved = block_collapse(rate * signs)
    left, right = block_collapse(mixing * signs), block_collapse(signs * mixing)
    (first, upper), (lower, last) = ([product.blocks[i, j] for j in range(2)] for i in range(2))
    diagonal = (e * e - KAPPA**2 * w * w.T, v * v - KAPPA**2 * w.T * w)
    expected = sp.BlockMatrix([[rates.e, KAPPA * rates.w], [KAPPA * rates.w.T, rates.v]])
    return (
        Step(
            "Stacked: dS/dt = -kappa (M S + S M), the congruence S+ = T S T to first order.",
            rate,
            _blocks(rate, expected),
            label="spectrum",
        ),
        Step(
            "J = diag(I, -1) anticommutes with M = [[0, r], [r^T, 0]].",
            left_over=[
                normal_form(left.blocks[i, j] + right.blocks[i, j]) for i in range(2) for j in range(2)
            ],
            label="spectrum",
        ),
        Step(
            "So d(S J)/dt = -kappa (M (S J) - (S J) M): a commutator, under which S J moves by similarity "
            "and keeps its spectrum.",
            bracket,
            _blocks(moved, bracket),
            label="spectrum",
        ),
        Step(
            "The diagonal blocks of (S J)^2, from the blocks of S J: its trace is |e|_F^2 - 2 c |w|^2 + "
            "v^2, that of S J is tr e - v.",
            sp.Tuple(*diagonal),
            (
                normal_form(first - e),
                normal_form(last + v),
                normal_form(upper * lower + KAPPA**2 * w * w.T),
                normal_form(lower * upper + KAPPA**2 * w.T * w),
            ),
            label="square",
        ),
    )


def _blocks(left: Any, right: Any) -> list[Any]:
    return [normal_form(left.blocks[i, j] - right.blocks[i, j]) for i in range(2) for j in range(2)]


def flow_sharpness() -> Derivation:
    """Where the flow ends: exactly on the plane, and to first order in 1/N from any `w0` under NTP."""
    top = sp.Symbol("lambda_+", real=True)
    stated = FLOW_FORMULAS["flow-sharpness"](TARGET, START, top)
    flow_stated = FLOW_FORMULAS["flow"](STATE, RESIDUAL, ETA0, KAPPA**2)
    steps = (
        *flow_steps(flow_stated),
        Step(
            "At a minimizer r = 0 and the sharpness is that of the NTK, the largest eigenvalue of e plus v "
            "(derivation exact-sharpness)."
        ),
        *_planar_steps(stated),
        *_first_order_steps(stated, flow_stated.rates),
        *_top_steps(stated, top),
    )
    return Derivation(
        "flow-sharpness",
        "The sharpness that gradient flow ends at: 2 sqrt(1/D^2 + |w*|^2/D) under muP, and under NTP to "
        "O(1/N^2)",
        "beyond the paper",
        steps,
        stated._asdict(),
    )


def _planar_steps(stated: FinalState) -> tuple[Step, ...]:
    """The plane, for any coupling."""
    rate_a, rate_p = -2 * P * (A - S), -2 * COUPLING_SYMBOL * A * (A - S)
    on_plane = {
        STATE.w: A * U,
        STATE.e: sp.Identity(D) / D + (P - 1 / D) * U * U.T,
        STATE.v: P * sp.Identity(1),
        RESIDUAL: (A - S) * U,
        KAPPA: sp.sqrt(COUPLING_SYMBOL),
    }
    rates = [_unit(normal_form(part.subs(on_plane))) for part in _rates()]
    expected = (
        {Word((), ("u",)): rate_a},
        {Word((), ("u", "u'")): rate_p},
        {Word((), ()): rate_p},
    )
    conserved = P * rate_p - COUPLING_SYMBOL * A * rate_a
    end = stated.planar
    return (
        Step(
            "From w0 = a0 u, e = I/D, v = 1/D with u = w*/s the flow keeps w = a u, e = I/D + (p - 1/D) u "
            "u^T, v = p.",
            sp.Tuple(sp.Eq(sp.Symbol(r"\dot a"), rate_a), sp.Eq(sp.Symbol(r"\dot p"), rate_p)),
            [_difference(found, part) for found, part in zip(rates, expected, strict=True)],
            label="planar",
        ),
        Step(
            "It conserves p^2 - c a^2, which is positive at the start where kappa |a0| < 1/D; so p stays "
            "positive, bounded below, and a tends to s.",
            P**2 - COUPLING_SYMBOL * A**2,
            sp.expand(conserved),
            label="planar",
        ),
        Step(
            "At the end a = s, which gives p. The sharpness is 2p along the target and p + 1/D across it (D "
            "> 1).",
            sp.Eq(P**2, end, evaluate=False),
            sp.expand(end - COUPLING_SYMBOL * S**2 - (1 / D**2 - COUPLING_SYMBOL * A0**2)),
            label="planar",
        ),
        Step(
            "Under muP c = 1/D and w0 = 0: p grows, so 2p is the larger.",
            stated.mup,
            sp.expand(stated.mup**2 - 4 * end.subs({COUPLING_SYMBOL: 1 / D, A0: 0})),
            label="mup",
        ),
    )


def _rates() -> Law:
    """The flow as stated."""
    rates: Law = FLOW_FORMULAS["flow"](STATE, RESIDUAL, ETA0, KAPPA**2).rates
    return rates


def _unit(words: Any) -> dict[Any, Any]:
    """Words at `u^T u = 1`, without zeros."""
    terms: dict[Any, Any] = {}
    for word, value in words.items():
        kept = Word(tuple(number for number in word.scalars if number != ("u'", "u")), word.rest)
        terms[kept] = sp.expand(terms.get(kept, 0) + value)
    return {word: value for word, value in terms.items() if value != 0}


def _first_order_steps(stated: FinalState, rates: Law) -> tuple[Step, ...]:
    """The end of the flow to first order in the coupling."""
    decay = sp.Symbol("tau", positive=True)
    frozen = {STATE.e: sp.Identity(D) / D, STATE.v: sp.Identity(1) / D}
    residual = decay * (START - TARGET)
    slope = normal_form(rates.w.subs(frozen).subs(RESIDUAL, residual) + 2 / D * residual)
    path = {STATE.w: TARGET + residual, RESIDUAL: residual}
    # dt = -(D/2) d tau / tau, from tau = 1 to 0
    ends = [
        {
            word: sp.integrate(sp.expand(value / KAPPA**2 * D / (2 * decay)), (decay, 0, 1))
            for word, value in normal_form(rate.subs(path)).items()
        }
        for rate in (rates.e, rates.v)
    ]
    return (
        Step(
            "Now let w0 be any, and the coupling small, as under NTP, c = 1/(N D). At order zero e = I/D "
            "and v = 1/D stand still and r = tau (w0 - w*) with tau = exp(-2t/D).",
            sp.Eq(RESIDUAL, residual, evaluate=False),
            slope,
            label="ntp",
        ),
        *(
            Step(
                f"At first order the rate of {name} is integrated along that path, dt = -(D/2) d tau/tau; "
                f"this times c is what {name} gains. The next order is c^2, that is N^-2.",
                gain,
                _difference(end, normal_form(gain)),
                label="ntp",
            )
            for name, end, gain in zip("ev", ends, (stated.first, stated.second), strict=True)
        ),
    )


def _top_steps(stated: FinalState, top: Any) -> tuple[Step, ...]:
    """The largest eigenvalue of `w* w*^T - w0 w0^T` and the sharpness with it."""
    difference = TARGET * TARGET.T - START * START.T
    spanning = (TARGET, START)
    numbers = {
        normal_form(x.T * y).popitem()[0].scalars: value
        for (x, y), value in (((TARGET, TARGET), S**2), ((START, START), B**2), ((TARGET, START), G))
    }
    matrix = sp.Matrix([[S**2, G], [-G, -(B**2)]])
    images = [
        {word.rest: value * numbers[word.scalars] for word, value in normal_form(difference * x).items()}
        for x in spanning
    ]
    rests = [normal_form(x).popitem()[0].rest for x in spanning]
    acted = sp.Matrix(2, 2, lambda i, j: images[j].pop(rests[i], 0))
    polynomial = (LAMBDA * sp.eye(2) - matrix).det()
    other = S**2 - B**2 - stated.top
    gains = (D / 2) * (S**2 - B**2 + top) / (N * D)
    return (
        Step(
            "On the span of w* and w0 the matrix w* w*^T - w0 w0^T acts as a 2x2 matrix, with s = |w*|, b = "
            "|w0|, g = w*.w0; across the span it is zero.",
            matrix,
            (acted - matrix, images),
            label="top",
        ),
        Step(
            "The two roots of its characteristic polynomial; their product g^2 - s^2 b^2 is not positive, "
            "so for D > 1 the larger is the largest eigenvalue, zero included. At D = 1 the only one is s^2 "
            "- b^2.",
            stated.top,
            (
                sp.expand(polynomial.subs(LAMBDA, stated.top)),
                sp.expand(stated.top * other - G**2 + S**2 * B**2),
                # where w* and w0 are orthogonal the two roots are s^2 and -b^2: the first is the larger
                sp.simplify(stated.top.subs(G, 0) - S**2),
            ),
            label="top",
        ),
        Step(
            "So the sharpness under NTP, c = 1/(N D), to first order in 1/N, with tau that eigenvalue.",
            stated.sharpness,
            sp.expand(stated.sharpness - 2 / D - gains),
            label="ntp",
        ),
    )
