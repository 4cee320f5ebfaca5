"""Where runs are done: the interface, and this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .tasks import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .tasks import Outcome, Task

    Run = Callable[[Sequence[Task]], Iterator[Outcome]]


class Executor(NamedTuple):
    """Where groups of runs are done, and how many at once."""

    run: Run
    """Does tasks, giving their outcomes in the order in which they end."""
    workers: int
    words: str
    alive: Callable[[], int] | None = None
    """Returns how many workers there are now; None if that never changes."""

    def running(self, waiting: int) -> int:
        """Number of groups under way while so many have not ended."""
        return min(waiting, self.workers if self.alive is None else self.alive())


def _in_turn(tasks: Sequence[Task]) -> Iterator[Outcome]:
    for task in tasks:
        yield execute(task)


HERE = Executor(_in_turn, 1, "in this process")
"""One group after the other, in this process."""
