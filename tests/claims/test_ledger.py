from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency.claims import CLAIMS, Claim, Evidence, Kind, Outcome, Settings, Verdict, failed, verify
from superconsistency.claims import networks as network_claims
from superconsistency.theory import moments, published
from superconsistency.theory.published import Law, theorem_5_1


def claim(check: Callable[..., Outcome]) -> Claim:
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
    def broken(*_: object) -> Outcome:
        raise RuntimeError("out of luck")

    def fine(*_: object) -> Outcome:
        return Outcome(Verdict.VERIFIED, Evidence("good", {"limit": math.inf}, 1e-16, 1e-12, (0,)))

    entries = list(verify([claim(broken), claim(fine)], Settings()))
    assert [entry.verdict for entry in entries] == [Verdict.NOT_RUN, Verdict.VERIFIED]
    assert "out of luck" in entries[0].outcome.evidence.summary
    assert failed(entries) == entries[:1]
    document = json.loads(json.dumps(entries[1].to_json(), allow_nan=False))
    assert document["evidence"]["figures"] == {"limit": "inf"}


def test_progress_names_the_claim() -> None:
    def halfway(_settings: Settings, report: Callable[[float], None]) -> Outcome:
        report(0.5)
        return Outcome(Verdict.PROVED, Evidence(""))

    calls: list[tuple[str, float]] = []
    list(verify([claim(halfway)], Settings(), lambda claim, fraction: calls.append((claim.id, fraction))))
    assert calls == [("test", 0.0), ("test", 0.5)]


SEEDED: dict[str, tuple[str, Callable[[Law, Any, Any, Any], Any]]] = {
    "a sign in w": ("w", lambda s, t, h, c: -2 * h**2 * c * (s.w * s.w.T - t * s.w.T) * (s.w - t)),
    "a missing term in w": ("w", lambda s, t, h, _c: h * s.e * (s.w - t)),
    "a factor two in w": ("w", lambda s, t, h, _c: -h * (s.w - t) * s.v),
    "a swapped product in e": ("e", lambda s, t, h, c: h * c * (2 * s.w * s.w.T - 2 * t * s.w.T)),
    "a missing square in e": ("e", lambda s, t, h, c: -(h**2) * c * t * s.v * t.T),
    "a factor two in v": ("v", lambda s, t, h, c: h * c * t.T * s.w),
    "a sign in v": ("v", lambda s, t, h, c: 4 * h**2 * c * t.T * s.e * s.w),
}


@pytest.mark.parametrize("error", SEEDED)
def test_a_seeded_error_in_theorem_5_1_is_refuted(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quantity, change = SEEDED[error]

    def formula(state: Law, target: Any, eta0: Any, coupling: Any) -> Law:
        law = theorem_5_1(state, target, eta0, coupling)
        return law._replace(**{quantity: getattr(law, quantity) + change(state, target, eta0, coupling)})

    monkeypatch.setitem(published.PUBLISHED, "5.1", formula)
    verdicts = {name: check(f"theorem-5.1-{name}") for name in "wev"}
    assert verdicts == {name: Verdict.REFUTED if name == quantity else Verdict.PROVED for name in "wev"}


def test_wrong_moments_refute_proposition_c_1(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check("proposition-c.1") is Verdict.PROVED
    monkeypatch.setattr(moments, "_gaussian_power", lambda power: 0 if power % 2 else power)
    assert check("proposition-c.1") is Verdict.REFUTED


def fake_record(exponent: float, *, diverged: bool = False) -> xr.Dataset:
    """A record whose sharpness goes as a power of width."""
    widths = np.array([32.0, 64.0, 128.0])
    values = np.broadcast_to((widths**exponent)[:, None, None, None], (3, 1, 2, 4)).copy()
    if diverged:
        values[0, 0, 0] = np.nan
    coordinates = {"width": widths, "learning_rate": [0.5], "seed": [0, 1], "step": range(4)}
    return xr.Dataset(
        {"sharpness": (("width", "learning_rate", "seed", "step"), values)}, coordinates, {"data_hash": "0"}
    )


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
    monkeypatch.setattr(network_claims, "_trained", lambda *_: fake_record(exponent))
    assert check(name) is verdict


def test_no_width_claim_is_made_from_diverged_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_claims, "_trained", lambda *_: fake_record(0.0, diverged=True))
    assert check("mup-sharpness-width-free") is Verdict.NOT_RUN
