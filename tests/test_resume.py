"""A killed sweep goes on where it was, and ends with the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.records import RecordKeeper, load_record
from superconsistency.simulations import Ensemble, schedule, simulate
from superconsistency.theory import IsotropicTarget, parametrization

SWEEP = [
    "simulate", "--method", "full", "--dim", "60", "--widths", "200,300,400,500,600,700,800,900",
    "--steps", "5000", "--seeds", "8", "--learning-rate", "1,2", "--output",
]  # fmt: skip


def start(output: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "superconsistency", *SWEEP, str(output)], stderr=-1, stdout=-1
    )


def test_a_sweep_killed_halfway_resumes_and_gives_the_same_bits_as_an_unbroken_one(tmp_path: Path) -> None:
    broken, unbroken = tmp_path / "broken.nc", tmp_path / "unbroken.nc"
    partial = broken.with_name("broken.partial.nc")
    with start(broken) as process:
        give_up = time.monotonic() + 120
        while not partial.exists() and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    had = load_record(partial)["completed"].to_numpy()
    assert 0 < had.sum() < had.size
    assert not broken.exists()
    with start(broken) as process:
        _, err = process.communicate()
        assert f"has {had.sum()} of {had.size} runs" in err.decode()
    with start(unbroken) as process:
        process.communicate()
    one, two = load_record(broken), load_record(unbroken)
    assert one.identical(two)
    for name in one.variables:
        assert one[name].to_numpy().tobytes() == two[name].to_numpy().tobytes()
    assert not partial.exists()


def ensemble(seeds: int = 2) -> Ensemble:
    return Ensemble(parametrization("mup"), IsotropicTarget(5, 1.0), (3, 8, 40), (0.2,), tuple(range(seeds)))


def test_completed_runs_are_not_run_again() -> None:
    whole = simulate(ensemble(), record_at=schedule(10))
    part = whole.copy(deep=True)
    part["loss"].values[0] = 7.0
    part["completed"].values[1:] = 0
    part["loss"].values[1:] = np.nan
    calls: list[int] = []
    found = simulate(
        ensemble(),
        record_at=schedule(10),
        resume=part,
        on_block=lambda record: calls.append(record.sizes["step"]),
    )
    assert (found["loss"][0] == 7.0).all()
    np.testing.assert_array_equal(found["loss"][1:], whole["loss"][1:])
    assert len(calls) == 2


def test_a_record_of_another_call_is_not_resumed(tmp_path: Path) -> None:
    other = simulate(ensemble(seeds=3), record_at=schedule(10))
    for changed in (schedule(12), schedule(10)):
        with pytest.raises(InputError, match="record to resume"):
            simulate(ensemble(), record_at=changed, resume=other)
    of_other_steps = simulate(ensemble(), record_at=schedule(20, 2))
    with pytest.raises(InputError, match="record to resume"):
        simulate(ensemble(), record_at=schedule(10), resume=of_other_steps)
    keeper = RecordKeeper(tmp_path / "a.nc")
    keeper.keep_partial(other)
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "--output", str(tmp_path / "a.nc")])
    assert stop.value.code == 2
    assert keeper.earlier() is not None


def test_what_has_not_been_written_is_written_on_request(tmp_path: Path) -> None:
    keeper = RecordKeeper(tmp_path / "a.nc")
    record = simulate(ensemble(), record_at=schedule(3))
    keeper.keep_partial(record)
    first = keeper.earlier()
    assert first is not None
    later = record.copy(deep=True)
    later["loss"].values[...] = 1.0
    keeper.keep_partial(later)  # too soon after the first to be written by itself
    keeper.flush()
    found = keeper.earlier()
    assert found is not None
    assert (found["loss"] == 1.0).all()
