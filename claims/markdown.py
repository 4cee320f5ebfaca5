"""The ledger as a Markdown page: verdicts, then corrections, then the figures they rest on."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from .findings import experiment_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .findings import ExperimentEntry
    from .ledger import Entry

_SIGNS = re.compile(r"[|*_<>\[\]]")
_HEADINGS = ("claim", "statement", "source", "kind", "verdict", "evidence")


def to_markdown(entries: Sequence[Entry], title: str, experiments: Sequence[ExperimentEntry] = ()) -> str:
    """A page with one table of verdicts, the experiments, the corrections in words and all figures."""
    parts = [f"# {title}", _table(_HEADINGS, map(_row, entries))]
    if experiments:
        found = experiment_table(experiments)
        parts += ["## Experiments", _table(found.columns, found.texts)]
    parts.append("## Corrections")
    for entry in entries:
        correction = entry.outcome.evidence.correction
        if correction is not None:
            parts.append(f"### {entry.claim.source}: `{entry.claim.id}`")
            parts += [f"**{heading}**: {_cell(words)}" for heading, words in asdict(correction).items()]
    parts.append("## Figures")
    for entry in entries:
        for figures in entry.outcome.evidence.tables:
            parts += [f"### `{entry.claim.id}`", figures.title, _table(figures.columns, figures.texts)]
    return "\n\n".join(parts) + "\n"


def _row(entry: Entry) -> tuple[str, ...]:
    claim = entry.claim
    evidence = entry.outcome.evidence.summary
    return (f"`{claim.id}`", claim.statement, claim.source, str(claim.kind), str(entry.verdict), evidence)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """What Markdown would read as a sign of its own, escaped."""
    return text if text.startswith("`") else _SIGNS.sub(r"\\\g<0>", text)
