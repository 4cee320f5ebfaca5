"""Tells what was found, in words and as a document: generated from the findings, never typed beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..records.tables import Table
from ..stats.verdicts import spoken
from .judging import claim_verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from .base import Experiment
    from .judging import Finding


def caption(experiment: Experiment, findings: list[Finding]) -> str:
    """The experiment's title, and every claim with its verdict and numbers."""
    parts = []
    for claim, verdict in claim_verdicts(findings).items():
        mine = [one for one in findings if one.claim == claim]
        numbers = "; ".join(f"{one.of}: {one.open or one.words}" for one in mine)
        parts.append(f"{claim}: {spoken(verdict, mine[0].published)} ({numbers})")
    return f"{experiment.title}. {'. '.join(parts)}." if parts else f"{experiment.title}."


def document(
    experiment: Experiment, findings: list[Finding], runs: Mapping[str, xr.Dataset], scale: str
) -> dict[str, Any]:
    """Everything found, with what produced it, as plain values."""
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "scale": scale,
        "verdicts": {name: str(verdict) for name, verdict in claim_verdicts(findings).items()},
        "findings": [one.document() for one in findings],
        "tables": [part.document for one in experiment.tables for part in one.whole(runs)],
        "caption": caption(experiment, findings),
        "arms": {name: _about(part) for name, part in runs.items()},
    }


def _about(runs: xr.Dataset) -> dict[str, Any]:
    """What an arm's runs are, and how many of them there are."""
    axes = [str(name) for name in runs["completed"].dims]
    return {
        "axes": {name: runs[name].to_numpy().tolist() for name in axes},
        "runs": int(runs["completed"].size),
        "completed": int((runs["completed"] == 1).sum()),
        **({"diverged": int((runs["diverged_step"] >= 0).sum())} if "diverged_step" in runs else {}),
        **{str(name): value for name, value in runs.attrs.items()},
    }


def findings_table(findings: list[Finding]) -> Table:
    """Every finding: what was scored, the verdict, and the numbers it rests on."""
    rows = tuple((one.of, one.claim, one.said, one.open or one.words) for one in findings)
    return Table("what the runs say", ("of", "claim", "verdict", "because"), rows)
