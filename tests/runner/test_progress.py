"""How far a sweep is, which is known before its first run is over."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import pytest
import xarray as xr
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
)
from superconsistency.runner.models import OnProgress

from . import grids
from .grids import Single

for module in (sys.modules[__name__], grids):
    cloudpickle.register_pickle_by_value(module)  # workers do not find these modules
PATIENCE = 60.0


@dataclass(frozen=True)
class Patient(Single):
    """A model whose groups stay in the middle of what was left of them until they were seen there."""

    seen: str = ""

    def run(self, group: Group, checkpoint: Path, on_progress: OnProgress) -> xr.Dataset:
        on_progress(2.0, 10.0)  # as one that resumes from a checkpoint
        until = time.monotonic() + PATIENCE
        while not Path(self.seen).exists() and time.monotonic() < until:
            on_progress(6.0, 10.0)
            time.sleep(0.05)
        return super().run(group, checkpoint, on_progress)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_says_how_far_it_is_before_its_first_group_is_over(workers: int, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    folder = tmp_path / "sweep"
    plan = make_plan(
        make_sweep(Patient(dimension=4, steps=8, seen=str(seen)), [{"width": 4, "seed": [0, 1]}])
    )
    events: list[Status] = []

    def note(status: Status) -> None:
        events.append(status)
        if status.work == pytest.approx(workers * 0.25):
            seen.touch()

    with local(workers) as executor:
        carry_out(plan, folder, executor, look(plan, folder), on_status=note)
    assert any(not event.done and event.work == pytest.approx(workers * 0.25) for event in events)
    assert (events[0].work, events[-1].work, events[-1].done) == (0.0, 1.0, 2)
    assert not list((folder / "underway").iterdir())


def test_what_a_killed_process_said_of_its_group_does_not_count(tmp_path: Path) -> None:
    plan = make_plan(make_sweep(LatentModel(dimension=4, steps=8), [{"width": [4, 8], "seed": 0}]))
    key = plan.named[1].key
    RunStore(tmp_path).tell(key, 0.75)
    assert RunStore(tmp_path).shares() == {key: 0.75}
    works: list[float] = []
    found = look(plan, tmp_path)
    carry_out(plan, tmp_path, HERE, found, on_status=lambda status: works.append(status.work))
    assert works == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("text", ["", "nan", "0.5 of it", "\x00", "1e999"])
def test_a_share_that_is_no_number_counts_as_none(text: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.tell("0" * 64, 0.5)
    (path,) = (tmp_path / "underway").iterdir()
    path.write_text(text)
    assert store.shares() == {"0" * 64: 0.0}


def test_a_network_that_is_trained_tells_how_far_it_is(tmp_path: Path) -> None:
    model = NetworkModel(("steps=6", "measure_every=2", "quantities=loss"), DataChoice("digits", examples=32))
    grid = {"architecture": "mlp", "width": 4, "learning_rate": [0.1, 0.2], "seed": 0, "batch_size": 8}
    (named,) = make_plan(make_sweep(model, [grid])).named
    told: list[float] = []
    model.run(named.group, tmp_path / "checkpoint", lambda done, whole: told.append(done / whole))
    assert told == sorted(told)
    assert 0 < told[0] < 1
    assert told[-1] == 1
