"""Commands `error-bars` and `edge-of-stability`: what ensembles over starts and widths show."""

from __future__ import annotations

from typing import Annotated

import typer

from . import options
from .asking import answered
from .emitting import Plain, emit
from .options import Dimension, Json, Name, Output, Picture, Seed, Seeds, TargetNorm, Widths


def error_bars(
    *,
    dim: Dimension = 10,
    widths: Widths = "64,1024,16384",
    target_norm: TargetNorm = 1.0,
    learning_rate: Annotated[float, typer.Option(help="Base rate eta0.")] = 0.5,
    steps: Annotated[int, typer.Option(help="Gradient-descent steps.")] = 30,
    seeds: Seeds = 200,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Predict the error bars over starts at every width and step under muP, and sample them."""
    from ..experiments.base import over
    from ..experiments.latent.error_bars import ERROR_BARS

    options.check_outputs(output, figure)
    options.seeds(seed, seeds)
    given = {
        "dimension": dim,
        "width": over(*options.numbers(widths, "width")),
        "target_norm": target_norm,
        "learning_rate": learning_rate,
        "steps": steps,
        "seed": over(*range(seeds)),
    }
    emit(answered(ERROR_BARS, given, seed, "sampling"), output, figure, as_json=as_json)


def edge_of_stability(
    *,
    parametrization: Name = "mup",
    dim: Dimension = 10,
    widths: Widths = "64,1024,16384",
    target_norm: TargetNorm = 1.0,
    relative_rates: Annotated[
        str, typer.Option(help="Learning rates over the narrowest width's edge, comma-separated.")
    ] = "0.25,0.5,0.75,0.9,0.97,1.05",
    steps: Annotated[int, typer.Option(help="Gradient-descent steps.")] = 2000,
    seeds: Seeds = 5,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Follow the sharpness towards 2/eta0 at learning rates below, near and beyond the edge."""
    from ..experiments.latent.edge import edge_of
    from ..experiments.latent.edge_panels import against_narrowest

    options.check_outputs(output, figure)
    options.seeds(seed, seeds)
    experiment = edge_of(
        parametrization,
        dimension=dim,
        target_norm=target_norm,
        widths=options.numbers(widths, "width"),
        shares=options.numbers(relative_rates, "learning rate over the edge", "0.5,0.97"),
        steps=steps,
        seeds=seeds,
    )
    answer = answered(experiment, {}, seed, "approaching the edge")
    (runs,) = answer.runs.values()
    record = against_narrowest(runs.squeeze("parametrization", drop=True))
    emit(Plain(answer.document, answer.parts, answer.draw, record), output, figure, as_json=as_json)
