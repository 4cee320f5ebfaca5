"""Interpolated optima and their drift against curves whose optima are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.stats.transfer import learning_rate_transfer

RATES = 2.0 ** np.arange(-3, 4)


def losses(optima: dict[float, float], *, noise: float = 0.0, seeds: int = 1) -> xr.DataArray:
    """Loss `exp((log rate - log optimum)^2)` at every width."""
    draw = np.random.default_rng(0)
    table = np.array([np.exp((np.log(RATES) - math.log(best)) ** 2) for best in optima.values()])
    runs = table[..., None] * np.exp(noise * draw.standard_normal((*table.shape, seeds)))
    axes = {"width": list(optima), "learning_rate": RATES, "seed": range(seeds)}
    return xr.DataArray(runs, axes, tuple(axes))


@given(
    drift=st.floats(-0.5, 0.5),
    start=st.floats(0.6, 1.6),
    widths=st.lists(st.sampled_from([16, 32, 64, 128]), min_size=3, max_size=4, unique=True),
)
def test_a_parabola_in_logarithms_is_found_exactly(drift: float, start: float, widths: list[int]) -> None:
    optima = {float(width): start * (width / 32) ** drift for width in sorted(widths)}
    found = learning_rate_transfer(losses(optima))
    np.testing.assert_allclose(found.optima, list(optima.values()), rtol=1e-6)
    assert found.drift == pytest.approx(drift, abs=1e-6)
    assert not any(found.at_edge)


def test_the_interval_holds_the_drift_of_noisy_losses() -> None:
    optima = {float(width): (width / 64) ** 0.25 for width in (16, 32, 64, 128, 256)}
    found = learning_rate_transfer(losses(optima, noise=0.02, seeds=3))
    assert found.interval[0] < 0.25 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.3


def test_an_optimum_at_the_end_of_the_grid_or_beside_divergence_is_marked() -> None:
    table = losses({16.0: 100.0, 32.0: 1.0, 64.0: 1.0})
    table.loc[{"width": 64.0, "learning_rate": 2.0}] = np.nan
    found = learning_rate_transfer(table)
    assert found.at_edge == (True, False, True)
    assert "(edge)" in found.words


def test_order_does_not_matter_and_two_widths_have_no_interval() -> None:
    table = losses({64.0: 2.0, 16.0: 1.0})
    found = learning_rate_transfer(table.isel(learning_rate=slice(None, None, -1)))
    assert found.widths == (16.0, 64.0)
    assert found.drift == pytest.approx(0.5)
    assert "too few widths" in found.words


@pytest.mark.parametrize("lost", [1, 2])
def test_widths_at_which_everything_diverged_do_not_count(lost: int) -> None:
    table = losses({16.0: 1.0, 32.0: 1.0, 64.0: 1.0})
    table[:lost] = np.nan
    if lost == 1:
        assert learning_rate_transfer(table).widths == (32.0, 64.0)
    else:
        with pytest.raises(InputError, match="number of widths with a best learning rate is 1"):
            learning_rate_transfer(table)
