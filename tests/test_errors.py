"""What functions take in place of numbers, names, seeds and paths."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import (
    TWINS,
    InputError,
    as_integer,
    as_names,
    as_number,
    as_numbers,
    as_path,
    as_rates,
    as_seeds,
    as_sizes,
    require_known,
    require_positive,
    require_whole,
)

FORMS: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "NumPy": np.array,
    "PyTorch": lambda values: torch.tensor(values, dtype=torch.float64),
    "xarray": xr.DataArray,
    "pandas": pd.Series,
    "NumPy's numbers": lambda values: [np.float64(value) for value in values],
    "arrays of one number": lambda values: [np.array(value) for value in values],
}


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=5))
@pytest.mark.parametrize("form", FORMS)
def test_numbers_are_the_same_plain_numbers_in_whatever_form(form: str, values: list[float]) -> None:
    found = as_numbers("values", FORMS[form](values), example=1)
    assert found == tuple(values)
    assert {type(value) for value in found} == {float}


@pytest.mark.parametrize(
    "number",
    [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), xr.DataArray(3), Fraction(3), np.float32(3)],
)
def test_one_number_of_any_library_is_a_list_of_one(number: Any) -> None:
    assert as_numbers("values", number, example=1) == (3,)
    assert as_number("value", number, example=1) == 3


def test_whole_numbers_stay_whole() -> None:
    assert [type(value) for value in as_numbers("values", range(2), example=1)] == [int, int]
    assert type(as_integer("value", np.int32(4), least=1, example=1)) is int


@pytest.mark.parametrize(
    "values",
    [
        None, "12", b"12", ["1", "2"], True, [True], [np.bool_(True)], {1, 2}, {1: 2}, [[1]], [None], object,
        np.zeros((2, 2)), np.array(["1"]), 1j, [1j], 10**400, [10**400], range(10**8),
        torch.zeros(1, requires_grad=True),
    ],
)  # fmt: skip
def test_what_is_no_list_of_numbers_is_refused_in_one_line(values: Any) -> None:
    with pytest.raises(InputError, match=r"^values is [^\n]*; accepted: [^\n]*; remedy: [^\n]*$"):
        as_numbers("values", values, example=1)


def test_an_object_that_cannot_be_shown_is_named_by_its_type() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(InputError, match="values is an object of type Broken"):
        as_numbers("values", Broken(), example=1)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5, unique=True))
def test_an_axis_is_ascending_and_has_no_twins(values: list[float]) -> None:
    ascending = sorted(values)
    twins = any(math.isclose(*pair, rel_tol=TWINS) for pair in pairwise(ascending))
    if twins:
        with pytest.raises(InputError, match="differ"):
            as_rates("learning rates", values, example=0.5)
    else:
        assert as_rates("learning rates", values, example=0.5) == tuple(ascending)


def test_sizes_are_whole_where_they_can_be() -> None:
    sizes = as_sizes("widths", [math.inf, 64.0, 2.5, 8], example=64)
    assert [(size, type(size)) for size in sizes] == [(2.5, float), (8, int), (64, int), (math.inf, float)]


@pytest.mark.parametrize("values", [[0.3, 0.1 + 0.2], [1.0, 1.0], []])
def test_rates_that_are_one_or_none_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="learning rates"):
        as_rates("learning rates", values, example=0.5)


def test_one_number_of_seeds_counts_them_and_a_list_lists_them() -> None:
    assert as_seeds(3) == as_seeds(range(3)) == as_seeds(np.array(3)) == as_seeds([2, 0, 1]) == (0, 1, 2)
    assert as_seeds([3]) == as_seeds((3.0,)) == (3,)


@pytest.mark.parametrize("seeds", [0, -1, 1.5, [], [1, 1], [-1], [0.5], "3", None, True])
def test_impossible_seeds_are_refused(seeds: Any) -> None:
    with pytest.raises(InputError, match="seed"):
        as_seeds(seeds)


def test_one_name_is_a_tuple_of_one() -> None:
    assert as_names("quantities", "loss") == ("loss",)
    assert as_names("quantities", ["loss", "sharpness"]) == ("loss", "sharpness")
    for wrong in (None, 1, {"loss"}, [1], [["loss"]]):
        with pytest.raises(InputError, match="quantities"):
            as_names("quantities", wrong)


def test_a_path_may_be_text() -> None:
    assert as_path("output", "a/b.nc") == as_path("output", Path("a/b.nc")) == Path("a/b.nc")
    assert as_path("output", PurePosixPath("a")) == Path("a")
    for wrong in (None, 1, b"a", "", "a\0b", ["a"]):
        with pytest.raises(InputError, match="output is"):
            as_path("output", wrong)


@pytest.mark.parametrize("value", ["1", None, True, [1], 1j, object(), 10**400, math.nan])
def test_checks_of_numbers_refuse_what_is_none(value: Any) -> None:
    with pytest.raises(InputError, match="rate is"):
        require_positive("rate", value, example=0.5)
    with pytest.raises(InputError, match="rate is"):
        require_whole("rate", value, least=0, example=1)


@pytest.mark.parametrize("value", [None, 1, ["mup"], {"mup"}])
def test_a_name_that_is_no_text_is_not_known(value: Any) -> None:
    with pytest.raises(InputError, match="accepted: mup, ntp"):
        require_known("parametrization", value, ("mup", "ntp"))
