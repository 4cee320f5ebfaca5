"""What float64 resolves: values below it never enter a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ..errors import invalid
from .coordinates import STEP

if TYPE_CHECKING:
    Floor = xr.DataArray | float | None

RESOLUTION = 64 * float(np.finfo(np.float64).eps)
"""Relative rounding error that a computed quantity is taken to carry: 1.4e-14, some dozen operations'."""


def rounding_floor(values: xr.DataArray) -> xr.DataArray:
    """The least size at which a value is resolved: `RESOLUTION**2` of the largest one of its run.

    A loss is a squared residual. The residual is the difference of two numbers of the size it starts from,
    so it carries their rounding error, and the loss its square: 2e-28 of the loss at the start. No other
    quantity is resolved further down than that.

    Parameters
    ----------
    values
        Any dimensions; values that are not finite are left out.

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`; where the values have none, the largest value of all runs is the scale.
    """
    sizes = abs(values).where(np.isfinite(values), 0.0)
    largest = sizes.max(STEP) if STEP in values.dims else sizes.max()
    return RESOLUTION**2 * largest


def difference_floor(reference: xr.DataArray) -> xr.DataArray:
    """The least size at which the difference of two values is resolved, given one of them."""
    return RESOLUTION * abs(reference)


def resolved(values: xr.DataArray, floor: Floor = None) -> xr.DataArray:
    """Values with zero in place of those at or below the floor; NaN stays.

    Parameters
    ----------
    values
        Any dimensions.
    floor
        A number, or an array whose dimensions are among those of the values; None is `rounding_floor`.

    Raises
    ------
    InputError
        If the floor is neither.
    """
    return values.where(~(abs(values) <= checked_floor(values, floor)), 0.0)


def checked_floor(values: xr.DataArray, floor: Floor) -> xr.DataArray | float:
    """The floor of values, the rounding one for None.

    Raises
    ------
    InputError
        If it is neither a number from zero on nor an array whose dimensions are among those of the values.
    """
    if floor is None:
        return rounding_floor(values)
    if isinstance(floor, xr.DataArray):
        if set(floor.dims) <= set(values.dims):
            return floor
        shown: object = floor.dims
    else:
        if isinstance(floor, int | float) and floor >= 0:
            return floor
        shown = floor
    raise invalid(
        "floor", shown, accepted="a number of at least 0, or an array over dimensions of the values",
        remedy="pass None, for the rounding of the largest value",
    )  # fmt: skip
