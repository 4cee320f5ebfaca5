"""What holds for every single run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .coordinates import RATE, SEED, STEP
from .estimates import Estimate, undetermined
from .measured import THROUGHOUT, diverged_runs, windowed
from .measures import run_means

if TYPE_CHECKING:
    from .measured import Measured
    from .windows import Window

CONVERGED = 1e-8
"""Loss over that at the start below which a run has converged."""


@dataclass(frozen=True)
class EveryRun:
    """Least and greatest over runs of each run's mean over the window.

    Attributes
    ----------
    over
        Name of the size axis.
    unit
        Unit of the values.
    converged
        Count only runs that converged: a second series is their loss, over that at the start or not.

    Notes
    -----
    The interval is the range of the runs at hand and has no sampling error: a statement about every run holds
    if it holds for both ends. A diverged run counts as infinite.
    """

    over: str = "width"
    unit: str = "1"
    converged: bool = False

    @property
    def series(self) -> int:
        """How many measured quantities it takes."""
        return 2 if self.converged else 1

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""
        return self.over, RATE, SEED, STEP

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The median over runs, and the range; nothing is drawn."""
        del generator
        one = measured[0]
        if not one.values.size:
            return undetermined("there is no such run", self.unit)
        runs = windowed(one, self.keep, window)
        if runs.open:
            return undetermined(runs.open, self.unit)
        means = run_means(runs.table, runs.inside)
        means = means.where(~diverged_runs(runs.table, one.diverged_step), np.inf)
        if self.converged:
            loss = measured[1].values.sel({name: means[name] for name in means.dims})
            means = means.where(loss.isel({STEP: -1}) < CONVERGED * loss.isel({STEP: 0}))
        count = int(means.notnull().sum())
        if not count:
            return undetermined("no run converged", self.unit)
        low, high = float(means.min()), float(means.max())
        which = f"{count} of {means.size} runs, which converged," if self.converged else f"{count} runs"
        words = f"{which} from {low:.4g} to {high:.4g} {window.words}"
        return Estimate(float(means.median()), (low, high), self.unit, words, ((low, low), (high, high)))
