"""What the commands that carry out runs share: planning, resuming, where runs go, progress, interruption."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from ..errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ..runner import Executor, Found, Plan, Sweep


class Where(NamedTuple):
    """Where a person wants runs to be done; at most one of the first three is given."""

    workers: int | None = None
    scheduler: str | None = None
    cluster: str | None = None
    cluster_options: Mapping[str, Any] = {}
    threads: int = 1


def planned(sweep: Sweep, folder: Path | None) -> Plan:
    """The sweep's plan, which keeps what the folder has of it."""
    from ..records.store import RunStore
    from ..runner import make_plan
    from .console import progress_bar

    with progress_bar("checking the runs") as update:
        return make_plan(sweep, None if folder is None else RunStore(folder), update)


def looked(plan: Plan, folder: Path) -> Found:
    """What there is of a sweep; a word on stderr on what cannot be used."""
    from ..runner import look, runs_not_in_plan
    from .console import progress_bar, stderr

    with progress_bar("reading what there is") as update:
        found = look(plan, folder, update)
    aside = runs_not_in_plan(plan, folder)
    if aside:
        words = (
            "completed runs are not in this plan: they are of another grid or other versions, and are kept"
        )
        stderr().print(f"{folder}: {aside} {words}")
    if found.damaged:
        count = plan.count(found.damaged)
        stderr().print(f"{folder}: files of {count} runs are damaged; these runs are done again")
    return found


@contextmanager
def executor_for(where: Where, folder: Path, groups: int) -> Iterator[Executor]:
    """Where so many groups of runs are done.

    Raises
    ------
    InputError
        If several places are given, or one cannot be reached.
    """
    from .. import runner

    chosen = [value for value in where[:3] if value is not None]
    if len(chosen) > 1:
        raise invalid(
            "places to run", "several", accepted="one of --workers, --scheduler, --cluster",
            remedy="choose one",
        )  # fmt: skip
    if groups == 0:
        found = runner.local(1)
    elif where.scheduler is not None:
        found = runner.scheduler(where.scheduler, folder)
    elif where.cluster is not None:
        found = runner.slurm(where.cluster_options, folder)
    else:
        found = runner.local(where.workers, where.threads, groups)
    with found as executor:
        yield executor


def carried_out(
    plan: Plan, folder: Path, where: Where, found: Found, *, retry: bool = False, quiet: bool = False
) -> None:
    """Do what is left of a plan, with progress on stderr; an interruption ends the program with code 130."""
    from ..runner import carry_out
    from .console import stderr, sweep_progress

    had = f", {plan.count(found.done)} of them complete already" if found.done else ""
    left = len(plan.named) - len(found.done) - (0 if retry else len(found.failures))
    with executor_for(where, folder, left) as executor:
        if not quiet:
            stderr().print(f"{len(plan.sweep.cells)} runs{had}, {executor.words}; results in {folder}")
        try:
            with sweep_progress() as update:
                carry_out(plan, folder, executor, found, retry=retry, on_status=update)
        except KeyboardInterrupt:
            stderr().print(f"Interrupted; complete runs are in {folder}. Rerun the same command to resume.")
            raise typer.Exit(130) from None


def failure_sentences(plan: Plan, found: Found) -> list[str]:
    """A sentence on every run that failed."""
    return [
        f"failed: {', '.join(f'{name} {value}' for name, value in one['run'].items())}: {one['reason']}"
        for one in failure_documents(plan, found)
    ]


def failure_documents(plan: Plan, found: Found) -> list[dict[str, Any]]:
    """Every run that failed, with the reason."""
    return [
        {"run": dict(cell), "reason": reason}
        for key, reason in found.failures.items()
        for cell in plan.runs_of[key]
    ]
