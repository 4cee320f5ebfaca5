from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.stats.over_time import distance_to_largest, growth
from superconsistency.stats.windows import AfterArrival, Last, Steps

from .made_up import STEPS, WIDTHS, curves, generator


def test_the_distance_to_the_widest_has_the_power_of_time_that_was_put_in() -> None:
    values = curves(0.0, noise=0.0, seeds=2)
    values = values * 0 + 1 + (STEPS / WIDTHS[:, None] ** 0.5 * (WIDTHS[:, None] < 128))[:, None, :] ** 1.5
    distances = distance_to_largest(values)
    assert distances.sizes["width"] == 3
    assert [law.exponent for law in growth(distances, generator()).values() if law] == pytest.approx(
        [1.5] * 3
    )


def in_time(
    law: object, *, widths: list[float], seeds: int = 6, noise: float = 0.0, steps: object = None
) -> xr.DataArray:
    """`law(step, width)` with independent noise of the logarithm."""
    times = np.asarray(np.r_[0, 2 ** np.arange(9)] if steps is None else steps)
    values = np.array([[law(float(step), width) for step in times] for width in widths])  # type: ignore[operator]
    noisy = values[:, None] * np.exp(noise * generator().standard_normal((len(widths), seeds, len(times))))
    return xr.DataArray(
        noisy, {"width": widths, "seed": range(seeds), "step": times}, ("width", "seed", "step")
    )


def test_the_exponent_from_the_arrival_on_is_not_that_of_the_whole_run() -> None:
    """A flat start and a jump at the edge reverse the sign of the exponent that the run has afterwards."""
    arrives = {8.0: 32, 64.0: 16}
    distance = in_time(
        lambda t, width: 1e-3 if t < arrives[width] else (t / arrives[width]) ** -0.8,
        widths=[8.0, 64.0],
        noise=0.02,
    )
    sharpness = in_time(lambda t, width: 2.0 if t >= arrives[width] else 1.0, widths=[8.0, 64.0])
    whole = growth(distance, generator())
    after = growth(distance, generator(), window=AfterArrival(), sharpness=sharpness, edge=2.0)
    for width in arrives:
        assert whole[width].exponent > 0.5
        assert whole[width].bent
        assert after[width].exponent == pytest.approx(-0.8, abs=0.05)
        assert not after[width].open
    assert (after[8.0].points, after[64.0].points) == (4, 5)


def test_a_window_that_is_too_short_leaves_the_law_open_with_the_reason() -> None:
    values = in_time(lambda t, _: (1 + t) ** 0.5, widths=[8.0, 64.0], noise=0.1)
    assert "2 measurements" in growth(values, generator(), window=Last(2, after=0.1))[8.0].open
    dense = in_time(lambda t, _: (1 + t) ** 0.5, widths=[8.0, 64.0], noise=0.1, steps=range(20))
    found = growth(dense, generator(), window=Steps(10, 19))[8.0]
    assert found.open == "steps 10 to 19 from step 10 to 19 span less than a factor 3"
    assert math.isnan(found.exponent)
    assert found.interval == (-math.inf, math.inf)
    assert not growth(dense, generator(), window=Steps(10, 19), span=1.5)[8.0].open
    late = growth(values, generator(), window=AfterArrival(), sharpness=values * 0, edge=2.0)[8.0]
    assert late.open == "some run has no step from the arrival at 0.9 of the edge on"


def test_a_diverged_run_leaves_the_law_of_its_size_open_and_the_others_alone() -> None:
    values = in_time(lambda t, _: (1 + t) ** 0.5, widths=[8.0, 64.0], noise=0.1)
    values[1, 2, 5:] = np.nan
    found = growth(values, generator())
    assert not found[8.0].open
    assert found[64.0].open == "1 of 6 runs diverged or are missing"
    assert not growth(values, generator(), window=Steps(1, 8))[64.0].open


def test_distances_below_the_rounding_of_the_limit_are_zero_and_enter_no_law() -> None:
    values = in_time(
        lambda t, width: 1.0 + (1e-3 * (1 + t) ** -20 if width < 64 else 0.0), widths=[8.0, 16.0, 64.0]
    )
    distances = distance_to_largest(values)
    steps = values["step"].to_numpy()
    np.testing.assert_array_equal(
        (distances == 0).all(("width", "seed")), 1e-3 * (1.0 + steps) ** -20 < 1.42e-14
    )
    assert "fewer than 3" in growth(distances, generator())[8.0].open


def test_steps_in_any_order_give_the_same_law() -> None:
    values = distance_to_largest(curves(0.2, noise=0.1))
    shuffled = values.isel(step=[3, 1, 0, 5, 4, 2], width=[2, 0, 1])
    assert growth(values, generator()) == growth(shuffled, generator())
    assert list(growth(shuffled, generator())) == WIDTHS[:-1].tolist()
    assert len(STEPS) == 6


@pytest.mark.parametrize(
    ("changes", "words"), [({"span": 0.5}, "span of the fit is 0.5"), ({"points": 1}, "points is 1")]
)
def test_a_fit_of_no_span_or_no_points_is_refused(changes: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        growth(curves(0.0, noise=0.1), generator(), **changes)  # type: ignore[arg-type]
