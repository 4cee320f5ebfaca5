from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import (
    Augmentation,
    Grid,
    Hessian,
    Metric,
    Objective,
    Optimizer,
    TrainingConfig,
    train_grid,
)
from superconsistency.neural.networks import NETWORKS, parameter_scales
from superconsistency.neural.networks.stacking import stacked_network
from superconsistency.neural.training import Probe, Run, RunGroup, Stream, torch_generator
from superconsistency.theory import parametrization
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .cases import built, examples, small
from .other_device import DEVICE, Elsewhere, OtherDevice

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.neural import Dataset
    from superconsistency.neural.networks import Architecture

META = torch.device("meta")

OPTIMIZERS = {
    "sgd": Optimizer(momentum=0.9, weight_decay=0.01),
    "adamw": Optimizer("adamw", weight_decay=0.1),
}

each_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that cannot train for real have no autocast to ask for, and PyTorch refuses the question."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


class StaysOn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, an operation whose results are on another device than this one fails."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = function(*args, **(kwargs or {}))
        for value in tree_leaves(results):
            if isinstance(value, torch.Tensor) and value.device.type != self.device.type:
                raise AssertionError(f"{function} gives a tensor on {value.device}")
        return results


def config(settings: Architecture, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "architecture": settings,
        "steps": 4,
        "batch_size": 4,
        "measure_at": (4,),
        "quantities": (),
        "hessian_examples": 4,
        "evaluation_examples": 12,
    }
    return TrainingConfig(parametrization("depth-mup"), **values | changes)


@pytest.mark.parametrize("count", [1, 3])
@each_network
def test_networks_train_on_the_meta_device_without_leaving_it(name: str, count: int) -> None:
    settings = small(name)
    data = examples(settings, 4).to(META)
    with StaysOn(META):
        models = [
            settings.build(parametrization("mup"), 4, data, torch_generator(0), META) for _ in range(count)
        ]
        model = models[0] if count == 1 else stacked_network(models)
    parameters = list(model.parameters())
    rows = list(parameter_scales(models[0]).values())
    steps = Optimizer("adam").begin(parameters, rows, [0.1] * count)  # the rates come from the host
    with StaysOn(META):
        outputs = model(data.inputs)
        steps.step(torch.autograd.grad(outputs.sum(), parameters), 0.5)
    assert outputs.device.type == "meta"
    assert outputs.shape == (*(() if count == 1 else (count,)), *data.targets.shape, data.outputs)


def product(settings: Architecture, data: Dataset, vector: torch.Tensor) -> torch.Tensor:
    """With the Hessian in a metric of numbers and tensors."""
    model = built(settings, "mup", 4).to(vector.device)
    roots = [0.5 if index % 2 else 2 + value.detach() ** 2 for index, value in enumerate(model.parameters())]
    shared = config(settings, evaluation_examples=4)
    objective = Objective(model, "cross-entropy")
    return Hessian(objective, Probe(shared, data).batch, Metric(tuple(roots)))(vector)


@each_network
def test_a_product_with_the_hessian_elsewhere_is_that_here(name: str) -> None:
    settings = small(name)
    data = examples(settings, 4)
    size = sum(value.numel() for value in built(settings, "mup", 4).parameters())
    vector = torch.randn(size, generator=torch_generator(1), dtype=torch.float64)
    here = product(settings, data, vector)
    with OtherDevice():
        there = product(settings, data.to(DEVICE), vector.to(DEVICE))
        assert isinstance(there, Elsewhere)
    torch.testing.assert_close(there.held, here, rtol=1e-10, atol=1e-12 * float(here.abs().max()))
    with pytest.raises(InputError, match="on the meta device, without values"):
        product(settings, data.to(META), vector.to(META))


@pytest.mark.parametrize("joined", [False, True], ids=["apart", "together"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@each_network
def test_a_grid_trained_elsewhere_is_the_one_trained_here(name: str, optimizer: str, joined: bool) -> None:
    settings = small(name)
    data = examples(settings, 12)
    grid = Grid(config(settings, optimizer=OPTIMIZERS[optimizer], warmup=2), (4,), (0.01, 0.03), (0,))
    here = train_grid(grid, data, stacked=joined)
    with OtherDevice():
        there = train_grid(grid, data.to(DEVICE), stacked=joined)
    assert there.attrs["configuration"] != here.attrs["configuration"]
    tolerance = 1e-10 if data.inputs.is_floating_point() else 1e-5
    for quantity in here.data_vars:
        np.testing.assert_allclose(there[quantity], here[quantity], rtol=tolerance)


@pytest.mark.parametrize("name", ["simple-convnet", "transformer-post"])
def test_curvature_measured_elsewhere_is_that_measured_here(name: str) -> None:
    settings = small(name)
    data = examples(settings, 12)
    quantities = ("sharpness", "ntk_sharpness", "directional_sharpness")
    shared = config(settings, quantities=quantities, steps=2, measure_at=(2,), tolerance=0.01)
    grid = Grid(shared, (4,), (0.01,), (0,))
    here = train_grid(grid, data)
    with OtherDevice():
        there = train_grid(grid, data.to(DEVICE))
    for quantity in here.data_vars:
        np.testing.assert_allclose(there[quantity], here[quantity], rtol=1e-3)


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@each_network
def test_between_measurements_the_host_only_draws_the_order_of_an_epoch(
    name: str, optimizer: str, runs: int
) -> None:
    settings = small(name)
    augmentation = Augmentation() if "images" in settings.kinds else None
    shared = config(
        settings,
        optimizer=OPTIMIZERS[optimizer],
        augmentation=augmentation,
        steps=7,
        measure_at=(7,),
        warmup=3,
    )
    seen: list[list[Any]] = []
    with OtherDevice() as device:
        data = examples(settings, 12).to(DEVICE)
        group = RunGroup(shared, data, Probe(shared, data), [Run(4, 0.01 + rate, 0) for rate in range(runs)])
        device.events.clear()

        def after_step(_cohort: RunGroup) -> None:
            seen.append(device.events.copy())
            device.events.clear()

        list(group.train(after_step))
    assert len(seen) == 7
    for step, events in enumerate(seen):
        if step % 3:  # an epoch has three steps
            assert events == []
        else:
            assert {event.kind for event in events} == {"on host", "from host"}
            assert {event.shape for event in events if event.kind == "from host"} == {(12,)}
    assert {event.kind for event in device.events} <= {"to host", "on host", "wait"}
    assert sum(event.kind == "to host" for event in device.events) == 2  # the losses and the accuracies


def test_batches_elsewhere_are_those_here() -> None:
    data = examples(small("convnet"), 10)
    for augmentation in (None, Augmentation(), Augmentation(padding=0, degrees=0.0)):
        here = Stream(data, 4, augmentation, 0)
        with OtherDevice():
            there = Stream(data.to(DEVICE), 4, augmentation, 0)
            for step in range(5):
                for found, expected in zip(there.batch(step), here.batch(step), strict=True):
                    assert isinstance(found, Elsewhere)
                    torch.testing.assert_close(found.held, expected, rtol=0, atol=0)


def test_the_other_device_notes_what_the_host_does_and_refuses_what_a_gpu_refuses() -> None:
    here = torch.ones(3)
    with OtherDevice() as device:
        there = here.to(DEVICE)
        kinds: list[tuple[str, Callable[[], object]]] = [
            ("from host", lambda: torch.ones(2).to(DEVICE)),
            ("from host", lambda: there.copy_(here)),
            ("to host", there.cpu),
            ("to host", there.tolist),
            ("to host", lambda: here.copy_(there)),
            ("wait", there.sum().item),
            ("wait", lambda: there[there > 0]),
            ("on host", lambda: torch.zeros(2)),
        ]
        for kind, action in kinds:
            device.events.clear()
            action()
            assert device.events[-1].kind == kind
        device.events.clear()
        assert isinstance(torch.zeros(2, device=DEVICE) + there[:2] * torch.ones_like(there)[0], Elsewhere)
        assert device.events == []
        with pytest.raises(RuntimeError, match="on two devices"):
            there + here
        with pytest.raises((TypeError, RuntimeError)):
            there.numpy()
    with pytest.raises(RuntimeError, match="not there"):
        there + 1


def test_a_change_in_place_elsewhere_is_seen_by_views_and_parameters() -> None:
    with OtherDevice():
        whole = torch.nn.Parameter(torch.zeros(4, device=DEVICE))
        parts = [torch.nn.Parameter(torch.ones(2, device=DEVICE)) for _ in range(2)]
        for part, view in zip(parts, whole.data.chunk(2), strict=True):
            part.data = view
        with torch.no_grad():
            whole.add_(torch.arange(4.0, device=DEVICE))
        assert [part.tolist() for part in parts] == [[0, 1], [2, 3]]
        kept = copy.deepcopy([part.tolist() for part in parts])
        with torch.no_grad():
            parts[1].zero_()
        assert whole.tolist() == [*kept[0], 0, 0]
