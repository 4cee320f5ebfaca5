"""Command `simulate`: runs of the latent system that give a record."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import require_distinct, require_known
from . import options
from .emitting import Plain, emit
from .options import (
    Device,
    Every,
    Json,
    Name,
    Output,
    Picture,
    Rates,
    Seed,
    Seeds,
    Widths,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import xarray as xr
    from matplotlib.figure import Figure

    from ..records import RecordKeeper


Start = Annotated[
    str,
    typer.Option(help="law: of drawn weights; gaussian: one by one; wishart: the law, whole; limit."),
]


def simulate(
    *,
    parametrization: Name = "mup",
    dim: Annotated[int, typer.Option(help="Input dimension D.")] = 20,
    widths: Widths = "64,256,1024",
    target_norm: options.TargetNorm = 1.0,
    learning_rate: Rates = "0.5",
    steps: Annotated[int, typer.Option(help="Gradient-descent steps.")] = 200,
    seeds: Seeds = 10,
    record: Annotated[str, typer.Option(help="Comma-separated: {quantities}.")] = "loss,sharpness",
    every: Every = None,
    start: Start = "law",
    method: Annotated[
        str, typer.Option(help="auto, which says what it chose, or one of {methods}.")
    ] = "auto",
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Iterate the latent system over widths (inf is one), learning rates and seeds."""
    from .. import simulations, theory
    from ..records import RecordKeeper
    from ..report.summaries import method_sentences, width_sentences
    from .console import progress_bar

    require_known("device", device, ("auto", "cpu"))
    draws = {"gaussian": "initial_state", "wishart": "wishart_state", "limit": "limit_state"}
    require_known("start", start, ("law", *draws))
    ensemble = simulations.Ensemble(
        theory.parametrization(parametrization),
        theory.IsotropicTarget(dim, target_norm),
        options.numbers(widths, "width"),
        options.numbers(learning_rate, "learning rate", "0.5,1,2"),
        options.seeds(seed, seeds),
    )
    record_at = simulations.schedule(steps, max(1, steps // 16) if every is None else every)
    options.check_outputs(output, figure)
    quantities = tuple(name.strip() for name in record.split(","))
    require_distinct("recorded quantities", quantities)
    keeper = RecordKeeper(output)
    with interruptible(keeper), progress_bar("simulating") as progress:
        result = simulations.simulate(
            ensemble,
            record_at=record_at,
            quantities=quantities,
            start=None if start == "law" else getattr(theory, draws[start]),
            method=method,
            on_progress=progress,
            on_block=keeper.keep_partial,
            resume=earlier_record(keeper),
        )
        keeper.keep_whole(result)
    sentences = [] if as_json else [*method_sentences(result), *width_sentences(result, seed)]
    show_record(result, quantities, output, figure, sentences, as_json=as_json)


def earlier_record(keeper: RecordKeeper) -> xr.Dataset | None:
    """What a killed run left behind, said to be gone on from."""
    from .console import stderr

    earlier = keeper.earlier()
    if earlier is not None:
        done, of = int(earlier["completed"].sum()), earlier["completed"].size
        stderr().print(f"going on from {keeper.partial_path}, which has {done} of {of} runs")
    return earlier


@contextmanager
def interruptible(keeper: RecordKeeper) -> Iterator[None]:
    """On an interruption say where what there was is kept, and stop."""
    from .console import stderr

    try:
        yield
    except KeyboardInterrupt:
        keeper.flush()
        kept = keeper.partial_path is not None and keeper.partial_path.exists()
        words = f"interrupted; what there was is in {keeper.partial_path}" if kept else "interrupted"
        stderr().print(words)
        raise typer.Exit(130) from None


def show_record(
    record: xr.Dataset,
    quantities: Sequence[str],
    output: Path | None,
    picture: Path | None,
    sentences: Sequence[str] = (),
    *,
    as_json: bool,
) -> None:
    """Emit a record that is kept already: curves, how the final values depend on width, and sentences."""
    from ..records import record_to_json
    from ..report.summaries import curve_parts

    def drawn() -> Figure:
        from ..figures import draw_record

        return draw_record(record, quantities)

    parts = [] if as_json else [*curve_parts(record, quantities), *sentences]
    document = record_to_json(record) if as_json else None
    kept = [] if output is None else [output]
    emit(Plain(document, parts, drawn), None, picture, as_json=as_json, written=kept)
