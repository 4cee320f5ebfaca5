from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from superconsistency.stats.exact import Exact
from superconsistency.stats.measured import Measured
from superconsistency.stats.onset import Onset, is_chaotic, landmarks
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED, Above, Below, Judgement, Within

GENERATOR = np.random.default_rng(0)


def periods(*values: int, spacing: float = 0.1) -> Measured:
    factors = 0.5 + spacing * np.arange(len(values))
    return Measured(xr.DataArray(list(values), {"factor": factors}, ("factor",)))


def at(place: float) -> Measured:
    return Measured(xr.DataArray(place))


@pytest.mark.parametrize(
    ("place", "tolerance", "verdict"),
    [(0.7, 0.11, SHOWN), (0.75, 0.2, SHOWN), (0.7, 0.05, UNDECIDED), (0.55, 0.04, REFUTED)],
)
def test_an_onset_is_known_to_one_grid_spacing(place: float, tolerance: float, verdict: Judgement) -> None:
    found = Onset(2.0, 1.0)(GENERATOR, periods(1, 1, 2, 2, 4), at(place))
    assert found.value == pytest.approx(0.7 - place)
    assert found.interval == pytest.approx((0.6 - place, 0.8 - place))
    assert found.judged(Within(tolerance)) == verdict


def test_an_uneven_grid_resolves_as_far_as_the_wider_neighbour() -> None:
    values = xr.DataArray([1, 2, 2], {"factor": [0.5, 0.6, 1.6]}, ("factor",))
    found = Onset(2.0, 1.0)(GENERATOR, Measured(values), at(0.6))
    assert found.interval == pytest.approx((-1.0, 1.0))


def test_a_grid_that_may_have_skipped_the_onset_decides_nothing() -> None:
    """Period four may have come and gone between 1.2 and 1.3, and this be a later window of it."""
    found = Onset(4.0, 0.05)(GENERATOR, periods(1, 1, 2, 2, 4), at(0.75))
    assert found.judged(Within(0.01)) == UNDECIDED
    assert "grid spacing 0.1, which is above 0.05" in found.open
    assert Onset(4.0, 0.1 + 1e-9)(GENERATOR, periods(1, 1, 2, 2, 4), at(0.75)).judged(Within(0.01)) == REFUTED


@pytest.mark.parametrize("place", [0.5, 0.4, 1.3])
def test_a_prediction_outside_the_grid_decides_nothing(place: float) -> None:
    assert Onset(2.0, 1.0)(GENERATOR, periods(1, 1, 2, 2, 4), at(place)).judged(Within(9.0)) == UNDECIDED


def test_what_is_never_met_decides_nothing() -> None:
    found = Onset(3.0, 1.0)(GENERATOR, periods(1, 1, 2, 2, 4), at(0.7))
    assert found.judged(Within(9.0)) == UNDECIDED
    assert "met at none of 5 values" in found.open


def test_a_first_rate_that_has_it_already_refutes_a_later_prediction() -> None:
    assert Onset(2.0, 1.0)(GENERATOR, periods(2, 2, 2, 2), at(0.8)).judged(Within(0.1)) == REFUTED


def diagram() -> xr.Dataset:
    values = {
        "period": [1, 2, 4, 0, 3, -1],
        "lyapunov": [0.0, -0.1, -0.2, 0.5, -0.3, math.nan],
        "lyapunov_error": [0.0, 0.01, 0.01, 0.01, 0.01, math.nan],
    }
    return xr.Dataset(
        {name: ("factor", part) for name, part in values.items()}, {"factor": [0.5, 1.1, 1.25, 1.4, 1.7, 2.0]}
    )


def test_landmarks_are_the_least_rates() -> None:
    assert landmarks(diagram()) == {
        "first period two": 1.1, "first period four": 1.25, "first period three": 1.7, "first chaos": 1.4,
        "share of chaos beyond first": pytest.approx(1 / 3), "largest exponent": 0.5, "first divergence": 2.0,
    }  # fmt: skip


def test_landmarks_that_are_not_met_are_nan() -> None:
    found = landmarks(diagram().isel(factor=[0]))
    assert found.pop("largest exponent") == 0
    assert found.pop("share of chaos beyond first") == 0
    assert all(map(math.isnan, found.values()))


def test_an_exponent_within_its_error_is_no_chaos() -> None:
    noisy = diagram().assign(lyapunov_error=("factor", np.full(6, 0.2)))
    assert is_chaotic(diagram()).to_numpy().tolist() == [0, 0, 0, 1, 0, 0]
    assert not is_chaotic(noisy).any()


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.9, SHOWN), (1.0, REFUTED), (math.inf, REFUTED), (math.nan, UNDECIDED)]
)
def test_a_computed_number_decides_by_itself(value: float, verdict: Judgement) -> None:
    assert Exact()(GENERATOR, at(value)).judged(Below(1.0)) == verdict


def test_infinity_is_above_everything() -> None:
    assert Exact()(GENERATOR, at(math.inf)).judged(Above(0.0)) == SHOWN
