"""The experiments in the ledger: what each claims, and what its kept results say about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from ..experiments.registry import EXPERIMENTS
from ..records.storage import read_json
from ..records.tables import Table
from ..stats.verdicts import Judgement, spoken
from .ledger import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..experiments.base import Experiment


class ExperimentEntry(NamedTuple):
    """A claim of an experiment, with what was found about it."""

    experiment: str
    claim: str
    published: str
    """What the source says."""
    source: str
    verdict: str
    """In words: `as published`, or `holds` where no source says it; the opposite; `undecided`; `not run`."""
    command: str
    """What makes it."""


def experiment_entries(folder: Path | None = None) -> list[ExperimentEntry]:
    """Every claim of every experiment.

    Parameters
    ----------
    folder
        Where `superconsistency figure` kept its results. What is not there is `not run`; so is a claim that
        the kept results do not have, because they were made from another version of the experiment.
    """
    return [
        ExperimentEntry(
            one.name, claim.sentence, claim.published, one.source,
            spoken(kept[claim.name], claim.published) if claim.name in kept else str(Verdict.NOT_RUN),
            f"superconsistency figure {one.name}",
        )
        for one in EXPERIMENTS.values()
        for kept in [_kept_verdicts(one, folder)]
        for claim in one.claims
    ]  # fmt: skip


def _kept_verdicts(experiment: Experiment, folder: Path | None) -> dict[str, Judgement]:
    if folder is None:
        return {}
    path = folder / f"figure-{experiment.name}.json"
    try:
        numbers = read_json(path, "figure", "make it again").get("numbers")
    except InputError:
        return {}
    found = numbers.get("verdicts") if isinstance(numbers, dict) else None
    if not isinstance(found, dict):
        return {}
    known = {verdict.value: verdict for verdict in Judgement}
    return {name: known[verdict] for name, verdict in found.items() if str(verdict) in known}


def experiment_table(entries: Sequence[ExperimentEntry]) -> Table:
    """The entries in rows."""
    columns = ("experiment", "claim", "published", "source", "verdict", "command")
    return Table("experiments", columns, tuple(tuple(one) for one in entries))
