from __future__ import annotations

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import SimpleConvNet
from superconsistency.neural.convnet import forward_cost, parameter_groups, scaled_layers
from superconsistency.neural.training import torch_generator
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
    first, second, readout = (layer.scaled() for layer in scaled_layers(model))
    hidden = functional.max_pool2d(functional.relu(functional.conv2d(images, first, stride=2, padding=1)), 2)
    hidden = functional.max_pool2d(functional.relu(functional.conv2d(hidden, second, stride=4, padding=1)), 2)
    published = functional.linear(hidden.flatten(1), readout)
    weights = list(model.parameters())
    torch.testing.assert_close(model(images), published)
    gradients = [torch.autograd.grad(logits.square().sum(), weights) for logits in (model(images), published)]
    torch.testing.assert_close(*gradients)


def test_every_layer_has_the_multiplier_and_rate_of_the_table() -> None:
    width = 16
    layers = list(scaled_layers(SimpleConvNet(parametrization("mup"), width, torch_generator(0))))
    assert [layer.multiplier for layer in layers] == pytest.approx([27**-0.5, (9 * 16) ** -0.5, 1 / 16])
    assert {layer.learning_rate_scale for layer in layers} == {16.0}
    layers = list(scaled_layers(SimpleConvNet(parametrization("ntp"), width, torch_generator(0))))
    assert [layer.multiplier for layer in layers] == pytest.approx([27**-0.5, (9 * 16) ** -0.5, 1 / 4])
    assert {layer.learning_rate_scale for layer in layers} == {1.0}


def test_sp_and_ntp_draw_the_same_function_from_the_same_seed() -> None:
    images = torch.randn(3, 3, 32, 32)
    outputs = [SimpleConvNet(parametrization(name), 8, torch_generator(0))(images) for name in ("sp", "ntp")]
    torch.testing.assert_close(*outputs)


def test_the_optimizer_gets_each_layers_rate() -> None:
    model = SimpleConvNet(parametrization("mup"), 8, torch_generator(0))
    assert [group["lr"] for group in parameter_groups(model, 0.5)] == [4.0, 4.0, 4.0]


def test_the_cost_is_that_of_the_layers() -> None:
    assert forward_cost(2) == 256 * 27 * 2 + 4 * 9 * 4 + 20


def test_a_network_without_filters_is_refused() -> None:
    with pytest.raises(InputError, match="width is 0"):
        SimpleConvNet(parametrization("mup"), 0, torch_generator(0))
