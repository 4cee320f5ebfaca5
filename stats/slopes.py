"""Slopes of a quantity on width at every step, with intervals that hold at each step and at all at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.special import ndtr, ndtri, stdtrit

from ..errors import require_whole
from .power_laws import resample_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def width_slopes(
    values: xr.DataArray, generator: np.random.Generator, *, resamples: int = 2000, level: float = 0.95
) -> xr.Dataset:
    """Slope of log quantity on log width at each step, with intervals.

    The slope is that of the line through the means over seeds of the log. A width enters at a step if all its
    runs have a finite, positive value there: those that survive at a width where others diverged are no fair
    sample of it. Infinite widths do not enter.

    Parameters
    ----------
    values
        Dimensions (width, seed), and step and learning_rate where there are any.
    generator
        Draws the resamples: seeds with replacement, within each width.
    resamples
        Bootstrap resamples.
    level
        Of the intervals.

    Returns
    -------
    xarray.Dataset
        With the dimension step: `slope`; `lower` and `upper`, the interval of each step (percentiles);
        `family_lower` and `family_upper`, which hold at all steps at once (sup-t, Montiel Olea and
        Plagborg-Moller 2019); `widths`, how many entered; `change`, the relative change for a factor ten of
        width. Intervals are widened for few seeds (Hesterberg 2015, with Satterthwaite's degrees of freedom);
        with one seed they are infinite. Where fewer than two widths enter all is NaN.

    Raises
    ------
    InputError
        If there are fewer than two finite widths.
    """
    if "learning_rate" in values.dims:
        parts = [
            width_slopes(values.isel(learning_rate=index), generator, resamples=resamples, level=level)
            for index in range(values.sizes["learning_rate"])
        ]
        return xr.concat(parts, dim=values["learning_rate"])
    table = finite_widths(values)
    widths, numbers = table["width"].to_numpy(), table.to_numpy()
    logs = np.log(np.where(np.isfinite(numbers) & (numbers > 0), numbers, np.nan))
    slope, entered, weights = _lines(np.log(widths), logs)
    found = {"slope": slope, "change": np.expm1(math.log(10) * slope), "widths": entered}
    found |= _intervals(slope, logs, weights, generator, resamples=resamples, level=level)
    return xr.Dataset(
        {quantity: ("step", part) for quantity, part in found.items()},
        {"step": table["step"].to_numpy() if "step" in table.coords else [0]},
        {"least_width": float(widths[0]), "greatest_width": float(widths[-1])},
    )


def finite_widths(values: xr.DataArray, least_width: float = 1) -> xr.DataArray:
    """The finite widths, ascending; dimensions (width, seed, step).

    Raises
    ------
    InputError
        If there are fewer than two.
    """
    table = values if "step" in values.dims else values.expand_dims("step")
    widths = table["width"].to_numpy()
    counted = np.isfinite(widths) & (widths >= least_width)
    require_whole("number of finite widths that count", int(counted.sum()), least=2, example=3)
    return table.isel(width=counted).sortby("width").transpose("width", "seed", "step")


def _lines(x: Floats, logs: Floats) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Slopes (step,), widths that entered (step,), and the weight of each width's mean (width, step)."""
    means = logs.mean(axis=1)
    usable = np.isfinite(means)
    entered = usable.sum(axis=0)
    centre = np.where(usable, x[:, None], 0.0).sum(axis=0) / np.maximum(entered, 1)
    centred = np.where(usable, x[:, None] - centre, 0.0)
    square = (centred**2).sum(axis=0)
    enough = entered >= 2
    weights = centred / np.where(enough, square, 1.0)
    slope = np.where(enough, (weights * np.where(usable, means, 0.0)).sum(axis=0), np.nan)
    return slope, entered, weights


def _intervals(
    slope: Floats,
    logs: Floats,
    weights: Floats,
    generator: np.random.Generator,
    *,
    resamples: int,
    level: float,
) -> dict[str, Floats]:
    """Ends of the intervals, each (step,), of slopes (step,) from logs (width, seed, step)."""
    seeds = logs.shape[1]
    if seeds < 2:
        ends = np.where(np.isfinite(slope), np.inf, np.nan)
        return {"lower": -ends, "upper": ends, "family_lower": -ends, "family_upper": ends}
    spread = logs - logs.mean(axis=1, keepdims=True)
    spread = np.where(np.isfinite(spread), spread, 0.0)  # these have no weight
    means = np.stack([resample_means(runs, generator, resamples) for runs in spread])
    drawn = np.einsum("wbt,wt->bt", means, weights) * math.sqrt(seeds / (seeds - 1))
    variances = weights**2 * spread.var(axis=1, ddof=1) / seeds
    error = np.sqrt(variances.sum(axis=0))
    squares = (variances**2).sum(axis=0)
    degrees = (seeds - 1) * np.divide(error**4, squares, out=np.full_like(error, np.inf), where=squares > 0)
    lower, upper = (1 - level) / 2, (1 + level) / 2
    widened = stdtrit(degrees, upper) / ndtri(upper)
    low, high = np.quantile(drawn, (lower, upper), axis=0)
    scaled = np.divide(np.abs(drawn), error, out=np.zeros_like(drawn), where=error > 0)
    # The least degrees of freedom, since with few seeds those of each step are known poorly themselves.
    reach = np.abs(stdtrit(degrees.min(), ndtr(-np.quantile(scaled.max(axis=1), level)))) * error
    return {
        "lower": slope + widened * low,
        "upper": slope + widened * high,
        "family_lower": slope - reach,
        "family_upper": slope + reach,
    }
