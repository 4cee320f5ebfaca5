"""Claims about width in the latent system: what does not depend on it, to 10^9 neurons."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..experiments.answering import ask
from ..experiments.latent.width_check import width_check_of
from ..experiments.running import Circumstances
from ..records.tables import Table
from ..stats.verdicts import REFUTED, SHOWN, all_of
from ..theory import parametrization
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict, not_run

if TYPE_CHECKING:
    from collections.abc import Callable

_VERDICTS = {SHOWN: Verdict.VERIFIED, REFUTED: Verdict.REFUTED}


def _judged(names: tuple[str, ...], settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """Whether width matters to sharpness and sharpening as published, under every parametrization."""
    answer = ask(
        width_check_of(names),
        circumstances=Circumstances(first_seed=settings.seed),
        seed=settings.seed,
        on_progress=lambda done, whole: report(done / whole),
    )
    titles = [parametrization(name).title for name in names]  # names of the arms of curves
    mine = [one for one in answer.findings if one.of in titles]
    rows = tuple((one.claim, one.said, one.words) for one in answer.findings)
    curves = answer.runs[titles[0]]
    widths = curves["width"].to_numpy()
    about = f"N = {widths[0]:g} to {widths[-1]:g}, {curves.sizes['seed']} seeds"
    table = Table(about, ("claim", "verdict", "because"), rows)
    found = {one.claim: one.said for one in mine}
    summary = "; ".join(f"{claim}: {said}" for claim, said in found.items())
    judged = all_of(one.verdict for one in mine)
    if judged not in _VERDICTS:
        return not_run(f"undecided: {summary}")
    return CheckResult(_VERDICTS[judged], Evidence(summary, found, seeds=(settings.seed,), tables=(table,)))


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
