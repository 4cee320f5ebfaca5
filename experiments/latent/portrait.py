"""Phase portraits of the infinite-width map under muP, with finite networks laid over it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import FALLS_WITH_SIZE, IS_ALL, IS_NONE, IS_PERIOD_TWO, IS_STABLE
from ..series import Series
from .portrait_panels import PlaneNumbers, Portrait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...theory import PlanarMap

_BELOW, _NEAR, _BEYOND = "below the edge", "near the edge", "beyond the edge"
_FACTORS = {_BELOW: 0.5, _NEAR: 0.95, _BEYOND: 1.15}
"""Learning rates over the edge."""

_SEEDS = over(*range(8))

_DIMENSION, _NORM = 3, 1.0

_VIEWS = {"ap": (-0.35, 1.75, 0.0, 1.35 / (0.75 * math.sqrt(_DIMENSION))), "xy": (0.0, 2.72, 0.0, 1.87)}
"""Parts of the planes that hold start, minimizers and edge at all three learning rates."""


def _scales() -> dict[str, Setup]:
    """How many networks are laid over the map."""
    return {
        SMOKE: Setup({"width": over(16, 64), "seed": over(0, 1), "steps": 20}),
        LAPTOP: Setup({"width": over(64, 1024), "seed": _SEEDS, "steps": 60}),
        PAPER: Setup({"width": over(64, 256, 1024, 4096), "seed": over(*range(64)), "steps": 60}),
    }


def _arms(plane: str) -> tuple[Arm, ...]:
    target = {"dimension": over(_DIMENSION), "target_norm": over(_NORM)}
    settings = {"plane": plane, "view": _VIEWS[plane], **target}
    return tuple(
        Arm(name, {**settings, "factor": factor}, "phase-plane") for name, factor in _FACTORS.items()
    )


def _minimized(arm: str, where: str = "") -> Statement:
    series = (Series(arm, "fate_sharpness"),)
    return Statement(f"the limit comes to a stable minimizer{where}", IS_STABLE, series)


def _approached(arm: str, where: str = "") -> Statement:
    series = (Series(arm, "distance_from_limit"),)
    return Statement(f"wide networks end where the limit does{where}", FALLS_WITH_SIZE, series)


def _portraits(titles: Mapping[str, str], *, ellipse: bool = False) -> tuple[Portrait, ...]:
    """A portrait for each arm, the last one with the legend of all."""
    last = list(titles)[-1]
    return tuple(
        Portrait(
            (Series(arm, "alignment"),), f"{arm}: ${words}$", ellipse=ellipse,
            legend="outside lower center" if arm == last else "",
        )
        for arm, words in titles.items()
    )  # fmt: skip


PORTRAIT = Experiment(
    "portrait",
    "Phase portrait of the infinite-width map under μP",
    "beyond the paper",
    arms=_arms("ap"),
    scales=_scales(),
    claims=(
        _minimized(_BELOW, " below the edge"),
        _minimized(_NEAR, " near the edge"),
        _approached(_BELOW, " below the edge"),
        _approached(_NEAR, " near the edge"),
        Statement(
            "the limit settles on period two beyond the edge", IS_PERIOD_TWO, (Series(_BEYOND, "period"),)
        ),
    ),
    panels=(
        _portraits(
            {
                arm: f"\\eta_0 = {factor * math.sqrt(_DIMENSION) / _NORM:.2f}"
                for arm, factor in _FACTORS.items()
            }
        ),
    ),
    tables=(PlaneNumbers(tuple(Series(arm, "alignment") for arm in _FACTORS)),),
    row_height=3.1,
)  # fmt: skip

PORTRAIT_UNIVERSAL = Experiment(
    "portrait-universal",
    "The infinite-width map in its universal coordinates, with the ellipse that no orbit crosses",
    "beyond the paper",
    arms=_arms("xy"),
    scales=_scales(),
    claims=tuple(
        Statement(f"{words} {arm}", IS_ALL, (Series(arm, quantity),))
        for arm in _FACTORS
        for words, quantity in (
            ("starts inside the ellipse stay bounded", "bounded_inside"),
            ("starts outside the ellipse diverge", "diverging_outside"),
        )
    ),
    panels=(_portraits({arm: f"\\mu = {mu:.2f}" for arm, mu in _FACTORS.items()}, ellipse=True),),
    tables=(PlaneNumbers(tuple(Series(arm, "alignment") for arm in _FACTORS)),),
    row_height=3.1,
)  # fmt: skip


def portrait_of(
    planar: PlanarMap, widths: Sequence[float], *, plane: str = "ap", steps: int = 60, basins: bool = True
) -> Experiment:
    """The experiment on one learning rate.

    Parameters
    ----------
    planar
        The map.
    widths
        Finite networks that are laid over it.
    plane
        One of `simulations.planes.PLANES`.
    steps
        Steps of the trajectories.
    basins
        Whether starts are coloured by what they come to.
    """
    arm = "the limit"
    bounded = (Series(arm, "bounded"),)
    if planar.learning_rate > planar.divergence:
        claims: list[Statement] = [Statement("the start diverges", IS_NONE, bounded)]
    else:
        claims = [Statement("the start stays bounded", IS_ALL, bounded)]
    if planar.learning_rate < planar.largest_safe:
        claims += [_minimized(arm), *([_approached(arm)] if len(widths) > 1 else [])]
    series = (Series(arm, "alignment"),)
    settings = {
        "dimension": over(planar.dimension), "target_norm": over(planar.target_norm),
        "learning_rate": planar.learning_rate, "plane": plane, "width": over(*widths), "seed": _SEEDS,
        "steps": steps,
    }  # fmt: skip
    return Experiment(
        "portrait", "Phase portrait of the infinite-width map under μP", "beyond the paper",
        arms=(Arm(arm, settings, "phase-plane"),),
        scales={LAPTOP: Setup()},
        claims=tuple(claims),
        panels=(
            (
                Portrait(
                    series, f"$\\eta_0 = {planar.learning_rate:.4g}$", basins=basins, ellipse=plane == "xy",
                    legend="outside right center",
                ),
            ),
        ),
        tables=(PlaneNumbers(series),),
        row_height=3.4,
    )  # fmt: skip
