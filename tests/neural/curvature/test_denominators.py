from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.curvature.broadcast import refuse_broadcast
from superconsistency.neural.curvature.criteria import (
    CRITERIA,
    criterion_name,
    denominator,
    is_torchs,
)
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 5


def random(shape: tuple[int, ...], *, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def labels_of(shape: tuple[int, ...], *, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, CLASSES, shape, generator=torch.Generator().manual_seed(seed))


WEIGHT = torch.tensor([0.5, 9.0, 1.0, 0.0, 2.0], dtype=torch.float64)

LABELLED: dict[str, Callable[..., torch.Tensor]] = {
    "built-in": CRITERIA["cross-entropy"],
    "function": functional.cross_entropy,
    "module": nn.CrossEntropyLoss(),
    "class weights": nn.CrossEntropyLoss(weight=WEIGHT),
    "ignored class": nn.CrossEntropyLoss(ignore_index=2),
    "smoothing": nn.CrossEntropyLoss(label_smoothing=0.1),
    "smoothed class weights": nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.3, ignore_index=1),
    "partial": partial(functional.cross_entropy, weight=WEIGHT, label_smoothing=0.2),
    "partial of partial": partial(partial(functional.cross_entropy, weight=WEIGHT), ignore_index=0),
    "likelihood": nn.NLLLoss(weight=WEIGHT),
    "likelihood function": functional.nll_loss,
    "sum": nn.CrossEntropyLoss(weight=WEIGHT, reduction="sum"),
}

EVEN: dict[str, Callable[..., torch.Tensor]] = {
    **{
        name: loss
        for name, loss in CRITERIA.items()
        if "cross-entropy" not in name or name == "binary-cross-entropy"
    },
    "probabilities": CRITERIA["cross-entropy"],
    "weighted probabilities": nn.CrossEntropyLoss(weight=WEIGHT, label_smoothing=0.1),
    "MSE": nn.MSELoss(),
    "MSE sum": nn.MSELoss(reduction="sum"),
    "L1": nn.L1Loss(),
    "smooth L1": partial(functional.smooth_l1_loss, beta=0.3),
    "Huber": nn.HuberLoss(delta=0.2),
    "logits": nn.BCEWithLogitsLoss(pos_weight=WEIGHT),
    "Kullback-Leibler": nn.KLDivLoss(reduction="batchmean"),
    "Kullback-Leibler sum": nn.KLDivLoss(reduction="sum"),
    "Poisson": nn.PoissonNLLLoss(),
    "soft margin": nn.SoftMarginLoss(),
    "hinge": nn.HingeEmbeddingLoss(),
    "multilabel": nn.MultiLabelSoftMarginLoss(weight=WEIGHT),
}


def weighted_parts(
    criterion: Callable[..., torch.Tensor], outputs: torch.Tensor, targets: torch.Tensor, ends: list[int]
) -> torch.Tensor:
    """The sum of the parts' losses by their shares; `ends` are where parts end."""
    reduction = denominator(criterion)
    assert reduction is not None
    begins = [0, *ends[:-1]]
    parts = [(outputs[a:b], targets[a:b]) for a, b in zip(begins, ends, strict=True) if a < b]
    shares = reduction.shares([(part, len(part)) for _, part in parts])
    total = torch.zeros((), dtype=outputs.dtype)
    for share, part in zip(shares, parts, strict=True):
        if share:
            total += share * criterion(*part)
    return total


@given(
    st.sampled_from(list(LABELLED)),
    st.lists(st.integers(0, 9), max_size=4),
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.3, 0.9]),
)
def test_parts_with_labels_make_up_the_batch(name: str, cuts: list[int], seed: int, missing: float) -> None:
    criterion = LABELLED[name]
    rest = (9,) if seed % 2 else (9, 3)
    outputs = random((9, CLASSES, *rest[1:]), seed=seed).log_softmax(1)
    labels = labels_of(rest, seed=seed + 1)
    labels[torch.rand(rest, generator=torch.Generator().manual_seed(seed)) < missing] = getattr(
        criterion, "ignore_index", None
    ) or getattr(criterion, "keywords", {}).get("ignore_index", -100)
    labels.view(-1)[0] = 4
    whole, ends = criterion(outputs, labels), [*sorted(cuts), 9]
    # torch divides the smoothing of all examples by the weights of their labels, which may all be zero in a
    # part: such parts do not add up, which `additivity` finds by comparing.
    if name in {"smoothed class weights", "partial"}:
        ignored = 1 if name == "smoothed class weights" else -100
        kept = [part[part != ignored] for part in torch.tensor_split(labels, ends)]
        assume(all(WEIGHT[part].any() for part in kept if part.numel()))
    found = weighted_parts(criterion, outputs, labels, ends)
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-14)


@given(
    st.sampled_from(list(EVEN)),
    st.lists(st.integers(0, 6), max_size=4),
    st.integers(0, 10**6),
)
def test_parts_of_a_mean_over_examples_make_up_the_batch(name: str, cuts: list[int], seed: int) -> None:
    outputs, targets = random((6, CLASSES), seed=seed), random((6, CLASSES), seed=seed + 1).softmax(1)
    found = weighted_parts(EVEN[name], outputs, targets, [*sorted(cuts), 6])
    torch.testing.assert_close(found, EVEN[name](outputs, targets), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("criterion", "targets"),
    [
        (nn.BCELoss(), random((6, CLASSES), seed=1).sigmoid()),
        (nn.MultiMarginLoss(p=2, weight=WEIGHT), labels_of((6,))),
        (functional.multilabel_margin_loss, labels_of((6, CLASSES)).sort(1, descending=True).values),
        (nn.KLDivLoss(reduction="mean"), random((6, CLASSES), seed=1).softmax(1)),
    ],
)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")
def test_parts_of_further_losses_make_up_the_batch(
    criterion: Callable[..., torch.Tensor], targets: torch.Tensor
) -> None:
    outputs = random((6, CLASSES)).sigmoid()
    found = weighted_parts(criterion, outputs, targets, [1, 3, 6])
    torch.testing.assert_close(found, criterion(outputs, targets), rtol=1e-12, atol=1e-14)


def test_a_batch_that_weighs_nothing_is_refused() -> None:
    reduction = denominator(nn.CrossEntropyLoss())
    assert reduction is not None
    with pytest.raises(InputError, match="the loss divides by the number of labels that are not ignored"):
        reduction.shares([(torch.full((3,), -100), 3)])


class Doubled(nn.MSELoss):
    """A loss that only looks like torch's."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        return 2 * super().forward(input, target)


class Named(nn.MSELoss):
    """torch's loss under another name."""


def replaced() -> nn.Module:
    loss = nn.MSELoss()
    vars(loss)["forward"] = lambda one, other: (one * other).prod()
    return loss


@pytest.mark.parametrize(
    "criterion",
    [
        lambda outputs, targets: 2 * functional.mse_loss(outputs, targets),
        Doubled(),
        replaced(),
        nn.CosineEmbeddingLoss(),
        nn.MSELoss(reduction="none"),
        nn.BCELoss(weight=torch.ones(6, 1)),
        partial(functional.mse_loss, size_average=False),
        partial(functional.cross_entropy, torch.ones(2, 2)),
        partial(functional.cross_entropy, reduction="none"),
    ],
)
def test_what_cannot_be_known_of_a_reduction_is_not_claimed(criterion: Any) -> None:
    assert denominator(criterion) is None


def test_torchs_losses_are_told_from_a_users() -> None:
    mine: tuple[Any, ...] = (
        CRITERIA["mse"],
        Doubled(),
        lambda outputs, targets: outputs - targets,
        nn.Linear(1, 1),
    )
    torchs: tuple[Any, ...] = (
        nn.CrossEntropyLoss(),
        Named(),
        functional.mse_loss,
        partial(functional.l1_loss),
        nn.CTCLoss(),
    )
    assert not any(map(is_torchs, mine))
    assert all(map(is_torchs, torchs))


def _half(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return 0.5 * (outputs - targets).mean()


def test_losses_have_names() -> None:
    assert criterion_name("mse") == criterion_name(CRITERIA["mse"]) == "mse"
    assert criterion_name(nn.MSELoss()) == "MSELoss"
    assert criterion_name(partial(functional.l1_loss)) == "l1_loss"
    assert criterion_name(_half) == "_half"


@pytest.mark.parametrize(
    "loss",
    [
        functional.mse_loss,
        nn.L1Loss(),
        nn.SmoothL1Loss(),
        partial(functional.huber_loss, delta=2.0),
        nn.KLDivLoss(reduction="sum"),
        nn.PoissonNLLLoss(),
        nn.SoftMarginLoss(),
        nn.HingeEmbeddingLoss(),
        nn.MultiLabelSoftMarginLoss(),
        lambda outputs, targets: functional.gaussian_nll_loss(outputs, targets, torch.ones(())),
        lambda outputs, targets: 2 * functional.mse_loss(target=targets, input=outputs),
    ],
)
def test_torchs_losses_refuse_to_broadcast(loss: Callable[..., torch.Tensor]) -> None:
    outputs, targets = random((8, 1)), random((8,), seed=1).sigmoid()
    with refuse_broadcast(), pytest.raises(InputError, match=r"outputs float64 \(8, 1\), targets float64"):
        loss(outputs, targets)
    expected = loss(outputs[:, 0], targets)
    with refuse_broadcast():
        assert float(loss(outputs[:, 0], targets)) == float(expected)


def test_a_row_of_targets_for_all_examples_is_meant_where_torch_does_not_warn() -> None:
    outputs, prior = random((8, 3)).log_softmax(1), random((1, 3)).softmax(1)
    with refuse_broadcast():
        functional.kl_div(outputs, prior, reduction="batchmean")
        with pytest.raises(InputError, match="mse_loss"):
            functional.mse_loss(outputs, prior)
