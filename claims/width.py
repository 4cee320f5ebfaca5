"""Claims about width in the latent system: what does not depend on it, to 10^9 neurons."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..simulations.optimum import WidthCheck, check_width
from ..stats.dependence import DEPENDS, INDEPENDENT
from ..theory import IsotropicTarget, parametrization
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Table, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

LATENT_WIDTHS = (64, 256, 1024, 4096, 16384, 65536, 10**6, 10**7, 10**8, 10**9)
LATENT_SEEDS = 20
LATENT_TARGET = IsotropicTarget(20, 1.0)


def _check(name: str, settings: Settings) -> WidthCheck:
    return check_width(
        parametrization(name),
        LATENT_TARGET,
        np.random.default_rng(settings.seed),
        widths=LATENT_WIDTHS,
        seeds=tuple(range(settings.seed, settings.seed + LATENT_SEEDS)),
    )


def _judged(
    names: tuple[str, ...], expected: str, settings: Settings, report: Callable[[float], None]
) -> CheckResult:
    """Whether the verdicts on sharpness and sharpening are the expected one under every parametrization."""
    rows, found = [], []
    for done, name in enumerate(names, start=1):
        check = _check(name, settings)
        found.append(check.training.verdict)
        judged = (check.training.level, check.training.change, check.drift)
        rows += [(name, verdict.sentence) for verdict in judged]
        report(done / len(names))
    table = Table(
        f"D = {LATENT_TARGET.dimension}, N = 64 to 10^9, {LATENT_SEEDS} seeds", ("", "verdict"), tuple(rows)
    )
    summary = "; ".join(f"{name}: {verdict}" for name, verdict in zip(names, found, strict=True))
    evidence = Evidence(
        summary, dict(zip(names, found, strict=True)), seeds=(settings.seed,), tables=(table,)
    )
    return CheckResult(Verdict.VERIFIED if set(found) == {expected} else Verdict.REFUTED, evidence)


WIDTH_CLAIMS = (
    Claim(
        id="mup-latent-width-free",
        room="simulations",
        statement="Under muP sharpness and sharpening are those of every wide network, at every step",
        source="Corollary 5.4",
        kind=Kind.NUMERIC,
        method="N = 64 to 10^9, 20 seeds: slopes within 0.02 at all steps at once, from some width on",
        check=partial(_judged, ("mup",), INDEPENDENT),
    ),
    Claim(
        id="ntp-sp-latent-width",
        room="simulations",
        statement="Under NTP and SP they are not: sharpening dies out, or runs diverge, as the width grows",
        source="Section 5.1, implications for NTP; Appendix C.3",
        kind=Kind.NUMERIC,
        method="the same; one learning rate, half the largest stable one of the narrowest networks",
        check=partial(_judged, ("ntp", "sp"), DEPENDS),
    ),
)
