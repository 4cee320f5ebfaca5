"""The ledger: what is claimed, how it is checked, and what the check found."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..records import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path


class Kind(StrEnum):
    """How a claim can be known."""

    SYMBOLIC = "symbolic"
    NUMERIC = "numeric"
    EMPIRICAL = "empirical"


class Verdict(StrEnum):
    """What a check found."""

    PROVED = "proved"
    """Derived symbolically."""
    VERIFIED = "verified"
    """Holds in every case tried, within the stated tolerance."""
    CORRECTED = "corrected"
    """Wrong, or not sharp, as published; what holds instead is in the evidence, and was checked."""
    REFUTED = "refuted"
    """Does not hold."""
    NOT_RUN = "not run"
    """Not checked; the evidence says why."""


@dataclass(frozen=True)
class Correction:
    """What the paper prints, what holds instead, and where the two differ."""

    published: str
    instead: str
    counterexample: str


@dataclass(frozen=True)
class Table:
    """Figures that belong in rows; a title says what produced them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @property
    def texts(self) -> tuple[tuple[str, ...], ...]:
        """The rows as they are shown, numbers to five digits; JSON has all digits."""
        return tuple(
            tuple(f"{value:.5g}" if isinstance(value, float) else str(value) for value in row)
            for row in self.rows
        )


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Attributes
    ----------
    summary
        One sentence for the table.
    figures
        Measured numbers by name.
    largest_error, tolerance
        Of numeric comparisons.
    seeds
        Seeds of everything random.
    correction
        Of a statement that does not hold as published.
    tables
        Figures in rows, printed with `--evidence`.
    """

    summary: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    largest_error: float | None = None
    tolerance: float | None = None
    seeds: tuple[int, ...] = ()
    correction: Correction | None = None
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A verdict with its evidence."""

    verdict: Verdict
    evidence: Evidence


@dataclass(frozen=True)
class Settings:
    """What a person may choose about a verification.

    Attributes
    ----------
    seed
        First seed of everything random.
    device
        Device that networks train on.
    data_dir, download
        CIFAR-10 from a folder or the official archive, instead of the built-in digits.
    """

    seed: int = 0
    device: str = "auto"
    data_dir: Path | None = None
    download: bool = False


@dataclass(frozen=True)
class Claim:
    """One statement and its check. A statement of the paper stands as printed, also where it is corrected.

    Attributes
    ----------
    id
        Short name, unique.
    room
        `theory`, `simulations` or `neural`: what the check exercises.
    statement, source
        The claim in words and where it stands.
    kind
        How it can be known.
    method
        How it is checked.
    check
        Runs the check; its second argument takes the fraction done.
    """

    id: str
    room: str
    statement: str
    source: str
    kind: Kind
    method: str
    check: Callable[[Settings, Callable[[float], None]], Outcome]


@dataclass(frozen=True)
class Entry:
    """A claim with what its check found."""

    claim: Claim
    outcome: Outcome
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """What the check found."""
        return self.outcome.verdict

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        claim, evidence = self.claim, self.outcome.evidence
        document: dict[str, Any] = to_json(
            {
                "id": claim.id,
                "room": claim.room,
                "statement": claim.statement,
                "source": claim.source,
                "kind": str(claim.kind),
                "method": claim.method,
                "verdict": str(self.verdict),
                "evidence": {
                    "summary": evidence.summary,
                    "figures": dict(evidence.figures),
                    "largest_error": evidence.largest_error,
                    "tolerance": evidence.tolerance,
                    "seeds": list(evidence.seeds),
                    "correction": None if evidence.correction is None else asdict(evidence.correction),
                    "tables": [asdict(table) for table in evidence.tables],
                },
                "seconds": round(self.seconds, 3),
            }
        )
        return document


def verify(
    claims: Iterable[Claim],
    settings: Settings,
    on_progress: Callable[[Claim, float], None] | None = None,
) -> Iterator[Entry]:
    """Check claims one after the other, giving each entry as it is decided.

    A check that breaks is an entry `not run` with its reason: it neither counts as passed nor hides the rest.
    """
    for claim in claims:

        def report(fraction: float, claim: Claim = claim) -> None:
            if on_progress is not None:
                on_progress(claim, fraction)

        report(0.0)
        begun = time.perf_counter()
        try:
            outcome = claim.check(settings, report)
        except Exception as error:
            outcome = not_run(f"the check broke: {type(error).__name__}: {error}")
        yield Entry(claim, outcome, time.perf_counter() - begun)


def not_run(reason: str) -> Outcome:
    """An outcome that says why nothing was checked."""
    return Outcome(Verdict.NOT_RUN, Evidence(reason))


def failed(entries: Iterable[Entry]) -> list[Entry]:
    """Entries that were refuted or could not be checked."""
    return [entry for entry in entries if entry.verdict in {Verdict.REFUTED, Verdict.NOT_RUN}]
