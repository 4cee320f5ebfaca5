"""What a sweep's file may say, and what is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.runner import DataChoice, LatentModel, NetworkModel, make_plan, make_sweep, read_sweep

from .grids import LATENT, SIXTY, written

TINY = NetworkModel(
    ("steps=2", "hessian_examples=8", "evaluation_examples=8"), DataChoice("digits", examples=160)
)


def test_the_grids_of_a_file_are_all_combinations(tmp_path: Path) -> None:
    sweep, cluster = read_sweep(written(tmp_path, SIXTY))
    assert len(sweep.cells) == 60
    assert sweep.axes["width"] == [2, 4, 8, 16]
    assert sweep.axes["architecture"] == ["two-layer-linear", "simple-convnet"]
    assert cluster == {}


def test_the_file_that_the_documentation_shows_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    grid, cluster = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    sweep, options = read_sweep(written(tmp_path, grid + cluster))
    assert len(sweep.cells) == 2 * 3 * 3 * 4 * 3 + 3 * 3 * 2 * 3 * 3
    assert sweep.axes["warmup"] == [0, 100]
    assert options["jobs"] == 8


def test_depth_is_an_axis_of_networks_that_have_one() -> None:
    plan = make_plan(make_sweep(TINY, [{"architecture": "resnet", "depth": [3, 6], "width": 2, "seed": 0}]))
    assert plan.manifest.axes["depth"] == [3, 6]
    with pytest.raises(InputError, match=r"axis is depth; accepted: .*; remedy: choose one of these"):
        make_plan(make_sweep(TINY, [{"depth": 3, "width": 2, "seed": 0}]))


def test_batch_sizes_of_all_examples_stand_beside_numbers() -> None:
    plan = make_plan(make_sweep(TINY, [{"batch_size": [16, "all"], "width": 2, "seed": 0}]))
    assert plan.manifest.axes["batch_size"] == ["16", "all"]
    assert len(plan.manifest.groups) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grid = [", "sweep is .*grid.toml; accepted: a TOML file"),
        ("\x00", "a TOML file"),
        ("[gird]\nwidth = 3", "part of grid.toml is gird; accepted: model, data,"),
        ("", "grid is missing; accepted: at least one table"),
        ('model = "latent"', "grid is missing"),
        ("[grid]\nwidth = [8, 8]", r"width is \(8.0, 8.0\); accepted: different values"),
        ("[grid]\nlearning_rate = [nan]", "learning_rate is nan; accepted: numbers; remedy: correct it"),
        (
            "[grid]\nwidht = 3",
            "axis is widht; accepted: architecture, as_published, .*, width; remedy: choose",
        ),
        ('model = "latent"\n[grid]\nwidht = 3', "axis is widht; accepted: parametrization,"),
        ("[grid]\nwidth = []", "width is .*accepted: at least one value"),
        ('[grid]\nwidth = "64"', "width is 64; accepted: numbers; remedy: write them without quotes"),
        ("[grid]\nwidth = 2.5", "width is 2.5"),
        ("[grid]\nparametrization = 3", "parametrization is 3; accepted: words"),
        ('[grid]\nparametrization = "up"', "parametrization is up; accepted: "),
        ("[grid]\nseeds = 0", "seeds is 0"),
        ('[grid]\nseeds = "three"', "seeds is -1"),
        ("[grid]\nlearning_rate = -1", "learning rate is -1.0"),
        ("grid = 3", "grid is 3; accepted: a table"),
        ("settings = 3", "settings is 3; accepted: a table"),
        ("[grid]\n[settings]\nstesp = 3", "setting is stesp=3; accepted: NAME=VALUE of"),
        ('[grid]\n[settings]\nsteps = "many"', "setting steps is many; accepted: a whole number"),
        ("[data]\nfile = 3", "setting of the data is file; accepted: dataset,"),
        ('[grid]\n[data]\nfolder = "nowhere"', "nowhere"),
        ("threads = 0", "threads is 0"),
        ('model = "brain"', "model is brain; accepted: network, latent"),
        ('model = "latent"\n[settings]\nsteps = "many"', "steps is many; accepted: a whole number"),
        ('model = "latent"\n[settings]\nbatch_size = 3', "setting is batch_size; accepted: dimension"),
        ("[grid]\nseeds = 1000000\nwidth = [1, 2]", "number of runs is 200001"),
        ("[grid]\nseeds = 3\nseed = [0, 7]", "seeds is 3; accepted: either seeds or seed"),
        ("[grid]\nwarmup = [0, 2.5]", "warmup is 2.5; accepted: a whole number"),
        ("[grid]\nwidth = 1e300", "width is 1e\\+300; accepted: numbers below 1e300"),
        ("[grid]\nlearning_rate = true", "learning_rate is True; accepted: numbers"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_one_line(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(path), "--output", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert (out, err.count("\n")) == ("", 1)
    with pytest.raises(InputError, match=words):
        make_plan(read_sweep(path)[0])
    assert not (tmp_path / "out").exists()


def test_grids_of_which_one_has_no_such_setting_are_refused() -> None:
    grids: list[dict[str, Any]] = [{"architecture": "resnet", "depth": 3}, {"architecture": "simple-convnet"}]
    with pytest.raises(InputError, match="setting is depth; accepted: "):
        make_sweep(TINY, grids)


def test_runs_whose_measurements_differ_are_refused() -> None:
    grids = [
        {"architecture": "transformer", "width": 8, "seed": 0},
        {"architecture": "mlp", "width": 8, "seed": 0},
    ]
    model = NetworkModel(TINY.settings)
    with pytest.raises(InputError, match="runs of one sweep"):
        make_plan(make_sweep(model, grids))


def test_latent_sweeps_take_infinite_widths(tmp_path: Path) -> None:
    text = LATENT.replace("64]", "inf]")
    plan = make_plan(read_sweep(written(tmp_path, text))[0])
    assert plan.sweep.axes["width"][-1] == float("inf")
    assert isinstance(plan.sweep.model, LatentModel)
