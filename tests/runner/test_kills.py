"""A sweep that is killed goes on where it was, and its results are those of an unbroken one, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from superconsistency import open_results
from superconsistency.errors import InputError
from superconsistency.runner import carry_out, here, look, make_plan, read_sweep
from superconsistency.runner.engines import Place

from .grids import SIXTY, complete, same_bits, written


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("grid"), SIXTY)


@pytest.fixture(scope="module")
def unbroken(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The sweep, run in this process without a break."""
    folder = tmp_path_factory.mktemp("unbroken") / "sweep"
    plan = make_plan(read_sweep(grid)[0])
    carry_out(plan, folder, Place(here, 1, "here"), look(plan, folder))
    results: xr.Dataset = open_results(folder)
    return results.load()


def kill_when(command: list[str], folder: Path, count: int) -> None:
    """Kill a command, and all that it started, once so many runs are complete."""
    with subprocess.Popen(command, stdout=-1, stderr=-1, start_new_session=True) as process:
        until = time.monotonic() + 120
        while complete(folder) < count and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert process.poll() is None, process.communicate()[1].decode()[-2000:]
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_sweep_of_sixty_runs_killed_three_times_once_while_writing_ends_with_the_same_bits(
    grid: Path, unbroken: xr.Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    command = [sys.executable, "-m", "superconsistency", "sweep", str(grid), "--output", str(folder)]
    kill_when([*command, "--workers", "1"], folder, 5)

    script = Path(__file__).with_name("stalled.py")
    stalled = [sys.executable, str(script), str(grid), str(folder), "7"]
    with subprocess.Popen(stalled, stdout=subprocess.PIPE, stderr=-1) as process:
        assert process.stdout is not None
        half = Path(process.stdout.readline().decode().strip())
        assert half.is_file()
        process.kill()
        process.communicate()
    had = complete(folder)
    assert 10 < had < 60
    plan = make_plan(read_sweep(grid)[0])
    assert len(look(plan, folder).done) == had  # the half-written one is no run
    assert int(open_results(folder)["completed"].sum()) == had

    kill_when([*command, "--workers", "2"], folder, had + 8)
    assert complete(folder) < 60
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "60 runs, " in done.stderr
    assert "complete already" in done.stderr
    assert same_bits(open_results(folder).load(), unbroken)


def test_a_file_cut_short_or_changed_is_no_run_and_is_done_again(
    grid: Path, unbroken: xr.Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    plan = make_plan(read_sweep(grid)[0])
    carry_out(plan, folder, Place(here, 1, "here"), look(plan, folder))
    cut, changed = sorted((folder / "runs").glob("*/*.nc"))[:2]
    cut.write_bytes(cut.read_bytes()[:-100])
    changed.write_bytes(_with_a_value_changed(changed))
    with pytest.raises(InputError, match=r"it is damaged.*remedy: give the sweep's command again"):
        open_results(folder).load()
    left = look(plan, folder)
    assert {cut.stem, changed.stem} == set(left.damaged)
    account = carry_out(plan, folder, Place(here, 1, "here"), left)
    assert (account.done, account.failed) == (60, 0)
    assert same_bits(open_results(folder).load(), unbroken)


def _with_a_value_changed(path: Path) -> bytes:
    """The file with one bit of one of its losses turned."""
    content = bytearray(path.read_bytes())
    with xr.open_dataset(path, engine="h5netcdf") as record:
        value = record["loss"].to_numpy().ravel()[-1].tobytes()
    place = bytes(content).find(value)
    assert place > 0
    content[place] ^= 1
    return bytes(content)
