from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.records import empty_record
from superconsistency.stats.dependence import (
    DEPENDS,
    INDEPENDENT,
    judge_size,
    judge_training,
    largest_change,
    training_sentences,
)
from superconsistency.stats.verdicts import UNDECIDED

from .made_up import generator, powers


def test_independence_is_shown_from_the_width_on_at_which_the_finite_size_terms_have_died_out() -> None:
    widths = 4.0 ** np.arange(3, 12)
    values = powers(np.zeros(3), widths=widths) * (1 + 10 / xr.DataArray(widths, dims="width"))
    judged = judge_size(values, generator())
    assert judged.verdict == INDEPENDENT
    local = np.array(
        [np.polyfit(np.log(widths[i : i + 3]), np.log(1 + 10 / widths[i : i + 3]), 1)[0] for i in range(7)]
    )
    assert judged.independent_from == widths[np.flatnonzero(np.abs(local) > 0.02).max() + 1]
    assert abs(float(judged.slopes["slope"][0])) < 0.02  # one slope over all widths would hide it


def test_a_small_but_significant_slope_is_no_dependence_and_a_large_one_is() -> None:
    small = judge_size(powers([0.005] * 3, noise=1e-4), generator())
    assert small.verdict == INDEPENDENT
    assert float(small.wide_slopes["family_lower"].min()) > 0
    assert "+1.1" in small.sentence  # 10^0.005, in percent
    large = judge_size(powers([0.0, -0.1], noise=1e-3), generator())
    assert large.verdict == DEPENDS
    assert "step 1" in large.sentence


def test_wide_intervals_show_nothing() -> None:
    judged = judge_size(powers([0.0], noise=0.5, seeds=4), generator())
    assert judged.verdict == UNDECIDED
    assert "add seeds" in judged.sentence
    assert judge_size(powers([0.0], noise=0.5, seeds=4), generator(), tolerance=1.0).verdict == INDEPENDENT


def test_a_claim_of_independence_is_wrong_at_most_as_often_as_the_level_says() -> None:
    """At a slope just beyond the tolerance, the worst case; one-sided 2.5%."""
    wrong = sum(
        judge_size(
            powers([0.02], noise=0.02, seeds=6, seed=trial), generator(trial), resamples=300
        ).verdict == INDEPENDENT
        for trial in range(200)
    )  # fmt: skip
    assert wrong <= 12


def test_widths_below_the_least_do_not_count() -> None:
    values = powers([0.0], widths=4.0 ** np.arange(3, 9), noise=1e-4)
    values[:2] *= 5
    assert judge_size(values, generator()).independent_from == 1024
    judged = judge_size(values, generator(), least=2000)
    assert judged.independent_from == 4096
    assert judged.wide_slopes.attrs["least_size"] == 4096
    assert "not shown" not in judged.sentence
    with pytest.raises(InputError, match="number of finite widths that count"):
        judge_size(values, generator(), least=20000)


def test_runs_that_diverge_at_wide_widths_only_are_dependence() -> None:
    values = powers([0.0, 0.0])
    values[2:, :, 1] = np.nan
    judged = judge_size(values, generator())
    assert judged.verdict == DEPENDS
    assert "diverged 8 at N = 1024, 8 at N = 4096" in judged.sentence
    assert judged.independent_from is None


def test_a_few_diverged_runs_leave_their_width_out_and_are_said() -> None:
    values = powers([0.0, 0.0], widths=4.0 ** np.arange(3, 9))
    values[2, 0, 1] = np.nan
    judged = judge_size(values, generator())
    assert judged.verdict == INDEPENDENT
    assert "diverged 1 at N = 1024" in judged.sentence


def test_runs_that_all_diverge_show_nothing() -> None:
    values = powers([0.0, 0.0])
    values[..., 1] = np.nan
    judged = judge_size(values, generator())
    assert judged.verdict == UNDECIDED
    assert "fewer than two widths" in judged.sentence


def test_a_quantity_that_stands_still_at_large_width_depends_on_it_through_its_change() -> None:
    """As sharpness under NTP: it tends to a constant, and sharpening falls as 1/N."""
    widths = xr.DataArray(4.0 ** np.arange(5, 12), dims="width")
    steps = xr.DataArray(np.arange(4.0), dims="step")
    values = powers(np.zeros(4), widths=widths, noise=1e-4)
    values = values.isel(step=[0] * 4).assign_coords(step=range(4)) * (1 + steps / widths)
    found = judge_training(values, generator(), name="sharpness")
    assert found.level.verdict == INDEPENDENT
    assert found.change.verdict == DEPENDS
    assert found.change.independent_from is None
    np.testing.assert_allclose(found.change.slopes["slope"], -1, atol=0.01)


def test_the_largest_change_never_falls_and_leaves_out_the_start() -> None:
    values = xr.DataArray(
        [[[2.0, 1.0, 2.5, 5.0]]], dims=("width", "seed", "step"), coords={"step": [0, 2, 4, 6]}
    )
    found = largest_change(values)
    np.testing.assert_array_equal(found[0, 0], [1, 1, 3])
    np.testing.assert_array_equal(found["step"], [2, 4, 6])


def test_a_record_gets_sentences_for_every_learning_rate() -> None:
    record = empty_record(
        widths=(64, 256, math.inf), learning_rates=(0.1, 0.5), seeds=(0, 1, 2), steps=(0, 4),
        quantities=("sharpness",), configuration={}, producer="superconsistency.records", threshold=2.0,
    )  # fmt: skip
    record["sharpness"].values[...] = 1.0 + np.arange(2)
    sentences = training_sentences(record, generator())
    assert len(sentences) == 4
    assert all("width-independent from N = 64 on" in words for words in sentences)
    with pytest.raises(InputError, match="quantity of the record"):
        training_sentences(record, generator(), quantity="diverged_step")
    with pytest.raises(InputError, match="number of recorded steps"):
        training_sentences(record.isel(step=[0]), generator())


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan])
def test_a_tolerance_that_is_not_positive_is_refused(tolerance: float) -> None:
    with pytest.raises(InputError, match="tolerance"):
        judge_size(powers([0.0]), generator(), tolerance=tolerance)


def test_one_seed_gives_no_verdict() -> None:
    judged = judge_size(powers([0.0], seeds=1), generator())
    assert judged.judgement == UNDECIDED
    assert "too few seeds" in judged.sentence


def test_depth_is_judged_as_width_is_in_its_own_words() -> None:
    values = powers([0.0, 0.3], noise=0.01)
    over_depth = judge_size(values.rename(width="depth"), generator(), over="depth")
    over_width = judge_size(values, generator())
    assert over_depth.verdict == "depends on depth"
    assert over_depth.sentence == over_width.sentence.replace("width", "depth").replace("N =", "L =")


def test_a_change_below_the_rounding_of_the_values_is_none() -> None:
    values = powers(np.zeros(4)) + 1e-16 * xr.DataArray([0.0, 1, 2, 3], dims="step")
    assert float(largest_change(values).max()) == 0
    found = judge_training(values, generator(), name="sharpness")
    assert found.level.verdict == INDEPENDENT
    assert found.change.judgement == UNDECIDED
    assert "zero or below rounding at some step 8 at N = 64" in found.change.sentence


def test_widths_that_are_dead_are_said_and_show_nothing() -> None:
    values = powers([0.0, 0.0])
    values[1:] = 0.0
    judged = judge_size(values, generator())
    assert judged.judgement == UNDECIDED
    assert "fewer than two widths with positive, resolved values" in judged.sentence
