"""Models, data, losses and optimizers by name: what is measured is what was meant, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import Hessian, measure
from superconsistency.neural.curvature.batch import tensors
from superconsistency.neural.loading import DataReading
from superconsistency.neural.user_model import Choices, UserModel, load_user_model
from superconsistency.records import to_json
from torch import nn

CODE = """
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adam, AdamW, RMSprop, Adagrad, LBFGS
from torch.optim.lr_scheduler import LambdaLR

torch.manual_seed(0)
x, y = torch.randn(12, 3), torch.arange(12) % 2

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)
    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))

class Masked(Small):
    def forward(self, x, mask=None):
        return super().forward(x) * (1 if mask is None else mask)

class Two(Small):
    def forward(self, x):
        return {"logits": super().forward(x), "other": super().forward(2 * x)}

class Owning(Small):
    def forward(self, x, targets=None):
        logits = super().forward(x)
        loss = None if targets is None else 3 * functional.cross_entropy(logits, targets)
        return {"logits": logits, "loss": loss}

class Labelled(Small):
    def forward(self, x, labels):
        logits = super().forward(x)
        return {"loss": 3 * functional.cross_entropy(logits, labels), "logits": logits}

class Language(nn.Module):
    def __init__(self, tokens, positions=64):
        super().__init__()
        self.word, self.place = nn.Embedding(tokens, 4), nn.Embedding(positions, 4)
        self.read = nn.Linear(4, tokens)
    def forward(self, input_ids, labels=None):
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        logits = self.read(torch.tanh(self.word(input_ids) + self.place(places)))
        return {"logits": logits, "loss": None if labels is None else functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())}

class LanguageForCausalLM(Language):
    pass

class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2, dtype=torch.complex64)
        self.register_buffer("phase", torch.ones(2, dtype=torch.complex64))
    def forward(self, x):
        return (self.layer(x.to(self.layer.weight.dtype)) * self.phase).abs()

def small(): return Small().double()
def masked(): return Masked().double()
def two(): return Two().double()
def owning(): return Owning().double()
def labelled(): return Labelled().double()
def bytewise(): return Language(256)
def few(): return Language(100)
def few_places(): return Language(256, 16)
def causal(): return LanguageForCausalLM(12)
def complex_valued(): return Complex()

def fitted_with(kind, **settings):
    model = Small().double()
    return model, kind(model.parameters(), lr=0.1, **settings)

def sgd(): return fitted_with(SGD, weight_decay=0.3)
def adam(): return fitted_with(Adam, weight_decay=0.3)
def adamw(): return fitted_with(AdamW, weight_decay=0.3)
def rmsprop(): return fitted_with(RMSprop, weight_decay=0.3)
def adagrad(): return fitted_with(Adagrad)
def lbfgs(): return fitted_with(LBFGS)
def groups():
    model = Small().double()
    return model, SGD([{"params": model.first.parameters(), "weight_decay": 0.3, "lr": 0.2},
                       {"params": model.second.weight, "lr": 0.1}], lr=0.1)
def warm(kind=SGD):
    model, optimizer = fitted_with(kind)
    LambdaLR(optimizer, lambda step: step / 10)
    return model, optimizer
def warm_adam(): return warm(Adam)
def negative():
    model, optimizer = fitted_with(SGD)
    optimizer.param_groups[0]["lr"] = -0.1
    return model, optimizer

held = Small().double()
def closed(): return held
def regularised(outputs, targets):
    return functional.cross_entropy(outputs, targets) + sum(p.square().sum() for p in held.parameters())

class Tripled(nn.Module):
    def forward(self, outputs, targets):
        return 3 * functional.cross_entropy(outputs, targets)
tripled = Tripled()
weighted = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
number = 3
class Broken(nn.Module):
    def __init__(self, needed): super().__init__()

def pair(): return x, y
by_name = {"x": x, "labels": y}
other_name = {"image": x, "label": y}
with_mask = {"x": x, "mask": torch.ones(12, 1), "label": y}
wrong_mask = {"x": x, "attention": torch.ones(12, 1), "label": y}
ids = torch.arange(60).reshape(6, 10) % 10
tokens = {"input_ids": ids, "labels": ids}
shifted = {"input_ids": ids, "labels": (ids + 1) % 10}
padded = {"input_ids": ids, "labels": ids.masked_fill(ids > 7, -100)}
negative_tokens = {"input_ids": ids - 3, "labels": y[:6]}
"""


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "book.txt").write_text(
        "the quick brown fox jumps over the lazy dog, and yet it rests for a day or two\n" * 12
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(factory: str, data: str = "pair", **choices: Any) -> UserModel:
    data = data if "." in data else f"code.py:{data}"
    return load_user_model(Choices(f"code.py:{factory}", data=data, **choices))


def loss_of(built: UserModel) -> float:
    return built.objective.loss(built.batch)


def by_hand(built: UserModel) -> float:
    """Cross-entropy of the model's logits, by PyTorch itself."""
    inputs = next(tensors(built.batch.inputs))
    outputs = built.objective.model(inputs)
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs
    targets = built.batch.targets
    return float(nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten()).detach())


@pytest.mark.parametrize(
    ("factory", "data", "structure"),
    [
        ("small", "pair", torch.Tensor),
        ("small", "by_name", dict),
        ("small", "other_name", torch.Tensor),
        ("masked", "with_mask", dict),
        ("two", "pair", torch.Tensor),
        ("owning", "by_name", dict),
        ("bytewise", "book.txt", torch.Tensor),
        ("causal", "shifted", dict),
    ],
)
def test_a_model_gets_its_inputs_in_its_own_form(factory: str, data: str, structure: type) -> None:
    built = load(factory, data)
    assert isinstance(built.batch.inputs, structure)
    assert loss_of(built) == pytest.approx(by_hand(built), rel=1e-6)
    assert built.stepping.words == "plain Hessian"


@pytest.mark.parametrize(
    ("factory", "data"), [("owning", "pair"), ("owning", "by_name"), ("labelled", "by_name")]
)
def test_the_models_own_loss_gets_the_targets(factory: str, data: str) -> None:
    built = load(factory, data, loss="model")
    inputs = next(tensors(built.batch.inputs))
    logits = built.objective.model(inputs, built.batch.targets)["logits"]
    expected = 3 * float(nn.functional.cross_entropy(logits, built.batch.targets).detach())
    assert loss_of(built) == pytest.approx(expected, rel=1e-12)


def test_a_language_models_own_loss_shifts_its_labels() -> None:
    for data in ("tokens", "padded"):
        built = load("causal", data, loss="model")
        model, batch = built.objective.model, built.batch
        logits = model(batch.inputs["input_ids"])["logits"]
        expected = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch.targets[:, 1:].flatten())
        assert loss_of(built) == pytest.approx(float(expected.detach()), rel=1e-6)


@pytest.mark.parametrize("key", ["other", "logits"])
def test_the_output_key_chooses_what_the_loss_is_of(key: str) -> None:
    built = load("two", output=key)
    outputs = built.objective.model(built.batch.inputs)[key]
    expected = nn.functional.cross_entropy(outputs, built.batch.targets)
    assert loss_of(built) == pytest.approx(float(expected.detach()), rel=1e-12)
    assert built.document()["output_key"] == key


@pytest.mark.parametrize("loss", ["torch.nn:CrossEntropyLoss", "torch.nn.functional:cross_entropy"])
def test_torchs_losses_are_named_by_class_or_function(loss: str) -> None:
    built = load("small", loss=loss)
    assert loss_of(built) == pytest.approx(by_hand(built), rel=1e-12)


def test_losses_of_ones_own_are_classes_objects_or_functions_of_the_same_file() -> None:
    for loss in ("Tripled", "tripled"):
        built = load("small", loss=f"code.py:{loss}")
        assert loss_of(built) == pytest.approx(3 * by_hand(built), rel=1e-12)
    built = load("small", loss="code.py:weighted", double=True)
    logits = built.objective.model(built.batch.inputs)
    weight = torch.tensor([1.0, 3.0], dtype=torch.float64)
    expected = nn.functional.cross_entropy(logits, built.batch.targets, weight)
    assert loss_of(built) == pytest.approx(float(expected.detach()), rel=1e-12)
    # The file is executed once, so that the loss means the weights of the model that is measured.
    built = load("closed", loss="code.py:regularised")
    norm = sum(float(value.detach().square().sum()) for value in built.objective.parameters.values())
    assert loss_of(built) == pytest.approx(by_hand(built) + norm, rel=1e-12)
    plain = Hessian(load("closed").objective, built.batch).matrix()
    shift = Hessian(built.objective, built.batch).matrix() - plain
    torch.testing.assert_close(shift, 2 * torch.eye(len(shift), dtype=torch.float64), rtol=0, atol=1e-12)


def decayed(built: UserModel, decay: dict[str, float]) -> float:
    half = sum(
        0.5 * decay.get(name, 0.0) * float(value.detach().square().sum())
        for name, value in built.objective.parameters.items()
    )
    return by_hand(built) + half


@pytest.mark.parametrize(
    ("factory", "given", "decay", "words"),
    [
        ("sgd", None, 0.3, "with SGD's weight decay of 0.3"),
        ("adam", None, 0.3, "with Adam's weight decay of 0.3"),
        ("adamw", None, 0.0, "without AdamW's weight decay, which is not part of the loss"),
        ("rmsprop", None, 0.0, "without RMSprop's weight decay"),
        ("adagrad", None, 0.0, ""),
        ("sgd", 0.0, 0.0, ""),
        ("adamw", 0.7, 0.7, "with weight decay 0.7"),
        ("small", 0.7, 0.7, "with weight decay 0.7"),
    ],
)
def test_weight_decay_is_part_of_the_loss_where_it_acts_through_the_gradient(
    factory: str, given: float | None, decay: float, words: str
) -> None:
    built = load(factory, weight_decay=given)
    expected = decayed(built, dict.fromkeys(built.objective.parameters, decay))
    assert loss_of(built) == pytest.approx(expected, rel=1e-12)
    assert built.decay.words == words
    assert loss_of(load(factory, plain=True)) == pytest.approx(by_hand(built), rel=1e-12)


def test_groups_have_their_own_decay_and_rates() -> None:
    built = load("groups")
    decay = {"first.weight": 0.3, "first.bias": 0.3}
    assert loss_of(built) == pytest.approx(decayed(built, decay), rel=1e-12)
    assert built.decay.words == "with SGD's weight decay of 0 or 0.3"
    assert built.metric is not None
    assert built.metric.roots == pytest.approx((1.0, 1.0, 0.5**0.5, 0.0))
    assert built.stepping.words == "in the metric of SGD, which trains 3 of 4 tensors"
    assert json.loads(json.dumps(to_json(built.document())))["weight_decay"] == decay


@pytest.mark.parametrize("factory", ["adam", "adamw"])
def test_adam_before_its_first_step_has_the_metric_of_that_step(factory: str) -> None:
    built = load(factory)
    objective, batch = built.objective, built.batch
    plain = Hessian(objective, batch).matrix()
    values = list(objective.model.parameters())
    loss = nn.functional.cross_entropy(objective.model(batch.inputs), batch.targets)
    if factory == "adam":
        loss = loss + 0.15 * sum(value.square().sum() for value in values)
    slope = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, values)])
    root = (1 / (0.1 * (slope.abs() + 1e-8))).sqrt()
    expected = root[:, None] * plain * root
    found = Hessian(objective, batch, built.metric).matrix()
    assert float((found - expected).abs().max()) <= 1e-11 * float(expected.abs().max())
    assert built.stepping.words == f"in the metric of {built.optimizer}'s first step"
    assert built.edge == pytest.approx(38.0 / 0.1)
    top = float(torch.linalg.eigvalsh(expected)[-1])
    sharpness = measure(objective, batch, ["sharpness"], metric=built.metric, tolerance=1e-6)["sharpness"]
    assert sharpness.value == pytest.approx(top, rel=1e-6)


@pytest.mark.parametrize(("factory", "optimizer"), [("warm", "SGD"), ("warm_adam", "Adam")])
def test_at_the_start_of_a_warm_up_a_rate_has_to_be_given(factory: str, optimizer: str) -> None:
    words = f"learning rate of {optimizer} is 0 in all groups.*--learning-rate.*--plain"
    with pytest.raises(InputError, match=words):
        load(factory)
    assert load(factory, plain=True).stepping.words == "plain Hessian"
    built = load(factory, learning_rate=0.5)
    assert built.stepping.is_at_rest
    assert built.stepping.learning_rate == 0.5
    found = measure(built.objective, built.batch, ["sharpness"], metric=built.metric)
    assert found["sharpness"].value == 0


@pytest.mark.parametrize(
    ("factory", "name"), [("rmsprop", "RMSprop"), ("adagrad", "Adagrad"), ("lbfgs", "LBFGS")]
)
def test_a_foreign_optimizer_leaves_the_plain_hessian_and_that_is_said(factory: str, name: str) -> None:
    built = load(factory)
    assert built.metric is None
    assert built.edge is None
    words = f"optimizer {name}: its metric is not known, plain Hessian"
    document = built.document()
    assert (document["optimizer"], document["metric"]) == (name, words)
    assert load(factory, learning_rate=0.5).edge == 4.0


def test_double_precision_takes_complex_numbers_along() -> None:
    built = load("complex_valued", double=True)
    assert built.objective.dtype == torch.float64
    kinds = {
        value.dtype for value in (*built.objective.parameters.values(), *built.objective.model.buffers())
    }
    assert kinds == {torch.complex128}
    assert loss_of(built) == pytest.approx(by_hand(built), rel=1e-12)


def test_the_document_says_what_the_batch_was() -> None:
    document = load("masked", "with_mask", examples=5).document()
    assert document["inputs"] == "{x: float64 (5, 3), mask: float64 (5, 1)}"
    assert document["targets"] == "int64 (5,)"
    assert (document["examples"], document["available"]) == (5, 12)
    assert document["data_hash"] == load("masked", "with_mask", examples=5).document()["data_hash"]
    assert document["data_hash"] != load("masked", "with_mask", examples=5, seed=1).document()["data_hash"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "few tokens": (
        {"factory": "few", "data": "book.txt"},
        r"largest token of book\.txt, bytes is 122; accepted: 0 to 99: word has num_embeddings=100; "
        r"remedy: give the model vocab_size=256, or pass --level word --vocabulary 100",
    ),
    "few positions": (
        {"factory": "few_places", "data": "book.txt"},
        r"position is 34; accepted: 0 to 15: place has num_embeddings=16; remedy: pass --sequence 16",
    ),
    "few tokens in arrays": (
        {"factory": "causal", "data": "book.txt", "reading": DataReading(level="word")},
        r"largest token of book\.txt, words is .* has num_embeddings=12",
    ),
    "negative tokens": ({"factory": "causal", "data": "negative_tokens"}, "token is -3; .*padding included"),
    "labels that would be shifted": (
        {"factory": "causal", "data": "tokens"}, "labels is the input tokens themselves.*--loss model"),
    "padded labels that would be shifted": (
        {"factory": "causal", "data": "padded"}, "labels is the input tokens themselves"),
    "labels shifted twice": (
        {"factory": "bytewise", "data": "book.txt", "loss": "model"}, "--loss cross-entropy"),
    "a model without targets": (
        {"factory": "small", "loss": "model"}, "whose forward takes targets or labels"),
    "names that do not fit": (
        {"factory": "masked", "data": "wrong_mask"},
        r"model is without arguments called x, attention; .* it takes x, mask"),
    "unknown loss": (
        {"factory": "small", "loss": "joy"}, "loss is joy; accepted: cross-entropy.*, model, or"),
    "loss of no kind": ({"factory": "small", "loss": "code.py:number"}, "number is of type int"),
    "loss class that needs more": (
        {"factory": "small", "loss": "code.py:Broken"}, "missing 1 required positional argument: 'needed'"),
    "no such output": ({"factory": "two", "output": "third"}, "output is third"),
    "negative rate": ({"factory": "negative"}, "learning rate of the optimizer is -0.1"),
    "negative decay": ({"factory": "small", "weight_decay": -1.0}, r"weight decay is -1\.0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line_in_the_users_terms(case: str) -> None:
    choices, words = BAD[case]
    with pytest.raises(InputError, match=words) as caught:
        load(**choices)
    assert "\n" not in str(caught.value)


def test_a_model_and_a_text_fit_once_the_remedies_are_followed() -> None:
    load("few", "book.txt", reading=DataReading(level="word", vocabulary=10, sequence=5))
    load("few_places", "book.txt", reading=DataReading(sequence=16))


def test_trying_a_model_leaves_no_hooks() -> None:
    built = load("bytewise", "book.txt")
    assert not any(module._forward_pre_hooks for module in built.objective.model.modules())
