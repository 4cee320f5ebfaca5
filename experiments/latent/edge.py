"""The approach to the edge of stability at learning rates below, near and beyond the edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ...errors import require_distinct, require_positive, require_whole
from ...records.paired_steps import FINAL_STEPS, edge_schedule
from ...theory import parametrization
from ..base import LAPTOP, LATENT, PAPER, SMOKE, Arm, Experiment, Setup, StableShare, Statement, over
from ..criteria import (
    AS_FAST_AT_EVERY_SIZE,
    CONVERGES,
    DOES_NOT_CONVERGE,
    ENDS_INSIDE,
    FALLS_SHORT,
    FALLS_WITH_SIZE,
    NEARS_THE_EDGE,
)
from ..series import Series
from .edge_panels import Approach, EdgeTable, Ends

if TYPE_CHECKING:
    from collections.abc import Sequence


def _rates(*shares: float) -> Any:
    return over(*(StableShare(share, "edge") for share in shares))


def _timed(steps: int) -> dict[str, Any]:
    return {"steps": steps, "measure_at": edge_schedule(steps)}


def _pair(arm: str) -> tuple[Series, Series]:
    return Series(arm, "sharpness"), Series(arm, "loss")


def _below(arm: str) -> Statement:
    return Statement(
        "below the edge the sharpness ends between the flattest minimizer's and 2/eta0", ENDS_INSIDE,
        (Series(arm, "above_flattest"), Series(arm, "loss_left_below_edge")),
    )  # fmt: skip


def _of_the_limit(arm: str) -> Statement:
    return Statement(
        "at infinite width it ends between the flattest minimizer's and gradient flow's", ENDS_INSIDE,
        (Series(arm, "below_flow"), Series(arm, "loss_left_below_edge")),
    )  # fmt: skip


def _beyond(arm: str) -> Statement:
    return Statement(
        "beyond the edge no run converges", DOES_NOT_CONVERGE, (Series(arm, "loss_left_beyond_edge"),)
    )


_NEAR = {
    "dimension": 20, "target_norm": 5.0, "width": over(32, 128, 512, 2048), "learning_rate": _rates(0.97),
}  # fmt: skip
_END = "μP, at the end"

EDGE_APPROACH = Experiment(
    "edge",
    "Approach to the edge of stability, μP and NTP",
    "Noci et al. 2024, Section 5",
    arms=(
        Arm("μP", {"parametrization": "mup", **_NEAR}, LATENT),
        Arm("NTP", {"parametrization": "ntp", **_NEAR}, LATENT),
        Arm(
            _END,
            {
                "parametrization": "mup", "dimension": 3, "target_norm": 1.0,
                "width": over(64, 1024, 16384, math.inf),
                "learning_rate": _rates(
                    0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95, 0.99, 1.03, 1.08, 1.15
                ),
            },
            LATENT,
        ),
    ),
    scales={
        SMOKE: Setup({"seed": over(0, 1), **_timed(400)}, {_END: _timed(1500)}),
        LAPTOP: Setup({"seed": over(*range(5)), **_timed(400)}, {_END: _timed(1500)}),
        PAPER: Setup({"seed": over(*range(20)), **_timed(400)}, {_END: _timed(1500)}),
    },
    claims=(
        Statement(
            "the sharpness nears the edge at every width", NEARS_THE_EDGE,
            (Series("μP", "sharpness_over_edge"),), None, "hovers around the edge at every width",
        ),
        Statement("the edge is reached as fast at every width", AS_FAST_AT_EVERY_SIZE, (_pair("μP")[0],)),
        Statement(
            "wider networks end short of the edge", FALLS_SHORT,
            (Series("NTP", "sharpness_over_edge_wider"),), None, "less and less sharpening as width grows",
        ),
        Statement(
            "the sharpness ends farther below the edge in wider networks", FALLS_WITH_SIZE,
            (Series("NTP", "sharpness_over_edge"),),
        ),
        _below(_END),
        Statement(
            "below the edge every run converges", CONVERGES, (Series(_END, "loss_left_below_edge"),)
        ),
        _of_the_limit(_END),
        _beyond(_END),
    ),
    panels=(
        (
            *(
                Approach(
                    (Series(arm, "sharpness_over_edge"),), f"{arm}, 0.97 of the narrowest edge",
                    top=1.35, legend=arm == "μP",
                )
                for arm in ("μP", "NTP")
            ),
            Ends(_pair(_END), "μP: where it ends, $D = 3$, $|w_*| = 1$"),
        ),
    ),
    tables=tuple(EdgeTable(_pair(arm)) for arm in ("μP", "NTP", _END)),
    row_height=2.5,
)  # fmt: skip


def edge_of(
    name: str,
    *,
    dimension: int,
    target_norm: float,
    widths: Sequence[float],
    shares: Sequence[float],
    steps: int,
    seeds: int,
) -> Experiment:
    """The approach to the edge at settings of a person's own, under one parametrization.

    Parameters
    ----------
    name
        The parametrization.
    dimension, target_norm
        Dimension and norm of the target.
    widths
        `math.inf` is one where the parametrization has a limit.
    shares
        Learning rates over the edge `1/(kappa |w*|)` of the narrowest width.
    steps
        At least 8.
    seeds
        Number of networks at each width.

    Raises
    ------
    InputError
        If a value is out of range.
    """
    require_whole("number of steps", steps, least=FINAL_STEPS, example=2000)
    require_distinct("learning rates over the edge", shares)
    for share in shares:
        require_positive("learning rate over the edge", share, example=0.9)
    row = parametrization(name)
    arm, mup = row.title, row.name == "mup"
    claims: tuple[Statement, ...] = (_below(arm),) if min(shares) < 1 else ()
    if min(shares) < 1 and mup and math.inf in widths:
        claims += (_of_the_limit(arm),)
    if max(shares) > 1 and mup:
        claims += (_beyond(arm),)
    panels = [
        Approach((Series(arm, "sharpness_over_edge"),), f"$\\eta_0$ over the edge = {share:g}", rate=place)
        for place, share in enumerate(sorted(shares))
    ]
    settings = {
        "parametrization": row.name, "dimension": dimension, "target_norm": target_norm,
        "width": over(*widths), "learning_rate": _rates(*sorted(shares)),
        "seed": over(*range(seeds)), **_timed(steps),
    }  # fmt: skip
    return Experiment(
        "edge-of-stability", "Approach to the edge of stability", EDGE_APPROACH.source,
        (Arm(arm, settings, LATENT),), {LAPTOP: Setup()}, claims,
        tuple(tuple(panels[first : first + 3]) for first in range(0, len(panels), 3)),
        (EdgeTable(_pair(arm)),),
    )  # fmt: skip
