"""The commands that train networks: settings by name, resuming, coordinate checks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from superconsistency import open_results
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.neural import Checkpoint, Optimizer, TrainingConfig
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
    saved = []
    save = Checkpoint.save

    def interrupted(self: Checkpoint, *arguments: Any) -> None:
        save(self, *arguments)
        saved.append(self.path)
        if len(saved) == 6:  # in the middle of the second of two groups
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "due", lambda _self: True)
    monkeypatch.setattr(Checkpoint, "save", interrupted)
    code, _, err = run(capsys, *command, str(broken))
    runs = tmp_path / "broken.runs"
    assert code == 130
    assert err.splitlines()[-1] == (
        f"Interrupted; complete runs are in {runs}. Rerun the same command to resume."
    )
    assert not broken.exists()
    assert int(open_results(runs)["completed"].sum()) == 1
    code, _, err = run(capsys, *command, str(broken))
    assert code == 0
    assert len(saved) == 8, "two steps were left"
    assert "2 runs, 1 of them complete already" in err
    assert not runs.exists()
    one, two = load_record(broken), load_record(unbroken)
    assert one.identical(two)
    for name in one.variables:
        assert one[name].to_numpy().tobytes() == two[name].to_numpy().tobytes()


KILLED = """
import sys
from superconsistency.cli import main
from superconsistency.neural import Checkpoint
Checkpoint.due = lambda self: True
main(sys.argv[1:])
"""


def test_a_training_that_is_killed_twice_ends_with_the_bits_of_an_unbroken_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = [
        "train", "--widths", "4,8", "--learning-rate", "0.05,0.1,0.2", "--seeds", "2", "--steps", "60",
        "--every", "20", "--batch-size", "16", *SMALL, "--over", "warmup=0,4",
    ]  # fmt: skip
    broken, unbroken = tmp_path / "broken.nc", tmp_path / "unbroken.nc"
    assert run(capsys, *command, "--output", str(unbroken))[0] == 0
    runs = tmp_path / "broken.runs"
    program = [sys.executable, "-c", KILLED, *command, "--output", str(broken)]
    for least in (2, 5):  # of 8 groups
        with subprocess.Popen(program, stdout=-1, stderr=-1) as process:
            until = time.monotonic() + 120
            while not _under_way(runs, least) and process.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            assert process.poll() is None, process.communicate()[1].decode()[-2000:]
            process.kill()
            process.communicate()
        assert len(list(runs.glob("runs/*/*/*.nc"))) >= least
        assert list(runs.glob("underway/*.checkpoint"))
    assert not broken.exists()
    code, _, err = run(capsys, *command, "--output", str(broken))
    assert code == 0
    assert "24 runs, " in err
    assert "complete already" in err
    one, two = load_record(broken), load_record(unbroken)
    assert one.identical(two)
    for name in one.variables:
        assert one[name].to_numpy().tobytes() == two[name].to_numpy().tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.nc", "unbroken.nc"]


def _under_way(runs: Path, complete: int) -> bool:
    """Whether so many groups are complete and another one has a checkpoint."""
    checkpoints = list(runs.glob("underway/*.checkpoint"))
    return len(list(runs.glob("runs/*/*/*.nc"))) >= complete and bool(checkpoints)


def test_an_axis_of_a_training_is_one_of_its_record(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "run.nc"
    command = ["train", *FAST, *SMALL, "--over", "warmup=0,4", "--output", str(output)]
    code, out, err = run(capsys, *command, "--json")
    assert code == 0, err
    record = load_record(output)
    assert record["loss"].dims == ("warmup", "width", "learning_rate", "seed", "step")
    assert record["warmup"].to_numpy().tolist() == [0, 4]
    assert json.loads(out)["coords"]["warmup"]["data"] == [0, 4]
    assert not record["loss"].sel(warmup=0).equals(record["loss"].sel(warmup=4))
    assert "edge_of_stability" in record
    alone = tmp_path / "alone.nc"
    assert run(capsys, "train", *FAST, *SMALL, "--set", "warmup=4", "--output", str(alone))[0] == 0
    values = load_record(alone)
    assert values["loss"].dims == ("width", "learning_rate", "seed", "step")
    for name in values.data_vars:
        np.testing.assert_array_equal(values[name], record[name].sel(warmup=4))


def test_a_training_with_several_axes_is_printed_and_one_value_is_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output, picture = tmp_path / "run.nc", tmp_path / "run.png"
    command = ["train", *FAST, *SMALL, "--output", str(output)]
    code, out, err = run(capsys, *command, "--over", "warmup=0,4", "--over", "batch_size=16,all")
    assert code == 0, err
    assert f"written: {output}" in out
    code, _, err = run(capsys, *command, "--over", "warmup=4", "--figure", str(picture))
    assert code == 0, err
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_several_values_of_an_axis_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output, picture = tmp_path / "run.nc", tmp_path / "run.png"
    command = ["train", *FAST, *SMALL, "--output", str(output), "--figure", str(picture)]
    code, out, err = run(capsys, *command, "--over", "warmup=0,4")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"--figure is {picture}; accepted: one value of warmup; remedy: leave it out" in err
    assert not list(tmp_path.iterdir())


def test_training_takes_loader_options_of_the_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["train", *FAST, "--set", "hessian_examples=8", "--set", "evaluation_examples=16",
               "--network", "transformer", "--set", "depth=1", "--examples", "32", "--learning-rate", "0.05",
               "--seed", "2", "--json"]  # fmt: skip
    hashes = set()
    for number, load in enumerate(([], ["--load", "sequence=7"], ["--load", "seed=0"])):
        code, out, err = run(capsys, *command, *load, "--output", str(tmp_path / f"{number}.nc"))
        assert code == 0, err
        hashes.add(json.loads(out)["attrs"]["data_hash"])
    assert len(hashes) == 3


BAD = {
    "unknown network": (["train", "--network", "lenet"], "network is lenet; accepted: simple-convnet"),
    "unknown optimizer": (["train", "--optimizer", "lion"], "optimizer is lion; accepted: sgd, adam, adamw"),
    "unknown setting": (["train", "--set", "colour=red"], "setting is colour=red; accepted: NAME=VALUE of"),
    "setting without a value": (["train", "--set", "warmup"], "--set is warmup; accepted: NAME=VALUE"),
    "word for a number": (
        ["train", "--set", "warmup=soon"], "setting warmup is soon; accepted: a whole number",
    ),
    "part of a layer": (
        ["train", "--network", "mlp", "--set", "depth=2.5"], "setting depth is 2.5; accepted: a whole number",
    ),
    "neither true nor false": (
        ["train", "--network", "mlp", "--set", "bias=maybe"], "setting bias is maybe; accepted: true",
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
    "several batch sizes": (["train", "--batch-size", "64,32"], "batch_size is 64,32; accepted: a whole"),
    "a setting that is a part": (["train", "--set", "optimizer=5"], "setting is optimizer=5; accepted"),
    "a row as a setting": (["train", "--set", "parametrization=ntp"], "setting is parametrization=ntp"),
    "no steps": (["train", "--set", "steps=none"], "setting steps is none; accepted: a whole number"),
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
    "word for a batch": (["train", "--batch-size", "some"], "batch_size is some; accepted: a whole number"),
    "one width": (["coordinate-check", "--sizes", "64"], "number of widths is 1"),
    "steps of a check": (
        ["coordinate-check", "--set", "steps=0"], "--set is steps; accepted: settings of network",
    ),
    "no rate of a check": (["coordinate-check", "--learning-rate", "nan"], "learning rate is nan"),
    "no rate": (["train", "--learning-rate", "nan"], "remedy: write 0.5,1,2, for example"),
    "no batch size": (["train", "--batch-size", "few"], "remedy: write 128, for example"),
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
