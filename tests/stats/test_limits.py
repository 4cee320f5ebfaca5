"""How finite sizes near the limit, on runs whose laws are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from superconsistency.stats.limits import (
    ApproachToLimit,
    ExponentInSize,
    halving_window,
)
from superconsistency.stats.measured import Measured
from superconsistency.stats.verdicts import SHOWN, UNDECIDED, Below, Between
from superconsistency.stats.windows import Steps

from .made_up import WIDE, generator

STEPS = np.arange(21)


def made(curve: object, *, widths: object = WIDE, power: float = 0.0, seeds: int = 5) -> xr.DataArray:
    """`N^power` times a curve, with a factor of each run."""
    sizes = np.asarray(widths, dtype=float)
    factor = np.random.default_rng(1).gamma(50.0, 0.02, (sizes.size, seeds, 1))
    data = factor * sizes[:, None, None] ** power * np.asarray(curve, dtype=float)
    axes = {"width": sizes, "seed": np.arange(seeds), "step": np.arange(data.shape[-1])}
    return xr.DataArray(data, axes, ("width", "seed", "step"))


@pytest.mark.parametrize(
    ("curve", "last"),
    [
        (0.9**STEPS, 7),  # 0.9^7 is the first below a half
        (0.1**STEPS, 3),  # halved at once: three steps all the same
        (np.ones(21), 20),
        (np.where(STEPS < 5, 1.0, np.nan), 20),
        (np.ones(1), 1),
        (0.1 ** np.arange(2), 1),
    ],
)
def test_the_window_ends_when_the_limit_has_lost_half_its_loss(curve: object, last: int) -> None:
    loss = made(curve, seeds=2)
    loss[:-1] = 1.0  # only the largest size counts
    assert halving_window(loss) == Steps(1, last)


def test_the_exponent_in_size_is_found_at_five_steps_and_left_out_where_there_is_none() -> None:
    distance = Measured(made(STEPS**0.6, power=-0.8, seeds=40))
    laws = ExponentInSize().laws(generator(), distance)
    assert list(laws) == [0, 1, 2, 6, 20]
    assert laws[0].open  # nothing has grown apart at the start
    assert laws[6].exponent == pytest.approx(-0.8, abs=0.05)
    found = ExponentInSize()(generator(), distance)
    assert len(found.family) == 4
    assert found.judged(Below(0.0)) == SHOWN
    assert "at step 20" in found.words


def test_steps_may_be_named_and_the_last_stands_for_those_that_were_not_recorded() -> None:
    distance = Measured(made(STEPS + 1.0, power=-0.5))
    assert list(ExponentInSize((1, 10, 30)).laws(generator(), distance)) == [1, 10]
    assert list(ExponentInSize((30,)).laws(generator(), distance)) == [20]


def test_without_two_sizes_above_rounding_there_is_no_exponent_in_size() -> None:
    found = ExponentInSize()(generator(), Measured(made(np.zeros(3))))
    assert found.judged(Below(0.0)) == UNDECIDED
    assert found.open == "at no step have two widths values above rounding"
    alone = ExponentInSize()(generator(), Measured(made(np.ones(3), widths=[64])))
    assert alone.open


def test_runs_that_diverge_at_wide_widths_only_leave_the_exponent_in_size_open() -> None:
    values = made(np.ones(3), power=-0.5, seeds=8)
    diverged = xr.zeros_like(values.isel(step=0, drop=True), dtype=int) - 1
    diverged[2:] = 1
    found = ExponentInSize()(
        generator(), Measured(values.where((diverged < 0) | (values["step"] < 1)), diverged)
    )
    assert "the share of diverged runs depends on the width" in found.open
    law = ExponentInSize((2,)).laws(generator(), Measured(values.where(values["step"] < 1), diverged))[2]
    assert law.open


def rates(*widths: float, seeds: int = 40) -> xr.DataArray:
    """Rates that fluctuate about 3 by about N^(-1/2); exactly 3 at infinite width."""
    sizes = np.asarray(widths, dtype=float)
    draws = np.random.default_rng(2).standard_normal((sizes.size, seeds))
    values = 3 * np.exp(draws / np.sqrt(sizes)[:, None])
    return xr.DataArray(values, {"width": sizes, "seed": range(seeds)}, ("width", "seed"))


def test_fluctuations_about_the_limit_die_out_as_the_root_of_the_width() -> None:
    found = ApproachToLimit()(generator(), Measured(rates(100.0, 10**4, 10**6, np.inf)))
    assert found.value == pytest.approx(-0.5, abs=0.03)
    assert found.judged(Between(-0.6, -0.4)) == SHOWN
    assert "N^-0.5" in found.words


@pytest.mark.parametrize(
    ("widths", "words"),
    [((100.0, 1000.0), "no infinite width"), ((100.0, np.inf), "fewer than two widths")],
)
def test_an_approach_needs_a_limit_and_two_widths(widths: tuple[float, ...], words: str) -> None:
    found = ApproachToLimit()(generator(), Measured(rates(*widths)))
    assert words in found.open
    assert found.judged(Between(-0.6, -0.4)) == UNDECIDED
    blank = rates(100.0, 1000.0, np.inf) * np.nan
    assert ApproachToLimit()(generator(), Measured(blank)).open
