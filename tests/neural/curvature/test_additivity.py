"""Parts of a batch make up the whole, or are refused with how far they are from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Batch, Hessian, Objective, measure
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ["loss", "gradient_norm", "sharpness", "hessian_trace", "output_residual", "critical_sharpness"]
WEIGHT = torch.tensor([1.0, 9.0, 0.0], dtype=torch.float64)


def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def batch(labels: list[int]) -> Batch:
    inputs = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Batch(inputs, torch.tensor(labels))


def agree(objective: Objective, examples: Batch, at_once: int) -> None:
    whole = measure(objective, examples, NAMES, tolerance=1e-9)
    parts = measure(objective, examples, NAMES, tolerance=1e-9, examples_at_once=at_once)
    for name in NAMES:
        error = whole[name].error + parts[name].error
        assert abs(parts[name].value - whole[name].value) <= error + 1e-11 * abs(whole[name].value), name


LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "class weights": nn.CrossEntropyLoss(weight=WEIGHT),
    "smoothing": nn.CrossEntropyLoss(label_smoothing=0.2),
    "a sum": nn.CrossEntropyLoss(reduction="sum"),
    "a mean of one's own": lambda outputs, labels: 2 * functional.cross_entropy(outputs, labels),
    "a sum of one's own": lambda outputs, labels: functional.cross_entropy(outputs, labels, reduction="sum"),
}


@given(
    name=st.sampled_from(list(LOSSES)),
    labels=st.lists(st.sampled_from([0, 1, 2, -100]), min_size=2, max_size=7),
    at_once=st.integers(1, 6),
)
@settings(max_examples=15, deadline=None)
def test_losses_of_labels_add_up_whatever_they_divide_by(name: str, labels: list[int], at_once: int) -> None:
    counted = [label for label in labels if label >= 0 and (name != "class weights" or label < 2)]
    if counted:
        agree(Objective(model(), LOSSES[name]), batch(labels), at_once)


def test_a_penalty_in_the_loss_counts_once() -> None:
    network = model()
    weight = network.get_parameter("0.weight")

    def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs, labels) + 0.1 * weight.square().sum()

    names = [name for name in NAMES if name != "output_residual"]
    objective, examples = Objective(network, loss), batch([0, 1, 2, 1, 0])
    whole = measure(objective, examples, names, tolerance=1e-9)
    parts = measure(objective, examples, names, tolerance=1e-9, examples_at_once=2)
    for name in names:
        assert parts[name].value == pytest.approx(whole[name].value, rel=1e-8)


def contrastive(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs @ outputs.T, torch.arange(len(outputs)))


def squared_mean(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return outputs.mean().square()


def weighted(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, labels, weight=WEIGHT)


NOT_ADDITIVE: dict[str, Callable[..., torch.Tensor]] = {
    "contrastive": contrastive,
    "a function of a mean": squared_mean,
    "class weights in a function": weighted,
    "smoothing of a class without weight": nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.2),
}


@pytest.mark.parametrize("name", NOT_ADDITIVE)
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_losses_that_do_not_add_up_are_refused_with_the_difference(name: str, at_once: int) -> None:
    objective = Objective(model(), NOT_ADDITIVE[name])
    examples = batch([2, 2, 2, 2, 0, 1, 0, 1])
    for door in (
        lambda: measure(objective, examples, ["loss"], examples_at_once=at_once),
        lambda: Hessian(objective, examples, examples_at_once=at_once),
        lambda: objective.loss(examples, at_once),
    ):
        with pytest.raises(
            InputError, match=r"do not add up to the whole for .*of two parts together"
        ) as found:
            door()
        assert "leave the batch whole" in str(found.value)
    measure(objective, examples, ["loss", "sharpness"])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Dropout(0.5), r"call eval\(\) on the model, for 1 \(Dropout\)"),
        (nn.BatchNorm1d(5), "while 1 normalises by its batch"),
        (nn.BatchNorm1d(5, track_running_stats=False).eval(), "while 1 normalises by its batch"),
    ],
)
def test_models_that_mix_examples_are_refused_by_name(layer: Any, words: str) -> None:
    network = nn.Sequential(nn.Linear(4, 5), layer, nn.Linear(5, 3)).double()
    with pytest.raises(InputError, match=words):
        measure(Objective(network), batch([0, 1, 2, 1, 0, 2]), ["sharpness"], examples_at_once=2)


def test_functional_dropout_is_refused_too() -> None:
    network = model()
    network.register_forward_hook(lambda _module, _inputs, outputs: functional.dropout(outputs, 0.5))
    with pytest.raises(InputError, match="do not add up"):
        measure(Objective(network), batch([0, 1, 2, 1]), ["loss"], examples_at_once=2)


def test_what_adds_up_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, examples = Objective(model()), batch([0, 1, 2, 1])
    measure(objective, examples, ["sharpness"], examples_at_once=2)
    monkeypatch.setattr(Objective, "value_and_gradient", None)
    measure(objective, examples, ["sharpness"], examples_at_once=2)
