from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from superconsistency.stats.fast_transfer import fast_transfer
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Below

from .made_up import RATES

SIZES = np.append(16.0 * 2.0 ** np.arange(7), math.inf)


def scaled(gap: float, shift: float) -> xr.DataArray:
    """Least loss `1 + N^gap`, log of the best rate `2 N^shift`, two equal seeds."""
    places = 2 * (SIZES / SIZES[0]) ** shift
    logs = np.log1p((SIZES / SIZES[0]) ** gap)[:, None] + (np.log(RATES) - places[:, None]) ** 2 / 8
    axes = {"width": SIZES, "learning_rate": RATES, "seed": range(2)}
    return xr.DataArray(np.exp(np.stack([logs, logs], axis=-1)), axes, tuple(axes))


@pytest.mark.parametrize(("gap", "shift", "judgement"), [(-0.5, -1.0, SHOWN), (-1.5, -0.25, REFUTED)])
def test_transfer_is_fast_where_the_carried_rate_costs_less_and_less_beside_the_size(
    gap: float, shift: float, judgement: str
) -> None:
    found = fast_transfer(scaled(gap, shift))
    assert found.estimate.judged(Below(0.0)) == judgement
    assert found.gap is not None
    assert found.gap.exponent == pytest.approx(gap, abs=0.01)
    assert found.excess is not None
    assert found.estimate.value == pytest.approx(2 * shift - gap, abs=0.15)  # the excess goes as the square
    assert found.sizes == tuple(SIZES[:-1])
    assert found.excesses[0] == pytest.approx(math.expm1(2**2 / 8), rel=0.05)


@pytest.mark.parametrize("law", [(-0.5, -1.0), (-1.5, -0.25)])
def test_a_finite_reference_makes_transfer_look_faster_and_never_shows_it(law: tuple[float, float]) -> None:
    true = fast_transfer(scaled(*law)).estimate
    found = fast_transfer(scaled(*law).isel(width=slice(None, -1)))
    assert found.reference == 1024
    assert found.estimate.value < true.value
    assert found.estimate.judged(Below(0.0)) != SHOWN
    assert found.estimate.interval[1] == math.inf


def test_too_few_sizes_or_an_optimum_at_the_edge_leave_it_open() -> None:
    few = fast_transfer(scaled(-0.5, -1.0).isel(width=[0, 1, 7]))
    assert few.estimate.judged(Below(0.0)) == UNDECIDED
    assert "fewer than 3" in few.estimate.open
    beyond = fast_transfer(scaled(-0.5, -1.0).isel(learning_rate=[0, 1, 2]))
    assert "the best rate of the largest size does not lie within the grid" in beyond.estimate.open
