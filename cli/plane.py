"""Commands `portrait` and `bifurcation`: the infinite-width limit under muP as a map of the plane."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import require_positive, require_whole
from . import options
from .options import Dimension, Json, Output, Seed, TargetNorm, Widths


def portrait(
    *,
    dim: Dimension = 3,
    target_norm: TargetNorm = 1.0,
    learning_rate: Annotated[
        float | None, typer.Option(help="Base rate eta0; default: 0.8 of the largest stable one.")
    ] = None,
    plane: Annotated[
        str,
        typer.Option(help="ap: (a, p); xy: universal coordinates; gr: lambda_max of G against that of R."),
    ] = "ap",
    widths: Widths = "64,1024",
    steps: Annotated[int, typer.Option(help="Steps of the trajectories.")] = 60,
    basins: Annotated[bool, typer.Option(help="Colour starts by what they come to.")] = True,
    figure: Annotated[Path, typer.Option("--figure", help="Where to draw it (.png, .pdf, .svg).")] = Path(
        "portrait.png"
    ),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Draw the phase portrait at infinite width under muP, with finite networks laid over it."""
    from ..experiments.latent.portrait import portrait_of
    from ..theory import PlanarMap
    from .asking import answered
    from .emitting import emit

    require_positive("target norm", target_norm, example=1)
    safe = PlanarMap(dim, target_norm, 1.0).largest_safe
    planar = PlanarMap(dim, target_norm, 0.8 * safe if learning_rate is None else learning_rate)
    # inf, the limit itself, is drawn anyway
    finite = [width for width in options.numbers(widths, "width") if width != float("inf")]
    chosen = tuple(options.whole(width) for width in finite)
    require_whole("seed", seed, least=0, example=0)
    options.check_outputs(None, figure)
    asked = portrait_of(planar, chosen, plane=plane, steps=steps, basins=basins)
    emit(answered(asked, {}, seed, "portrait"), None, figure, as_json=as_json)


def bifurcation(
    *,
    dim: Dimension = 20,
    target_norm: TargetNorm = 3.0,
    low: Annotated[
        float, typer.Option("--from", help="Smallest learning rate, over the largest stable one.")
    ] = 0.5,
    high: Annotated[float, typer.Option("--to", help="Largest one, likewise.")] = 2.0,
    points: Annotated[int, typer.Option(help="Learning rates, evenly spaced.")] = 1500,
    output: Output = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Also draw it into this file (.png, .pdf, .svg).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Follow the infinite-width limit past the edge: periods, Lyapunov exponents, chaos, divergence."""
    from ..experiments.latent.bifurcation import BIFURCATION
    from .asking import answered
    from .emitting import emit

    require_positive("target norm", target_norm, example=3)
    require_whole("dimension", dim, least=1, example=20)
    options.check_outputs(output, figure)
    given = {"dimension": dim, "target_norm": target_norm, "low": low, "high": high, "points": points}
    emit(answered(BIFURCATION, given, 0, "bifurcation diagram"), output, figure, as_json=as_json)
