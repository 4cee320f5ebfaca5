"""The commands that train networks: settings by name, resuming, coordinate checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from superconsistency import neural
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.neural import Optimizer, TrainingConfig
from superconsistency.neural.networks import ConvNetSettings
from superconsistency.neural.settings import apply_settings
from superconsistency.records import load_record
from superconsistency.theory import parametrization

FAST = ["--widths", "2,4", "--steps", "4", "--seeds", "1", "--every", "2", "--batch-size", "16"]
SMALL = ["--set", "hessian_examples=8", "--set", "evaluation_examples=16", "--examples", "64"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--network", "resnet", "--parametrization", "depth-mup", "--set", "depth=3", "--augment"],
        ["--network", "mlp", "--optimizer", "adam", "--learning-rate", "0.01", "--set", "warmup=2"],
        ["--network", "vit", "--widths", "8", "--set", "depth=1", "--optimizer", "adamw",
         "--learning-rate", "0.001", "--set", "weight_decay=0.01"],
        ["--network", "transformer", "--set", "depth=1", "--learning-rate", "0.05"],
        ["--set", "momentum=0.9", "--set", "quantities=sharpness,ntk_sharpness,hessian_trace", "--set",
         "count=2"],
        ["--batch-size", "all", "--set", "loss=mse", "--set", "frozen=first,second", "--as-published"],
        ["--set", "measure_at=0,2,4", "--set", "as_published=summed-kernel"],
        ["--dataset", "random", "--network", "two-layer-linear", "--set", "loss=squared"],
    ],
)  # fmt: skip
def test_networks_train_by_name(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "run.nc"
    code, out, err = run(capsys, "train", *FAST, *SMALL, *arguments, "--output", str(output), "--json")
    assert code == 0, err
    document = json.loads(out)
    record = load_record(output)
    assert document["attrs"]["configuration"]["steps"] == 4
    assert record["completed"].all()
    assert np.isfinite(record["loss"]).all()
    assert "sharpness" in record
    assert not list(tmp_path.glob("*.checkpoint")) + list(tmp_path.glob("*.partial.nc"))


def test_a_training_that_was_interrupted_goes_on_when_called_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, unbroken = tmp_path / "broken.nc", tmp_path / "unbroken.nc"
    command = ["train", *FAST, *SMALL, "--output"]
    assert run(capsys, *command, str(unbroken))[0] == 0
    train_grid = neural.train_grid
    taken = 0

    def interrupted(*given: Any, on_measurement: Any, **options: Any) -> Any:
        def stop(record: Any) -> None:
            nonlocal taken
            taken += 1
            on_measurement(record)
            if taken > 4:
                raise KeyboardInterrupt

        return train_grid(*given, on_measurement=stop, **options)

    monkeypatch.setattr(neural, "train_grid", interrupted)
    code, _, err = run(capsys, *command, str(broken))
    assert code == 130
    assert "interrupted; what there was is in" in err
    monkeypatch.setattr(neural, "train_grid", train_grid)
    code, _, err = run(capsys, *command, str(broken))
    assert code == 0
    assert "going on from" in err
    one, two = load_record(broken), load_record(unbroken)
    for name in one.variables:
        assert one[name].to_numpy().tobytes() == two[name].to_numpy().tobytes()


BAD = {
    "unknown network": (["train", "--network", "lenet"], "network is lenet; accepted: simple-convnet"),
    "unknown optimizer": (["train", "--optimizer", "lion"], "optimizer is lion; accepted: sgd, adam, adamw"),
    "unknown setting": (["train", "--set", "colour=red"], "--set is colour=red; accepted: NAME=VALUE of"),
    "setting without a value": (["train", "--set", "warmup"], "--set is warmup; accepted: NAME=VALUE of"),
    "word for a number": (
        ["train", "--set", "warmup=soon"], "--set warmup is soon; accepted: a whole number",
    ),
    "part of a layer": (
        ["train", "--network", "mlp", "--set", "depth=2.5"], "--set depth is 2.5; accepted: a whole number",
    ),
    "neither true nor false": (
        ["train", "--network", "mlp", "--set", "bias=maybe"], "--set bias is maybe; accepted: true",
    ),
    "momentum of Adam": (
        ["train", "--optimizer", "adam", "--set", "momentum=0.9"], "momentum is 0.9; accepted: 0 with adam",
    ),
    "depth between stages": (
        ["train", "--network", "resnet", "--set", "depth=4"],
        "depth is 4; accepted: multiples of the 3 stages",
    ),
    "text for a network of images": (
        ["train", "--dataset", "random-tokens"], "kind of the data is tokens; accepted: images",
    ),
    "heads that do not divide": (
        ["train", "--network", "vit", "--widths", "12"], "width is 12; accepted: multiples of the 8 heads",
    ),
    "several batch sizes": (["train", "--batch-size", "64,32"], "batch size is 64,32; accepted: one number"),
    "a setting that is a part": (["train", "--set", "optimizer=5"], "--set is optimizer=5; accepted"),
    "a row as a setting": (["train", "--set", "parametrization=ntp"], "--set is parametrization=ntp"),
    "no steps": (["train", "--set", "steps=none"], "--set steps is none; accepted: a whole number"),
    "frozen by number": (["train", "--set", "frozen=1"], "frozen"),
    "augmented tokens": (
        ["train", "--network", "transformer", "--augment"], "augmentation is tokens; accepted: images",
    ),
    "depth without branches": (
        ["coordinate-check", "--network", "mlp", "--size", "depth"], "accepted: one with residual branches",
    ),
    "frozen in a check": (
        ["coordinate-check", "--set", "frozen=first"], "accepted: settings of network, optimizer and loss",
    ),
    "unknown data set": (["train", "--dataset", "mnist"], "data set is mnist; accepted: auto, digits"),
    "data set without a folder": (["train", "--dataset", "wikitext-2"], "data folder is not given"),
    "no batch": (["train", "--batch-size", "0"], "batch size is 0"),
    "word for a batch": (["train", "--batch-size", "some"], "batch size is some; accepted: numbers"),
    "one width": (["coordinate-check", "--sizes", "64"], "number of widths is 1"),
    "steps of a check": (
        ["coordinate-check", "--set", "steps=0"], "--set is steps; accepted: settings of network",
    ),
    "no rate of a check": (["coordinate-check", "--learning-rate", "nan"], "learning rate is nan"),
    "no rate": (["train", "--learning-rate", "nan"], "remedy: write 0.5,1,2, say"),
    "no batch size": (["train", "--batch-size", "few"], "remedy: write 128 or all, say"),
    "no depth": (["coordinate-check", "--size", "depth"], "accepted: one with residual branches"),
    "unknown size": (["coordinate-check", "--size", "height"], "size is height; accepted: width, depth"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = BAD[case]
    code, out, err = run(capsys, *arguments)
    assert code == 2, err
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


CHECK = ["coordinate-check", "--network", "mlp", "--sizes", "16,32,64", "--seeds", "4"]


def test_a_coordinate_check_prints_every_exponent_and_its_verdict(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture, record = tmp_path / "check.png", tmp_path / "check.nc"
    code, out, _ = run(capsys, *CHECK, "--figure", str(picture), "--output", str(record))
    assert code in {0, 1}
    assert "own change" in out
    assert "predicted" in out
    assert picture.stat().st_size > 0
    assert set(load_record(record)["layer"].to_numpy()) == {"first", "hidden.0", "hidden.1", "readout"}
    code, out, _ = run(capsys, *CHECK, "--json")
    document = json.loads(out)
    assert document["verdict"] in {"passed", "failed", "undecided"}
    assert (code == 0) == (document["verdict"] == "passed")
    assert len(document["fits"]) == 16


def test_the_published_adam_rate_fails_the_coordinate_check(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["--optimizer", "adam", "--set", "as_published=adam-rate-with-fan-in"]
    code, out, _ = run(capsys, *CHECK, *wrong, "--json")
    assert code == 1
    assert json.loads(out)["verdict"] == "failed"


def test_settings_belong_to_the_first_part_that_has_them() -> None:
    parts = {
        "network": ConvNetSettings(),
        "optimizer": Optimizer(),
        "training": TrainingConfig(parametrization("mup")),
    }
    pairs = ["depth=6", "skip=1", "norm=layer", "momentum=0.5", "warmup=3", "quantities=", "batch_size=none"]
    changed = apply_settings(pairs, parts)
    assert changed["network"] == ConvNetSettings(depth=6, skip=1, norm="layer")
    assert changed["optimizer"] == Optimizer(momentum=0.5)
    assert (changed["training"].warmup, changed["training"].quantities) == (3, ())
    assert changed["training"].batch_size is None
    with pytest.raises(InputError, match="--set depth is deep"):
        apply_settings(["depth=deep"], parts)
