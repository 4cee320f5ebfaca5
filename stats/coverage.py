"""How often intervals cover what was predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy.special import betaincinv

from .coordinates import STEP
from .estimates import Estimate, interval_words, undetermined
from .measured import THROUGHOUT
from .resampling import tails

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from .measured import Measured
    from .verdicts import Interval
    from .windows import Window

QUANTITY = "quantity"
"""Name of the axis of measured quantities."""


def covered(bars: xr.Dataset) -> xr.DataArray:
    """Whether the interval of the sampled deviation covers the predicted one, where that holds; else NaN.

    Parameters
    ----------
    bars
        `predicted`, `sampled`, `lower`, `upper` and `holds` of one shape, as
        `simulations.error_bars.sample_error_bars` gives them.
    """
    inside = (bars["lower"] <= bars["predicted"]) & (bars["predicted"] <= bars["upper"])
    return inside.astype(float).where((bars["holds"] == 1) & bars["sampled"].notnull())


@dataclass(frozen=True)
class Coverage:
    """Share of cells whose interval covers the prediction, with a binomial interval.

    Attributes
    ----------
    over
        Name of the size axis.
    level
        Confidence level of the binomial interval.

    Notes
    -----
    The cells of a curve, one quantity at one size, are deviations of the same networks and are covered or
    missed together. So a curve counts as one trial, however many cells it has: the interval is the exact one
    of Clopper and Pearson for as many trials as there are curves with a cell.
    """

    over: str = "width"
    level: float = 0.95
    series = 1

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""
        return self.over, QUANTITY, STEP

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The share; values are 1 or 0, NaN where nothing was predicted, and every step counts."""
        del generator, window
        (one,) = measured
        predicted = one.values.notnull()
        curves, cells = int(predicted.any(STEP).sum()), int(predicted.sum())
        if not cells:
            return undetermined("no cell has a prediction")
        share = float(one.values.mean())
        interval = binomial_interval(share * curves, curves, self.level)
        words = (
            f"{share:.1%} of {cells} cells in {curves} curves "
            f"({interval_words(interval, '.1%', self.level)}, a curve as one trial)"
        )
        return Estimate(share, interval, "1", words)


def binomial_interval(successes: float, trials: float, level: float = 0.95) -> Interval:
    """Clopper and Pearson's interval of a probability; the counts need not be whole numbers."""
    failures = trials - successes
    low, high = tails(level)
    return (
        float(betaincinv(successes, failures + 1, low)) if successes > 0 else 0.0,
        float(betaincinv(successes + 1, failures, high)) if failures > 0 else 1.0,
    )
