"""How results look in a terminal: progress on stderr, tables or one JSON document on stdout."""

from __future__ import annotations

import json
import math
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from itertools import product
from textwrap import indent
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
from ..stats.dependence import training_sentences
from ..stats.resolution import rounding_floor
from ..stats.slopes import SizeDependence, size_dependence
from ..stats.windows import final_steps, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import xarray as xr

    from ..claims import Entry
    from ..neural.coordinates import CoordinateReport
    from ..runner import Status
    from ..theory.symbolic import Derivation

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

_ROWS = 9
"""Steps that a table of curves shows."""


def stdout() -> Console:
    """The console that results go to."""
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False, markup=False)


def stderr() -> Console:
    """The console for progress and errors."""
    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print exactly one JSON document."""
    sys.stdout.write(json.dumps(to_json(document), allow_nan=False, indent=2, default=_json_default) + "\n")


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


def print_ledger(entries: Sequence[Entry], *, evidence: bool = False) -> None:
    """The ledger as a table, its count of verdicts and, if asked for, corrections and tables of figures."""
    table = Table(title="claims ledger", show_lines=True)
    for heading in ("claim", "source", "kind", "verdict", "seconds", "evidence"):
        table.add_column(heading, no_wrap=heading in {"verdict", "kind"}, overflow="fold")
    for entry in entries:
        verdict = str(entry.verdict)
        table.add_row(
            Text(f"{entry.claim.id}\n{entry.claim.statement}"),
            entry.claim.source,
            str(entry.claim.kind),
            Text(verdict, style=_COLOURS[verdict]),
            f"{entry.seconds:.1f}",
            Text(_evidence(entry)),
        )
    console = stdout()
    console.print(table)
    if evidence:
        for entry in entries:
            _print_evidence(entry, console)
    console.print(count_verdicts(entries))


def _evidence(entry: Entry) -> str:
    """The summary, and what holds instead of a statement that does not hold as published."""
    correction = entry.outcome.evidence.correction
    instead = "" if correction is None else f"\ninstead: {correction.instead}"
    return entry.outcome.evidence.summary + instead


def _print_evidence(entry: Entry, console: Console) -> None:
    evidence = entry.outcome.evidence
    if evidence.correction is not None:
        console.print(f"{entry.claim.id}: {entry.verdict}")
        for heading, words in asdict(evidence.correction).items():
            console.print(f"  {heading}: {words}", soft_wrap=True)
    for figures in evidence.tables:
        table = Table(title=f"{entry.claim.id}: {figures.title}")
        for column in figures.columns:
            table.add_column(column, justify="right")
        for row in figures.texts:
            table.add_row(*row)
        console.print(table)


def print_derivation(derivation: Derivation) -> None:
    """A derivation, step by step, and how many of its steps were checked by computation."""
    from sympy import pretty

    from ..theory.symbolic.core import in_greek

    console = stdout()
    console.print(f"{in_greek(derivation.title)}\n({derivation.source})\n", style="bold")
    for number, step in enumerate(derivation.steps, start=1):
        mark = (
            ""
            if not step.checked
            else " [checked]"
            if step.holds
            else f" [FAILS: left over {step.left_over}]"
        )
        console.print(f"{number}. {in_greek(step.text)}{mark}")
        if step.formula is not None:
            formula = pretty(step.formula, use_unicode=True, wrap_line=False)
            console.print("\n" + indent(formula, 6 * " "), soft_wrap=True)
        console.print()
    checked = sum(step.checked for step in derivation.steps)
    end = "nothing is left over in any" if derivation.holds else "NOT all of them hold"
    console.print(f"{checked} of {len(derivation.steps)} steps checked by computation; {end}.")


def print_derivations(derivations: Sequence[Derivation], *, as_json: bool) -> None:
    """What can be derived, with whether each derivation holds."""
    if as_json:
        fields = ("name", "title", "source", "holds")
        print_json([{field: found.to_json()[field] for field in fields} for found in derivations])
        return
    table = Table(title="superconsistency derive NAME")
    for column in ("name", "statement", "source", "steps", "holds"):
        table.add_column(column, no_wrap=column == "name")
    for found in derivations:
        row = (found.name, found.title, found.source, str(len(found.steps)), "yes" if found.holds else "NO")
        table.add_row(*row)
    stdout().print(table)


def count_verdicts(entries: Sequence[Entry]) -> str:
    """How many claims got which verdict."""
    verdicts = [str(entry.verdict) for entry in entries]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in _COLOURS if name in verdicts)
    return f"{len(verdicts)} claims: {counts}"


def print_record(record: xr.Dataset, quantities: Sequence[str]) -> None:
    """Quantities against steps for every width and learning rate, and how the final ones depend on width."""
    console = stdout()
    axes = _further_axes(record)
    for place in np.ndindex(*(record.sizes[axis] for axis in axes)):
        part = record.isel(dict(zip(axes, place, strict=True)))
        label = ", ".join(f"{axis.replace('_', ' ')} {part[axis].item()}" for axis in axes)
        for name, rate in product(quantities, part["learning_rate"].to_numpy()):
            run, seeds = part.sel(learning_rate=rate), part.sizes["seed"]
            words = f"{name} at eta0 = {rate:g}, mean over {seeds} seed{'s' if seeds > 1 else ''}"
            console.print(f"{label}: {words}" if axes else words)
            console.print(_curve_table(run, name))
            console.print(dependence_sentence(run, name))
    diverged = record["diverged_step"].to_numpy()
    if (diverged >= 0).any():
        first = int(diverged[diverged >= 0].min())
        console.print(
            f"{int((diverged >= 0).sum())} of {diverged.size} runs diverged, the first at step {first}"
        )


def _further_axes(results: xr.Dataset) -> list[str]:
    """Dimensions beside those of every record."""
    return [str(name) for name in results.dims if name not in {"width", "learning_rate", "seed", "step"}]


def print_sweep(results: xr.Dataset) -> None:
    """For every group of runs and width the best learning rate, and loss and sharpness there."""
    axes = _further_axes(results)
    shown = [name for name in ("loss", "sharpness") if name in results]
    table = Table(title="at the learning rate of least mean final loss")
    for heading in (*axes, "width", "learning rate", *shown, "complete", "diverged"):
        table.add_column(heading.replace("_", " "), justify="left" if heading in axes else "right")
    for place in np.ndindex(*(results.sizes[name] for name in axes)):
        group = results.isel(dict(zip(axes, place, strict=True))).load()
        names = [str(group[name].item()) for name in axes]
        for width in group["width"].to_numpy():
            runs = group.sel(width=width)
            if (runs["completed"] == 1).any():
                table.add_row(*names, f"{width:g}", *_best(runs, shown))
    stdout().print(table)


def _best(runs: xr.Dataset, shown: Sequence[str]) -> list[str]:
    """Cells of one width: the best learning rate and what there is at it."""
    done, diverged = int((runs["completed"] == 1).sum()), int((runs["diverged_step"] >= 0).sum())
    whole = (runs["completed"] == 1).all("seed")
    final = {name: settled(runs[name]).mean("seed", skipna=False).where(whole) for name in shown}
    counts = [f"{done} of {runs['completed'].size}", str(diverged)]
    if "loss" not in final or not np.isfinite(final["loss"]).any():
        return ["none"] + ["-"] * len(shown) + counts
    best = final["loss"].idxmin("learning_rate").item()
    return [
        f"{best:g}",
        *(f"{float(values.sel(learning_rate=best)):.4g}" for values in final.values()),
        *counts,
    ]


def print_coordinates(report: CoordinateReport) -> None:
    """Fitted and predicted exponents of every layer, and the verdict."""
    table = Table(title=f"exponents in {report.record.attrs['size']}")
    for heading in ("layer", "quantity", "fitted", "95% interval", "predicted", "verdict"):
        table.add_column(heading, justify="left" if heading in {"layer", "quantity"} else "right")
    for fit in report.fits:
        low, high = fit.predicted
        row = (
            fit.layer,
            fit.quantity.replace("_", " "),
            f"{fit.exponent:.3f}",
            f"{fit.interval[0]:.3f} to {fit.interval[1]:.3f}",
            f"{low:g}" if low == high else f"{low:g} to {high:g}",
        )
        table.add_row(*row, Text(fit.verdict, style=_COLOURS.get(fit.verdict, "green")))
    console = stdout()
    console.print(table)
    console.print(report.sentence, soft_wrap=True)


def print_methods(record: xr.Dataset) -> None:
    """Which method ran which widths, why, and what it left out."""
    methods = json.loads(record.attrs["configuration"])["method"]
    console = stdout()
    for method, reason in sorted({(chosen["method"], chosen["reason"]) for chosen in methods.values()}):
        widths = [float(width) for width, chosen in methods.items() if chosen["reason"] == reason]
        names = ", ".join(f"{width:g}" for width in widths)
        console.print(f"method at N = {names}: {method} ({reason})", soft_wrap=True)
    error = float(record["truncation_error"].max())
    if error > 0:
        beyond = "; above 1e-10: where that matters pass --method full" if error > 1e-10 else ""
        console.print(
            f"estimated relative error of the reduction to few coordinates: at most {error:.1e}{beyond}"
        )


def print_width_verdict(record: xr.Dataset, seed: int) -> None:
    """Whether sharpness and its change depend on width, where the record has what it takes to say so."""
    finite = np.isfinite(record["width"].to_numpy()).sum()
    if "sharpness" in record and finite > 1 and record.sizes["step"] > 1 and record.sizes["seed"] > 1:
        for sentence in training_sentences(record, np.random.default_rng(seed)):
            stdout().print(sentence, soft_wrap=True)


def _curve_table(run: xr.Dataset, name: str) -> Table:
    table = Table()
    table.add_column("step", justify="right")
    for width in run["width"].to_numpy():
        table.add_column("N = inf" if math.isinf(width) else f"N = {width:g}", justify="right")
    shown = np.unique(np.linspace(0, run.sizes["step"] - 1, _ROWS).round().astype(int))
    means = run[name].mean("seed", skipna=False).transpose("step", "width").to_numpy()
    for index in shown:
        cells = ("diverged" if math.isnan(value) else f"{value:.4g}" for value in means[index])
        table.add_row(str(int(run["step"][index])), *cells)
    return table


def final_dependence(run: xr.Dataset, name: str) -> SizeDependence | None:
    """Width dependence of a final quantity at one learning rate; None with fewer than two widths or steps."""
    if np.isfinite(run["width"].to_numpy()).sum() < 2 or not final_steps(run):
        return None
    return size_dependence(settled(run[name]), floor=rounding_floor(run[name]))


def dependence_sentence(run: xr.Dataset, name: str) -> str:
    """The width dependence of a final quantity in words."""
    found = final_dependence(run, name)
    if found is None or math.isnan(found.slope):
        reason = "it takes two finite widths and a later step" if found is None else found.without
        return f"no statement on how {name} depends on width: {reason}\n"
    low, high = found.interval
    reach = f" (95% {low:.3f} to {high:.3f})" if math.isfinite(low) else " (too few runs for an interval)"
    without = f"; {found.without}" if found.left_out else ""
    means = ", ".join(f"{mean:.4g}" for mean in found.means)
    spread = f"{100 * found.spread:.1f}%" if found.spread < 10 else f"{found.spread + 1:.3g}-fold"
    return (
        f"final {name} ({_final_words(run)}) by width: {means}; spread {spread}; "
        f"log-log slope on width {found.slope:.3f}{reach}{without}\n"
    )


def _final_words(run: xr.Dataset) -> str:
    """Which measurements the final value is the mean of."""
    count = len(final_steps(run))
    return "the last measurement" if count == 1 else f"mean of the last {count} measurements"
