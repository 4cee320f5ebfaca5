"""Where along an axis something first happens, compared with a prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .estimates import Estimate, undetermined
from .measured import THROUGHOUT

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from .measured import Measured
    from .windows import Window

_ERRORS, _LEAST = 3.0, 1e-3
"""A Lyapunov exponent is positive above so many of its standard errors, and above this."""


@dataclass(frozen=True)
class Onset:
    """Where the first quantity first has a value, minus where the second one says that it does.

    Attributes
    ----------
    value
        What the first quantity has to be.
    resolution
        Largest grid spacing at the onset that decides anything: between the points of a coarser grid the
        value may have come and gone.
    over
        Name of the axis.

    Notes
    -----
    The interval is one grid spacing to either side: what the grid can resolve, without a sampling error. The
    statistic is open where the value is never met, where the grid is too coarse, and where the prediction is
    not inside the grid.
    """

    value: float
    resolution: float
    over: str = "factor"
    series = 2

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""
        return (self.over,)

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The difference; nothing is drawn."""
        del generator, window
        quantity, predicted = (one.values for one in measured)
        place, expected = quantity[self.over].to_numpy(), float(predicted)
        met = np.flatnonzero(quantity.to_numpy() == self.value)
        low, high = float(place[0]), float(place[-1])
        if not low < expected <= high:
            return undetermined(
                f"predicted at {expected:.4f}, and the grid goes from {low:.4f} to {high:.4f}"
            )
        if not met.size:
            return undetermined(f"met at none of {place.size} values, predicted at {expected:.4f}")
        first = int(met[0])
        spacing = float(np.max(np.diff(place)[max(first - 1, 0) : first + 1]))
        difference = float(place[first]) - expected
        words = f"first met at {place[first]:.4f}, predicted at {expected:.4f}, grid spacing {spacing:.2g}"
        coarse = f"{words}, which is above {self.resolution:g}" if spacing > self.resolution else ""
        interval = difference - spacing, difference + spacing
        return Estimate(difference, interval, "1", words, open=coarse)


def is_chaotic(exponents: xr.Dataset) -> xr.DataArray:
    """Whether the largest Lyapunov exponent is positive beyond its error: 1, or 0 where it is not.

    Parameters
    ----------
    exponents
        With `lyapunov` and its standard error `lyapunov_error`.
    """
    least = np.maximum(_ERRORS * exponents["lyapunov_error"], _LEAST)
    return (exponents["lyapunov"] > least).astype(np.int8)


def landmarks(diagram: xr.Dataset) -> dict[str, float]:
    """Where things first happen, in learning rates over the edge; NaN for what does not happen.

    Parameters
    ----------
    diagram
        From `simulations.attractors.bifurcation_diagram`.
    """
    mu, period = (diagram[name].to_numpy() for name in ("factor", "period"))
    exponent, chaotic = diagram["lyapunov"].to_numpy(), is_chaotic(diagram).to_numpy() == 1

    def first(where: NDArray[Any]) -> float:
        return float(mu[where].min()) if where.any() else math.nan

    return {
        "first period two": first(period == 2),
        "first period four": first(period == 4),
        "first period three": first(period == 3),
        "first chaos": first(chaotic),
        "share of chaos beyond first": float(chaotic[mu >= first(chaotic)].mean()) if chaotic.any() else 0.0,
        "largest exponent": float(np.nanmax(exponent)) if np.isfinite(exponent).any() else math.nan,
        "first divergence": first(period < 0),
    }
