"""Runs that fail are kept with their reason and stop no other; folders and disks that cannot be trusted."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency import open_results
from superconsistency.errors import InputError
from superconsistency.records.store import RunStore
from superconsistency.runner import (
    DataChoice,
    LatentModel,
    NetworkModel,
    carry_out,
    here,
    left_aside,
    look,
    make_plan,
    make_sweep,
    read_sweep,
)
from superconsistency.runner.engines import Place
from superconsistency.runner.models import Cell, Progress

from .grids import LATENT, written

HERE = Place(here, 1, "here")


@dataclass(frozen=True)
class Fragile(LatentModel):
    """A model whose runs break at seed 1 while a file is there."""

    trigger: str = ""

    def run(self, cell: Cell, checkpoint: Path, on_progress: Progress) -> xr.Dataset:
        if dict(cell)["seed"] == 1 and Path(self.trigger).exists():
            raise RuntimeError("out of luck")
        return super().run(cell, checkpoint, on_progress)


@pytest.fixture
def fragile(tmp_path: Path) -> Fragile:
    trigger = tmp_path / "trigger"
    trigger.touch()
    return Fragile(dimension=4, steps=8, trigger=str(trigger))


def test_a_run_that_breaks_is_kept_with_its_reason_and_done_again_only_if_asked(
    fragile: Fragile, tmp_path: Path
) -> None:
    plan = make_plan(make_sweep(fragile, [{"width": [4, 8], "seed": [0, 1, 2]}]))
    folder = tmp_path / "sweep"
    account = carry_out(plan, folder, HERE, look(plan, folder))
    assert (account.done, account.failed) == (4, 2)
    left = look(plan, folder)
    assert len(left.failures) == 2
    assert all("RuntimeError: out of luck (test_failures.py" in reason for reason in left.failures.values())
    Path(fragile.trigger).unlink()
    assert carry_out(plan, folder, HERE, left).failed == 2
    account = carry_out(plan, folder, HERE, look(plan, folder), retry=True)
    assert (account.done, account.failed) == (6, 0)
    assert not look(plan, folder).failures
    assert int(open_results(folder)["completed"].sum()) == 6


def test_events_count_runs_and_work(fragile: Fragile, tmp_path: Path) -> None:
    plan = make_plan(make_sweep(fragile, [{"width": [4, 8], "seed": [0, 1]}]))
    seen: list[Any] = []
    carry_out(plan, tmp_path / "s", HERE, look(plan, tmp_path / "s"), on_event=seen.append)
    assert [event.done + event.failed for event in seen] == [0, 1, 2, 3, 4]
    assert [event.work for event in seen] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert np.isfinite([event.last.loss for event in seen[1:] if not event.last.failed]).all()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sweep's folder, which nothing changes."""
    out = tmp_path_factory.mktemp("latent") / "out"
    plan = make_plan(read_sweep(written(out.parent, LATENT))[0])
    carry_out(plan, out, HERE, look(plan, out))
    return out


@pytest.fixture
def latent(original: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The file of a small sweep, and its results, to be changed."""
    shutil.copytree(original, tmp_path / "out")
    return written(tmp_path, LATENT), tmp_path / "out"


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d["runs"][0].__setitem__(-1, "../" * 10 + "etc/passwd"), "a run that cannot be one"),
        (lambda d: d["runs"][0].__setitem__(0, 99), "a run that cannot be one"),
        (lambda d: d["runs"][0].__setitem__(0, "zero"), "a run that cannot be one"),
        (lambda d: d["runs"].append([0]), "sweep folder is"),
        (lambda d: d.update(schema_version=99), "schema version is 99; accepted: up to"),
        (lambda d: d.update(schema_version="two"), "schema version is two"),
        (lambda d: d["axes"].pop("width"), "sweep folder is"),
        (lambda d: d.pop("variables"), "sweep folder is .*variables"),
        (lambda d: d.update(runs=3), "sweep folder is"),
    ],
)
def test_a_manifest_that_leads_astray_is_refused_in_one_line(
    edit: Callable[[dict[str, Any]], object], words: str, latent: tuple[Path, Path]
) -> None:
    _, folder = latent
    change(folder / "sweep.json", edit)
    with pytest.raises(InputError, match=words) as caught:
        open_results(folder)
    assert "\n" not in str(caught.value)


def test_a_link_that_leads_out_of_the_folder_is_refused(latent: tuple[Path, Path], tmp_path: Path) -> None:
    _, folder = latent
    inside = next((folder / "runs").glob("*/*.nc"))
    outside = tmp_path / "elsewhere.nc"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(InputError, match="accepted: a file inside the folder of the sweep"):
        open_results(folder).load()


@pytest.mark.parametrize("key", ["", "../x", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_names_that_are_no_hash_are_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="accepted: 64 hexadecimal digits"):
        RunStore(tmp_path).path(key)


def test_another_run_under_the_name_of_one_is_no_run(latent: tuple[Path, Path]) -> None:
    grid, folder = latent
    one, other = sorted((folder / "runs").glob("*/*.nc"))[:2]
    one.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match="accepted: the run that the name says"):
        open_results(folder).load()
    assert run(grid, folder).returncode == 0
    open_results(folder).load()


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_what_is_no_folder_of_results_is_said_in_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "results"
    if what == "file":
        path.write_text("no record")
    if what == "empty":
        path.mkdir()
    with pytest.raises(InputError, match=r"; accepted: .*; remedy: ") as caught:
        open_results(path)
    assert "\n" not in str(caught.value)


def run(grid: Path, folder: Path, *, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """A sweep in a process that may write files of so many bytes only."""

    def limited() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    command = [
        sys.executable,
        "-m",
        "superconsistency",
        "sweep",
        str(grid),
        "--output",
        str(folder),
        "--workers",
        "1",
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
        env=os.environ | {"NUMBA_CACHE_DIR": ""},
    )


def test_a_full_disk_is_one_line_and_what_was_complete_stays(latent: tuple[Path, Path]) -> None:
    grid, folder = latent
    removed = sorted((folder / "runs").glob("*/*.nc"))[:3]
    for path in removed:
        path.unlink()
    had = len(list((folder / "runs").glob("*/*.nc")))
    manifest = (folder / "sweep.json").stat().st_size
    assert manifest < 60_000
    done = run(grid, folder, most_bytes=4096)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: output is ")
    assert "Traceback" not in done.stderr
    assert len(list((folder / "runs").glob("*/*.nc"))) == had
    assert not list(folder.rglob(".superconsistency-*"))
    assert run(grid, folder).returncode == 0
    assert int(open_results(folder)["completed"].sum()) == 16


def test_a_damaged_checkpoint_is_removed_and_the_run_starts_over(tmp_path: Path) -> None:
    settings = ("steps=2", "hessian_examples=8", "evaluation_examples=8", "quantities=")
    model = NetworkModel(settings, DataChoice("digits", examples=160))
    plan = make_plan(make_sweep(model, [{"architecture": "mlp", "width": 4, "seed": 0}]))
    store = RunStore(tmp_path / "s")
    path = store.checkpoint(plan.keys[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut short")
    account = carry_out(plan, tmp_path / "s", HERE, look(plan, tmp_path / "s"))
    assert (account.done, account.failed) == (1, 0)
    assert not path.exists()


def test_a_process_that_would_give_another_run_than_was_planned_does_none(tmp_path: Path) -> None:
    plan = make_plan(make_sweep(LatentModel(dimension=4, steps=8), [{"width": 4, "seed": 0}]))
    other = replace(plan, keys=("0" * 64,))
    with pytest.raises(InputError, match="accepted: one with the data, source and package versions"):
        carry_out(other, tmp_path / "s", HERE, look(other, tmp_path / "s"))


def test_complete_runs_of_another_grid_are_counted(tmp_path: Path) -> None:
    model = LatentModel(dimension=4, steps=8)
    small = make_plan(make_sweep(model, [{"width": 4, "seed": [0, 1]}]))
    carry_out(small, tmp_path / "s", HERE, look(small, tmp_path / "s"))
    large = make_plan(make_sweep(model, [{"width": 4, "seed": [0, 1, 2]}]))
    assert left_aside(large, tmp_path / "s") == 0
    assert left_aside(make_plan(make_sweep(model, [{"width": 4, "seed": [1]}])), tmp_path / "s") == 1


def test_what_a_killed_writer_left_is_removed_after_an_hour(latent: tuple[Path, Path]) -> None:
    _, folder = latent
    old, new = (next((folder / "runs").iterdir()) / f".superconsistency-{name}" for name in ("old", "new"))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    RunStore(folder).tidy()
    assert (old.exists(), new.exists()) == (False, True)
