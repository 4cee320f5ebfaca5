"""Critical and batch sharpness, weight decay, and the updates of any optimizer, against their definitions."""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from superconsistency.errors import InputError
from superconsistency.neural.curvature import (
    Batch,
    GaussNewton,
    Hessian,
    Meter,
    Metric,
    Objective,
    Residual,
    measure,
    optimizer_update,
)
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

Builder = Any


def flat_gradient(objective: Objective, batch: Batch) -> torch.Tensor:
    return torch.cat([piece.reshape(-1) for piece in objective.gradients(batch).values()])


class Along:
    """The loss of a copy of the model after a step, as a user would have it."""

    def __init__(self, case: Any, update: Mapping[str, torch.Tensor]) -> None:
        self.model, self.update, self.batch = copy.deepcopy(case.model), update, case.batch
        self.start = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self.objective = Objective(self.model, case.objective.criterion)

    def __call__(self, rate: float) -> float:
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                value.copy_(self.start[name] - rate * self.update[name])
        return self.objective.loss(self.batch)

    def first_rise(self, far: float) -> float:
        """The first rate at which the loss is back at its start, by a fine line search."""
        start = self(0.0)
        rates = np.linspace(0, far, 150)[1:]
        for low, high in pairwise(rates):
            if self(high) > start:
                return float(brentq(lambda rate: self(rate) - start, low, high, xtol=1e-12))
        return math.inf


@pytest.mark.parametrize("metric", ["plain", "rates"])
def test_critical_sharpness_is_two_over_the_first_rate_at_which_the_loss_rises(
    build: Builder, name: str, metric: str
) -> None:
    case = build(name)
    scales = [
        1.0 if metric == "plain" else 0.3 + index % 3 for index, _ in enumerate(case.model.parameters())
    ]
    found = measure(case.objective, case.batch, ["critical_sharpness"], metric=Metric.from_scales(scales))[
        "critical_sharpness"
    ]
    gradients = case.objective.gradients(case.batch)
    update = {key: scale * piece for scale, (key, piece) in zip(scales, gradients.items(), strict=True)}
    true = 2 / Along(case, update).first_rise(4 / found.value)
    assert found.kind == "bracketed"
    assert abs(found.value - true) <= found.error * (1 + 1e-9) + 1e-9 * true
    assert found.error <= 2e-3 * true


def test_along_a_run_the_search_starts_from_the_last_rate(build: Builder) -> None:
    case = build("mlp")
    meter, passes = Meter(["critical_sharpness"]), []
    for _ in range(6):
        case.train(1)
        found = meter(case.objective, case.batch)["critical_sharpness"]
        passes.append(int(found.note.split()[0]))
        assert found.kind == "bracketed"
    assert sorted(passes)[len(passes) // 2] <= 6
    state = meter.state()
    other = Meter(["critical_sharpness"])
    other.load(state)
    assert meter(case.objective, case.batch).estimates == other(case.objective, case.batch).estimates


def test_the_loss_of_a_constant_gradient_never_rises() -> None:
    model = nn.Linear(3, 1, bias=False).double()
    objective = Objective(model, lambda outputs, _: outputs.mean())
    batch = Batch(torch.randn(5, 3, dtype=torch.float64), torch.zeros(5))
    found = measure(objective, batch, ["critical_sharpness"])["critical_sharpness"]
    assert (found.value, "does not rise" in found.note) == (0.0, True), found


@pytest.mark.parametrize("size", [1, 3, 5])
def test_batch_sharpness_is_the_mean_of_each_mini_batchs_own_curvature(build: Builder, size: int) -> None:
    case = build("mlp")
    expected = []
    for begin in range(0, case.batch.examples - size + 1, size):
        part = case.batch.rows(begin, begin + size)
        gradient, matrix = flat_gradient(case.objective, part), Hessian(case.objective, part).matrix()
        expected.append(float(gradient @ matrix @ gradient / gradient.square().sum()))
    found = Meter(["batch_sharpness"], mini_batch=size)(case.objective, case.batch)["batch_sharpness"]
    assert found.value == pytest.approx(np.mean(expected), rel=1e-12)
    assert found.error == pytest.approx(np.std(expected, ddof=1) / math.sqrt(len(expected)), rel=1e-9)
    own = [case.batch.rows(0, 4), case.batch.rows(6, 10)]
    given = Meter(["batch_sharpness"])(case.objective, case.batch, mini_batches=own)["batch_sharpness"]
    each = [
        Meter(["directional_sharpness"])(case.objective, part)["directional_sharpness"].value for part in own
    ]
    assert given.value == pytest.approx(np.mean(each), rel=1e-12)


def test_one_mini_batch_has_no_error_and_is_undefined(build: Builder) -> None:
    case = build("mlp")
    found = Meter(["batch_sharpness"], mini_batch=10)(case.objective, case.batch)["batch_sharpness"]
    assert (found.kind, "1 of 1 mini-batches" in found.note) == ("undefined", True)


def test_where_the_gradient_is_zero_nothing_is_measured_along_it() -> None:
    model = nn.Linear(3, 2).double()
    for value in model.parameters():
        nn.init.zeros_(value)
    batch = Batch(torch.randn(8, 3, dtype=torch.float64), torch.zeros(8, 2, dtype=torch.float64))
    found = measure(Objective(model, "mse"), batch, ["critical_sharpness", "batch_sharpness"])
    assert all(estimate.kind == "undefined" for estimate in found.estimates.values())


OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda values: torch.optim.SGD(values, lr=0.3, momentum=0.9, nesterov=True),
    "Adam": lambda values: torch.optim.Adam(values, lr=0.01),
    "RMSprop": lambda values: torch.optim.RMSprop(values, lr=0.01),
    "Adagrad": lambda values: torch.optim.Adagrad(values, lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_update_of_an_optimizer_is_what_its_step_subtracts(build: Builder, name: str) -> None:
    case = build("mlp")
    optimizer = OPTIMIZERS[name](list(case.model.parameters()))
    for _ in range(3):
        update = optimizer_update(optimizer, case.objective, case.batch)
        before = {key: value.detach().clone() for key, value in case.model.named_parameters()}
        states = copy.deepcopy(optimizer.state_dict())
        for key, value in case.model.named_parameters():
            value.grad = case.objective.gradients(case.batch)[key]
        assert str(states) == str(optimizer.state_dict())
        optimizer.step()
        rate = optimizer.param_groups[0]["lr"]
        for key, value in case.model.named_parameters():
            torch.testing.assert_close(update[key], (before[key] - value.detach()) / rate)
    update = optimizer_update(optimizer, case.objective, case.batch)
    found = Meter(["critical_sharpness"])(case.objective, case.batch, update=update)["critical_sharpness"]
    if found.kind == "bracketed":
        true = 2 / Along(case, update).first_rise(4 / found.value)
        assert abs(found.value - true) <= found.error * (1 + 1e-9) + 1e-9 * true


def test_an_optimizer_that_needs_a_closure_is_refused(build: Builder) -> None:
    case = build("mlp")
    optimizer = torch.optim.LBFGS(case.model.parameters())
    with pytest.raises(InputError, match="LBFGS, whose step raised"):
        optimizer_update(optimizer, case.objective, case.batch)


@pytest.mark.parametrize("at_once", [None, 3])
def test_weight_decay_is_part_of_the_loss_its_gradient_and_its_hessian(
    build: Builder, at_once: int | None
) -> None:
    case = build("layer-norm")
    names = [key for key, _ in case.model.named_parameters()]
    decay = {names[0]: 0.7, names[3]: 0.2}
    scales = [0.5 + index for index, _ in enumerate(names)]
    metric = Metric.from_scales(scales)
    each = torch.cat(
        [
            torch.full((value.numel(),), decay.get(key, 0.0), dtype=torch.float64)
            for key, value in case.model.named_parameters()
        ]
    )
    rates = torch.cat(
        [
            torch.full((value.numel(),), scale, dtype=torch.float64)
            for scale, value in zip(scales, case.model.parameters(), strict=True)
        ]
    )
    weights = torch.cat([value.detach().reshape(-1) for value in case.model.parameters()])
    own = Objective(case.model, weight_decay=decay)
    penalty = float(0.5 * (each * weights.square()).sum())
    assert own.loss(case.batch, at_once) == pytest.approx(
        case.objective.loss(case.batch) + penalty, rel=1e-12
    )
    torch.testing.assert_close(
        flat_gradient(own, case.batch), flat_gradient(case.objective, case.batch) + each * weights
    )
    for kind, added in ((Hessian, each * rates), (GaussNewton, each * rates), (Residual, 0 * each)):
        plain = kind(case.objective, case.batch, metric).matrix()
        with_decay = kind(own, case.batch, metric, examples_at_once=at_once).matrix()
        torch.testing.assert_close(with_decay, plain + torch.diag(added), rtol=1e-10, atol=1e-12)


def test_weight_decay_equals_a_penalty_in_the_loss(build: Builder) -> None:
    case = build("mlp")

    def penalised(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        squares = torch.stack([value.square().sum() for value in case.model.parameters()]).sum()
        return nn.functional.cross_entropy(outputs, targets) + 0.05 * squares

    names = ["loss", "gradient_norm", "sharpness", "hessian_trace", "critical_sharpness", "ggn_sharpness"]
    one = measure(Objective(case.model, penalised), case.batch, names, tolerance=1e-8)
    other = measure(Objective(case.model, weight_decay=0.1), case.batch, names, tolerance=1e-8)
    for name in names[:-1]:
        assert one[name].value == pytest.approx(other[name].value, rel=1e-6)
    assert one["ggn_sharpness"].kind == "undefined"
    assert "pass weight_decay=" in one["ggn_sharpness"].note
    assert other["ggn_sharpness"].kind == "certified"


@pytest.mark.parametrize("decay", [-0.1, math.nan, math.inf, True, {"nothing": 0.1}])
def test_an_impossible_weight_decay_is_refused(decay: Any) -> None:
    with pytest.raises(InputError, match="weight decay"):
        Objective(nn.Linear(3, 2), weight_decay=decay)
