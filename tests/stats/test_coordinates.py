from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.stats.coordinates import checked_table

from .made_up import bowls, curves

DIMS = ("width", "learning_rate", "seed")
RUNS = ("width", "seed", "step")


def table(widths: Any = (64.0, 128.0), rates: Any = (0.5, 1.0), seeds: Any = (0, 1)) -> xr.DataArray:
    """Numbers in the order of their places."""
    shape = (len(widths), len(rates), len(seeds))
    return xr.DataArray(
        np.arange(1.0, 1 + math.prod(shape)).reshape(shape),
        {"width": list(widths), "learning_rate": list(rates), "seed": list(seeds)},
        DIMS,
    )


@given(st.permutations([0, 1, 2]), st.permutations([0, 1, 2, 3]), st.permutations([0, 1]))
def test_values_are_sorted_along_every_axis_whatever_their_order(
    widths: list[int], rates: list[int], seeds: list[int]
) -> None:
    expected = table((64.0, 128.0, math.inf), (0.1, 0.2, 0.5, 1.0))
    shuffled = expected.isel(width=widths, learning_rate=rates, seed=seeds).transpose("seed", "width", ...)
    xr.testing.assert_identical(checked_table(shuffled, DIMS), expected)


def test_recorded_steps_are_sorted_and_may_be_left_without_a_coordinate() -> None:
    values = curves(0.0, noise=0.1)
    backwards = values.isel(step=slice(None, None, -1))
    xr.testing.assert_identical(checked_table(backwards, RUNS), values)
    bare = values.drop_vars("step")
    assert checked_table(bare, RUNS).sizes["step"] == values.sizes["step"]


@pytest.mark.parametrize("name", ["width", "learning_rate"])
def test_twins_that_hold_the_runs_of_two_joined_grids_are_one_value(name: str) -> None:
    """As after joining grids at 0.3 and at 0.1 + 0.2: the missing half of each is NaN."""
    values = [0.3, 0.1 + 0.2, 0.6]
    parts = table(values, (1.0, 2.0)) if name == "width" else table((1.0, 2.0), values)
    other = "learning_rate" if name == "width" else "width"
    joined = parts.copy(deep=True)
    joined.loc[{name: values[0], other: 2.0}] = np.nan
    joined.loc[{name: values[1], other: 1.0}] = np.nan
    found = checked_table(joined, DIMS)
    assert found[name].to_numpy().tolist() == [0.3, 0.6]
    assert bool(found.notnull().all())
    for place, value in ((1.0, values[0]), (2.0, values[1])):
        np.testing.assert_array_equal(
            found.sel({name: 0.3, other: place}), parts.sel({name: value, other: place})
        )


@pytest.mark.parametrize("twin", [1.0, 1 + 1e-15, 1 + 5e-10])
@pytest.mark.parametrize("name", ["width", "learning_rate"])
def test_twins_that_hold_the_same_runs_are_refused(name: str, twin: float) -> None:
    parts = table((1.0, twin)) if name == "width" else table(rates=(1.0, twin))
    with pytest.raises(
        InputError, match=rf"{name.replace('_', ' ')} values is \(1.0, .*each value once"
    ) as refused:
        checked_table(parts, DIMS)
    assert "\n" not in str(refused.value)


def test_values_that_differ_by_more_than_rounding_are_two() -> None:
    assert checked_table(table((1.0, 1 + 1e-8)), DIMS).sizes["width"] == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (table((0.0, 64.0)), "width is 0.0; accepted: numbers above 0, or inf"),
        (table((-1.0, 64.0)), "width is -1.0"),
        (table((math.nan, 64.0)), "coordinate width is nan"),
        (table(("a", "b")), "coordinate width is .*accepted: numbers"),
        (table(rates=(0.0, 1.0)), "learning rate is 0.0; accepted: finite numbers above 0"),
        (table(rates=(1.0, math.inf)), "learning rate is inf"),
        (table(rates=(1.0, math.nan)), "coordinate learning_rate is nan"),
        (table(seeds=(3, 3)), "seed is 3; accepted: each value once"),
        (table().drop_vars("width"), "coordinate width is missing"),
        (table().isel(seed=0), "dimensions is .*remedy: add the axis: values.expand_dims.'seed'"),
        (table().expand_dims(step=[1, 2]), "dimensions is .*remedy: select one value of step"),
        (table().astype(complex), "type of the values is complex128"),
        (table().to_numpy(), "values is ndarray; accepted: an xarray.DataArray"),
        (None, "values is NoneType"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(values: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        checked_table(values, DIMS)
    assert "\n" not in str(refused.value)


def test_steps_that_occur_twice_are_refused() -> None:
    values = curves(0.0, noise=0.1)
    with pytest.raises(InputError, match="step is 1; accepted: each value once"):
        checked_table(values.assign_coords(step=[0, 1, 1, 4, 8, 16]), RUNS)


def test_checks_leave_the_values_alone() -> None:
    values = bowls([1.0, 2.0])
    xr.testing.assert_identical(checked_table(values, DIMS), values)
