"""How results look in a terminal: progress on stderr, tables or one JSON document on stdout."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from ..records import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..records.tables import Table as PlainTable
    from ..runner import Status

_PLAIN_WIDTH = 140
"""Columns of output that does not go to a terminal."""

_COLOURS = {
    "proved": "green",
    "verified": "green",
    "corrected": "yellow",
    "refuted": "bold red",
    "not run": "red",
    "failed": "bold red",
    "undecided": "yellow",
}

_SILENCE = 30.0
"""Seconds between lines of progress where there is no terminal."""


def stdout() -> Console:
    """The console that results go to."""
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False, markup=False)


def stderr() -> Console:
    """The console for progress and errors."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print exactly one JSON document."""
    sys.stdout.write(json.dumps(to_json(document), allow_nan=False, indent=2, default=_json_default) + "\n")


def print_table(table: PlainTable) -> None:
    """Print a table: columns of numbers are right-aligned, verdicts have their colours."""
    if table.title:  # above the table, since Rich would break it to the table's width
        stdout().print(table.title, soft_wrap=True)
    shown = Table(show_lines=table.ruled)
    columns = [[row[index] for row in table.texts] for index in range(len(table.columns))]
    for heading, cells in zip(table.columns, columns, strict=True):
        short = heading in {"verdict", "kind", "name"}
        numbers = all(map(_numeric, cells))
        shown.add_column(heading, justify="right" if numbers else "left", overflow="fold", no_wrap=short)
    for row in table.texts:
        shown.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    stdout().print(shown)


def _numeric(cell: str) -> bool:
    return cell[:1] in set("+-0123456789") or cell in {"", "none", "diverged", "never"}


def _json_default(value: Any) -> Any:
    """NumPy and SymPy scalars as plain numbers."""
    return value.item() if isinstance(value, np.generic) else float(value)


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def progress_bar(words: str) -> Iterator[Callable[[float, float], None]]:
    """A bar with time left on stderr, driven by (done, in all); elsewhere a line every half minute."""
    console = stderr()
    begun = said = time.monotonic()
    with _bar(console) as bar:
        task = bar.add_task(words, total=None)

        def update(done: float, total: float) -> None:
            nonlocal said
            bar.update(task, completed=done, total=total)
            now = time.monotonic()
            if not console.is_terminal and done > 0 and now - said > _SILENCE:
                said = now
                left = (now - begun) * (total - done) / done
                console.print(f"{words}: {done / total:.0%}, about {left / 60:.1f} minutes left")

        yield update


@contextmanager
def sweep_progress() -> Iterator[Callable[[Status], None]]:
    """A bar with counts, time left and the last loss of a sweep; elsewhere a line every half minute."""
    console = stderr()
    begun = said = time.monotonic()
    with _bar(console) as bar:
        task = bar.add_task("", total=1.0)

        def update(status: Status) -> None:
            nonlocal said
            words = f"{status.done} of {status.runs} done, {status.running} running, {status.failed} failed"
            if status.last is not None and math.isfinite(status.last.best[1]):
                rate, loss = status.last.best
                width = dict(status.last.task.named.group.shared)["width"]
                words += f"; N = {width:g}, eta0 = {rate:g}: loss {loss:.3g}"
            bar.update(task, completed=status.work, description=words)
            now = time.monotonic()
            if not console.is_terminal and status.work > 0 and now - said > _SILENCE:
                said = now
                left = (now - begun) * (1 - status.work) / status.work
                console.print(f"{words}; about {left / 60:.1f} minutes left")

        yield update


@contextmanager
def ledger_progress(count: int) -> Iterator[Callable[[str, float], None]]:
    """A bar with time left for each claim, driven by (its id, fraction of it done); a line each elsewhere."""
    console = stderr()
    with _bar(console) as bar:
        task = bar.add_task("")
        seen: list[str] = []

        def update(claim: str, fraction: float) -> None:
            if claim not in seen:
                seen.append(claim)
                words = f"checking {claim} ({len(seen)} of {count})"
                bar.reset(task, description=words, total=1.0)
                if not console.is_terminal:
                    console.print(words)
            bar.update(task, completed=fraction)

        yield update
