"""What a derivation is: steps in order, each with what it gives and, where it can be checked, what is left.

A check never says yes by itself: a step carries what remains of "derived minus stated", and holds where
nothing does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

D, N, K = sp.symbols("D N K", integer=True, positive=True)
"""Input dimension, width, outputs."""
ETA0, KAPPA, LAMBDA = sp.symbols("eta_0 kappa lambda", positive=True)
"""Base learning rate, coupling, eigenvalue."""
MULTIPLIER = sp.Symbol("m", positive=True)
"""Output multiplier, `w = m E V`; the learning-rate scale is `gamma^2 = kappa/m`, Gram scale `kappa m`."""
T = sp.Symbol("t", real=True)
"""Parameter that is differentiated in."""
U = sp.MatrixSymbol("u", D, 1)
"""`w*/|w*|`, a unit vector."""
A = sp.Symbol("a", real=True)
"""End-to-end map along the target, `w.u`."""
P, S = sp.symbols("p s", positive=True)
"""Common norm of the layers on the plane; `|w*|`."""


@dataclass(frozen=True)
class Step:
    """One line of a derivation.

    Attributes
    ----------
    text
        What is done, and why it may be.
    formula
        What it gives, in SymPy; None for a line of argument.
    left_over
        What the check leaves, as `nothing_left` reads it; None where there is nothing to check, as in a
        definition.
    label
        Name of the statement that this step settles, where a derivation settles several.
    """

    text: str
    formula: Any = None
    left_over: Any = None
    label: str = ""

    @property
    def checked(self) -> bool:
        """Whether the step was checked by computation."""
        return self.left_over is not None

    @property
    def holds(self) -> bool:
        """Whether nothing is left of its check."""
        return nothing_left(self.left_over)

    @property
    def latex(self) -> str:
        """The formula for a paper, empty for a line of argument."""
        return "" if self.formula is None else str(sp.latex(self.formula, mat_delim="("))


@dataclass(frozen=True)
class Derivation:
    """A derived statement.

    Attributes
    ----------
    name
        What it is asked for by, as in `derivation("5.1")`.
    title, source
        The statement in words and where it stands.
    steps
        In order.
    result
        What they end in, by name: SymPy expressions.
    """

    name: str
    title: str
    source: str
    steps: tuple[Step, ...]
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every checked step holds, and at least one is checked."""
        return not self.failing() and any(step.checked for step in self.steps)

    def failing(self, label: str = "") -> list[Step]:
        """Steps whose checks leave something: all, or those that the statement of one label rests on.

        A statement rests on its own steps and on those without a label.
        """
        return [step for step in self.steps if not step.holds and (not label or step.label in {"", label})]

    @property
    def latex(self) -> str:
        """The derivation as a LaTeX fragment (amsmath): numbered steps with displayed formulas."""
        lines = [rf"\paragraph{{{_escaped(self.title)}}} ({_escaped(self.source)})", r"\begin{enumerate}"]
        for step in self.steps:
            lines.append(rf"\item {_escaped(step.text)}")
            if step.formula is not None:
                lines.append(rf"\[ {step.latex} \]")
        return "\n".join([*lines, r"\end{enumerate}"])

    def _repr_markdown_(self) -> str:
        """The derivation as a notebook shows it."""
        lines = [f"**{in_greek(self.title)}** ({self.source})"]
        for number, step in enumerate(self.steps, start=1):
            mark = "" if not step.checked else " ✓" if step.holds else " ✗"
            words = _MARKDOWN.sub(lambda found: "\\" + found.group(), in_greek(step.text))
            lines.append(f"{number}. {words}{mark}")
            if step.formula is not None:
                lines.append(f"$${step.latex}$$")
        return "\n\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The derivation as JSON values: formulas in LaTeX, with whether each step was checked and holds."""
        steps = [
            {"text": step.text, "latex": step.latex, "checked": step.checked, "holds": step.holds}
            for step in self.steps
        ]
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "holds": self.holds,
            "steps": steps,
        }


def nothing_left(rest: Any) -> bool:
    """Whether nothing is left of a check: None, zero, an empty text, or only such inside.

    Parameters
    ----------
    rest
        A number, a SymPy expression or matrix, words of a normal form, a reason in words, or several.
    """
    if rest is None:
        return True
    if isinstance(rest, str):
        return not rest
    if isinstance(rest, Mapping):
        return all(nothing_left(value) for value in rest.values())
    if isinstance(rest, (tuple, list, sp.MatrixBase)):
        return all(nothing_left(value) for value in rest)
    return bool(rest == 0)


def coefficient(words: Mapping[Any, Any], power: int, symbol: Any = T) -> dict[Any, Any]:
    """Words of a normal form that carry one power of a symbol, with what is left of their coefficients."""
    found = {word: sp.Poly(value, symbol).coeff_monomial(symbol**power) for word, value in words.items()}
    return {word: value for word, value in found.items() if value != 0}


_GREEK = {
    "alpha": "α",
    "beta": "β",
    "chi": "χ",
    "eta": "η",
    "gamma": "γ",
    "kappa": "κ",
    "lambda": "λ",
    "mu": "μ",
    "phi": "φ",
    "rho": "ρ",
    "sigma": "σ",
    "Theta": "Θ",
}
_LETTER = rf"(?<![A-Za-z])(?:{'|'.join(_GREEK)})(?![A-Za-z])"
_POWER = r"\^(?:\(-?[\w/]+\)|\{[-\w/]+\}|-?\d+|\w)"
_TOKEN = re.compile(rf"(?:\b[A-Z]_)?{_LETTER}(?:_max|_min|0)?(?:{_POWER})?|{_POWER}|<=|>=|\+-|[<>|_&%#${{}}]")
_MARKDOWN = re.compile(r"[*_|<>\[\]`$]")
_PLAIN = {"<=": r"$\le$", ">=": r"$\ge$", "+-": r"$\pm$", "<": "$<$", ">": "$>$", "|": "$|$"}


def in_greek(text: str) -> str:
    """Words of a step with the names of Greek letters as letters, as formulas print them."""
    return re.sub(_LETTER, lambda found: _GREEK[found.group()], text)


def _escaped(text: str) -> str:
    """Words of a step for LaTeX: Greek names and powers in mathematics, special characters escaped."""
    return _TOKEN.sub(lambda found: _in_latex(found.group()), text.replace("μ", "mu"))


def _in_latex(token: str) -> str:
    if token in _PLAIN or (len(token) == 1 and not token.isalnum()):
        return _PLAIN.get(token, rf"\{token}")
    name, _, power = token.partition("^")
    letters = re.sub(
        _LETTER, lambda found: rf"\{found.group()}", name.replace("_max", "").replace("_min", "")
    )
    letters = re.sub(r"_(\\\w+)", r"_{\1}", letters).replace("0", "_0")
    limit = "".join(rf"_{{\{end}}}" for end in ("max", "min") if f"_{end}" in name)
    raised = "^{" + power.strip("{}()") + "}" if power else ""
    return f"${letters or '{}'}{limit}{raised}$"
