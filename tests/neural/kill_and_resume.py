"""Trains in a child process, kills it at random moments, resumes it, and compares with an unbroken run.

Run as a program: `python kill_and_resume.py FOLDER KILLS SEED` prints one line a kill, and fails at the first
record that differs by a bit.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from superconsistency.neural import (
    Augmentation,
    Checkpoint,
    Grid,
    Optimizer,
    TrainingConfig,
    load_dataset,
    network,
    train_grid,
)
from superconsistency.records import RecordKeeper, load_record
from superconsistency.theory import parametrization

CONFIG = TrainingConfig(
    parametrization("depth-mup"),
    architecture=network("resnet", depth=3),
    optimizer=Optimizer("adam"),
    steps=24,
    batch_size=16,
    warmup=10,
    augmentation=Augmentation(),
    measure_every=6,
    quantities=("sharpness",),
    count=2,
    hessian_examples=16,
    evaluation_examples=32,
    tolerance=1e-2,
)


def run(output: Path) -> None:
    """Train to the end, going on from what is there."""
    torch.set_num_threads(1)
    data = load_dataset("digits", examples=256)
    keeper = RecordKeeper(output)
    grid = Grid(CONFIG, (2, 4), (0.01,), (0,))
    record = train_grid(
        grid,
        data,
        on_measurement=keeper.keep_partial,
        resume=keeper.earlier(),
        checkpoint=Checkpoint(output.with_suffix(".checkpoint"), seconds=0.02),
        stacked=False,
    )
    keeper.keep_whole(record)


def child(output: Path) -> int:
    """Start a run in a process of its own."""
    process = os.fork()
    if process:
        return process
    try:
        run(output)
    except BaseException:  # the child must not go on as its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def finish(output: Path) -> float:
    """Run to the end; seconds of processor time it took."""
    _, status, usage = os.wait4(child(output), 0)
    if status:
        raise SystemExit(f"a run ended with status {status}")
    return usage.ru_utime + usage.ru_stime


def kill_after(process: int, seconds: float) -> None:
    """Kill a child when it has used so much processor time, or has ended."""
    tick = os.sysconf("SC_CLK_TCK")
    while True:
        state, *_, user, system = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[:13]
        if state == "Z" or (int(user) + int(system)) / tick >= seconds:
            break
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def difference(one: xr.Dataset, other: xr.Dataset) -> list[str]:
    """Variables whose bytes differ."""
    return [
        str(name)
        for name in one.variables
        if np.asarray(one[name]).tobytes() != np.asarray(other[name]).tobytes()
    ]


def main(folder: Path, kills: int, seed: int) -> None:
    """Kill and resume."""
    moments = np.random.default_rng(seed)
    run(folder / "unbroken.nc")  # here, so that what is loaded once is loaded in no child
    unbroken = load_record(folder / "unbroken.nc")
    seconds = finish(folder / "child.nc")
    for number in range(kills):
        output = folder / f"killed-{number}.nc"
        kill_after(child(output), seconds * moments.uniform(0.05, 0.95))
        left = output.with_suffix(".checkpoint").exists()
        state = "complete" if output.exists() else "with a checkpoint" if left else "without a checkpoint"
        finish(output)
        resumed = load_record(output)
        wrong = difference(unbroken, resumed)
        if wrong or unbroken.attrs != resumed.attrs:
            raise SystemExit(f"kill {number}, {state}: {wrong or 'attributes'} differ")
        sys.stdout.write(f"kill {number}: {state}, resumed to the same bits\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
