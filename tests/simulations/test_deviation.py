from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from superconsistency.errors import InputError
from superconsistency.simulations import Ensemble, schedule, simulate
from superconsistency.simulations.deviation import all_laws, deviations, growth_window, time_laws, width_laws
from superconsistency.theory import IsotropicTarget, PlanarMap, PlanarState, parametrization, uniform_target

MUP, NTP, SP = (parametrization(name) for name in ("mup", "ntp", "sp"))
TARGET = IsotropicTarget(10, 1.0)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def found(table: Any = MUP, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "widths": (64, 1024, 16384), "learning_rate": 0.2, "seeds": range(12), "record_at": schedule(20),
    }  # fmt: skip
    return deviations(table, changes.pop("target", TARGET), **(settings | changes))


@pytest.mark.parametrize("dimension", [1, 4])
def test_the_distance_is_that_of_each_run_from_the_planar_orbit(dimension: int) -> None:
    distances = found(target=uniform_target(dimension, 1.5), widths=(2, 50), seeds=range(3))
    ensemble = Ensemble(MUP, uniform_target(dimension, 1.5), (2, 50), (0.2,), (0, 1, 2))
    runs = simulate(ensemble, record_at=schedule(20), quantities=("loss", "sharpness"))
    planar = PlanarMap(dimension, 1.5, 0.2)
    state = planar.start
    for step in range(21):
        at = distances.sel(limit="infinite", step=step)
        for name, limit in (("loss", planar.loss(state)), ("sharpness", planar.sharpness(state))):
            expected = np.abs(runs[name].isel(learning_rate=0, step=step) - float(limit))
            np.testing.assert_allclose(at[name], expected, atol=1e-11)
        state = PlanarState(*planar.step(state))


def test_the_proxy_is_the_mean_of_the_widest_and_is_not_compared_with_itself() -> None:
    distances = found(widths=(1024, 64))
    runs = simulate(Ensemble(MUP, TARGET, (64, 1024), (0.2,), tuple(range(12))), record_at=schedule(20))
    loss = runs["loss"].isel(learning_rate=0)
    expected = np.abs(loss.sel(width=64) - loss.sel(width=1024).mean("seed"))
    np.testing.assert_allclose(distances["loss"].sel(limit="widest", width=64), expected)
    assert distances["loss"].sel(limit="widest", width=1024).isnull().all()


def test_distances_fall_as_the_root_of_width_and_the_proxy_says_nearly_the_same() -> None:
    distances = found(widths=(256, 1024, 4096, 10**6), seeds=range(40))
    for limit in ("infinite", "widest"):
        for law in width_laws(distances.sel(step=[3, 6]), "loss", generator(), limit=limit).values():
            assert law is not None
            assert law.exponent == pytest.approx(-0.5, abs=0.12)
            assert law.interval[0] < law.exponent < law.interval[1]


def test_the_ntk_eigenvalue_of_the_lazy_limit_grows_apart_as_the_feature_change_does() -> None:
    distances = found(NTP, widths=(10**4, 10**6), seeds=range(10), learning_rate=1.0)
    fall = width_laws(distances.sel(step=[5]), "ntk_sharpness", generator())[5]
    assert fall is not None
    assert fall.exponent == pytest.approx(-0.5, abs=0.1)


def test_laws_of_synthetic_distances_are_found() -> None:
    distances = found(seeds=range(5))
    steps, widths = distances["step"].to_numpy(), distances["width"].to_numpy()
    factor = np.random.default_rng(1).gamma(50.0, 0.02, (1, 1, 5, 1))
    with np.errstate(divide="ignore"):
        data = factor * widths[None, :, None, None] ** -0.8 * steps.astype(float)[None, None, None] ** 0.6
    distances["loss"] = distances["loss"].copy(data=np.broadcast_to(data, distances["loss"].shape))
    for law in time_laws(distances, "loss", generator(), window=(2, 20)).values():
        assert law is not None
        assert law.exponent == pytest.approx(0.6)
        assert law.points == 19
    law = width_laws(distances, "loss", generator())[7]
    assert law is not None
    assert law.exponent == pytest.approx(-0.8)
    assert width_laws(distances, "loss", generator())[0] is None
    narrow = width_laws(distances, "loss", generator(), least_width=1000)[7]
    assert narrow is not None
    assert narrow.points == 2


def test_sp_has_the_proxy_only() -> None:
    distances = found(SP, widths=(8, 16), learning_rate=0.01)
    assert distances["loss"].sel(limit="infinite").isnull().all()
    assert distances["loss"].sel(limit="widest", width=8).notnull().all()
    assert growth_window(distances)[0] == 1
    kinds = {
        (row["limit"], row["law"]) for row in all_laws(distances, generator()) if row["exponent"] is not None
    }
    assert kinds == {("widest", "time")}


def test_diverged_runs_are_nan_with_their_step_and_have_no_law() -> None:
    distances = found(learning_rate=30.0, widths=(8, 50), record_at=schedule(60))
    assert (distances["diverged_step"] >= 0).all()
    assert np.isnan(distances["loss"].isel(step=-1)).all()
    assert width_laws(distances.isel(step=[-1]), "loss", generator())[60] is None


def test_the_default_window_ends_when_the_limit_has_lost_half_its_loss() -> None:
    distances = found()
    first, last = growth_window(distances)
    curve = distances["loss_limit"].sel(limit="infinite")
    assert first == 1
    assert float(curve.sel(step=last)) <= 0.5 * float(curve[0]) < float(curve.sel(step=last - 1)) or last == 3
    assert growth_window(found(quantities=("sharpness",))) == (1, 20)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"widths": (8,)}, "number of widths"),
        ({"widths": (8, math.inf)}, "width is inf"),
        ({"quantities": ("loss", "loss")}, "quantities"),
        ({"learning_rate": -1.0}, "learning rate"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        found(**changes)
    assert "\n" not in str(refused.value)


def test_unknown_names_and_empty_windows_are_refused() -> None:
    distances = found(seeds=(0,))
    with pytest.raises(InputError, match="quantity"):
        time_laws(distances, "entropy", generator())
    with pytest.raises(InputError, match="limit"):
        width_laws(distances, "loss", generator(), limit="best")
    with pytest.raises(InputError, match="window"):
        time_laws(distances, "loss", generator(), window=(7, 7))
