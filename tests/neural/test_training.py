from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.neural import Dataset, Grid, SimpleConvNet, TrainingConfig, resolve_device, train_grid
from superconsistency.neural.data.images import from_pixels
from superconsistency.neural.networks import parameter_scales
from superconsistency.neural.training import Probe, torch_generator
from superconsistency.records import NEVER
from superconsistency.theory import parametrization
from torch.nn import functional


@pytest.fixture(scope="module")
def data() -> Dataset:
    generator = np.random.default_rng(0)
    labels = np.arange(96) % 10
    pixels = generator.integers(0, 256, (96, 3, 32, 32), dtype=np.uint8)
    return from_pixels("noise", pixels, labels)


def config(**changes: Any) -> TrainingConfig:
    base = TrainingConfig(
        parametrization("mup"),
        steps=6,
        batch_size=32,
        measure_every=3,
        hessian_examples=16,
        evaluation_examples=48,
    )
    return replace(base, **changes)


def test_a_run_is_plain_sgd_with_the_tables_rates(data: Dataset) -> None:
    record = train_grid(Grid(config(quantities=()), (4,), (0.1,), (3,)), data)
    model = SimpleConvNet(parametrization("mup"), 4, torch_generator(3, 4))
    orders = [torch.randperm(96, generator=torch_generator(3, epoch, 0)) for epoch in range(2)]
    batches = [batch for order in orders for batch in torch.chunk(order, 3)]
    rates = [0.1 * scales.sgd for scales in parameter_scales(model).values()]
    for batch in batches:
        loss = functional.cross_entropy(model(data.inputs[batch]), data.targets[batch])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for value, rate, gradient in zip(model.parameters(), rates, gradients, strict=True):
                value.sub_(rate * gradient)
    expected = float(Probe(config(), data).scores(model).loss)
    assert float(record["loss"][0, 0, 0, -1]) == pytest.approx(expected, rel=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(data: Dataset) -> None:
    grid = Grid(config(), (4, 8), (0.1,), (0, 1))
    first, second = train_grid(grid, data), train_grid(grid, data)
    assert first.identical(second)
    assert (first["loss"][:, :, 0] != first["loss"][:, :, 1]).all()


def test_measuring_the_sharpness_does_not_change_training(data: Dataset) -> None:
    with_it, without = (
        train_grid(Grid(config(quantities=measure), (4,), (0.1,), (0,)), data)["loss"]
        for measure in (("sharpness",), ())
    )
    np.testing.assert_array_equal(with_it, without)


def test_sharpness_comes_with_its_error_and_cost(data: Dataset) -> None:
    record = train_grid(Grid(config(), (4,), (0.1,), (0,)), data)
    assert (record["sharpness"] > 0).all()
    assert (record["sharpness_error"] < 0.01 * record["sharpness"]).all()
    assert (record["hessian_products"] >= 1).all()
    assert record.attrs["data_hash"] == data.hash


def test_divergence_ends_a_run_with_its_step_and_leaves_the_others_alone(data: Dataset) -> None:
    grid = Grid(config(steps=12, measure_every=4), (4,), (0.1, 1e18), (0,))
    record = train_grid(grid, data)
    fine, wild = (record.isel(width=0, seed=0, learning_rate=index) for index in (0, 1))
    assert int(fine["diverged_step"]) == NEVER
    assert np.isfinite(fine["loss"]).all()
    step = int(wild["diverged_step"])
    assert 0 < step <= 12
    assert np.isnan(wild["loss"].sel(step=wild["step"] >= step)).all()
    assert int(wild["completed"]) == 1


@pytest.mark.parametrize("stacked", [False, True])
def test_a_hopeless_run_is_given_up_if_asked_with_its_step_and_leaves_the_others_alone(
    data: Dataset, stacked: bool
) -> None:
    settings = config(steps=12, measure_every=2, quantities=())
    rates = (0.1, 40.0)
    patient = train_grid(Grid(settings, (4,), rates, (0,)), data, stacked=stacked)
    grid = Grid(replace(settings, give_up=1.005), (4,), rates, (0,))
    record = train_grid(grid, data, stacked=stacked)
    assert "stopped_step" not in patient
    fine, wild = (record.isel(width=0, seed=0, learning_rate=index) for index in (0, 1))
    assert int(fine["stopped_step"]) == NEVER
    step = int(wild["stopped_step"])
    losses = patient["loss"].isel(width=0, seed=0, learning_rate=1)
    hopeless = losses["step"].to_numpy()[(losses > 1.005 * losses[0]).to_numpy()]
    assert 0 < step == hopeless[0] < 12
    seen = wild["step"] <= step
    np.testing.assert_array_equal(wild["loss"].sel(step=seen), losses.sel(step=seen))
    assert np.isnan(wild["loss"].sel(step=~seen)).all()
    np.testing.assert_array_equal(fine["loss"], patient["loss"].isel(width=0, seed=0, learning_rate=0))
    assert (record["completed"] == 1).all()


@pytest.mark.parametrize("factor", [1.0, 0.5, -2.0, float("nan")])
def test_runs_are_not_given_up_below_their_first_loss(factor: float) -> None:
    with pytest.raises(InputError, match=r"give_up is .*accepted: above 1, or none"):
        config(give_up=factor)


def test_every_measurement_and_every_complete_run_is_offered_for_saving(data: Dataset) -> None:
    seen: list[tuple[int, int]] = []

    def note(partial: xr.Dataset) -> None:
        seen.append((int(np.isfinite(partial["loss"]).sum()), int((partial["completed"] == 1).sum())))

    train_grid(Grid(config(), (4, 8), (0.1,), (0,)), data, on_measurement=note)
    assert seen == [(1, 0), (2, 0), (3, 0), (3, 1), (4, 1), (5, 1), (6, 1), (6, 2)]


def test_progress_ends_at_the_whole(data: Dataset) -> None:
    calls: list[tuple[float, float]] = []
    grid = Grid(config(quantities=()), (8, 4), (0.1,), (0,))
    train_grid(grid, data, on_progress=lambda *call: calls.append(call))
    assert calls[-1][0] == pytest.approx(calls[-1][1])


def test_zero_steps_measure_the_initialisation(data: Dataset) -> None:
    record = train_grid(Grid(config(steps=0), (1,), (0.1,), (0,)), data)
    assert record["step"].to_numpy().tolist() == [0]
    assert np.isfinite(record["sharpness"]).all()


def test_a_batch_larger_than_the_data_is_refused(data: Dataset) -> None:
    with pytest.raises(InputError, match="batch size is 97; accepted: 1 to 96"):
        train_grid(Grid(config(batch_size=97), (4,), (0.1,), (0,)), data)


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", -1), ("batch_size", 0), ("measure_every", 0), ("hessian_examples", 0), ("tolerance", 0.0)],
)
def test_an_impossible_setting_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name.replace('_', ' ')} is {value}"):
        config(**{name: value})


@pytest.mark.parametrize(
    "axes",
    [
        ((), (0.1,), (0,)),
        ((4, 4), (0.1,), (0,)),
        ((0,), (0.1,), (0,)),
        ((4,), (-1.0,), (0,)),
        ((4,), (0.1,), (-1,)),
    ],
)
def test_an_impossible_grid_is_refused(axes: Any) -> None:
    with pytest.raises(InputError):
        Grid(config(), *axes)


@pytest.mark.parametrize("run", [(2**15, 0.1, 0), (4, 1e300, 0), (4, 0.1, 2**60)])
def test_a_run_too_large_to_make_is_refused(run: tuple[int, float, int]) -> None:
    width, rate, seed = run
    with pytest.raises(InputError):
        Grid(config(), (width,), (rate,), (seed,))


def test_the_larger_fixed_set_holds_the_smaller(data: Dataset) -> None:
    probe = Probe(config(evaluation_examples=8, hessian_examples=20), data)
    assert len(probe.targets) == 20
    assert len(probe.targets[probe.evaluated]) == 8
    assert probe.hash != Probe(config(probe_seed=1), data).hash


def test_the_device_is_chosen_or_refused() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in {"cpu", "cuda"}
    for name in ("abacus", "meta", "hpu", "cpu:7", ""):
        with pytest.raises(InputError, match="device"):
            resolve_device(name)
