from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from superconsistency import Ensemble, IsotropicTarget, parametrization, simulate
from superconsistency.errors import InputError
from superconsistency.stats.resolution import RESOLUTION, difference_floor, resolved, rounding_floor


def test_a_loss_is_resolved_as_far_as_the_square_of_rounding() -> None:
    loss = xr.DataArray(
        [[1.0, 1e-20, 1e-27, 1e-29, np.nan], [1e4, 1.0, 1e-23, 1e-25, 0.0]], dims=("seed", "step")
    )
    np.testing.assert_allclose(rounding_floor(loss), RESOLUTION**2 * np.array([1.0, 1e4]))
    np.testing.assert_array_equal(
        resolved(loss), [[1.0, 1e-20, 1e-27, 0.0, np.nan], [1e4, 1.0, 1e-23, 0.0, 0.0]]
    )


def test_final_values_alone_are_held_against_the_largest_of_all() -> None:
    final = xr.DataArray([1e-30, 1e-32, np.inf, 1e-60], dims="width")
    np.testing.assert_array_equal(resolved(final), [1e-30, 1e-32, np.inf, 0.0])


@given(st.floats(-1e300, 1e300, allow_subnormal=False))
def test_a_value_is_resolved_beside_itself(value: float) -> None:
    run = xr.DataArray([value, value], dims="step")
    np.testing.assert_array_equal(resolved(run), run)


@pytest.mark.parametrize("name", ["mup", "ntp"])
def test_the_floor_of_a_loss_is_above_what_rounding_leaves_of_a_latent_one(name: str) -> None:
    """Converged runs end where rounding stops them: there nothing is resolved, and before much is."""
    ensemble = Ensemble(parametrization(name), IsotropicTarget(20, 1.0), (64, 256), (1.0,), range(4))
    loss = simulate(ensemble, record_at=(0, 20, 2000, 3000))["loss"].isel(learning_rate=0)
    kept = resolved(loss)
    assert float(loss.sel(step=3000).max()) < 1e-28
    assert bool((kept.sel(step=3000) == 0).all())
    np.testing.assert_array_equal(kept.sel(step=[0, 20]), loss.sel(step=[0, 20]))


@pytest.mark.parametrize("floor", [-1.0, "much", np.nan, xr.DataArray([1.0], dims="batch"), [1.0, 2.0]])
def test_what_is_no_floor_is_refused_in_one_line(floor: Any) -> None:
    with pytest.raises(InputError, match="floor is ") as refused:
        resolved(xr.DataArray([1.0, 2.0], dims="step"), floor)
    assert "\n" not in str(refused.value)


def test_a_difference_is_resolved_to_the_rounding_of_what_it_is_of() -> None:
    values = xr.DataArray(np.array([1.0, 100.0]), dims="step")
    shifted = values * (1 + 10 * np.finfo(float).eps)
    assert bool((resolved(abs(shifted - values), difference_floor(values)) == 0).all())
    assert bool((resolved(abs(values * 1.0001 - values), difference_floor(values)) > 0).all())
