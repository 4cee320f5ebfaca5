"""What makes a run: its name changes where anything differs that its bits depend on, and nowhere else."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.runner import (
    DataChoice,
    LatentModel,
    NetworkModel,
    Plan,
    make_plan,
    make_sweep,
    network_model,
    read_sweep,
)

from .grids import LATENT, written

SETTINGS = ("steps=2", "hessian_examples=8", "evaluation_examples=8")
NETWORK = NetworkModel(SETTINGS, DataChoice("digits", examples=160))
SYSTEM = LatentModel(dimension=4, steps=8)
RUN: dict[str, Any] = {"width": 4, "seed": 0}


def planned(model: Any, **grid: Any) -> Plan:
    return make_plan(make_sweep(model, [RUN | grid]))


def family(plan: Plan) -> str:
    (only,) = {named.family for named in plan.named}
    return only


OTHERS: list[tuple[Any, dict[str, Any]]] = [
    (NetworkModel(("steps=3", *SETTINGS[1:]), NETWORK.data), {}),
    (NetworkModel(("weight_decay=0.1", *SETTINGS), NETWORK.data), {"optimizer": "adamw"}),
    (NetworkModel(SETTINGS, DataChoice("digits", examples=159)), {}),
    (NetworkModel(SETTINGS, DataChoice("digits", examples=160, seed=1)), {}),
    (NetworkModel(SETTINGS, NETWORK.data, threads=2), {}),
    (NetworkModel(SETTINGS, NETWORK.data, stacked=False), {}),
    (NETWORK, {"width": 5}),
    (NETWORK, {"parametrization": "ntp"}),
    (NETWORK, {"optimizer": "adam"}),
    (NETWORK, {"architecture": "mlp"}),
    (NETWORK, {"batch_size": 64}),
    (NETWORK, {"warmup": 1}),
    (SYSTEM, {}),
    (LatentModel(dimension=4, steps=9), {}),
    (LatentModel(dimension=5, steps=8), {}),
    (LatentModel(dimension=4, steps=8, target_norm=2.0), {}),
    (LatentModel(dimension=4, steps=8, method="full"), {}),
    (SYSTEM, {"width": 5}),
]


def test_runs_that_differ_in_anything_are_of_different_families() -> None:
    families = [family(planned(NETWORK)), *(family(planned(model, **grid)) for model, grid in OTHERS)]
    assert len(set(families)) == len(families)


@pytest.mark.parametrize("model", [NETWORK, SYSTEM])
def test_learning_rates_and_seeds_give_keys_within_one_family(model: Any) -> None:
    plans = [planned(model, **grid) for grid in ({}, {"learning_rate": 0.1}, {"seed": 1}, {"seed": [0, 1]})]
    assert len({family(plan) for plan in plans}) == 1
    keys = [frozenset(named.key for named in plan.named) for plan in plans]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("model", [NETWORK, SYSTEM])
def test_a_run_has_the_same_name_in_every_sweep_that_groups_it_alike(model: Any) -> None:
    alone, among = planned(model), planned(model, width=[2, 4], parametrization=["mup", "ntp"])
    assert set(alone.named) < set(among.named)
    assert len(among.named) == 4


@pytest.mark.parametrize("model", [NETWORK, SYSTEM])
def test_an_axis_with_one_value_and_how_a_value_is_written_change_no_name(model: Any) -> None:
    (plain,) = planned(model).named
    same: list[dict[str, Any]] = [
        {"width": [4]}, {"width": 4.0}, {"learning_rate": [0.5]}, {"seed": [0]}, {"parametrization": "mup"},
    ]  # fmt: skip
    if model is NETWORK:
        same += [{"warmup": 0}, {"batch_size": "128"}, {"momentum": "0.0"}, {"augmentation": False}]
    else:
        same += [{"method": "auto"}]
    for grid in same:
        (named,) = planned(model, **grid).named
        assert (named.family, named.key) == (plain.family, plain.key), grid


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions of packages that are said to be installed instead of those that are."""
    changed: dict[str, str] = {}
    module = importlib.import_module("superconsistency.records.origin")
    installed = module._installed
    monkeypatch.setattr(module, "_installed", lambda name: changed.get(name) or installed(name))
    return changed


def test_the_version_of_a_package_changes_the_runs_that_import_it_and_no_others(
    versions: dict[str, str],
) -> None:
    def families() -> tuple[str, str]:
        network_model._network_skeleton.cache_clear()
        return family(planned(SYSTEM)), family(planned(NETWORK))

    before = families()
    imported = {
        "torch": (False, True), "numba": (True, False), "numpy": (True, True), "xarray": (False, False),
        "superconsistency": (False, False),
    }  # fmt: skip
    for name, whose in imported.items():
        versions.clear()
        versions[name] = "0.0.1"
        changed = tuple(one != other for one, other in zip(families(), before, strict=True))
        assert changed == whose, name
    versions.clear()
    assert families() == before


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that refuses what it was given."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert stop.value.code == 2, err
    assert (out, err.count("\n")) == ("", 1), err
    return err


TWICE = {
    "the name of an optimizer as a setting": (
        ["sweep", "--optimizer", "sgd,adam", "--set", "name=adamw"],
        "setting is name=adamw; accepted: settings, which choose neither network nor optimizer; remedy: pass "
        "--optimizer, or its axis",
    ),
    "the name of an optimizer as an axis": (["sweep", "--over", "name=sgd,adamw"], "axis is name; accepted:"),
    "a network as a setting": (["sweep", "--set", "architecture=mlp"], "remedy: pass --network, or its axis"),
    "a parametrization as a setting": (["sweep", "--set", "parametrization=ntp"], "remedy: pass --param"),
    "a flag and a setting": (
        ["sweep", "--network", "resnet", "--depth", "3,6", "--set", "depth=9"],
        "axis is depth; accepted: names that are no setting, and depth=9 is one; remedy: give it once",
    ),
    "a size of batches as both": (
        ["sweep", "--batch-size", "16,32", "--set", "batch_size=64"], "axis is batch_size; accepted: names",
    ),
    "an axis of --over and a setting": (
        ["sweep", "--over", "warmup=0,4", "--set", "warmup=2"], "axis is warmup; accepted: names that are no",
    ),
    "a flag and --over": (
        ["sweep", "--widths", "4", "--over", "width=8"],
        "--over is width; accepted: axes that no other flag gives; remedy: give it once",
    ),
    "seeds by number and one by one": (["sweep", "--seeds", "3", "--over", "seed=0,7"], "seeds is 3; acc"),
    "--over twice": (["sweep", "--over", "warmup=0", "--over", "warmup=4"], "and warmup was given already"),
    "--set twice": (["sweep", "--set", "warmup=0", "--set", "warmup=4"], "setting is warmup; accepted: each"),
    "a latent system's axis and setting": (
        ["sweep", "--model", "latent", "--over", "dimension=4,5", "--set", "dimension=20"],
        "axis is dimension; accepted: names that are no setting, and dimension=20 is one",
    ),
    "an axis of train and a setting": (
        ["train", "--over", "warmup=0,4", "--set", "warmup=2"], "axis is warmup; accepted: names that are no",
    ),
    "an axis of train and a flag": (
        ["train", "--over", "augmentation=none,flip", "--augment"], "axis is augmentation; accepted: name",
    ),
    "an axis of train and its intervals": (
        ["train", "--over", "measure_every=2", "--every", "4"], "axis is measure_every; accepted: names that",
    ),
    "an axis of train that has a flag of its own": (
        ["train", "--over", "optimizer=sgd,adam"], "--over is optimizer; accepted: axes that no other flag",
    ),
    "--over without values": (["sweep", "--over", "warmup"], "--over is warmup; accepted: NAME=VALUE"),
    "an unknown axis": (["sweep", "--over", "colour=red"], "axis is colour; accepted: architecture, as_pub"),
    "values that are one": (["sweep", "--over", "warmup=4,4"], "warmup is (4, 4); accepted: different"),
}  # fmt: skip


@pytest.mark.parametrize("case", TWICE)
def test_what_would_give_a_name_two_meanings_is_refused_in_one_line(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = TWICE[case]
    assert words in refused(capsys, *arguments)
    assert not list(tmp_path.iterdir())


FILES = {
    "axis and setting": ("[settings]\nwarmup = 2\n[grid]\nwarmup = [0, 4]", "axis is warmup; accepted: nam"),
    "optimizer and its name": (
        '[settings]\nname = "adamw"\n[grid]\noptimizer = ["sgd", "adam"]', "setting is name=adamw; accepted:",
    ),
    "latent axis and setting": (
        f"{LATENT}\ndimension = [4, 5]", "axis is dimension; accepted: names that are no setting, and dim",
    ),
    "latent setting at its default": (
        'model = "latent"\n[settings]\ndimension = 20\n[grid]\ndimension = [4, 20]', "axis is dimension; ",
    ),
    "one run in two grids": (
        'model = "latent"\n[[grid]]\nwidth = [8, 16]\nseeds = 1\n[[grid]]\nwidth = 16\nseeds = 2',
        "run is parametrization mup, width 16.0, learning_rate 0.5, seed 0; accepted: runs that differ; "
        "remedy: remove it from one of the grids that have it",
    ),
    "one run but for rounding": (
        'model = "latent"\n[[grid]]\nwidth = 8\nlearning_rate = 0.3\n[[grid]]\nwidth = 8\n'
        "learning_rate = 0.30000000000000004",
        "learning_rate 0.3, seed 0; accepted: runs that differ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_gives_a_name_two_meanings_or_a_run_twice_is_refused_in_one_line(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text, words = FILES[case]
    path = written(tmp_path, text)
    assert words in refused(capsys, "sweep", str(path), "--output", str(tmp_path / "out"))
    with pytest.raises(InputError):
        make_plan(read_sweep(path)[0])
    assert not (tmp_path / "out").exists()


def test_settings_that_change_what_is_measured_cannot_vary_in_one_sweep() -> None:
    for axis in ({"steps": [2, 4]}, {"quantities": ["loss", "sharpness"]}, {"give_up": ["none", 3]}):
        model = NetworkModel(SETTINGS[1:], NETWORK.data)
        with pytest.raises(
            InputError, match=r"runs of one sweep is .*; remedy: make a sweep of its own for it"
        ):
            planned(model, **axis)
