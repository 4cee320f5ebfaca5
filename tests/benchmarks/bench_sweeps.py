"""Sweeps: two processes over one on runs of equal size, and ten thousand records opened lazily.

`--only scaling` or `--only records`; `--json` prints one document with all numbers.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from superconsistency.cli.console import print_json, progress_bar
from superconsistency.records.store import RunStore
from superconsistency.runner import (
    LatentModel,
    NetworkModel,
    carry_out,
    local,
    look,
    make_plan,
    make_sweep,
)
from superconsistency.runner.models import DataChoice

REPETITIONS, RUNS = 5, 8
RECORDS = 10_000

OPENING = """
import sys, time
begun = time.perf_counter()
from superconsistency import open_results
loaded = time.perf_counter()
results = open_results(sys.argv[1])
opened = time.perf_counter()
lines = open("/proc/self/status").read().splitlines()  # getrusage would count the parent before this program
memory = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
one = results["loss"].isel(width=0, learning_rate=0).mean("seed").compute()
used = time.perf_counter()
print(loaded - begun, opened - loaded, used - opened, memory / 1024, int(results["completed"].sum()))
"""


def seconds(workers: int, steps: int, seed: int) -> float:
    """Of a sweep of equal runs, without the start of the workers."""
    model = NetworkModel((f"steps={steps}", "quantities=", "evaluation_examples=128"), DataChoice("digits"))
    plan = make_plan(make_sweep(model, [{"width": 32, "seed": list(range(seed, seed + RUNS))}]))
    warming = list(range(10**6 + seed, 10**6 + seed + 4 * workers))  # enough for each worker to have had some
    warm = make_plan(make_sweep(model, [{"width": 32, "seed": warming}]))
    with tempfile.TemporaryDirectory() as name, local(workers) as place:
        folder = Path(name)
        carry_out(warm, folder / "warm", place, look(warm, folder / "warm"))
        begun = time.perf_counter()
        carry_out(plan, folder / "sweep", place, look(plan, folder / "sweep"))
        return time.perf_counter() - begun


def scaling(steps: int) -> dict[str, Any]:
    """One process over two, in turns."""
    pairs = []
    with progress_bar("one process and two") as update:
        for repetition in range(REPETITIONS):
            pairs.append([seconds(workers, steps, repetition * RUNS) for workers in (1, 2)])
            update(repetition + 1, REPETITIONS)
    ratios = [one / two for one, two in pairs]
    return {"seconds": pairs, "ratio": median(ratios), "ratios": ratios}


def records(folder: Path) -> dict[str, Any]:
    """Ten thousand simulated runs, and what it takes to open them in a new process."""
    grid = {"width": [16, 64, 256, 1024], "learning_rate": [0.1, 0.2, 0.4, 0.8, 1.6], "seeds": RECORDS // 20}
    with progress_bar("naming") as update:
        plan = make_plan(make_sweep(LatentModel(dimension=10, steps=64), [grid]), update)
    store = RunStore(folder)
    store.write_manifest(plan.manifest)
    model = plan.sweep.model
    begun = time.perf_counter()
    with progress_bar("simulating and writing") as update:
        for index, (cell, key) in enumerate(zip(plan.sweep.cells, plan.keys, strict=True)):
            store.save(key, model.run(cell, folder / "unused", lambda _done, _whole: None))
            update(index + 1, len(plan.keys))
    written = time.perf_counter() - begun
    done = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-c", OPENING, str(folder)], capture_output=True, text=True, check=True
    )
    imported, opened, used, memory, count = map(float, done.stdout.split())
    size = sum(path.stat().st_size for path in folder.rglob("*.nc"))
    return {
        "runs": int(count), "seconds_to_make": written, "megabytes_on_disk": size / 1e6,
        "seconds_to_import": imported, "seconds_to_open": opened, "peak_megabytes": memory,
        "seconds_for_a_mean_over_seeds": used,
    }  # fmt: skip


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("scaling", "records"), default=None)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    document: dict[str, Any] = {}
    if options.only in {None, "scaling"}:
        document["scaling"] = scaling(options.steps)
    if options.only in {None, "records"}:
        with tempfile.TemporaryDirectory() as name:
            document["records"] = records(Path(name))
    document["peak_megabytes_here"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print_json(document)
        return
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    if "scaling" in document:
        found = document["scaling"]
        console.print(
            f"one process over two, {RUNS} equal runs: {found['ratio']:.2f} "
            f"({min(found['ratios']):.2f} to {max(found['ratios']):.2f})"
        )
    if "records" in document:
        found = document["records"]
        console.print(
            f"{found['runs']} records ({found['megabytes_on_disk']:.0f} MB): imported in "
            f"{found['seconds_to_import']:.2f} s, opened in {found['seconds_to_open']:.2f} s, at most "
            f"{found['peak_megabytes']:.0f} MB of memory; a mean over 500 seeds in "
            f"{found['seconds_for_a_mean_over_seeds']:.2f} s"
        )


if __name__ == "__main__":
    main()
