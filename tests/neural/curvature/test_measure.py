from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import (
    CURVATURE_QUANTITIES,
    ESTIMATE_KINDS,
    Batch,
    GaussNewton,
    Hessian,
    Measurements,
    Meter,
    Metric,
    Objective,
    Residual,
    TangentKernel,
    measure,
)
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

Builder = Any

COUNT = 2
ALONG_UPDATES = {"critical_sharpness", "batch_sharpness"}
"""Those that evaluate the loss elsewhere, or on other examples."""


def metric_of(case: Any) -> Metric:
    return Metric.from_scales([0.5 + 0.25 * index for index in range(len(case.objective.parameters))])


def gradient(case: Any, metric: Metric) -> torch.Tensor:
    """By plain autograd on the model itself, in the metric."""
    buffers = {key: value.clone() for key, value in case.model.state_dict().items()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = case.objective.criterion(case.model(case.batch.inputs), case.batch.targets)
    pieces = torch.autograd.grad(loss, list(case.model.parameters()))
    case.model.load_state_dict(buffers)
    return torch.cat([root * piece.reshape(-1) for root, piece in zip(metric.roots, pieces, strict=True)])


def dense(case: Any, metric: Metric) -> dict[str, float]:
    """All quantities from dense matrices."""
    whole, part, rest, kernel = (
        kind(case.objective, case.batch, metric).matrix()
        for kind in (Hessian, GaussNewton, Residual, TangentKernel)
    )
    values, vectors = torch.linalg.eigh(0.5 * (whole + whole.T))
    own, own_vectors = torch.linalg.eigh(0.5 * (part + part.T))
    residual = torch.linalg.eigvalsh(0.5 * (rest + rest.T))
    slope = gradient(case, metric)
    squared = float(slope @ slope)
    top, ggn_top = vectors[:, -COUNT:], own_vectors[:, -COUNT:]
    return {
        "gradient_norm": math.sqrt(squared),
        "sharpness": float(values[-1]),
        "eigenvalue_2": float(values[-2]),
        "smallest_eigenvalue": float(values[0]),
        "ggn_sharpness": float(own[-1]),
        "residual_sharpness": float(residual[-1]),
        "residual_spectral_norm": float(residual.abs().max()),
        "ntk_sharpness": float(torch.linalg.eigvalsh(0.5 * (kernel + kernel.T))[-1]),
        "hessian_trace": float(whole.trace()),
        "directional_sharpness": float(slope @ whole @ slope) / squared,
        "gradient_alignment": float((top.T @ slope).square().sum()) / squared,
        "ggn_share": float(top[:, -1] @ part @ top[:, -1]) / float(values[-1]),
        "ggn_overlap": float((top.T @ ggn_top).square().sum()) / COUNT,
    }


def assert_within(found: Measurements, expected: Mapping[str, float], *, sigmas: float = 5) -> None:
    """Every estimate within its own error."""
    for name, value in expected.items():
        estimate = found[name]
        factor = sigmas if estimate.kind == "standard error" else 1
        assert abs(estimate.value - value) <= factor * estimate.error + 1e-9 * abs(value) + 1e-13, name
        assert estimate.kind in {"exact", "certified", "standard error", "estimated"}, (name, estimate)


def test_every_quantity_is_within_its_error_of_the_dense_one(
    build: Builder, name: str, criterion: str
) -> None:
    case = build(name, criterion)
    metric = metric_of(case)
    found = measure(case.objective, case.batch, metric=metric, count=COUNT, tolerance=1e-4)
    assert set(found.estimates) == {*CURVATURE_QUANTITIES, "eigenvalue_2"}
    assert_within(found, dense(case, metric))
    assert found["loss"].value == pytest.approx(case.objective.loss(case.batch), rel=1e-12)
    assert found.products == sum(one.products for one in found.estimates.values())
    assert (found.examples, found.parameters) == (10, case.objective.size)
    assert found.batch_hash == case.batch.hash


def test_the_output_residual_of_the_squared_loss_is_the_distance_to_the_targets(build: Builder) -> None:
    case = build("mlp", "squared")
    found = measure(case.objective, case.batch, ["output_residual", "loss"])
    targets = nn.functional.one_hot(case.batch.targets, 4).double()
    distance = (case.model(case.batch.inputs) - targets).square().sum(1).mean().sqrt().detach()
    assert found["output_residual"].value == pytest.approx(float(distance), rel=1e-12)
    assert found["loss"].value == pytest.approx(0.5 * float(distance) ** 2, rel=1e-12)


def test_a_batch_in_parts_gives_the_same_measurements(build: Builder, criterion: str) -> None:
    case = build("layer-norm", criterion)
    whole = measure(case.objective, case.batch, tolerance=1e-6)
    parts = measure(case.objective, case.batch, tolerance=1e-6, examples_at_once=3)
    assert set(whole.estimates) - set(parts.estimates) == {"ntk_sharpness"}
    for name, estimate in parts.estimates.items():
        error = estimate.error + whole[name].error
        assert abs(estimate.value - whole[name].value) <= error + 1e-10 * abs(estimate.value)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_forward_differentiation_gives_the_same_measurements(build: Builder) -> None:
    case = build("mlp")
    names = [name for name in CURVATURE_QUANTITIES if name != "hessian_trace"]
    one, other = (
        Meter(names, differentiation=way)(case.objective, case.batch) for way in ("reverse", "forward")
    )
    for name in names:
        assert other[name].value == pytest.approx(one[name].value, rel=1e-6)


def test_one_graph_serves_all_quantities(build: Builder) -> None:
    case = build("mlp")
    passes: list[int] = []
    case.objective.ready(case.batch)
    handle = case.model.register_forward_hook(lambda *_: passes.append(1))
    measure(case.objective, case.batch, [name for name in CURVATURE_QUANTITIES if name not in ALONG_UPDATES])
    handle.remove()
    assert len(passes) == 1


def test_a_meter_starts_from_what_it_found_last(build: Builder) -> None:
    case = build("mlp")
    meter = Meter(["sharpness"])
    first = meter(case.objective, case.batch)
    with torch.no_grad():
        for value in case.model.parameters():
            value.mul_(1.001)
    second = meter(case.objective, case.batch)
    assert second.products < first.products
    assert_within(second, {"sharpness": float(np.linalg.eigvalsh(_matrix(case))[-1])})


def _matrix(case: Any) -> Any:
    return Hessian(case.objective, case.batch).matrix().numpy()


def test_measuring_twice_gives_the_same_bits(build: Builder) -> None:
    case = build("transformer")
    one, other = (measure(case.objective, case.batch, seed=2) for _ in range(2))
    assert one.estimates == other.estimates


def test_a_minimum_has_no_gradient_and_says_so() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(1.0)
    inputs = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    found = measure(Objective(model, "squared"), Batch(inputs, inputs.sum(1, keepdim=True)))
    assert found["sharpness"].value == pytest.approx(2.0)
    assert found["hessian_trace"].value == pytest.approx(2.5)
    assert (found["hessian_trace"].error, found["hessian_trace"].kind) == (0.0, "exact")
    assert found["gradient_norm"].value == 0
    for name in ("directional_sharpness", "gradient_alignment"):
        assert math.isnan(found[name].value)
        assert (found[name].kind, found[name].note) == ("undefined", "the gradient is zero")


def test_a_diverged_network_is_said_to_have_diverged(build: Builder) -> None:
    case = build("mlp")
    with torch.no_grad():
        next(case.model.parameters()).fill_(math.inf)
    found = measure(case.objective, case.batch)
    assert all(math.isnan(one.value) for one in found.estimates.values())
    assert found["sharpness"].note == "the loss is not finite: the network has diverged"
    assert {one.kind for one in found.estimates.values()} == {"undefined"}


def test_one_parameter_and_one_example_are_enough() -> None:
    model = nn.Linear(1, 1, bias=False).double()
    batch = Batch(torch.full((1, 1), 3.0, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64))
    found = measure(Objective(model, "squared"), batch)
    for name in ("sharpness", "smallest_eigenvalue", "ggn_sharpness", "ntk_sharpness", "hessian_trace"):
        assert found[name].value == pytest.approx(9.0)
    for name in ("gradient_alignment", "ggn_share", "ggn_overlap"):
        assert found[name].value == pytest.approx(1.0)
        assert found[name].error <= 1e-12
    assert found["residual_spectral_norm"].value == 0


def test_what_has_not_converged_is_marked_without_a_warning(build: Builder) -> None:
    case = build("relu-mlp")
    meter = Meter(["sharpness", "gradient_alignment"])
    meter.trackers["top"].max_products = 2
    found = meter(case.objective, case.batch)
    assert {one.kind for one in found.estimates.values()} == {"not converged"}
    assert found["sharpness"].note == "2 products were not enough"


def test_what_is_known_is_told_after_each_quantity_and_kinds_are_explained(build: Builder) -> None:
    case = build("mlp")
    told: list[tuple[str, ...]] = []
    found = Meter(["loss", "sharpness"])(
        case.objective, case.batch, on_estimate=lambda known: told.append(tuple(known))
    )
    assert told == [("loss",), ("loss", "sharpness")]
    assert all(one.kind in ESTIMATE_KINDS for one in found.estimates.values())


def test_impossible_requests_are_refused(build: Builder) -> None:
    case = build("mlp")
    with pytest.raises(InputError, match="quantity is sharpnes; accepted: loss, gradient_norm"):
        measure(case.objective, case.batch, ["sharpnes"])
    with pytest.raises(InputError, match="quantities"):
        measure(case.objective, case.batch, ["loss", "loss"])
    with pytest.raises(InputError, match="count is 10000"):
        measure(case.objective, case.batch, count=10000)
    with pytest.raises(InputError, match="the whole batch, for the neural tangent kernel"):
        measure(case.objective, case.batch, ["ntk_sharpness"], examples_at_once=2)
    with pytest.raises(InputError, match="trace products is 3"):
        Meter(trace_products=3)
    with pytest.raises(InputError, match="differentiation is backward"):
        Meter(differentiation="backward")
    with pytest.raises(InputError, match="examples at once is 0"):
        Meter(examples_at_once=0)
    narrow = Batch(case.batch.inputs[:, :3], case.batch.targets)
    with pytest.raises(InputError, match=r"RuntimeError in 0 \(Linear\); .* on inputs float64 \(10, 3\)"):
        measure(case.objective, narrow, ["loss"])
