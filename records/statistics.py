"""How a quantity depends on width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from ..errors import invalid

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray


class WidthDependence(NamedTuple):
    """A quantity's dependence on width, from repeated runs at each of several widths."""

    slope: float
    """Slope of log quantity against log width; zero means no dependence."""
    interval: tuple[float, float]
    """95% confidence interval of the slope; infinite with fewer than three points."""
    spread: float
    """Largest mean over smallest mean, minus one."""
    means: tuple[float, ...]
    """Mean over runs at each width, widths ascending."""
    widths: tuple[float, ...]
    """The finite widths, ascending."""
    runs: int
    """Runs that entered: those with a positive, finite value, not the diverged ones."""
    left_out: int
    """Runs at finite widths that did not enter."""


def width_dependence(values: xr.DataArray) -> WidthDependence:
    """Measure the dependence on width of a positive quantity with dimensions `width` and `seed`.

    The slope is that of a least-squares line through all runs' (log width, log value).

    Raises
    ------
    InputError
        If fewer than two finite widths have a run with a positive, finite value.
    """
    table = values.transpose("width", "seed")
    finite = table.isel(width=np.isfinite(table["width"].to_numpy())).sortby("width")
    widths = finite["width"].to_numpy()
    numbers = np.where(finite.to_numpy() > 0, finite.to_numpy(), np.nan)
    usable = np.isfinite(numbers)
    if usable.any(axis=1).sum() < 2:
        raise invalid(
            "widths with a finite, positive value",
            int(usable.any(axis=1).sum()),
            accepted="at least 2",
            remedy="add widths, or lower the learning rate if runs diverged",
        )
    x = np.repeat(np.log(widths)[:, None], numbers.shape[1], axis=1)[usable]
    slope, interval = _slope(x, np.log(numbers[usable]))
    means = [float(np.mean(row[mask])) for row, mask in zip(numbers, usable, strict=True) if mask.any()]
    kept = tuple(float(width) for width, mask in zip(widths, usable, strict=True) if mask.any())
    runs = int(usable.sum())
    spread = max(means) / min(means) - 1
    return WidthDependence(slope, interval, spread, tuple(means), kept, runs, usable.size - runs)


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    fit = stats.linregress(x.tolist(), y.tolist())
    degrees = x.size - 2
    slope = float(fit.slope)
    if degrees < 1:
        return slope, (-math.inf, math.inf)
    reach = float(stats.t.ppf(0.975, degrees) * fit.stderr)
    return slope, (slope - reach, slope + reach)


def settled(values: xr.DataArray, measurements: int = 3) -> xr.DataArray:
    """Mean over the last measurements of each run, which averages out minibatch noise.

    A run that diverged has no last measurements: its value is NaN.
    """
    return values.isel(step=slice(-measurements, None)).mean("step", skipna=False)
