"""Ordinary user code is measured as the user wrote it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Batch, Hessian, Meter, Objective, measure
from torch import nn
from torch.nn import functional

from .user_code import (
    DOUBLE,
    NAMES,
    assert_measured,
    assert_right_or_refused,
    measured,
    mlp,
    outcome,
    slope_and_matrix,
    vectors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class LeNet(nn.Module):
    """Flattens with `view`, which needs the images' own memory layout."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3)
        self.f = nn.Linear(100, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = functional.max_pool2d(functional.relu(self.c(x)), 2)
        out: torch.Tensor = self.f(h.view(h.size(0), -1))
        return out


class FlatImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(432, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.f(x.view(-1, 432))
        return out


def images() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(6, 3, 12, 12), torch.randint(0, 2, (6,))


@pytest.mark.parametrize(("build", "loss"), [(LeNet, 0.5500094890594482), (FlatImages, 0.722344696521759)])
def test_images_reach_the_model_in_the_layout_they_have(build: type[nn.Module], loss: float) -> None:
    inputs, targets = images()
    if build is FlatImages:
        LeNet()  # the expected loss is that of the second model after the seed
    model = build()
    found = measured(model, "cross-entropy", inputs, targets)
    assert found["loss"].value == pytest.approx(loss, rel=1e-6)
    twin = model.double()
    own = functional.cross_entropy(twin(inputs.double()), targets)
    sharpness = torch.linalg.eigvalsh(slope_and_matrix(own, twin.parameters())[1])[-1]
    assert found["sharpness"].value == pytest.approx(float(sharpness), rel=1e-4)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_forward_differentiation_goes_through_group_norm_of_images() -> None:
    inputs, targets = images()
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(400, 2)).double()
    objective = Objective(model)
    vector = torch.ones(objective.size, dtype=DOUBLE)
    loss = functional.cross_entropy(model(inputs.double()), targets)
    pieces = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    total = torch.stack([piece.sum() for piece in pieces]).sum()
    expected = torch.cat([piece.flatten() for piece in torch.autograd.grad(total, list(model.parameters()))])
    product = Hessian(objective, Batch(inputs.double(), targets), differentiation="forward")(vector)
    torch.testing.assert_close(product, expected, rtol=1e-10, atol=1e-12)


@pytest.fixture
def doubles() -> Iterator[None]:
    """Float64 by default."""
    torch.set_default_dtype(DOUBLE)
    yield
    torch.set_default_dtype(torch.float32)


class Listed(nn.Module):
    """Uses its first layer through a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.o = nn.Linear(4, 2)
        self.pair = [self.a.weight, self.a.bias]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.o(torch.tanh(functional.linear(x, *self.pair)))
        return out


@pytest.mark.usefixtures("doubles")
def test_weights_reached_by_closure_or_list_are_measured() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 3), torch.randint(0, 2, (8,))
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def regularised(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        squares = torch.stack([value.square().sum() for value in model.parameters()])
        return functional.cross_entropy(outputs, targets) + 0.5 * squares.sum()

    closed = measured(model, regularised, x, y)
    assert closed["gradient_norm"].value == pytest.approx(1.7911250687566764, rel=1e-12)
    assert closed["sharpness"].value == pytest.approx(1.722566405385967, rel=1e-6)
    listed = Listed()
    assert_measured(
        measured(listed, functional.cross_entropy, x, y),
        functional.cross_entropy(listed(x), y),
        listed.parameters(),
    )
    found = measured(listed, "cross-entropy", x, y)
    assert found["gradient_norm"].value == pytest.approx(0.5895739258474202, rel=1e-12)
    assert found["sharpness"].value == pytest.approx(0.9763682393031916, rel=1e-6)


@pytest.mark.parametrize("decay", [0.7, {"0.weight": 0.3, "2.bias": 2.0}])
def test_weight_decay_is_part_of_the_objective(decay: Any) -> None:
    model, (x, y) = mlp(), vectors()
    own = functional.cross_entropy(model(x), y)
    for name, value in model.named_parameters():
        share = decay if isinstance(decay, float) else decay.get(name, 0.0)
        own = own + 0.5 * share * value.square().sum()
    for parts in (None, 3):
        found = measure(
            Objective(model, weight_decay=decay), Batch(x, y), NAMES, tolerance=1e-6, examples_at_once=parts
        )
        assert_measured(found, own, model.parameters())


def test_a_list_that_holds_the_former_weights_is_not_silently_dropped() -> None:
    torch.manual_seed(0)
    model, (x, y) = Listed().double(), vectors()
    model.pair = [model.a.weight, model.a.bias]
    objective = Objective(model)
    model.load_state_dict({name: 2 * value for name, value in model.state_dict().items()}, assign=True)
    loss = functional.cross_entropy(model(x), y)
    found = outcome(lambda: measure(objective, Batch(x, y), NAMES, tolerance=1e-6))
    assert_right_or_refused(found, loss, [*model.pair, *model.o.parameters()])


def _tokens() -> tuple[nn.Module, Any, Any, torch.Tensor]:
    inputs, labels = torch.randint(1, 7, (8, 6)), torch.randint(0, 7, (8, 6))
    for row, length in enumerate((6, 1, 2, 6, 1, 3, 1, 2)):
        labels[row, length:] = -100
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7)), "cross-entropy", inputs, labels


def _padded() -> tuple[nn.Module, Any, Any, torch.Tensor]:
    model, _, inputs, labels = _tokens()
    return model, lambda o, t: functional.cross_entropy(o.flatten(0, 1), t.flatten()), inputs, labels


def _own_mean(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, targets)


def _network(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 6), *layers, nn.Linear(6, 2))


def _contrastive(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs @ outputs.T, torch.arange(len(outputs)))


def _rows() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(8, 3), torch.randint(0, 2, (8,))


PARTS: dict[str, tuple[Callable[[], Any], bool]] = {
    "ignored labels": (_tokens, True),
    "class weights": (
        lambda: (
            _network(nn.Tanh()),
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 9.0])),
            *_rows(),
        ),
        True,
    ),
    "sum": (lambda: (_network(nn.Tanh()), nn.CrossEntropyLoss(reduction="sum"), *_rows()), True),
    "smoothed": (
        lambda: (_network(nn.Tanh()), nn.CrossEntropyLoss(label_smoothing=0.1), *_rows()),
        True,
    ),
    "own mean": (
        lambda: (_network(nn.Tanh()), _own_mean, *_rows()),
        True,
    ),
    "batch statistics": (
        lambda: (
            _network(nn.BatchNorm1d(6, track_running_stats=False)).eval(),
            "cross-entropy",
            *_rows(),
        ),
        False,
    ),
    "dropout": (lambda: (_network(nn.ReLU(), nn.Dropout(0.5)), "cross-entropy", *_rows()), False),
    "contrastive": (lambda: (nn.Linear(3, 4), _contrastive, *_rows()), False),
    "ignored labels, own": (_padded, False),
}
"""Models with batches, and whether a batch in parts has to be measured rather than refused."""


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("parts", [1, 3, 4])
@pytest.mark.parametrize("case", PARTS)
def test_parts_give_the_numbers_of_the_whole_batch_or_are_refused(case: str, parts: int) -> None:
    build, has_to = PARTS[case]
    torch.manual_seed(0)
    model, criterion, x, y = build()
    objective, batch = Objective(model, criterion), Batch(x, y)
    whole = measure(objective, batch, NAMES, tolerance=1e-6)
    split = outcome(partial(measure, objective, batch, NAMES, tolerance=1e-6, examples_at_once=parts))
    if isinstance(split, str):
        assert not has_to, split
        assert "\n" not in split
        return
    for name in NAMES:
        bound = whole[name].error + split[name].error + 1e-10 * abs(whole[name].value)
        assert abs(split[name].value - whole[name].value) <= bound, name


@pytest.mark.usefixtures("doubles")
def test_padded_tokens_weigh_as_torch_weighs_them_in_parts() -> None:
    torch.manual_seed(0)
    tokens, labels = torch.randint(1, 7, (8, 6)), torch.randint(0, 7, (8, 6))
    for row, length in enumerate((6, 1, 2, 6, 1, 3, 1, 2)):
        labels[row, length:] = -100
    labels[3] = -100  # parts of one example without any label
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7))
    own = functional.cross_entropy(model(tokens).flatten(0, 1), labels.flatten())
    found = measure(
        Objective(model), Batch(tokens, labels), NAMES, tolerance=1e-6, examples_at_once=1, trace_products=128
    )
    assert_measured(found, own, model.parameters())


@pytest.mark.parametrize("loss", ["squared", "mse"])
@pytest.mark.parametrize("whole_numbers", [False, True])
def test_targets_without_the_outputs_dimension_are_not_broadcast(loss: str, whole_numbers: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = torch.randn(8, 3, dtype=DOUBLE)
    y = torch.randint(3, (8, 1)) if whole_numbers else torch.randn(8, 1, dtype=DOUBLE)
    own = (model(x) - y).square().mean() * (0.5 if loss == "squared" else 1.0)
    assert_measured(measured(model, loss, x, y.double()), own, model.parameters())
    for targets in (y[:, 0], *([y] if whole_numbers else [])):
        found = outcome(partial(measured, model, loss, x, targets))
        assert_right_or_refused(found, own, model.parameters())
    with pytest.raises(InputError) as refused:
        measured(model, nn.MSELoss(), x, y[:, 0].double())
    assert "(8, 1)" in str(refused.value)
    assert "(8,)" in str(refused.value)


@pytest.mark.parametrize("loss", ["squared", "mse"])
def test_outputs_of_one_number_an_example_are_measured(loss: str) -> None:
    model, (x, _) = (
        nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double(),
        vectors(),
    )
    y = x.sum(1)
    own = (model(x) - y).square().mean() * (0.5 if loss == "squared" else 1.0)
    assert_measured(measured(model, loss, x, y), own, model.parameters())


def test_what_became_of_the_parameters_after_the_objective_was_made_is_seen() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(16, 8, dtype=DOUBLE), torch.randint(0, 3, (16,))

    def build() -> nn.Sequential:
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)).double()

    model = build()
    objective = Objective(model)
    meter = Meter(NAMES, tolerance=1e-6, trace_products=512)
    meter(objective, Batch(x, y))

    def check() -> None:
        trained = [value for value in model.parameters() if value.requires_grad]
        assert objective.size == sum(value.numel() for value in trained)
        own = functional.cross_entropy(model(x), y)
        assert_measured(meter(objective, Batch(x, y)), own, trained)

    model.load_state_dict(build().state_dict(), assign=True)
    check()
    model[0].requires_grad_(requires_grad=False)
    check()
    model[0].requires_grad_()
    model[2] = nn.Linear(16, 3, dtype=DOUBLE)
    check()


def test_a_second_derivative_that_is_not_finite_is_not_called_divergence() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.o = nn.Linear(3, 4), nn.Linear(4, 2)
            nn.init.zeros_(self.a.weight)
            nn.init.zeros_(self.a.bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.a(x)
            out: torch.Tensor = self.o(h) + h.norm(dim=1, keepdim=True)
            return out

    torch.manual_seed(0)
    net = Net()
    found = measure(
        Objective(net),
        Batch(torch.randn(8, 3), torch.randint(0, 2, (8,))),
        ["loss", "gradient_norm", "sharpness", "hessian_trace"],
    )
    assert found["loss"].value == pytest.approx(0.7287479639053345, rel=1e-6)
    assert found["gradient_norm"].value == pytest.approx(0.46816593408584595, rel=1e-6)
    assert found["sharpness"].kind == "undefined"
    assert "diverged" not in found["sharpness"].note
    assert "second derivative" in found["sharpness"].note


@pytest.mark.parametrize(("dtype", "rounding"), [(DOUBLE, 1e-14), (torch.float32, 1e-5)])
def test_a_smallest_eigenvalue_of_zero_is_certified(dtype: torch.dtype, rounding: float) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(8, 3, dtype=dtype), torch.randint(0, 2, (8,))
    model = nn.Linear(3, 2).to(dtype)
    found = measure(Objective(model), Batch(x, y), ["sharpness", "smallest_eigenvalue"])
    smallest = found["smallest_eigenvalue"]
    assert smallest.kind == "certified", smallest
    assert abs(smallest.value) <= smallest.error + rounding
    assert smallest.error <= 1e-3 * found["sharpness"].value
