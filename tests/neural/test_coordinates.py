"""The coordinate check passes what the table says, and catches what it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import Dataset, Optimizer, TrainingConfig, load_dataset, network
from superconsistency.neural.coordinates import (
    FAILED,
    PASSED,
    UNDECIDED,
    CoordinateCheck,
    CoordinateReport,
    coordinate_check,
    default_rate,
    default_steps,
)
from superconsistency.neural.coordinates.measuring import MeasuredNetwork, few_examples
from superconsistency.theory import Parametrization, Scale, parametrization
from superconsistency.theory.parametrization import HALF


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


def checked(
    data: Dataset,
    table: Parametrization,
    name: str = "mlp",
    optimizer: str = "sgd",
    expected: Parametrization | None = None,
    **settings: Any,
) -> CoordinateReport:
    size = settings.pop("size", "width")
    config = TrainingConfig(table, architecture=network(name), optimizer=Optimizer(optimizer))
    check = CoordinateCheck(
        config,
        default_rate(expected or table, optimizer),
        size=size,
        sizes=settings.pop("sizes", (64, 128, 256, 512) if size == "width" else (3, 6, 12, 24)),
        steps=default_steps(expected or table, optimizer),
        seeds=tuple(range(settings.pop("seeds", 24))),
        expected=expected,
        **settings,
    )
    return coordinate_check(check, data)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["mup", "ntp", "sp"])
def test_an_mlp_moves_as_the_table_says(digits: Dataset, name: str, optimizer: str) -> None:
    report = checked(digits, parametrization(name), optimizer=optimizer)
    assert report.verdict == PASSED, report.sentence


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_residual_network_moves_alike_at_every_depth_under_depth_mup(
    digits: Dataset, optimizer: str
) -> None:
    report = checked(
        digits, parametrization("depth-mup"), "residual-mlp", optimizer, size="depth", width=128, seeds=16
    )
    assert report.verdict == PASSED, report.sentence


@pytest.mark.parametrize("row", ["mup", "sp"])
@pytest.mark.parametrize("name", ["transformer", "transformer-post"])
def test_a_transformer_moves_as_the_table_says(name: str, row: str) -> None:
    data = load_dataset("random-tokens", examples=4)
    report = checked(data, parametrization(row), name, "adam", seeds=8, sizes=(64, 128, 256))
    assert report.verdict == PASSED, report.sentence


def test_a_wrong_readout_multiplier_is_caught(digits: Dataset) -> None:
    mup, ntp = parametrization("mup"), parametrization("ntp")
    wrong = replace(mup, readout=replace(mup.readout, multiplier=ntp.readout.multiplier))
    report = checked(digits, wrong, expected=mup)
    assert report.verdict == FAILED
    failed = {(fit.layer, fit.quantity) for fit in report.fits if fit.verdict == FAILED}
    assert ("readout", "own_change") in failed


@pytest.mark.parametrize("rate", [Scale(), Scale.of(fan_in=1)])
def test_a_wrong_adam_rate_is_caught(digits: Dataset, rate: Scale) -> None:
    mup = parametrization("mup")
    wrong = replace(mup, hidden=replace(mup.hidden, adam=rate))
    report = checked(digits, wrong, optimizer="adam", expected=mup)
    assert report.verdict == FAILED
    failed = {fit.layer for fit in report.fits if fit.verdict == FAILED and fit.quantity == "own_change"}
    assert failed >= {"hidden.0", "hidden.1"}


def test_branches_that_are_not_scaled_are_caught_in_depth(digits: Dataset) -> None:
    report = checked(
        digits, parametrization("mup"), "residual-mlp", size="depth", width=64, seeds=4,
        expected=parametrization("depth-mup"),
    )  # fmt: skip
    assert report.verdict == FAILED


def test_what_is_measured_is_what_two_forward_passes_differ_by(digits: Dataset) -> None:
    few = few_examples(digits, 4)
    config = TrainingConfig(parametrization("mup"), architecture=network("mlp"), quantities=())
    check = CoordinateCheck(config, 0.05, sizes=(8, 16), steps=(1, 2), seeds=(0,))
    measured = MeasuredNetwork(*check.at(8, 0), few)
    values = measured.measured((1, 2))
    start, end = MeasuredNetwork(*check.at(8, 0), few).layers["first"], measured.layers["first"]
    with torch.no_grad():
        size, later = (float(layer(few.inputs.flatten(1)).abs().mean()) for layer in (start, end))
        moved = float((end.get_parameter("weight") - start.get_parameter("weight")).abs().mean())
    assert float(values["first"]["activation"]) == pytest.approx(size, rel=1e-6)
    assert values["first"]["weight_change"][-1] == pytest.approx(moved, rel=1e-5)
    assert values["first"]["later_activation"][-1] == pytest.approx(later, rel=1e-6)
    np.testing.assert_allclose(values["first"]["change"], values["first"]["own_change"], rtol=1e-4)


def test_measuring_leaves_the_training_alone(digits: Dataset) -> None:
    few = few_examples(digits, 4)
    config = TrainingConfig(parametrization("mup"), architecture=network("mlp"), quantities=())
    check = CoordinateCheck(config, 0.05, sizes=(8, 16), steps=(1, 2), seeds=(0,))
    one, two = (MeasuredNetwork(*check.at(8, 0), few) for _ in range(2))
    one.measured((1, 2))
    for _ in two.run_group.train():
        pass
    for left, right in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(left, right)


def test_the_record_says_what_produced_it(digits: Dataset) -> None:
    report = checked(digits, parametrization("mup"), sizes=(4, 8), seeds=2)
    record = report.record
    assert record.sizes == {"layer": 4, "size": 2, "seed": 8, "step": 3}
    assert record.attrs["size"] == "width"
    assert "parametrization" in record.attrs["configuration"]
    assert np.isnan(record["change"].isel(seed=slice(2, None))).all()
    assert np.isfinite(record["activation"]).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"config": TrainingConfig(parametrization("mup"), frozen=("first",))},
            "nothing in a coordinate check",
        ),
        (
            {"config": TrainingConfig(parametrization("mup"), architecture=network("mlp")), "size": "depth"},
            "one with residual branches",
        ),
        ({"sizes": (8,)}, "number of widths is 1"),
        ({"sizes": (8, 8)}, "widths is"),
        ({"size": "height"}, "size is height"),
        ({"steps": ()}, "steps is"),
        ({"seeds": ()}, "seeds is"),
        ({"size": "depth", "sizes": (3, 6)}, "one with residual branches"),
    ],
)
def test_an_impossible_check_is_refused(settings: dict[str, Any], words: str) -> None:
    settings = {"config": TrainingConfig(parametrization("mup"))} | settings
    with pytest.raises(InputError, match=words):
        CoordinateCheck(learning_rate=0.1, **settings)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_wrong_rate_of_biases_is_caught(digits: Dataset, optimizer: str) -> None:
    mup = parametrization("mup")
    rule = replace(mup.vector, learning_rate=Scale(), adam=Scale.of(width=-1))
    config = TrainingConfig(
        replace(mup, vector=rule), architecture=network("mlp", bias=True), optimizer=Optimizer(optimizer)
    )
    rate = default_rate(mup, optimizer)
    check = CoordinateCheck(config, rate, sizes=(64, 128, 256), steps=(1,), seeds=(0, 1, 2, 3), expected=mup)
    report = coordinate_check(check, digits)
    failed = {fit.layer for fit in report.fits if fit.verdict == FAILED}
    assert failed >= {"first.bias", "hidden.0.bias", "hidden.1.bias"}
    assert "readout.bias" not in failed


@pytest.mark.parametrize("power", [0, -2])
def test_a_wrong_rate_of_norms_in_the_stream_is_caught_in_depth(power: int) -> None:
    table = parametrization("depth-mup")
    wrong = replace(table, stream=replace(table.vector, adam=Scale.of(depth=power)))
    data = load_dataset("random-tokens", examples=4)
    report = checked(
        data,
        wrong,
        "transformer-post",
        "adam",
        size="depth",
        sizes=(3, 6, 12),
        seeds=3,
        expected=table,
        width=16,
    )
    failed = {fit.layer for fit in report.fits if fit.verdict == FAILED}
    assert failed >= {"stream, gain", "stream, bias"}


def test_logits_divided_by_the_root_of_the_dimension_are_caught() -> None:
    mup = parametrization("mup")
    wrong = replace(mup, attention=Scale.of(fan_in=-HALF))
    data = load_dataset("random-tokens", examples=4)
    report = checked(data, wrong, "transformer", "adam", seeds=4, expected=mup)
    failed = {fit.layer for fit in report.fits if fit.verdict == FAILED}
    assert failed >= {"blocks.0.attention.logits", "blocks.1.attention.logits"}


def test_a_size_without_finite_values_fails_and_is_named(digits: Dataset) -> None:
    config = TrainingConfig(parametrization("mup"), architecture=network("mlp"))
    check = CoordinateCheck(config, 1e30, sizes=(4, 8), steps=(1, 2, 3), seeds=(0, 1))
    report = coordinate_check(check, digits)
    assert report.verdict == FAILED
    assert "zero or not finite" in report.sentence


def test_a_fit_that_is_not_known_well_does_not_pass(digits: Dataset) -> None:
    report = checked(digits, parametrization("mup"), seeds=2)
    assert report.verdict == UNDECIDED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": (3, 1)}, "steps is .*ascending"),
        ({"steps": (0, 1)}, "step is 0"),
        ({"steps": (1.5, 2)}, "step is 1.5"),
        ({"steps": ()}, "steps"),
        ({"learning_rate": -0.01}, "learning rate is -0.01"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"seeds": (-1, 2)}, "seed is -1"),
        ({"sizes": (0, 8)}, "width is 0"),
    ],
)
def test_a_check_that_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"learning_rate": 0.1, "sizes": (4, 8), "seeds": (0,)}
    with pytest.raises(InputError, match=words):
        CoordinateCheck(TrainingConfig(parametrization("mup")), **(settings | changes))


@pytest.mark.parametrize("steps", [(1,), (1, 2, 8)])
def test_networks_that_diverge_fail_and_have_no_values_from_there_on(
    steps: tuple[int, ...], digits: Dataset
) -> None:
    """Whatever the settings say of when to measure and when to give up."""
    config = TrainingConfig(
        parametrization("mup"), architecture=network("mlp"), loss="mse", measure_every=1, give_up=2
    )
    check = CoordinateCheck(config, 1e25, sizes=(4, 8), steps=steps, seeds=(0, 1))
    report = coordinate_check(check, digits)
    assert report.verdict == FAILED
    assert report.record["change"].sizes["step"] == len(steps)
    assert not np.isfinite(report.record["change"].isel(step=-1).sel(layer="readout")).all()
    np.testing.assert_array_equal(np.isfinite(report.record["activation"].isel(step=0)), True)


def test_no_examples_are_refused(digits: Dataset) -> None:
    with pytest.raises(InputError, match="examples is 0"):
        few_examples(digits, 0)
