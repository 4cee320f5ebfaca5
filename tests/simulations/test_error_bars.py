from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.simulations import Ensemble, simulate
from superconsistency.simulations.error_bars import (
    PREDICTED,
    deviation_interval,
    first_order_holds,
    plan_error_bars,
    sample_error_bars,
)
from superconsistency.stats.coverage import covered
from superconsistency.theory import (
    IsotropicTarget,
    PlanarMap,
    PlanarState,
    Problem,
    parametrization,
    uniform_target,
)

MUP = parametrization("mup")


def sampled(dimension: int, norm: float, rate: float, **changes: Any) -> xr.Dataset:
    settings = {"widths": (20, 4000), "seeds": range(60), "record_at": (0, 3, 6)} | changes
    return sample_error_bars(uniform_target(dimension, norm), rate, **settings)


@pytest.mark.parametrize(("samples", "level"), [(2, 0.9), (10, 0.95), (200, 0.5)])
def test_the_interval_covers_the_deviation_of_normal_samples_as_often_as_it_says(
    samples: int, level: float
) -> None:
    draws = 3.0 * np.random.default_rng(0).standard_normal((8000, samples))
    interval = deviation_interval(draws.std(axis=1, ddof=1), samples, level)
    share = np.mean((interval.lower < 3.0) & (interval.upper > 3.0))
    assert share == pytest.approx(level, abs=4.5 * math.sqrt(level * (1 - level) / 8000))


@pytest.mark.parametrize(("samples", "level"), [(1, 0.95), (10, 0.0), (10, 1.0), (10, math.nan)])
def test_intervals_need_two_samples_and_a_level(samples: int, level: float) -> None:
    with pytest.raises(InputError):
        deviation_interval(np.ones(1), samples, level)


@pytest.mark.parametrize("dimension", [1, 4])
def test_what_is_sampled_is_the_spread_of_the_simulated_networks(dimension: int) -> None:
    bars = sampled(dimension, 1.5, 0.3)
    ensemble = Ensemble(MUP, uniform_target(dimension, 1.5), (20, 4000), (0.3,), tuple(range(60)))
    record = simulate(ensemble, record_at=(0, 3, 6), quantities=PREDICTED)
    for name in PREDICTED:
        for i in range(2):
            runs = record[name].to_numpy()[i, 0]
            one = bars.sel(quantity=name).isel(width=i)
            np.testing.assert_allclose(one["sampled"], np.std(runs, axis=0, ddof=1), rtol=1e-12)
            np.testing.assert_allclose(one["mean"], runs.mean(axis=0), rtol=1e-12)
    assert (bars["lower"] < bars["sampled"]).all()
    assert (bars["sampled"] < bars["upper"]).all()


@pytest.mark.parametrize(("dimension", "norm", "rate"), [(1, 1.0, 0.3), (5, 1.0, 0.5), (5, 2.0, 0.4)])
def test_wide_networks_spread_as_predicted_wherever_first_order_holds(
    dimension: int, norm: float, rate: float
) -> None:
    bars = sampled(dimension, norm, rate, widths=(30_000,), seeds=range(400), record_at=(0, 2, 5, 8, 12, 20))
    ratio = (bars["sampled"] / bars["predicted"]).where(bars["holds"])
    for name in PREDICTED:
        assert np.isfinite(ratio.sel(quantity=name)).any()
    # 4.5 deviations of a standard deviation over 400 networks, and a hundredth for second order
    assert float(np.abs(ratio - 1).max()) < 4.5 / math.sqrt(800) + 0.01


def test_the_prediction_fails_where_first_order_is_said_not_to_hold() -> None:
    """At the end the loss is of second order, and near half the target the sharpness is across it."""
    bars = sampled(8, 1.0, 0.5, widths=(64, 4000), seeds=range(200), record_at=(2, 40))
    late = bars.sel(quantity="loss", step=40)
    assert not late["holds"].any()
    assert (late["sampled"] > 3 * late["predicted"]).all()
    narrow = sampled(60, 1.0, 0.5, widths=(20,), seeds=range(300), record_at=(0, 60)).sel(
        quantity="second_layer"
    )
    assert not narrow["holds"].any()
    assert float(np.abs(narrow["sampled"] / narrow["predicted"] - 1).max()) > 0.2
    early = bars.sel(quantity="sharpness", step=2, width=64)
    assert not bool(early["holds"])


@pytest.mark.parametrize("norm", [0.0, 1.0])
@pytest.mark.parametrize("dimension", [1, 3])
def test_the_second_layer_of_wide_networks_keeps_to_first_order_and_the_loss_only_for_a_while(
    dimension: int, norm: float
) -> None:
    problem = Problem(MUP, 10_000, uniform_target(dimension, norm))
    holds = first_order_holds(problem, 0.3, 200)
    assert set(holds) == set(PREDICTED)
    assert holds["second_layer"].all()
    assert not holds["loss"][-1]
    assert holds["loss"][0] == (norm > 0)


def test_first_order_holds_longer_the_wider_the_network() -> None:
    counts = []
    for width in (16, 256, 4096, 65536):
        holds = first_order_holds(Problem(MUP, width, uniform_target(6, 1.0)), 0.4, 80)
        counts.append([int(holds[name].sum()) for name in PREDICTED])
    assert (np.diff(counts, axis=0) >= 0).all()
    assert (np.array(counts[-1]) > np.array(counts[0])).all()


def test_the_limit_is_the_planar_orbit() -> None:
    bars = sampled(3, 1.0, 0.4, seeds=range(2), record_at=(0, 1, 2, 5))
    planar = PlanarMap(3, 1.0, 0.4)
    state = planar.start
    for step in range(6):
        if step in {0, 1, 2, 5}:
            found = bars["limit"].sel(step=step)
            assert float(found.sel(quantity="alignment")) == pytest.approx(float(state.a))
            assert float(found.sel(quantity="sharpness")) == pytest.approx(float(planar.sharpness(state)))
            assert float(found.sel(quantity="loss")) == pytest.approx(0.5 * (float(state.a) - 1) ** 2)
        state = PlanarState(*planar.step(state))


def test_a_cell_is_covered_if_the_interval_holds_the_prediction_and_first_order_does() -> None:
    dims = ("quantity", "width", "step")

    def cells(*values: float) -> tuple[tuple[str, ...], Any]:
        return dims, np.array(values)[None, None]

    bars = xr.Dataset(
        {
            "lower": cells(1, 1, 1, np.nan),
            "upper": cells(3, 3, 3, np.nan),
            "sampled": cells(2, 2, 2, np.nan),
            "predicted": cells(2, 4, 2, 2),
            "holds": (dims, np.array([[[True, True, False, True]]])),
        }
    )
    np.testing.assert_array_equal(covered(bars)[0, 0], [1.0, 0.0, np.nan, np.nan])


def test_the_plan_has_the_variables_coordinates_and_attributes_of_the_runs() -> None:
    settings: dict[str, Any] = {"widths": (20, 40), "seeds": range(3), "record_at": (0, 2)}
    target = IsotropicTarget(3, 1.0)
    planned = plan_error_bars(target, 0.3, **settings)
    run = sample_error_bars(target, 0.3, **settings)
    assert planned.attrs == run.attrs
    assert {name: (part.dims, part.dtype) for name, part in planned.variables.items()} == {
        name: (part.dims, part.dtype) for name, part in run.variables.items()
    }
    assert all(planned[name].equals(run[name]) for name in planned.coords)
    assert not planned["holds"].any()
    assert all(planned[name].isnull().all() for name in ("predicted", "sampled", "mean", "limit"))


def test_where_a_network_diverged_nothing_is_sampled_and_nothing_holds_in_the_end() -> None:
    bars = sampled(2, 1.0, 40.0, widths=(8, 50), seeds=range(3), record_at=(0, 60))
    last = bars.isel(step=-1)
    for name in ("sampled", "lower", "upper", "mean"):
        assert np.isnan(last[name]).all()
        assert np.isfinite(bars[name].isel(step=0)).all()
    assert not last["holds"].any()
    assert np.isinf(last["predicted"]).all()
    assert np.isnan(covered(bars).isel(step=-1)).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quantities": ("gradient_norm",)}, "quantity with a predicted deviation"),
        ({"quantities": ("loss", "loss")}, "quantities"),
        ({"widths": (8, math.inf)}, "width is inf"),
        ({"widths": ()}, "widths"),
        ({"seeds": (0,)}, "number of seeds is 1"),
        ({"level": 2.0}, "level of the interval"),
        ({"record_at": (3, 1)}, "recorded steps"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        sampled(2, 1.0, 0.3, **changes)
    assert "\n" not in str(refused.value)


def test_a_target_may_be_given_by_its_norm_alone() -> None:
    settings: dict[str, Any] = {"widths": (30,), "seeds": range(5), "record_at": (0, 4)}
    whole = sample_error_bars(uniform_target(6, 1.5), 0.3, **settings)
    norm = sample_error_bars(IsotropicTarget(6, 1.5), 0.3, **settings)
    xr.testing.assert_allclose(whole[["predicted", "limit"]], norm[["predicted", "limit"]])
    assert (whole["holds"] == norm["holds"]).all()
    assert np.isfinite(norm["sampled"]).all()
