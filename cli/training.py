"""Commands `train` and `coordinate-check`: real networks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import invalid, require_whole
from . import options
from .options import (
    DataDir,
    DatasetName,
    Device,
    Download,
    Every,
    Examples,
    Json,
    Name,
    Network,
    OptimizerName,
    Output,
    Picture,
    Seed,
    Seeds,
    Set,
    Widths,
)
from .runs import earlier_record, interruptible, show_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from ..neural import Dataset, TrainingConfig
    from ..neural.coordinates import CoordinateReport

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

_RATES = {"sgd": "0.5", "adam": "0.003", "adamw": "0.003"}
"""Learning rates where none is given."""


def train(
    *,
    network: Network = "simple-convnet",
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
    settings: Set = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    download: Download = False,
    examples: Examples = None,
    as_published: _AsPublished = False,
    output: _Kept = None,
    figure: Picture = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a network over widths, learning rates and seeds, measuring loss and curvature on the way.

    A killed run goes on where it was when it is called again, and ends with the same bits.
    """
    from .. import neural
    from ..neural.settings import named_config
    from ..neural.training import PUBLISHED
    from .console import stderr

    config = named_config(
        network,
        parametrization,
        optimizer,
        settings or (),
        steps=steps,
        batch_size=_batch_size(batch_size),
        augmentation=neural.Augmentation() if augment else None,
        measure_every=max(1, steps // 16) if every is None else every,
        measure_points=measure_points,
        as_published=tuple(PUBLISHED) if as_published else (),
    )
    grid = neural.Grid(
        config,
        tuple(options.whole(width) for width in options.numbers(widths, "width")),
        options.numbers(learning_rate or _RATES[optimizer], "learning rate", "0.5,1,2"),
        options.seeds(seed, seeds),
    )
    data = _fitting(config, dataset, data_dir, download=download, examples=examples, seed=seed)
    data = data.to(place := neural.resolve_device(device))
    kept = output or _default_output(grid.empty(data), config.parametrization.name)
    options.check_outputs(kept, figure)
    if not as_json:
        stderr().print(f"training on {data.name} ({data.examples} examples), device {place}; keeping {kept}")
    result = _trained(grid, data, kept)
    shown = [name for name in ("loss", "sharpness") if name in result]
    show_record(result, shown, kept, figure, as_json=as_json)


def _trained(grid: object, data: Dataset, kept: Path) -> xr.Dataset:
    """The record of a grid, kept on the way and gone on from."""
    from .. import neural
    from ..records import RecordKeeper
    from .console import progress_bar

    keeper = RecordKeeper(kept)
    with interruptible(keeper), progress_bar("training") as progress:
        record: xr.Dataset = neural.train_grid(
            grid,  # type: ignore[arg-type] # a Grid, whose module is loaded late
            data,
            on_progress=progress,
            on_measurement=keeper.keep_partial,
            resume=earlier_record(keeper),
            checkpoint=neural.Checkpoint(kept.with_name(f"{kept.stem}.checkpoint")),
        )
        keeper.keep_whole(record)
    return record


def coordinate_check(
    *,
    network: Network = "simple-convnet",
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
    from ..records import save_record
    from .console import print_coordinates, print_json, stdout
    from .pictures import save

    if output is not None:
        save_record(report.record, output)
    if figure is not None:
        from ..figures import draw_coordinates

        save(lambda: draw_coordinates(report), figure)
    if as_json:
        fits = [fit._asdict() for fit in report.fits]
        summary = {"verdict": report.verdict, "sentence": report.sentence, "fits": fits}
        print_json(summary | report.record.attrs)
        return
    print_coordinates(report)
    for path in (output, figure):
        if path is not None:
            stdout().print(f"written: {path}", soft_wrap=True)


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


def _batch_size(text: str) -> int | None:
    """A number, or None for all examples."""
    if text == "all":
        return None
    values = options.numbers(text, "batch size", "128 or all")
    if len(values) > 1:
        raise invalid("batch size", text, accepted="one number, or all", remedy="pass 128, say")
    require_whole("batch size", values[0], least=1, example=128)
    return int(values[0])


def _default_output(record: xr.Dataset, name: str) -> Path:
    """A label that differs between configurations, so that no result replaces another's."""
    identity = "".join(str(record.attrs[key]) for key in ("configuration", "seeds", "data_hash"))
    identity += str([record[axis].to_numpy().tolist() for axis in ("width", "learning_rate")])
    label = name.replace("/", "-over-")
    return Path("results") / f"train-{label}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}.nc"
