"""Any setting is an axis: its values, their labels, and what is one value."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from superconsistency import open_results
from superconsistency.errors import InputError
from superconsistency.runner import (
    HERE,
    DataChoice,
    LatentModel,
    NetworkModel,
    carry_out,
    look,
    make_plan,
    make_sweep,
    read_sweep,
    results_of,
)
from superconsistency.runner.axes import Labels

from .grids import written

NETWORK = NetworkModel(
    ("steps=4", "measure_every=4", "quantities=", "evaluation_examples=16"), DataChoice("digits", examples=64)
)
RUN: dict[str, Any] = {"width": 4, "learning_rate": 0.1, "seed": 0, "batch_size": 16}

MANY: dict[str, tuple[str, list[Any], list[Any]]] = {
    "warmup": ("mlp", [0, 3], [0, 3]),
    "augmentation": ("simple-convnet", ["none", "standard", "flip"], ["none", "crop4+flip+rotate10", "flip"]),
    "frozen": ("mlp", [[], ["first"], ["first", "readout"]], ["none", "first", "first+readout"]),
    "layers_per_block": ("resnet", [1, 2], [1, 2]),
    "skip": ("convnet", [0, 1], [0, 1]),
    "weight_decay": ("mlp", [0, 0.01], [0.0, 0.01]),
    "depth": ("mlp", [2, 3], [2, 3]),
    "batch_size": ("mlp", [16, "all"], ["16", "all"]),
    "bias": ("mlp", [True, False], ["true", "false"]),
    "momentum": ("mlp", [0.9, 0], [0.0, 0.9]),
    "measure_at": ("mlp", ["none", [0, 4]], ["none", "0+4"]),
}
"""By axis: a network that has it, values as in a file, and their labels in the results."""


@pytest.mark.parametrize("name", MANY)
def test_any_setting_is_an_axis_whose_runs_differ_and_whose_labels_are_its_values(name: str) -> None:
    network, values, labels = MANY[name]
    optimizer = "adamw" if name == "weight_decay" else "sgd"
    grid = RUN | {"architecture": network, "optimizer": optimizer, "learning_rate": 0.05, name: values}
    results = results_of(make_sweep(NETWORK, [grid]))
    assert results[name].to_numpy().tolist() == labels
    assert results.sizes[name] == len(values)
    final = results["loss"].isel(step=-1).squeeze().to_numpy()
    assert np.isfinite(final).all()
    assert len(set(final.tolist())) == (1 if name == "measure_at" else len(values))
    for label in labels:
        assert results["loss"].sel({name: label}).size == 2


@pytest.mark.parametrize("name", MANY)
def test_a_run_of_an_axis_is_the_run_that_has_the_value_as_a_setting(name: str) -> None:
    network, values, _ = MANY[name]
    grid = RUN | {"architecture": network, "optimizer": "adamw" if name == "weight_decay" else "sgd"}
    several = make_plan(make_sweep(NETWORK, [grid | {name: values}]))
    value = values[-1]
    text = "+".join(map(str, value)) if isinstance(value, list) else str(value).lower()
    model = NetworkModel((*NETWORK.settings, f"{name}={text}"), NETWORK.data)
    alone = make_plan(make_sweep(model, [{key: one for key, one in grid.items() if key != name}]))
    assert {named.key for named in alone.named} < {named.key for named in several.named}


def test_grids_have_axes_of_their_own_and_the_models_setting_elsewhere(tmp_path: Path) -> None:
    text = """
    [data]
    dataset = "digits"
    examples = 64
    [settings]
    steps = 4
    measure_every = 4
    quantities = []
    evaluation_examples = 16
    [[grid]]
    architecture = "mlp"
    width = 4
    seeds = 2
    batch_size = 16
    warmup = [2, 4]
    learning_rate = 0.1
    [[grid]]
    architecture = "mlp"
    width = 4
    seeds = 2
    batch_size = [16, "all"]
    frozen = [["first"], "none"]
    learning_rate = [0.1, 0.2]
    """
    sweep, _ = read_sweep(written(tmp_path, text))
    assert len(sweep.cells) == 4 + 16
    plan = make_plan(sweep)
    carry_out(plan, tmp_path / "out", HERE, look(plan, tmp_path / "out"))
    results = open_results(tmp_path / "out").load()
    assert results["warmup"].to_numpy().tolist() == [0, 2, 4]
    assert results["frozen"].to_numpy().tolist() == ["none", "first"]
    assert results["batch_size"].to_numpy().tolist() == ["16", "all"]
    assert int(results["completed"].sum()) == 20
    first = results["completed"].sel(warmup=[2, 4])
    assert int(first.sum()) == 4
    assert (first.sel(frozen="none", batch_size="16", learning_rate=0.1) == 1).all()
    assert (results["completed"].sel(warmup=0) == 1).all()


def test_one_run_reached_by_an_axis_and_by_the_models_own_setting_is_refused_as_a_duplicate() -> None:
    grids = [RUN | {"architecture": "mlp"}, RUN | {"architecture": "mlp", "warmup": [0, 4]}]
    with pytest.raises(
        InputError, match=r"run is parametrization mup.* warmup 0,.*; accepted: runs that differ"
    ):
        make_sweep(NETWORK, grids)


def test_latent_systems_have_their_settings_as_axes() -> None:
    grids: list[dict[str, Any]] = [
        {"width": 8, "seed": 0, "learning_rate": 0.2, "dimension": [3, 5], "method": ["full", "reduced"]},
        {"width": 8, "seed": 0, "learning_rate": 0.2, "target_norm": [2, 3], "measure_every": 10},
        {"width": 8, "seed": 0, "learning_rate": 0.2},
    ]
    results = results_of(make_sweep(LatentModel(steps=160), grids))
    assert results["dimension"].to_numpy().tolist() == [3, 5, 20]
    assert results["target_norm"].to_numpy().tolist() == [1.0, 2.0, 3.0]
    assert set(results["method"].to_numpy()) == {"auto", "full", "reduced"}
    assert results["measure_every"].to_numpy().tolist() == [10]
    assert int(results["completed"].sum()) == 4 + 2 + 1


def test_the_edge_of_stability_is_a_variable_of_each_run() -> None:
    grid = RUN | {"architecture": "mlp", "learning_rate": [0.001, 0.002]}
    grids: list[dict[str, Any]] = [
        grid | {"optimizer": "sgd", "momentum": [0, 0.5]},
        grid | {"optimizer": "adam"},
    ]
    results = results_of(make_sweep(NETWORK, grids)).squeeze(drop=True)
    edges = results["edge_of_stability"] * results["learning_rate"]
    np.testing.assert_allclose(edges.sel(optimizer="sgd", momentum=0.0), 2)
    np.testing.assert_allclose(edges.sel(optimizer="sgd", momentum=0.5), 2 * 1.5)
    np.testing.assert_allclose(edges.sel(optimizer="adam", momentum=0.0), 2 * 1.9 / 0.1)
    assert edges.sel(optimizer="adam", momentum=0.5).isnull().all()


FLOATS = """
model = "latent"
[settings]
dimension = 4
steps = 20
[[grid]]
width = [64, 128]
learning_rate = [0.3, 0.6, 1.2]
seeds = 3
[[grid]]
width = [256, 512]
learning_rate = [0.30000000000000004, 0.6000000000000001, 1.2]
seeds = 3
"""


def test_numbers_that_differ_by_rounding_are_one_value_in_two_grids(tmp_path: Path) -> None:
    results = results_of(read_sweep(written(tmp_path, FLOATS))[0])
    assert results["learning_rate"].to_numpy().tolist() == [0.3, 0.6, 1.2]
    assert results["width"].to_numpy().tolist() == [64, 128, 256, 512]
    assert (results["completed"] == 1).all()


def test_numbers_that_differ_by_rounding_are_refused_in_one_list() -> None:
    with pytest.raises(InputError, match=r"learning rate is \(0.3, 0.3\); accepted: different values"):
        make_sweep(LatentModel(), [{"learning_rate": [0.3, 0.30000000000000004]}])
    with pytest.raises(InputError, match=r"learning rate is .*accepted: different values"):
        make_sweep(LatentModel(), [{"learning_rate": [0.5, 0.7, 0.5]}])


def test_a_default_and_a_value_that_differ_by_rounding_are_one_value() -> None:
    sweep = make_sweep(LatentModel(), [{"width": 8}, {"width": 16, "learning_rate": 0.5 + 2**-52}])
    assert sweep.axes["learning_rate"] == [0.5]


def test_large_seeds_are_different_however_close() -> None:
    seeds = [2 * 10**9, 2 * 10**9 + 1, 2**53 - 1]
    sweep = make_sweep(LatentModel(), [{"width": 8, "seed": seeds}])
    assert sweep.axes["seed"] == seeds


@given(
    numbers=st.lists(st.floats(1e-6, 1e6) | st.just(math.inf), min_size=1, max_size=12, unique=True),
    order=st.randoms(use_true_random=False),
)
def test_labels_are_the_first_of_the_numbers_that_they_are_equal_to(numbers: list[float], order: Any) -> None:
    apart = [one for one in numbers if sum(math.isclose(one, other, rel_tol=1e-8) for other in numbers) == 1]
    labels = Labels()
    assert labels.merged(apart) == apart
    twins = [one * (1 + 3e-10) for one in apart]
    order.shuffle(twins)
    assert sorted(labels.merged(twins)) == sorted(apart)
    assert labels.merged([one * (1 + 3e-9) for one in apart if one < math.inf]) == [
        one * (1 + 3e-9) for one in apart if one < math.inf
    ]


def test_configurations_say_what_all_runs_share_and_no_more() -> None:
    grid = RUN | {"architecture": "mlp", "warmup": [0, 2], "learning_rate": [0.1, 0.2]}
    shared = json.loads(make_plan(make_sweep(NETWORK, [grid])).manifest.attrs["configuration"])
    assert shared["steps"] == 4
    assert not {"warmup", "learning_rate", "learning_rates"} & set(shared)
    latent = make_plan(make_sweep(LatentModel(dimension=4), [{"width": [4, 8], "learning_rate": [0.1, 0.2]}]))
    assert not {"widths", "learning_rates"} & set(json.loads(latent.manifest.attrs["configuration"]))
