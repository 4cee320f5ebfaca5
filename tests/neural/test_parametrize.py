"""The table applied to plain modules: against this package's own networks, and what is done in general."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import Batch, Hessian, Metric, Objective, Optimizer, SpectrumTracker
from superconsistency.neural.loading import load_factory
from superconsistency.neural.networks import DenseNet, DenseSettings, parameter_scales
from superconsistency.neural.parametrize import parametrize
from superconsistency.theory import SGD, TABLE
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.neural.parametrize import Parametrized

DOCS = Path(__file__).resolve().parents[2] / "docs"
INPUTS, OUTPUTS, WIDTH, BASE, DEPTH, STEPS = 6, 3, 24, 8, 3, 20


class Residual(nn.Module):
    """As `DenseNet`, of plain modules."""

    def __init__(self, width: int, depth: int = DEPTH, *, skip: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.skip = skip
        self.first = nn.Linear(INPUTS, width, bias=bias)
        self.hidden = nn.ModuleList(nn.Linear(width, width, bias=bias) for _ in range(depth))
        self.readout = nn.Linear(width, OUTPUTS, bias=bias)

    def forward(self, inputs: torch.Tensor) -> Any:
        hidden = self.first(inputs)
        for layer in self.hidden:
            branch = layer(torch.tanh(hidden))
            hidden = hidden + branch if self.skip else branch
        return self.readout(torch.tanh(hidden))


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(INPUTS, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, OUTPUTS)
    )


def examples(count: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    drawn = [torch.randn(count, size, generator=generator, dtype=torch.float64) for size in (INPUTS, OUTPUTS)]
    return drawn[0], drawn[1]


def dense_net(name: str, width: int, *, skip: bool) -> DenseNet:
    """This package's network of the same shape, in double precision; biases not zero."""
    settings = DenseSettings(depth=DEPTH, activation="tanh", skip=float(skip), bias=True)
    generator = torch.Generator().manual_seed(0)
    made = DenseNet(settings, TABLE[name], width, generator, inputs=INPUTS, outputs=OUTPUTS).double()
    with torch.no_grad():
        for parameter_name, value in made.named_parameters():
            if parameter_name.endswith("bias"):
                value.copy_(torch.randn(value.shape, generator=generator))
    return made


@torch.no_grad()
def copy_function(plain: nn.Module, net: DenseNet) -> None:
    """Give plain modules the weights with which they are the same function."""
    scales = parameter_scales(net)
    for (name, value), theirs in zip(plain.named_parameters(), net.parameters(), strict=True):
        value.copy_(scales[name].multiplier * theirs)


def plain_and_dense(
    name: str, *, base: int | None = None, skip: bool = False
) -> tuple[Parametrized, DenseNet]:
    """One function in two parametrizations."""
    table, net = TABLE[name], dense_net(name, WIDTH, skip=skip)
    branches = ["hidden.*"] if skip else []
    kinds = {"first": "input", "hidden": "hidden", "readout": "readout"}
    given: dict[str, Any] = {"kinds": kinds} if base is None else {"base": Residual(base).double()}
    if base is not None and skip:
        given["depth"] = (DEPTH, 1)
    found = parametrize(Residual(WIDTH, skip=skip).double(), table, branches=branches, **given)
    copy_function(found.model, net)
    return found, net


def trajectory(model: nn.Module, step: Callable[[], None]) -> torch.Tensor:
    """Outputs before each of the steps."""
    inputs, targets = examples()
    seen = []
    for _ in range(STEPS):
        outputs = model(inputs)
        seen.append(outputs.detach())
        model.zero_grad()
        (outputs - targets).square().mean().backward()
        step()
    return torch.stack(seen)


def own_step(net: DenseNet, optimizer: Optimizer, rate: float) -> Callable[[], None]:
    """A step of the package's own optimizer."""
    scales, values = parameter_scales(net), dict(net.named_parameters())
    steps = optimizer.begin(list(values.values()), [scales[name] for name in values], [rate])
    return lambda: steps.step([value.grad for value in values.values() if value.grad is not None])


def torch_step(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    return optimizer.step


OPTIMIZERS = {
    "sgd": (Optimizer("sgd"), 0.05, {}),
    "momentum": (Optimizer("sgd", momentum=0.8), 0.02, {"momentum": 0.8}),
    "decaying": (Optimizer("sgd", weight_decay=0.1), 0.05, {"weight_decay": 0.1}),
    "adam": (Optimizer("adam", epsilon=0.01), 0.01, {"eps": 0.01}),
    "adamw": (Optimizer("adamw", epsilon=1e-12, weight_decay=0.3), 0.01, {"eps": 1e-12, "weight_decay": 0.3}),
}
ROWS = [(name, False) for name in ("ntp", "mup", "sp")] + [(name, True) for name in TABLE]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("name", "skip"), ROWS)
def test_without_a_base_plain_modules_train_as_this_packages_network(
    name: str, optimizer: str, *, skip: bool
) -> None:
    found, net = plain_and_dense(name, skip=skip)
    own, rate, settings = OPTIMIZERS[optimizer]
    theirs = trajectory(net, own_step(net, own, rate))
    mine = trajectory(found.model, torch_step(found.optimizer(own.name, rate, **settings)))
    assert float((theirs[-1] - theirs[0]).abs().max()) > 1e-3
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(("name", "skip"), ROWS)
def test_with_a_base_plain_modules_train_as_this_packages_network_but_for_constants(
    name: str, optimizer: str, *, skip: bool
) -> None:
    found, net = plain_and_dense(name, base=BASE, skip=skip)
    small = parameter_scales(dense_net(name, BASE, skip=skip))
    depth = DEPTH if skip else 1  # the base's is 1: its factors of depth, as of branches of depth 1, are 1
    at_base = TABLE[name].branch
    groups: list[dict[str, Any]] = []
    for row, value in zip(found.rows, found.model.parameters(), strict=True):
        scales = small[row.name]
        power = 2 if optimizer == SGD else 1
        constant = scales.rate(optimizer) * scales.multiplier**power
        epsilon = 1e-3 * scales.epsilon / scales.multiplier
        if row.scales.in_branch:
            factor = at_base.learning_rate if optimizer == SGD else at_base.adam
            constant /= float(factor.at(depth=float(depth)))
            epsilon /= float(at_base.multiplier.at(depth=float(depth)))
        rate = {"lr": 0.01 * constant * row.scales.rate(optimizer)}
        groups.append({"params": [value], **rate, **({"eps": epsilon * row.scales.epsilon})})
    if optimizer == SGD:
        groups = [{key: group[key] for key in ("params", "lr")} for group in groups]
    made = (torch.optim.SGD if optimizer == SGD else torch.optim.Adam)(groups)
    own = Optimizer(optimizer) if optimizer == SGD else Optimizer(optimizer, epsilon=1e-3)
    theirs = trajectory(net, own_step(net, own, 0.01))
    torch.testing.assert_close(trajectory(found.model, torch_step(made)), theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", TABLE)
def test_the_sharpness_in_the_learning_rate_metric_is_that_of_this_packages_network(name: str) -> None:
    found, net = plain_and_dense(name, skip=True)
    scales = parameter_scales(net)
    batch = Batch(*examples())
    metrics = (
        found.metric(found.optimizer("sgd", 0.3), 0.3),
        Metric.from_scales([scales[name].sgd for name, _ in net.named_parameters()]),
    )
    mine, theirs = (
        SpectrumTracker(tolerance=1e-9)(Hessian(Objective(model, "mse"), batch, metric=metric)).value
        for model, metric in zip((found.model, net), metrics, strict=True)
    )
    assert mine == pytest.approx(theirs, rel=1e-8)


@pytest.mark.parametrize("name", TABLE)
def test_without_a_base_initial_weights_have_the_tables_variance(name: str) -> None:
    kinds = {"first": "input", "hidden": "hidden", "readout": "readout"}
    found = parametrize(Residual(WIDTH, skip=True), TABLE[name], kinds=kinds, branches=["hidden.*"])
    for row, value in zip(found.rows, found.model.parameters(), strict=True):
        if row.name.endswith("bias"):
            assert row.start == 1
            continue
        rule = TABLE[name].rule(row.scales.kind)
        at = {"fan_in": float(value.shape[1]), "width": float(WIDTH)}
        expected = rule.multiplier.at(**at) * math.sqrt(rule.variance.at(**at))
        assert float(value.detach().square().mean().sqrt()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", TABLE)
def test_at_the_bases_sizes_nothing_changes(name: str) -> None:
    model = Residual(WIDTH, skip=True)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    inputs = examples()[0].float()
    outputs = model(inputs)
    found = parametrize(model, TABLE[name], base=Residual(WIDTH, skip=True), branches=["hidden.*"])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(model(inputs), outputs)
    assert {row.scales[3:] for row in found.rows} == {(1.0, 1.0, 1.0)}
    assert found.factors == ()
    for optimizer in ("sgd", "adam", "adamw"):
        (group,) = found.optimizer(optimizer, 0.1).param_groups
        assert (group["lr"], group.get("eps", 1e-8)) == (0.1, 1e-8)


@pytest.mark.parametrize("name", ["ntp", "mup", "sp"])
@pytest.mark.parametrize("width", [1, 4, 64])
def test_sizes_of_weights_are_the_bases_times_the_tables_root_variance(name: str, width: int) -> None:
    base, model = mlp(16), mlp(width)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(7)  # whatever the network's own initialisation is
    found = parametrize(model, TABLE[name], base=base)
    ratio = width / 16
    hidden, readout = (ratio**-0.5, ratio ** (-1 if name == "mup" else -0.5))
    expected = (1, 1, hidden, 1, readout)  # the readout's bias has the base's shape and is left alone
    for key, factor in zip([row.name for row in found.rows], expected, strict=False):
        size, at_base = (
            float(one.get_parameter(key).detach().square().mean().sqrt()) for one in (model, base)
        )
        assert size == pytest.approx(at_base * factor, rel=1e-5)


def test_zeros_stay_zeros_and_gains_stay_ones() -> None:
    def made(width: int) -> nn.Module:
        model = nn.Sequential(nn.Linear(INPUTS, width), nn.LayerNorm(width), nn.Linear(width, OUTPUTS))
        nn.init.zeros_(model.get_parameter("2.weight"))
        return model

    model = made(64)
    found = parametrize(model, TABLE["mup"], base=made(16))
    assert not model.get_parameter("2.weight").any()
    assert torch.equal(model.get_parameter("1.weight"), torch.ones(64))
    assert [row.start for row in found.rows][2:5] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_hidden_changes_do_not_depend_on_the_width_under_mup(
    optimizer: str, record_property: Callable[[str, object], None]
) -> None:
    widths, rate = (64, 128, 256, 512), {"sgd": 0.05, "adam": 0.002}[optimizer]
    slopes = {}
    inputs, targets = (part.float() for part in examples(4))
    for name in ("mup", "sp"):
        changes = np.zeros((len(widths), 6))
        for (index, width), seed in ((one, seed) for one in enumerate(widths) for seed in range(6)):
            torch.manual_seed(seed)
            found = parametrize(mlp(width), TABLE[name], base=mlp(64))
            model = found.model.get_submodule("2")
            seen: list[torch.Tensor] = []
            model.register_forward_hook(lambda _m, _i, output, seen=seen: seen.append(output.detach()))
            made = found.optimizer(optimizer, rate)
            for _ in range(4):
                made.zero_grad()
                (found.model(inputs) - targets).square().mean().backward()
                made.step()
            changes[index, seed] = float((seen[-1] - seen[0]).abs().mean())
        slopes[name] = float(np.polyfit(np.log(widths), np.log(changes.mean(1)), 1)[0])
    record_property("measured", f"exponent of hidden changes, {optimizer}: {slopes}")
    assert abs(slopes["mup"]) < 0.1
    assert abs(slopes["sp"]) > 0.12


def test_frozen_parameters_are_not_the_optimizers() -> None:
    model = mlp(32)
    found = parametrize(model, TABLE["mup"], base=mlp(16))
    model[0].requires_grad_(requires_grad=False)
    held = [id(value) for group in found.optimizer("sgd", 0.1).param_groups for value in group["params"]]
    assert sorted(held) == sorted(id(value) for value in model.parameters() if value.requires_grad)
    assert len(found.rows) == 6
    assert len(found.metric(found.optimizer("sgd", 0.1), 0.1).roots) == 4
    model.requires_grad_(requires_grad=False)
    with pytest.raises(InputError, match="model is frozen"):
        found.optimizer("adam", 0.1)


def test_a_step_of_weight_decay_takes_the_same_part_of_every_weight() -> None:
    model = mlp(64)
    found = parametrize(model, TABLE["mup"], base=mlp(16))
    before = [value.detach().clone() for value in model.parameters()]
    for value in model.parameters():
        value.grad = torch.zeros_like(value)
    found.optimizer("adamw", 0.1, weight_decay=0.5).step()
    for old, value in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(value.detach(), old * 0.95)


@pytest.mark.parametrize("name", TABLE)
def test_a_network_of_this_package_keeps_its_own_rows(name: str) -> None:
    net = dense_net(name, WIDTH, skip=True)
    found = parametrize(net, TABLE[name])
    assert {row.name: row.scales for row in found.rows} == parameter_scales(net)
    theirs = trajectory(copy.deepcopy(net), own_step(net, Optimizer("sgd"), 0.1))[:1]
    mine = trajectory(net, torch_step(found.optimizer("sgd", 0.1)))
    torch.testing.assert_close(mine[:1], theirs)
    other = trajectory(again := dense_net(name, WIDTH, skip=True), own_step(again, Optimizer("sgd"), 0.1))
    torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
    for wrong in {"ntp", "mup", "sp"} - {name} - ({"mup"} if name in {"depth-mup", "1/l"} else set()):
        with pytest.raises(InputError, match="scaled otherwise"):
            parametrize(net, TABLE[wrong])
    with pytest.raises(InputError, match="nothing further"):
        parametrize(net, TABLE[name], kinds={"first": "input"})


def test_the_pages_examples_print_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "parametrize.md").read_text()
    code = "".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    exec(compile(code, "parametrize.md", "exec"), {})
    printed = "".join(re.findall(r"prints\n\n```\n(.*?)```", page, flags=re.DOTALL))
    for mine, said in zip(capsys.readouterr().out.split(), printed.split(), strict=True):
        if re.fullmatch(r"[\d.]+", said):
            assert float(mine) == pytest.approx(float(said), rel=0.02)
        else:
            assert mine == said


def test_the_example_network_has_an_optimizer_with_the_rates_of_its_width() -> None:
    model, optimizer = load_factory(f"{DOCS / 'examples/own_network.py'}:residual_mlp")()
    outputs = model(torch.randn(4, 3, 32, 32))
    assert outputs.shape == (4, 10)
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([0.00075, 0.003, 0.012])


@pytest.mark.parametrize(
    ("name", "value"), [("weight_decay", "0.1"), ("weight_decay", -1.0), ("eps", None), ("eps", math.nan)]
)
def test_settings_of_an_optimizer_that_are_no_numbers_are_refused(name: str, value: Any) -> None:
    found = parametrize(mlp(32), TABLE["mup"], base=mlp(16))
    with pytest.raises(InputError, match=f"{name} is .*; accepted: a number of at least 0"):
        found.optimizer("adamw", 0.1, **{name: value})


def test_a_row_may_be_given_by_its_name() -> None:
    rows = [parametrize(mlp(32), table, base=mlp(16)).rows for table in ("mup", TABLE["mup"])]
    assert [row.scales for row in rows[0]] == [row.scales for row in rows[1]]
    with pytest.raises(InputError, match="parametrization is up; accepted: "):
        parametrize(mlp(32), "up", base=mlp(16))


@pytest.mark.parametrize(("model", "base"), [(3, None), (mlp(4), 8), (None, mlp(4))])
def test_what_is_no_network_is_refused(model: Any, base: Any) -> None:
    with pytest.raises(InputError, match=r"accepted: a torch\.nn\.Module"):
        parametrize(model, TABLE["mup"], base=base)


@pytest.mark.parametrize(
    "norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm]
)
def test_weights_that_torch_computes_are_refused(norm: Callable[[nn.Module], nn.Module]) -> None:
    def made(width: int) -> nn.Module:
        return nn.Sequential(norm(nn.Linear(8, width)), nn.ReLU(), nn.Linear(width, 1))

    with pytest.raises(InputError, match="with a Linear whose weights torch computes"):
        parametrize(made(32), TABLE["mup"], base=made(8))
