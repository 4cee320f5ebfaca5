"""A killed training run goes on where it was, and ends with the same bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.neural import Checkpoint, Grid, Optimizer, TrainingConfig, load_dataset, train_grid
from superconsistency.neural.curvature import SpectrumTracker
from superconsistency.neural.training.checkpoint import digest
from superconsistency.records import RecordKeeper
from superconsistency.theory import parametrization

PROGRAM = Path(__file__).with_name("kill_and_resume.py")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs the processor time of another process")
def test_runs_killed_at_random_moments_resume_to_the_same_bits(tmp_path: Path) -> None:
    """Three here, ten in `make stress`."""
    command = [sys.executable, str(PROGRAM), str(tmp_path), "3", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("resumed to the same bits") for line in lines)
    assert sum("with a checkpoint" in line for line in lines) >= 1


def config(**changes: object) -> TrainingConfig:
    settings: dict[str, object] = {
        "steps": 4, "batch_size": 16, "measure_every": 2, "hessian_examples": 16, "evaluation_examples": 32,
    }  # fmt: skip
    return TrainingConfig(parametrization("mup"), **(settings | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", [Optimizer(), Optimizer(momentum=0.9), Optimizer("adamw")])
@pytest.mark.parametrize("stacked", [False, True])
def test_a_run_interrupted_at_any_step_gives_the_same_bits(
    tmp_path: Path, optimizer: Optimizer, stacked: bool
) -> None:
    data = load_dataset("digits", examples=64)
    grid = Grid(config(optimizer=optimizer), (2,), (0.05, 0.1), (0,))
    unbroken = train_grid(grid, data, stacked=stacked)
    for stop in (1, 2, 3):
        checkpoint = Checkpoint(tmp_path / f"{stop}.checkpoint", seconds=0)
        seen: list[float] = []

        def interrupt(done: float, _total: float, stop: int = stop, seen: list[float] = seen) -> None:
            seen.append(done)
            if len(seen) > stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_grid(grid, data, on_progress=interrupt, checkpoint=checkpoint, stacked=stacked)
        resumed = train_grid(grid, data, checkpoint=checkpoint, stacked=stacked)
        for name in unbroken.variables:
            assert resumed[name].to_numpy().tobytes() == unbroken[name].to_numpy().tobytes()
        assert not checkpoint.path.exists()


def test_a_checkpoint_of_other_runs_is_left_aside(tmp_path: Path) -> None:
    data = load_dataset("digits", examples=64)
    checkpoint = Checkpoint(tmp_path / "runs.checkpoint", seconds=0)
    checkpoint.save({"runs": [1]}, lambda: {"anything": torch.zeros(3)})
    assert checkpoint.load({"runs": [2]}, torch.device("cpu")) is None
    kept = checkpoint.load({"runs": [1]}, torch.device("cpu"))
    assert kept is not None
    assert torch.equal(kept["anything"], torch.zeros(3))
    record = train_grid(Grid(config(), (2,), (0.1,), (0,)), data, checkpoint=checkpoint)
    assert record["completed"].all()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04cos\nsystem\n(S'true'\ntR."])
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "runs.checkpoint"
    path.write_bytes(content)
    with pytest.raises(InputError, match="what an interrupted run left") as caught:
        Checkpoint(path).load({}, torch.device("cpu"))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_the_identity_tells_settings_apart() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


class Diagonal:
    """An operator with known eigenvalues."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values, self.matvecs = values, 0
        self.size, self.dtype, self.device = len(values), values.dtype, values.device

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        self.matvecs += 1
        return self.values * vector


@pytest.mark.parametrize("count", [1, 3])
def test_a_tracker_goes_on_from_its_state_with_the_same_bits(count: int) -> None:
    generator = np.random.default_rng(0)
    operators = [torch.tensor(generator.standard_normal(200)) for _ in range(4)]
    whole, first = SpectrumTracker(count=count), SpectrumTracker(count=count)
    expected = [whole(Diagonal(values)) for values in operators]
    for values in operators[:2]:
        first(Diagonal(values))
    second = SpectrumTracker(count=count)
    second.load(first.state())
    for values, pairs in zip(operators[2:], expected[2:], strict=True):
        found = second(Diagonal(values))
        assert found.values.tobytes() == pairs.values.tobytes()
        assert torch.equal(found.vectors, pairs.vectors)


def test_what_was_complete_when_the_process_was_killed_is_not_done_again(tmp_path: Path) -> None:
    """Killed after the next width's checkpoint has taken the place of the first one's."""
    data = load_dataset("digits", examples=64)
    grid = Grid(config(measure_every=4), (2, 3), (0.05,), (0,))
    steps: list[float] = []

    def count(done: float, _total: float, last: int = 6) -> None:
        steps.append(done)
        if len(steps) == last:
            raise KeyboardInterrupt

    def train(keeper: RecordKeeper, last: int) -> xr.Dataset:
        return train_grid(
            grid,
            data,
            checkpoint=Checkpoint(tmp_path / "checkpoint", seconds=0),
            on_progress=lambda done, total: count(done, total, last),
            on_measurement=keeper.keep_partial,
            resume=keeper.earlier(),
        )

    with pytest.raises(KeyboardInterrupt):
        train(RecordKeeper(tmp_path / "record.nc"), 6)
    steps.clear()
    resumed = train(RecordKeeper(tmp_path / "record.nc"), 100)
    assert len(steps) == 8 - 5  # the sixth step was interrupted before its checkpoint
    assert resumed.identical(train_grid(grid, data))
