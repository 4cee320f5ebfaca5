"""The evolution laws: gradient descent as one product, the congruence of the Gram matrix, Theorem 5.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.matrices.expressions.blockmatrix import block_collapse

from ..parametrization import PARAMETRIZATIONS
from .core import ETA0, KAPPA, MULTIPLIER, D, Derivation, N, Step
from .noncommutative import normal_form
from .published_formulas import PUBLISHED_FORMULAS, Law

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..parametrization import Parametrization

COMPONENT_SIZES = ((1, 1), (1, 2), (2, 1), (2, 3), (3, 2))
"""Sizes (D, N) of the entry-by-entry derivation; N < D, N = D and N > D all occur."""

FIRST_LAYER, SECOND_LAYER = sp.MatrixSymbol("E", D, N), sp.MatrixSymbol("V", N, 1)
"""Raw weights."""
TARGET, RESIDUAL = sp.MatrixSymbol("w_*", D, 1), sp.MatrixSymbol("r", D, 1)
"""`w*` and `r = w - w*`."""
STATE = Law(sp.MatrixSymbol("w", D, 1), sp.MatrixSymbol("e", D, D), sp.MatrixSymbol("v", 1, 1))
"""The latent state as symbols; `v` is a 1x1 matrix, which fits between others."""


def gradient_steps() -> tuple[Step, ...]:
    """`Z+ = (I - eta0 kappa M) Z` from the gradient of the loss, for every D and N at once."""
    residual = MULTIPLIER * FIRST_LAYER * SECOND_LAYER - TARGET
    loss = sp.Trace(residual.T * residual) / 2
    rate = ETA0 * KAPPA / MULTIPLIER
    gradient = Law(None, MULTIPLIER * RESIDUAL * SECOND_LAYER.T, MULTIPLIER * FIRST_LAYER.T * RESIDUAL)
    mixing = sp.BlockMatrix([[sp.ZeroMatrix(D, D), RESIDUAL], [RESIDUAL.T, sp.ZeroMatrix(1, 1)]])
    stacked = sp.BlockMatrix([[FIRST_LAYER], [SECOND_LAYER.T]])
    product = block_collapse(stacked - ETA0 * KAPPA * mixing * stacked)
    by_autograd = [normal_form(loss.diff(FIRST_LAYER) - gradient.e.subs(RESIDUAL, residual))]
    by_autograd.append(normal_form(loss.diff(SECOND_LAYER) - gradient.v.subs(RESIDUAL, residual)))
    return (
        Step(
            "The end-to-end map is w = m E V with E (D, N), V (N, 1); the loss is half the squared residual "
            "r = w - w*.",
            sp.Eq(sp.Symbol("L"), loss, evaluate=False),
        ),
        Step("Its gradient in E, by matrix calculus.", gradient.e, by_autograd[0]),
        Step("Its gradient in V.", gradient.v, by_autograd[1]),
        Step(
            "A step of gradient descent on the raw weights has the size eta0 gamma^2 = eta0 kappa / m. On "
            "the stacked weights Z = [E; V^T], (D + 1, N), it is one product, Z+ = (I - eta0 kappa M) Z "
            "with M = [[0, r], [r^T, 0]].",
            product,
            (
                normal_form(FIRST_LAYER - rate * gradient.e - product.blocks[0, 0]),
                normal_form((SECOND_LAYER - rate * gradient.v).T - product.blocks[1, 0]),
            ),
        ),
    )


def congruence() -> Derivation:
    """`S+ = T S T` for the Gram matrix of the stacked weights, every D and N at once (theory, 4.1)."""
    w, e, v = STATE
    gram = sp.BlockMatrix([[e, KAPPA * w], [KAPPA * w.T, v]])
    factor = sp.BlockMatrix(
        [[sp.Identity(D), -ETA0 * KAPPA * RESIDUAL], [-ETA0 * KAPPA * RESIDUAL.T, sp.Identity(1)]]
    )
    image = block_collapse(factor * gram * factor)
    in_weights = {
        e: KAPPA * MULTIPLIER * FIRST_LAYER * FIRST_LAYER.T,
        w: MULTIPLIER * FIRST_LAYER * SECOND_LAYER,
    }
    in_weights[v] = KAPPA * MULTIPLIER * SECOND_LAYER.T * SECOND_LAYER
    stepped = block_collapse(factor * sp.BlockMatrix([[FIRST_LAYER], [SECOND_LAYER.T]]))
    square = block_collapse(KAPPA * MULTIPLIER * stepped * stepped.T)
    steps = (
        *gradient_steps(),
        Step(
            "With e = kappa m E E^T and v = kappa m V^T V the Gram matrix of the stacked weights, "
            "S = kappa m Z Z^T, holds the latent state.",
            gram,
        ),
        Step("One step multiplies Z from the left by the symmetric matrix T = I - eta0 kappa M.", factor),
        Step(
            "So S+ = kappa m (T Z)(T Z)^T = T S T: a congruence, for every D and every N.",
            image,
            [
                normal_form(square.blocks[i, j] - image.blocks[i, j].subs(in_weights))
                for i in range(2)
                for j in range(2)
            ],
        ),
        Step(
            "A congruence keeps S symmetric and positive semidefinite, and its rank at most N; S and r alone "
            "give S+, so (w, e, v) is self-contained."
        ),
    )
    result = {
        "w": (image.blocks[0, 1] / KAPPA).subs(RESIDUAL, w - TARGET),
        "e": image.blocks[0, 0].subs(RESIDUAL, w - TARGET),
        "v": image.blocks[1, 1].subs(RESIDUAL, w - TARGET),
    }
    return Derivation(
        "congruence",
        "Gradient descent is a congruence of the Gram matrix of the stacked weights, S+ = T S T",
        "beyond the paper; implies Theorem 5.1",
        steps,
        result,
    )


_NAMES = {"w": "upper right block over kappa", "e": "upper left block", "v": "lower right block"}


def theorem_5_1() -> Derivation:
    """Theorem 5.1 from the congruence, and again entry by entry at five sizes."""
    premise = congruence()
    published = PUBLISHED_FORMULAS["5.1"](STATE, TARGET, ETA0, KAPPA**2)._asdict()
    blocks = tuple(
        Step(
            f"The {_NAMES[name]} of T S T with r = w - w*: the law of {name}. Derived minus published, word "
            "by word, is checked to be zero.",
            sp.Eq(sp.Symbol(f"{name}^+"), published[name], evaluate=False),
            normal_form(law - published[name]),
            label=name,
        )
        for name, law in premise.result.items()
    )
    sizes = ", ".join(map(str, COMPONENT_SIZES))
    gaps = [component_law(*size).difference(PUBLISHED_FORMULAS["5.1"]) for size in COMPONENT_SIZES]
    again = tuple(
        Step(
            f"Independently: {name}+ from the partial derivatives in every entry of E and V at "
            f"(D, N) = {sizes}. The number of entries that differ is checked to be zero.",
            left_over=[gap[name] for gap in gaps],
            label=name,
        )
        for name in _NAMES
    )
    return Derivation(
        "5.1",
        "Evolution laws of (w, e, v)",
        "Theorem 5.1",
        (*premise.steps, *blocks, *again),
        premise.result,
    )


@dataclass(frozen=True)
class ComponentLaw:
    """The laws at one size, entry by entry, as matrices of polynomials in the raw weights."""

    before: Law
    """(w, e, v) before the step."""
    after: Law
    """(w, e, v) after it."""
    target: Any
    """`w*`, (D, 1)."""

    def difference(self, formula: Any) -> Mapping[str, int]:
        """Number of entries where a published formula differs from the derived step, by quantity."""
        published = formula(self.before, self.target, ETA0, KAPPA**2)
        gaps = {name: getattr(self.after, name) - getattr(published, name) for name in Law._fields}
        return {name: sum(sp.expand(entry) != 0 for entry in gap) for name, gap in gaps.items()}


def component_law(dimension: int, width: int) -> ComponentLaw:
    """Derive the laws at one size from the gradient of the loss in every entry of E and V."""
    first = sp.Matrix(dimension, width, lambda i, k: sp.Symbol(f"E_{i}{k}"))
    second = sp.Matrix(width, 1, lambda k, _: sp.Symbol(f"V_{k}"))
    target = sp.Matrix(dimension, 1, lambda i, _: sp.Symbol(f"t_{i}"))
    residual = MULTIPLIER * first * second - target
    loss = (residual.T * residual)[0] / 2
    rate = ETA0 * KAPPA / MULTIPLIER
    stepped_first = first - rate * first.applyfunc(lambda entry: sp.diff(loss, entry))
    stepped_second = second - rate * second.applyfunc(lambda entry: sp.diff(loss, entry))
    return ComponentLaw(_latent(first, second), _latent(stepped_first, stepped_second), target)


def _latent(first: Any, second: Any) -> Law:
    gram = KAPPA * MULTIPLIER
    return Law(MULTIPLIER * first * second, gram * first * first.T, gram * second.T * second)


def width_in_laws(laws: Mapping[str, Any], parametrization: Parametrization) -> Mapping[str, bool]:
    """Whether `N` occurs in the law of each of w, e and v under a parametrization."""
    kappa = parametrization.kappa.at(width=N, dimension=D)
    words = {name: normal_form(law) for name, law in laws.items()}
    return {
        name: any(sp.simplify(coefficient.subs(KAPPA, kappa)).has(N) for coefficient in terms.values())
        for name, terms in words.items()
    }


def corollary_5_4() -> Derivation:
    """Corollary 5.4: no width in the laws under muP, by inspection, and width in those under NTP."""
    premise = congruence()
    steps = list(premise.steps)
    for table in PARAMETRIZATIONS.values():
        kappa = table.kappa.at(width=N, dimension=D)
        found = [name for name, has in width_in_laws(premise.result, table).items() if has]
        expected = PUBLISHED_FORMULAS["5.4"](table.name)
        where = f"N stands in the laws of {', '.join(found)}" if found else "no N in any law"
        steps.append(
            Step(
                f"Under {table.title} the coupling is this, and {where}.",
                sp.Eq(KAPPA, kappa, evaluate=False),
                "" if bool(found) == expected else f"stated otherwise for {table.title}",
                label=table.name,
            )
        )
    return Derivation(
        "5.4",
        "Under muP the laws of (w, e, v) hold no width, at any finite width; under NTP they do",
        "Corollary 5.4",
        tuple(steps),
        {table.name: table.kappa.at(width=N, dimension=D) for table in PARAMETRIZATIONS.values()},
    )


def ntp_limit() -> Derivation:
    """The NTP limit: as N grows the map of w becomes linear, and e and v stand still, at rate 1/N a step."""
    premise = congruence()
    published = PUBLISHED_FORMULAS["ntp-limit"](STATE, TARGET, ETA0)._asdict()
    kappa = PARAMETRIZATIONS["ntp"].kappa.at(width=N, dimension=D)
    steps = [
        *premise.steps,
        Step("Under NTP the coupling falls with the width.", sp.Eq(KAPPA, kappa, evaluate=False)),
    ]
    for name, law in premise.result.items():
        change = {
            word: value.subs(KAPPA, kappa) for word, value in normal_form(law - published[name]).items()
        }
        steps.append(
            Step(
                f"The law of {name} minus its limit: every term is proportional to 1/N, so it tends to the "
                "published limit and misses it by O(1/N) a step.",
                sp.Eq(sp.Symbol(f"{name}^+"), published[name], evaluate=False),
                [sp.diff(sp.expand(value * N), N) for value in change.values()],
                label=name,
            )
        )
    return Derivation(
        "ntp-limit",
        "Under NTP the map becomes linear in w, and e and v are frozen, at the rate 1/N a step",
        "Sec. 5.1, implications for NTP",
        tuple(steps),
        published,
    )


def standard_laws() -> Derivation:
    """App. C.3.1: under SP the laws are Theorem 5.1's with coupling 1, so they hold no width."""
    premise = congruence()
    kappa = PARAMETRIZATIONS["sp"].kappa.at(width=N, dimension=D)
    published = PUBLISHED_FORMULAS["C.3"](STATE, TARGET, ETA0)._asdict()
    steps = [
        *premise.steps,
        Step(
            "SP has no multipliers and no rescaled step: the coupling is 1.",
            sp.Eq(KAPPA, kappa, evaluate=False),
        ),
        *(
            Step(
                f"The law of {name} at that coupling; derived minus published is checked to be zero.",
                sp.Eq(sp.Symbol(f"{name}^+"), published[name], evaluate=False),
                normal_form((law - published[name]).subs(KAPPA, kappa)),
                label=name,
            )
            for name, law in premise.result.items()
        ),
    ]
    return Derivation("C.3", "Under SP the laws hold no width", "App. C.3.1", tuple(steps), published)
