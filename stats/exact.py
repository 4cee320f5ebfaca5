"""A number that is computed, not sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .estimates import Estimate, undetermined
from .measured import THROUGHOUT

if TYPE_CHECKING:
    import numpy as np

    from .measured import Measured
    from .windows import Window


@dataclass(frozen=True)
class Exact:
    """A single number, without an interval; infinity is one, NaN leaves the statistic open.

    Attributes
    ----------
    unit
        Unit of the number.
    """

    unit: str = "1"
    series = 1

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have: none."""
        return ()

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The number; nothing is drawn."""
        del generator, window
        (one,) = measured
        value = float(one.values)
        if math.isnan(value):
            return undetermined("there is no such number", self.unit)
        return Estimate(value, (value, value), self.unit, f"{value:.4g}, exactly")
