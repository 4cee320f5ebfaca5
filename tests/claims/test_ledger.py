from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from superconsistency.claims import (
    CLAIMS,
    CheckResult,
    Claim,
    Entry,
    Evidence,
    Kind,
    Settings,
    Verdict,
    experiment_entries,
    failed_entries,
    to_markdown,
    verify,
)
from superconsistency.claims.checks import compared, corrected, derivation_of
from superconsistency.claims.ledger import Correction
from superconsistency.experiments import EXPERIMENTS, Experiment, running
from superconsistency.experiments.running import empty
from superconsistency.records.tables import Table
from superconsistency.theory.symbolic import moments
from superconsistency.theory.symbolic.published_formulas import PUBLISHED_FORMULAS, Law, theorem_5_1_formula


def claim(check: Callable[..., CheckResult]) -> Claim:
    return Claim("test", "theory", "It holds.", "here", Kind.NUMERIC, "by trying", check)


def by_id(name: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.id == name)


def check(name: str) -> Verdict:
    (entry,) = verify([by_id(name)], Settings())
    return entry.verdict


def test_every_claim_says_what_it_states_and_how_it_is_checked() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) >= 8
    for claim in CLAIMS:
        assert claim.statement
        assert claim.source
        assert claim.method
        assert claim.room in {"theory", "simulations", "neural"}


def test_a_check_that_breaks_is_not_run_and_hides_no_other() -> None:
    def broken(*_: object) -> CheckResult:
        raise RuntimeError("out of luck")

    def fine(*_: object) -> CheckResult:
        return CheckResult(Verdict.VERIFIED, Evidence("good", {"limit": math.inf}, 1e-16, 1e-12, (0,)))

    entries = list(verify([claim(broken), claim(fine)], Settings()))
    assert [entry.verdict for entry in entries] == [Verdict.NOT_RUN, Verdict.VERIFIED]
    assert "out of luck" in entries[0].outcome.evidence.summary
    assert failed_entries(entries) == entries[:1]
    document = json.loads(json.dumps(entries[1].to_json(), allow_nan=False))
    assert document["evidence"]["figures"] == {"limit": "inf"}


def test_progress_names_the_claim() -> None:
    def halfway(_settings: Settings, report: Callable[[float], None]) -> CheckResult:
        report(0.5)
        return CheckResult(Verdict.PROVED, Evidence(""))

    calls: list[tuple[str, float]] = []
    list(verify([claim(halfway)], Settings(), lambda claim, fraction: calls.append((claim.id, fraction))))
    assert calls == [("test", 0.0), ("test", 0.5)]


def _law(quantity: str, change: Callable[[Law, Any, Any, Any], Any]) -> Callable[..., Law]:
    """Theorem 5.1 with a term added to one quantity."""

    def formula(state: Law, target: Any, eta0: Any, coupling: Any) -> Law:
        law = theorem_5_1_formula(state, target, eta0, coupling)
        return law._replace(**{quantity: getattr(law, quantity) + change(state, target, eta0, coupling)})

    return formula


LAW_ERRORS: dict[str, tuple[str, Callable[[Law, Any, Any, Any], Any]]] = {
    "a sign in w": ("w", lambda s, t, h, c: -2 * h**2 * c * (s.w * s.w.T - t * s.w.T) * (s.w - t)),
    "a missing term in w": ("w", lambda s, t, h, _c: h * s.e * (s.w - t)),
    "a factor two in w": ("w", lambda s, t, h, _c: -h * (s.w - t) * s.v),
    "a swapped product in e": ("e", lambda s, t, h, c: h * c * (2 * s.w * s.w.T - 2 * t * s.w.T)),
    "a missing square in e": ("e", lambda s, t, h, c: -(h**2) * c * t * s.v * t.T),
    "a factor two in v": ("v", lambda s, t, h, c: h * c * t.T * s.w),
    "a sign in v": ("v", lambda s, t, h, c: 4 * h**2 * c * t.T * s.e * s.w),
}


@pytest.mark.parametrize("error", LAW_ERRORS)
def test_a_seeded_error_in_theorem_5_1_is_refuted(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quantity, change = LAW_ERRORS[error]
    monkeypatch.setitem(PUBLISHED_FORMULAS, "5.1", _law(quantity, change))
    derivation_of.cache_clear()
    verdicts = {name: check(f"theorem-5.1-{name}") for name in "wev"}
    assert verdicts == {name: Verdict.REFUTED if name == quantity else Verdict.PROVED for name in "wev"}


def _changed(name: str, **fields: Callable[..., Any]) -> Callable[..., Any]:
    """A stated formula whose result has some fields replaced, each from the right value and the arguments."""
    right = PUBLISHED_FORMULAS[name]

    def formula(*arguments: Any) -> Any:
        result = right(*arguments)
        return result._replace(
            **{field: change(getattr(result, field), *arguments) for field, change in fields.items()}
        )

    return formula


def _sharpness_equation(change: Callable[..., Any]) -> Callable[..., Any]:
    """The sharpness equation with its matrix changed."""
    right = PUBLISHED_FORMULAS["exact-sharpness"]

    def formula(state: Law, r: Any, coupling: Any, value: Any) -> Any:
        factor, matrix = right(state, r, coupling, value)
        return factor, matrix + change(state, r, coupling, value)

    return formula


_subspace, _planar, _cubic = (
    PUBLISHED_FORMULAS[name] for name in ("invariant-subspace", "planar-sharpness", "cubic")
)

SEEDED: dict[str, tuple[str, str, Callable[[], Callable[..., Any]]]] = {
    "lemma 5.2 without v": (
        "lemma-5.2-ntk",
        "5.2",
        lambda: _changed("5.2", ntk=lambda _right, s, *_: lambda q: s.e * q),
    ),
    "lemma 5.2 with a factor two in its bound": (
        "lemma-5.2-bound",
        "5.2",
        lambda: _changed("5.2", bound_squared=lambda right, *_: lambda c, r: 4 * right(c, r)),
    ),
    "lemma 5.2 with D and N swapped in the multiplicities": (
        "lemma-5.2-spectrum",
        "5.2",
        lambda: _changed(
            "5.2", multiplicities=lambda _right, _s, D, N: {"rho": D, "-rho": D, "0": D * (N - 1)}
        ),
    ),
    "corollary 5.4 for NTP": ("corollary-5.4", "5.4", lambda: lambda name: name == "mup"),
    "an NTP limit that moves e": (
        "ntp-limit",
        "ntp-limit",
        lambda: _changed("ntp-limit", e=lambda e, _s, t, h: e + h * t * t.T),
    ),
    "SP at coupling two": ("sp-laws", "C.3", lambda: lambda s, t, h: theorem_5_1_formula(s, t, h, 2)),
    "proposition 5.3 with half the edge": ("proposition-5.3", "5.3-sharpness", lambda: lambda eta0: 1 / eta0),
    "proposition 5.3 with the published term": (
        "proposition-5.3",
        "5.3",
        lambda: _changed("5.3", w=lambda w, _s, change, t, h, c: w + h**2 * c * t * t.T * change.w),
    ),
    "proposition 5.3 with nothing wrong in the paper": (
        "proposition-5.3",
        "5.3-published",
        lambda: lambda s, change, _t, h, _c: change.w - h * (change.w * s.v + s.e * change.w),
    ),
    "eta_max with a factor two": (
        "eta-max",
        "eta-max",
        lambda: lambda kappa, s: (2 * kappa * s, 2 / (kappa * s)),
    ),
    "a sharpness equation with a sign": (
        "exact-sharpness",
        "exact-sharpness",
        lambda: _sharpness_equation(lambda s, r, c, x: -2 * c / x * (r * s.w.T + s.w * r.T)),
    ),
    "a sharpness equation without its second order": (
        "exact-sharpness",
        "exact-sharpness",
        lambda: _sharpness_equation(lambda s, r, c, x: -c / x**2 * r * s.v * r.T),
    ),
    "a subspace with a swapped vector": (
        "invariant-subspace",
        "invariant-subspace",
        lambda: lambda s, r, k, parts: tuple(_subspace(s, r, k, parts)[index] for index in (0, 2, 2, 3)),
    ),
    "a planar sharpness with the smaller root": (
        "planar-sharpness",
        "planar-sharpness",
        lambda: lambda a, p, s, c, x: (2 * p - _planar(a, p, s, c, x)[0], *_planar(a, p, s, c, x)[1:]),
    ),
    "a period doubling before the edge": (
        "cubic-bifurcations",
        "cubic",
        lambda: lambda mu: _cubic(mu) | {"doubling": -2 - _cubic(mu)["doubling"]},
    ),
    "a trace without the dimension": (
        "observables",
        "observables",
        lambda: _changed("observables", trace=lambda _right, *_: lambda trace, second: trace + second),
    ),
    "a directional sharpness with a factor two": (
        "observables",
        "observables",
        lambda: _changed(
            "observables", gradient_form=lambda form, s, r, c, _D: form + 2 * c * r.T * r * s.w.T * r
        ),
    ),
}


@pytest.mark.parametrize("error", SEEDED)
def test_a_seeded_error_in_any_stated_formula_is_refuted(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    claim_id, stated, formula = SEEDED[error]
    derivation_of.cache_clear()
    assert check(claim_id) in {Verdict.PROVED, Verdict.CORRECTED}
    monkeypatch.setitem(PUBLISHED_FORMULAS, stated, formula())
    derivation_of.cache_clear()
    assert check(claim_id) is Verdict.REFUTED


@pytest.fixture(autouse=True)
def _fresh_derivations() -> Iterator[None]:
    """What a test made of mutated formulas is not kept for the next."""
    yield
    derivation_of.cache_clear()


def test_wrong_moments_refute_proposition_c_1(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check("proposition-c.1") is Verdict.PROVED
    monkeypatch.setattr(moments, "_gaussian_power", lambda power: 0 if power % 2 else power)
    derivation_of.cache_clear()
    assert check("proposition-c.1") is Verdict.REFUTED


def trained_to(exponent: float, *, diverged: bool = False) -> Callable[..., dict[str, xr.Dataset]]:
    """In place of training: runs whose sharpness goes as a power of width."""

    def run(experiment: Experiment, scale: str, *_: object, **__: object) -> dict[str, xr.Dataset]:
        found = {}
        for name, planned in empty(experiment, scale).items():
            runs = planned.load()
            law = (runs["width"] ** exponent).broadcast_like(runs["sharpness"])
            runs["sharpness"] = law.transpose(*runs["sharpness"].dims)
            runs["completed"] = xr.ones_like(runs["completed"])
            if diverged:
                runs["diverged_step"][{"width": 0}] = 1
                runs["sharpness"] = runs["sharpness"].where(runs["diverged_step"] < 0)
            found[name] = runs
        return found

    return run


@pytest.mark.parametrize(
    ("name", "exponent", "verdict"),
    [
        ("mup-sharpness-width-free", 0.0, Verdict.VERIFIED),
        ("mup-sharpness-width-free", -0.2, Verdict.REFUTED),
        ("ntp-sharpness-falls", -0.5, Verdict.VERIFIED),
        ("ntp-sharpness-falls", -0.2, Verdict.REFUTED),
    ],
)
def test_width_claims_follow_the_measured_sharpness(
    name: str, exponent: float, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "run", trained_to(exponent))
    assert check(name) is verdict


def test_no_width_claim_is_made_from_diverged_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "run", trained_to(0.0, diverged=True))
    assert check("mup-sharpness-width-free") is Verdict.NOT_RUN


def test_every_claim_of_every_experiment_is_in_the_ledger_with_the_verdict_of_its_kept_figure(
    tmp_path: Path,
) -> None:
    every = [(one.name, claim.sentence) for one in EXPERIMENTS.values() for claim in one.claims]
    assert [(entry.experiment, entry.claim) for entry in experiment_entries()] == every
    assert {entry.verdict for entry in experiment_entries(tmp_path)} == {"not run"}
    first, second, *_ = EXPERIMENTS["1"].claims
    kept = {first.name: "as published", second.name: "splendid", "another claim": "undecided"}
    (tmp_path / "figure-1.json").write_text(json.dumps({"numbers": {"verdicts": kept}}))
    (tmp_path / "figure-2.json").write_text("{")
    entries = experiment_entries(tmp_path)
    found = {entry.claim: entry for entry in entries if entry.experiment == "1"}
    assert first.sentence == f"μP: {first.name}"
    assert found[first.sentence].verdict == "as published"
    assert found[first.sentence].command == "superconsistency figure 1"
    others = [one for one in entries if (one.experiment, one.claim) != ("1", first.sentence)]
    assert {entry.verdict for entry in others} == {"not run"}
    page = to_markdown([], "Title", entries)
    assert f"| 1 | {first.sentence} | {first.published} | Noci et al. 2024, Figure 1 | as published |" in page


def test_a_comparison_or_correction_without_its_grounds_is_refused() -> None:
    with pytest.raises(ValueError, match="largest error and its tolerance"):
        compared(Evidence("fine"))
    with pytest.raises(ValueError, match="what was published"):
        corrected(published_fails=True, instead_holds=True, evidence=Evidence("fine"))


@pytest.mark.parametrize(
    ("error", "verdict"), [(1e-13, "verified"), (1e-11, "refuted"), (math.nan, "refuted")]
)
def test_a_comparison_is_verified_only_within_its_tolerance(error: float, verdict: str) -> None:
    assert compared(Evidence("", {}, error, 1e-12)).verdict == verdict


@pytest.mark.parametrize(
    ("fails", "holds", "verdict"),
    [(True, True, "corrected"), (False, True, "refuted"), (True, False, "refuted")],
)
def test_a_correction_needs_an_error_and_something_that_holds(fails: bool, holds: bool, verdict: str) -> None:
    evidence = Evidence("", correction=Correction("this", "that", "there"))
    assert corrected(published_fails=fails, instead_holds=holds, evidence=evidence).verdict == verdict


def test_a_page_escapes_what_markdown_would_read_and_keeps_every_cell() -> None:
    evidence = Evidence(
        "|w*| <= 2", tables=(Table("a table", ("x", "y"), ((1, 0.123456789), (2, math.inf))),)
    )
    result = CheckResult(Verdict.PROVED, evidence)
    entry = Entry(claim(lambda *_: result), result, 0.0)
    page = to_markdown([entry], "Title")
    assert r"\|w\*\| \<= 2" in page
    assert "| 1 | 0.12346 |\n| 2 | inf |" in page
