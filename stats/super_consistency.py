"""Super-consistency of a measured quantity over width, depth or another size.

Its slope at every step, and its distance to the largest networks in time (Eq. 3), with a verdict in words.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from ..errors import require_whole
from .coordinates import SEED, STEP, checked_table, require_size_name, symbol
from .dependence import SizeVerdict, judge_size
from .over_time import distance_to_largest, growth
from .slopes import size_slopes

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from .power_laws import PowerLaw
    from .verdicts import Judgement

CONSISTENT = 0.05
"""Log-log slope that counts as none for trained networks: 12% for a factor ten."""


class Consistency(NamedTuple):
    """How a quantity depends on the size of networks along training."""

    over: str
    """Name of the size axis."""
    slopes: xr.Dataset
    """At each step, over all sizes, as `size_slopes` gives them."""
    judged: SizeVerdict
    """On all recorded steps together."""
    distances: xr.DataArray
    """Distance of each run below the largest size from the mean at that size; (size, seed, step)."""
    growth: dict[float, PowerLaw]
    """Power law in time of the mean distance, by size; open where there is none."""

    @property
    def judgement(self) -> Judgement:
        """On the expectation that the size does not matter."""
        return self.judged.judgement

    @property
    def verdict(self) -> str:
        """The judgement in its own words, such as `width-independent`."""
        return self.judged.verdict

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        laws = [
            f"{symbol(self.over)} = {size:g}: {law}"
            for size, law in self.growth.items()
            if not math.isnan(law.exponent)
        ]
        grown = (
            f"; distance to the largest goes as a power of time, exponents {', '.join(laws)}" if laws else ""
        )
        return self.judged.sentence + grown


def consistency(
    values: xr.DataArray,
    generator: np.random.Generator,
    *,
    name: str = "the quantity",
    over: str = "width",
    tolerance: float = CONSISTENT,
    resamples: int = 2000,
) -> Consistency:
    """Whether a quantity takes the same course at every width, depth or other size.

    Parameters
    ----------
    values
        Dimensions (size, seed, step); positive, NaN where a run diverged (`records.results.whole_sizes`
        leaves out sizes with runs that are missing).
    generator, resamples
        Source of the bootstrap resamples of seeds, and their number.
    name
        What the quantity is called in the sentence.
    over
        Name of the size axis.
    tolerance
        Absolute log-log slope up to which the size does not matter.

    Returns
    -------
    Consistency
        Undecided where there are too few seeds to say. The power laws in time are over every step: `growth`
        fits them over a window.

    Raises
    ------
    InputError
        If fewer than two sizes or steps have values, there are further dimensions, or a setting makes no
        sense.
    """
    require_size_name(over)
    table = checked_table(values, (over, SEED, STEP))
    require_whole("number of recorded steps", table.sizes[STEP], least=2, example=10)
    judged = judge_size(table, generator, over=over, name=name, tolerance=tolerance, resamples=resamples)
    slopes = size_slopes(table, generator, over=over, resamples=resamples)
    distances = distance_to_largest(table, over)
    laws = growth(distances, generator, over, resamples=resamples)
    return Consistency(over, slopes, judged, distances, laws)
