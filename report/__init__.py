"""The report: claims with evidence, figures with verdicts, results and the machine, as one page.

Names are loaded when first used: what a command prints needs no pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:  # what checkers and editors see; `_HOMES` is what happens at run time
    from .contents import (
        Contents,
        Figure,
        Machine,
        Summary,
        read_figures,
        read_ledger,
        summarise,
        this_machine,
    )
    from .page import LARGEST, render, write_report

_HOMES = {
    "LARGEST": "page",
    "Contents": "contents",
    "Figure": "contents",
    "Machine": "contents",
    "Summary": "contents",
    "read_figures": "contents",
    "read_ledger": "contents",
    "render": "page",
    "summarise": "contents",
    "this_machine": "contents",
    "write_report": "page",
}

__all__ = [
    "LARGEST",
    "Contents",
    "Figure",
    "Machine",
    "Summary",
    "read_figures",
    "read_ledger",
    "render",
    "summarise",
    "this_machine",
    "write_report",
]

if not TYPE_CHECKING:  # checkers would take every unknown name for one that it returns
    __getattr__ = lazily(__name__, _HOMES)
