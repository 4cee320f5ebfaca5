"""The command `sweep`: by flags and by file, what it prints and keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from superconsistency import open_results
from superconsistency.cli import main

from .grids import LATENT, same_bits, written

QUICK = [
    "--set", "steps=4", "--set", "hessian_examples=8", "--set", "evaluation_examples=16", "--workers", "1",
]  # fmt: skip
TINY = [*QUICK, "--dataset", "digits", "--examples", "64", "--batch-size", "16"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_flags_make_a_grid_of_networks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    flags = [
        "--parametrization", "mup,ntp", "--network", "mlp", "--widths", "4,8", "--learning-rate", "0.1,0.2",
        "--seeds", "2", *TINY, "--output", str(folder),
    ]  # fmt: skip
    code, out, err = run(capsys, *flags)
    assert code == 0, err
    assert "16 runs, in this process" in err
    assert f"open with superconsistency.open_results('{folder}')" in out
    assert "2 of 2" not in err
    results = open_results(folder).load()
    assert dict(results.sizes) == {
        "parametrization": 2, "architecture": 1, "optimizer": 1, "batch_size": 1, "width": 2,
        "learning_rate": 2, "seed": 2, "step": 2,
    }  # fmt: skip
    assert (results["completed"] == 1).all()
    code, _, err = run(capsys, *flags)
    assert code == 0
    assert "16 runs, 16 of them complete already" in err


def test_flags_make_a_grid_of_latent_systems(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    code, out, _ = run(
        capsys, "--model", "latent", "--widths", "8,inf", "--learning-rate", "0.3", "--seeds", "2",
        "--set", "dimension=4", "--set", "steps=8", "--set", "quantities=loss,sharpness", "--workers", "1",
        "--output", str(folder), "--json",
    )  # fmt: skip
    assert code == 0
    document = json.loads(out)
    assert (document["runs"], document["complete"], document["failures"]) == (4, 4, [])
    assert np.isfinite(open_results(folder)["sharpness"]).all()


def test_over_makes_an_axis_of_any_setting(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    code, out, err = run(
        capsys, "--network", "mlp", "--widths", "4", "--learning-rate", "0.1", "--seeds", "1", *TINY,
        "--over", "warmup=0,3", "--over", "frozen=none,first+readout", "--output", str(folder),
    )  # fmt: skip
    assert code == 0, err
    assert "4 runs, in this process" in err
    assert "warmup" in out
    results = open_results(folder).load().squeeze(drop=True)
    assert results["warmup"].to_numpy().tolist() == [0, 3]
    assert results["frozen"].to_numpy().tolist() == ["none", "first+readout"]
    final = results["loss"].isel(step=-1)
    assert np.unique(final).size == 4
    still, moving = (results["loss"].sel(frozen=name, warmup=0) for name in ("first+readout", "none"))
    assert np.ptp(still.to_numpy()) < np.ptp(moving.to_numpy())


def test_what_the_command_line_says_of_the_data_is_what_the_file_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grid = {"parametrization": ["mup"], "architecture": "transformer", "width": 8, "learning_rate": 0.05}
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in grid.items())
    settings = "steps = 4\nhessian_examples = 8\nevaluation_examples = 16\ndepth = 1\nheads = 2\n"
    data = 'dataset = "random-tokens"\nexamples = 32\nsequence = 12\nseed = 3\n'
    text = f"[data]\n{data}[settings]\n{settings}[grid]\n{lines}batch_size = 8\nseeds = 1\n"
    said, flags = tmp_path / "said", tmp_path / "flags"
    assert run(capsys, str(written(tmp_path, text)), "--workers", "1", "--output", str(said))[0] == 0
    code, _, err = run(
        capsys, "--network", "transformer", "--widths", "8", "--learning-rate", "0.05", "--seeds", "1",
        "--batch-size", "8", *QUICK, "--set", "depth=1", "--set", "heads=2", "--dataset", "random-tokens",
        "--examples", "32", "--load", "sequence=12", "--load", "seed=3", "--output", str(flags),
    )  # fmt: skip
    assert code == 0, err
    assert same_bits(open_results(said).load(), open_results(flags).load())
    configuration = json.loads(open_results(flags).attrs["configuration"])
    assert configuration["examples"] == 32


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        ("sequence", "--load is sequence; accepted: NAME=VALUE; remedy: pass sequence=64, for example"),
        ("sequences=3", "setting of the data is sequences; accepted: dataset, folder, examples, seed,"),
        ("sequence=3.5", "data sequence is 3.5; accepted: of type int"),
        ("level=3", "data level is 3; accepted: of type str"),
        ("dataset=digits", "--load is dataset; accepted: names without an option of their own; remedy: pass "
         "--dataset"),
        ("folder=x", "remedy: pass --data-dir"),
        ("examples=3", "remedy: pass --examples"),
        ("limit=3", "images of a class is 3; accepted: all of them for digits"),
        ("split=test", "split of digits is test; accepted: train"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_of_the_data_is_refused_in_one_line(
    loaded: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capsys, *TINY, "--load", loaded, "--output", str(tmp_path / "sweep"))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err
    assert not list(tmp_path.iterdir())


def test_hopeless_rates_are_given_up_if_asked_and_that_is_recorded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    code, _, _ = run(
        capsys, "--network", "mlp", "--widths", "8", "--learning-rate", "0.1,100", "--seeds", "1", *TINY,
        "--set", "give_up=1.5", "--set", "measure_every=1", "--output", str(folder),
    )  # fmt: skip
    assert code == 0
    results = open_results(folder).load().squeeze(drop=True)
    assert int(results["stopped_step"].sel(learning_rate=0.1)) == -1
    stopped = int(results["stopped_step"].sel(learning_rate=100))
    diverged = int(results["diverged_step"].sel(learning_rate=100))
    assert max(stopped, diverged) >= 1
    assert json.loads(results.attrs["configuration"])["give_up"] == 1.5


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grid = written(tmp_path, LATENT + "\n[cluster]\njobs = 3\nqueue = 'long'\n")
    folder = tmp_path / "sweep"
    code, out, _ = run(
        capsys, str(grid), "--output", str(folder), "--dry-run", "--cluster", "slurm", "--json"
    )
    assert code == 0
    document = json.loads(out)
    assert (document["runs"], document["groups"], document["complete"], document["jobs"]) == (16, 4, 0, 3)
    assert document["axes"]["learning_rate"] == [0.2, 0.4]
    assert "#SBATCH -p long" in document["job_script"]
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--widths", "4", "{grid}"], "flags is"),
        (["{grid}", "--workers", "2", "--scheduler", "tcp://127.0.0.1:9"], "places to run is several"),
        (["{grid}", "--cluster", "pbs"], "cluster is pbs; accepted: slurm"),
        (["{grid}", "--workers", "0"], "workers is 0"),
        (["{grid}", "--export", "all.txt"], "type of the export is .txt"),
        (["--model", "brain"], "model is brain"),
        (["--widths", "wide"], "width is wide"),
        (["--model", "latent", "--set", "steps"], "--set is steps"),
        (["--model", "latent", "--examples", "8"], "none of these with --model latent, which has no data"),
        (["--model", "latent", "--load", "sequence=8"], "flags is of data, threads or device"),
        (["{grid}", "--load", "sequence=8"], "flags is given beside a file"),
        (["{grid}", "--over", "dimension=4,5"], "flags is given beside a file"),
        (["{grid}", "--threads", "2"], "flags is given beside a file"),
        (["missing.toml"], "sweep is missing.toml; accepted: a TOML file (No such file or directory)"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_run(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grid = written(tmp_path, LATENT)
    folder = tmp_path / "sweep"
    given = [part.format(grid=grid) for part in arguments]
    code, out, err = run(capsys, *given, "--output", str(folder))
    assert code == 2, err
    assert words in err
    assert err.count("error:") == 1
    assert out == ""
    assert not list(folder.rglob("*.nc"))


def test_the_export_holds_all_results(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    grid = written(tmp_path, LATENT)
    export = tmp_path / "all.nc"
    code, out, _ = run(
        capsys, str(grid), "--output", str(tmp_path / "s"), "--workers", "1", "--export", str(export)
    )
    assert code == 0
    assert f"written: {export}" in out
    assert open_results(export).equals(open_results(tmp_path / "s").load())
