"""The command `sweep`: by flags and by file, what it prints and keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from superconsistency import open_results
from superconsistency.cli import main

from .grids import LATENT, written

TINY = [
    "--set",
    "steps=4",
    "--set",
    "hessian_examples=8",
    "--set",
    "evaluation_examples=16",
    "--dataset",
    "digits",
    "--examples",
    "64",
    "--batch-size",
    "16",
    "--workers",
    "1",
]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_flags_make_a_grid_of_networks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    flags = [
        "--parametrization",
        "mup,ntp",
        "--network",
        "mlp",
        "--widths",
        "4,8",
        "--learning-rate",
        "0.1,0.2",
        "--seeds",
        "2",
        *TINY,
        "--output",
        str(folder),
    ]
    code, out, err = run(capsys, *flags)
    assert code == 0, err
    assert "16 runs, in this process" in err
    assert f"open with superconsistency.open_results('{folder}')" in out
    assert "2 of 2" not in err
    results = open_results(folder).load()
    assert dict(results.sizes) == {
        "parametrization": 2,
        "architecture": 1,
        "optimizer": 1,
        "batch_size": 1,
        "width": 2,
        "learning_rate": 2,
        "seed": 2,
        "step": 2,
    }
    assert (results["completed"] == 1).all()
    code, _, err = run(capsys, *flags)
    assert code == 0
    assert "16 runs, 16 of them complete already" in err


def test_flags_make_a_grid_of_latent_systems(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    code, out, _ = run(
        capsys,
        "--model",
        "latent",
        "--widths",
        "8,inf",
        "--learning-rate",
        "0.3",
        "--seeds",
        "2",
        "--set",
        "dimension=4",
        "--set",
        "steps=8",
        "--set",
        "quantities=loss,sharpness",
        "--workers",
        "1",
        "--output",
        str(folder),
        "--json",
    )
    assert code == 0
    document = json.loads(out)
    assert (document["runs"], document["complete"], document["failures"]) == (4, 4, [])
    assert np.isfinite(open_results(folder)["sharpness"]).all()


def test_hopeless_rates_are_given_up_if_asked_and_that_is_recorded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    code, _, _ = run(
        capsys,
        "--network",
        "mlp",
        "--widths",
        "8",
        "--learning-rate",
        "0.1,100",
        "--seeds",
        "1",
        *TINY,
        "--set",
        "give_up=1.5",
        "--set",
        "measure_every=1",
        "--output",
        str(folder),
    )
    assert code == 0
    results = open_results(folder).load().squeeze(drop=True)
    assert int(results["stopped_step"].sel(learning_rate=0.1)) == -1
    stopped = int(results["stopped_step"].sel(learning_rate=100))
    diverged = int(results["diverged_step"].sel(learning_rate=100))
    assert max(stopped, diverged) >= 1
    assert json.loads(results.attrs["configuration"])["settings"][-2] == "give_up=1.5"


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
    assert (document["runs"], document["complete"], document["jobs"]) == (16, 0, 3)
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
