"""Factors of the forward pass, of residual branches and of attention, against modules written by hand."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural import Batch, Hessian, Objective, SpectrumTracker
from superconsistency.neural.parametrize import parametrize
from superconsistency.theory import TABLE
from torch import nn
from torch.func import functional_call, jacrev
from torch.nn import functional

if TYPE_CHECKING:
    from superconsistency.neural.parametrize import Parametrized

INPUTS, TIME, HEADS, BASE, WIDTH, STEPS = 5, 4, 2, 8, 32, 12
HEAD_GROWTH = WIDTH / BASE


class Stream(nn.Module):
    """Layers that are residual branches."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.first, self.readout = nn.Linear(INPUTS, 8), nn.Linear(8, 3)
        self.hidden = nn.ModuleList(nn.Linear(8, 8) for _ in range(depth))

    def forward(self, inputs: torch.Tensor) -> Any:
        hidden = self.first(inputs)
        for layer in self.hidden:
            hidden = hidden + layer(torch.tanh(hidden))
        return self.readout(torch.tanh(hidden))


class ByHand(nn.Module):
    """Attention with layers of their own, its logits times `factor / sqrt(d)`."""

    def __init__(self, width: int, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(hidden).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scale = self.factor * query.shape[-1] ** -0.5
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=scale)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return out


class Packed(nn.MultiheadAttention):
    """PyTorch's, called as the other."""

    def __init__(self, width: int, **settings: Any) -> None:
        super().__init__(width, HEADS, batch_first=True, **settings)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        out, _ = super().forward(hidden, hidden, hidden, need_weights=False)
        return out


class Reader(nn.Module):
    """A layer, attention, a readout."""

    def __init__(self, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, width)
        self.attention = attention
        self.readout = nn.Linear(width, 1)

    def forward(self, inputs: torch.Tensor) -> Any:
        return self.readout(self.attention(self.first(inputs))).mean(1)


class TestBranches:
    """Residual branches, whose factor is the only thing added to the forward pass of plain layers."""

    @pytest.fixture
    def found(self) -> Parametrized:
        torch.manual_seed(0)
        return parametrize(Stream(4), TABLE["1/l"], base=Stream(2), branches=["hidden.*"])

    def test_their_outputs_are_multiplied_until_the_factor_is_removed(self, found: Parametrized) -> None:
        model, inputs = found.model, torch.randn(16, INPUTS)
        assert isinstance(model, Stream)
        assert found.sizes == {"width": 1.0, "depth": 2.0}
        hidden = model.first(inputs)
        plain = hidden
        for index in range(4):
            weight, bias = (model.get_parameter(f"hidden.{index}.{name}") for name in ("weight", "bias"))
            hidden = hidden + 0.5 * functional.linear(torch.tanh(hidden), weight, bias)
            plain = plain + functional.linear(torch.tanh(plain), weight, bias)
        torch.testing.assert_close(model(inputs), model.readout(torch.tanh(hidden)))
        found.remove()
        found.remove()
        torch.testing.assert_close(model(inputs), model.readout(torch.tanh(plain)))

    def test_functional_calls_copies_and_pickles_have_it_too(self, found: Parametrized) -> None:
        inputs = torch.randn(16, INPUTS)
        outputs = found.model(inputs)
        again = functional_call(found.model, dict(found.model.named_parameters()), (inputs,))
        copies = copy.deepcopy(found.model), pickle.loads(pickle.dumps(found.model))
        assert all(torch.equal(outputs, other) for other in (again, *(one(inputs) for one in copies)))

    def test_the_curvature_is_that_of_the_function_with_it(self, found: Parametrized) -> None:
        inputs, targets = torch.randn(4, INPUTS), torch.randn(4, 3)
        objective = Objective(found.model, "mse")
        names = list(objective.parameters)

        sizes = [value.numel() for value in objective.parameters.values()]
        shapes = [value.shape for value in objective.parameters.values()]

        def loss(flat: torch.Tensor) -> torch.Tensor:
            values = (part.view(shape) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True))
            outputs = functional_call(found.model, dict(zip(names, values, strict=True)), (inputs,))
            return functional.mse_loss(outputs, targets)

        flat = torch.cat([value.detach().flatten() for value in objective.parameters.values()])
        dense = jacrev(jacrev(loss))(flat)
        largest = float(torch.linalg.eigvalsh(dense)[-1])
        measured = SpectrumTracker(tolerance=1e-4)(Hessian(objective, Batch(inputs, targets)))
        assert measured.value == pytest.approx(largest, rel=1e-3)

    def test_learning_rates_inside_have_the_branches_factors(self, found: Parametrized) -> None:
        rates = {row.name: (row.scales.in_branch, row.scales.sgd) for row in found.rows}
        assert rates["hidden.3.weight"] == (True, 2.0)
        assert rates["first.weight"] == rates["readout.bias"] == (False, 1.0)

    def test_a_tuples_first_tensor_is_the_branch(self) -> None:
        model, base = (nn.ModuleList([nn.MultiheadAttention(8, 2)]) for _ in range(2))
        found = parametrize(model, TABLE["depth-mup"], base=base, branches=["0"], depth=(4, 1))
        inputs = torch.randn(3, 1, 8)
        (mixed, weights) = model[0](inputs, inputs, inputs)
        found.remove()
        (before, same) = model[0](inputs, inputs, inputs)
        torch.testing.assert_close(mixed, before / 2)
        assert torch.equal(weights, same)

    def test_anything_else_is_refused_when_it_is_returned(self) -> None:
        model, base = (nn.ModuleList([nn.LSTM(4, 4)]) for _ in range(2))
        model[0].forward = lambda _inputs: {"branch": 0}
        parametrize(model, TABLE["depth-mup"], base=base, branches=["0"], depth=(4, 1))
        with pytest.raises(InputError, match="output of the residual branch LSTM is dict"):
            model[0](torch.zeros(1, 4))


def trajectory(model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    inputs = 3 * torch.randn(8, TIME, INPUTS, generator=generator, dtype=torch.float64)
    targets = torch.randn(8, 1, generator=generator, dtype=torch.float64)
    seen = []
    for _ in range(STEPS):
        outputs = model(inputs)
        seen.append(outputs.detach())
        optimizer.zero_grad()
        (outputs - targets).square().mean().backward()
        optimizer.step()
    return torch.stack(seen)


@torch.no_grad()
def hand_written(model: Reader, pieces: dict[str, torch.Tensor]) -> Reader:
    """The same function by hand, with the factor in the logits, from query, key, value weights and biases."""
    other = Reader(WIDTH, ByHand(WIDTH, HEAD_GROWTH**-0.5)).double()
    for key, value in other.named_parameters():
        value.copy_(pieces[key] if key in pieces else model.get_parameter(key))
    return other


def parts(name: str, weight: torch.Tensor, bias: torch.Tensor) -> dict[str, torch.Tensor]:
    return {f"attention.{name}.weight": weight, f"attention.{name}.bias": bias}


def groups(other: nn.Module, rates: dict[str, tuple[float, float]], optimizer: str) -> torch.optim.Optimizer:
    """An optimizer with (rate, epsilon) for each parameter."""
    if optimizer == "sgd":
        return torch.optim.SGD(
            [{"params": [value], "lr": rates[key][0]} for key, value in other.named_parameters()],
            momentum=0.5,
        )
    return torch.optim.Adam(
        [
            {"params": [value], "lr": rates[key][0], "eps": rates[key][1]}
            for key, value in other.named_parameters()
        ]
    )


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.1), ("adam", 0.01)])
def test_packed_queries_train_as_with_the_factor_in_the_logits(optimizer: str, rate: float) -> None:
    torch.manual_seed(0)
    model, base = (Reader(width, Packed(width)).double() for width in (WIDTH, BASE))
    with torch.no_grad():
        for one in (model, base):
            one.get_parameter("attention.in_proj_bias").normal_()
    found = parametrize(model, TABLE["mup"], base=base)
    rows = {row.name: row.scales for row in found.rows}
    packed = {
        name: (model.get_parameter(f"attention.parametrizations.in_proj_{name}.original"),
               rows[f"attention.parametrizations.in_proj_{name}.original"])
        for name in ("weight", "bias")
    }  # fmt: skip
    pieces: dict[str, torch.Tensor] = parts(
        "out",
        model.get_parameter("attention.out_proj.weight"),
        model.get_parameter("attention.out_proj.bias"),
    )
    for name, weight, bias in zip(
        ("query", "key", "value"), packed["weight"][0].chunk(3), packed["bias"][0].chunk(3), strict=True
    ):
        pieces |= parts(name, weight, bias)
    other = hand_written(model, pieces)
    rates = {}
    for key, _ in other.named_parameters():
        if key in rows:
            scales = rows[key]
        elif "out" in key:
            scales = rows[key.replace("out", "out_proj")]
        else:
            scales = packed[key.rpartition(".")[2]][1]
        rates[key] = (rate * scales.rate(optimizer), 1e-3 * scales.epsilon)
    settings: dict[str, Any] = {"momentum": 0.5} if optimizer == "sgd" else {"eps": 1e-3}
    expected = trajectory(other, groups(other, rates, optimizer))
    mine = trajectory(model, found.optimizer(optimizer, rate, **settings))
    torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)
    inputs = torch.randn(2, TIME, INPUTS, dtype=torch.float64)
    outputs = model(inputs)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(inputs), outputs.detach())  # its fast path
    found.remove()
    found.remove()
    torch.testing.assert_close(model(inputs), outputs)
    plain = Reader(WIDTH, Packed(WIDTH)).double()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(plain(inputs), outputs)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.1), ("adam", 0.01)])
def test_layers_that_give_queries_train_as_with_the_factor_in_the_logits(optimizer: str, rate: float) -> None:
    torch.manual_seed(0)
    model, base = (Reader(width, ByHand(width)).double() for width in (WIDTH, BASE))
    found = parametrize(model, TABLE["mup"], base=base, queries=["attention.query"])
    factor = HEAD_GROWTH**-0.5
    pieces = parts(
        "query", *(model.get_parameter(f"attention.query.{name}") / factor for name in ("weight", "bias"))
    )
    other = hand_written(model, pieces)
    rates = {}
    for row in found.rows:
        lower = factor if "query" in row.name else 1.0
        power = 2 if optimizer == "sgd" else 1
        rates[row.name] = (
            rate * row.scales.rate(optimizer) / lower**power,
            1e-3 * row.scales.epsilon * lower,
        )
    hidden, key = "attention.value", "attention.query"
    assert rates[f"{key}.weight"][0] == pytest.approx(rates[f"{hidden}.weight"][0])
    assert rates[f"{key}.bias"][0] == pytest.approx(rates[f"{hidden}.bias"][0])
    settings: dict[str, Any] = {"momentum": 0.5} if optimizer == "sgd" else {"eps": 1e-3}
    expected = trajectory(other, groups(other, rates, optimizer))
    mine = trajectory(model, found.optimizer(optimizer, rate, **settings))
    torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


def test_initial_queries_have_the_bases_size_times_the_factor() -> None:
    model, base = (Reader(width, ByHand(width)) for width in (WIDTH, BASE))
    parametrize(model, TABLE["mup"], base=base, queries=["attention.query"])
    for name, power in (("weight", -1.0), ("bias", -0.5)):
        mine, theirs = (
            float(one.get_parameter(f"attention.query.{name}").detach().square().mean().sqrt())
            for one in (model, base)
        )
        assert mine == pytest.approx(theirs * HEAD_GROWTH**power, rel=1e-5)


@pytest.mark.parametrize("name", ["ntp", "sp"])
def test_nothing_is_done_to_queries_where_the_table_has_the_usual_factor(name: str) -> None:
    model = Reader(WIDTH, Packed(WIDTH))
    found = parametrize(model, TABLE[name], base=Reader(BASE, Packed(BASE)))
    assert found.factors == ()
    assert isinstance(model.get_parameter("attention.in_proj_weight"), nn.Parameter)


def test_heads_of_the_bases_size_need_no_factor() -> None:
    def attention(width: int) -> nn.Module:
        return nn.ModuleList([nn.MultiheadAttention(width, width // 4)])

    assert parametrize(attention(32), TABLE["mup"], base=attention(8)).factors == ()


def test_keys_and_values_of_other_sizes_have_weights_that_are_found() -> None:
    def attention(width: int) -> nn.ModuleList:
        return nn.ModuleList([nn.MultiheadAttention(width, 2, kdim=3, vdim=width // 2)])

    model = attention(32)
    found = parametrize(model, TABLE["mup"], base=attention(8))
    kinds = {row.name.replace(".original", "").rpartition(".")[2]: row.scales.kind for row in found.rows}
    assert kinds["q_proj_weight"] == "attention"
    assert (kinds["k_proj_weight"], kinds["v_proj_weight"]) == ("input", "hidden")
    assert len(found.factors) == 2
    query, rows = torch.randn(3, 1, 32), model[0]
    before = rows(query, torch.ones(3, 1, 3), torch.ones(3, 1, 16))[0]
    found.remove()
    torch.testing.assert_close(rows(query, torch.ones(3, 1, 3), torch.ones(3, 1, 16))[0], before)


def test_the_curvature_of_a_transformer_with_all_factors_is_that_of_its_function() -> None:
    def encoder(width: int, depth: int) -> nn.Module:
        layer = nn.TransformerEncoderLayer(width, HEADS, 2 * width, dropout=0.0, batch_first=True)
        first, last = nn.Linear(INPUTS, width), nn.Linear(width, 1)
        return nn.Sequential(first, nn.TransformerEncoder(layer, depth), last)

    model = encoder(8, 4)
    found = parametrize(
        model,
        TABLE["depth-mup"],
        base=encoder(4, 1),
        branches=["1.layers.*.dropout1", "1.layers.*.dropout2"],
        inside=["1.layers.*"],
        kinds={"1.layers.*.norm1": "stream", "1.layers.*.norm2": "stream"},
    )
    assert found.sizes == {"width": 2.0, "depth": 4.0}
    rates = {row.name: row.scales.adam for row in found.rows}
    assert rates["1.layers.3.norm1.weight"] == 0.25
    assert rates["1.layers.3.linear1.bias"] == 0.5
    batch = Batch(torch.randn(4, TIME, INPUTS), torch.randn(4, TIME, 1))
    with torch.no_grad():
        torch.testing.assert_close(model(batch.inputs), model.eval()(batch.inputs))  # its fast path
    model.train()
    made = found.optimizer("adam", 0.01)
    (model(batch.inputs) - batch.targets).square().mean().backward()
    made.step()
    objective, metric = Objective(model, "mse"), found.metric(made, 0.01)
    inside = SpectrumTracker(tolerance=1e-4)(Hessian(objective, batch, metric=metric)).value
    assert inside > 0
    assert [tuple(root.shape) for root in metric.roots if isinstance(root, torch.Tensor)] == [
        tuple(value.shape) for value in objective.parameters.values()
    ]


@pytest.mark.parametrize(
    ("queries", "words"), [("nowhere", "queries is nowhere"), ("attention", "queries is attention")]
)
def test_queries_that_are_no_layers_are_refused(queries: str, words: str) -> None:
    model, base = (Reader(width, ByHand(width)) for width in (WIDTH, BASE))
    with pytest.raises(InputError, match=words):
        parametrize(model, TABLE["mup"], base=base, queries=[queries])
    kinds = {"first": "input", "attention": "hidden", "readout": "readout"}
    with pytest.raises(InputError, match="of a model with a base"):
        parametrize(model, TABLE["mup"], kinds=kinds, queries=["attention.query"])
