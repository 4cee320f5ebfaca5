"""Commands `width-check`, `optimum` and `deviation`: does width matter, and what of it dies out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import invalid, require_distinct, require_whole
from . import options
from .asking import answered
from .emitting import Plain, emit
from .options import Dimension, Json, Output, Picture, Seed, Seeds, TargetNorm, Widths

if TYPE_CHECKING:
    from ..experiments.answering import Answer
    from ..stats.windows import Steps

_DECADES = "64,256,1024,4096,16384,65536,1e6,1e7,1e8,1e9"

Names = Annotated[
    str, typer.Option("--parametrizations", "--parametrization", help="Comma-separated: {parametrizations}.")
]
Rate = Annotated[
    float | None,
    typer.Option(help="Base rate eta0; default: half the largest stable rate of the narrowest width."),
]
SlowRate = Annotated[
    float | None,
    typer.Option(help="Base rate eta0; default: a tenth of the largest stable one, so that time is long."),
]
FitWindow = Annotated[
    str | None,
    typer.Option(help="First and last step of the fits in time; default: 1 until the loss halves."),
]


def width_check(
    *,
    parametrizations: Names = "mup,ntp,sp",
    dim: Dimension = 20,
    widths: Widths = _DECADES,
    target_norm: TargetNorm = 1.0,
    learning_rate: Rate = None,
    steps: Annotated[int, typer.Option(help="Gradient-descent steps.")] = 40,
    seeds: Seeds = 20,
    tolerance: Annotated[float, typer.Option(help="Log-log slope on width that counts as none.")] = 0.02,
    least_width: Annotated[float, typer.Option(help="Narrower widths do not count for the verdict.")] = 1,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Check whether sharpness, sharpening and the best learning rate depend on width."""
    from ..experiments.base import over
    from ..experiments.latent.width_check import measured_every, width_check_of

    names = _names(parametrizations)
    options.check_outputs(output, figure)
    require_whole("number of steps", steps, least=1, example=40)
    finite = _finite(widths)
    experiment = width_check_of(names, tolerance=tolerance, least_width=least_width)
    given = _system(dim, target_norm, seeds)
    given |= {"width": over(*finite), "steps": steps, "measure_every": measured_every(steps)}
    if learning_rate is not None:
        given["learning_rate"] = over(learning_rate)
    answer = answered(experiment, given, seed, "checking widths")
    emit(_kept_as_document(answer), output, figure, as_json=as_json)


def optimum(
    *,
    parametrizations: Names = "mup,ntp,sp",
    dim: Dimension = 20,
    widths: Widths = _DECADES,
    target_norm: TargetNorm = 1.0,
    step: Annotated[int, typer.Option(help="Last step that counts.")] = 10,
    objective: Annotated[
        str, typer.Option(help="mean: of the loss over steps 1 to --step; last: the loss at --step.")
    ] = "mean",
    seeds: Seeds = 20,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Find the learning rate of least loss for every network, and how it moves with width."""
    from ..experiments.latent.optimum import optimum_of

    names = _names(parametrizations)
    options.check_outputs(output, figure)
    experiment = optimum_of(names, _finite(widths))
    given = _system(dim, target_norm, seeds) | {"step": step, "objective": objective}
    answer = answered(experiment, given, seed, "looking for the best learning rates")
    emit(_kept_as_document(answer), output, figure, as_json=as_json)


def deviation(
    *,
    parametrization: options.Name = "mup",
    dim: Dimension = 20,
    widths: Widths = "64,256,1024,4096,16384",
    target_norm: TargetNorm = 1.0,
    learning_rate: SlowRate = None,
    steps: Annotated[int, typer.Option(help="Gradient-descent steps, at least 2.")] = 100,
    window: FitWindow = None,
    seeds: Seeds = 20,
    output: Output = None,
    figure: Picture = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit the distance to the limit of infinite width by powers of time and of width (Eq. 3, Figure 3)."""
    from ..experiments.base import over
    from ..experiments.latent.deviation import deviation_of

    options.check_outputs(output, figure)
    require_whole("number of steps", steps, least=2, example=100)
    chosen = None if window is None else _window(window, steps)
    experiment = deviation_of(parametrization, _finite(widths), chosen)
    given = _system(dim, target_norm, seeds) | {"steps": steps}
    if learning_rate is not None:
        given["learning_rate"] = over(learning_rate)
    answer = answered(experiment, given, seed, "simulating")
    emit(_kept_as_document(answer), output, figure, as_json=as_json)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    require_distinct("parametrizations", names)
    return names


def _finite(text: str) -> tuple[int, ...]:
    """At least two finite widths."""
    found = tuple(map(options.whole, options.numbers(text, "width")))
    require_whole("number of widths", len(found), least=2, example=4)
    return found


def _system(dimension: int, target_norm: float, seeds: int) -> dict[str, Any]:
    """Settings of all three: the target, and seeds from 0 on, to which the first one is added."""
    from ..experiments.base import over

    chosen = over(*options.seeds(0, seeds))
    return {"dimension": dimension, "target_norm": target_norm, "seed": chosen}


def _window(text: str, steps: int) -> Steps:
    """First and last step of the fits in time, with two steps of the run among them."""
    from ..stats.windows import Steps

    numbers = options.numbers(text, "window")
    if len(numbers) != 2:
        raise invalid("window", text, accepted="two steps", remedy="write 1,50, for example")
    first, last = map(options.whole, numbers)
    if min(last, steps) - first < 1:
        accepted = f"two steps up to {steps}, the earlier first"
        raise invalid("window", text, accepted=accepted, remedy="write 1,50, for example")
    return Steps(first, last)


def _kept_as_document(answer: Answer) -> Plain:
    """An answer that is kept as JSON, even where all its runs are one record."""
    return Plain(answer.document, answer.parts, answer.draw)
