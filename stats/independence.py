"""Whether a quantity depends on size, as a statistic: the verdict of `judge_size` in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .coordinates import STEP, checked_table
from .dependence import DIVERGING, SLOPE_TOLERANCE, clearest, farthest, judge_size
from .divergence import TREND, counts_by_size, trend_probability
from .estimates import Estimate, undetermined
from .measured import THROUGHOUT, OverSizes, missing_runs
from .verdicts import REFUTED, UNDECIDED
from .windows import common_steps, steps_inside

if TYPE_CHECKING:
    from .dependence import SizeVerdict
    from .measured import Measured
    from .windows import Window


@dataclass(frozen=True)
class IndependenceOfSize(OverSizes):
    """Slope of log value on log size, from the largest three sizes down: `judge_size`.

    Attributes
    ----------
    name
        What the quantity is called in the sentence; empty is the name of the values.
    tolerance
        Absolute log-log slope up to which the size does not matter; an expectation within it gets the
        judgement of `judge_size`.
    least
        Smaller sizes do not count for the verdict.

    Notes
    -----
    Where the share of diverged runs depends on the size the slope is infinite: beyond every tolerance. Sizes
    at which a run has no value at any step, although it did not diverge, are left out; where the share of
    those runs depends on the size nothing is decided.
    """

    name: str = ""
    tolerance: float = SLOPE_TOLERANCE
    least: float = 1

    def verdict(
        self, generator: np.random.Generator, measured: Measured, window: Window = THROUGHOUT
    ) -> SizeVerdict:
        """The verdict of `judge_size` over the steps inside the window; errors as there."""
        table = checked_table(measured.values, self.keep)
        if STEP in table.coords:
            inside = common_steps(steps_inside(window, table, measured.sharpness, measured.edge))
            table = table.isel({STEP: np.flatnonzero(inside.to_numpy())})
        return judge_size(
            table, generator, over=self.over, name=self.name or str(measured.values.name).replace("_", " "),
            tolerance=self.tolerance, least=self.least, floor=measured.floor, resamples=self.resamples,
        )  # fmt: skip

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The slope where it decides, the intervals behind it, and the verdict in words."""
        (one,) = measured
        table = checked_table(one.values, self.keep)
        sizes, lost = table[self.over].to_numpy(), missing_runs(table, one.diverged_step)
        aside = f"without a value {counts_by_size(sizes, lost, self.over)}" if lost.any() else ""
        whole = ~lost.any(axis=1)
        counted = np.isfinite(sizes) & (sizes >= self.least) & whole
        if aside and (counted.sum() < 2 or trend_probability(lost) < TREND):
            return undetermined(aside)
        found = self.verdict(generator, one._replace(values=table.isel({self.over: whole})), window)
        sentence = found.sentence + (f"; {aside}" if aside else "")
        if found.judgement == UNDECIDED:
            return undetermined(sentence)
        if found.family == (DIVERGING,):
            return Estimate(float("nan"), DIVERGING, "1", sentence)
        slopes = found.wide_slopes
        at = slopes.isel({STEP: clearest(slopes) if found.judgement == REFUTED else farthest(slopes)})
        interval = float(at["family_lower"]), float(at["family_upper"])
        return Estimate(float(at["slope"]), interval, "1", sentence, found.family)
