"""Command `curvature`: what a user's own network measures."""

from __future__ import annotations

import json
import math
import sys
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options
from ..errors import invalid, require_positive
from ..options import Json, Output, Seed
from .pictures import save

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.table import Table

    from ..neural.curvature import Estimate, Measurements, Meter
    from ..neural.subject import Choices, Subject


_Factory = Annotated[
    str,
    typer.Argument(
        help="package.module:function or file.py:function, returning the model or (model, optimizer)."
    ),
]
_Data = Annotated[
    str | None,
    typer.Option(
        help="Folder with CIFAR-10, .npz or .pt with inputs and targets, or module:function; default: digits."
    ),
]
_Examples = Annotated[int | None, typer.Option(help="Examples drawn from it; default: 512.")]
_Loss = Annotated[str, typer.Option(help="cross-entropy, mse, squared, or module:function.")]
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
    loss: _Loss = "cross-entropy",
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
    """Measure sharpness and curvature of a network of your own, every number with its error."""
    from ..neural.curvature import Meter
    from ..neural.subject import Choices

    options.check_outputs(output, figure)
    if learning_rate is not None:
        require_positive("learning rate", learning_rate, example=0.1)
    names = None if quantities is None else [name.strip() for name in quantities.split(",")]
    meter = Meter(
        names, count=count, tolerance=tolerance, trace_products=trace_products, seed=seed,
        examples_at_once=examples_at_once, differentiation=differentiation,
    )  # fmt: skip
    choices = Choices(
        factory, data=data, examples=examples, loss=loss, checkpoint=checkpoint,
        learning_rate=learning_rate, plain=plain, evaluation=evaluation, double=double, seed=seed,
        device=device, examples_at_once=examples_at_once,
    )  # fmt: skip
    _measure(choices, meter, output, figure, as_json=as_json)


def _measure(
    choices: Choices, meter: Meter, output: Path | None, figure: Path | None, *, as_json: bool
) -> None:
    """Measure, keep, draw and show."""
    from ..console import print_json, progress_bar
    from ..neural.subject import load_subject

    with _users_code():
        subject = load_subject(choices)
        keep = _Keeper(output, subject, meter)
        with progress_bar("measuring") as progress:

            def note(known: Mapping[str, Estimate]) -> None:
                progress(len(set(known) & set(meter.quantities)), len(meter.quantities))
                keep(known)

            found = meter(subject.objective, subject.batch, subject.metric, on_estimate=note)
        document = keep(found.estimates, found)
        drawn = figure is not None and _draw(subject, found, figure)
    if as_json:
        print_json(document)
    else:
        _show(subject, found, [path for path in (output, figure if drawn else None) if path])


@contextmanager
def _users_code() -> Iterator[None]:
    """What it prints goes to stderr; where memory ends, say what to do."""
    import torch

    try:
        with redirect_stdout(sys.stderr):
            yield
    except torch.OutOfMemoryError as error:
        raise invalid(
            "device memory",
            "used up",
            accepted="what the graph of the examples fits in",
            remedy="pass --examples-at-once 32, say, or fewer --examples",
        ) from error


class _Keeper:
    """Makes the document, and writes it after every quantity, so that a killed run keeps what it had."""

    def __init__(self, output: Path | None, subject: Subject, meter: Meter) -> None:
        self.output, self.subject, self.meter = output, subject, meter
        self._fixed = subject.document() | {
            "measurement": {
                "quantities": meter.quantities,
                "count": meter.settings.count,
                "tolerance": meter.trackers["top"].tolerance,
                "trace_products": meter.settings.trace_products,
            }
        }

    def __call__(self, known: Mapping[str, Estimate], found: Measurements | None = None) -> dict[str, Any]:
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


def _heading(subject: Subject) -> str:
    objective = subject.objective
    metric = f"in the metric of {subject.optimizer}" if subject.optimizer else "plain Hessian"
    count = len(objective.parameters)
    if subject.held < count:
        metric += f", which trains {subject.held} of {count} tensors"
    return (
        f"{type(objective.model).__name__} in {subject.mode} mode, {objective.size:,} parameters, "
        f"{str(objective.dtype).removeprefix('torch.')} on {objective.device}; "
        f"{subject.batch.examples} of {subject.drawn.available} examples of {subject.drawn.name}, "
        f"{subject.choices.loss}; {metric}"
    )


def _draw(subject: Subject, found: Measurements, figure: Path) -> bool:
    """The spectral density; False if there is none."""
    import numpy as np

    from ..console import progress_bar, stderr
    from ..figures.spectrum import Landmarks, spectrum_figure
    from ..neural.curvature import Hessian, spectral_density

    operator = Hessian(
        subject.objective,
        subject.batch,
        subject.metric,
        examples_at_once=subject.choices.examples_at_once,
    )
    with progress_bar("spectral density") as progress:
        spectrum = spectral_density(operator, seed=subject.choices.seed, on_progress=progress)
    if not np.isfinite(spectrum.nodes).all():
        stderr().print("no picture: products are not finite, the network has diverged")
        return False
    marks = Landmarks(_known(found, "sharpness"), _known(found, "smallest_eigenvalue"), subject.edge)
    title = f"{type(subject.objective.model).__name__}, {subject.objective.size:,} parameters"
    save(lambda: spectrum_figure(spectrum, marks, title), figure)
    return True


def _known(found: Measurements, name: str) -> float | None:
    """A quantity's value if it was found to its error."""
    from ..neural.curvature import NOT_CONVERGED

    estimate = found.estimates.get(name)
    if estimate is None or estimate.kind == NOT_CONVERGED or not math.isfinite(estimate.value):
        return None
    return estimate.value


def _show(subject: Subject, found: Measurements, written: list[Path]) -> None:
    from ..console import stdout

    console = stdout()
    console.print(_heading(subject), soft_wrap=True)
    console.print(estimate_table(found))
    console.print(
        f"{found.products} products in {found.seconds:.1f} s; batch {found.batch_hash[:12]}, "
        f"seed {subject.choices.seed}"
    )
    sharpness = _known(found, "sharpness")
    if sharpness is not None:
        console.print(edge_sentence(sharpness, subject), soft_wrap=True)
    for path in written:
        console.print(f"written: {path}", soft_wrap=True)


def estimate_table(found: Measurements) -> Table:
    """Every quantity with its error, what the error means, and its cost."""
    from rich.table import Table

    from ..neural.curvature import KINDS, QUANTITIES

    table = Table(title="curvature")
    for heading in ("quantity", "value", "error", "kind", "products", "what it is"):
        table.add_column(heading, justify="right" if heading in {"value", "error", "products"} else "left")
    for name, estimate in found.estimates.items():
        what = QUANTITIES[name].description if name in QUANTITIES else "the next eigenvalue of H"
        table.add_row(
            name,
            f"{estimate.value:.6g}",
            "" if not estimate.error else f"{estimate.error:.1g}",
            estimate.kind,
            str(estimate.products),
            f"{what}: {estimate.note}" if estimate.note else what,
        )
    kinds = {estimate.kind: None for estimate in found.estimates.values()}
    table.caption = "; ".join(f"{kind}: {KINDS[kind]}" for kind in kinds)
    return table


def edge_sentence(sharpness: float, subject: Subject) -> str:
    """Where the sharpness is against the edge of stability, or which learning rates are stable."""
    if sharpness <= 0:
        return "the largest eigenvalue is not positive: no learning rate is unstable along its eigenvector"
    limit = subject.threshold / sharpness
    steps = f"{subject.optimizer or 'gradient descent'} is stable here up to eta0 = {limit:.4g}"
    if subject.edge is None:
        return f"{steps} (edge of stability: {subject.threshold:g} / sharpness)"
    share = sharpness / subject.edge
    return (
        f"at eta0 = {subject.learning_rate:g} the edge of stability is at {subject.edge:.4g}; "
        f"the sharpness is {share:.3g} of it; {steps}"
    )
