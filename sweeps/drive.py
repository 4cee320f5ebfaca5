"""Does what is left of a sweep, and keeps account of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from ..records.store import RunStore
from .tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .engines import Place
    from .plan import Plan
    from .tasks import Outcome


class Account(NamedTuple):
    """How far a sweep is."""

    runs: int
    done: int
    failed: int
    running: int
    work: float
    """Part of this call's work that is over, from 0 to 1, by the runs' costs."""
    last: Outcome | None = None
    """The run that ended last."""


class Left(NamedTuple):
    """What there is before a sweep goes on."""

    done: frozenset[str]
    failures: dict[str, str]
    """Reasons, by key."""
    damaged: tuple[str, ...]
    """Runs whose files cannot be used; they are done again."""


def look(plan: Plan, folder: Path, on_progress: Callable[[float, float], None] | None = None) -> Left:
    """Which runs are complete, each read and checked, and which failed.

    Raises
    ------
    InputError
        If a run's place is outside of the folder.
    """
    store = RunStore(folder)
    store.tidy()
    there = sorted(store.complete(plan.keys))
    damaged = []
    for index, key in enumerate(there):
        store.path(key)
        try:
            store.load(key)
        except InputError:
            damaged.append(key)
        if on_progress is not None:
            on_progress(index + 1, len(there))
    done = frozenset(there) - set(damaged)
    failures = {key: reason for key, reason in store.failures(plan.keys).items() if key not in done}
    return Left(done, failures, tuple(damaged))


def left_aside(plan: Plan, folder: Path) -> int:
    """Complete runs of the sweep that the folder is of now which the plan does not have."""
    try:
        earlier = RunStore(folder).manifest()
    except InputError:
        return 0
    return len(RunStore(folder).complete(set(earlier.keys.values()) - set(plan.keys)))


def carry_out(
    plan: Plan,
    folder: Path,
    place: Place,
    left: Left,
    *,
    retry: bool = False,
    on_event: Callable[[Account], None] | None = None,
) -> Account:
    """Do the runs that are not complete, the longest first.

    Parameters
    ----------
    plan
        What to do.
    folder
        Of the results; complete runs in it stay as they are.
    place
        Where to do it.
    left
        What `look` found.
    retry
        Whether runs that failed before are done again.
    on_event
        Called with the account, first before any run and then whenever one ended.

    Raises
    ------
    InputError
        If results cannot be written.
    """
    store = RunStore(folder)
    store.write_manifest(plan.manifest)
    skipped = set(left.done) | (set() if retry else set(left.failures))
    tasks = _tasks(plan, folder, skipped)
    total = sum(task.cost for task in tasks) or 1.0
    done, broken = len(left.done), 0 if retry else len(left.failures)
    account = Account(len(plan.keys), done, broken, place.running(len(tasks)), 0.0)
    if on_event is not None:
        on_event(account)
    waiting, work = len(tasks), 0.0
    for outcome in place.engine(tasks):
        waiting -= 1
        work += outcome.task.cost
        done, broken = done + (not outcome.failed), broken + outcome.failed
        account = Account(len(plan.keys), done, broken, place.running(waiting), work / total, outcome)
        if on_event is not None:
            on_event(account)
    return account


def _tasks(plan: Plan, folder: Path, skipped: set[str]) -> Sequence[Task]:
    model, where = plan.sweep.model, str(folder.resolve())
    tasks = [
        Task(model, cell, key, where, model.cost(cell))
        for cell, key in zip(plan.sweep.cells, plan.keys, strict=True)
        if key not in skipped
    ]
    return sorted(tasks, key=lambda task: -task.cost)
