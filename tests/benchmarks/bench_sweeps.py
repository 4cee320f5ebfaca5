"""Sweeps: one process against two, `train` against `sweep`, stacks against single runs, and lazy opening.

`--only` chooses one part, `--json` prints one document with all numbers.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Console
from superconsistency.cli.console import print_json, progress_bar
from superconsistency.records.manifest import write_manifest
from superconsistency.records.store import RunStore
from superconsistency.runner import (
    DataChoice,
    LatentModel,
    NetworkModel,
    carry_out,
    local,
    look,
    make_plan,
    make_sweep,
    results_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 8
RECORDS = 10_000
WIDTHS, RATES, SEEDS = (16, 32), (0.25, 0.5, 1.0, 2.0), 2

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
    """Time of a sweep of equal runs, without the start of the workers."""
    model = NetworkModel((f"steps={steps}", "quantities=", "evaluation_examples=128"), DataChoice("digits"))
    plan = make_plan(make_sweep(model, [{"width": 32, "seed": list(range(seed, seed + RUNS))}]))
    warming = list(range(10**6 + seed, 10**6 + seed + 4 * workers))  # enough for each worker to have had some
    warm = make_plan(make_sweep(model, [{"width": 32, "seed": warming}]))
    with tempfile.TemporaryDirectory() as name, local(workers) as executor:
        folder = Path(name)
        carry_out(warm, folder / "warm", executor, look(warm, folder / "warm"))
        begun = time.perf_counter()
        carry_out(plan, folder / "sweep", executor, look(plan, folder / "sweep"))
        return time.perf_counter() - begun


def in_turns(
    words: str, repetitions: int, one: Callable[[int], float], other: Callable[[int], float]
) -> dict[str, Any]:
    """Times of two ways, in turns, and the median of the first over the second."""
    pairs = []
    with progress_bar(words) as update:
        for repetition in range(repetitions):
            pairs.append((one(repetition), other(repetition)))
            update(repetition + 1, repetitions)
    ratios = [first / second for first, second in pairs]
    return {"seconds": pairs, "ratio": median(ratios), "ratios": ratios}


def scaling(steps: int, repetitions: int) -> dict[str, Any]:
    """One process over two."""
    return in_turns(
        "one process and two", repetitions,
        lambda number: seconds(1, steps, number * RUNS), lambda number: seconds(2, steps, number * RUNS),
    )  # fmt: skip


def commanded(command: str, steps: int, folder: Path) -> float:
    """Time of one command that trains the 16 runs, from the start of its process to the end."""
    widths, rates = (",".join(map(str, values)) for values in (WIDTHS, RATES))
    shared = [
        "--network", "simple-convnet", "--widths", widths, "--learning-rate", rates, "--seeds", str(SEEDS),
        "--batch-size", "128", "--dataset", "digits", "--workers", "1", "--json",
    ]  # fmt: skip
    every = str(max(1, steps // 16))
    own = {
        "train": ["--steps", str(steps), "--every", every, "--output", str(folder / "record.nc")],
        "sweep": [
            "--set", f"steps={steps}", "--set", f"measure_every={every}", "--output", str(folder / "sweep"),
        ],
    }  # fmt: skip
    program = [sys.executable, "-m", "superconsistency", command, *shared, *own[command]]
    begun = time.perf_counter()
    done = subprocess.run(program, capture_output=True, text=True, check=True)  # noqa: S603 - this package
    took = time.perf_counter() - begun
    json.loads(done.stdout)
    return took


def train_and_sweep(steps: int, repetitions: int) -> dict[str, Any]:
    """The command `sweep` over the command `train`, for the same 16 runs."""

    def timed(command: str) -> float:
        with tempfile.TemporaryDirectory() as name:
            return commanded(command, steps, Path(name))

    return in_turns("sweep and train", repetitions, lambda _: timed("sweep"), lambda _: timed("train"))


def stacked(steps: int, repetitions: int) -> dict[str, dict[str, Any]]:
    """Runs one by one over stacks of the same runs, by width."""

    def timed(_repetition: int, *, width: int, together: bool) -> float:
        settings = (f"steps={steps}", f"measure_every={max(1, steps // 16)}")
        model = NetworkModel(settings, DataChoice("digits"), stacked=together)
        sweep = make_sweep(model, [{"width": width, "learning_rate": list(RATES), "seeds": SEEDS}])
        begun = time.perf_counter()
        results_of(sweep)
        return time.perf_counter() - begun

    found = {}
    for width in WIDTHS:
        found[str(width)] = in_turns(
            f"one by one and stacked, width {width}", repetitions,
            partial(timed, width=width, together=False), partial(timed, width=width, together=True),
        )  # fmt: skip
    return found


def records(folder: Path) -> dict[str, Any]:
    """Ten thousand simulated runs, and what it takes to open them in a new process."""
    grid = {"width": [16, 64, 256, 1024], "learning_rate": [0.1, 0.2, 0.4, 0.8, 1.6], "seeds": RECORDS // 20}
    with progress_bar("naming") as update:
        plan = make_plan(make_sweep(LatentModel(dimension=10, steps=64), [grid]), None, update)
    store = RunStore(folder)
    write_manifest(folder, plan.manifest)
    model = plan.sweep.model
    begun = time.perf_counter()
    with progress_bar("simulating and writing") as update:
        for index, (group, family, key) in enumerate(plan.named):
            store.save(family, key, model.run(group, folder / "unused", lambda _done, _whole: None))
            update(index + 1, len(plan.named))
    written = time.perf_counter() - begun
    done = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-c", OPENING, str(folder)], capture_output=True, text=True, check=True
    )
    imported, opened, used, memory, count = map(float, done.stdout.split())
    size = sum(path.stat().st_size for path in folder.rglob("*.nc"))
    return {
        "runs": int(count), "groups": len(plan.named), "seconds_to_make": written,
        "megabytes_on_disk": size / 1e6, "seconds_to_import": imported, "seconds_to_open": opened,
        "peak_megabytes": memory, "seconds_for_a_mean_over_seeds": used,
    }  # fmt: skip


PARTS = ("scaling", "train-and-sweep", "stacked", "records")


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, default=None)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = PARTS if options.only is None else (options.only,)
    document: dict[str, Any] = {}
    for part, run in (("scaling", scaling), ("train-and-sweep", train_and_sweep), ("stacked", stacked)):
        if part in wanted:
            document[part] = run(options.steps, options.repetitions)
    if "records" in wanted:
        with tempfile.TemporaryDirectory() as name:
            document["records"] = records(Path(name))
    document["peak_megabytes_here"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.json:
        print_json(document)
    else:
        console = Console(width=None if Console().is_terminal else 140, highlight=False)
        for line in sentences(document):
            console.print(line)


def sentences(document: dict[str, Any]) -> list[str]:
    """What was measured, in words."""
    lines = []
    if "scaling" in document:
        lines.append(f"one process over two, {RUNS} equal runs: {_ratio(document['scaling'])}")
    if "train-and-sweep" in document:
        count = len(WIDTHS) * len(RATES) * SEEDS
        lines.append(f"sweep over train, the same {count} runs: {_ratio(document['train-and-sweep'])}")
    for width, found in document.get("stacked", {}).items():
        words = f"{len(RATES) * SEEDS} runs of width {width} one by one over stacks of {len(RATES)}"
        lines.append(f"{words}: {_ratio(found)}")
    if "records" in document:
        found = document["records"]
        lines.append(
            f"{found['runs']} runs in {found['groups']} files ({found['megabytes_on_disk']:.0f} MB, made in "
            f"{found['seconds_to_make']:.1f} s): imported in {found['seconds_to_import']:.2f} s, opened in "
            f"{found['seconds_to_open']:.2f} s, at most {found['peak_megabytes']:.0f} MB of memory; a mean "
            f"over 500 seeds in {found['seconds_for_a_mean_over_seeds']:.2f} s"
        )
    return lines


def _ratio(found: dict[str, Any]) -> str:
    """A ratio with its range, and the median times."""
    one, other = (median(times) for times in zip(*found["seconds"], strict=True))
    low, high = min(found["ratios"]), max(found["ratios"])
    return f"{found['ratio']:.2f} ({low:.2f} to {high:.2f}; {one:.1f} s and {other:.1f} s)"


if __name__ == "__main__":
    main()
