"""Command `curvature`: what a user's own network measures."""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import invalid, require_positive
from . import options
from .emitting import Plain, emit, save
from .options import Json, Output, Seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..neural.curvature import CurvatureEstimate, Measurements, Meter
    from ..neural.user_model import Choices, UserModel
    from ..records.tables import Table

AUTO = "auto"

_Factory = Annotated[
    str,
    typer.Argument(
        help="package.module:function or file.py:function, returning the model or (model, optimizer)."
    ),
]
_Data = Annotated[
    str | None,
    typer.Option(
        help="A text file, .npz, .pt, a folder of images or with a known data set, or module:name of a "
        "DataLoader, a Dataset, an iterable of batches, or a function that returns one; 8-bit images become "
        "numbers from 0 to 1; default: digits."
    ),
]
_Examples = Annotated[
    int | None, typer.Option(help="Examples drawn from it, or its first, if it has an order; default: 512.")
]
_Sequence = Annotated[int | None, typer.Option(help="Tokens in a window of text; default: 35.")]
_Level = Annotated[str | None, typer.Option(help="byte or word, for text; default: byte for a text file.")]
_Vocabulary = Annotated[int | None, typer.Option(help="Most frequent words told apart; default: all.")]
_Side = Annotated[int | None, typer.Option(help="Pixels of images in a folder of one's own; default: 32.")]
_Loss = Annotated[
    str,
    typer.Option(
        help="cross-entropy, binary-cross-entropy, mse, squared, huber, l1; model, the loss that it returns "
        "itself; or module:name of a function or a loss class."
    ),
]
_OutputKey = Annotated[
    str | None, typer.Option(help="Key, index or attribute of the logits in the output; default: found.")
]
_Decay = Annotated[
    str, typer.Option(help="Part of the loss: a number, or auto: the decay of SGD and Adam, not AdamW's.")
]
_Quantities = Annotated[
    str | None, typer.Option(help="What to measure, comma-separated; default: everything.")
]
_Count = Annotated[int, typer.Option(help="Eigenvalues at the top of the spectrum.")]
_Tolerance = Annotated[float, typer.Option(help="Relative error of every eigenvalue.")]
_TraceProducts = Annotated[int, typer.Option(help="Products for the trace.")]
_Weights = Annotated[
    Path | None, typer.Option(help="Weights to load: a state dict, or one with model and optimizer.")
]
_Rate = Annotated[float | None, typer.Option(help="Rate of the edge of stability; default: the optimizer's.")]
_Plain = Annotated[
    bool, typer.Option("--plain", help="Leave the optimizer out: plain Hessian, gradient descent.")
]
_Evaluation = Annotated[
    bool, typer.Option("--eval", help="Call eval() on the model first: no dropout, stored norms.")
]
_Double = Annotated[bool, typer.Option("--double", help="Measure in double precision.")]
_AtOnce = Annotated[int | None, typer.Option(help="Examples in memory at a time; default: all of them.")]
_Differentiation = Annotated[
    str, typer.Option(help="reverse, forward (less memory), or auto: the faster one here.")
]
_Spectrum = Annotated[
    Path | None, typer.Option("--figure", help="Also draw the spectral density (.png, .pdf, .svg).")
]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def curvature(
    *,
    factory: _Factory,
    data: _Data = None,
    examples: _Examples = None,
    sequence: _Sequence = None,
    level: _Level = None,
    vocabulary: _Vocabulary = None,
    side: _Side = None,
    loss: _Loss = "cross-entropy",
    output_key: _OutputKey = None,
    weight_decay: _Decay = AUTO,
    quantities: _Quantities = None,
    count: _Count = 1,
    tolerance: _Tolerance = 1e-3,
    trace_products: _TraceProducts = 32,
    checkpoint: _Weights = None,
    learning_rate: _Rate = None,
    plain: _Plain = False,
    evaluation: _Evaluation = False,
    double: _Double = False,
    examples_at_once: _AtOnce = None,
    differentiation: _Differentiation = "reverse",
    output: Output = None,
    figure: _Spectrum = None,
    seed: Seed = 0,
    device: _Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure sharpness and curvature of a network of your own, every number with its error.

    A language model on any text: superconsistency curvature gpt.py:model --data book.txt --sequence 64
    """
    from ..neural.curvature import Meter
    from ..neural.loading import DataReading
    from ..neural.user_model import Choices

    options.check_outputs(output, figure)
    if learning_rate is not None:
        require_positive("learning rate", learning_rate, example=0.1)
    names = None if quantities is None else [name.strip() for name in quantities.split(",")]
    meter = Meter(
        names, count=count, tolerance=tolerance, trace_products=trace_products, seed=seed,
        examples_at_once=examples_at_once, differentiation=differentiation,
    )  # fmt: skip
    choices = Choices(
        factory, data=data, examples=examples, reading=DataReading(sequence, level, vocabulary, side),
        loss=loss, output=output_key, weight_decay=_decay(weight_decay), checkpoint=checkpoint,
        learning_rate=learning_rate, plain=plain, evaluation=evaluation, double=double, seed=seed,
        device=device, examples_at_once=examples_at_once,
    )  # fmt: skip
    _measure(choices, meter, output, figure, as_json=as_json)


def _decay(text: str) -> float | None:
    """Weight decay as a number; None is the optimizer's."""
    if text == AUTO:
        return None
    try:
        decay = float(text)
    except ValueError:
        decay = math.nan
    if not 0 <= decay < math.inf:
        accepted = f"{AUTO} or a finite number of at least 0"
        raise invalid("weight decay", text, accepted=accepted, remedy=f"pass {AUTO} or 5e-4")
    return decay


def _measure(
    choices: Choices, meter: Meter, output: Path | None, figure: Path | None, *, as_json: bool
) -> None:
    """Measure, keep, draw and show."""
    from ..neural.user_model import load_user_model
    from .console import progress_bar

    with _users_code():
        user_model = load_user_model(choices)
        keep = _Keeper(output, user_model, meter)
        with progress_bar("measuring") as progress:

            def note(known: Mapping[str, CurvatureEstimate]) -> None:
                progress(len(set(known) & set(meter.quantities)), len(meter.quantities))
                keep(known)

            found = meter(user_model.objective, user_model.batch, user_model.metric, on_estimate=note)
        document = keep(found.estimates, found)
        drawn = figure is not None and _draw(user_model, found, figure)
    written = [path for path in (output, figure if drawn else None) if path is not None]
    emit(Plain(document, _parts(user_model, found)), as_json=as_json, written=written)


@contextmanager
def _users_code() -> Iterator[None]:
    """What it prints goes to stderr; where memory ends, say what to do."""
    import torch

    try:
        with redirect_stdout(sys.stderr):
            yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise invalid(
            "memory",
            "used up",
            accepted="as much as the graph of the examples takes",
            remedy="pass --examples-at-once 32 for example, or fewer --examples",
        ) from error


class _Keeper:
    """Makes the document, and writes it after every quantity, so that a killed run keeps what it had."""

    def __init__(self, output: Path | None, user_model: UserModel, meter: Meter) -> None:
        self.output, self.user_model, self.meter = output, user_model, meter
        self._fixed = user_model.document() | {
            "measurement": {
                "quantities": meter.quantities,
                "count": meter.settings.count,
                "tolerance": meter.trackers["top"].tolerance,
                "trace_products": meter.settings.trace_products,
            }
        }

    def __call__(
        self, known: Mapping[str, CurvatureEstimate], found: Measurements | None = None
    ) -> dict[str, Any]:
        from ..records import to_json, write_atomically

        products = sum(estimate.products for estimate in known.values())
        document = self._fixed | {
            "complete": found is not None,
            "differentiation": self.meter.settings.differentiation,
            "products": products,
            "seconds": None if found is None else found.seconds,
            "estimates": {name: estimate._asdict() for name, estimate in known.items()},
        }
        if self.output is not None:
            text = json.dumps(to_json(document), allow_nan=False, indent=2) + "\n"
            write_atomically(self.output, lambda path: path.write_text(text))
        return document


def _heading(user_model: UserModel) -> str:
    from ..neural.curvature import OWN_LOSS

    objective, choices = user_model.objective, user_model.choices
    loss = "the model's own loss" if choices.loss == OWN_LOSS else choices.loss
    if choices.output is not None:
        loss += f" of output {choices.output}"
    if user_model.decay.words:
        loss += f" {user_model.decay.words}"
    return (
        f"{type(objective.model).__name__} in {user_model.mode} mode, {objective.size:,} parameters, "
        f"{str(objective.dtype).removeprefix('torch.')} on {objective.device}; "
        f"{_examples(user_model)}, {loss}; {user_model.stepping.words}"
    )


def _examples(user_model: UserModel) -> str:
    """How many, and of what."""
    count, drawn = user_model.batch.examples, user_model.drawn
    whole = "" if drawn.available is None else f" of {drawn.available}"
    first = "the first " if drawn.first and drawn.available != count else ""
    return f"{first}{count}{whole} examples of {drawn.name}"


def _draw(user_model: UserModel, found: Measurements, figure: Path) -> bool:
    """The spectral density; False if there is none."""
    import numpy as np

    from ..figures.spectrum import Landmarks, spectrum_figure
    from ..neural.curvature import Hessian, spectral_density
    from .console import progress_bar, stderr

    operator = Hessian(
        user_model.objective,
        user_model.batch,
        user_model.metric,
        examples_at_once=user_model.choices.examples_at_once,
    )
    with progress_bar("spectral density") as progress:
        spectrum = spectral_density(operator, seed=user_model.choices.seed, on_progress=progress)
    if not np.isfinite(spectrum.nodes).all():
        stderr().print("no picture: products are not finite, the network has diverged")
        return False
    marks = Landmarks(_known(found, "sharpness"), _known(found, "smallest_eigenvalue"), user_model.edge)
    title = f"{type(user_model.objective.model).__name__}, {user_model.objective.size:,} parameters"
    save(lambda: spectrum_figure(spectrum, marks, title), figure)
    return True


def _known(found: Measurements, name: str) -> float | None:
    """A quantity's value if it was found to its error."""
    from ..neural.curvature import NOT_CONVERGED

    estimate = found.estimates.get(name)
    if estimate is None or estimate.kind == NOT_CONVERGED or not math.isfinite(estimate.value):
        return None
    return estimate.value


def _parts(user_model: UserModel, found: Measurements) -> list[Table | str]:
    table, notes = estimate_table(found)
    cost = f"{found.products} products in {found.seconds:.1f} s"
    parts: list[Table | str] = [
        _heading(user_model),
        table,
        *notes,
        f"{cost}; batch {found.batch_hash[:12]}, seed {user_model.choices.seed}",
    ]
    sharpness = _known(found, "sharpness")
    return parts if sharpness is None else [*parts, edge_sentence(sharpness, user_model)]


def estimate_table(found: Measurements) -> tuple[Table, list[str]]:
    """Every quantity with its error, what the error means, and its cost; what the kinds of error mean."""
    from ..neural.curvature import CURVATURE_QUANTITIES, ESTIMATE_KINDS
    from ..records.tables import Table

    rows = []
    for name, estimate in found.estimates.items():
        known = CURVATURE_QUANTITIES.get(name)
        what = known.description if known else "the next eigenvalue of H"
        cells = (
            f"{estimate.value:.6g}",
            "" if not estimate.error else f"{estimate.error:.1g}",
            "" if math.isnan(estimate.missed) else f"{estimate.missed:.1g}",
        )
        note = f"{what}: {estimate.note}" if estimate.note else what
        rows.append((name, *cells, estimate.kind, estimate.products, note))
    kinds = {estimate.kind: None for estimate in found.estimates.values()}
    notes = [f"{kind}: {ESTIMATE_KINDS[kind]}" for kind in kinds]
    if any(not math.isnan(one.missed) for one in found.estimates.values()):
        notes.append("missed: at most the probability that an eigenvalue further out was overlooked")
    columns = ("quantity", "value", "error", "missed", "kind", "products", "what it is")
    return Table("curvature", columns, tuple(rows)), notes


def edge_sentence(sharpness: float, user_model: UserModel) -> str:
    """Where the sharpness is against the edge of stability, or which learning rates are stable."""
    stepping = user_model.stepping
    if sharpness <= 0 and stepping.is_at_rest:
        return (
            f"all learning rates of {stepping.method} are 0, as at the start of a warm-up: it does not move"
        )
    if sharpness <= 0:
        return "the largest eigenvalue is not positive: no learning rate is unstable along its eigenvector"
    steps = f"{stepping.method} is stable here up to eta0 = {stepping.threshold / sharpness:.4g}"
    if user_model.edge is None:
        return f"{steps} (edge of stability: {stepping.threshold:g} / sharpness)"
    share = sharpness / user_model.edge
    return (
        f"at eta0 = {stepping.learning_rate:g} the edge of stability is at {user_model.edge:.4g}; "
        f"the sharpness is {share:.3g} of it; {steps}"
    )
