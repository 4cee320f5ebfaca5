"""The best learning rate of the latent system against width, and how it nears that of infinite width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...theory import parametrization, regime
from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import NEARS_AS_THE_ROOT, RATE_FALLS, RATE_STAYS
from ..series import Series
from .width_check import NAMES, WIDTHS
from .width_panels import BestRates, RateApproach, RateDrifts, RatesByWidth

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW = (64, 1024, 65536, 10**6)


def optimum_of(names: Sequence[str] = NAMES, widths: Sequence[float] | None = None) -> Experiment:
    """The experiment on some parametrizations.

    Parameters
    ----------
    names
        Names of parametrizations. Infinite width is added where a parametrization has that limit.
    widths
        Finite widths; None is those of the scale.

    Raises
    ------
    InputError
        If there is no such parametrization, or one is named twice.
    """
    tables = [parametrization(name) for name in names]
    limits = [table.title for table in tables if regime(table).stable]
    claims = []
    for table in tables:
        inside = Series(table.title, "best_rate_inside")
        if table.title in limits:
            words = f"under {table.title} the best learning rate"
            # the paper has no transfer under NTP: this system learns no features there
            published = "transfer" if regime(table).learns_features else ""
            claims += [
                Statement(f"{words} stays", RATE_STAYS, (inside,), None, published),
                Statement(f"{words} nears its limit as the root of the width", NEARS_AS_THE_ROOT, (inside,)),
            ]
        else:
            words = f"under {table.title} the best learning rate falls with width"
            claims.append(Statement(words, RATE_FALLS, (inside,), None, "no transfer"))
    rates = tuple(Series(table.title, "best_rate") for table in tables)
    drifts = tuple(one.pick("best_rate_inside") for one in rates)
    near = tuple(one for one in rates if one.arm in limits)
    return Experiment(
        "optimum",
        "Best learning rate against width",
        "Noci et al. 2024, Section 5.1 and Appendix C.3",
        arms=tuple(Arm(table.title, {"parametrization": table.name}, "best-rates") for table in tables),
        scales={
            SMOKE: _setup(widths or _FEW, limits, 3, refinements=1),
            LAPTOP: _setup(widths or WIDTHS, limits, 20),
            PAPER: _setup(widths or WIDTHS, limits, 100),
        },
        claims=tuple(claims),
        panels=(
            (
                BestRates(rates, "best learning rate"),
                *((RateApproach(near, "distance from that of infinite width"),) if near else ()),
            ),
        ),
        tables=(RatesByWidth(rates), RateDrifts(drifts, (RATE_STAYS,) * len(drifts))),
        row_height=2.5,
    )


def _setup(widths: Sequence[float], limits: Sequence[str], seeds: int, refinements: int = 3) -> Setup:
    """Settings of a scale: infinite width where there is that limit."""
    return Setup(
        {
            "width": over(*widths), "seed": over(*range(seeds)), "dimension": 20, "target_norm": 1.0,
            "step": 10, "objective": "mean", "refinements": refinements,
        },
        {title: {"width": over(*widths, math.inf)} for title in limits},
    )  # fmt: skip


OPTIMUM = optimum_of()
