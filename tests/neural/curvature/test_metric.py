"""The metric, the rates and the weight decay of optimizers as they are met."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Metric, stability_threshold
from superconsistency.neural.curvature.metric import (
    coupled_decay,
    has_decay_beside_the_loss,
    has_metric,
    is_without_state,
    largest_group_rate,
)
from torch import nn

FOREIGN = [
    torch.optim.RMSprop,
    torch.optim.Adagrad,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
    torch.optim.LBFGS,
]


class Lion(torch.optim.Optimizer):
    """Somebody's own."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure: Any = None) -> Any:
        return closure


class Clipped(torch.optim.SGD):
    """A subclass that steps in its own way."""

    def step(self, closure: Any = None) -> Any:
        return super().step(closure)


class Named(torch.optim.Adam):
    """A subclass that steps as its base does."""


def layer(*, dtype: torch.dtype = torch.float64) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2, dtype=dtype)


def slopes(model: nn.Module) -> dict[str, torch.Tensor]:
    """A gradient with a zero in it, set on the model, too."""
    generator = torch.Generator().manual_seed(1)
    for value in model.parameters():
        value.grad = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)
        value.grad.view(-1)[0] = 0
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def squares(metric: Metric) -> list[torch.Tensor]:
    return [torch.as_tensor(root) ** 2 for root in metric.roots]


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, Named])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_adams_first_step_is_its_metric_times_the_gradient(
    kind: type[torch.optim.Adam], amsgrad: bool
) -> None:
    model = layer()
    optimizer = kind(model.parameters(), lr=0.01, betas=(0.9, 0.95), amsgrad=amsgrad, weight_decay=0.0)
    parameters, gradients = dict(model.named_parameters()), slopes(model)
    assert is_without_state(optimizer, parameters)
    before = {name: value.detach().clone() for name, value in parameters.items()}
    metric = Metric.from_optimizer(optimizer, parameters, gradients=gradients)
    optimizer.step()
    assert not is_without_state(optimizer, parameters)
    for (name, value), square in zip(parameters.items(), squares(metric), strict=True):
        # The momentum of the first step is (1 - beta1) g.
        step = (1 - 0.9) * square * gradients[name]
        torch.testing.assert_close(value.detach(), before[name] - step, rtol=1e-12, atol=0)
        assert float(square.view(-1)[0]) == 0
    # After the step, the state gives the same.
    after = Metric.from_optimizer(optimizer, parameters)
    torch.testing.assert_close(squares(after), squares(metric), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("stepped", [False, True])
def test_a_complex_parameter_has_a_root_for_each_real_coordinate(
    kind: type[torch.optim.Adam], stepped: bool
) -> None:
    model = layer(dtype=torch.complex128)
    optimizer = kind(model.parameters(), lr=0.01, betas=(0.0, 0.95), weight_decay=0.0)
    parameters = dict(model.named_parameters())
    gradients = {
        name: torch.complex(torch.rand(value.shape).double() + 0.1, torch.rand(value.shape).double() - 2)
        for name, value in parameters.items()
    }
    for name, value in parameters.items():
        value.grad = gradients[name].clone()
    before = {name: value.detach().clone() for name, value in parameters.items()}
    metric = Metric.from_optimizer(optimizer, parameters, gradients=gradients)
    optimizer.step()
    if stepped:
        metric = Metric.from_optimizer(optimizer, parameters)
    metric.require_fitting(parameters)
    for (name, value), square in zip(parameters.items(), squares(metric), strict=True):
        moved = torch.view_as_real(before[name] - value.detach())
        torch.testing.assert_close(moved, square * torch.view_as_real(gradients[name]), rtol=1e-6, atol=0)


def test_parameters_that_adam_has_stepped_keep_their_state_and_others_take_their_gradient() -> None:
    model = layer()
    model.bias.requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    gradients = slopes(model)
    model.bias.grad = None
    optimizer.step()
    model.bias.requires_grad_(True)
    parameters = dict(model.named_parameters())
    stepped = Metric.from_optimizer(optimizer, {"weight": model.weight}).roots[0]
    fresh = Metric.from_optimizer(
        torch.optim.Adam(model.parameters(), lr=0.1), parameters, gradients=gradients
    )
    both = Metric.from_optimizer(optimizer, parameters, gradients={"bias": gradients["bias"]})
    torch.testing.assert_close(both.roots, (stepped, fresh.roots[1]), rtol=0, atol=0)
    with pytest.raises(InputError, match=r"without a state of bias.*gradients=objective\.gradients"):
        Metric.from_optimizer(optimizer, parameters)


def test_groups_with_their_own_settings_give_each_parameter_its_own_root() -> None:
    model = layer()
    groups = [
        {"params": [model.weight], "lr": torch.tensor(0.4), "betas": (0.0, 0.5), "amsgrad": True},
        {"params": [model.bias], "lr": 0.1, "betas": (0.5, 0.9), "eps": 1.0},
    ]
    optimizer = torch.optim.Adam(groups)
    gradients = slopes(model)
    found = squares(
        Metric.from_optimizer(optimizer, dict(model.named_parameters()), base=0.2, gradients=gradients)
    )
    some, other = gradients["weight"][1, 1].abs(), gradients["bias"][1].abs()
    assert float(found[0][1, 1]) == pytest.approx(2.0 / (float(some) + 1e-8), rel=1e-6)
    assert float(found[1][1]) == pytest.approx(0.5 / (0.5 * (float(other) + 1.0)), rel=1e-6)
    assert largest_group_rate(optimizer) == pytest.approx(0.4)
    assert stability_threshold(optimizer) == 2.0


def test_a_rate_may_be_a_tensor_or_zero() -> None:
    model = layer()
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.25))
    assert Metric.from_optimizer(optimizer, dict(model.named_parameters())).roots == (0.5, 0.5)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 10)
    assert largest_group_rate(optimizer) == 0
    assert Metric.from_optimizer(optimizer, dict(model.named_parameters()), base=0.1).roots == (0.0, 0.0)


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, torch.tensor([0.1, 0.2]), None, "fast"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_rate_that_is_none_is_one_line(kind: Any, rate: Any) -> None:
    model = layer()
    optimizer = kind(model.parameters(), lr=0.1)
    optimizer.param_groups[0]["lr"] = rate
    for call in (
        lambda: Metric.from_optimizer(optimizer, dict(model.named_parameters()), gradients=slopes(model)),
        lambda: largest_group_rate(optimizer),
    ):
        with pytest.raises(InputError, match="learning rate of the optimizer is") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_parameters_outside_the_optimizer_stand_still_and_maximizing_is_refused() -> None:
    model = layer()
    optimizer = torch.optim.SGD([model.weight], lr=0.25)
    assert Metric.from_optimizer(optimizer, dict(model.named_parameters())).roots == (0.5, 0.0)
    with pytest.raises(InputError, match="optimizer is SGD; accepted: one that holds"):
        Metric.from_optimizer(optimizer, dict(layer().named_parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25, maximize=True)
    with pytest.raises(InputError, match="optimizer is maximizing"):
        Metric.from_optimizer(optimizer, dict(model.named_parameters()))


def spoilt(case: str) -> tuple[torch.optim.Optimizer, nn.Module, dict[str, torch.Tensor] | None]:
    """Adam with a state or a gradient that does not fit."""
    model = layer()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    gradients = slopes(model)
    if case == "gradient of another shape":
        return optimizer, model, gradients | {"bias": torch.ones(3)}
    optimizer.step()
    state = optimizer.state[model.weight]
    if case == "amsgrad switched on":
        optimizer.param_groups[0]["amsgrad"] = True
    elif case == "state of another model":
        state["exp_avg_sq"] = torch.ones(5, 5)
    else:
        del state["exp_avg_sq"]
    return optimizer, model, None


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("gradient of another shape", "gradient of bias is of shape"),
        ("amsgrad switched on", "optimizer's state of weight is without max_exp_avg_sq"),
        ("state of another model", "optimizer's exp_avg_sq of weight is of shape"),
        ("state cut off", "optimizer's state of weight is without exp_avg_sq"),
    ],
)
def test_a_state_that_does_not_fit_is_one_line(case: str, words: str) -> None:
    optimizer, model, gradients = spoilt(case)
    with pytest.raises(InputError, match=words) as caught:
        Metric.from_optimizer(optimizer, dict(model.named_parameters()), gradients=gradients)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [*FOREIGN, Lion, Clipped])
def test_the_metric_of_a_foreign_optimizer_is_not_known(kind: Any) -> None:
    model = layer()
    optimizer = kind(model.parameters())
    assert not has_metric(optimizer)
    assert not is_without_state(optimizer, dict(model.named_parameters()))
    with pytest.raises(InputError, match=rf"optimizer is {kind.__name__}; accepted: SGD, Adam, AdamW"):
        Metric.from_optimizer(optimizer, dict(model.named_parameters()))
    with pytest.raises(InputError, match=rf"optimizer is {kind.__name__}"):
        stability_threshold(optimizer)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, Named])
def test_scheduled_and_stepped_optimizers_keep_their_kind(kind: Any) -> None:
    model = layer()
    optimizer = kind(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    assert has_metric(optimizer)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_the_coupled_decay_is_what_the_optimizer_adds_to_the_gradient(kind: Any) -> None:
    model = layer()
    groups = [{"params": [model.weight], "weight_decay": 0.25}, {"params": [model.bias]}]
    settings = {"betas": (0.0, 0.9)} if kind is torch.optim.Adam else {}
    with_decay, without = kind(groups, lr=0.5, **settings), kind(model.parameters(), lr=0.5, **settings)
    parameters = dict(model.named_parameters())
    found = coupled_decay(with_decay, parameters)
    assert found == {"weight": 0.25}
    assert not has_decay_beside_the_loss(with_decay)
    start, gradients, ends = {}, slopes(model), []
    for name, value in parameters.items():
        start[name] = value.detach().clone()
    for optimizer, decays in ((with_decay, {}), (without, found)):
        for name, value in parameters.items():
            with torch.no_grad():
                value.copy_(start[name])
            value.grad = gradients[name] + decays.get(name, 0.0) * start[name]
        optimizer.step()
        ends.append(torch.cat([value.detach().reshape(-1).clone() for value in parameters.values()]))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-14, atol=1e-15)


def test_a_decoupled_decay_is_no_part_of_the_loss() -> None:
    model = layer()
    for optimizer in (
        torch.optim.AdamW(model.parameters(), weight_decay=0.1),
        torch.optim.RMSprop(model.parameters(), weight_decay=0.1),
    ):
        assert coupled_decay(optimizer, dict(model.named_parameters())) == {}
        assert has_decay_beside_the_loss(optimizer)
    assert not has_decay_beside_the_loss(torch.optim.AdamW(model.parameters(), weight_decay=0.0))


def test_roots_that_do_not_fit_the_parameters_are_one_line() -> None:
    parameters = dict(layer().named_parameters())
    Metric((1.0, torch.ones(2))).require_fitting(parameters)
    complex_ones = dict(layer(dtype=torch.complex64).named_parameters())
    Metric((torch.ones(2, 3, 2), 1.0)).require_fitting(complex_ones)
    for metric, given, words in (
        (Metric((1.0,)), parameters, "metric is of 1 roots; accepted: one root for each of the 2"),
        (Metric((torch.ones(3, 2), 1.0)), parameters, r"metric of weight is of shape \(3, 2\)"),
        (Metric((1.0, torch.tensor(1.0))), parameters, r"metric of bias is of shape \(\)"),
        (
            Metric((torch.ones(2, 3), 1.0)),
            complex_ones,
            r"accepted: a number, or a tensor of shape \(2, 3, 2\)",
        ),
    ):
        with pytest.raises(InputError, match=words):
            metric.require_fitting(given)
