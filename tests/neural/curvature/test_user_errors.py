"""Whatever cannot be measured is refused in one line that names what matters."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from superconsistency.errors import InputError
from superconsistency.neural.curvature import CURVATURE_QUANTITIES, Batch, Hessian, Objective, measure
from torch import nn
from torch.nn import functional

from .user_code import (
    NAMES,
    assert_measured,
    assert_right_or_refused,
    measured,
    mlp,
    outcome,
    vectors,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SINGLE = torch.float32


def refusal(
    model: Any,
    criterion: Any = "cross-entropy",
    inputs: Any = None,
    targets: Any = None,
    names: Any = ("loss", "sharpness"),
) -> str:
    """The words in which a measurement is refused, on vectors and labels if nothing else is given."""
    x, y = vectors(SINGLE)
    batch = Batch(x if inputs is None else inputs, y if targets is None else targets)
    with pytest.raises(InputError) as refused:
        measure(Objective(model, criterion), batch, names)
    words = str(refused.value)
    assert "\n" not in words
    assert len(words) < 1000
    return words


class Around(nn.Module):
    """Runs a function on the outputs of a small network inside."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.inside = mlp(SINGLE)
        self.last = Applied(function)

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(self.inside(x))


class Applied(nn.Module):
    """Has no name of its own in the messages but that of its place."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_names_the_parameter_and_the_type(dtype: torch.dtype) -> None:
    x, y = vectors()
    words = refusal(mlp().to(dtype), inputs=x.to(dtype), targets=y)
    assert "0.weight" in words
    assert str(dtype).removeprefix("torch.") in words
    mixed = mlp(SINGLE)
    mixed[2].to(dtype)
    assert "2.weight" in refusal(mixed)


def test_a_lazy_module_is_named_and_has_to_be_called_once() -> None:
    words = refusal(nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(2)))
    assert "1.weight" in words or "LazyLinear" in words
    assert "lazy" in words
    assert "once" in words


def test_a_scripted_model_and_a_scripted_part_are_named() -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.script(mlp(SINGLE))
    assert "script" in refusal(scripted).lower()
    assert "script" in refusal(nn.Sequential(scripted)).lower()


def test_data_parallel_says_which_module_to_pass() -> None:
    assert ".module" in refusal(nn.DataParallel(mlp(SINGLE)))


def test_parameters_without_memory_are_named() -> None:
    words = refusal(mlp(SINGLE).to("meta"))
    assert "meta" in words
    assert "0.weight" in words


def test_a_model_without_trained_parameters_is_refused() -> None:
    assert "requires_grad" in refusal(mlp(SINGLE).requires_grad_(requires_grad=False))
    objective = Objective(model := mlp(SINGLE))
    model.requires_grad_(requires_grad=False)
    with pytest.raises(InputError, match="requires_grad"):
        measure(objective, Batch(*vectors(SINGLE)), ["sharpness"])


@pytest.mark.parametrize("model", [lambda x: x, None, "resnet", torch.zeros(3)])
def test_what_is_no_module_is_refused(model: Any) -> None:
    assert "model" in refusal(model)


@pytest.mark.parametrize("criterion", [3, None, nn.CrossEntropyLoss, "crossentropy"])
def test_what_is_no_loss_is_refused(criterion: Any) -> None:
    assert "loss" in refusal(mlp(SINGLE), criterion)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["loss", "model", "inside"])
def test_a_compiled_loss_or_part_is_refused(kind: str) -> None:
    compiled = partial(torch.compile, backend="aot_eager")
    if kind == "loss":
        words = refusal(mlp(SINGLE), compiled(functional.cross_entropy))
        assert "compile" in words
    elif kind == "model":
        assert "compile" in refusal(compiled(mlp(SINGLE)))
    else:
        refusal(Around(compiled(lambda h: torch.tanh(h) * h)))


class Unprintable(Exception):  # noqa: N818
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("unprintable")


RAISED: dict[str, BaseException] = {
    "KeyError": KeyError("pixel_values"),
    "ValueError": ValueError("two\nlines"),
    "IndexError": IndexError("index 3 is out of range"),
    "AssertionError": AssertionError(),
    "NotImplementedError": NotImplementedError("later"),
    "StopIteration": StopIteration("no more"),
    "RecursionError": RecursionError("maximum recursion depth exceeded"),
    "ZeroDivisionError": ZeroDivisionError("division by zero"),
    "UnicodeDecodeError": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "SystemExit": SystemExit(3),
    "FileNotFoundError": FileNotFoundError(2, "no such file"),
    "Unprintable": Unprintable(),
    "long": ValueError("word " * 4000),
}


@pytest.mark.parametrize("kind", RAISED)
def test_whatever_a_model_or_a_loss_raises_is_one_line_that_names_the_place(kind: str) -> None:
    def failing(*_: Any) -> Any:
        raise RAISED[kind]

    words = refusal(Around(failing))
    assert "last" in words
    assert "Applied" in words
    name = "ValueError" if kind == "long" else kind
    assert name in words
    if kind == "KeyError":
        assert "pixel_values" in words
    words = refusal(mlp(SINGLE), failing)
    assert "failing" in words
    assert name in words


def test_an_interrupt_is_passed_on() -> None:
    def interrupted(_: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(Objective(Around(interrupted)), Batch(*vectors(SINGLE)), ["loss"])


def test_a_model_that_fails_at_its_second_call_only_is_refused_in_one_line() -> None:
    calls: list[int] = []

    def tired(h: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("tired")
        return h

    assert "tired" in refusal(Around(tired))


OUTPUTS: dict[str, Callable[[torch.Tensor], Any]] = {
    "None": lambda _: None,
    "NumPy": lambda h: h.detach().numpy(),
    "text": lambda _: "logits",
    "empty": lambda _: {},
    "labels": lambda h: h.argmax(1),
    "detached": lambda h: h.detach(),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_outputs_without_logits_are_refused(kind: str) -> None:
    refusal(Around(OUTPUTS[kind]))


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "by example": lambda o, t: functional.cross_entropy(o, t, reduction="none"),
    "one in a row": lambda o, t: functional.cross_entropy(o, t)[None],
    "number": lambda o, t: float(functional.cross_entropy(o, t).detach()),
    "None": lambda _o, _t: None,
    "tuple": lambda o, t: (functional.cross_entropy(o, t), o),
    "complex": lambda o, t: functional.cross_entropy(o, t) * 1j,
    "detached": lambda o, t: functional.cross_entropy(o, t).detach(),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_that_are_no_differentiable_number_are_refused(kind: str) -> None:
    assert "loss" in refusal(mlp(SINGLE), LOSSES[kind])


def test_batches_that_do_not_fit_are_refused() -> None:
    x, y = vectors(SINGLE)
    model = mlp(SINGLE)
    for inputs, targets in (
        (x, y[:7]),
        (x[:, :2], y),
        (x, y + 2),
        (x, y - 1),
        (x, y.float()),
        (x, y[:, None]),
        (x.double(), y),
        (x[:0], y[:0]),
        (x.long(), y),
        ("text", y),
    ):
        refusal(model, inputs=inputs, targets=targets)


def test_a_loss_without_a_second_derivative_is_named() -> None:
    def ctc(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        lengths = torch.full((len(targets),), outputs.shape[1])
        return functional.ctc_loss(
            outputs.log_softmax(-1).transpose(0, 1), targets, lengths, torch.full((len(targets),), 2)
        )

    inputs, targets = torch.randn(4, 6, 3), torch.randint(1, 5, (4, 2))
    words = refusal(nn.Linear(3, 5), ctc, inputs, targets, ["sharpness"])
    assert "ctc" in words


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_width_are_labels(dtype: torch.dtype) -> None:
    model, (x, y) = mlp(), vectors()
    loss = functional.cross_entropy(model(x), y)
    for criterion in ("cross-entropy", nn.CrossEntropyLoss()):
        found = outcome(partial(measured, model, criterion, x, y.to(dtype)))
        if criterion == "cross-entropy":
            assert not isinstance(found, str), found
        assert_right_or_refused(found, loss, model.parameters())


class InDictionary(nn.Module):
    """Takes a dictionary and returns one."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 2)

    def forward(self, b: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"logits": self.a(b["x"])}


def test_dictionaries_in_and_out_are_measured_and_only_what_is_impossible_is_left_out() -> None:
    model, (x, y) = InDictionary().double(), vectors()
    own = functional.cross_entropy(model({"x": x})["logits"], y)
    assert_measured(measured(model, "cross-entropy", {"x": x}, y), own, model.parameters())

    def both(outputs: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs["logits"], targets) + outputs["other"].square().mean()

    class Two(InDictionary):
        def forward(self, b: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return super().forward(b) | {"other": self.a(b["x"])}

    two = Two().double()
    found = measure(Objective(two, both), Batch({"x": x}, y), tolerance=1e-6)
    assert set(CURVATURE_QUANTITIES) <= set(found.estimates)
    assert_measured(found, both(two({"x": x}), y), two.parameters())
    for name in ("ggn_sharpness", "ntk_sharpness"):
        assert found[name].kind == "undefined"
        assert found[name].note


def test_a_sparse_embedding_is_measured_or_named() -> None:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.e, self.o = nn.Embedding(7, 3, sparse=True), nn.Linear(3, 2)

        def forward(self, i: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.o(self.e(i).mean(1))
            return out

    torch.manual_seed(0)
    model, tokens, (_, y) = Sparse().double(), torch.randint(0, 7, (8, 4)), vectors()
    found = outcome(partial(measured, model, "cross-entropy", tokens, y))
    if isinstance(found, str):
        assert "sparse" in found
        assert "e" in found
        return
    model.e.sparse = False
    assert_measured(found, functional.cross_entropy(model(tokens), y), model.parameters())


def test_attributes_that_cannot_be_copied_do_not_stand_in_the_way() -> None:
    class Holding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside, self.lock = mlp(), threading.Lock()
            self.lines = (line for line in "abc")
            self.me = [self]
            self.file = open("/dev/null")  # noqa: SIM115, PTH123

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with self.lock:
                out: torch.Tensor = self.inside(x)
            return out

    model, (x, y) = Holding(), vectors()
    loss = functional.cross_entropy(model(x), y)
    found = measured(model, "cross-entropy", x, y)
    model.file.close()
    assert_measured(found, loss, model.parameters())
    assert next(model.lines) == "a"


def test_operators_and_wrong_options_are_refused_in_the_same_way() -> None:
    model, (x, y) = mlp(), vectors()

    def failing(*_: Any) -> Any:
        raise KeyError("labels")

    with pytest.raises(InputError, match="labels"):
        Hessian(Objective(Around(failing)), Batch(x.float(), y))(torch.ones(23))
    for options in (
        {"output": "scores"},
        {"output": 3},
        {"weight_decay": -1.0},
        {"weight_decay": {"9.weight": 0.1}},
        {"weight_decay": math.nan},
    ):
        with pytest.raises(InputError) as refused:
            measure(Objective(model, **options), Batch(x, y), NAMES)
        assert "\n" not in str(refused.value)


def test_autocast_inside_a_model_is_refused_or_right() -> None:
    class Casting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = mlp(SINGLE)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out: torch.Tensor = self.inside(x)
            return out.float()

    model, (x, y) = Casting(), vectors()
    found = outcome(lambda: measure(Objective(model), Batch(x.float(), y), NAMES))
    plain = model.inside.double()
    assert_right_or_refused(found, functional.cross_entropy(plain(x), y), plain.parameters(), rel=2e-2)
