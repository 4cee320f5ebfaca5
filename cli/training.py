"""Commands `train` and `coordinate-check`: real networks."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import invalid, require_known
from . import options
from .carrying_out import (
    Where,
    carried_out,
    failure_documents,
    failure_sentences,
    looked,
    planned,
)
from .emitting import Plain, emit
from .options import (
    DataDir,
    DatasetName,
    Device,
    Download,
    Every,
    Examples,
    Json,
    Load,
    Name,
    NetworkName,
    OptimizerName,
    Output,
    OverAxes,
    Picture,
    Seed,
    Seeds,
    Set,
    Threads,
    Widths,
)
from .runs import show_record
from .sweeps import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.figure import Figure

    from ..neural import Dataset, TrainingConfig
    from ..neural.coordinates import CoordinateReport
    from ..runner import Sweep

_Rates = Annotated[
    str | None,
    typer.Option(
        "--learning-rate",
        "--learning-rates",
        help="Base rates eta0, comma-separated; default: 0.5 with SGD, 0.003 with Adam.",
    ),
]
_Augment = Annotated[bool, typer.Option("--augment", help="Random crops, flips and rotations of images.")]
_AsPublished = Annotated[
    bool, typer.Option("--as-published", help="With all oddities of the published code.")
]
_Points = Annotated[
    str,
    typer.Option(
        help="Where curvature is measured: iterate, or midpoint of the last three (at the edge of stability, "
        "fewer products)."
    ),
]
_Kept = Annotated[Path | None, typer.Option(help="Where to keep the record; default: results/train-....nc.")]

_OneProcess = Annotated[int, typer.Option(help="Processes on this machine.")]

_RATES = {"sgd": "0.5", "adam": "0.003", "adamw": "0.003"}
"""Learning rates where none is given."""


def train(
    *,
    network: NetworkName = "simple-convnet",
    parametrization: Name = "mup",
    optimizer: OptimizerName = "sgd",
    widths: Widths = "32,64,128",
    learning_rate: _Rates = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 256,
    seeds: Seeds = 3,
    batch_size: Annotated[str, typer.Option(help="Examples a step; all: gradient descent.")] = "128",
    every: Every = None,
    measure_points: _Points = "iterate",
    augment: _Augment = False,
    over: OverAxes = None,
    settings: Set = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    download: Download = False,
    examples: Examples = None,
    load: Load = None,
    as_published: _AsPublished = False,
    output: _Kept = None,
    figure: Picture = None,
    seed: Seed = 0,
    workers: _OneProcess = 1,
    threads: Threads = 1,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a network over widths, learning rates and seeds, measuring loss and curvature on the way.

    Rerun the same command to resume a killed run; results are bit-identical.
    """
    from ..runner import NetworkModel, data_choice, make_sweep

    axes = options.axis_values(over)
    given = {"steps": str(steps), "measure_points": measure_points, "measure_every": str(max(1, steps // 16))}
    given = {name: text for name, text in given.items() if name not in axes}
    given |= {} if every is None else {"measure_every": str(every)}
    given |= {"augmentation": "standard"} if augment else {}
    given |= {"as_published": _every_oddity()} if as_published else {}
    given |= options.pairs(settings, "--set", "warmup=200")
    data = options.data_options(dataset, data_dir, examples, load, download=download)
    require_known("optimizer", optimizer, _RATES)
    rates = options.numbers(learning_rate or _RATES[optimizer], "learning rate", "0.5,1,2")
    grid = {
        "parametrization": parametrization, "architecture": network, "optimizer": optimizer,
        "width": [options.whole(width) for width in options.numbers(widths, "width")],
        "learning_rate": list(rates),
        "seed": list(options.seeds(seed, seeds)),
    }  # fmt: skip
    if "batch_size" not in {*axes, *given}:
        grid["batch_size"] = batch_size
    pairs = tuple(f"{name}={text}" for name, text in given.items())
    model = NetworkModel(pairs, data_choice({"seed": seed} | data), threads, device)
    asked, where = make_sweep(model, [joined(grid, axes)]), Where(workers, threads=threads)
    record, kept = _trained(asked, output, figure, where, quiet=as_json)
    shown = [name for name in ("loss", "sharpness") if name in record]
    show_record(record, shown, kept, figure, as_json=as_json)


def _every_oddity() -> str:
    from ..neural.training import PUBLISHED

    return "+".join(PUBLISHED)


def _trained(
    asked: Sweep, output: Path | None, figure: Path | None, where: Where, *, quiet: bool
) -> tuple[xr.Dataset, Path]:
    """The record of a sweep and where it is kept; until it is whole its runs are in a folder beside it."""
    from ..records import RUN_DIMENSIONS, save_record
    from ..records.results import open_results
    from ..runner import look

    several = [name for name, values in asked.axes.items() if len(values) > 1]
    further = [name for name in several if name not in RUN_DIMENSIONS]
    if figure is not None and further:
        raise invalid(
            "--figure", str(figure), accepted=f"one value of {', '.join(further)}",
            remedy="leave it out, or draw one value at a time",
        )  # fmt: skip
    kept = output or _default_output(asked)
    options.check_outputs(kept, figure)
    folder = kept.with_name(f"{kept.stem}.runs")
    plan = planned(asked, folder)
    found = looked(plan, folder)
    carried_out(plan, folder, where, found, retry=True, quiet=quiet)
    found = look(plan, folder)
    if found.failures:
        failures = Plain(failure_documents(plan, found), failure_sentences(plan, found))
        emit(failures, as_json=quiet)
        raise typer.Exit(1)
    record = squeezed(open_results(folder).load())
    save_record(record, kept)
    shutil.rmtree(folder, ignore_errors=True)
    return record, kept


def squeezed(results: xr.Dataset) -> xr.Dataset:
    """Results without the axes that have one value; width, learning rate, seed and step stay."""
    from ..records import RUN_DIMENSIONS

    kept = {*RUN_DIMENSIONS, "step"}
    single = [name for name, size in results.sizes.items() if size == 1 and name not in kept]
    return results.isel(dict.fromkeys(single, 0), drop=True)


def coordinate_check(
    *,
    network: NetworkName = "simple-convnet",
    parametrization: Name = "mup",
    optimizer: OptimizerName = "sgd",
    size: Annotated[str, typer.Option(help="width or depth: what varies.")] = "width",
    sizes: Annotated[
        str | None, typer.Option(help="Comma-separated; default: widths 64 to 512, depths 3 to 24.")
    ] = None,
    width: Annotated[int, typer.Option(help="Where the depth varies.")] = 64,
    learning_rate: Annotated[
        float | None, typer.Option(help="eta0; default: small, so that first order is what is seen.")
    ] = None,
    seeds: Seeds = 16,
    settings: Set = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    download: Download = False,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Do layers move with width or depth as the parametrization says? Exit code 1 unless all do."""
    from .. import neural
    from ..neural import coordinates
    from ..neural.settings import named_config
    from .console import progress_bar

    _require_used(settings or ())
    config = named_config(network, parametrization, optimizer, settings or ())
    table = config.parametrization
    text = sizes or ("64,128,256,512" if size == "width" else "3,6,12,24")
    asked = coordinates.CoordinateCheck(
        config,
        coordinates.default_rate(table, optimizer) if learning_rate is None else learning_rate,
        size=size,
        sizes=tuple(options.whole(value) for value in options.numbers(text, size)),
        width=width,
        steps=coordinates.default_steps(table, optimizer),
        seeds=options.seeds(seed, seeds),
    )
    options.check_outputs(output, figure)
    place = neural.resolve_device(device)
    data = _fitting(config, dataset, data_dir, download=download).to(place)
    with progress_bar("measuring") as progress:
        report = coordinates.coordinate_check(asked, data, on_progress=progress)
    _show_coordinates(report, output, figure, as_json=as_json)
    if report.verdict != coordinates.PASSED:
        raise typer.Exit(1)


def _require_used(settings: Sequence[str]) -> None:
    """Refuse settings of the training that a coordinate check does not use."""
    from dataclasses import fields

    from ..neural import TrainingConfig
    from ..neural.coordinates import USED

    idle = {field.name for field in fields(TrainingConfig)} - USED
    for pair in settings:
        if (name := pair.partition("=")[0]) in idle:
            accepted = "settings of network, optimizer and loss in a coordinate check"
            raise invalid("--set", name, accepted=accepted, remedy="leave it out")


def _show_coordinates(
    report: CoordinateReport, output: Path | None, figure: Path | None, *, as_json: bool
) -> None:
    from ..report.summaries import exponent_table

    def drawn() -> Figure:
        from ..figures import draw_coordinates

        return draw_coordinates(report)

    fits = [fit._asdict() for fit in report.fits]
    document = {"verdict": report.verdict, "sentence": report.sentence, "fits": fits} | report.record.attrs
    found = Plain(document, [exponent_table(report), report.sentence], drawn, report.record)
    emit(found, output, figure, as_json=as_json)


def _fitting(
    config: TrainingConfig,
    name: str,
    folder: Path | None,
    *,
    download: bool,
    examples: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The data set asked for; a language model's built-in default is random tokens."""
    from .. import neural

    if name == "auto" and folder is None and not download and "images" not in config.architecture.kinds:
        name = "random-tokens"
    return neural.load_dataset(name, folder, download=download, progress=True, examples=examples, seed=seed)


def _default_output(asked: Sweep) -> Path:
    """A path that differs between configurations, so that no result replaces another's."""
    label = str(asked.axes["parametrization"][0]).replace("/", "-over-")
    identity = repr((asked.model, asked.cells)).encode()
    return Path("results") / f"train-{label}-{hashlib.sha256(identity).hexdigest()[:8]}.nc"
