from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency import Ensemble, IsotropicTarget, parametrization, schedule, simulate
from superconsistency.errors import InputError
from superconsistency.stats.windows import (
    AfterArrival,
    Last,
    Steps,
    Throughout,
    common_steps,
    final_steps,
    settled,
    steps_inside,
)

from .made_up import STEPS, curves


def kept(window: Any, values: xr.DataArray) -> list[int]:
    return [int(step) for step in values["step"].to_numpy()[window.inside(values).to_numpy()]]


def test_windows_of_steps_are_what_they_say() -> None:
    values = curves(0.0, noise=0.1)
    assert kept(Throughout(), values) == STEPS.tolist()
    assert kept(Last(2), values) == [16]
    assert kept(Last(2, after=0.0), values) == [8, 16]
    assert kept(Last(99, after=0.0), values) == [1, 2, 4, 8, 16]
    assert kept(Steps(1, 4), values) == [1, 2, 4]
    assert kept(Steps(2), values) == [2, 4, 8, 16]
    assert kept(Steps(), values) == [1, 2, 4, 8, 16]
    assert kept(Last(2, after=0.1), values.isel(step=slice(None, None, -1))) == [16, 8]
    words = [window.words for window in (Throughout(), Last(1), Last(2), Steps(1, 4), Steps(2))]
    assert words == [
        "throughout", "at the last measurement", "over the last 2 measurements", "from step 1 to 4",
        "from step 2 on",
    ]  # fmt: skip


def sharpening() -> xr.DataArray:
    """Two widths, two seeds: at 0.9 of the edge 2 at steps 2, 4 and 2; one run never."""
    runs = [[[0, 1, 1.9, 2, 1.5, 2], [0, 1, 1.7, 1.9, 2, 2]], [[0, 1, 1.8, 2, 2, 2], [0, 1, 1, 1, 1, 1.7]]]
    axes = {"width": [64.0, 128.0], "seed": [0, 1], "step": STEPS}
    return xr.DataArray(np.array(runs, dtype=float), axes, ("width", "seed", "step"))


def test_after_the_arrival_a_run_is_inside_though_it_falls_back() -> None:
    values = sharpening()
    inside = AfterArrival().inside(values, values, 2.0)
    first = [values["step"].to_numpy()[row].tolist()[:1] for row in inside.to_numpy().reshape(4, -1)]
    assert first == [[2], [4], [2], []]
    assert bool(inside.isel(width=0, seed=0, step=slice(2, None)).all())
    assert common_steps(inside.isel(width=0)).to_numpy().tolist() == [False] * 3 + [True] * 3
    assert not bool(common_steps(inside).any())


def test_every_run_may_have_an_edge_of_its_own() -> None:
    values = sharpening()
    edge = xr.DataArray([2.0, 1.0], {"width": [64.0, 128.0]}, "width")
    inside = AfterArrival(0.95).inside(values, values, edge)
    first = [values["step"].to_numpy()[row].tolist()[:1] for row in inside.to_numpy().reshape(4, -1)]
    assert first == [[2], [4], [1], [1]]


def test_the_sharpness_is_matched_to_the_values_whatever_its_order() -> None:
    values = sharpening()
    expected = AfterArrival().inside(values, values, 2.0)
    shuffled = values.isel(width=[1, 0], step=[3, 1, 0, 5, 4, 2])
    xr.testing.assert_equal(steps_inside(AfterArrival(), values, shuffled, 2.0), expected)
    narrow = values.isel(width=[0], step=[2, 5])
    found = steps_inside(AfterArrival(), narrow, values, 2.0)
    np.testing.assert_array_equal(found, expected.isel(width=[0], step=[2, 5]))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Last(0), "number of last measurements is 0"),
        (lambda: Last(2, after=1.0), "share of the run is 1.0"),
        (lambda: Last(2.0), "number of last measurements is 2.0"),  # type: ignore[arg-type]
        (lambda: Steps(5, 2), "window is .5, 2."),
        (lambda: Steps(-1, 2), "window is"),
        (lambda: AfterArrival(0.0), "part of the edge is 0.0"),
        (lambda: AfterArrival(math.nan), "part of the edge is nan"),
        (lambda: AfterArrival().inside(sharpening()), "sharpness is None.*remedy: pass sharpness="),
        (lambda: AfterArrival().inside(sharpening(), sharpening(), 0.0), "edge of stability is 0.0"),
        (
            lambda: steps_inside(AfterArrival(), sharpening(), sharpening().isel(step=[0, 1]), 2.0),
            "step of the",
        ),
        (lambda: settled(sharpening().to_numpy()), "values is ndarray"),  # type: ignore[arg-type]
        (lambda: settled(sharpening().isel(step=0)), "dimensions is .*accepted: step among them"),
    ],
)
def test_windows_that_make_no_sense_are_refused_in_one_line(build: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        build()
    assert "\n" not in str(refused.value)


def test_a_diverged_run_has_no_settled_value() -> None:
    values = xr.DataArray([[1.0, 2.0, 3.0, 5.0], [1.0, 2.0, 3.0, math.nan]], dims=("seed", "step"))
    final = settled(values, measurements=2)
    assert final[0] == 4.0
    assert np.isnan(final[1])


@pytest.mark.parametrize("steps", [[0, 16], [0, 3, 6], [0, 1, 2, 3], [0, 2, 4, 6, 8, 10], [5, 6], [7]])
def test_neither_the_start_nor_the_first_half_is_part_of_the_final_value(steps: list[int]) -> None:
    values = xr.DataArray(np.arange(10.0, 10 + len(steps)), {"step": steps}, "step")
    later = [step for step in steps if step > steps[-1] / 2][-3:]
    assert final_steps(values) == tuple(later)
    assert float(settled(values)) == pytest.approx(float(values.sel(step=later).mean()))
    assert float(settled(values.isel(step=slice(None, None, -1)))) == pytest.approx(float(settled(values)))


def test_a_run_that_is_only_started_has_no_final_value() -> None:
    with pytest.raises(InputError, match=r"recorded steps is \(0,\); accepted: at least one after step 0"):
        settled(xr.DataArray([1.0], {"step": [0]}, "step"))


def test_the_final_loss_of_a_sweep_recorded_at_its_ends_is_that_at_its_end() -> None:
    ensemble = Ensemble(parametrization("mup"), IsotropicTarget(20, 1.0), (64, 128), (0.25, 0.5), range(3))
    record = simulate(ensemble, record_at=schedule(16, every=16))
    xr.testing.assert_allclose(settled(record["loss"]), record["loss"].sel(step=16, drop=True))
