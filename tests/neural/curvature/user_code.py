"""What tests of ordinary user code share: a dense oracle, and ways to ask for right values or refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Batch, Measurements, Objective, measure
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DOUBLE = torch.float64


def slope_and_matrix(
    loss: torch.Tensor, parameters: Iterable[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient and dense Hessian by two backward passes."""
    leaves = list(parameters)
    pieces = torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)
    slope = torch.cat([piece.reshape(-1) for piece in pieces])
    rows = [torch.autograd.grad(one, leaves, retain_graph=True, materialize_grads=True) for one in slope]
    return slope.detach(), torch.stack([torch.cat([piece.reshape(-1) for piece in row]) for row in rows])


def assert_measured(
    found: Measurements, loss: torch.Tensor, parameters: Iterable[torch.Tensor], *, rel: float = 1e-9
) -> None:
    """Loss, gradient norm, sharpness and trace are those of the loss, and the sharpness says so."""
    slope, matrix = slope_and_matrix(loss, parameters)
    values = torch.linalg.eigvalsh(matrix)
    norm = float(values.abs().max())
    assert found["loss"].value == pytest.approx(float(loss.detach()), rel=rel)
    assert found["gradient_norm"].value == pytest.approx(float(slope.norm()), rel=rel)
    assert found["sharpness"].kind == "certified", found["sharpness"]
    assert found["sharpness"].value == pytest.approx(
        float(values[-1]), abs=found["sharpness"].error + rel * norm
    )
    assert found["hessian_trace"].value == pytest.approx(float(matrix.trace()), abs=rel * norm * len(values))


NAMES = ("loss", "gradient_norm", "sharpness", "hessian_trace")


def measured(model: nn.Module, criterion: Any, inputs: Any, targets: Any, **options: Any) -> Measurements:
    return measure(
        Objective(model, criterion, **options),
        Batch(inputs, targets),
        NAMES,
        tolerance=1e-6,
        trace_products=512,
    )


def outcome(call: Callable[[], Measurements]) -> Measurements | str:
    """What was measured, or the words of the refusal."""
    try:
        return call()
    except InputError as error:
        return str(error)


def assert_right_or_refused(
    found: Measurements | str, loss: torch.Tensor, parameters: Iterable[torch.Tensor], *, rel: float = 1e-9
) -> None:
    """Either the right value, or an error of one line, or an estimate that says why it has none."""
    if isinstance(found, str):
        assert "\n" not in found
    elif found["sharpness"].kind in {"undefined", "not converged"}:
        assert found["sharpness"].note
    else:
        assert_measured(found, loss, parameters, rel=rel)


def vectors(dtype: torch.dtype = DOUBLE, count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 3, generator=generator, dtype=DOUBLE).to(dtype)
    return inputs, torch.randint(0, 2, (count,), generator=generator)


def mlp(dtype: torch.dtype = DOUBLE) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)
