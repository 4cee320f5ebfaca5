"""Distance of the latent system to the limit of infinite width, in time and in width (Eq. 3 and Figure 3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...theory import parametrization, regime
from ..base import LAPTOP, LATENT, PAPER, SMOKE, Arm, Experiment, Setup, StableShare, Statement, over
from ..criteria import DIES_OUT
from ..series import Series
from .distance_panels import DistanceInTime, DistanceInWidth, LawsInTime, LawsInWidth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...stats.windows import Steps

_WIDTHS = (64, 256, 1024, 4096, 16384)

_SHARE = 0.1
"""Learning rate over the largest stable one of the narrowest width, so that time is long."""

_QUANTITIES = {"loss": "loss", "sharpness": "sharpness", "kernel": "NTK eigenvalue"}
"""What Figures 3, 22 and 23 follow, by the name of the distance: what it is called.

The published exponents in time are those of a ConvNet from its arrival at the edge on. At this learning rate
there is no such arrival: the laws in time are tabulated here, and scored by Figure 3.
"""

_LIMITS = {"distance_of": "infinite width", "proxy_distance_of": "the widest"}
"""What stands for the limit, by the beginning of the name of a distance."""


def deviation_of(
    name: str = "mup", widths: Sequence[float] | None = None, window: Steps | None = None
) -> Experiment:
    """The experiment on one parametrization.

    Parameters
    ----------
    name
        Name of the parametrization. Where it has no limit of infinite width, the widest one stands for it.
    widths
        Finite widths, at least two; None is those of the scale.
    window
        Steps of the fits in time; None is until the limit's loss has halved.

    Raises
    ------
    InputError
        If there is no such parametrization.
    """
    table = parametrization(name)
    limited = regime(table).stable
    claims, distances = [], []
    for quantity, words in _QUANTITIES.items():
        for kind in _LIMITS if limited else ("proxy_distance_of",):
            distance = Series(table.title, f"{kind}_{quantity}")
            distances.append(distance)
            about = f"the distance of the {words} to {_LIMITS[kind]} dies out with width"
            claims.append(Statement(about, DIES_OUT, (distance,), None, "finite-size effect"))
    shown = [one for one in distances if one.quantity.startswith("proxy") != limited]
    titles = tuple(_QUANTITIES.values())
    return Experiment(
        "deviation",
        "Distance to the infinite-width limit",
        "Noci et al. 2024, Equation 3 and Figure 3",
        arms=(_arm(name, table.title),),
        scales={
            SMOKE: _setup(widths or (64, 256, 1024), 4, limited=limited),
            LAPTOP: _setup(widths or _WIDTHS, 20, limited=limited),
            PAPER: _setup(widths or _WIDTHS, 100, limited=limited),
        },
        claims=tuple(claims),
        panels=(
            tuple(
                DistanceInTime((one,), title, window, index == 0)
                for index, (one, title) in enumerate(zip(shown, titles, strict=True))
            ),
            tuple(
                DistanceInWidth((one,), title, index == 0)
                for index, (one, title) in enumerate(zip(shown, titles, strict=True))
            ),
        ),
        tables=(LawsInTime(tuple(distances), window), LawsInWidth(tuple(distances))),
    )


def _arm(name: str, title: str) -> Arm:
    rate = over(StableShare(_SHARE))
    return Arm(title, {"parametrization": name, "learning_rate": rate, "measure_every": 1}, LATENT)


def _setup(widths: Sequence[float], seeds: int, *, limited: bool) -> Setup:
    """Settings of a scale: infinite width where there is that limit."""
    return Setup(
        {
            "width": over(*widths, *((math.inf,) if limited else ())), "seed": over(*range(seeds)),
            "dimension": 20, "target_norm": 1.0, "steps": 100,
        }
    )  # fmt: skip


DEVIATION = deviation_of()
