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
    DataChoice,
    LatentModel,
    NetworkModel,
    carry_out,
    here,
    local,
    look,
    make_plan,
    make_sweep,
)
from superconsistency.runner.drive import Account
from superconsistency.runner.engines import Place
from superconsistency.runner.models import Cell, Progress

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find this module
PATIENCE = 60.0


@dataclass(frozen=True)
class Patient(LatentModel):
    """A model whose runs stay in the middle of what was left of them until they were seen there."""

    seen: str = ""

    def run(self, cell: Cell, checkpoint: Path, on_progress: Progress) -> xr.Dataset:
        on_progress(2.0, 10.0)  # as one that goes on from a checkpoint
        until = time.monotonic() + PATIENCE
        while not Path(self.seen).exists() and time.monotonic() < until:
            on_progress(6.0, 10.0)
            time.sleep(0.05)
        return super().run(cell, checkpoint, on_progress)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_says_how_far_it_is_before_its_first_run_is_over(workers: int, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    folder = tmp_path / "sweep"
    plan = make_plan(
        make_sweep(Patient(dimension=4, steps=8, seen=str(seen)), [{"width": 4, "seed": [0, 1]}])
    )
    events: list[Account] = []

    def note(account: Account) -> None:
        events.append(account)
        if account.work == pytest.approx(workers * 0.25):
            seen.touch()

    with local(workers) as place:
        carry_out(plan, folder, place, look(plan, folder), on_event=note)
    assert any(not event.done and event.work == pytest.approx(workers * 0.25) for event in events)
    assert (events[0].work, events[-1].work, events[-1].done) == (0.0, 1.0, 2)
    assert not list((folder / "underway").iterdir())


def test_what_a_killed_process_said_of_its_run_does_not_count(tmp_path: Path) -> None:
    plan = make_plan(make_sweep(LatentModel(dimension=4, steps=8), [{"width": [4, 8], "seed": 0}]))
    RunStore(tmp_path).tell(plan.keys[1], 0.75)
    assert RunStore(tmp_path).shares() == {plan.keys[1]: 0.75}
    works: list[float] = []
    place = Place(here, 1, "here")
    carry_out(
        plan, tmp_path, place, look(plan, tmp_path), on_event=lambda account: works.append(account.work)
    )
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
    cell = make_sweep(model, [{"architecture": "mlp", "width": 4, "seed": 0, "batch_size": 8}]).cells[0]
    told: list[float] = []
    model.run(cell, tmp_path / "checkpoint", lambda done, whole: told.append(done / whole))
    assert told == sorted(told)
    assert 0 < told[0] < 1
    assert told[-1] == 1
