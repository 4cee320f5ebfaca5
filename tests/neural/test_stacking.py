from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import Grid, Optimizer, TrainingConfig, train_grid
from superconsistency.neural.networks import (
    NETWORKS,
    ConvNetSettings,
    DenseSettings,
    LanguageModelSettings,
    Network,
    VisionTransformerSettings,
)
from superconsistency.neural.networks.stacking import stacked_network
from superconsistency.neural.training import Probe, Run, RunGroup
from superconsistency.records import NEVER
from superconsistency.theory import parametrization

from .cases import SMALL, built, examples, small

if TYPE_CHECKING:
    import xarray as xr
    from superconsistency.neural import Dataset
    from superconsistency.neural.networks import Architecture

SETTINGS: dict[str, Architecture] = {name: small(name) for name in NETWORKS} | {
    "batch-norm": ConvNetSettings(depth=3, skip=1.0, layers_per_block=2, norm="batch"),
    "biases": DenseSettings(depth=2, skip=1.0, bias=True),
    "post-vision": VisionTransformerSettings(depth=1, heads=2, patch=16, norm="post", bias=True),
    "post-biases": LanguageModelSettings(depth=1, norm="post", bias=True),
}
"""All networks, and what their smallest settings leave out."""

ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-13}


def several(settings: Architecture, count: int, dtype: torch.dtype = torch.float64) -> list[Network]:
    """Networks of different values."""
    return [built(settings, "depth-mup", 4, seed=seed).to(dtype) for seed in range(count)]


def inputs_of(settings: Architecture, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return examples(settings, 4, dtype=dtype).inputs


def require_near(found: Any, expected: Any, dtype: torch.dtype) -> None:
    """Equal to rounding, relative to the largest of each."""
    for one, other in zip(found, expected, strict=True):
        bound = ROUNDING[dtype] * float(other.detach().abs().max())
        torch.testing.assert_close(one, other, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", ROUNDING, ids=["single", "double"])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_stacked_network_gives_what_each_gives_alone(name: str, count: int, dtype: torch.dtype) -> None:
    settings = SETTINGS[name]
    inputs, models = inputs_of(settings, dtype), several(settings, count, dtype)
    alone = [model(inputs) for model in models]
    weights = [torch.linspace(-1, 2, output.numel(), dtype=dtype).view_as(output) for output in alone]
    gradients = [
        torch.autograd.grad((weight * output).sum(), list(model.parameters()))
        for weight, output, model in zip(weights, alone, models, strict=True)
    ]
    whole = stacked_network(models)
    outputs = whole(inputs)
    require_near(outputs, alone, dtype)
    found = torch.autograd.grad((torch.stack(weights) * outputs).sum(), list(whole.parameters()))
    for place, gradient in enumerate(found):
        expected = [own[place] for own in gradients]
        parts = [part.reshape(own.shape) for part, own in zip(gradient.chunk(count), expected, strict=True)]
        require_near(parts, expected, dtype)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_training_the_whole_trains_each(name: str, count: int) -> None:
    settings = SETTINGS[name]
    inputs, models = inputs_of(settings), several(settings, count)
    apart = copy.deepcopy(models)
    whole = stacked_network(models)
    assert [place for place, _ in whole.named_parameters()] == [
        place for place, _ in models[0].named_parameters()
    ]
    with torch.no_grad():
        for value in whole.parameters():
            rows = torch.arange(len(value), dtype=value.dtype) * count // len(value)
            value.add_(1 + rows.view(-1, *(1,) * (value.ndim - 1)))
        for index, model in enumerate(apart):
            for value in model.parameters():
                value.add_(1 + index)
    for model, other in zip(models, apart, strict=True):
        torch.testing.assert_close(model.state_dict(), other.state_dict(), rtol=0, atol=0)
    require_near(whole(inputs), [model(inputs) for model in models], torch.float64)
    with torch.no_grad():
        for value in models[-1].parameters():
            value.zero_()
    assert all((value.chunk(count)[-1] == 0).all() for value in whole.parameters())


@pytest.mark.parametrize("name", ["simple-convnet", "convnet", "resnet", "batch-norm"])
def test_convolutions_keep_channels_last_in_memory(name: str) -> None:
    models = several(SETTINGS[name], 3)
    for module in (*models, stacked_network(models), *models):
        images = [value for value in module.parameters() if value.ndim == 4]
        assert images
        assert all(value.is_contiguous(memory_format=torch.channels_last) for value in images)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_frozen_stays_frozen(name: str) -> None:
    settings = SETTINGS[name]
    models = several(settings, 2)
    for model in models:
        for place, value in model.named_parameters():
            value.requires_grad_("readout" in place)
    whole = stacked_network(models)
    trained = {place for place, value in whole.named_parameters() if value.requires_grad}
    assert trained == {place for place, _ in models[0].named_parameters() if "readout" in place}
    whole(inputs_of(settings)).sum().backward()
    assert all((value.grad is not None) == value.requires_grad for value in whole.parameters())


def different() -> dict[str, list[Network]]:
    """Pairs of networks that differ in one thing."""
    conv, dense = ConvNetSettings(depth=3), DenseSettings(depth=2)
    frozen = several(dense, 2)
    frozen[1].readout.weight.requires_grad_(False)
    one = built(dense, "mup", 4)
    return {
        "none": [],
        "architectures": [built(conv, "mup", 4), one],
        "widths": [one, built(dense, "mup", 5)],
        "depths": [one, built(DenseSettings(depth=3), "mup", 4)],
        "tables": [one, built(dense, "ntp", 4)],
        "tables in depth": [built(conv, table, 4) for table in ("mup", "depth-mup")],
        "heads": [built(LanguageModelSettings(depth=1, heads=heads), "mup", 4) for heads in (1, 2)],
        "skips": [built(ConvNetSettings(depth=3, skip=skip), "mup", 4) for skip in (0.0, 1.0)],
        "branch scales": [built(ConvNetSettings(depth=3, branch_scale=beta), "mup", 4) for beta in (1, 2)],
        "gains": [built(ConvNetSettings(depth=3, gain=gain), "mup", 4) for gain in (1, 2)],
        "strides": [
            built(ConvNetSettings(depth=3, stages=stages, first_stride=stride), "mup", 4)
            for stages, stride in ((3, 1), (3, 2))
        ],
        "activations": [built(DenseSettings(activation=name), "mup", 4) for name in ("relu", "tanh")],
        "norms": [built(LanguageModelSettings(norm=name), "mup", 4) for name in ("pre", "post")],
        "precisions": [one, built(dense, "mup", 4).float()],
        "devices": [one, built(dense, "mup", 4).to("meta")],
        "frozen": frozen,
    }


@pytest.mark.parametrize("case", different())
def test_different_networks_are_refused(case: str) -> None:
    with pytest.raises(InputError, match=r"networks to train together is .*; accepted: at least one"):
        stacked_network(different()[case])


def config(settings: Architecture, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "architecture": settings,
        "steps": 10,
        "batch_size": 4,
        "measure_at": (0, 3, 10),
        "quantities": (),
        "hessian_examples": 6,
        "evaluation_examples": 12,
    }
    return TrainingConfig(parametrization("mup"), **values | changes)


def both_ways(grid: Grid, data: Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    return train_grid(grid, data, stacked=True), train_grid(grid, data, stacked=False)


OPTIMIZERS = {
    "sgd": Optimizer(momentum=0.9, weight_decay=0.01),
    "adam": Optimizer("adam"),
    "adamw": Optimizer("adamw", weight_decay=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", SMALL)
def test_a_grid_trains_alike_together_and_apart(name: str, optimizer: str) -> None:
    settings = small(name)
    data = examples(settings, 12)
    rates = (0.01, 0.03) if optimizer == "sgd" else (0.001, 0.004)
    grid = Grid(
        config(settings, optimizer=OPTIMIZERS[optimizer], vary="initialisation", warmup=3),
        (4,),
        rates,
        (0, 1, 2),
    )
    joined, apart = both_ways(grid, data)
    assert int((np.diff(apart["loss"], axis=-1) != 0).sum()) == 2 * 6
    tolerance = 1e-10 if data.inputs.is_floating_point() else 1e-4
    np.testing.assert_allclose(joined["loss"], apart["loss"], rtol=tolerance)
    np.testing.assert_array_equal(joined["accuracy"], apart["accuracy"])


@pytest.mark.parametrize("name", ["simple-convnet", "mlp"])
def test_single_precision_differs_by_its_rounding(name: str) -> None:
    settings = small(name)
    grid = Grid(config(settings), (4,), (0.02, 0.05), (0,))
    joined, apart = both_ways(grid, examples(settings, 12, dtype=torch.float32))
    np.testing.assert_allclose(joined["loss"], apart["loss"], rtol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_a_run_that_diverges_leaves_the_others_alone(name: str) -> None:
    settings = small(name)
    grid = Grid(config(settings), (4,), (0.01, 1e30), (0,))
    joined, apart = both_ways(grid, examples(settings, 12, dtype=torch.float32))
    for record in (joined, apart):
        fine, wild = (record.isel(width=0, seed=0, learning_rate=index) for index in (0, 1))
        assert int(fine["diverged_step"]) == NEVER
        assert np.isfinite(fine["loss"]).all()
        assert int(wild["diverged_step"]) != NEVER
    np.testing.assert_allclose(joined["loss"], apart["loss"], rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["simple-convnet", "resnet", "transformer"])
def test_the_curvature_is_that_of_each_alone(name: str, optimizer: str) -> None:
    settings = small(name)
    measured = config(
        settings,
        optimizer=OPTIMIZERS[optimizer],
        quantities=("sharpness", "output_residual"),
        steps=3,
        measure_at=(3,),
    )
    rates = (0.01, 0.02) if optimizer == "sgd" else (0.001, 0.002)
    joined, apart = both_ways(Grid(measured, (4,), rates, (0,)), examples(settings, 12))
    for quantity in measured.quantities:
        np.testing.assert_allclose(joined[quantity], apart[quantity], rtol=1e-3)
    assert (np.diff(apart["sharpness"], axis=1) != 0).all()


def test_the_rest_of_a_frozen_cohort_does_not_move() -> None:
    settings = small("convnet")
    data, shared = (
        examples(settings, 12),
        config(settings, frozen=("first", "stages"), steps=2, measure_at=(2,)),
    )
    group = RunGroup(shared, data, Probe(shared, data), [Run(4, 0.1, 0), Run(4, 0.2, 0)])
    before = copy.deepcopy([model.state_dict() for model in group.models])
    list(group.train())
    for model, earlier in zip(group.models, before, strict=True):
        for place, value in model.state_dict().items():
            assert bool((value == earlier[place]).all()) == ("first" in place or "stages" in place)


@pytest.mark.parametrize("frozen", [("frist",), ("first", "attention"), ("",), ("weight",)])
def test_freezing_nothing_or_everything_is_refused(frozen: tuple[str, ...]) -> None:
    settings = small("convnet")
    data, shared = examples(settings, 12), config(settings, frozen=frozen)
    with pytest.raises(
        InputError, match=r"frozen is .*; accepted: parts of parameters' names, such as first"
    ):
        RunGroup(shared, data, Probe(shared, data), [Run(4, 0.1, 0)])


@pytest.mark.parametrize("runs", [[Run(4, 0.1, 0), Run(5, 0.1, 0)], [Run(4, 0.1, 0), Run(4, 0.1, 1)]])
def test_runs_of_another_width_or_data_order_do_not_train_together(runs: list[Run]) -> None:
    settings = small("mlp")
    data, shared = examples(settings, 12), config(settings)
    with pytest.raises(InputError, match=r"runs to train together is .*; accepted: one width and data order"):
        RunGroup(shared, data, Probe(shared, data), runs)


def test_one_name_stands_for_a_tuple_of_it() -> None:
    assert config(small("convnet"), frozen="first").frozen == ("first",)
