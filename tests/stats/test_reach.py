"""How soon runs arrive at the edge, and how large a rate they bear, against made-up runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.stats.measured import Measured
from superconsistency.stats.reach import ArrivalTime, Reach, arrival_steps
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Above, Within

from .made_up import generator

WIDTHS = np.array([16.0, 32.0, 64.0, 128.0])
EVERY = np.arange(0, 200, 2)


def rising(exponent: float, *, scatter: float = 0.05, seeds: int = 8, seed: int = 0) -> xr.DataArray:
    """Sharpness that is at 0.9 of the edge 1 after about `40 (N/16)^exponent` steps."""
    draws = np.exp(scatter * generator(seed).standard_normal((4, seeds)))
    times = 40 * (WIDTHS[:, None] / 16) ** exponent * draws
    values = 0.9 * EVERY / times[..., None]
    return xr.DataArray(
        values, {"width": WIDTHS, "seed": range(seeds), "step": EVERY}, ("width", "seed", "step")
    )


@pytest.mark.parametrize(("exponent", "judgement"), [(0.0, REFUTED), (0.4, SHOWN), (-0.4, REFUTED)])
def test_the_exponent_of_the_arrival_tells_whether_wide_networks_arrive_later(
    exponent: float, judgement: str
) -> None:
    found = ArrivalTime()(generator(), Measured(rising(exponent), edge=1.0))
    assert found.value == pytest.approx(exponent, abs=0.05)
    assert found.judged(Above(0.2)) == judgement
    assert "steps to 0.9 of the edge" in found.words


def test_the_interval_covers_the_exponent_as_often_as_it_says() -> None:
    hits = []
    for trial in range(300):
        values = rising(0.3, scatter=0.2, seed=trial).assign_coords(step=100 * EVERY)  # fine steps
        low, high = ArrivalTime(resamples=300)(generator(trial), Measured(values, edge=1.0)).interval
        hits.append(low <= 0.3 <= high)
    assert 0.91 <= np.mean(hits) <= 0.985


def test_runs_that_never_arrive_bound_the_exponent_from_one_side() -> None:
    """Wide networks that would arrive later still: the exponent is at least what the last step makes it."""
    values = rising(0.8)
    assert np.isnan(arrival_steps(values, 1.0)).any()
    later = ArrivalTime()(generator(), Measured(values, edge=1.0))
    assert later.interval[1] == math.inf
    assert later.judged(Above(0.0)) == SHOWN
    assert later.judged(Within(0.25)) == REFUTED
    assert "never arrive: " in later.words
    assert later.interval[0] <= 0.8
    narrow = values.assign_coords(width=WIDTHS[::-1])
    earlier = ArrivalTime()(generator(), Measured(narrow, edge=1.0))
    assert earlier.interval[0] == -math.inf
    assert earlier.judged(Above(0.0)) == REFUTED


def test_runs_that_never_arrive_on_both_sides_diverge_or_start_at_the_edge_leave_it_open() -> None:
    values = rising(0.0)
    values[0, 0], values[3, 0] = 0.1, 0.1
    found = ArrivalTime()(generator(), Measured(values, edge=1.0))
    assert found.open == "never arrive: 1 at N = 16, 1 at N = 128"
    assert found.judged(Above(0.0)) == UNDECIDED
    broken = rising(0.0)
    broken[1, 2, 5:] = np.nan
    assert (
        ArrivalTime()(generator(), Measured(broken, edge=1.0)).open
        == "diverged before they arrive: 1 at N = 32"
    )
    started = rising(0.0) + 5
    found = ArrivalTime()(generator(), Measured(started, edge=1.0))
    assert found.open == "at the edge from the start: 8 at N = 16, 8 at N = 32, 8 at N = 64, 8 at N = 128"


def test_a_run_that_diverges_after_it_arrived_has_arrived() -> None:
    values = rising(0.0)
    values[1, 2, 80:] = np.nan
    assert not ArrivalTime()(generator(), Measured(values, edge=1.0)).open


RATES = 0.5 * 2.0 ** np.arange(5)


def trained(limits: list[float], *, seeds: int = 2) -> xr.DataArray:
    """Losses at two steps that are there up to a largest rate at each width."""
    bears = RATES[None, :] <= np.array(limits)[:, None]
    final = np.where(bears, 1.0, np.nan)[..., None, None] * np.ones((len(limits), 5, seeds, 2))
    final[..., 0] = 2.0
    axes = {"width": WIDTHS[: len(limits)], "learning_rate": RATES, "seed": range(seeds), "step": [0, 10]}
    return xr.DataArray(final, axes, ("width", "learning_rate", "seed", "step"))


def test_a_series_that_bears_larger_rates_reaches_farther_by_what_the_grid_can_tell() -> None:
    found = Reach()(generator(), Measured(trained([4.0, 4.0])), Measured(trained([1.0, 0.5])))
    assert found.family == ((1.0, 3.0), (2.0, 4.0))  # between one below and one above the ratio of the rates
    assert found.judged(Above(0.0)) == SHOWN
    same = Reach()(generator(), Measured(trained([2.0, 2.0])), Measured(trained([2.0, 2.0])))
    assert same.family == ((-1.0, 1.0), (-1.0, 1.0))
    assert same.judged(Above(0.0)) == UNDECIDED


def test_a_grid_that_ends_too_early_bounds_the_reach_from_one_side() -> None:
    found = Reach()(generator(), Measured(trained([8.0, 8.0])), Measured(trained([1.0, 1.0])))
    assert found.family == ((2.0, math.inf),) * 2
    nothing = Reach()(generator(), Measured(trained([4.0, 4.0])), Measured(trained([0.1, 0.1])))
    assert nothing.family == ((3.0, math.inf),) * 2  # the second bears less than the least rate tried
    neither = Reach()(generator(), Measured(trained([8.0])), Measured(trained([8.0])))
    assert neither.family == ((-math.inf, math.inf),)
    apart = trained([4.0]).assign_coords(width=[7.0])
    assert "share no width" in Reach()(generator(), Measured(apart), Measured(trained([4.0]))).open


def test_one_seed_that_diverges_or_a_gap_in_the_grid_ends_the_reach() -> None:
    values = trained([8.0, 8.0])
    values[:, 2, 1, 1] = np.nan  # of one seed, at rate 2
    found = Reach()(generator(), Measured(values), Measured(trained([0.5, 0.5])))
    assert found.family == ((0.0, 2.0),) * 2


def test_arrival_needs_an_edge_above_zero() -> None:
    with pytest.raises(InputError, match=r"edge of stability is -1\.0"):
        ArrivalTime()(generator(), Measured(rising(0.0), edge=-1.0))
