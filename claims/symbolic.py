"""Claims settled by derivation: Theorem 5.1, Corollary 5.4, Proposition C.1."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import sympy as sp

from ..theory import PARAMETRIZATIONS, derivation, moments, published
from ..theory.derivation import COMPONENT_SIZES, D, N
from .ledger import Claim, Evidence, Kind, Outcome, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@cache
def _congruence() -> derivation.Derivation:
    return derivation.congruence_law()


@cache
def _component(size: tuple[int, int]) -> derivation.ComponentLaw:
    return derivation.component_law(*size)


@cache
def _premise() -> Mapping[str, object]:
    return derivation.gradient_step().result


def _theorem_5_1(quantity: str, _settings: Settings, report: Callable[[float], None]) -> Outcome:
    """Compare one published law with both derivations."""
    formula = published.PUBLISHED["5.1"]
    premise_holds = not any(_premise().values())
    left_over = derivation.difference(_congruence(), formula)[quantity]
    entries = 0
    for done, size in enumerate(COMPONENT_SIZES, start=1):
        entries += _component(size).difference(formula)[quantity]
        report(done / len(COMPONENT_SIZES))
    figures = {"terms left at every D and N": len(left_over), "entries that differ at five sizes": entries}
    sizes = ", ".join(map(str, COMPONENT_SIZES))
    if premise_holds and not left_over and entries == 0:
        summary = f"derived minus published is zero for every D and N, and entry by entry at (D, N) = {sizes}"
        return Outcome(Verdict.PROVED, Evidence(summary, figures))
    words = "; ".join(f"{value} * {word}" for word, value in left_over.items()) or "none"
    summary = f"derived minus published leaves {words}; {entries} entries differ at (D, N) = {sizes}"
    return Outcome(Verdict.REFUTED, Evidence(summary, figures))


def _corollary_5_4(_settings: Settings, _report: Callable[[float], None]) -> Outcome:
    """Look for N in the derived laws."""
    found = {
        table.title: [name for name, has in derivation.width_in_laws(_congruence(), table).items() if has]
        for table in PARAMETRIZATIONS.values()
    }
    holds = not found["μP"] and bool(found["NTP"])
    listing = "; ".join(
        f"{title}: N in {', '.join(laws)}" if laws else f"{title}: N in no law"
        for title, laws in found.items()
    )
    return Outcome(Verdict.PROVED if holds else Verdict.REFUTED, Evidence(listing, found))


def _proposition_c_1(_settings: Settings, _report: Callable[[float], None]) -> Outcome:
    """Compare the published bounds and variances with exact moments."""
    bound, limit = 2 / (N * D), 1 / D
    checks: dict[str, bool] = {}
    for name, published_w in (("ntp", 1 / D), ("mup", 1 / (N * D))):
        exact = moments.initial_moments(PARAMETRIZATIONS[name])
        means = (exact["e_ii"].mean, exact["e_ij"].mean, exact["v"].mean)
        gaps = [bound - exact[entry].variance for entry in ("e_ii", "e_ij", "v")]
        checks[f"{name}: w has mean 0 and the published variance"] = exact["w_i"] == (0, published_w)
        checks[f"{name}: e and v have the published means"] = means == (limit, 0, limit)
        checks[f"{name}: errors within 2/(N D)"] = all(map(_never_negative, gaps))
    exact = moments.initial_moments(PARAMETRIZATIONS["mup"])
    figures = {f"Var {entry}": str(moment.variance) for entry, moment in exact.items()}
    wrong = [words for words, holds in checks.items() if not holds]
    if wrong:
        return Outcome(Verdict.REFUTED, Evidence(f"does not hold: {'; '.join(wrong)}", figures))
    summary = (
        f"means and variances exact in N and D; the bound 2/(N D) holds and is loose by D or more: "
        f"Var v = Var e_ii = {exact['v'].variance}, Var e_ij = {exact['e_ij'].variance}"
    )
    return Outcome(Verdict.PROVED, Evidence(summary, figures))


def _never_negative(expression: sp.Expr) -> bool:
    """Whether a rational expression is at least zero for all D, N >= 1, as one in D - 1 and N - 1."""
    shift = sp.symbols("x y", nonnegative=True)
    shifted = sp.together(expression.subs({D: 1 + shift[0], N: 1 + shift[1]}))
    return bool(sp.expand(sp.numer(shifted)).is_nonnegative and sp.expand(sp.denom(shifted)).is_positive)


_LAWS = {"w": "end-to-end map", "e": "first layer's Gram matrix", "v": "second layer's norm"}

SYMBOLIC_CLAIMS = (
    *(
        Claim(
            id=f"theorem-5.1-{quantity}",
            room="theory",
            statement=f"The {words} {quantity} follows the published law, in (w, e, v) alone",
            source="Theorem 5.1",
            kind=Kind.SYMBOLIC,
            method="congruence of the Gram matrix, every D and N; gradient entry by entry at 5 sizes",
            check=partial(_theorem_5_1, quantity),
        )
        for quantity, words in _LAWS.items()
    ),
    Claim(
        id="corollary-5.4",
        room="theory",
        statement="Under muP the laws of (w, e, v) do not contain the width; under NTP they do",
        source="Corollary 5.4",
        kind=Kind.SYMBOLIC,
        method="inspection of the derived laws for the symbol N",
        check=_corollary_5_4,
    ),
    Claim(
        id="proposition-c.1",
        room="theory",
        statement="Initially e -> I/D, v -> 1/D, mean squares <= 2/(N D); Var w_i = 1/D (NTP), 1/(N D) (muP)",
        source="Proposition C.1",
        kind=Kind.SYMBOLIC,
        method="Gaussian moment algebra, exact in N and D",
        check=_proposition_c_1,
    ),
)
