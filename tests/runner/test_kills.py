"""A sweep that is killed and called again ends with the results of an unbroken one, bit for bit."""

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
from superconsistency.records.store import RunStore
from superconsistency.runner import HERE, carry_out, look, make_plan, read_sweep

from .grids import SIXTY, files, finished, same_bits, written


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("grid"), SIXTY)


@pytest.fixture(scope="module")
def unbroken(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The sweep, run in this process without a break."""
    return finished(make_plan(read_sweep(grid)[0]), tmp_path_factory.mktemp("unbroken") / "sweep")


def kill_when(command: list[str], folder: Path, count: int) -> None:
    """Kill a command, and all that it started, once so many groups are complete."""
    with subprocess.Popen(command, stdout=-1, stderr=-1, start_new_session=True) as process:
        until = time.monotonic() + 120
        while len(files(folder)) < count and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert process.poll() is None, process.communicate()[1].decode()[-2000:]
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_sweep_of_sixty_runs_killed_three_times_once_while_writing_ends_with_the_same_bits(
    grid: Path, unbroken: xr.Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    command = [sys.executable, "-m", "superconsistency", "sweep", str(grid), "--output", str(folder)]
    kill_when([*command, "--workers", "1"], folder, 3)

    script = Path(__file__).with_name("stalled.py")
    stalled = [sys.executable, str(script), str(grid), str(folder), "5"]
    with subprocess.Popen(stalled, stdout=subprocess.PIPE, stderr=-1) as process:
        assert process.stdout is not None
        half = Path(process.stdout.readline().decode().strip())
        assert half.is_file()
        process.kill()
        process.communicate()
    had = len(files(folder))
    assert 6 < had < 20
    plan = make_plan(read_sweep(grid)[0], RunStore(folder))
    done = look(plan, folder).done
    assert len(done) == had  # the half-written one is no group
    assert int(open_results(folder)["completed"].sum()) == plan.count(done)

    kill_when([*command, "--workers", "2"], folder, had + 3)
    assert len(files(folder)) < len(plan.named)
    ended = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "60 runs, " in ended.stderr
    assert "complete already" in ended.stderr
    assert same_bits(open_results(folder).load(), unbroken)


def test_a_file_cut_short_or_changed_is_no_group_and_is_done_again(
    grid: Path, unbroken: xr.Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    plan = make_plan(read_sweep(grid)[0])
    assert same_bits(finished(plan, folder), unbroken)
    cut, changed = files(folder)[:2]
    cut.write_bytes(cut.read_bytes()[:-100])
    changed.write_bytes(_with_a_value_changed(changed))
    with pytest.raises(InputError, match=r"it is damaged.*remedy: rerun the sweep's command"):
        open_results(folder).load()
    again = make_plan(read_sweep(grid)[0], RunStore(folder))
    assert set(again.named) == set(plan.named)
    found = look(again, folder)
    assert {cut.stem, changed.stem} == set(found.damaged)
    status = carry_out(again, folder, HERE, found)
    assert (status.done, status.failed) == (60, 0)
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
