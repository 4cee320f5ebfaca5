from __future__ import annotations

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import SimpleConvNet
from superconsistency.neural.data import digits
from superconsistency.neural.networks import parameter_scales, scaled_layers
from superconsistency.neural.training import TrainingConfig, forward_cost, torch_generator
from superconsistency.theory import PARAMETRIZATIONS, parametrization
from torch.nn import functional


@pytest.mark.parametrize("width", [1, 2, 16])
def test_logits_have_a_row_an_image(width: int) -> None:
    model = SimpleConvNet(parametrization("mup"), width, torch_generator(0), classes=7)
    assert model(torch.randn(5, 3, 32, 32)).shape == (5, 7)


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_pooling_before_relu_is_the_published_network(name: str) -> None:
    model = SimpleConvNet(parametrization(name), 6, torch_generator(0)).double()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    first, second, readout = (
        layer.scales["weight"].multiplier * layer.get_parameter("weight") for _, layer in scaled_layers(model)
    )
    hidden = functional.max_pool2d(functional.relu(functional.conv2d(images, first, stride=2, padding=1)), 2)
    hidden = functional.max_pool2d(functional.relu(functional.conv2d(hidden, second, stride=4, padding=1)), 2)
    published = functional.linear(hidden.flatten(1), readout)
    weights = list(model.parameters())
    torch.testing.assert_close(model(images), published)
    gradients = [torch.autograd.grad(logits.square().sum(), weights) for logits in (model(images), published)]
    torch.testing.assert_close(*gradients)


def test_every_layer_has_the_multiplier_and_rate_of_the_table() -> None:
    width = 16
    rows = list(parameter_scales(SimpleConvNet(parametrization("mup"), width, torch_generator(0))).values())
    assert [row.multiplier for row in rows] == pytest.approx([27**-0.5, (9 * 16) ** -0.5, 1 / 16])
    assert {row.sgd for row in rows} == {16.0}
    assert [row.adam for row in rows] == pytest.approx([27**0.5, (9 * 16) ** -0.5, 1])
    rows = list(parameter_scales(SimpleConvNet(parametrization("ntp"), width, torch_generator(0))).values())
    assert [row.multiplier for row in rows] == pytest.approx([27**-0.5, (9 * 16) ** -0.5, 1 / 4])
    assert {row.sgd for row in rows} == {1.0}


def test_sp_and_ntp_draw_the_same_function_from_the_same_seed() -> None:
    images = torch.randn(3, 3, 32, 32)
    outputs = [SimpleConvNet(parametrization(name), 8, torch_generator(0))(images) for name in ("sp", "ntp")]
    torch.testing.assert_close(*outputs)


def test_the_cost_is_that_of_the_layers() -> None:
    assert forward_cost(TrainingConfig(parametrization("mup")), 2, digits()) == 256 * 27 * 2 + 4 * 9 * 4 + 20


def test_a_network_without_filters_is_refused() -> None:
    with pytest.raises(InputError, match="width is 0"):
        SimpleConvNet(parametrization("mup"), 0, torch_generator(0))
