"""What a person can ask for, as data: what runs, what is concluded, what is shown.

Nothing here runs, fits or draws: `running`, `judging`, `drawing` and `telling` do, each for all experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import require_distinct, require_known
from .series import RUN_VARIABLES, recorded

if TYPE_CHECKING:
    from .criteria import Criterion
    from .panels import Panel
    from .series import Series
    from .tables import Tabulated

SCALES = SMOKE, LAPTOP, PAPER = "smoke", "laptop", "paper"
"""Seconds, for tests; at most fifteen minutes on two cores, thirty for Figure 1; as published, on one GPU."""

NETWORK, LATENT = "network", "latent"
"""Models of an arm; the others are the names in `runner.analysis_model.ANALYSES`."""


class Over(tuple[Any, ...]):
    """Values of a setting that make it an axis."""

    __slots__ = ()


def over(*values: Any) -> Over:
    """Make a setting an axis with these values."""
    return Over(values)


class StableShare(NamedTuple):
    """A learning rate as a part of the largest stable one of an arm's narrowest latent system."""

    part: float
    at: str = "start"
    """`start`: stable at the start, and with a stable minimizer; `edge`: with a stable minimizer."""


@dataclass(frozen=True)
class Arm:
    """One rectangular grid of runs, all measured alike: one dataset.

    Attributes
    ----------
    name
        Key and label, such as `μP`.
    settings
        By name: a value, or `over(...)` several. Names are those that `sweep` knows.
    model
        `network`, `latent`, or the name of an analysis, whose datasets have dimensions of their own.
    """

    name: str
    settings: Mapping[str, Any]
    model: str = NETWORK


@dataclass(frozen=True)
class Setup:
    """Settings of an experiment at one scale, each for all arms unless said otherwise.

    Attributes
    ----------
    settings
        They go before the arms' own.
    arms
        For one arm, by its name; they go before `settings`.
    data
        For one data set, by its name; they go before `arms`. What stands under an arm's name is for that arm.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """A scored statement.

    Attributes
    ----------
    name
        Short, unique in the experiment.
    criterion
        Statistic, window and expectation.
    series
        What they are applied to.
    each
        An axis along whose values the claim is scored one by one; all have to hold.
    published
        What the source says, in its words or close to them.
    """

    name: str
    criterion: Criterion
    series: tuple[Series, ...]
    each: str | None = None
    published: str = ""

    @property
    def sentence(self) -> str:
        """What is claimed, and of which arms where the name does not say so."""
        arms = " against ".join(dict.fromkeys(one.arm for one in self.series))
        return self.name if any(one.arm in self.name for one in self.series) else f"{arms}: {self.name}"

    def needs(self, arm: str) -> set[str]:
        """Recorded variables that the claim needs of an arm."""
        mine = [one for one in self.series if one.arm == arm]
        along = {"sharpness"} if mine and self.criterion.follows_the_edge else set()
        return along.union(*(recorded(one.quantity) for one in mine))


@dataclass(frozen=True)
class Experiment:
    """Everything about one question.

    Attributes
    ----------
    name
        By which a person asks for it: a figure's number in the paper, or a word.
    title, source
        What it shows, and where it was published.
    arms
        What runs.
    scales
        Settings by scale.
    claims
        What is concluded.
    panels
        What is shown: rows of panels.
    tables
        What is printed beside the claims.
    row_height
        Height of a row of panels, inches.

    Raises
    ------
    InputError
        If a claim or a panel refers to an arm that does not exist, or two have one name.
    """

    name: str
    title: str
    source: str
    arms: tuple[Arm, ...]
    scales: Mapping[str, Setup]
    claims: tuple[Statement, ...]
    panels: tuple[tuple[Panel, ...], ...]
    tables: tuple[Tabulated, ...] = ()
    row_height: float = 2.1

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        require_distinct(f"arms of experiment {self.name}", names)
        if self.claims:
            require_distinct(f"claims of experiment {self.name}", [claim.name for claim in self.claims])
        for series in self.series:
            require_known(f"arm of experiment {self.name}", series.arm, names)
        for scale in self.scales:
            require_known("scale", scale, SCALES)

    @property
    def series(self) -> list[Series]:
        """Every reference to data."""
        claimed = [series for claim in self.claims for series in claim.series]
        return claimed + [series for shown in self.shown for series in shown.series]

    @property
    def shown(self) -> list[Panel | Tabulated]:
        """Panels and tables."""
        return [*(panel for row in self.panels for panel in row), *self.tables]

    def at(self, scale: str, data: str = "", **given: Any) -> tuple[Arm, ...]:
        """The arms at a scale.

        Parameters
        ----------
        scale
            One of `SCALES` that the experiment has.
        data
            Name of the data set.
        given
            Settings that a person chose, each for the arms that have it; they go before all others.

        Raises
        ------
        InputError
            If there is no such scale, or no arm has a setting that was given.
        """
        require_known(f"scale of experiment {self.name}", scale, tuple(self.scales))
        chosen = self.scales[scale]
        found = []
        for arm in self.arms:
            settings = {**arm.settings, **chosen.settings, **chosen.arms.get(arm.name, {})}
            further = chosen.data.get(data, {})
            settings |= {name: value for name, value in further.items() if not isinstance(value, Mapping)}
            settings |= further.get(arm.name, {})
            found.append(Arm(arm.name, settings, arm.model))
        known = {name for arm in found for name in arm.settings}
        for name in given:
            require_known(f"setting of experiment {self.name}", name, sorted(known))
        return tuple(
            Arm(arm.name, {name: given.get(name, value) for name, value in arm.settings.items()}, arm.model)
            for arm in found
        )

    def about(self, claim: str) -> Experiment:
        """The same experiment with one claim, the arms that it needs, and its tables; without panels.

        Raises
        ------
        InputError
            If there is no such claim.
        """
        by_name = {one.name: one for one in self.claims}
        require_known(f"claim of experiment {self.name}", claim, tuple(by_name))
        needed = {series.arm for series in by_name[claim].series}
        arms = tuple(arm for arm in self.arms if arm.name in needed)
        tables = tuple(one for one in self.tables if {series.arm for series in one.series} <= needed)
        return replace(self, arms=arms, claims=(by_name[claim],), panels=(), tables=tables)

    def quantities(self, arm: str) -> tuple[str, ...]:
        """Variables that claims and panels need of an arm, in alphabetical order."""
        found = set().union(*(claim.needs(arm) for claim in self.claims))
        for shown in self.shown:
            found.update(*(recorded(one.quantity) for one in shown.series if one.arm == arm))
        return tuple(sorted(found - set(RUN_VARIABLES)))
