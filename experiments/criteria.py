"""How claims are scored: the statistic, the window it is taken over, and what it is expected to be.

Tolerances stand here and nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

from ..stats.measured import Statistic
from ..stats.measures import Drift, ExponentInTime, Mean, SlopeOnSize
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

FREE_OF_SIZE = Criterion(SlopeOnSize(), AfterArrival(), Within(FLAT))
"""The quantity does not depend on the size, at every measured step from the arrival at the edge on."""

NOT_FREE_OF_SIZE = Criterion(SlopeOnSize(averaged=True), Last(), Outside(FLAT))
"""The quantity depends on the size at the end."""

FALLS_WITH_SIZE = Criterion(SlopeOnSize(averaged=True), Last(), Below(0.0))
"""The final quantity falls as the size grows."""

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
