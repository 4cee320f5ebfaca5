"""Judges an experiment from its runs: a finding for every claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..stats.estimates import undetermined
from ..stats.measured import Measured
from ..stats.verdicts import all_of, spoken
from .measuring import measured_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from ..stats.estimates import Estimate
    from ..stats.verdicts import Judgement
    from .base import Experiment, Statement
    from .series import Series

    Runs = Mapping[str, xr.Dataset]


class Finding(NamedTuple):
    """What was found about a claim, for one value of the axis that it is scored along."""

    claim: str
    """The claim's name."""
    published: str
    """What the source says."""
    of: str
    """What was scored, in words: the arms, and the places on their axes."""
    value: float
    """NaN where there is none."""
    interval: tuple[float, float]
    family: tuple[tuple[float, float], ...]
    """Intervals that hold all at once, where the value is one of several."""
    unit: str
    words: str
    """Value and interval in the words of a sentence."""
    open: str
    """Why nothing can be decided; empty where something can."""
    verdict: Judgement

    @property
    def said(self) -> str:
        """The verdict in words."""
        return spoken(self.verdict, self.published)

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        because = self.open or self.words
        return f"{self.of}: {self.claim}: {self.said} ({because})"

    def document(self) -> dict[str, Any]:
        """The finding as plain values."""
        return self._asdict() | {"verdict": str(self.verdict)}


def judge(experiment: Experiment, runs: Runs, seed: int = 0) -> list[Finding]:
    """Score every claim of an experiment.

    Parameters
    ----------
    experiment
        What is claimed.
    runs
        By arm, as `running.run` and `running.empty` give them.
    seed
        Seed of the resamples; each claim has a generator of its own.

    Raises
    ------
    InputError
        If a claim refers to an axis, a value or a quantity that the runs do not have.
    """
    found = []
    for index, claim in enumerate(experiment.claims):
        for place in _places(claim, runs):
            generator = np.random.default_rng([seed, index])
            found.append(_finding(claim, [one.pick(**place) for one in claim.series], runs, generator))
    return found


def claim_verdicts(findings: list[Finding]) -> dict[str, Judgement]:
    """The verdict on every claim: it holds if all its findings do."""
    names = list(dict.fromkeys(one.claim for one in findings))
    return {name: all_of(one.verdict for one in findings if one.claim == name) for name in names}


def _places(claim: Statement, runs: Runs) -> list[dict[str, Any]]:
    if claim.each is None:
        return [{}]
    labels = runs[claim.series[0].arm][claim.each].to_numpy().tolist()
    return [{claim.each: label} for label in labels]


def _finding(claim: Statement, series: list[Series], runs: Runs, generator: np.random.Generator) -> Finding:
    criterion = claim.criterion
    found = [measured_values(one, runs, criterion) for one in series]
    missing = [one for one in found if isinstance(one, str)]
    if missing:
        estimate = undetermined("; ".join(dict.fromkeys(missing)))
    else:
        known = [one for one in found if isinstance(one, Measured)]
        estimate = criterion.statistic(generator, *known, window=criterion.window)
    return _as_finding(claim, " against ".join(dict.fromkeys(one.words for one in series)), estimate)


def _as_finding(claim: Statement, of: str, estimate: Estimate) -> Finding:
    return Finding(
        claim.name, claim.published, of, estimate.value, estimate.interval, estimate.family, estimate.unit,
        estimate.words, estimate.open, estimate.judged(claim.criterion.expects),
    )  # fmt: skip
