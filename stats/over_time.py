"""How a quantity grows or shrinks in time: the exponent of a power law of the step, over a window."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import invalid, require_integer
from .coordinates import SEED, STEP, checked_table, require_resampling, require_size_name
from .power_laws import PowerLaw, no_law, power_law_fit
from .resolution import difference_floor, resolved
from .windows import EDGE, Throughout, common_steps, steps_inside

if TYPE_CHECKING:
    import xarray as xr

    from .windows import Edge, Window

SPAN = 3.0
"""Last step of a fit over its first, at least: over less, noise makes any exponent."""

POINTS = 3
"""Measurements of a fit, at least."""


def distance_to_largest(values: xr.DataArray, over: str = "width") -> xr.DataArray:
    """`g(t) = |S_N(t) - S_inf(t)|` of every run, the mean at the largest size standing for the limit (Eq. 3).

    Returns
    -------
    xarray.DataArray
        Dimensions (size, seed, step), the largest size left out. A distance below the rounding of the limit
        is zero.

    Raises
    ------
    InputError
        If a dimension is missing or left over, or a coordinate makes no sense.
    """
    require_size_name(over)
    table = checked_table(values, (over, SEED, STEP))
    limit = table.isel({over: -1}, drop=True).mean(SEED, skipna=False)
    distances = abs(table.isel({over: slice(None, -1)}) - limit)
    return resolved(distances, difference_floor(limit)).transpose(over, SEED, STEP)


def growth(
    values: xr.DataArray,
    generator: np.random.Generator,
    over: str = "width",
    *,
    window: Window | None = None,
    sharpness: xr.DataArray | None = None,
    edge: Edge = EDGE,
    span: float = SPAN,
    points: int = POINTS,
    resamples: int = 2000,
    level: float = 0.95,
) -> dict[float, PowerLaw]:
    """Power law `a t^beta` in time of the mean over seeds, at each size.

    Parameters
    ----------
    values
        Dimensions (size, seed, step), such as `distance_to_largest` gives; NaN where a run diverged.
    generator, resamples, level
        Intervals are from resampled seeds.
    over
        Name of the size axis.
    window
        Steps of the fits, every one by default; step 0 has no logarithm and is always left out. Where the
        window differs between runs, a size is fitted over the steps that are inside for all of its runs.
    sharpness, edge
        Sharpness of the runs, and its value at the edge of stability, for `AfterArrival`.
    span, points
        A law is open where the window's last step is less than `span` times the first, or has fewer points.

    Returns
    -------
    dict
        By size, ascending. Where there is no law, `open` says why.

    Raises
    ------
    InputError
        If a dimension is missing or left over, or a coordinate or setting makes no sense.
    """
    require_size_name(over)
    require_resampling(generator, resamples, level)
    require_integer("number of points", points, least=2, example=POINTS)
    if not span >= 1:
        raise invalid("span of the fit", span, accepted="at least 1", remedy=f"pass {SPAN:g}")
    table = checked_table(values, (over, SEED, STEP))
    chosen = Throughout() if window is None else window
    inside = steps_inside(chosen, table, sharpness, edge)
    fit = partial(power_law_fit, generator=generator, resamples=resamples, level=level)
    found: dict[float, PowerLaw] = {}
    for index, size in enumerate(table[over].to_numpy()):
        own = inside.sel({over: size}) if over in inside.dims else inside
        kept = common_steps(own).to_numpy() & (table[STEP].to_numpy() > 0)
        runs = table.isel({over: index, STEP: kept})
        reason = _obstacle(runs, chosen.words, span=span, points=points)
        found[float(size)] = no_law(reason) if reason else fit(runs[STEP].to_numpy(), runs.to_numpy())
    return found


def _obstacle(runs: xr.DataArray, window: str, *, span: float, points: int) -> str:
    """Why no law can be fitted to the runs (seed, step) of a size; empty where it can."""
    steps, numbers = runs[STEP].to_numpy(), runs.to_numpy()
    if not steps.size:
        return f"some run has no step {window}"
    lost = int((~np.isfinite(numbers)).any(axis=1).sum())
    if lost:
        return f"{lost} of {len(numbers)} runs diverged or are missing"
    usable = steps[numbers.mean(axis=0) > 0]
    if usable.size < points:
        return f"{usable.size} measurements above rounding {window}, which are fewer than {points}"
    if usable[-1] < span * usable[0]:
        return f"steps {usable[0]:g} to {usable[-1]:g} {window} span less than a factor {span:g}"
    return ""
