"""One run of a sweep as something that can be sent to another process, and what comes back."""

from __future__ import annotations

import math
import platform
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import InputError, OutputError, invalid
from ..records.store import RunStore, run_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .models import Cell, Model

_LONGEST = 2000
"""Characters of a reason that are kept."""

_SILENCE = 2.0
"""Seconds between words of a run on how far it is."""


class Task(NamedTuple):
    """A run to do."""

    model: Model
    cell: Cell
    key: str
    folder: str
    """Of the results; a worker writes there itself."""
    cost: float
    """Work, in any unit."""


class Outcome(NamedTuple):
    """What became of a task."""

    task: Task
    reason: str = ""
    """Why it failed; empty if it did not."""
    loss: float = math.nan
    """Last one measured."""

    @property
    def failed(self) -> bool:
        """Whether it did."""
        return bool(self.reason)


def execute(task: Task) -> Outcome:
    """Do a run and keep its record; whatever breaks in it is kept as a failure.

    A run that is complete already, another process having done it, is not done again.

    Raises
    ------
    InputError
        If the result cannot be written, or this process would give another run than was planned: then no
        other could be done either.
    """
    store = RunStore(Path(task.folder))
    with suppress(InputError):
        return Outcome(task, loss=last_loss(store.load(task.key)))
    if run_key(task.model.skeleton(task.cell)) != task.key:
        raise invalid(
            "worker",
            platform.node(),
            accepted="one with the data, source and package versions of where the sweep was planned",
            remedy="install the same there",
        )
    try:
        checkpoint = store.checkpoint(task.key)
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        record = task.model.run(task.cell, checkpoint, _Told(store, task.key))
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{task.folder}: {error}") from error
    except Exception as error:  # a run may break in any way; the others go on
        return failed(task, reason_of(error))
    finally:
        store.forget(task.key)
    store.save(task.key, record)
    return Outcome(task, loss=last_loss({str(name): record[name].to_numpy() for name in record.data_vars}))


class _Told:
    """Says for those who wait how far a run is: the part that is done of what was left when it went on."""

    def __init__(self, store: RunStore, key: str) -> None:
        self.store, self.key = store, key
        self.before: float | None = None
        self.said = time.monotonic()

    def __call__(self, done: float, whole: float) -> None:
        """As training reports: work done, and in all."""
        part = done / whole
        if self.before is None:
            self.before = part
        now = time.monotonic()
        if now - self.said > _SILENCE and self.before < 1:
            self.said = now
            self.store.tell(self.key, (part - self.before) / (1 - self.before))


def failed(task: Task, reason: str) -> Outcome:
    """A failure, kept with its reason."""
    RunStore(Path(task.folder)).fail(task.key, reason, dict(task.cell))
    return Outcome(task, reason)


def reason_of(error: BaseException) -> str:
    """An exception in words, with the place it comes from."""
    words = f"{type(error).__name__}: {error}".strip()
    frames = traceback.extract_tb(error.__traceback__)
    if frames and not isinstance(error, InputError):
        last = frames[-1]
        words += f" ({Path(last.filename).name}, line {last.lineno}, in {last.name})"
    return " ".join(words.split())[:_LONGEST]


def last_loss(values_of: Mapping[str, NDArray[Any]]) -> float:
    """The last finite loss of one run's variables; NaN if there is none."""
    if "loss" not in values_of:
        return math.nan
    values = values_of["loss"].ravel()
    finite = values[[math.isfinite(value) for value in values]]
    return float(finite[-1]) if finite.size else math.nan
