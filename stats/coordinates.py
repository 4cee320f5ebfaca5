"""Entry checks of every statistic: dimensions, coordinates, and the settings of the resampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ..errors import invalid, require_integer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIZES = {"width": "N", "depth": "L"}
"""The usual size axes with their symbols; any other axis with positive values serves too."""

RATE, SEED, STEP = "learning_rate", "seed", "step"
"""Names of the axes beside the size."""

ALIKE = 1e-9
"""Relative distance up to which two sizes, or two rates, count as one value: 0.3 and 0.1 + 0.2 do."""

LEAST_RESAMPLES = 100
"""Fewer resamples do not resolve the ends of an interval."""


def symbol(over: str) -> str:
    """How a size is written in a sentence: `N` for the width, `L` for the depth, else its name."""
    return SIZES.get(over, over)


def checked_table(values: object, dims: Sequence[str], optional: Sequence[str] = ()) -> xr.DataArray:
    """Values with checked coordinates, ascending along every axis.

    Parameters
    ----------
    values
        An `xarray.DataArray`; NaN where there is no value.
    dims
        Dimensions it must have, in the order of the result.
    optional
        Dimensions it may have, which come last.

    Returns
    -------
    xarray.DataArray
        Sorted along each axis. Sizes, or rates, that are equal to 1e-9 are merged into one where each run
        has a value at one of them only, as after joining two grids.

    Raises
    ------
    InputError
        If a dimension is missing or left over, the values are no real numbers, a size or rate is not
        positive, a coordinate is NaN or occurs twice, or one run has values at two coordinates that are
        equal.
    """
    if not isinstance(values, xr.DataArray):
        raise invalid(
            "values", type(values).__name__, accepted="an xarray.DataArray",
            remedy="pass a variable of a record, such as record['loss']",
        )  # fmt: skip
    if values.dtype.kind not in "fiub":
        raise invalid(
            "type of the values", str(values.dtype), accepted="real numbers", remedy="convert them to float"
        )
    _require_dimensions(values, dims, optional)
    kept = [*dims, *(name for name in optional if name in values.dims)]
    table = values
    for name in kept:
        table = _ascending(table, name)
    return table.transpose(*kept)


def _require_dimensions(values: xr.DataArray, dims: Sequence[str], optional: Sequence[str]) -> None:
    found = tuple(map(str, values.dims))
    left_over = [name for name in found if name not in {*dims, *optional}]
    missing = [name for name in dims if name not in found]
    if not left_over and not missing:
        return
    accepted = ", ".join(dims[:-1]) + (" and " if len(dims) > 1 else "") + dims[-1]
    accepted += f", with or without {' and '.join(optional)}" if optional else ""
    remedy = (
        f"select one value of {left_over[0]}: values.isel({left_over[0]}=-1)"
        if left_over
        else f"add the axis: values.expand_dims('{missing[0]}')"
    )
    raise invalid("dimensions", found, accepted=accepted, remedy=remedy)


def _ascending(table: xr.DataArray, name: str) -> xr.DataArray:
    """The table sorted along a checked axis, twins merged."""
    if name == SEED:
        _require_distinct(table, name)
        return _sorted(table, name)
    places = _numbers(table, name)
    if name == STEP:
        _require_distinct(table, name)
        return _sorted(table, name)
    if name not in table.coords:
        raise invalid(
            f"coordinate {name}", "missing", accepted="a value for each place along the axis",
            remedy=f"add it: values.assign_coords({name}=[...])",
        )  # fmt: skip
    _require_positive(name, places)
    if table[name].dtype != np.float64:
        table = table.assign_coords({name: places})
    return _merge_twins(_sorted(table, name), name)


def _sorted(table: xr.DataArray, name: str) -> xr.DataArray:
    """The table ascending along an axis; itself where it is."""
    places = table[name].to_numpy()
    if (places[:-1] <= places[1:]).all():
        return table
    return table.isel({name: np.argsort(places, kind="stable")})


def _require_positive(name: str, places: NDArray[np.float64]) -> None:
    """Rates are finite too; a size may be infinite."""
    wrong = ~(places > 0) | (np.isinf(places) if name == RATE else False)
    if wrong.any():
        raise invalid(
            name.replace("_", " "), float(places[wrong][0]),
            accepted="finite numbers above 0" if name == RATE else "numbers above 0, or inf",
            remedy="leave this one out",
        )  # fmt: skip


def _numbers(table: xr.DataArray, name: str) -> NDArray[np.float64]:
    """A numeric coordinate without NaN, as floats."""
    if table[name].dtype.kind not in "fiu":
        raise invalid(
            f"coordinate {name}", str(table[name].to_numpy()[:1]), accepted="numbers", remedy="convert it"
        )
    places = table[name].to_numpy().astype(np.float64)
    if np.isnan(places).any():
        raise invalid(f"coordinate {name}", np.nan, accepted="numbers", remedy="leave this one out")
    return places


def _require_distinct(table: xr.DataArray, name: str) -> None:
    values, counts = np.unique(table[name].to_numpy(), return_counts=True)
    if (counts > 1).any():
        raise invalid(
            name, values[counts > 1][0].item(), accepted="each value once", remedy="leave the second out"
        )


def _merge_twins(table: xr.DataArray, name: str) -> xr.DataArray:
    """The sorted table with neighbours that are equal to `ALIKE` merged."""
    places = table[name].to_numpy()
    below, above = places[:-1], places[1:]
    with np.errstate(invalid="ignore"):  # inf - inf
        apart = np.where(np.isinf(above), np.isfinite(below), above - below > ALIKE * above)
    if apart.all():
        return table
    groups = np.split(np.arange(len(places)), np.flatnonzero(apart) + 1)
    return xr.concat([_merged(table.isel({name: group}), name) for group in groups], dim=name)


def _merged(twins: xr.DataArray, name: str) -> xr.DataArray:
    """One slice of twins under their shortest name; refused where a run has a value at several of them."""
    places = twins[name].to_numpy()
    if len(places) == 1:
        return twins
    if bool((twins.notnull().sum(name) > 1).any()):
        raise invalid(
            f"{name.replace('_', ' ')} values", tuple(places.tolist()),
            accepted=f"each value once, to {ALIKE:g} relative",
            remedy="these hold values of the same runs: leave one of them out",
        )  # fmt: skip
    shortest = min(range(len(places)), key=lambda index: len(repr(float(places[index]))))
    whole = twins.isel({name: [shortest]})
    for index in range(len(places)):
        other = twins.isel({name: [index]}).assign_coords({name: whole[name].to_numpy()})
        whole = whole.where(whole.notnull(), other)
    return whole


def finite(values: xr.DataArray) -> xr.DataArray:
    """Whether each value is finite."""
    return values.copy(data=np.isfinite(values.to_numpy()))


def finite_sizes(table: xr.DataArray, over: str, least: float = 0.0, fewest: int = 2) -> xr.DataArray:
    """The part of a table at finite sizes from `least` on.

    Raises
    ------
    InputError
        If fewer than `fewest` are left.
    """
    sizes = table[over].to_numpy()
    counted = np.isfinite(sizes) & (sizes >= least)
    if counted.sum() < fewest:
        raise invalid(
            f"number of finite {over}s that count", int(counted.sum()), accepted=f"at least {fewest}",
            remedy=f"add {over}s, or let narrower ones count" if least else f"add {over}s",
        )  # fmt: skip
    return table.isel({over: counted})


def require_resampling(generator: object, resamples: object, level: object = 0.5) -> np.random.Generator:
    """The generator, or `InputError` unless these settings give an interval."""
    if not isinstance(generator, np.random.Generator):
        raise invalid(
            "generator", generator, accepted="a numpy.random.Generator",
            remedy="pass numpy.random.default_rng(0)",
        )  # fmt: skip
    require_integer("number of resamples", resamples, least=LEAST_RESAMPLES, example=2000)
    require_level(level)
    return generator


def require_level(level: object) -> None:
    """Raise `InputError` unless a level of confidence lies between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise invalid("level", level, accepted="a number between 0 and 1, both excluded", remedy="pass 0.95")


def require_size_name(over: object) -> None:
    """Raise `InputError` unless this can be the name of a size axis."""
    if not isinstance(over, str) or over in {"", RATE, SEED, STEP}:
        raise invalid("size", over, accepted="the name of a size axis", remedy="pass width or depth")
