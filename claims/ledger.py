"""The ledger: what is claimed, how it is checked, and what the check found."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..errors import as_path, require_flag, require_function, require_instance, require_integer
from ..records import to_json
from ..records.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ..errors import PathText


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
class Evidence:
    """What a verdict rests on.

    Attributes
    ----------
    summary
        One sentence for the table.
    figures
        Measured numbers by name.
    largest_error, tolerance
        Largest error of a numeric comparison, and the error it may have.
    seeds
        Seeds of everything random.
    correction
        What holds instead of a statement that does not hold as published.
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
class CheckResult:
    """A verdict with its evidence."""

    verdict: Verdict
    evidence: Evidence


@dataclass(frozen=True)
class Settings:
    """What the user chooses about a verification.

    Attributes
    ----------
    seed
        First seed of everything random.
    device
        Device that networks train on.
    data_dir, download
        CIFAR-10 from a folder, whose path may be text, or the official archive, instead of the built-in
        digits.

    Raises
    ------
    InputError
        If a value is out of range or of another type.
    """

    seed: int = 0
    device: str = "auto"
    data_dir: Path | None = None
    download: bool = False

    if TYPE_CHECKING:  # what may be passed, which is more than what is kept

        def __init__(
            self,
            seed: int = ...,
            device: str = ...,
            data_dir: PathText | None = ...,
            download: bool = ...,  # noqa: FBT001
        ) -> None: ...

    def __post_init__(self) -> None:
        require_integer("seed", self.seed, least=0, example=0)
        remedy = 'pass "auto", "cpu" or "cuda"'
        require_instance("device", self.device, str, accepted="the name of a device", remedy=remedy)
        require_flag("download", self.download)
        if self.data_dir is not None:
            object.__setattr__(self, "data_dir", as_path("data folder", self.data_dir))


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
    check: Callable[[Settings, Callable[[float], None]], CheckResult]


@dataclass(frozen=True)
class Entry:
    """A claim with what its check found."""

    claim: Claim
    outcome: CheckResult
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
                    "tables": [table.document for table in evidence.tables],
                },
                "seconds": round(self.seconds, 3),
            }
        )
        return document


def verify(
    claims: Claim | Iterable[Claim],
    settings: Settings | None = None,
    on_progress: Callable[[Claim, float], None] | None = None,
) -> Iterator[Entry]:
    """Check claims one after the other, giving each entry as it is decided.

    A check that breaks is an entry `not run` with its reason: it neither counts as passed nor hides the rest.

    Parameters
    ----------
    claims
        One claim or several, such as `CLAIMS`.
    settings
        Seed, device and data; by default those of `Settings()`.
    on_progress
        Called with (claim, fraction of its check that is done).

    Raises
    ------
    InputError
        At once, if something else is passed.
    """
    chosen = (claims,) if isinstance(claims, Claim) else claims
    several = tuple(chosen) if isinstance(chosen, Iterable) else (chosen,)
    for claim in several:
        require_instance("claim", claim, Claim, accepted="a Claim", remedy="pass CLAIMS, or some of them")
    settings = Settings() if settings is None else settings
    require_instance("settings", settings, Settings, accepted="Settings", remedy="pass Settings(seed=0)")
    require_function("on_progress", on_progress)
    return _entries(several, settings, on_progress)


def _entries(
    claims: tuple[Claim, ...], settings: Settings, on_progress: Callable[[Claim, float], None] | None
) -> Iterator[Entry]:
    """The entries of claims, each as it is decided."""
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


def not_run(reason: str) -> CheckResult:
    """An outcome that says why nothing was checked."""
    return CheckResult(Verdict.NOT_RUN, Evidence(reason))


def failed_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Entries that were refuted or could not be checked."""
    return [entry for entry in entries if entry.verdict in {Verdict.REFUTED, Verdict.NOT_RUN}]
