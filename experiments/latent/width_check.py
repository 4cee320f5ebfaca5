"""Does width matter? Sharpness, its change and the best learning rate of the latent system."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...stats.dependence import SLOPE_TOLERANCE
from ...stats.verdicts import Below, Outside, Within
from ...theory import parametrization, regime
from ..base import LAPTOP, LATENT, PAPER, SMOKE, Arm, Experiment, Setup, StableShare, Statement, over
from ..criteria import Criterion, over_sizes
from ..series import Series
from .width_panels import OF_RATES, Slopes, StepSlopes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...stats.verdicts import Expectation
    from ...theory import Parametrization

NAMES = ("mup", "ntp", "sp")
"""Parametrizations."""

WIDTHS = (64, 256, 1024, 4096, 16384, 65536, 10**6, 10**7, 10**8, 10**9)

_SHARE = 0.5
"""Learning rate over the largest stable one of the narrowest width: as of someone who tunes a small network
and transfers."""

_MEASUREMENTS = 20
"""Intervals between measurements."""


class _Claim(NamedTuple):
    """What is claimed of a quantity under one regime."""

    words: str
    expects: type[Within | Outside | Below]
    published: str


_QUANTITIES = {
    "sharpness": "sharpness",
    "change_of_sharpness": "the change of sharpness since the start",
    "best_rate_inside": "the best learning rate",
}
"""What is judged, and what it is called in a sentence."""

_FEATURES = (
    _Claim("the sharpness does not depend on width", Within, "the laws do not contain the width"),
    _Claim("the sharpness changes alike at every width", Within, "the laws do not contain the width"),
    _Claim("the best learning rate stays", Within, "transfer"),
)
"""Where features are learnt, in the order of the quantities."""

_KERNEL = (
    _Claim("the sharpness does not depend on width", Within, "that of the kernel in the limit"),
    _Claim("the sharpness changes less in wider networks", Below, "no sharpening in the limit"),
    _Claim("the best learning rate stays", Within, ""),
)
"""Where features stand still in the limit; that the rate stays is a finding of ours."""

_UNSTABLE = (
    _Claim("the sharpness depends on width", Outside, "the first step blows up"),
    _Claim("the change of sharpness depends on width", Outside, "the first step blows up"),
    _Claim("the best learning rate falls with width", Below, "no transfer"),
)
"""Where there is no limit."""


def width_check_of(
    names: Sequence[str] = NAMES, *, tolerance: float = SLOPE_TOLERANCE, least_width: float = 1
) -> Experiment:
    """The experiment on some parametrizations.

    Parameters
    ----------
    names
        Names of parametrizations.
    tolerance
        Log-log slope on width that counts as none.
    least_width
        Narrower widths do not count for the verdicts.

    Raises
    ------
    InputError
        If there is no such parametrization, or one is named twice.
    """
    arms: list[Arm] = []
    claims, scored = [], []
    for name in names:
        table = parametrization(name)
        arms += _arms(name, table.title)
        for quantity, about in zip(_QUANTITIES, _claims(table), strict=True):
            arm = f"{table.title}{OF_RATES}" if quantity == "best_rate_inside" else table.title
            expects: Expectation = about.expects(-tolerance if about.expects is Below else tolerance)
            criterion = over_sizes(_QUANTITIES[quantity], expects, tolerance, least_width)
            series = Series(arm, quantity)
            scored.append((series, criterion))
            words = f"under {table.title} {about.words}"
            claims.append(Statement(words, criterion, (series,), None, about.published))
    return Experiment(
        "width-check",
        "Slope of the sharpness on width, step by step",
        "Noci et al. 2024, Corollary 5.4 and Appendix C.3",
        arms=tuple(arms),
        scales=_scales([arm.name for arm in arms if arm.model == LATENT]),
        claims=tuple(claims),
        panels=(
            (
                _slopes(scored, "sharpness", "sharpness", first=True),
                _slopes(scored, "change_of_sharpness", "change of sharpness since the start", first=False),
            ),
        ),
        tables=(StepSlopes(*map(tuple, zip(*scored, strict=True))),),
        row_height=2.5,
    )


def _claims(table: Parametrization) -> tuple[_Claim, ...]:
    found = regime(table)
    return _UNSTABLE if not found.stable else _FEATURES if found.learns_features else _KERNEL


def measured_every(steps: int) -> int:
    """Steps between measurements, of which there are about twenty."""
    return max(1, steps // _MEASUREMENTS)


def _arms(name: str, title: str) -> tuple[Arm, Arm]:
    """Curves at one learning rate, and best learning rates."""
    curves = {"learning_rate": over(StableShare(_SHARE)), "steps": 40, "measure_every": measured_every(40)}
    return (
        Arm(title, {"parametrization": name, **curves}, LATENT),
        Arm(f"{title}{OF_RATES}", {"parametrization": name, "refinements": 1}, "best-rates"),
    )


def _scales(curves: list[str]) -> dict[str, Setup]:
    system = {"dimension": 20, "target_norm": 1.0}
    few = {
        "width": over(64, 65536, 10**6, 10**7),
        "seed": over(0, 1, 2, 3),
        "dimension": 20,
        "target_norm": 1.0,
    }
    wide = {"width": over(*WIDTHS), **system}
    return {
        SMOKE: Setup(few, {name: {"steps": 8, "measure_every": 2} for name in curves}),
        LAPTOP: Setup(wide | {"seed": over(*range(20))}),
        PAPER: Setup(wide | {"seed": over(*range(100))}),
    }


def _slopes(scored: list[tuple[Series, Criterion]], quantity: str, title: str, *, first: bool) -> Slopes:
    """The panel of one quantity."""
    mine = [(series, criterion) for series, criterion in scored if series.quantity == quantity]
    series, criteria = zip(*mine, strict=True)
    return Slopes(series, title, criteria, first)


WIDTH_CHECK = width_check_of()
