"""Width in the latent system: what is claimed of it, and the distances that deviation is about."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from superconsistency.errors import InputError
from superconsistency.experiments import SMOKE, Series, over
from superconsistency.experiments.answering import Answer, ask
from superconsistency.experiments.judging import claim_verdicts
from superconsistency.experiments.latent.deviation import deviation_of
from superconsistency.experiments.latent.distance_panels import KEEP, time_laws, width_laws
from superconsistency.experiments.latent.optimum import optimum_of
from superconsistency.experiments.latent.width_check import width_check_of
from superconsistency.experiments.running import Circumstances
from superconsistency.simulations import Ensemble, schedule, simulate
from superconsistency.stats.verdicts import SHOWN, UNDECIDED
from superconsistency.stats.windows import Steps
from superconsistency.theory import IsotropicTarget, PlanarMap, PlanarState

FAR = {"width": over(64, 1024, 16384, 65536, 10**6, 10**7), "seed": over(*range(10)), "steps": 20}


def asked(experiment: Any, **given: Any) -> Answer:
    return ask(experiment, SMOKE, circumstances=Circumstances(given=given))


def distances(name: str = "mup", widths: Any = (64, 1024, 16384), seeds: int = 12, **given: Any) -> Answer:
    settings = {"learning_rate": over(0.2), "seed": over(*range(seeds)), "steps": 20, "dimension": 10}
    return asked(deviation_of(name, widths), **(settings | given))


@pytest.mark.parametrize("name", ["mup", "ntp", "sp"])
def test_a_check_tells_the_parametrizations_apart(name: str) -> None:
    answer = asked(width_check_of((name,)), **FAR)
    assert set(claim_verdicts(answer.findings).values()) == {SHOWN}
    level, change, _ = answer.findings
    if name == "sp":
        assert "diverged" in level.words
        assert change.interval == (math.inf, math.inf)
    else:
        assert level.words.startswith("width-independent from N = ")
    if name == "ntp":
        assert change.value == pytest.approx(-1, abs=0.1)


def test_the_tolerance_and_the_least_width_are_those_asked_for() -> None:
    few = {"width": over(8, 16, 64), "seed": over(0, 1, 2), "steps": 4, "measure_every": 2}
    wide, narrow = (
        asked(width_check_of(("mup",), tolerance=tolerance, least_width=least), **few).findings[0]
        for tolerance, least in ((100.0, 1), (1e-6, 16))
    )
    assert wide.words.startswith("width-independent from N = 8 on")
    assert "from N = 16 to 64" in narrow.words


def test_a_zero_target_and_one_step_are_checked_too() -> None:
    few = {"width": over(8, 64), "seed": over(0, 1, 2), "steps": 1, "measure_every": 1}
    answer = asked(width_check_of(("mup",)), target_norm=0.0, dimension=3, **few)
    assert np.isfinite(answer.runs["μP"]["learning_rate"]).all()


def test_the_best_rate_under_mup_nears_its_limit_as_the_root_of_width_and_under_sp_falls_as_its_inverse() -> (
    None
):
    answer = asked(optimum_of(("mup", "sp"), (1024, 16384, 10**6, 10**9)), seed=over(*range(8)))
    assert set(claim_verdicts(answer.findings).values()) == {SHOWN}
    mup, near, sp = answer.findings
    assert mup.words.startswith("width-independent")
    assert near.value == pytest.approx(-0.5, abs=0.08)
    assert sp.value == pytest.approx(-1, abs=0.02)
    rates, drifts, _ = answer.tables
    assert len(rates.rows) == 9  # infinite width too, where there is that limit
    assert drifts.rows[0][-1].startswith("N^-0.")
    assert drifts.rows[1][-1] == "there is no infinite width"


def test_an_optimum_beyond_the_grid_does_not_enter_the_drift() -> None:
    """One step from the start is best beyond what is stable later."""
    answer = asked(optimum_of(("mup",), (10**6, 10**8)), step=1, seed=over(0, 1, 2))
    stays, near = answer.findings
    assert stays.verdict == near.verdict == UNDECIDED
    assert stays.open == "without a value 3 at N = 1e+06, 3 at N = 1e+08, 3 at N = inf"
    (table, *_) = answer.tables
    assert table.rows[0][5] == "3 of 3"


@pytest.mark.parametrize("dimension", [1, 4])
def test_the_distance_is_that_of_each_run_from_the_planar_orbit(dimension: int) -> None:
    answer = distances(widths=(2, 50), seeds=3, dimension=dimension, target_norm=1.5)
    ensemble = Ensemble("mup", IsotropicTarget(dimension, 1.5), (2, 50), (0.2,), (0, 1, 2))
    runs = simulate(ensemble, record_at=schedule(20), quantities=("loss", "sharpness"))
    planar = PlanarMap(dimension, 1.5, 0.2)
    state = planar.start
    found = {
        name: Series("μP", f"distance_of_{name}").runs(answer.runs, keep=KEEP)[f"distance_of_{name}"]
        for name in ("loss", "sharpness")
    }
    for step in range(21):
        for name, limit in (("loss", planar.loss(state)), ("sharpness", planar.sharpness(state))):
            expected = np.abs(runs[name].isel(learning_rate=0, step=step) - float(limit))
            np.testing.assert_allclose(found[name].sel(step=step), expected, atol=1e-11)
        state = PlanarState(*planar.step(state))


def test_the_proxy_is_the_mean_of_the_widest_and_is_not_compared_with_itself() -> None:
    answer = distances(widths=(1024, 64))
    found = Series("μP", "proxy_distance_of_loss").runs(answer.runs, keep=KEEP)["proxy_distance_of_loss"]
    loss = answer.runs["μP"]["loss"].squeeze(("parametrization", "learning_rate"))
    expected = np.abs(loss.sel(width=64) - loss.sel(width=1024).mean("seed"))
    np.testing.assert_allclose(found.sel(width=64), expected)
    assert found["width"].to_numpy().tolist() == [64]


def test_distances_fall_as_the_root_of_width_and_the_proxy_says_nearly_the_same() -> None:
    answer = distances(widths=(256, 1024, 4096, 10**6), seeds=40)
    for kind in ("distance_of", "proxy_distance_of"):
        laws = width_laws(Series("μP", f"{kind}_loss"), answer.runs, (3, 6)).by
        for law in laws.values():
            assert law.exponent == pytest.approx(-0.5, abs=0.12)
            assert law.interval[0] < law.exponent < law.interval[1]
    dying = [one for one in answer.findings if "dies out with width" in one.claim]
    assert len(dying) == 6
    assert {one.verdict for one in dying if "loss" in one.claim} == {SHOWN}


def test_the_ntk_eigenvalue_of_the_lazy_limit_grows_apart_as_the_feature_change_does() -> None:
    answer = distances("ntp", widths=(10**4, 10**6), seeds=10, learning_rate=over(1.0))
    law = width_laws(Series("NTP", "distance_of_kernel"), answer.runs, (5,)).by[5]
    assert law.exponent == pytest.approx(-0.5, abs=0.1)


def test_sp_has_the_proxy_only() -> None:
    answer = distances("sp", widths=(8, 16), learning_rate=over(0.01))
    in_time, in_width = answer.experiment.tables
    assert {row[1] for row in in_time.table(answer.runs).rows} == {"widest"}
    assert in_width.table(answer.runs).rows == ()  # one width is left
    assert np.isfinite(answer.runs["SP"]["width"]).all()


def test_a_window_of_ones_own_is_that_of_the_laws_in_time() -> None:
    experiment = deviation_of("mup", (64, 1024), Steps(2, 9))
    answer = asked(experiment, learning_rate=over(0.2), steps=12)
    law = time_laws(Series("μP", "distance_of_loss"), answer.runs, Steps(2, 9)).by[64.0]
    assert law.points == 8
    assert answer.tables[0].title.startswith("distance to the limit, g = a t^beta over steps 2 to 9")


def test_diverged_runs_have_no_law() -> None:
    answer = distances(widths=(8, 50), learning_rate=over(30.0), steps=60)
    assert (answer.runs["μP"]["diverged_step"] >= 0).all()
    law = width_laws(Series("μP", "distance_of_loss"), answer.runs, (60,)).by[60]
    assert law.open
    assert {one.verdict for one in answer.findings} == {UNDECIDED}


def test_a_distance_below_the_rounding_of_the_limit_is_none() -> None:
    answer = distances(widths=(64, 1024))
    runs = dict(answer.runs)
    runs["μP"] = runs["μP"].copy(deep=True).load()
    runs["μP"]["sharpness"][{"width": 0}] = runs["μP"]["sharpness"].isel(width=-1) * (1 + 1e-15)
    found = Series("μP", "distance_of_sharpness").runs(runs, keep=KEEP)["distance_of_sharpness"]
    assert float(found.sel(width=64).max()) == 0


@pytest.mark.parametrize("build", [width_check_of, optimum_of])
def test_a_parametrization_that_is_unknown_or_named_twice_is_refused(build: Any) -> None:
    with pytest.raises(InputError, match="parametrization is best"):
        build(("best",))
    with pytest.raises(InputError, match="arms of experiment"):
        build(("mup", "mup"))
