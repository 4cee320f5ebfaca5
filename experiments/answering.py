"""Carries out an experiment from end to end: what ran, what was found, and how it is told and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from . import judging, running, telling
from .base import LAPTOP
from .telling import findings_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import xarray as xr
    from matplotlib.figure import Figure

    from ..records.tables import Table
    from ..runner import Executor
    from .base import Experiment
    from .judging import Finding
    from .running import Circumstances


class Answer(NamedTuple):
    """An experiment that was carried out and judged."""

    experiment: Experiment
    scale: str
    runs: Mapping[str, xr.Dataset]
    """By arm."""
    findings: list[Finding]

    @property
    def document(self) -> dict[str, Any]:
        """Everything found, with what produced it, as plain values."""
        return telling.document(self.experiment, self.findings, self.runs, self.scale)

    @property
    def tables(self) -> list[Table]:
        """The experiment's tables, and that of the findings."""
        own = [one.table(self.runs) for one in self.experiment.tables]
        return [*own, findings_table(self.findings)] if self.findings else own

    @property
    def parts(self) -> list[Table | str]:
        """What is printed."""
        return [*self.tables]

    @property
    def record(self) -> xr.Dataset | None:
        """The runs of an experiment of one arm."""
        return next(iter(self.runs.values())) if len(self.runs) == 1 else None

    def draw(self) -> Figure:
        """The experiment's panels."""
        from .drawing import draw  # noqa: PLC0415 - loads matplotlib

        return draw(self.experiment, self.runs)


def ask(
    experiment: Experiment,
    scale: str = LAPTOP,
    *,
    folder: Path | None = None,
    circumstances: Circumstances | None = None,
    seed: int = 0,
    executor: Executor | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> Answer:
    """Carry out an experiment, and judge it.

    Parameters
    ----------
    experiment, scale
        What to ask.
    folder
        Keeps the runs, so that a later call repeats nothing that is complete; None keeps nothing.
    circumstances
        Data, threads, device, first seed, and settings of one's own.
    seed
        Seed of the resamples of the statistics.
    executor
        Where runs are done; by default this process.
    on_progress
        Called with (work done, in all).

    Raises
    ------
    InputError
        If a run is not possible, or failed.
    """
    further = {} if executor is None else {"executor": executor}
    runs = running.run(experiment, scale, folder, circumstances, on_progress=on_progress, **further)
    return Answer(experiment, scale, runs, judging.judge(experiment, runs, seed))
