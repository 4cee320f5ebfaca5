"""Does what is left of a sweep, and keeps account of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from ..records.store import RunStore
from .tasks import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .engines import Place
    from .plan import Plan
    from .tasks import Outcome

_INTERVAL = 2.0
"""Seconds between accounts while no run ends."""


class Account(NamedTuple):
    """How far a sweep is."""

    runs: int
    done: int
    failed: int
    running: int
    work: float
    """Part of this call's work that is over, from 0 to 1, by the runs' costs; those under way in part."""
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
        Called with the account, first before any run, then whenever one ended and every two seconds, from one
        thread at a time.

    Raises
    ------
    InputError
        If results cannot be written.
    """
    store = RunStore(folder)
    store.write_manifest(plan.manifest)
    skipped = set(left.done) | (set() if retry else set(left.failures))
    tasks = _tasks(plan, folder, skipped)
    broken = 0 if retry else len(left.failures)
    account = Account(len(plan.keys), len(left.done), broken, place.running(len(tasks)), 0.0)
    board = _Board(account, place, tasks, store, on_event)
    with board.watched():
        for outcome in place.engine(tasks):
            board.over(outcome)
    return board.account


class _Board:
    """The account of a sweep that is being done, and who is told of it."""

    def __init__(
        self,
        account: Account,
        place: Place,
        tasks: Sequence[Task],
        store: RunStore,
        on_event: Callable[[Account], None] | None,
    ) -> None:
        self.account = account
        self._place, self._store, self._on_event = place, store, on_event
        self._costs = {task.key: task.cost for task in tasks}
        self._total = sum(self._costs.values()) or 1.0
        self._over = 0.0
        self._lock, self._ended = threading.Lock(), threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Tell of the account now, and again and again as runs under way say how far they are."""
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

    def over(self, outcome: Outcome) -> None:
        """A run ended."""
        with self._lock:
            self._over += self._costs.pop(outcome.task.key)
            self.account = self.account._replace(
                done=self.account.done + (not outcome.failed),
                failed=self.account.failed + outcome.failed,
                last=outcome,
            )
            self._tell()

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL):
            with self._lock, suppress(Exception):  # a lost scheduler is noticed by who awaits runs
                self._tell()

    def _tell(self) -> None:
        begun = sum(self._costs.get(key, 0.0) * share for key, share in self._store.shares().items())
        self.account = self.account._replace(
            running=self._place.running(len(self._costs)), work=(self._over + begun) / self._total
        )
        if self._on_event is not None:
            self._on_event(self.account)


def _tasks(plan: Plan, folder: Path, skipped: set[str]) -> Sequence[Task]:
    model, where = plan.sweep.model, str(folder.resolve())
    tasks = [
        Task(model, cell, key, where, model.cost(cell))
        for cell, key in zip(plan.sweep.cells, plan.keys, strict=True)
        if key not in skipped
    ]
    return sorted(tasks, key=lambda task: -task.cost)
