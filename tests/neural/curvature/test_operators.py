from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import (
    Batch,
    GaussNewton,
    Hessian,
    Metric,
    Objective,
    Residual,
    TangentKernel,
    stability_threshold,
)
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

Builder = Any


def gradient(case: Any, at: torch.Tensor) -> torch.Tensor:
    """The loss's gradient by plain autograd on the model itself, at parameters given as one vector."""
    values = list(case.model.parameters())
    kept = [value.detach().clone() for value in values]
    buffers = {key: value.clone() for key, value in case.model.state_dict().items()}
    with torch.no_grad():
        for value, piece in zip(values, torch.split(at, [value.numel() for value in values]), strict=True):
            value.copy_(piece.view_as(value))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = case.objective.criterion(case.model(case.batch.inputs), case.batch.targets)
    found = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, values)])
    case.model.load_state_dict(buffers)
    with torch.no_grad():
        for value, before in zip(values, kept, strict=True):
            value.copy_(before)
    return found


def flat(case: Any) -> torch.Tensor:
    return torch.cat([value.detach().reshape(-1) for value in case.model.parameters()])


def test_a_hessian_product_is_the_difference_of_gradients(build: Builder, name: str, criterion: str) -> None:
    case = build(name, criterion)
    operator = Hessian(case.objective, case.batch)
    direction = torch.randn(operator.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    product = operator(direction)
    step, here = 1e-5 / float(direction.norm()), flat(case)
    ahead, behind = (gradient(case, here + sign * step * direction) for sign in (1, -1))
    difference = (ahead - behind) / (2 * step)
    assert float((product - difference).norm()) <= 1e-6 * float(product.norm()) + 1e-8


def test_the_hessian_is_gauss_newton_plus_residual(build: Builder, name: str, criterion: str) -> None:
    case = build(name, criterion)
    whole, part, rest = (
        kind(case.objective, case.batch).matrix() for kind in (Hessian, GaussNewton, Residual)
    )
    assert float((whole - part - rest).abs().max()) <= 1e-12 * float(whole.abs().max())
    assert float(torch.linalg.eigvalsh(part)[0]) >= -1e-12 * float(part.abs().max())


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_forward_over_reverse_gives_the_same_product(build: Builder) -> None:
    case = build("mlp")
    for kind in (Hessian, Residual, GaussNewton, TangentKernel):
        one, other = (
            kind(case.objective, case.batch, differentiation=mode).matrix() for mode in ("reverse", "forward")
        )
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)


def test_the_tangent_kernel_has_the_gauss_newton_eigenvalues_under_the_squared_loss(
    build: Builder, name: str
) -> None:
    case = build(name, "squared", examples=6)
    scales = [0.5 + 0.25 * index for index in range(len(case.objective.parameters))]
    metric = Metric.from_scales(scales)
    kernel = TangentKernel(case.objective, case.batch, metric)
    gauss_newton = torch.linalg.eigvalsh(GaussNewton(case.objective, case.batch, metric).matrix())
    by_products, by_rows = kernel.matrix(), kernel.gram()
    torch.testing.assert_close(by_products, by_rows, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(kernel.gram(memory=0), by_rows, rtol=1e-10, atol=1e-12)
    count = min(kernel.size, len(gauss_newton))
    largest = torch.linalg.eigvalsh(by_rows)[-count:]
    assert float((largest - gauss_newton[-count:]).abs().max()) <= 1e-12 * float(largest[-1])


@pytest.mark.parametrize("kind", [Hessian, GaussNewton, Residual])
@pytest.mark.parametrize("at_once", [1, 3, 9, 10, 50])
def test_parts_of_a_batch_give_the_whole(build: Builder, kind: Callable[..., Any], at_once: int) -> None:
    case = build("layer-norm")
    whole = kind(case.objective, case.batch)
    parts = kind(case.objective, case.batch, examples_at_once=at_once)
    generator = torch.Generator().manual_seed(at_once)
    for _ in range(3):
        vector = torch.randn(whole.size, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(parts(vector), whole(vector), rtol=1e-11, atol=1e-13)


def test_parts_are_refused_where_a_batch_is_normalised_by_itself(build: Builder) -> None:
    case = build("batch-norm")
    with pytest.raises(InputError, match="the whole batch while 1 normalises by its batch"):
        Hessian(case.objective, case.batch, examples_at_once=2)
    case.model.eval()
    Hessian(case.objective, case.batch, examples_at_once=2)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_metric_of_sgd_is_its_groups_rates(build: Builder, momentum: float) -> None:
    case = build("mlp")
    values = list(case.model.parameters())
    groups = [{"params": values[:2], "lr": 0.25}, {"params": values[2:3], "lr": 4.0}]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=momentum)
    metric = Metric.from_optimizer(optimizer, case.objective.parameters)
    each = zip(values, (0.25, 0.25, 4.0, 0.0), strict=True)
    rates = torch.cat([torch.full((value.numel(),), rate) for value, rate in each]).double()
    dense = Hessian(case.objective, case.batch).matrix()
    expected = rates.sqrt()[:, None] * dense * rates.sqrt()
    torch.testing.assert_close(Hessian(case.objective, case.batch, metric).matrix(), expected)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_the_metric_of_adam_is_what_it_does_to_a_gradient(
    build: Builder, kind: type[torch.optim.Adam], amsgrad: bool
) -> None:
    case = build("transformer")
    case.model.eval()
    optimizer = kind(case.model.parameters(), lr=0.01, betas=(0.0, 0.95), amsgrad=amsgrad, weight_decay=0.0)
    for _ in range(4):
        optimizer.zero_grad()
        case.objective.criterion(case.model(case.batch.inputs), case.batch.targets).backward()
        optimizer.step()
    metric = Metric.from_optimizer(optimizer, case.objective.parameters, base=0.01)
    state = [optimizer.state[value] for value in case.model.parameters()]
    if amsgrad:
        second = [entry["max_exp_avg_sq"] for entry in state]
    else:
        second = [entry["exp_avg_sq"] for entry in state]
    dense = torch.cat([1 / ((value / (1 - 0.95**4)).sqrt() + 1e-8).reshape(-1) for value in second])
    hessian = Hessian(case.objective, case.batch).matrix()
    expected = dense.sqrt()[:, None] * hessian * dense.sqrt()
    found = Hessian(case.objective, case.batch, metric).matrix()
    assert float((found - expected).abs().max()) <= 1e-11 * float(expected.abs().max())
    # With beta1 = 0 one more step is exactly -lr P times the gradient, once v has taken the gradient in.
    before = flat(case)
    optimizer.zero_grad()
    case.objective.criterion(case.model(case.batch.inputs), case.batch.targets).backward()
    slope = torch.cat([value.grad.reshape(-1) for value in case.model.parameters()])
    optimizer.step()
    after = Metric.from_optimizer(optimizer, case.objective.parameters)
    squares = torch.cat([torch.as_tensor(root).reshape(-1) ** 2 for root in after.roots])
    torch.testing.assert_close(flat(case), before - squares * slope, rtol=1e-9, atol=1e-12)


def test_adam_without_a_state_is_refused_in_one_line(build: Builder) -> None:
    case = build("mlp")
    optimizer = torch.optim.Adam(case.model.parameters())
    with pytest.raises(
        InputError, match=r"Adam without a state of 0\.weight; accepted: Adam after at least one"
    ):
        Metric.from_optimizer(optimizer, case.objective.parameters)


def test_another_optimizer_is_refused(build: Builder) -> None:
    case = build("mlp")
    with pytest.raises(InputError, match="optimizer is RMSprop; accepted: SGD, Adam, AdamW"):
        stability_threshold(torch.optim.RMSprop(case.model.parameters()))


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True},
        {"lr": 0.1, "betas": (0.9, 0.0), "eps": 1e30},
    ],
)
def test_beyond_the_threshold_a_quadratic_diverges_and_below_it_does_not(settings: dict[str, Any]) -> None:
    adam = "betas" in settings
    if adam:  # an epsilon that drowns the second moment freezes the preconditioner
        settings = settings | {"lr": 0.1 * settings["eps"]}
    for factor, grows in ((0.99, False), (1.01, True)):
        x = torch.ones(1, dtype=torch.float64, requires_grad=True)
        make: Any = torch.optim.Adam if adam else torch.optim.SGD
        optimizer = make([x], **settings)
        curvature = factor * stability_threshold(optimizer) / 0.1
        for _ in range(6000):
            optimizer.zero_grad()
            torch.autograd.backward((0.5 * curvature * x**2).sum())
            optimizer.step()
        assert (not math.isfinite(float(x.detach())) or abs(float(x.detach())) > 1) == grows


def test_frozen_and_unused_parameters_have_no_curvature() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2)).double()
    model[2].requires_grad_(requires_grad=False)
    model.register_parameter("unused", nn.Parameter(torch.ones(2, dtype=torch.float64)))
    batch = Batch(torch.ones(4, 3, dtype=torch.float64), torch.zeros(4, dtype=torch.int64))
    matrix = Hessian(Objective(model), batch).matrix()
    assert matrix.shape == (10, 10)
    unused = list(Objective(model).parameters).index("unused")
    rows = [2, 3, 4, 5, 6, 7, 8, 9] if unused == 0 else list(range(8))
    assert matrix[rows].any()
    assert not matrix[[row for row in range(10) if row not in rows]].any()


def test_a_linear_model_has_no_residual() -> None:
    model = nn.Linear(3, 2).double()
    batch = Batch(torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, dtype=torch.int64))
    assert not Residual(Objective(model), batch).matrix().any()


def numpy_state() -> Any:
    """NumPy's global state, which is what must not change."""
    return np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002 - it is looked at, not used


def failing(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    raise RuntimeError(f"{len(outputs)} outputs for {len(targets)} targets")


@pytest.mark.parametrize("raising", [False, True])
def test_measuring_leaves_everything_as_it_was(build: Builder, name: str, raising: bool) -> None:
    case = build(name)
    for value in case.model.parameters():
        value.grad = torch.full_like(value, 0.5)
    case.model.register_buffer("counter", torch.zeros(()))
    before = {key: value.clone() for key, value in case.model.state_dict().items()}
    flags = [module.training for module in case.model.modules()]
    random, numpy_random = torch.get_rng_state(), numpy_state()
    if raising:
        with pytest.raises(InputError, match="the error was RuntimeError: 10 outputs for 10 targets"):
            Hessian(Objective(case.model, failing), case.batch)
    else:
        for kind in (Hessian, GaussNewton, Residual, TangentKernel):
            operator = kind(case.objective, case.batch)
            operator(torch.ones(operator.size, dtype=torch.float64))
        case.objective.loss(case.batch)
    assert all(torch.equal(before[key], value) for key, value in case.model.state_dict().items())
    assert flags == [module.training for module in case.model.modules()]
    assert all((value.grad == 0.5).all() and value.requires_grad for value in case.model.parameters())
    assert torch.equal(random, torch.get_rng_state())
    assert (numpy_random == numpy_state()).all()
    assert not any(module._forward_hooks for module in case.model.modules())


def test_an_operator_that_outlived_its_parameters_says_so(build: Builder) -> None:
    case = build("mlp")
    operator = Hessian(case.objective, case.batch)
    with torch.no_grad():
        for value in case.model.parameters():
            value.add_(1.0)
    with pytest.raises(InputError, match="built before the parameters changed"):
        operator(torch.ones(operator.size, dtype=torch.float64))


def test_impossible_input_is_refused(build: Builder) -> None:
    case = build("mlp")
    with pytest.raises(InputError, match="loss is entropy; accepted: cross-entropy, "):
        Objective(case.model, "entropy")
    with pytest.raises(InputError, match=r"float64 \(3, 6\) as inputs and int64 \(10,\) as targets"):
        Hessian(case.objective, Batch(case.batch.inputs[:3], case.batch.targets))
    with pytest.raises(InputError, match=r"float64 \(10, 4\); accepted: one real number"):
        Objective(case.model, lambda outputs, _: outputs).loss(case.batch)
    with pytest.raises(InputError, match="at least one parameter"):
        Objective(nn.ReLU())
