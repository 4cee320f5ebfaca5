"""Workers that die of a run, a scheduler that is lost midway, and a run that is interrupted in its middle."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import xarray as xr
from superconsistency import open_results
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.neural import Checkpoint
from superconsistency.records.store import RunStore
from superconsistency.runner import (
    HERE,
    DataChoice,
    Group,
    LatentModel,
    NetworkModel,
    Status,
    carry_out,
    local,
    look,
    make_plan,
    make_sweep,
    scheduler,
)
from superconsistency.runner.models import OnProgress

from . import grids
from .grids import LATENT, Single, finished, same_bits, written

for module in (sys.modules[__name__], grids):
    cloudpickle.register_pickle_by_value(module)  # workers do not find these modules


@dataclass(frozen=True)
class Deadly(Single):
    """A model whose runs at seed 1 kill the process that does them."""

    def run(self, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        if 1 in group.seeds:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(group, checkpoint, on_progress)


@dataclass(frozen=True)
class Slow(Single):
    """A model whose runs take their time where they are not done here."""

    done_quickly_by: int = 0

    def run(self, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        if os.getpid() != self.done_quickly_by:
            time.sleep(0.2)
        return super().run(group, checkpoint, on_progress)


def test_a_run_that_kills_four_workers_is_a_failure_and_stops_no_other(tmp_path: Path) -> None:
    plan = make_plan(
        make_sweep(Deadly(dimension=4, steps=8), [{"width": [4, 8, 16], "seed": 0}, {"width": 4, "seed": 1}])
    )
    seen: list[Status] = []
    with local(2) as executor:
        status = carry_out(plan, tmp_path, executor, look(plan, tmp_path), on_status=seen.append)
    assert (status.done, status.failed) == (3, 1)
    assert (seen[0].running, seen[-1].running) == (2, 0)
    assert all(one.running <= 4 - one.done - one.failed for one in seen)
    assert list(look(plan, tmp_path).failures.values()) == [
        "4 workers that did it died: out of memory, or killed"
    ]


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", *arguments, "--no-dashboard"]
    return subprocess.Popen(command, stdout=-3, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def processes() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a Dask scheduler with a worker, and the scheduler's process."""
    with started("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0") as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"at:\s+(tcp://\S+)", line)))
        with started("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny") as worker:
            assert worker.stderr is not None
            assert any("Starting established connection" in line for line in iter(worker.stderr.readline, ""))
            try:
                yield address, process
            finally:
                for one in (worker, process):
                    one.kill()
                    one.communicate()


def test_a_scheduler_lost_midway_is_said_in_one_line_and_the_sweep_goes_on_without_it(
    processes: tuple[str, subprocess.Popen[str]], tmp_path: Path
) -> None:
    address, process = processes
    model = Slow(dimension=4, steps=8, done_quickly_by=os.getpid())
    plan = make_plan(make_sweep(model, [{"width": [4, 8, 16, 32], "seed": [0, 1, 2]}]))
    folder = tmp_path / "sweep"

    def lose(status: Status) -> None:
        if status.done == 2:
            process.kill()

    with (
        pytest.raises(InputError, match=r"scheduler is lost; .*complete runs are kept") as caught,
        scheduler(address, folder) as executor,
    ):
        carry_out(plan, folder, executor, look(plan, folder), on_status=lose)
    assert "\n" not in str(caught.value)
    found = look(plan, folder)
    assert 2 <= len(found.done) < 12
    assert not found.failures
    assert carry_out(plan, folder, HERE, found).done == 12
    assert same_bits(open_results(folder).load(), finished(plan, tmp_path / "unbroken"))


@pytest.mark.parametrize("stacked", [True, False])
def test_a_group_that_was_interrupted_resumes_from_its_middle_with_the_same_bits(
    stacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("steps=6", "measure_every=2", "hessian_examples=8", "evaluation_examples=8")
    model = NetworkModel(settings, DataChoice("digits", examples=160), stacked=stacked)
    rates = [0.1, 0.2, 0.4] if stacked else 0.1
    grid = {"architecture": "mlp", "batch_size": 16, "width": 4, "learning_rate": rates, "seed": 0}
    plan = make_plan(make_sweep(model, [grid]))
    assert len(plan.named) == 1
    unbroken, folder = finished(plan, tmp_path / "unbroken"), tmp_path / "broken"
    saved = []
    save = Checkpoint.save

    def interrupted(self: Checkpoint, *arguments: Any) -> None:
        save(self, *arguments)
        saved.append(self.path)
        if len(saved) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "due", lambda _self: True)
    monkeypatch.setattr(Checkpoint, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        carry_out(plan, folder, HERE, look(plan, folder))
    path = RunStore(folder).checkpoint(plan.named[0].key)
    assert set(saved) == {path}
    assert path.exists()
    assert not look(plan, folder).done
    results = finished(plan, folder)
    assert len(saved) == 6, "two steps were left"
    assert not path.exists()
    assert same_bits(results, unbroken)


def test_retry_does_failed_runs_again_and_the_exit_code_is_1_until_none_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grid, folder = written(tmp_path, LATENT), tmp_path / "out"
    done: list[Group] = []
    luck: list[int] = []
    run = LatentModel.run

    def unlucky(self: LatentModel, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        done.append(group)
        if not luck and dict(group.shared)["width"] == 8:
            raise RuntimeError("out of luck")
        return run(self, group, checkpoint, on_progress)

    def sweep(*arguments: str) -> tuple[int, int, str]:
        """Exit code, runs that were done, and what was printed."""
        done.clear()
        with pytest.raises(SystemExit) as stop:
            main(["sweep", str(grid), "--output", str(folder), "--workers", "1", *arguments])
        return int(stop.value.code or 0), sum(group.size for group in done), capsys.readouterr().out

    monkeypatch.setattr(LatentModel, "run", unlucky)
    code, count, out = sweep()
    assert (code, count, out.count("failed: parametrization")) == (1, 16, 8)
    assert "width 8.0, learning_rate 0.2, seed 1: RuntimeError: out of luck" in out
    assert sweep()[:2] == (1, 0)
    assert sweep("--retry")[:2] == (1, 8)
    luck.append(1)
    code, count, out = sweep("--retry")
    assert (code, count, "failed:" in out) == (0, 8, False)
    assert sweep("--retry")[:2] == (0, 0)


def test_the_end_of_a_jobs_time_is_said_to_have_interrupted_it(tmp_path: Path) -> None:
    """By SIGTERM, as from SLURM or `timeout`: one line more, and no words of Python's own."""
    folder = tmp_path / "sweep"
    command = [
        sys.executable, "-m", "superconsistency", "sweep", "--network", "mlp", "--widths", "8,16",
        "--learning-rate", "0.1", "--seeds", "2", "--set", "steps=1000000", "--workers", "2",
        "--output", str(folder),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not (folder / "underway").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.terminate()
        _, err = process.communicate(timeout=60)
    first, *others = err.splitlines()
    assert first.endswith(f"results in {folder}")
    assert others[-1] == f"Interrupted; complete runs are in {folder}. Rerun the same command to resume."
    assert all(" of 4 done, " in line for line in others[:-1])
    assert process.returncode == 130
