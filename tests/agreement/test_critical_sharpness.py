from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from superconsistency.neural import Batch, Metric, Objective, TwoLayerLinear, descend
from superconsistency.neural.curvature import Meter, measure
from superconsistency.neural.curvature.along_updates import optimizer_update
from superconsistency.theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    Problem,
    critical_sharpness,
    gaussian_weights,
    parametrization,
)
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = [(1, 1), (1, 40), (6, 1), (3, 2), (5, 8), (20, 60)]


class OneRow(nn.Module):
    """The network's map as the outputs of one example, so that `squared` is its loss."""

    def __init__(self, network: TwoLayerLinear) -> None:
        super().__init__()
        self.network = network

    def forward(self, ones: torch.Tensor) -> torch.Tensor:
        """`w` times the row, shape (1, D)."""
        outputs: torch.Tensor = ones * self.network()
        return outputs


def network_of(name: str, dimension: int, width: int, norm: float, seed: int = 0) -> TwoLayerLinear:
    problem = Problem(parametrization(name), width, np.full(dimension, norm / math.sqrt(dimension)))
    return TwoLayerLinear(problem, gaussian_weights(problem, np.random.default_rng(seed)))


def case(network: TwoLayerLinear) -> tuple[Objective, Batch, Metric]:
    """The loss on the network's raw weights, its one example, and the learning-rate metric."""
    target = network.target[None]
    batch = Batch(torch.ones_like(target), target)
    return (
        Objective(OneRow(network), "squared"),
        batch,
        Metric((network.problem.learning_rate_scale**0.5,) * 2),
    )


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize(("dimension", "width"), SIZES)
@pytest.mark.parametrize("norm", [0.0, 1.0, 20.0])
def test_what_is_measured_on_raw_weights_is_the_closed_form(
    name: str, dimension: int, width: int, norm: float
) -> None:
    network = network_of(name, dimension, width, norm)
    objective, batch, metric = case(network)
    found = measure(objective, batch, ["critical_sharpness", "directional_sharpness"], metric=metric)
    state, problem = network.latent_state(), network.problem
    expected = float(critical_sharpness(state, problem))
    estimate = found["critical_sharpness"]
    assert abs(estimate.value - expected) <= estimate.error <= 3e-3 * expected
    assert estimate.value == pytest.approx(expected, rel=1e-12)
    directional = float(OBSERVABLES["directional_sharpness"].compute(state, problem))
    assert found["directional_sharpness"].value == pytest.approx(directional, rel=1e-12)


@pytest.mark.parametrize("rate", [0.3, 0.8])
def test_along_a_run_one_meter_finds_it_at_every_step(
    rate: float, record_property: Callable[[str, object], None]
) -> None:
    network = network_of("mup", 5, 40, 2.0)
    meter, errors = Meter(["critical_sharpness"]), []
    for state in descend(network, rate, 12):
        objective, batch, metric = case(network)
        estimate = meter(objective, batch, metric)["critical_sharpness"]
        expected = float(critical_sharpness(state, network.problem))
        assert abs(estimate.value - expected) <= estimate.error <= 3e-3 * expected
        errors.append(abs(estimate.value / expected - 1))
    record_property("measured", f"critical sharpness over a run at {rate}: largest error {max(errors):.1e}")
    assert max(errors) < 1e-11


def test_the_update_of_an_optimizer_gives_the_same() -> None:
    network = network_of("mup", 4, 30, 1.0)
    objective, batch, _ = case(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5 * network.problem.learning_rate_scale)
    update = optimizer_update(optimizer, objective, batch, base=0.5)
    estimate = Meter(["critical_sharpness"])(objective, batch, update=update)["critical_sharpness"]
    expected = float(critical_sharpness(network.latent_state(), network.problem))
    assert estimate.value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_in_single_precision_it_is_within_the_error(name: str) -> None:
    network = network_of(name, 5, 8, 1.0)
    expected = float(critical_sharpness(network.latent_state(), network.problem))
    objective, batch, metric = case(network.float())
    estimate = measure(objective, batch, ["critical_sharpness"], metric=metric)["critical_sharpness"]
    assert abs(estimate.value - expected) <= estimate.error <= 3e-3 * expected
    assert estimate.value == pytest.approx(expected, rel=2e-6)


def test_where_there_is_no_gradient_there_is_no_critical_sharpness() -> None:
    network = network_of("mup", 3, 4, 1.0)
    with torch.no_grad():
        network.first.zero_()
        network.second.zero_()
    objective, batch, metric = case(network)
    estimate = measure(objective, batch, ["critical_sharpness"], metric=metric)["critical_sharpness"]
    assert math.isnan(estimate.value)
    assert "the gradient is zero" in estimate.note
    assert float(critical_sharpness(network.latent_state(), network.problem)) == 0
