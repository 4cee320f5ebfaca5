"""Shares of covered cells, against made-up cells and the exact binomial law."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from superconsistency.stats.coverage import Coverage, binomial_interval
from superconsistency.stats.measured import Measured
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Between

from .made_up import generator


def cells(*curves: list[float]) -> Measured:
    values = np.array(curves)[:, None]
    return Measured(
        xr.DataArray(
            values, {"width": np.arange(1.0, 1 + len(curves)), "quantity": ["loss"]},
            ("width", "quantity", "step"),
        )
    )  # fmt: skip


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (3, 7), (19, 20), (20, 20)])
def test_the_interval_is_that_of_clopper_and_pearson(successes: int, trials: int) -> None:
    exact = stats.binomtest(successes, trials).proportion_ci(method="exact")
    assert binomial_interval(successes, trials) == pytest.approx((exact.low, exact.high))


def test_a_curve_is_one_trial_however_many_cells_it_has() -> None:
    short, long = (Coverage()(generator(), cells(*([[1.0] * size] * 9))) for size in (1, 40))
    assert short.interval == long.interval == binomial_interval(9, 9)
    assert "360 cells in 9 curves" in long.words


@pytest.mark.parametrize(
    ("missed", "judgement"), [(0, SHOWN), (1, SHOWN), (6, UNDECIDED), (18, REFUTED), (24, REFUTED)]
)
def test_predictions_that_miss_are_found(missed: int, judgement: str) -> None:
    curves = [[0.0] * 3] * missed + [[1.0] * 3] * (24 - missed)
    assert Coverage()(generator(), cells(*curves)).judged(Between(0.75, 1.0)) == judgement


def test_cells_without_a_prediction_do_not_count() -> None:
    found = Coverage()(generator(), cells([np.nan, 1.0, 0.0], [np.nan] * 3, [1.0, 1.0, np.nan]))
    assert found.value == 0.75
    assert "4 cells in 2 curves" in found.words
    nothing = Coverage()(generator(), cells([np.nan] * 3))
    assert nothing.open == "no cell has a prediction"
