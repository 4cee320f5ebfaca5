"""Whether the package measures a random model right, refuses it, or is wrong."""

from __future__ import annotations

import random
import re
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import CurvatureEstimate, Measurements, measure
from torch import nn

from .random_models import Specimen, specimen
from .random_truth import Truth, truth

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

QUANTITIES = ("loss", "gradient_norm", "sharpness", "hessian_trace")
SECOND = ("sharpness", "hessian_trace")
"""What depends on second derivatives."""
REFUSED = frozenset({"undefined", "not converged"})
RIGHT = "right"


class Verdict(NamedTuple):
    """What came of a model."""

    seed: int
    outcome: str
    """Right, refused or wrong."""
    why: str
    pieces: tuple[str, ...]
    sure: bool
    """Whether it ought to be right."""


def fingerprint(value: Any) -> Hashable:
    """A value's contents, fit to be compared."""
    if isinstance(value, torch.Tensor):
        dense = torch.view_as_real(value.detach()) if value.is_complex() else value.detach()
        contents = dense.contiguous().numpy().tobytes()
        own = id(value) if isinstance(value, nn.Parameter) else None
        return (own, contents, value.stride(), value.requires_grad, id(value.grad), fingerprint(value.grad))
    if isinstance(value, weakref.ref):
        return id(value())
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return tuple((str(key), fingerprint(one)) for key, one in items)
    for kind, contents_of in GENERATORS.items():
        if isinstance(value, kind):
            return contents_of(value)
    return value if isinstance(value, str | int | float | bool | None) else id(value)


GENERATORS: dict[type, Callable[[Any], Hashable]] = {
    torch.Generator: lambda source: fingerprint(source.get_state()),
    np.random.Generator: lambda source: str(source.bit_generator.state),
    random.Random: lambda source: source.getstate(),
}
"""The state of each kind of random generator."""


def state_of(model: nn.Module, *others: Any) -> dict[str, Hashable]:
    """Everything that a measurement may not change: a model's, of all random numbers, and of other values."""
    found: dict[str, Hashable] = {
        "torch's random state": fingerprint(torch.get_rng_state()),
        "NumPy's random state": str(np.random.get_state()),  # noqa: NPY002
        "Python's random state": random.getstate(),
        "default dtype": torch.get_default_dtype(),
    }
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            found[f"{name}.{key}"] = fingerprint(value)
    return found | {f"value {index}": fingerprint(value) for index, value in enumerate(others)}


def judged(seed: int) -> Verdict:
    """Measure the model of a seed and compare with what is true."""
    made = specimen(seed)
    try:
        outcome, why = _judged(seed, made)
    except InputError as error:
        outcome, why = "refused", str(error)
        if "\n" in why:
            outcome = "wrong"
    except Exception as error:
        outcome, why = "wrong", f"raised {type(error).__name__}: {error}"
    return Verdict(seed, outcome, why, made.plan.pieces(), made.sure)


def _judged(seed: int, made: Specimen) -> tuple[str, str]:
    objective = made.objective()
    before = state_of(made.model, *made.batch)
    found = measure(
        objective,
        made.batch,
        QUANTITIES,
        examples_at_once=made.plan.parts,
        tolerance=1e-3 if made.partly or made.plan.single else 1e-6,
        trace_products=16,
    )
    after = state_of(made.model, *made.batch)
    moved = [name for name in before | after if before.get(name) != after.get(name)]
    if moved:
        return "wrong", f"changed {moved[0]}"
    second = any(found[name].kind not in REFUSED for name in SECOND)
    return compared(found, truth(seed, second=second))


def compared(found: Measurements, true: Truth) -> tuple[str, str]:
    """The outcome of measurements, and why."""
    expected = {
        "loss": (true.loss, abs(true.loss)),
        "gradient_norm": (true.gradient, true.gradient),
        "sharpness": (true.sharpness, true.norm),
        "hessian_trace": (true.trace, true.norm * true.size),
    }
    refusals = []
    for name, (value, scale) in expected.items():
        estimate = found[name]
        if estimate.kind in REFUSED:
            refusals.append(f"{name}: {estimate.note}")
        elif true.fault and (name in SECOND or "evaluations" in true.fault):
            return "wrong", f"{name} is {estimate.value:.6g} ({estimate.kind}) though {true.fault}"
        elif not _within(estimate, value, scale, true.precision):
            return "wrong", f"{name} is {estimate.value:.9g} ({estimate.kind}), not {value:.9g}"
    return ("refused", refusals[0]) if refusals else (RIGHT, "")


def _within(estimate: CurvatureEstimate, value: float, scale: float, precision: float) -> bool:
    """Whether an estimate is as near as it says, and that is near; a trace may be from random vectors."""
    drawn = estimate.kind == "standard error"
    tight = drawn or estimate.error <= 2 * max(1e-5, precision) * scale + 1e-12
    off = abs(estimate.value - value)
    return tight and off <= (8 if drawn else 1) * estimate.error + precision * scale + 1e-11


def reason(why: str) -> str:
    """The kind of a refusal, without its numbers."""
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "#", why)[:150]
