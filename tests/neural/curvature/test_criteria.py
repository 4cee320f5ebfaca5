from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.curvature.criteria import CRITERIA, denominator
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

FLOATS = (torch.float32, torch.float64)
INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
ELEMENTWISE: dict[str, Callable[..., torch.Tensor]] = {
    "mse": functional.mse_loss,
    "huber": functional.huber_loss,
    "l1": functional.l1_loss,
    "squared": lambda one, other: 0.5 * (one - other).square().sum() / len(one),
    "binary-cross-entropy": functional.binary_cross_entropy_with_logits,
}
CLASSES = 5

LAYOUTS = {
    "labels": ((7, CLASSES), (7,), 1),
    "one example": ((1, CLASSES), (1,), 1),
    "one class": ((3, 1), (3,), 1),
    "segmentation": ((2, CLASSES, 3, 4), (2, 3, 4), 1),
    "sequence in torch's layout": ((2, CLASSES, 3), (2, 3), 1),
    "language model": ((2, 3, CLASSES), (2, 3), -1),
    "language model, one token": ((4, 1, CLASSES), (4, 1), -1),
    "grid of tokens": ((2, 3, 4, CLASSES), (2, 3, 4), -1),
}
"""Shapes of outputs and labels, and the dimension of the classes."""


def random(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


def labels_of(
    shape: tuple[int, ...], classes: int = CLASSES, dtype: torch.dtype = torch.int64, *, seed: int = 1
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, classes, shape, generator=generator).to(dtype)


def same_to_second_order(
    one: Callable[[torch.Tensor], torch.Tensor],
    other: Callable[[torch.Tensor], torch.Tensor],
    outputs: torch.Tensor,
) -> None:
    """Equal values, gradients and curvatures along a direction, to rounding."""
    found = []
    for loss in (one, other):
        free = outputs.clone().requires_grad_()
        value = loss(free)
        (gradient,) = torch.autograd.grad(value, free, create_graph=True)
        slope = (gradient * random(tuple(outputs.shape), outputs.dtype, seed=2)).sum()
        curvature = torch.zeros_like(free)
        if slope.requires_grad:
            (curvature,) = torch.autograd.grad(slope, free, allow_unused=True, materialize_grads=True)
        found.append((value.detach(), gradient.detach(), curvature))
    eps = torch.finfo(outputs.dtype).eps
    for mine, theirs in zip(*found, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        torch.testing.assert_close(mine, theirs, rtol=20 * eps, atol=20 * eps)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", INTEGERS)
def test_cross_entropy_of_labels_is_torchs_in_every_layout_and_integer_width(
    layout: str, dtype: torch.dtype, width: torch.dtype
) -> None:
    shape, rest, place = LAYOUTS[layout]
    labels = labels_of(rest, shape[place], width)
    if width != torch.uint8 and labels.numel() > 1:
        labels.view(-1)[0] = -100
    same_to_second_order(
        lambda outputs: CRITERIA["cross-entropy"](outputs, labels),
        lambda outputs: functional.cross_entropy(outputs.movedim(place, 1), labels.long()),
        random(shape, dtype),
    )


@pytest.mark.parametrize("shape", [(7, CLASSES), (1, CLASSES), (2, CLASSES, 3), (2, CLASSES, 3, 4)])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target_dtype", FLOATS)
def test_cross_entropy_of_probabilities_is_torchs(
    shape: tuple[int, ...], dtype: torch.dtype, target_dtype: torch.dtype
) -> None:
    probabilities = random(shape, target_dtype, seed=1).softmax(1)
    same_to_second_order(
        lambda outputs: CRITERIA["cross-entropy"](outputs, probabilities),
        lambda outputs: functional.cross_entropy(outputs, probabilities),
        random(shape, dtype),
    )


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(6,), (6, 1), (1, 3), (4, 3), (2, 3, 4)])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("target_dtype", [*FLOATS, torch.float16, torch.bool, *INTEGERS])
def test_elementwise_losses_are_torchs_in_the_wider_precision(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, target_dtype: torch.dtype
) -> None:
    targets = random(shape, seed=1).sigmoid()
    targets = (targets if target_dtype.is_floating_point else targets.round()).to(target_dtype)
    wider = torch.promote_types(dtype, target_dtype)
    same_to_second_order(
        lambda outputs: CRITERIA[name](outputs, targets),
        lambda outputs: ELEMENTWISE[name](outputs.to(wider), targets.to(wider)),
        random(shape, dtype),
    )


@pytest.mark.parametrize("name", ["mse", "huber", "l1", "squared"])
@pytest.mark.parametrize("shape", [(6, 2), (1, 4), (2, 3, 5)])
@pytest.mark.parametrize("width", INTEGERS)
def test_elementwise_losses_take_labels_as_one_hot_rows(
    name: str, shape: tuple[int, ...], width: torch.dtype
) -> None:
    labels = labels_of(shape[:-1], shape[-1], width)
    rows = functional.one_hot(labels.long(), shape[-1]).double()
    outputs = random(shape)
    found, expected = (
        float(loss(outputs, targets))
        for loss, targets in ((CRITERIA[name], labels), (ELEMENTWISE[name], rows))
    )
    assert found == pytest.approx(expected, rel=1e-15)


def test_squared_has_the_identity_as_its_hessian_for_each_example() -> None:
    targets = random((1, 4), seed=1)
    hessian = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        lambda outputs: CRITERIA["squared"](outputs[None], targets), random((4,))
    )
    assert torch.equal(hessian, torch.eye(4, dtype=torch.float64))


def refused(name: str, outputs: Any, targets: Any) -> str:
    def evaluated() -> None:
        loss: Any = CRITERIA[name]
        loss.require_values(outputs, targets)
        loss(outputs, targets)

    with pytest.raises(InputError) as error:
        evaluated()
    message = str(error.value)
    assert message.count("\n") == 0
    assert "remedy: " in message
    return message


@pytest.mark.parametrize("name", ["mse", "huber", "l1", "squared", "binary-cross-entropy"])
@pytest.mark.parametrize(
    ("outputs", "targets", "remedy"),
    [
        ((8, 1), (8,), "targets.unsqueeze(-1)"),
        ((8,), (8, 1), "targets.squeeze(-1)"),
        ((4, 3), (3, 4), "targets.reshape(4, 3)"),
        ((4, 3), (3,), "make the shapes equal"),
        ((4, 3), (1, 3), "make the shapes equal"),
        ((4, 3), (), "make the shapes equal"),
        ((2, 3, 3), (2, 3), "make the shapes equal"),
    ],
)
def test_nothing_is_broadcast(
    name: str, outputs: tuple[int, ...], targets: tuple[int, ...], remedy: str
) -> None:
    message = refused(name, random(outputs), random(targets, seed=1).sigmoid())
    assert f"outputs float64 {outputs}, targets float64 {targets}" in message
    assert remedy in message


@pytest.mark.parametrize("name", ["mse", "huber", "l1", "squared", "binary-cross-entropy"])
def test_whole_numbers_are_not_broadcast_either(name: str) -> None:
    assert "targets.unsqueeze(-1)" in refused(name, random((8, 1)), labels_of((8,), 2))
    assert "targets.squeeze(-1)" in refused(name, random((8, 3)), labels_of((8, 3, 1), 2))


@pytest.mark.parametrize("name", ["cross-entropy", "mse", "huber", "l1", "squared"])
def test_labels_for_two_possible_dimensions_of_classes_are_ambiguous(name: str) -> None:
    message = refused(name, random((2, 4, 4)), labels_of((2, 4), 4))
    assert "dimension 1 and dimension 2 both fit" in message


SHAPES = st.lists(st.integers(1, 3), max_size=4).map(tuple)


@given(SHAPES, SHAPES, st.booleans())
def test_any_shapes_have_one_reading_or_are_refused(
    shape: tuple[int, ...], rest: tuple[int, ...], like: bool
) -> None:
    if like and len(shape) > 1:
        rest = shape[:-1] if len(rest) % 2 else shape[:1] + shape[2:]
    outputs, labels = random(shape), labels_of(rest, 1)
    readings = {
        place
        for place in (1, len(shape) - 1)
        if len(shape) > 1 and rest == shape[:place] + shape[place + 1 :]
    }
    if len(readings) == 1:
        expected = functional.cross_entropy(outputs.movedim(readings.pop(), 1), labels)
        torch.testing.assert_close(CRITERIA["cross-entropy"](outputs, labels), expected)
    else:
        refused("cross-entropy", outputs, labels)
    if shape == rest:
        torch.testing.assert_close(CRITERIA["mse"](outputs, labels), outputs.square().mean())
    elif rest != shape[:-1] or shape[-1] < 2 or len(readings) > 1:
        refused("mse", outputs, labels)


@pytest.mark.parametrize("label", [CLASSES, 100, -1, -99])
@pytest.mark.parametrize("layout", ["labels", "segmentation", "language model"])
def test_a_label_that_is_no_class_is_named_with_the_number_of_classes(label: int, layout: str) -> None:
    shape, rest, _ = LAYOUTS[layout]
    labels = labels_of(rest)
    labels.view(-1)[-1], labels.view(-1)[0] = label, -100
    message = refused("cross-entropy", random(shape), labels)
    assert f"{label}, for {CLASSES} classes" in message
    assert f"0 to {CLASSES - 1}" in message


@pytest.mark.parametrize("label", [-100, -1, 3])
@pytest.mark.parametrize("name", ["mse", "squared"])
def test_one_hot_rows_have_no_ignored_label(name: str, label: int) -> None:
    assert f"{label}, for 3 classes" in refused(name, random((2, 3)), torch.tensor([0, label]))


def test_labels_all_of_which_are_ignored_are_refused() -> None:
    outputs, labels = random((2, 3, CLASSES)), torch.full((2, 3), -100)
    assert torch.isnan(functional.cross_entropy(outputs.flatten(0, 1), labels.flatten()))
    assert "at least one label that is not -100" in refused("cross-entropy", outputs, labels)


def test_cross_entropy_refuses_what_torch_reads_in_another_way() -> None:
    logits, truth = random((4, CLASSES)), torch.tensor([True, False, True, True])
    assert "integer labels" in refused("cross-entropy", logits, truth)
    assert "targets.long()" in refused("cross-entropy", logits, random((4,)).abs())
    assert "torch reads (N,) as one example" in refused("cross-entropy", random((4,)), random((4,)).sigmoid())
    assert "one logit a class" in refused("cross-entropy", random((4,)), labels_of((4,), 2))
    assert "one logit a class" in refused("cross-entropy", random((4,)), labels_of((), 2))
    assert "targets.squeeze(-1)" in refused("cross-entropy", logits, labels_of((4, 1)))
    assert "targets.reshape(2, 3)" in refused("cross-entropy", random((2, 3, CLASSES)), labels_of((6,)))
    assert "labels of shape (2, 4) or labels of shape (2, 3)" in refused(
        "cross-entropy", random((2, 3, 4)), labels_of((2, 5))
    )


def test_probabilities_over_the_last_of_three_dimensions_are_refused() -> None:
    outputs, last = random((2, 3, CLASSES)), random((2, 3, CLASSES), seed=1).softmax(-1)
    assert "sum to one over the last" in refused("cross-entropy", outputs, last)
    assert "sum to one over the last" in refused("cross-entropy", outputs.half(), last.half())
    CRITERIA["cross-entropy"](outputs, last.softmax(1))
    CRITERIA["cross-entropy"](outputs, 2 * last.softmax(1))  # torch takes weights of any sum


@pytest.mark.parametrize("bad", [-0.1, 1.5, 2.0, -100.0, float("nan")])
def test_binary_cross_entropy_takes_targets_from_zero_to_one(bad: float) -> None:
    targets = torch.tensor([0.0, bad, 1.0])
    assert str(bad) in refused("binary-cross-entropy", random((3,), torch.float32), targets)
    assert "2" in refused("binary-cross-entropy", random((3,)), torch.tensor([0, 2, 1]))


@pytest.mark.parametrize("name", CRITERIA)
def test_number_formats_types_devices_and_empty_batches_are_refused_by_name(name: str) -> None:
    outputs, targets = random((4, 2)), random((4, 2), seed=1).softmax(1)
    assert f"outputs of {name} is complex (complex128 (4, 2))" in refused(
        name, outputs.to(torch.complex128), targets
    )
    assert f"targets of {name} is complex" in refused(name, outputs, targets.to(torch.complex128))
    assert f"outputs of {name} is tuple" in refused(name, (outputs,), targets)
    assert f"targets of {name} is list" in refused(name, outputs, [0, 1, 0, 1])
    assert "floating-point outputs" in refused(name, outputs.long(), targets)
    assert "at least one example" in refused(name, outputs[:0], targets[:0])
    assert "outputs on cpu, targets on meta" in refused(name, outputs, targets.to("meta"))


def test_labels_are_not_looked_at_inside_transforms() -> None:
    outputs, labels = random((4, CLASSES)), labels_of((4,))
    loss = CRITERIA["cross-entropy"]
    expected = torch.stack([loss(row[None], label[None]) for row, label in zip(outputs, labels, strict=True)])
    mapped = torch.func.vmap(lambda row, label: loss(row[None], label[None]))(outputs, labels)
    torch.testing.assert_close(mapped, expected)
    shared = torch.func.vmap(loss, in_dims=(0, None))(outputs.expand(3, 4, CLASSES), labels)
    torch.testing.assert_close(shared, loss(outputs, labels).expand(3))
    for name in ("squared", "binary-cross-entropy"):
        rows = torch.func.vmap(CRITERIA[name])(outputs, random((4, CLASSES)).sigmoid())
        assert rows.shape == (4,)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_losses_are_differentiated_forward_and_in_reverse_by_transforms() -> None:
    outputs, labels, tangent = random((4, CLASSES)), labels_of((4,)), random((4, CLASSES), seed=3)

    def gradient(free: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.func.grad(CRITERIA["cross-entropy"])(free, labels)
        return found

    along = torch.func.jvp(gradient, (outputs,), (tangent,))[1]
    step = 1e-6
    difference = (gradient(outputs + step * tangent) - gradient(outputs - step * tangent)) / (2 * step)
    torch.testing.assert_close(along, difference, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 4), (4, 4, 4), (2, 3, 5, 4)])
def test_token_cross_entropy_has_its_classes_last_whatever_else_would_fit(shape: tuple[int, ...]) -> None:
    outputs = random(shape)
    labels = torch.randint(0, 4, shape[:-1], generator=torch.Generator().manual_seed(1))
    labels.view(-1)[0] = -100
    expected = functional.cross_entropy(outputs.reshape(-1, 4), labels.reshape(-1))
    assert torch.equal(CRITERIA["token-cross-entropy"](outputs, labels), expected)
    reduction = denominator(CRITERIA["token-cross-entropy"])
    assert reduction is not None
    assert reduction.weight(labels, len(labels)) == labels.numel() - 1
    assert "one for each position" in refused("token-cross-entropy", outputs, labels.double())
    assert "labels from 0 to 3" in refused("token-cross-entropy", outputs, labels + 200)
