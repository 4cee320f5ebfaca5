"""What holds for every run, against made-up runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from superconsistency.stats.extremes import CONVERGED, EveryRun
from superconsistency.stats.measured import Measured
from superconsistency.stats.verdicts import REFUTED, SHOWN, Above, Below, Between
from superconsistency.stats.windows import Last

from .made_up import generator

DIMS = ("width", "learning_rate", "seed", "step")


def runs(ends: list[float], start: float = 0.0) -> xr.DataArray:
    values = np.stack([np.full(len(ends), start), np.array(ends), np.array(ends)], axis=-1)[None, None]
    coordinates = {"width": [8.0], "learning_rate": [0.5], "seed": range(len(ends)), "step": [0, 5, 6]}
    return xr.DataArray(values, coordinates, DIMS)


@pytest.mark.parametrize(
    ("ends", "judgement"),
    [
        ([0.2, 0.8], SHOWN),
        ([0.5], SHOWN),
        ([0.2, 1.1], REFUTED),
        ([-0.1, 0.3], REFUTED),
        ([2.0, 3.0], REFUTED),
    ],
)
def test_one_run_outside_refutes_what_is_said_of_every_run(ends: list[float], judgement: str) -> None:
    found = EveryRun()(generator(), Measured(runs(ends)), window=Last(2))
    assert found.judged(Between(0.0, 1.0)) == judgement
    assert found.interval == (min(ends), max(ends))


def test_a_diverged_run_counts_as_infinite() -> None:
    values = runs([0.2, 0.3])
    values[0, 0, 1, 1:] = np.nan
    step = xr.DataArray([[[-1, 4]]], dims=DIMS[:-1], coords={name: values[name] for name in DIMS[:-1]})
    found = EveryRun()(generator(), Measured(values, step), window=Last(2))
    assert found.interval == (0.2, math.inf)
    assert found.judged(Below(1.0)) == REFUTED
    assert found.judged(Above(0.1)) == SHOWN


def test_runs_that_did_not_converge_can_be_left_out() -> None:
    loss = runs([0.0, 0.1 * CONVERGED, 10 * CONVERGED], start=1.0)
    found = EveryRun(converged=True)(
        generator(), Measured(runs([0.2, 0.4, 9.0])), Measured(loss), window=Last(2)
    )
    assert found.interval == (0.2, 0.4)
    assert found.words.startswith("2 of 3 runs, which converged")
    slow = Measured(runs([0.5, 0.5, 0.5], start=1.0))
    none = EveryRun(converged=True)(generator(), Measured(runs([0.2, 0.4, 9.0])), slow, window=Last(2))
    assert none.open == "no run converged"


def test_without_runs_nothing_is_said() -> None:
    assert (
        EveryRun()(generator(), Measured(runs([0.2]).isel(learning_rate=[]))).open == "there is no such run"
    )
    missing = runs([0.2, math.nan], start=math.nan)
    assert EveryRun()(generator(), Measured(missing)).open == "1 of 2 runs are missing"
