"""Claims about width in the latent system: what does not depend on it, to 10^9 neurons."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..experiments.answering import ask
from ..experiments.latent.width_check import width_check_of
from ..experiments.running import Circumstances
from ..records.tables import Table
from ..stats.verdicts import SHOWN, all_of
from ..theory import parametrization
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable


def _judged(names: tuple[str, ...], settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """Whether width matters to sharpness and sharpening as published, under every parametrization."""
    answer = ask(
        width_check_of(names),
        circumstances=Circumstances(first_seed=settings.seed),
        seed=settings.seed,
        on_progress=lambda done, whole: report(done / whole),
    )
    titles = [parametrization(name).title for name in names]  # names of the arms of curves
    verdicts = {title: all_of(one.verdict for one in answer.findings if one.of == title) for title in titles}
    rows = tuple((one.claim, str(one.verdict), one.words) for one in answer.findings)
    curves = answer.runs[titles[0]]
    widths = curves["width"].to_numpy()
    about = f"N = {widths[0]:g} to {widths[-1]:g}, {curves.sizes['seed']} seeds"
    table = Table(about, ("claim", "verdict", "because"), rows)
    found = {name: str(verdict) for name, verdict in verdicts.items()}
    summary = "; ".join(f"{name}: {verdict}" for name, verdict in found.items())
    evidence = Evidence(summary, found, seeds=(settings.seed,), tables=(table,))
    return CheckResult(Verdict.VERIFIED if set(verdicts.values()) == {SHOWN} else Verdict.REFUTED, evidence)


WIDTH_CLAIMS = (
    Claim(
        id="mup-latent-width-free",
        room="simulations",
        statement="Under muP sharpness and sharpening are those of every wide network, at every step",
        source="Corollary 5.4",
        kind=Kind.NUMERIC,
        method="N = 64 to 10^9, 20 seeds: slopes within 0.02 at all steps at once, from some width on",
        check=partial(_judged, ("mup",)),
    ),
    Claim(
        id="ntp-sp-latent-width",
        room="simulations",
        statement="Under NTP and SP they are not: sharpening dies out, or runs diverge, as the width grows",
        source="Section 5.1, implications for NTP; Appendix C.3",
        kind=Kind.NUMERIC,
        method="the same; one learning rate, half the largest stable one of the narrowest networks",
        check=partial(_judged, ("ntp", "sp")),
    ),
)
