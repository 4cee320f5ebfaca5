"""Training with curvature along the way: ours against plain JAX, and what our own choices gain, in one run.

Both sides train SimpleConvNet under muP at the same learning rates, batch after batch, and measure the
sharpness equally often: JAX by ten warm power iterations, ours certified to a relative 1e-3. Sides take
turns, one learning rate after the other; ratios are of wall time. `--json` prints one document with all
numbers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import jax_training
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from superconsistency.cli.console import print_json, progress_bar
from superconsistency.neural import (
    Dataset,
    Grid,
    TrainingConfig,
    load_dataset,
    load_images,
    network,
    train_grid,
)
from superconsistency.neural.memory import freed_memory_kept
from superconsistency.neural.training import Probe, Run, RunGroup, forward_cost, torch_generator
from superconsistency.neural.training.grid import STACKED
from superconsistency.theory import parametrization

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTHS = (16, 64, 256)
RATES = (0.25, 0.5, 1.0, 2.0, 4.0)
BATCH, MEASUREMENTS, EXAMPLES = 128, 16, 128
SEED = 0

JOINT = {
    "mlp": (16, 64, 256),
    "simple-convnet": (8, 16, 32, 64),
    "convnet": (8, 16, 32),
    "resnet": (8, 16),
    "vit": (16,),
    "transformer": (16, 64),
}
"""Networks and widths at which training together is compared with training apart."""
NETWORKS, STEPS, REPETITIONS = 5, 8, 5


def configured(steps: int) -> TrainingConfig:
    """Settings of our side."""
    return TrainingConfig(
        parametrization("mup"),
        steps=steps,
        batch_size=BATCH,
        measure_every=max(1, steps // MEASUREMENTS),
        hessian_examples=EXAMPLES,
        evaluation_examples=EXAMPLES,
    )


def throughput(
    width: int, steps: int, rates: tuple[float, ...], data: Dataset, update: Callable[[float, float], None]
) -> dict[str, Any]:
    """Seconds of both sides at every learning rate."""
    config = configured(steps)
    measured = frozenset(config.measured_steps)
    order = np.random.default_rng(config.probe_seed).permutation(data.examples)
    images = data.inputs.permute(0, 2, 3, 1).contiguous().numpy()[order]
    labels = data.targets.numpy()[order]
    theirs = jax_training.runner(images, labels, slice(0, EXAMPLES))
    generator = torch_generator(SEED)
    batches = [torch.randint(data.examples, (BATCH,), generator=generator).numpy() for _ in range(steps)]
    theirs(width, rates[0], batches[:1], frozenset({1}))  # compiled before it is timed
    spent: list[dict[str, float]] = []
    for index, rate in enumerate(rates):
        begun = time.perf_counter()
        record = train_grid(Grid(config, (width,), (rate,), (SEED,)), data)
        middle = time.perf_counter()
        value = theirs(width, rate, batches, measured)
        end = time.perf_counter()
        spent.append(
            {
                "learning_rate": rate,
                "ours": middle - begun,
                "jax": end - middle,
                "products": float(record["hessian_products"].sum()),
                "sharpness": float(record["sharpness"][..., -1].squeeze()),
                "jax_sharpness": value,
            }
        )
        update(index + 1, len(rates))
    ratios = [run["jax"] / run["ours"] for run in spent]
    return {
        "width": width,
        "runs": spent,
        "ours": sum(run["ours"] for run in spent),
        "jax": sum(run["jax"] for run in spent),
        "ratio": median(ratios),
        "ratios": ratios,
    }


def seconds_a_step(config: TrainingConfig, data: Dataset, runs: tuple[Run, ...]) -> float:
    """Seconds that a step of a group takes, after one step to warm up."""
    group = RunGroup(config, data, Probe(config, data), runs)
    marks: list[float] = []
    for _ in group.train(lambda _cohort: marks.append(time.perf_counter())):
        pass
    return (marks[-1] - marks[0]) / (len(marks) - 1)


def joint(name: str, width: int) -> dict[str, Any]:
    """Time a step and network of networks trained apart over those trained together, in turns."""
    data = load_dataset("random-tokens") if name == "transformer" else load_images()
    config = TrainingConfig(
        parametrization("mup"), architecture=network(name), steps=STEPS, measure_at=(STEPS,), quantities=()
    )
    runs = tuple(Run(width, rate, SEED) for rate in np.linspace(0.01, 0.1, NETWORKS).tolist())
    pairs = []
    with freed_memory_kept():
        for _ in range(REPETITIONS):
            apart = sum(seconds_a_step(config, data, (run,)) for run in runs) / NETWORKS
            together = seconds_a_step(config, data, runs) / NETWORKS
            pairs.append((apart, together))
    ratios = [apart / together for apart, together in pairs]
    return {
        "network": name,
        "width": width,
        "multiply_adds": forward_cost(config, width, data),
        "milliseconds_apart": 1e3 * median(apart for apart, _ in pairs),
        "milliseconds_together": 1e3 * median(together for _, together in pairs),
        "ratio": median(ratios),
        "ratios": ratios,
    }


SIDES = ("given back", "kept")


def kept_memory(width: int) -> dict[str, Any]:
    """Time of a step with the C library's defaults over that with freed memory kept, in turns.

    Each side has a process of its own: what one sets stays in the library.
    """
    ratios = []
    for _ in range(REPETITIONS):
        times = [
            float(
                subprocess.run(  # noqa: S603 - this file
                    [sys.executable, __file__, "--side", side, "--widths", str(width)],
                    capture_output=True, text=True, check=True,
                ).stdout
            )
            for side in SIDES
        ]  # fmt: skip
        ratios.append(times[0] / times[1])
    return {"width": width, "ratio": median(ratios), "ratios": ratios}


def seconds_of_side(side: str, width: int) -> float:
    """A step's time where freed memory is given back, or kept."""
    config = TrainingConfig(parametrization("mup"), steps=STEPS, measure_at=(STEPS,), quantities=())
    data, runs = load_images(), (Run(width, 0.1, SEED),)
    with freed_memory_kept() if side == "kept" else nullcontext():
        return min(seconds_a_step(config, data, runs) for _ in range(3))


def show(document: dict[str, Any], console: Console) -> None:
    """Tables of all parts."""
    table = Table(title="training with 16 sharpness measurements, JAX over ours")
    for heading in (
        "width",
        "ours, s",
        "JAX, s",
        "ratio of sums",
        "median (range)",
        "our products a measurement",
    ):
        table.add_column(heading, justify="right")
    for part in document["throughput"]:
        products = median(run["products"] / (MEASUREMENTS + 1) for run in part["runs"])
        spread = f"{part['ratio']:.1f} ({min(part['ratios']):.1f} to {max(part['ratios']):.1f})"
        table.add_row(
            str(part["width"]), f"{part['ours']:.1f}", f"{part['jax']:.1f}",
            f"{part['jax'] / part['ours']:.1f}", spread, f"{products:.1f}",
        )  # fmt: skip
    if document["throughput"]:
        console.print(table)
        console.print(f"all widths and learning rates: JAX {document['total_ratio']:.2f} times ours")
    table = Table(
        title=f"{NETWORKS} networks apart over together (on {STACKED['cpu']:g} multiply-adds or less)"
    )
    for heading in ("network", "width", "multiply-adds", "apart, ms", "together, ms", "ratio (range)"):
        table.add_column(heading, justify="right")
    for part in document["joint"]:
        table.add_row(
            part["network"], str(part["width"]), f"{part['multiply_adds']:.3g}",
            f"{part['milliseconds_apart']:.2f}", f"{part['milliseconds_together']:.2f}",
            f"{part['ratio']:.2f} ({min(part['ratios']):.2f} to {max(part['ratios']):.2f})",
        )  # fmt: skip
    if document["joint"]:
        console.print(table)
    for part in document["memory"]:
        low, high = min(part["ratios"]), max(part["ratios"])
        words = f"freed memory given back over kept, N = {part['width']}"
        console.print(f"{words}: {part['ratio']:.2f} ({low:.2f} to {high:.2f})")


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--widths", type=int, nargs="*", default=list(WIDTHS))
    parser.add_argument("--rates", type=float, nargs="*", default=list(RATES), help="learning rates")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--only", choices=("throughput", "joint", "memory"), default=None)
    parser.add_argument("--side", choices=SIDES, help="print a step's seconds of one side of memory, no more")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.side is not None:
        print(seconds_of_side(options.side, options.widths[0]))
        return
    document: dict[str, Any] = {"throughput": [], "joint": [], "memory": []}
    document |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if options.only in {None, "throughput"} and jax_training.available():
        data = load_images(options.data_dir)
        for width in options.widths:
            with progress_bar(f"N = {width}: ours and JAX") as update:
                document["throughput"].append(
                    throughput(width, options.steps, tuple(options.rates), data, update)
                )
        sums = [sum(part[side] for part in document["throughput"]) for side in ("jax", "ours")]
        document["total_ratio"] = sums[0] / sums[1]
    if options.only in {None, "joint"}:
        document["joint"] = [joint(name, width) for name, widths in JOINT.items() for width in widths]
    if options.only in {None, "memory"}:
        document["memory"] = [kept_memory(width) for width in (64, 256)]
    if options.json:
        print_json(document)
    else:
        show(document, Console(width=None if Console().is_terminal else 140))


if __name__ == "__main__":
    main()
