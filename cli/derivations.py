"""Derivations as text and tables."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

from ..records.tables import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..theory.symbolic import Derivation


def derivation_parts(derivation: Derivation) -> list[Table | str]:
    """A derivation, step by step, and how many of its steps were checked by computation."""
    from sympy import pretty

    from ..theory.symbolic.core import in_greek

    parts: list[Table | str] = [f"{in_greek(derivation.title)}\n({derivation.source})\n"]
    for number, step in enumerate(derivation.steps, start=1):
        failed = "" if step.holds else f" [FAILS: left over {step.left_over}]"
        mark = (failed or " [checked]") if step.checked else ""
        parts.append(f"{number}. {in_greek(step.text)}{mark}")
        if step.formula is not None:
            formula = pretty(step.formula, use_unicode=True, wrap_line=False)
            parts.append("\n" + indent(formula, 6 * " "))
        parts.append("")
    checked = sum(step.checked for step in derivation.steps)
    end = "nothing is left over in any" if derivation.holds else "NOT all of them hold"
    return [*parts, f"{checked} of {len(derivation.steps)} steps checked by computation; {end}."]


def list_parts(derivations: Sequence[Derivation]) -> list[Table | str]:
    """What can be derived, with whether each derivation holds."""
    rows = tuple(
        (found.name, found.title, found.source, len(found.steps), "yes" if found.holds else "NO")
        for found in derivations
    )
    return [Table("superconsistency derive NAME", ("name", "statement", "source", "steps", "holds"), rows)]
