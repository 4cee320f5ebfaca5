"""The ledger as tables and sentences, for the terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from ..records.tables import Table
from .findings import experiment_table
from .ledger import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .findings import ExperimentEntry
    from .ledger import Entry


def ledger_parts(
    entries: Sequence[Entry], experiments: Sequence[ExperimentEntry] = (), *, evidence: bool = False
) -> list[Table | str]:
    """The ledger as a table, the experiments, the count of verdicts and, if asked for, the evidence in full.

    The evidence in full is corrections and tables of figures.
    """
    columns = ("claim", "source", "kind", "verdict", "seconds", "evidence")
    rows = tuple(
        (
            f"{entry.claim.id}\n{entry.claim.statement}",
            entry.claim.source,
            str(entry.claim.kind),
            str(entry.verdict),
            f"{entry.seconds:.1f}",
            _summary(entry),
        )
        for entry in entries
    )
    parts: list[Table | str] = [Table("claims ledger", columns, rows, ruled=True)]
    if experiments:
        parts.append(experiment_table(experiments))
    if evidence:
        for entry in entries:
            parts += _evidence(entry)
    return [*parts, count_verdicts(entries)]


def _summary(entry: Entry) -> str:
    """The summary, and what holds instead of a statement that does not hold as published."""
    correction = entry.outcome.evidence.correction
    instead = "" if correction is None else f"\ninstead: {correction.instead}"
    return entry.outcome.evidence.summary + instead


def _evidence(entry: Entry) -> list[Table | str]:
    evidence = entry.outcome.evidence
    parts: list[Table | str] = []
    if evidence.correction is not None:
        words = (f"\n  {heading}: {text}" for heading, text in asdict(evidence.correction).items())
        parts.append(f"{entry.claim.id}: {entry.verdict}" + "".join(words))
    return parts + [replace(one, title=f"{entry.claim.id}: {one.title}") for one in evidence.tables]


def count_verdicts(entries: Sequence[Entry]) -> str:
    """How many claims got which verdict."""
    found = Counter(entry.verdict for entry in entries)
    return f"{len(entries)} claims: " + ", ".join(f"{found[one]} {one}" for one in Verdict if one in found)
