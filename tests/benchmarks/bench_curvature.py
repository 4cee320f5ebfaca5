"""Sharpness along SGD runs: ours against PyHessian, SciPy and hessian-eigenthings, in one run.

Each side measures the same weights of a run of SimpleConvNet (muP, eta0 = 0.5, batch 128) on the same fixed
images, channels last, in turns; the reference is ARPACK's. Ratios are medians of paired measurements with
their range: those are what to quote. Then the cost of a tracked run in untracked ones, and what products cost
by way of differentiation and memory layout. `--json` prints one document with all numbers.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from curvature_rivals import Found, Reference, contestants, hessian, missing
from rich.console import Console
from rich.table import Table
from superconsistency.cli.console import print_json, progress_bar
from superconsistency.errors import invalid
from superconsistency.neural import Batch, Dataset, SpectrumTracker, TrainingConfig, load_images
from superconsistency.neural.training import Measurement, Probe, Run, RunGroup
from superconsistency.neural.training.probe import Scores
from superconsistency.theory import parametrization

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from curvature_rivals import Side, Work

WIDTHS = (64, 256)
IMAGES = {64: (128, 512), 256: (128,)}
"""That curvature is measured on by default: at the larger width more would take hours, for the reference."""
TRACKED_ON = 128
"""Images whose curvature a tracked run measures."""
RATE, SEED, TOLERANCE = 0.5, 0, 1e-3
OURS = "ours, tracked"
DATA = Path(__file__).parents[3] / "shared" / "data"

NARROW = 128
"""Up to this width rivals measure at every measured step and the reference starts cold."""
SPARSE = 8
"""Beyond it they measure at one of so many measured steps; ours and the reference at all."""
AFFORDABLE = 2**15
"""Width times images up to which the reference is in float64."""

TURNS = 8
"""Parts in which a tracked and an untracked run take turns."""
REPETITIONS = 5
"""Number of products of each kind."""

HEAD = """{data}, torch {torch}, {threads} threads
PyHessian: maxIter=100, tol=1e-3. hessian-eigenthings: lanczos, k=10, which="LM". SciPy: eigsh, tol=1e-3.
The first two seek the largest eigenvalue in modulus, on networks reparametrized to have our metric."""


class Recorder(Probe):
    """Keeps a copy of the network wherever a run is measured."""

    def __init__(self, config: TrainingConfig, data: Dataset) -> None:
        super().__init__(config, data)
        self.networks: list[torch.nn.Module] = []

    def scores(self, model: torch.nn.Module, networks: int = 1) -> Scores:
        """The loss, as ever."""
        own = copy.deepcopy(model)
        own.zero_grad(set_to_none=True)
        self.networks.append(own)
        return super().scores(model, networks)


def configured(steps: int, every: int, examples: int, *, sharpness: bool) -> TrainingConfig:
    """Settings of a run whose fixed sets, for loss and sharpness, are the same images."""
    return TrainingConfig(
        parametrization("mup"),
        steps=steps,
        measure_every=every,
        quantities=("sharpness",) if sharpness else (),
        hessian_examples=examples,
        evaluation_examples=examples,
        tolerance=TOLERANCE,
    )


def a_run(
    config: TrainingConfig, data: Dataset, probe: Probe, width: int, seed: int
) -> Iterator[Measurement]:
    """The measurements of a run, as they are made.

    Raises
    ------
    InputError
        If it diverges.
    """
    for measurement in RunGroup(config, data, probe, (Run(width, RATE, seed),)).train():
        if not isinstance(measurement, Measurement):
            raise invalid(
                "width",
                width,
                accepted=f"one whose run stays finite, not till step {measurement.step}",
                remedy="take fewer --steps",
            )
        yield measurement


def networks(width: int, options: argparse.Namespace, data: Dataset) -> list[torch.nn.Module]:
    """The networks at the measured steps of a run."""
    config = configured(options.steps, options.every, TRACKED_ON, sharpness=False)
    recorder = Recorder(config, data)
    with progress_bar(f"N = {width}: training") as update:
        for measurement in a_run(config, data, recorder, width, SEED):
            update(measurement.step, options.steps)
    return recorder.networks


def ours(tracker: SpectrumTracker, batch: Batch, model: torch.nn.Module, _seed: int) -> Work:
    """Warm from the last call, whatever the seed."""

    def work() -> Found:
        found = tracker(hessian(model, batch))
        return Found(found.value, found.matvecs, found.error_bound)

    return work


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds a call takes, and what it gives."""
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


def compare(width: int, examples: int, models: list[torch.nn.Module], data: Dataset) -> dict[str, Any]:
    """All sides on the same networks, side by side, with their figures."""
    batch = Probe(configured(1, 1, examples, sharpness=True), data).batch
    own = partial(ours, SpectrumTracker(tolerance=TOLERANCE, seed=SEED), batch)
    rivals, sparse = contestants(batch), 1 if width <= NARROW else SPARSE
    reference = Reference(double=width * examples <= AFFORDABLE, warm=width > NARROW)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in (OURS, *rivals)}
    exact: list[float] = []
    with progress_bar(f"N = {width}, {examples} images") as update:
        for index, model in enumerate(models):
            sides = {OURS: own, **(rivals if index % sparse == 0 else {})}
            for name in _turned(list(sides), index):
                rows[name].append({"index": index, **_answer(sides[name], model, index)})
            exact.append(reference(model, batch))
            update(index + 1, len(models))
    return {
        "width": width,
        "images": examples,
        "reference": reference.words,
        "references": exact,
        "measurements": rows,
        "sides": {name: _summary(found, rows[OURS], exact) for name, found in rows.items()},
    }


def _turned(names: list[str], index: int) -> list[str]:
    """The sides in an order that turns with the measurement."""
    begin = index % len(names)
    return names[begin:] + names[:begin]


def _answer(side: Side, model: torch.nn.Module, seed: int) -> dict[str, Any]:
    seconds, found = timed(side(model, seed))
    return {"seconds": seconds, **found._asdict()}


def _summary(
    rows: list[dict[str, Any]], own: list[dict[str, Any]], references: list[float]
) -> dict[str, Any]:
    """A side's figures; `own` has a row for every measured step."""
    values, bounds = (np.array([row[name] for row in rows]) for name in ("value", "bound"))
    truth = np.array([references[row["index"]] for row in rows])
    errors = np.abs(values - truth)
    relative = errors / np.abs(truth)
    products = [row["products"] for row in rows]
    return {
        "measurements": len(rows),
        "products": [median(products), float(np.mean(products)), max(products)],
        "milliseconds": 1e3 * median(row["seconds"] for row in rows),
        "relative_error": [float(np.median(relative)), float(relative.max())],
        "beyond_tolerance": int((~(relative <= TOLERANCE)).sum()),
        "wrong_sign": int((values * truth < 0).sum()),
        "beyond_bound": None if np.isnan(bounds).all() else int((~(errors <= bounds)).sum()),
        "times_ours": _spread([row["seconds"] / own[row["index"]]["seconds"] for row in rows]),
    }


def _spread(ratios: list[float]) -> list[float]:
    """Median, least, largest."""
    return [median(ratios), min(ratios), max(ratios)]


def advance(run: Iterator[Measurement], step: int) -> None:
    """Go on with a run until it is measured at or after a step."""
    for measurement in run:
        if measurement.step >= step:
            return


def tracking_cost(width: int, options: argparse.Namespace, data: Dataset) -> dict[str, Any]:
    """Wall time of runs with the sharpness at every measured step over runs without, in turns.

    What is charged to tracking includes the loss on the same images, and its cold start.
    """
    turn = options.every * max(1, options.steps // (TURNS * options.every))
    configs = [
        configured(options.steps, options.every, TRACKED_ON, sharpness=True),
        configured(options.steps, turn, TRACKED_ON, sharpness=False),
    ]
    ends = configs[1].measured_steps
    repetitions = 3 if width <= NARROW else 2
    spent: list[list[float]] = []
    with progress_bar(f"N = {width}: tracked and untracked") as update:
        for repetition in range(repetitions):
            runs = [a_run(config, data, Probe(config, data), width, repetition) for config in configs]
            seconds = [0.0, 0.0]
            for index, end in enumerate(ends):
                for side in _turned_sides(index):
                    seconds[side] += timed(partial(advance, runs[side], end))[0]
                update(repetition + (index + 1) / len(ends), repetitions)
            spent.append(seconds)
    tracked, untracked = (median(seconds[side] for seconds in spent) for side in (0, 1))
    return {
        "width": width,
        "seconds": [tracked, untracked],
        "ratio": tracked / untracked,
        "ratios": [one / other for one, other in spent],
    }


def _turned_sides(index: int) -> tuple[int, int]:
    return (0, 1) if index % 2 else (1, 0)


def laid_out(
    model: torch.nn.Module, batch: Batch, layout: torch.memory_format
) -> tuple[torch.nn.Module, Batch]:
    """A copy of the network, and the images, in a memory layout."""
    own = copy.deepcopy(model)
    for parameter in own.parameters():
        if parameter.ndim == batch.inputs.ndim:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return own, Batch(batch.inputs.contiguous(memory_format=layout), batch.targets)


def product_costs(width: int, examples: int, model: torch.nn.Module, data: Dataset) -> dict[str, Any]:
    """Milliseconds of a product by way of differentiation and memory layout, and of the graph it needs."""
    batch = Probe(configured(1, 1, examples, sharpness=True), data).batch
    layouts = {
        "channels last": laid_out(model, batch, torch.channels_last),
        "contiguous": laid_out(model, batch, torch.contiguous_format),
    }
    spent: dict[str, list[list[float]]] = {}
    for _ in range(REPETITIONS + 1):
        for layout, (network, images) in layouts.items():
            for way in ("reverse", "forward"):
                pair = _graph_and_product(network, images, way)
                spent.setdefault(f"{way}, {layout}", []).append(pair)
    kept = {name: pairs[1:] for name, pairs in spent.items()}
    best = [product for _, product in kept["reverse, channels last"]]
    return {
        "width": width,
        "images": examples,
        "kinds": {
            name: {
                "graph_milliseconds": 1e3 * median(graph for graph, _ in pairs),
                "product_milliseconds": 1e3 * median(product for _, product in pairs),
                "times_best": _spread([pair[1] / own for pair, own in zip(pairs, best, strict=True)]),
            }
            for name, pairs in kept.items()
        },
    }


def _graph_and_product(model: torch.nn.Module, batch: Batch, way: str) -> list[float]:
    """Seconds of making the operator, and of its second product."""
    graph, operator = timed(partial(hessian, model, batch, differentiation=way))
    vector = torch.randn(operator.size, generator=torch.Generator().manual_seed(SEED))
    operator(vector)
    return [graph, timed(partial(operator, vector))[0]]


def sides_table(result: dict[str, Any]) -> Table:
    """One row a side."""
    exact = result["references"]
    title = (
        f"N = {result['width']}, {result['images']} images, sharpness {min(exact):.3g} to {max(exact):.3g} "
        f"(edge {2 / RATE:g}), {len(exact)} measured steps; reference: {result['reference']}"
    )
    table = Table(title=title)
    for heading in (
        "side", "measured", "products (mean, max)", "ms", "relative error (max)", f"beyond {TOLERANCE:g}",
        "wrong sign", "beyond own bound", "time over ours",
    ):  # fmt: skip
        table.add_column(heading)
    for name, side in result["sides"].items():
        middle, low, high = side["times_ours"]
        table.add_row(
            name,
            str(side["measurements"]),
            "{:g} ({:.1f}, {:g})".format(*side["products"]),
            f"{side['milliseconds']:.0f}",
            "{:.1e} ({:.1e})".format(*side["relative_error"]),
            str(side["beyond_tolerance"]),
            str(side["wrong_sign"]),
            "claims none" if side["beyond_bound"] is None else str(side["beyond_bound"]),
            "" if name == OURS else f"{middle:.1f} ({low:.1f} to {high:.1f})",
        )
    return table


def products_table(results: list[dict[str, Any]]) -> Table:
    """Costs of products."""
    table = Table("N", "images", "kind", "graph ms", "product ms", "over the first", title="Hessian products")
    for result in results:
        for name, kind in result["kinds"].items():
            ratio = "{:.2f} ({:.2f} to {:.2f})".format(*kind["times_best"])
            times = [f"{kind[f'{part}_milliseconds']:.1f}" for part in ("graph", "product")]
            table.add_row(str(result["width"]), str(result["images"]), name, *times, ratio)
    return table


def tracking_words(cost: dict[str, Any]) -> str:
    """What tracking costs, as a sentence."""
    each = ", ".join(f"{ratio:.2f}" for ratio in cost["ratios"])
    tracked, untracked = cost["seconds"]
    return (
        f"N = {cost['width']}: a run tracked on {TRACKED_ON} images takes {tracked:.1f} s, untracked "
        f"{untracked:.1f} s: {cost['ratio']:.2f} times ({each})"
    )


def measured(
    width: int, options: argparse.Namespace, data: Dataset, show: Callable[[Any], None]
) -> dict[str, Any]:
    """Everything at one width; each part is shown when it is known, so that a run cut short is not lost."""
    models = networks(width, options, data)
    counts = options.images or IMAGES.get(width, (TRACKED_ON,))
    tracking = tracking_cost(width, options, data)
    show(tracking_words(tracking))
    products = [product_costs(width, examples, models[-1], data) for examples in counts]
    show(products_table(products))
    sides = []
    for examples in counts:
        sides.append(compare(width, examples, models, data))
        show(sides_table(sides[-1]))
    return {"width": width, "tracking": tracking, "products": products, "sides": sides}


def arguments() -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--images", type=int, nargs="+", help="that curvature is measured on")
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--every", type=int, default=8, help="steps between measurements")
    parser.add_argument("--data-dir", type=Path, default=DATA if DATA.is_dir() else None, help="of CIFAR-10")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    data = load_images(options.data_dir)
    console = Console(width=None if sys.stdout.isatty() else 160, quiet=options.json, highlight=False)
    setting = {"data": data.name, "torch": torch.__version__, "threads": torch.get_num_threads()}
    console.print(HEAD.format(**setting))
    for name in missing():
        console.print(f"{name} is not installed: its side is left out")
    widths = [measured(width, options, data, console.print) for width in options.widths]
    if options.json:
        run = {"steps": options.steps, "every": options.every, "missing": missing()}
        print_json({**setting, **run, "widths": widths})


if __name__ == "__main__":
    main()
