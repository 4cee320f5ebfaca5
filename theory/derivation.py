"""Theorem 5.1 derived with SymPy, in two independent ways.

`congruence_law` covers every D and N at once: gradient descent multiplies the stacked weights by one matrix,
so it transforms their Gram matrix by a congruence. `component_law` takes the gradient of the loss entry by
entry at one size. Neither knows the published formula; `difference` compares them with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.matrices.expressions.blockmatrix import block_collapse

from .published import Law
from .words import Word, normal_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .parametrization import Parametrization

D, N = sp.symbols("D N", integer=True, positive=True)
ETA0, KAPPA = sp.symbols("eta_0 kappa", positive=True)
MULTIPLIER = sp.Symbol("m", positive=True)

COMPONENT_SIZES = ((1, 1), (1, 2), (2, 1), (2, 3), (3, 2))
"""Sizes (D, N) of the entry-by-entry derivation; N < D, N = D and N > D all occur."""


@dataclass(frozen=True)
class Step:
    """One line of a derivation: what is done, and what it gives."""

    text: str
    expression: Any

    @property
    def latex(self) -> str:
        """The expression for a paper."""
        return str(sp.latex(self.expression))


@dataclass(frozen=True)
class Derivation:
    """A derived statement: its steps in order and what they end in, by name."""

    statement: str
    steps: tuple[Step, ...]
    result: Mapping[str, Any]


def _symbols() -> tuple[Law, Any]:
    state = Law(sp.MatrixSymbol("w", D, 1), sp.MatrixSymbol("e", D, D), sp.MatrixSymbol("v", 1, 1))
    return state, sp.MatrixSymbol("w_*", D, 1)


def gradient_step() -> Derivation:
    """`Z+ = (I - eta0 kappa M) Z` from the gradient of the loss, for every D and N at once.

    This is the premise of `congruence_law`. The result is what is left, by words, of the gradient step on E
    and V minus the product: nothing.
    """
    first, second = sp.MatrixSymbol("E", D, N), sp.MatrixSymbol("V", N, 1)
    target = sp.MatrixSymbol("w_*", D, 1)
    residual = MULTIPLIER * first * second - target
    loss = sp.Trace(residual.T * residual) / 2
    rate = ETA0 * KAPPA / MULTIPLIER  # eta = eta0 gamma^2, and kappa = gamma^2 * multiplier
    stepped = (first - rate * loss.diff(first), second - rate * loss.diff(second))
    mixing = sp.BlockMatrix([[sp.ZeroMatrix(D, D), residual], [residual.T, sp.ZeroMatrix(1, 1)]])
    stacked = sp.BlockMatrix([[first], [second.T]])
    product = block_collapse(stacked - ETA0 * KAPPA * mixing * stacked)
    differences = {
        "E": normal_form(stepped[0] - product.blocks[0, 0]),
        "V": normal_form(stepped[1].T - product.blocks[1, 0]),
    }
    steps = (
        Step("loss", loss),
        Step("gradient step on E", stepped[0]),
        Step("gradient step on V", stepped[1]),
        Step("the same as one product, (I - eta0 kappa M) Z", product),
    )
    return Derivation("Z+ = (I - eta0 kappa M) Z", steps, differences)


def congruence_law() -> Derivation:
    """Derive the laws of (w, e, v) for every D and N at once.

    `Z+ = (I - eta0 kappa M) Z` with `Z = [E; V^T]` and `M = [[0, r], [r^T, 0]]` gives
    `S+ = (I - eta0 kappa M) S (I - eta0 kappa M)` for `S = gram * Z Z^T = [[e, kappa w], [kappa w^T, v]]`.
    """
    (w, e, v), target = _symbols()
    r = sp.MatrixSymbol("r", D, 1)
    gram = sp.BlockMatrix([[e, KAPPA * w], [KAPPA * w.T, v]])
    factor = sp.BlockMatrix([[sp.Identity(D), -ETA0 * KAPPA * r], [-ETA0 * KAPPA * r.T, sp.Identity(1)]])
    image = block_collapse(factor * gram * factor)
    laws = Law(
        w=(image.blocks[0, 1] / KAPPA).subs(r, w - target),
        e=image.blocks[0, 0].subs(r, w - target),
        v=image.blocks[1, 1].subs(r, w - target),
    )
    steps = (
        Step("Gram matrix S of the stacked weights", gram),
        Step("one step multiplies the weights by T = I - eta0 kappa M", factor),
        Step("so S+ = T S T", image),
        Step("upper right block over kappa, with r = w - w*: w+", laws.w),
        Step("upper left block: e+", laws.e),
        Step("lower right block: v+", laws.v),
    )
    return Derivation("Theorem 5.1", steps, laws._asdict())


def difference(derivation: Derivation, formula: Any) -> Mapping[str, Mapping[Word, Any]]:
    """What is left, by words, of the derived laws minus a published formula; empty where they agree."""
    state, target = _symbols()
    published = formula(state, target, ETA0, KAPPA**2)._asdict()
    return {name: normal_form(law - published[name]) for name, law in derivation.result.items()}


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


def width_in_laws(derivation: Derivation, parametrization: Parametrization) -> Mapping[str, bool]:
    """Corollary 5.4 by inspection: whether `N` occurs in the derived law of each of w, e and v."""
    kappa = parametrization.kappa.at(width=N, dimension=D)
    words = {name: normal_form(law) for name, law in derivation.result.items()}
    return {
        name: any(sp.simplify(coefficient.subs(KAPPA, kappa)).has(N) for coefficient in terms.values())
        for name, terms in words.items()
    }
