from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.neural import Checkpoint, Grid, Optimizer, TrainingConfig, load_dataset, train_grid
from superconsistency.neural.curvature import Batch, Hessian, Objective, SpectrumTracker
from superconsistency.neural.curvature.midpoints import Midpoints
from superconsistency.neural.training import Measurement, Probe, Run, RunGroup
from superconsistency.theory import parametrization
from torch import nn


def bits(model: nn.Module) -> list[bytes]:
    return [value.detach().numpy().tobytes() for value in model.parameters()]


def moved(model: nn.Module, seed: int) -> list[torch.Tensor]:
    """Give the parameters random values; a copy of them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator, dtype=value.dtype))
    return [value.detach().clone() for value in model.parameters()]


def test_the_midpoint_is_a_quarter_a_half_and_a_quarter_of_the_last_three_iterates() -> None:
    model = nn.Linear(3, 2).double()
    midpoints = Midpoints(model)
    iterates = []
    for step in range(6):
        iterates.append(moved(model, step))
        midpoints.observe()
    before = bits(model)
    with midpoints.weights():
        for value, a, b, c in zip(model.parameters(), *iterates[-3:], strict=True):
            torch.testing.assert_close(value.detach(), (a + 2 * b + c) / 4, rtol=1e-15, atol=1e-15)
    assert bits(model) == before


def test_before_three_iterates_it_is_what_there_is() -> None:
    weight = torch.tensor([5.0], requires_grad=True)
    midpoints = Midpoints([weight])
    for expected, value in ((5.0, None), (2.0, 2.0), (3.0, 4.0), (5.5, 12.0)):
        if value is not None:
            with torch.no_grad():
                weight.fill_(value)
            midpoints.observe()
        with midpoints.weights():
            assert weight.item() == expected


def test_weights_come_back_to_the_bit_when_measuring_fails() -> None:
    layer = nn.Linear(3, 4)
    model = nn.Sequential(layer, nn.Linear(4, 2))
    midpoints = Midpoints(model)
    for step in range(3):
        moved(model, step)
        midpoints.observe()
    with torch.no_grad():
        layer.weight[0, 0] = float("nan")  # a diverged weight has bits too
    before = bits(model)
    middle = []

    def fail() -> None:
        middle.extend(bits(model))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), midpoints.weights():
        fail()
    assert middle != before
    assert bits(model) == before


def test_parameters_stay_the_objects_they_were() -> None:
    model = nn.Linear(3, 2)
    own, pointers = list(model.parameters()), [value.data_ptr() for value in model.parameters()]
    midpoints = Midpoints(model)
    midpoints.observe()
    with midpoints.weights():
        assert all(one is other for one, other in zip(model.parameters(), own, strict=True))
        assert [value.data_ptr() for value in model.parameters()] == pointers
        assert all(value.requires_grad for value in model.parameters())


@pytest.mark.parametrize("observed", [0, 1, 2, 5])
def test_it_goes_on_from_its_state_with_the_same_bits(observed: int) -> None:
    models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    first, second = map(Midpoints, models)
    for step in range(observed):
        moved(models[0], step)
        first.observe()
    kept = first.state()
    moved(models[0], 7)
    first.observe()  # what was kept is not changed by what comes after
    second.load(kept)
    moved(models[1], 7)
    second.observe()
    with first.weights(), second.weights():
        assert bits(models[0]) == bits(models[1])


def test_at_the_edge_of_stability_a_tracker_needs_fewer_products_at_midpoints() -> None:
    """Full-batch gradient descent that oscillates; the same run, measured at both."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(32, 6, generator=generator, dtype=torch.float64)
    targets = torch.randn(32, 3, generator=generator, dtype=torch.float64).sign()
    torch.manual_seed(0)
    layers = [nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3)]
    model = nn.Sequential(*layers).double()
    objective, batch, rate = Objective(model, "mse"), Batch(inputs, targets), 0.4
    optimizer, midpoints = torch.optim.SGD(model.parameters(), lr=rate), Midpoints(model)
    trackers = [SpectrumTracker(), SpectrumTracker()]
    products, sharpness = np.zeros((2, 30)), np.zeros((2, 30))
    for step in range(430):
        optimizer.zero_grad()
        torch.autograd.backward((model(inputs) - targets).square().mean())
        optimizer.step()
        midpoints.observe()
        if step < 400:
            continue
        for index in range(2):
            with midpoints.weights() if index else nullcontext():
                found = trackers[index](Hessian(objective, batch))
            products[index, step - 400], sharpness[index, step - 400] = found.matvecs, found.value
    np.testing.assert_allclose(sharpness * rate / 2, 1, atol=0.1)
    iterate, midpoint = products[:, 1:].mean(1)
    assert midpoint <= 0.6 * iterate


STEPS = 9


def config(**changes: object) -> TrainingConfig:
    given: dict[str, object] = {
        "steps": STEPS,
        "batch_size": 16,
        "measure_at": (0, 1, 4, 9),
        "hessian_examples": 16,
        "evaluation_examples": 32,
    }
    return TrainingConfig(parametrization("mup"), **(given | changes))  # type: ignore[arg-type]


def test_curvature_is_measured_at_the_midpoint_and_the_loss_at_the_iterate() -> None:
    """Against the iterates of the same run, kept and averaged here."""
    data = load_dataset("digits", examples=64)
    plain, middle = (config(measure_points=points) for points in ("iterate", "midpoint"))
    iterates: list[list[torch.Tensor]] = []

    def keep(group: RunGroup) -> None:
        iterates.append([value.detach().double() for value in group.whole.parameters()])

    run_groups = [RunGroup(one, data, Probe(one, data), (Run(4, 0.5, 0),)) for one in (plain, middle)]
    keep(run_groups[0])
    found = [
        {
            event.step: event.values
            for event in group.train(keep if index == 0 else None)
            if isinstance(event, Measurement)
        }
        for index, group in enumerate(run_groups)
    ]
    for step in (0, 1, 4, 9):
        assert found[1][step]["loss"] == found[0][step]["loss"]
        assert found[1][step]["accuracy"] == found[0][step]["accuracy"]
    assert found[1][0]["sharpness"] == found[0][0]["sharpness"]
    for step, parts in (
        (1, {0: 0.5, 1: 0.5}),
        (4, {2: 0.25, 3: 0.5, 4: 0.25}),
        (9, {7: 0.25, 8: 0.5, 9: 0.25}),
    ):
        with torch.no_grad():
            for index, value in enumerate(run_groups[0].whole.parameters()):
                value.copy_(torch.stack([part * iterates[at][index] for at, part in parts.items()]).sum(0))
        probe, group = run_groups[0].probe, run_groups[0]
        meter = probe.meter(0, 4)
        assert meter is not None
        expected = probe.measure(meter, group.models[0], group.roots(0))
        error = expected["sharpness_error"] + found[1][step]["sharpness_error"]
        assert abs(found[1][step]["sharpness"] - expected["sharpness"]) <= error
        assert found[1][step]["sharpness"] != found[0][step]["sharpness"]
    assert bits(run_groups[1].whole) == [value.float().numpy().tobytes() for value in iterates[-1]]


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("optimizer", [Optimizer(), Optimizer("adam")])
def test_a_run_interrupted_at_any_step_gives_the_same_bits(
    tmp_path: Path, optimizer: Optimizer, stacked: bool
) -> None:
    data = load_dataset("digits", examples=64)
    grid = Grid(config(measure_points="midpoint", optimizer=optimizer), (2,), (0.05, 0.1), (0,))
    unbroken = train_grid(grid, data, stacked=stacked)
    for stop in range(1, STEPS):
        checkpoint = Checkpoint(tmp_path / f"{stop}.checkpoint", seconds=0)
        seen: list[float] = []

        def interrupt(done: float, _total: float, stop: int = stop, seen: list[float] = seen) -> None:
            seen.append(done)
            if len(seen) > stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_grid(grid, data, on_progress=interrupt, checkpoint=checkpoint, stacked=stacked)
        resumed = train_grid(grid, data, checkpoint=checkpoint, stacked=stacked)
        for name in unbroken.variables:
            assert resumed[name].to_numpy().tobytes() == unbroken[name].to_numpy().tobytes()


@pytest.mark.parametrize(
    ("changes", "observed"),
    [
        ({"measure_points": "iterate"}, 0),
        ({"measure_points": "midpoint", "quantities": ()}, 0),
        ({"measure_points": "midpoint", "measure_at": (9,)}, 3),
        ({"measure_points": "midpoint", "measure_at": (0, 1, 9)}, 5),
        ({"measure_points": "midpoint", "measure_at": None, "measure_every": 1}, 10),
    ],
)
def test_only_steps_near_a_measurement_are_observed(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], observed: int
) -> None:
    calls: list[Midpoints] = []

    def observe(own: Midpoints) -> None:
        calls.append(own)

    monkeypatch.setattr(Midpoints, "observe", observe)
    data, settings = load_dataset("digits", examples=64), config(**changes)
    events = list(RunGroup(settings, data, Probe(settings, data), (Run(2, 0.1, 0),)).train())
    assert all(isinstance(event, Measurement) for event in events)
    assert len(calls) == observed


def test_the_record_says_where_curvature_was_measured() -> None:
    data = load_dataset("digits", examples=64)
    records = [
        Grid(config(measure_points=points), (2,), (0.1,), (0,)).empty(data).attrs["configuration"]
        for points in ("iterate", "midpoint")
    ]
    assert '"measure_points": "iterate"' in records[0]
    assert '"measure_points": "midpoint"' in records[1]


@pytest.mark.parametrize(
    "arguments", [["--measure-points", "midpoint"], ["--set", "measure_points=midpoint"]]
)
def test_the_command_line_has_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = [
        "train",
        "--widths",
        "2",
        "--steps",
        "4",
        "--seeds",
        "1",
        "--batch-size",
        "16",
        "--examples",
        "64",
    ]
    with pytest.raises(SystemExit) as stop:
        main([*command, *arguments, "--output", str(tmp_path / "run.nc"), "--json"])
    assert not stop.value.code
    configuration = json.loads(capsys.readouterr().out)["attrs"]["configuration"]
    assert configuration["measure_points"] == "midpoint"


def test_another_place_is_refused() -> None:
    with pytest.raises(InputError, match="measure points is middle; accepted: iterate, midpoint"):
        config(measure_points="middle")
