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
    HERE,
    DataChoice,
    Group,
    LatentModel,
    NetworkModel,
    Status,
    carry_out,
    look,
    make_plan,
    make_sweep,
    read_sweep,
    results_of,
    runs_not_in_plan,
)
from superconsistency.runner.models import OnProgress

from .grids import LATENT, Single, files, same_bits, written


@dataclass(frozen=True)
class Fragile(Single):
    """A model whose runs break at seed 1 while a file is there."""

    trigger: str = ""

    def run(self, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        if 1 in group.seeds and Path(self.trigger).exists():
            raise RuntimeError("out of luck")
        return super().run(group, checkpoint, on_progress)


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
    status = carry_out(plan, folder, HERE, look(plan, folder))
    assert (status.done, status.failed) == (4, 2)
    found = look(plan, folder)
    assert len(found.failures) == 2
    assert all("RuntimeError: out of luck (test_failures.py" in reason for reason in found.failures.values())
    Path(fragile.trigger).unlink()
    assert carry_out(plan, folder, HERE, found).failed == 2
    status = carry_out(plan, folder, HERE, look(plan, folder), retry=True)
    assert (status.done, status.failed) == (6, 0)
    assert not look(plan, folder).failures
    assert int(open_results(folder)["completed"].sum()) == 6


def test_the_status_counts_runs_and_work(fragile: Fragile, tmp_path: Path) -> None:
    plan = make_plan(make_sweep(fragile, [{"width": [4, 8], "seed": [0, 1]}]))
    seen: list[Status] = []
    carry_out(plan, tmp_path / "s", HERE, look(plan, tmp_path / "s"), on_status=seen.append)
    assert [status.done + status.failed for status in seen] == [0, 1, 2, 3, 4]
    assert [status.work for status in seen] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    ended = [status.last for status in seen[1:] if status.last is not None]
    assert len(ended) == 4
    assert np.isfinite([outcome.best[1] for outcome in ended if not outcome.failed]).all()


def test_results_that_are_asked_for_whole_are_refused_with_the_reason_of_a_failure(
    fragile: Fragile, tmp_path: Path
) -> None:
    sweep = make_sweep(fragile, [{"width": [4, 8], "seed": [0, 1, 2]}])
    with pytest.raises(
        InputError, match=r"failed runs is 2 of 6; accepted: none \(RuntimeError: out of luck"
    ):
        results_of(sweep, tmp_path / "sweep")
    assert len(files(tmp_path / "sweep")) == 4
    Path(fragile.trigger).unlink()
    assert (results_of(sweep, tmp_path / "sweep")["completed"] == 1).all()


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
        (lambda d: d["groups"][0].__setitem__(1, "../" * 10 + "etc/passwd"), "a group whose name cannot be"),
        (lambda d: d["groups"][0].__setitem__(0, "/etc"), "a group whose name cannot be one"),
        (lambda d: d["groups"].pop(), "a run that cannot be one"),
        (lambda d: d["groups"].append("x" * 64), "sweep folder is"),
        (lambda d: d["runs"][0].__setitem__(-1, 2**20), "a run that cannot be one"),
        (lambda d: d["runs"][0].__setitem__(-1, -1), "a run that cannot be one"),
        (lambda d: d["runs"][0].__setitem__(-2, 99), "a run that cannot be one"),
        (lambda d: d["runs"][0].__setitem__(0, 99), "a run that cannot be one"),
        (lambda d: d["runs"][0].__setitem__(0, "zero"), "a run that cannot be one"),
        (lambda d: d["runs"].append([0]), "sweep folder is"),
        (lambda d: d.update(layout=99), "layout of the sweep folder is 99; accepted: 3; remedy: sweep again"),
        (lambda d: d.update(layout=2), "layout of the sweep folder is 2"),
        (lambda d: d.update(layout="three"), "layout of the sweep folder is three"),
        (lambda d: d.pop("layout"), "layout of the sweep folder is None"),
        (lambda d: d["variables"]["loss"].update(dims=["colour"]), "variables that no run has"),
        (lambda d: d["variables"]["loss"].update(dtype="object"), "variables that no run has"),
        (lambda d: d["variables"].pop("completed"), "variables that no run has"),
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


def test_a_manifest_that_asks_for_more_runs_than_a_group_has_is_refused_when_they_are_read(
    latent: tuple[Path, Path],
) -> None:
    _, folder = latent
    change(folder / "sweep.json", lambda d: d["runs"][0].__setitem__(-1, 4))
    with pytest.raises(InputError, match="accepted: one with loss at every step") as caught:
        open_results(folder)["loss"].load()
    assert "\n" not in str(caught.value)


def test_a_link_that_leads_out_of_the_folder_is_refused(latent: tuple[Path, Path], tmp_path: Path) -> None:
    grid, folder = latent
    inside = files(folder)[0]
    outside = tmp_path / "elsewhere.nc"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(InputError, match="accepted: a file inside the folder of the sweep"):
        open_results(folder).load()
    done = run(grid, folder)
    assert done.returncode == 2
    assert "accepted: a file inside the folder of the sweep; remedy: remove the link" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("key", ["", "../x", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n"])
def test_names_that_are_no_hash_are_refused(key: str, tmp_path: Path) -> None:
    store, hashed = RunStore(tmp_path), "0" * 64
    for names in ((key, hashed), (hashed, key)):
        with pytest.raises(InputError, match="accepted: 64 hexadecimal digits"):
            store.path(*names)
    for find in (store.checkpoint, store.failure_path, store.held):
        with pytest.raises(InputError, match="accepted: 64 hexadecimal digits"):
            find(key)


def test_another_group_under_the_name_of_one_is_no_group(latent: tuple[Path, Path]) -> None:
    grid, folder = latent
    before = open_results(folder).load()
    one, other = files(folder)[:2]
    one.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match="accepted: the runs that the name says"):
        open_results(folder).load()
    done = run(grid, folder)
    assert done.returncode == 0
    assert "files of 4 runs are damaged; these runs are done again" in done.stderr
    assert same_bits(open_results(folder).load(), before)


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
        sys.executable, "-m", "superconsistency", "sweep", str(grid), "--output", str(folder),
        "--workers", "1",
    ]  # fmt: skip
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
        env=os.environ | {"NUMBA_CACHE_DIR": ""},
    )


@pytest.mark.parametrize("most_bytes", [1024, 4096])
def test_a_full_disk_is_one_line_and_what_was_complete_stays(
    most_bytes: int, latent: tuple[Path, Path]
) -> None:
    """Full when the manifest is written, or when runs are."""
    grid, folder = latent
    assert 1024 < (folder / "sweep.json").stat().st_size < 4096 < files(folder)[0].stat().st_size
    had = files(folder)[2:]
    for path in files(folder)[:2]:
        path.unlink()
    done = run(grid, folder, most_bytes=most_bytes)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: output is ")
    assert "Traceback" not in done.stderr
    assert files(folder) == had
    assert not list(folder.rglob(".superconsistency-*"))
    assert run(grid, folder).returncode == 0
    assert int(open_results(folder)["completed"].sum()) == 16


def test_a_damaged_checkpoint_is_removed_and_the_group_starts_over(tmp_path: Path) -> None:
    settings = ("steps=2", "hessian_examples=8", "evaluation_examples=8", "quantities=")
    model = NetworkModel(settings, DataChoice("digits", examples=160))
    plan = make_plan(make_sweep(model, [{"architecture": "mlp", "width": 4, "seed": 0}]))
    store = RunStore(tmp_path / "s")
    path = store.checkpoint(plan.named[0].key)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut short")
    status = carry_out(plan, tmp_path / "s", HERE, look(plan, tmp_path / "s"))
    assert (status.done, status.failed) == (1, 0)
    assert not path.exists()


def test_a_process_that_would_give_another_run_than_was_planned_does_none(tmp_path: Path) -> None:
    plan = make_plan(make_sweep(LatentModel(dimension=4, steps=8), [{"width": 4, "seed": 0}]))
    other = replace(plan, named=(plan.named[0]._replace(key="0" * 64),))
    with pytest.raises(InputError, match="accepted: one with the data, source and package versions"):
        carry_out(other, tmp_path / "s", HERE, look(other, tmp_path / "s"))


def test_complete_runs_of_another_grid_are_counted(tmp_path: Path) -> None:
    model = LatentModel(dimension=4, steps=8)
    small = make_plan(make_sweep(model, [{"width": [4, 8], "seed": [0, 1]}]))
    folder = tmp_path / "s"
    carry_out(small, folder, HERE, look(small, folder))

    def left_out(model: LatentModel, **grid: Any) -> int:
        """Also where the runs are in a group that has others of the grid."""
        return runs_not_in_plan(make_plan(make_sweep(model, [grid]), RunStore(folder)), folder)

    assert left_out(model, width=[4, 8], seed=[0, 1, 2]) == 0
    assert left_out(model, width=[4, 8], seed=[1]) == 2
    assert left_out(model, width=4, seed=[0, 1, 2]) == 2
    assert left_out(model, width=16, seed=0) == 4
    assert left_out(LatentModel(dimension=5, steps=8), width=[4, 8], seed=[0, 1]) == 4


def test_what_a_killed_writer_left_is_removed_after_an_hour(latent: tuple[Path, Path]) -> None:
    _, folder = latent
    old, new = (next((folder / "runs").iterdir()) / f".superconsistency-{name}" for name in ("old", "new"))
    for path in (old, new):
        path.touch()
    os.utime(old, (0, 0))
    RunStore(folder).tidy()
    assert (old.exists(), new.exists()) == (False, True)
