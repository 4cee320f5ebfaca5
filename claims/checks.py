"""The three ways a check of the theory ends: derived, compared, corrected."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ..theory import derivation
from .ledger import CheckResult, Evidence, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..theory.symbolic import Derivation


@cache
def derivation_of(name: str) -> Derivation:
    """A derivation, made once."""
    return derivation(name)


def holds(name: str, label: str) -> bool:
    """Whether a derivation's statement of one label is checked and nothing is left of it."""
    found = derivation_of(name)
    return any(step.checked and step.label == label for step in found.steps) and not found.failing(label)


def derived(
    name: str, label: str, summary: str, _settings: Settings, _report: Callable[[float], None]
) -> CheckResult:
    """Proved if every checked step that a statement rests on leaves nothing; its own has to be checked."""
    found = derivation_of(name)
    own = [step for step in found.steps if step.checked and (not label or step.label == label)]
    failing = found.failing(label)
    figures = {"derivation": name, "steps": len(found.steps), "steps checked by computation": len(own)}
    if own and not failing:
        return CheckResult(Verdict.PROVED, Evidence(summary, figures))
    reason = (
        "; ".join(f"{step.text}: left over {step.left_over}" for step in failing) or "no step was checked"
    )
    return CheckResult(Verdict.REFUTED, Evidence(f"derivation {name} fails at {reason}", figures))


def compared(evidence: Evidence) -> CheckResult:
    """Verified if the largest error is within the tolerance; an error that is no number is not."""
    error, tolerance = evidence.largest_error, evidence.tolerance
    if error is None or tolerance is None:
        raise ValueError("a comparison needs its largest error and its tolerance")
    return CheckResult(Verdict.VERIFIED if error <= tolerance else Verdict.REFUTED, evidence)


def corrected(*, published_fails: bool, instead_holds: bool, evidence: Evidence) -> CheckResult:
    """Corrected if the published statement fails where it was tried and what is put in its place holds."""
    if evidence.correction is None:
        raise ValueError("a correction says what was published and what holds instead")
    return CheckResult(Verdict.CORRECTED if published_fails and instead_holds else Verdict.REFUTED, evidence)
