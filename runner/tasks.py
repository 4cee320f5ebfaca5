"""One group of runs as something that can be sent to another process, and what comes back."""

from __future__ import annotations

import math
import platform
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import InputError, OutputError, invalid
from ..records.store import RunStore
from .plan import Named, group_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .models import Model

_LONGEST = 2000
"""Characters of a reason that are kept."""

_INTERVAL = 2.0
"""Seconds between reports of a group on how far it is."""


class Task(NamedTuple):
    """A group of runs to do."""

    model: Model
    named: Named
    folder: str
    """Folder of the results; a worker writes there itself."""
    cost: float
    """Work, in any unit."""

    @property
    def key(self) -> str:
        """The group's key."""
        return self.named.key


class Outcome(NamedTuple):
    """What became of a task."""

    task: Task
    reason: str = ""
    """Why it failed; empty if it did not."""
    best: tuple[float, float] = (math.nan, math.nan)
    """Learning rate and value of the least last loss; NaN where there is none."""

    @property
    def failed(self) -> bool:
        """Whether it did."""
        return bool(self.reason)


def execute(task: Task) -> Outcome:
    """Do a group of runs and keep its record; whatever breaks in it is kept as a failure.

    A group that is complete already, another process having done it, is not done again.

    Raises
    ------
    InputError
        If the result cannot be written, or this process would give other runs than were planned: then no
        other group could be done either.
    """
    store = RunStore(Path(task.folder))
    group, family, key = task.named
    with suppress(InputError):
        return Outcome(task, best=best_loss(store.load(family, key)))
    if group_key(task.model.skeleton(group)) != key:
        raise invalid(
            "worker", platform.node(),
            accepted="one with the data, source and package versions of where the sweep was planned",
            remedy="install the same there",
        )  # fmt: skip
    try:
        checkpoint = store.checkpoint(key)
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        record = task.model.run(group, checkpoint, Progress(store, key))
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{task.folder}: {error}") from error
    except Exception as error:  # a group may break in any way; the others go on
        return failed(task, reason_of(error))
    finally:
        store.forget(key)
    store.save(family, key, record)
    return Outcome(
        task, best=best_loss({str(name): part.to_numpy() for name, part in record.variables.items()})
    )


class Progress:
    """Reports how far a group is, in parts of what was left when it began or was resumed."""

    def __init__(self, store: RunStore, key: str) -> None:
        self.store, self.key = store, key
        self.before: float | None = None
        self.said = time.monotonic()

    def __call__(self, done: float, whole: float) -> None:
        """Take a report of training: work done, and in all."""
        part = done / whole
        if self.before is None:
            self.before = part
        now = time.monotonic()
        if now - self.said > _INTERVAL and self.before < 1:
            self.said = now
            self.store.tell(self.key, (part - self.before) / (1 - self.before))


def failed(task: Task, reason: str) -> Outcome:
    """A failure, kept with its reason."""
    RunStore(Path(task.folder)).fail(task.key, reason, map(dict, task.named.group.cells))
    return Outcome(task, reason)


def reason_of(error: BaseException) -> str:
    """An exception in words, with the place it comes from."""
    words = f"{type(error).__name__}: {error}".strip()
    frames = traceback.extract_tb(error.__traceback__)
    if frames and not isinstance(error, InputError):
        last = frames[-1]
        words += f" ({Path(last.filename).name}, line {last.lineno}, in {last.name})"
    return " ".join(words.split())[:_LONGEST]


def best_loss(values: Mapping[str, Any]) -> tuple[float, float]:
    """Learning rate and value of the least last finite loss of a group's variables; NaN if there is none."""
    if not {"loss", "learning_rate"} <= set(values) or np.ndim(values["loss"]) != 3:
        return math.nan, math.nan
    rates = np.atleast_1d(values["learning_rate"])
    runs = np.reshape(values["loss"], (rates.size, -1, np.shape(values["loss"])[-1]))
    found = [
        (float(rate), float(run[np.isfinite(run)][-1]))
        for rate, seeds in zip(rates, runs, strict=True)
        for run in seeds
        if np.isfinite(run).any()
    ]
    return min(found, key=lambda pair: pair[1], default=(math.nan, math.nan))
