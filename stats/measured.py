"""What a statistic takes: a measured quantity, what became of its runs, and the edge of stability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from .coordinates import SEED, STEP, checked_table, finite
from .divergence import TREND, counts_by_size, trend_probability
from .resolution import resolved
from .windows import EDGE, Throughout, Window, steps_inside

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from .estimates import Estimate
    from .resolution import Floor
    from .windows import Edge

THROUGHOUT = Throughout()


class Measured(NamedTuple):
    """A quantity of several runs."""

    values: xr.DataArray
    """With the axes that the statistic keeps; NaN from the step of divergence on, and for missing runs."""
    diverged_step: xr.DataArray | None = None
    """Step at which each run diverged, negative where it did not; no dimension step. Without it a run without
    a value at the end counts as diverged, and one without any as missing."""
    sharpness: xr.DataArray | None = None
    """Sharpness of the runs, for a window that starts at the edge of stability."""
    edge: Edge = EDGE
    """Sharpness at the edge of stability: a number, or one for each run."""
    floor: Floor = None
    """Values at or below it are not resolved; None is `rounding_floor`."""


class Statistic(Protocol):
    """A number that a claim rests on, configured first and then called."""

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""

    @property
    def series(self) -> int:
        """How many measured quantities it compares."""

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The number with its interval, over a window of steps."""


@dataclass(frozen=True, kw_only=True)
class OverSizes:
    """What statistics of one quantity over sizes, seeds and steps share.

    Attributes
    ----------
    over
        Name of the size axis.
    resamples
        Number of bootstrap resamples of the runs.
    """

    over: str = "width"
    resamples: int = 2000
    series = 1

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""
        return self.over, SEED, STEP


class Runs(NamedTuple):
    """Checked runs over a window."""

    table: xr.DataArray
    """Sorted values, unresolved ones zero."""
    inside: xr.DataArray
    """Whether a step is inside the window: dimension step, and those of the runs where they differ."""
    open: str
    """Why they cannot decide anything; empty where they can."""


def windowed(measured: Measured, dims: tuple[str, ...], window: Window) -> Runs:
    """Checked runs of the dimensions asked for, with the window and what stands against a verdict.

    Runs that are missing, or have no step inside the window, leave the statistic open.
    """
    table = resolved(checked_table(measured.values, dims), measured.floor)
    inside = steps_inside(window, table, measured.sharpness, measured.edge)
    missing = missing_runs(table, measured.diverged_step)
    if missing.any():
        return Runs(table, inside, f"{int(missing.sum())} of {missing.size} runs are missing")
    empty = ~inside.any(STEP)
    if bool(empty.any()):
        who = f"{int(empty.sum())} of {empty.size} runs have" if empty.ndim else "there is"
        return Runs(table, inside, f"{who} no step {window.words}")
    return Runs(table, inside, "")


def missing_runs(table: xr.DataArray, diverged_step: xr.DataArray | None) -> NDArray[np.bool_]:
    """Whether each run has no value although it did not diverge."""
    absent = ~finite(table).any(STEP)
    if diverged_step is None:
        return np.asarray(absent.to_numpy())
    return np.asarray((absent & ~_diverged(diverged_step, absent)).to_numpy())


def diverged_runs(table: xr.DataArray, diverged_step: xr.DataArray | None) -> xr.DataArray:
    """Whether each run of a table with steps diverged; dimensions of the runs."""
    if diverged_step is None:
        return ~finite(table.isel({STEP: -1}, drop=True))
    return _diverged(diverged_step, table.isel({STEP: 0}, drop=True))


def _diverged(diverged_step: xr.DataArray, runs: xr.DataArray) -> xr.DataArray:
    """Whether each run diverged, in the order of the runs; one without a step did not."""
    steps = checked_table(diverged_step, [str(name) for name in diverged_step.dims])
    own = {name: runs[name] for name in steps.dims if name in runs.coords}
    return (steps.reindex(own) >= 0).broadcast_like(runs).transpose(*runs.dims)


def undiverged_sizes(
    table: xr.DataArray, diverged_step: xr.DataArray | None, over: str
) -> tuple[xr.DataArray, str, str]:
    """The sizes without diverged runs, which were left out in words, and why the rest cannot decide.

    Networks that survive at a size where others diverged are no fair sample; and where larger networks
    diverge more often, or less, nothing is said by the sizes at which none did.
    """
    lost = diverged_runs(table, diverged_step).transpose(over, SEED).to_numpy()
    if not lost.any():
        return table, "", ""
    words = f"diverged {counts_by_size(table[over].to_numpy(), lost, over)}"
    whole = table.isel({over: ~lost.any(axis=1)})
    if trend_probability(lost) < TREND:
        return whole, words, f"the share of diverged runs depends on the {over}: {words}"
    return whole, words, ""
