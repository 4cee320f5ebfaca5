"""Does what is left of a sweep, and keeps account of it."""

from __future__ import annotations

import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError, invalid
from ..records.manifest import read_manifest, write_manifest
from ..records.results import open_results
from ..records.store import RunStore
from .here import HERE
from .plan import make_plan
from .tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import xarray as xr

    from .grids import Sweep
    from .here import Executor
    from .plan import Plan
    from .tasks import Outcome

_INTERVAL = 2.0
"""Seconds between reports while no group ends."""


class Status(NamedTuple):
    """How far a sweep is."""

    runs: int
    done: int
    failed: int
    running: int
    """Groups of runs under way."""
    work: float
    """Part of this call's work that is over, from 0 to 1, by the groups' costs; those under way in part."""
    last: Outcome | None = None
    """The group that ended last."""


class Found(NamedTuple):
    """What there is before a sweep goes on, by the keys of groups."""

    done: frozenset[str]
    failures: dict[str, str]
    """Reasons."""
    damaged: tuple[str, ...]
    """Groups whose files cannot be used; they are done again."""


def look(plan: Plan, folder: Path, on_progress: Callable[[float, float], None] | None = None) -> Found:
    """Which groups are complete, each read and checked, and which failed.

    Raises
    ------
    InputError
        If a file's place is outside of the folder.
    """
    store = RunStore(folder)
    store.tidy()
    names = {named.key: named.family for named in plan.named}
    there = sorted(store.complete((family, key) for key, family in names.items()))
    damaged = []
    for index, key in enumerate(there):
        store.path(names[key], key)
        try:
            store.load(names[key], key)
        except InputError:
            damaged.append(key)
        if on_progress is not None:
            on_progress(index + 1, len(there))
    done = frozenset(there) - set(damaged)
    failures = {key: reason for key, reason in store.failures(names).items() if key not in done}
    return Found(done, failures, tuple(damaged))


def runs_not_in_plan(plan: Plan, folder: Path) -> int:
    """Number of completed runs in the folder that are not in this plan."""
    try:
        earlier = read_manifest(folder)
    except InputError:
        return 0
    there = RunStore(folder).complete(earlier.groups)
    had = {(earlier.groups[group][1], within) for group, within in earlier.runs.values()}
    planned = {(plan.named[group].key, within) for group, within in plan.places.values()}
    return sum(key in there for key, _ in had - planned)


def carry_out(
    plan: Plan,
    folder: Path,
    executor: Executor,
    found: Found,
    *,
    retry: bool = False,
    on_status: Callable[[Status], None] | None = None,
) -> Status:
    """Do the groups of runs that are not complete, the longest first.

    Parameters
    ----------
    plan
        What to do.
    folder
        For the results; complete groups in it stay as they are.
    executor
        Where to do it.
    found
        What `look` gave.
    retry
        Whether groups that failed before are done again.
    on_status
        Called with the status, first before any run, then whenever a group ends and every two seconds, from
        one thread at a time.

    Raises
    ------
    InputError
        If results cannot be written.
    """
    store = RunStore(folder)
    write_manifest(folder, plan.manifest)
    skipped = set(found.done) | (set() if retry else set(found.failures))
    tasks = _tasks(plan, folder, skipped)
    broken = 0 if retry else plan.count(found.failures)
    status = Status(len(plan.sweep.cells), plan.count(found.done), broken, executor.running(len(tasks)), 0.0)
    board = _Board(status, executor, tasks, store, on_status)
    with board.watched():
        for outcome in executor.run(tasks):
            board.over(outcome, plan.count([outcome.task.key]))
    return board.status


def results_of(
    sweep: Sweep,
    folder: Path | None = None,
    executor: Executor = HERE,
    on_status: Callable[[Status], None] | None = None,
) -> xr.Dataset:
    """Carry out a sweep, and return its results in memory.

    Parameters
    ----------
    sweep
        What to run.
    folder
        Keeps the runs, so that a later call resumes; None keeps nothing.
    executor
        Where to run; by default this process.
    on_status
        As for `carry_out`.

    Returns
    -------
    xarray.Dataset
        As `open_results` gives them: dimensions are the sweep's axes, and `step`.

    Raises
    ------
    InputError
        If a run cannot be done, or failed.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as place:
            return results_of(sweep, Path(place), executor, on_status)
    plan = make_plan(sweep, RunStore(folder))
    carry_out(plan, folder, executor, look(plan, folder), retry=True, on_status=on_status)
    failures = look(plan, folder).failures
    for reason in failures.values():
        failed = plan.count(failures)
        raise invalid(
            "failed runs", f"{failed} of {len(sweep.cells)}", accepted=f"none ({reason})",
            remedy="mend what the reason says and run again; complete runs are kept",
        )  # fmt: skip
    return open_results(folder).load()


class _Board:
    """The status of a sweep that is being carried out, and who is told of it."""

    def __init__(
        self,
        status: Status,
        executor: Executor,
        tasks: Sequence[Task],
        store: RunStore,
        on_status: Callable[[Status], None] | None,
    ) -> None:
        self.status = status
        self._executor, self._store, self._on_status = executor, store, on_status
        self._costs = {task.key: task.cost for task in tasks}
        self._total = sum(self._costs.values()) or 1.0
        self._over = 0.0
        self._lock, self._ended = threading.Lock(), threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Report the status now, and again and again as groups under way say how far they are."""
        for key in self._store.shares():
            self._store.forget(key)  # said by a process that was killed
        self._tell()
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._ended.set()
            watch.join(2 * _INTERVAL)

    def over(self, outcome: Outcome, runs: int) -> None:
        """Take note that a group with so many of the sweep's runs ended."""
        with self._lock:
            self._over += self._costs.pop(outcome.task.key)
            self.status = self.status._replace(
                done=self.status.done + runs * (not outcome.failed),
                failed=self.status.failed + runs * outcome.failed,
                last=outcome,
            )
            self._tell()

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL):
            with self._lock, suppress(Exception):  # whoever awaits the runs notices a lost scheduler
                self._tell()

    def _tell(self) -> None:
        begun = sum(self._costs.get(key, 0.0) * share for key, share in self._store.shares().items())
        self.status = self.status._replace(
            running=self._executor.running(len(self._costs)), work=(self._over + begun) / self._total
        )
        if self._on_status is not None:
            self._on_status(self.status)


def _tasks(plan: Plan, folder: Path, skipped: set[str]) -> Sequence[Task]:
    model, where = plan.sweep.model, str(folder.resolve())
    tasks = [
        Task(model, named, where, model.cost(named.group)) for named in plan.named if named.key not in skipped
    ]
    return sorted(tasks, key=lambda task: -task.cost)
