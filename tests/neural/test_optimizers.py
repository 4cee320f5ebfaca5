from __future__ import annotations

import copy
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import Metric, Optimizer, TrainingConfig, stability_threshold
from superconsistency.neural.networks import DenseSettings, Scales, parameter_scales
from superconsistency.neural.training import torch_generator
from superconsistency.theory import Scale, parametrization
from torch.nn import functional

from .cases import built, examples, small

if TYPE_CHECKING:
    from superconsistency.neural import Dataset
    from superconsistency.neural.networks import Architecture, Network
    from superconsistency.neural.training.optimizers import OptimizerSteps

SHAPES = [(4, 3), (4,), (2, 3, 3, 3)]
"""Shapes of the parameters of one network."""

ROWS = [
    Scales("hidden", False, 1.0, 4.0, 0.25, 0.5),
    Scales("bias", True, 1.0, 1.0, 3.0, 1.0),
    Scales("input", False, 1.0, 0.3, 1.7, 20.0),
]
RATES = (0.03, 0.01, 0.2)
WARMUP = [0.25, 0.5, 0.75, *[1.0] * 7]

OPTIMIZERS = {
    "sgd": Optimizer(),
    "decayed sgd": Optimizer(weight_decay=0.2),
    "momentum": Optimizer(momentum=0.9),
    "decayed momentum": Optimizer(momentum=0.7, weight_decay=0.3),
    "adam": Optimizer("adam"),
    "another adam": Optimizer("adam", beta1=0.5, beta2=0.9, epsilon=1e-2),
    "adam without averages": Optimizer("adam", beta1=0.0, beta2=0.0, epsilon=1e-3),
    "adamw": Optimizer("adamw"),
    "decayed adamw": Optimizer("adamw", beta1=0.8, epsilon=1e-3, weight_decay=0.4),
}

each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def drawn(*seeds: int) -> list[torch.Tensor]:
    """Values of one network's parameters."""
    generator = torch_generator(*seeds)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def gradients(values: list[torch.Tensor], step: int, network: int) -> list[torch.Tensor]:
    """Gradients of a quadratic that changes at every step."""
    return [0.3 * value + noise for value, noise in zip(values, drawn(1, step, network), strict=True)]


def peer(optimizer: Optimizer, values: list[torch.Tensor], rate: float) -> torch.optim.Optimizer:
    """PyTorch's optimizer, with a group for each parameter."""
    scales = [row.rate(optimizer.name) for row in ROWS]
    groups: list[dict[str, Any]] = [
        {"params": [value], "lr": rate * scale, "weight_decay": optimizer.weight_decay / scale}
        for value, scale in zip(values, scales, strict=True)
    ]
    if optimizer.name == "sgd":
        return torch.optim.SGD(groups, momentum=optimizer.momentum)
    for group, row in zip(groups, ROWS, strict=True):
        group["eps"] = optimizer.epsilon * row.epsilon
    kind = torch.optim.Adam if optimizer.name == "adam" else torch.optim.AdamW
    return kind(groups, betas=(optimizer.beta1, optimizer.beta2))


def descend_as_pytorch(
    optimizer: Optimizer, rate: float, network: int
) -> tuple[torch.optim.Optimizer, list[torch.Tensor]]:
    """Ten steps with warmup."""
    values = drawn(0, network)
    steps = peer(optimizer, values, rate)
    full = [float(group["lr"]) for group in steps.param_groups]
    for step, factor in enumerate(WARMUP):
        for group, lr in zip(steps.param_groups, full, strict=True):
            group["lr"] = lr * factor
        for value, gradient in zip(values, gradients(values, step, network), strict=True):
            value.grad = gradient
        steps.step()
    return steps, values


def begun(optimizer: Optimizer, networks: int) -> OptimizerSteps:
    """Several networks along the first axis."""
    parts = [drawn(0, network) for network in range(networks)]
    return optimizer.begin([torch.cat(values) for values in zip(*parts, strict=True)], ROWS, RATES[:networks])


def parts_of(steps: OptimizerSteps) -> list[list[torch.Tensor]]:
    """Each network's parameters."""
    chunks = [value.chunk(steps.networks) for value in steps.parameters]
    return [[chunk[network] for chunk in chunks] for network in range(steps.networks)]


def descend(steps: OptimizerSteps, begin: int = 0, end: int = len(WARMUP)) -> None:
    for step in range(begin, end):
        found = [gradients(values, step, network) for network, values in enumerate(parts_of(steps))]
        steps.step([torch.cat(values) for values in zip(*found, strict=True)], WARMUP[step])


@pytest.mark.parametrize("networks", [1, 2, 3])
@each_optimizer
def test_steps_are_those_of_pytorch_with_a_group_for_each_parameter(
    optimizer: Optimizer, networks: int
) -> None:
    steps = begun(optimizer, networks)
    descend(steps)
    for network, values in enumerate(parts_of(steps)):
        _, expected = descend_as_pytorch(optimizer, RATES[network], network)
        torch.testing.assert_close(values, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("networks", [1, 2])
@each_optimizer
def test_the_metric_is_that_of_the_optimizer_of_pytorch(optimizer: Optimizer, networks: int) -> None:
    steps = begun(optimizer, networks)
    shapes = [torch.Size(shape) for shape in SHAPES]
    assert (steps.roots(0, shapes) is None) == (optimizer.name != "sgd")
    descend(steps)
    for network in range(networks):
        theirs, values = descend_as_pytorch(optimizer, RATES[network], network)
        named = {str(index): value for index, value in enumerate(values)}
        expected = Metric.from_optimizer(theirs, named, base=RATES[network]).roots
        found = steps.roots(network, shapes)
        assert found is not None
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@each_optimizer
def test_the_edge_is_that_of_the_optimizer_of_pytorch(optimizer: Optimizer) -> None:
    expected = stability_threshold(peer(optimizer, drawn(0), 0.1))
    assert optimizer.threshold == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("networks", [1, 3])
@each_optimizer
def test_a_state_goes_on_to_the_same_bits(optimizer: Optimizer, networks: int) -> None:
    steps = begun(optimizer, networks)
    descend(steps, end=4)
    state, values = copy.deepcopy((steps.state(), steps.parameters))
    descend(steps, 4)
    resumed = optimizer.begin(values, ROWS, RATES[:networks])
    resumed.load(state)
    descend(resumed, 4)
    torch.testing.assert_close(resumed.parameters, steps.parameters, rtol=0, atol=0)
    torch.testing.assert_close(resumed.state(), steps.state(), rtol=0, atol=0)


def test_a_state_without_its_number_of_steps_is_refused() -> None:
    with pytest.raises(TypeError, match="steps taken"):
        begun(Optimizer(), 1).load({"taken": None, "first": None, "second": None})


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_takes_the_same_part_of_every_weight(name: str) -> None:
    steps = begun(Optimizer(name, weight_decay=0.5), 2)
    before = copy.deepcopy(parts_of(steps))
    steps.step([torch.zeros_like(value) for value in steps.parameters], 0.5)
    for rate, values, earlier in zip(RATES, parts_of(steps), before, strict=False):
        expected = [(1 - 0.5 * rate * 0.5) * value for value in earlier]
        torch.testing.assert_close(values, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_the_learning_rate_grows_by_equal_steps_from_above_zero(warmup: int) -> None:
    config = TrainingConfig(parametrization("mup"), warmup=warmup)
    expected = [(step + 1) / warmup for step in range(warmup)] + [1.0] * 3
    assert [config.factor(step) for step in range(warmup + 3)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "adagrad"}, "optimizer is adagrad; accepted: sgd, adam, adamw"),
        ({"momentum": 1.0}, "momentum is 1.0; accepted: from 0 to below 1"),
        ({"momentum": -0.1}, "momentum is -0.1"),
        ({"momentum": math.nan}, "momentum is nan"),
        ({"name": "adam", "beta1": 1.0}, "beta1 is 1.0"),
        ({"name": "adam", "beta2": math.nan}, "beta2 is nan"),
        ({"name": "adam", "epsilon": -1e-9}, "epsilon is -1e-09; accepted: at least 0"),
        ({"name": "adam", "epsilon": math.nan}, "epsilon is nan"),
        ({"name": "adamw", "weight_decay": math.inf}, "weight decay is inf"),
        ({"weight_decay": math.nan}, "weight decay is nan"),
        ({"name": "adam", "momentum": 0.9}, "momentum is 0.9; accepted: 0 with adam"),
        ({"name": "adamw", "momentum": 0.9}, "momentum is 0.9; accepted: 0 with adamw"),
        ({"name": "adam", "weight_decay": 0.1}, "weight decay is 0.1; accepted: 0 with adam"),
        ({"beta1": 0.5}, "beta1 is 0.5; accepted: 0.9 with sgd"),
        ({"beta2": 0.5}, "beta2 is 0.5; accepted: 0.999 with sgd"),
        ({"epsilon": 0.0}, "epsilon is 0.0; accepted: 1e-08 with sgd"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_in_one_line(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as refusal:
        Optimizer(**settings)
    assert str(refusal.value).startswith(words)
    assert "\n" not in str(refusal.value)


EQUIVALENT = {
    "sgd": Optimizer(weight_decay=0.01),
    "momentum": Optimizer(momentum=0.9),
    "adam": Optimizer("adam", epsilon=0.0),
    "adam with epsilon": Optimizer("adam", epsilon=0.3),
    "adamw": Optimizer("adamw", epsilon=1e-3, weight_decay=0.3),
}

FACTORS = {
    "hidden": Scale.of(fan_in=Fraction(1, 3), width=-1),
    "readout": Scale.of(fan_in=Fraction(3, 4)),
    "first": Scale.of(width=Fraction(-2, 5)),
}
"""What multipliers are changed by; no power of two, so that roundings are not the same."""


def losses(model: Network, optimizer: Optimizer, data: Dataset) -> torch.Tensor:
    """Losses of a hundred steps on all examples, shape (100,)."""
    parameters = list(model.parameters())
    rate = 0.1 if optimizer.name == "sgd" else 0.001
    steps = optimizer.begin(parameters, list(parameter_scales(model).values()), (rate,))
    found = []
    for _ in range(100):
        loss = functional.cross_entropy(model(data.inputs), data.targets)
        steps.step(torch.autograd.grad(loss, parameters))
        found.append(loss.detach())
    return torch.stack(found)


def rescaled_twin(model: Network, settings: Architecture, data: Dataset, table: str) -> Network:
    """The same function, its multipliers larger by the factors and its weights smaller."""
    width = len(model.get_parameter("first.weight"))
    twin = settings.build(parametrization(table).rescaled(**FACTORS), width, data, torch_generator(0))
    rules = {"input": "first", "hidden": "hidden", "readout": "readout"}
    with torch.no_grad():
        for name, scales in parameter_scales(twin).items():
            value = twin.get_parameter(name)
            sizes = {"fan_in": float(value[0].numel()), "width": float(twin.readout.weight.shape[1])}
            factor = FACTORS[rules[scales.kind]].at(**sizes)
            value.copy_(model.get_parameter(name) / factor)
    return twin


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("optimizer", EQUIVALENT)
@pytest.mark.parametrize("table", ["ntp", "mup", "depth-mup"])
@pytest.mark.parametrize("network", ["dense", "convnet"])
def test_equivalent_rows_of_the_table_train_the_same_losses(
    network: str, table: str, optimizer: str, dtype: torch.dtype
) -> None:
    settings, width, side = small("simple-convnet"), 4, 32
    if network == "dense":
        settings, width, side = DenseSettings(depth=2, activation="tanh", skip=1.0), 64, 4
    data = examples(settings, 32, side=side)
    model = built(settings, table, width, data=data)
    twin = rescaled_twin(model, settings, data, table)
    data = data._replace(inputs=data.inputs.to(dtype))
    one, other = (losses(found.to(dtype), EQUIVALENT[optimizer], data) for found in (model, twin))
    assert one[-1] < 0.97 * one[0]
    tolerance = 1e-11 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(other, one, rtol=tolerance, atol=0)
