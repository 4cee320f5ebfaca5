"""Runs without a value to judge: missing, diverged and dead ones are three things."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from .coordinates import STEP, finite, symbol
from .resolution import RESOLUTION

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

TREND = 0.05
"""Probability below which the share of diverged runs counts as depending on the size."""


class Fate(IntEnum):
    """What became of a run."""

    TRAINED = 0
    DIVERGED = 1
    MISSING = 2
    DEAD = 3


def fates(loss: xr.DataArray, diverged_step: xr.DataArray | None = None) -> xr.DataArray:
    """What became of each run, as a number of `Fate`.

    Parameters
    ----------
    loss
        With the dimension step; NaN from the step of divergence on.
    diverged_step
        Step at which each run diverged, negative where it did not, as records keep it. Without it a run that
        has a value at first and none later has diverged, and one without any is missing.

    Returns
    -------
    xarray.DataArray
        Without the dimension step. A dead run is one whose loss never moved: its network gives the same
        outputs whatever its weights.
    """
    there = finite(loss)
    absent = ~there.any(STEP)
    diverged = ~there.isel({STEP: -1}, drop=True) & ~absent
    if diverged_step is not None:
        diverged = diverged_step >= 0
        absent = ~diverged & ~there.all(STEP)
    lowest, highest = loss.min(STEP), loss.max(STEP)
    still = there.all(STEP) & (highest - lowest <= RESOLUTION * abs(highest))
    dead = still & (loss.sizes[STEP] > 1)
    found: xr.DataArray = dead.astype(np.int8) * Fate.DEAD.value
    return found.where(~absent, Fate.MISSING.value).where(~diverged, Fate.DIVERGED.value)


def trend_probability(events: NDArray[np.bool_]) -> float:
    """Two-sided p-value of Kendall's rank correlation of events with their row; shape (rows, runs).

    By the normal approximation with ties; 1 where nothing varies.
    """
    rows, runs = events.shape
    size, count = events.size, int(events.sum())
    if rows < 2 or size < 3 or count in {0, size}:
        return 1.0
    excess = runs * int((2 * np.arange(rows) - rows + 1) @ events.sum(axis=1))  # concordant less discordant
    ties = np.full(rows, float(runs)), np.array([count, size - count], dtype=np.float64)
    pairs = [tied * (tied - 1) for tied in ties]
    triples = math.prod(float(pair @ (tied - 2)) for pair, tied in zip(pairs, ties, strict=True))
    lost = sum(float(pair @ (2 * tied + 5)) for pair, tied in zip(pairs, ties, strict=True))
    whole = size * (size - 1)
    both = float(pairs[0].sum()) * float(pairs[1].sum())
    variance = (whole * (2 * size + 5) - lost) / 18 + both / (2 * whole) + triples / (9 * whole * (size - 2))
    return 2 * float(ndtr(-abs(excess) / math.sqrt(variance)))


def counts_by_size(sizes: NDArray[np.float64], events: NDArray[np.bool_], over: str) -> str:
    """How many runs at which sizes, in words: `2 at N = 64, 1 at N = 256`; events of shape (size, run)."""
    parts = [
        f"{int(runs.sum())} at {symbol(over)} = {size:g}"
        for size, runs in zip(sizes, events, strict=True)
        if runs.any()
    ]
    return ", ".join(parts) if len(parts) <= 4 else f"{parts[0]}, {parts[1]}, ..., {parts[-1]}"


def diverged_words(sizes: NDArray[np.float64], events: NDArray[np.bool_], over: str) -> str:
    """Which sizes have how many diverged runs, in words; events of shape (size, run)."""
    whole = int((~events.any(axis=1)).sum())
    return (
        f"of {events.shape[1]} runs a {over}, diverged {counts_by_size(sizes, events, over)}, "
        f"none at {whole} of {len(events)} {over}s"
    )
