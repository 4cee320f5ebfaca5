"""The page: one HTML file with everything in it, which runs nothing but its own script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

from ..errors import invalid
from ..figures.pages import content_policy
from ..records import to_json, write_atomically

if TYPE_CHECKING:
    from .contents import Contents, Figure

LARGEST = 10_000_000
"""Bytes of a report."""

_PICTURES = 7_000_000
"""Size of all pictures together, before they are encoded as text, which takes a third more."""

_ASSETS = Path(__file__).with_name("assets")
_ORDER = ("refuted", "not run", "corrected", "verified", "proved")


def render(contents: Contents) -> str:
    """The page as HTML text.

    Raises
    ------
    InputError
        If it would be larger than `LARGEST`.
    """
    style, script = _asset("report.css"), _asset("report.js")
    environment = Environment(
        loader=FileSystemLoader(_ASSETS), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["pretty"] = _pretty
    environment.filters["number"] = _number
    text = environment.get_template("report.html").render(
        policy=content_policy(style, script),
        style=style,
        script=script,
        contents=contents,
        figures=_fitted(list(contents.figures)),
        claims=[] if contents.ledger is None else contents.ledger["claims"],
        counts=_counts(contents.ledger),
        order={verdict: index for index, verdict in enumerate(_ORDER)},
    )
    size = len(text.encode())
    if size > LARGEST:
        raise invalid("report", f"{size} bytes", accepted=f"at most {LARGEST}", remedy="show fewer figures")
    return text


def write_report(contents: Contents, path: Path) -> None:
    """Write the page to a file.

    Raises
    ------
    InputError
        As in `render`, or if the place cannot be written to.
    """
    try:
        text = render(contents)
    except (UndefinedError, TypeError, AttributeError) as error:
        raise invalid(
            "report", str(error)[:100], accepted="a ledger and figures as this program writes them",
            remedy="write them again",
        ) from error  # fmt: skip
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _counts(ledger: dict[str, Any] | None) -> dict[str, int]:
    """How many claims have which verdict, the graver ones first."""
    verdicts = [] if ledger is None else [str(claim["verdict"]) for claim in ledger["claims"]]
    return {name: verdicts.count(name) for name in _ORDER if name in verdicts}


def _fitted(figures: list[Figure]) -> list[Figure]:
    """Figures, the largest on fewer pixels until all of them fit."""
    while figures and sum(len(figure.picture) for figure in figures) > _PICTURES:
        index = max(range(len(figures)), key=lambda one: len(figures[one].picture))
        smaller = figures[index].smaller()
        if len(smaller.picture) >= len(figures[index].picture):
            break
        figures[index] = smaller
    return figures


def _pretty(value: Any) -> str:
    return json.dumps(to_json(value), indent=1, ensure_ascii=False, default=str)


def _number(value: Any) -> str:
    """A table's cell: numbers to five digits."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
