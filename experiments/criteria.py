"""How claims are scored: the statistic, the window it is taken over, and what it is expected to be.

Tolerances stand here and nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

from ..records.paired_steps import FINAL_STEPS
from ..stats.coverage import Coverage
from ..stats.dependence import SLOPE_TOLERANCE
from ..stats.each_slope import SlopeOfEach
from ..stats.exact import Exact
from ..stats.extremes import CONVERGED, EveryRun
from ..stats.gaps import LargestGap
from ..stats.independence import IndependenceOfSize
from ..stats.limits import ApproachToLimit, ExponentInSize
from ..stats.measured import Statistic
from ..stats.measures import Drift, ExponentInTime, Mean, SlopeOnSize
from ..stats.onset import Onset
from ..stats.reach import ArrivalTime, Reach
from ..stats.verdicts import Above, Below, Between, Expectation, Outside, Within
from ..stats.windows import AfterArrival, Last, Throughout, Window


class Criterion(NamedTuple):
    """How a claim is scored."""

    statistic: Statistic
    window: Window
    expects: Expectation

    @property
    def follows_the_edge(self) -> bool:
        """Whether the window needs the sharpness of the runs."""
        return isinstance(self.window, AfterArrival)


FLAT = 0.05
"""Log-log slope on size that counts as none: 12% for a factor ten."""

MOVED = 0.25
"""Factors of two per doubling of the size that the best rate may move by and still transfer."""

AS_FAST = 0.25
"""Exponent in size of the time to the edge that counts as none: 19% per doubling."""


def free_of_width(least: float) -> Criterion:
    """The quantity does not depend on width, at every measured step from the arrival at the edge on.

    Widths below `least` do not count: the sharpness of narrow networks carries a correction of about 1/N.
    """
    return Criterion(SlopeOnSize(least=least), AfterArrival(), Within(FLAT))


NOT_FREE_OF_SIZE = Criterion(SlopeOnSize(averaged=True), Last(), Outside(FLAT))
"""The quantity depends on the size at the end."""

FALLS_WITH_SIZE = Criterion(SlopeOnSize(averaged=True), Last(), Below(0.0))
"""The final quantity falls as the size grows."""

SAME_AT_EVERY_SIZE = Criterion(SlopeOnSize(averaged=True), Last(), Within(0.1))
"""The final quantity is the same at every size, to 15% for a factor four."""

FALLS_CLEARLY_WITH_SIZE = Criterion(SlopeOnSize(averaged=True), Last(), Below(-0.3))
"""The final quantity falls by a third or more for a factor four."""

NEARS_THE_EDGE = Criterion(Mean(), AfterArrival(), Between(0.8, 1.3))
"""The sharpness over the edge of stability stays near 1 once it is there."""

SHRINKS = Criterion(ExponentInTime(), AfterArrival(), Below(0.0))
"""The quantity shrinks as a power of time from the arrival at the edge on."""

GROWS = Criterion(ExponentInTime(), AfterArrival(), Above(0.0))
"""The quantity grows as a power of time from the arrival at the edge on."""

AS_FAST_AT_EVERY_SIZE = Criterion(ArrivalTime(), Throughout(), Within(AS_FAST))
"""The sharpness arrives at the edge after as many steps at every size."""

LATER_WITH_SIZE = Criterion(ArrivalTime(), Throughout(), Above(0.0))
"""Larger networks arrive at the edge later."""

STANDS_STILL = Criterion(Mean(), Last(), Between(0.9, 1.1))
"""A ratio that is 1 where nothing happens."""

RISES = Criterion(Mean(), Last(), Above(1.5))
"""A ratio that is 1 where nothing happens is well above it."""

TRANSFERS = Criterion(Drift(tolerance=MOVED), Last(), Within(MOVED))
"""The best learning rate is the same at every size."""

MOVES = Criterion(Drift(tolerance=MOVED), Last(), Outside(MOVED))
"""The best learning rate is another one at every size."""

FARTHER = Criterion(Reach(), Throughout(), Above(0.0))
"""The first series trains at larger rates than the second."""

ROUNDING = 1e-9
"""Share of a range by which rounding may leave it."""

ENDS_INSIDE = Criterion(
    EveryRun(converged=True), Last(FINAL_STEPS, after=0.0), Between(-ROUNDING, 1.0 + ROUNDING)
)
"""A quantity that is 0 at one end of a range and 1 at the other ends inside, in every run that converged."""

SHORT = 0.9
"""Share of the edge of stability below which the sharpness has not come to it."""

FALLS_SHORT = Criterion(EveryRun(), Last(FINAL_STEPS, after=0.0), Below(SHORT))
"""The sharpness over the edge ends short of it in every run."""

CONVERGES = Criterion(EveryRun(), Last(1), Below(CONVERGED))
"""Every run ends with a loss that is nothing against the one it starts from."""

DOES_NOT_CONVERGE = Criterion(EveryRun(), Last(1), Above(CONVERGED))
"""No run ends so."""

COVERS = Criterion(Coverage(), Throughout(), Between(0.75, 1.0))
"""Intervals of 95% cover the prediction in most curves.

As many as 150 independent curves would have to be sampled before 0.95 could be told from 0.9. With 20 of them
a share of 0.95 is told from 0.75, and a prediction that misses by an interval's length covers less than that.
"""

GAP_FLOOR = 1e-6
"""Lowest loss at which curves are compared; Figure 10 ends there."""

APART = 1.0
"""Powers of ten by which aligned curves may differ; those of Figure 10 fall through eight."""

ALIGNED = Criterion(LargestGap(GAP_FLOOR), Throughout(), Within(APART))
"""The curves of two sizes lie nowhere as far apart as a factor of ten."""

NOT_ALIGNED = Criterion(LargestGap(GAP_FLOOR), Throughout(), Outside(APART))
"""Somewhere the curves of two sizes lie farther apart than a factor of ten."""

AS_FAR_AT_EVERY_SIZE = Criterion(SlopeOnSize(averaged=True, least=128), Last(), Within(FLAT))
"""The quantity ends the same at every size, narrow networks left aside."""

DIES_OUT = Criterion(ExponentInSize(), Throughout(), Below(0.0))
"""The distance to the limit falls as a power of the size, at every one of some steps."""

NEARS_AS_THE_ROOT = Criterion(ApproachToLimit(), Throughout(), Between(-0.6, -0.4))
"""The quantity nears that of infinite size as one over the root of the size."""


def over_sizes(
    quantity: str, expects: Expectation, tolerance: float = SLOPE_TOLERANCE, least: float = 1.0
) -> Criterion:
    """Whether a quantity depends on size at any step, with a tolerance of one's own.

    Parameters
    ----------
    quantity
        What it is called in a sentence.
    expects
        What the log-log slope is expected to be.
    tolerance
        Slope up to which the size does not matter.
    least
        Smaller sizes do not count.
    """
    return Criterion(IndependenceOfSize(quantity, tolerance=tolerance, least=least), Throughout(), expects)


RATE_STAYS = over_sizes("the best learning rate", Within(SLOPE_TOLERANCE))
"""The best learning rate of each network does not depend on the size."""

RATE_FALLS = over_sizes("the best learning rate", Below(-SLOPE_TOLERANCE))
"""The best learning rate of each network falls as the size grows."""

ONSET = 0.01
"""Distance of a bifurcation from its prediction, over the edge, that counts as none; coarser grids do not
decide."""


def begins(value: float) -> Criterion:
    """The first quantity first has a value where the second one says."""
    return Criterion(Onset(value, ONSET), Throughout(), Within(ONSET))


CHAOS_LATER = Criterion(Onset(1.0, ONSET), Throughout(), Above(0.0))
"""Chaos is first met beyond the learning rate that the second quantity says."""

IS_STABLE = Criterion(Exact(), Throughout(), Below(1.0))
"""A computed sharpness lies below the edge of stability, over which it is given."""

IS_PERIOD_TWO = Criterion(Exact(), Throughout(), Between(1.5, 2.5))
"""A computed period is two."""

IS_ALL = Criterion(Exact(), Throughout(), Above(0.999))
"""A computed share of some 2,000 starts is all of them."""

IS_NONE = Criterion(Exact(), Throughout(), Below(0.001))
"""A computed share of some 2,000 starts is none of them."""

AS_PREDICTED = 0.1
"""Distance of an exponent of activations from the predicted one that counts as none: a coordinate check's."""

NO_LAYER_DEPENDS = Criterion(SlopeOfEach(), Throughout(), Within(AS_PREDICTED))
"""The quantity depends on width in no layer at any step, by intervals that hold for all of them at once."""


def falls_as(exponent: float) -> Criterion:
    """The size of what networks give at the start is this power of the width."""
    expected = Between(exponent - AS_PREDICTED, exponent + AS_PREDICTED)
    return Criterion(SlopeOfEach((), "initialization"), Throughout(), expected)
