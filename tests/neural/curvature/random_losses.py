"""Losses of every kind, with targets: as they are handed to the package, and as torch computes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    Own = Callable[[torch.Tensor, Any], torch.Tensor]


class Loss(NamedTuple):
    """A loss with its targets."""

    criterion: str | nn.Module | Own
    """What the package is given; a function takes the logits here."""
    own: Own
    """The same number by torch alone, from logits and targets."""
    targets: Any
    sure: bool = True
    """Whether its curvature has to be right; otherwise it may be refused."""
    splits: bool = True
    """Whether a batch in parts has to give the same numbers; otherwise it may be refused."""


Shape = tuple[int, ...]


def _labels(shape: Shape) -> torch.Tensor:
    """Classes for outputs with classes in dimension 1."""
    return torch.randint(shape[1], (shape[0], *shape[2:]))


def _module(criterion: nn.Module, targets: Any, *, sure: bool = True, splits: bool = True) -> Loss:
    return Loss(criterion, criterion, targets, sure, splits)


def _function(own: Own, targets: Any, *, sure: bool = True, splits: bool = True) -> Loss:
    return Loss(own, own, targets, sure, splits)


def _ignored(labels: torch.Tensor, index: int) -> torch.Tensor:
    """The labels with some ignored, all of the first example's among them, and one that is not."""
    labels = labels.masked_fill(torch.rand(labels.shape) < 0.3, index)
    labels[0] = index
    labels.view(-1)[-1] = 1 if index != 1 else 0
    return labels


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits, targets)


def _one_hot_mse(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(logits, functional.one_hot(targets, logits.shape[1]).to(logits.dtype))


def _half_squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = 0.5 * (outputs - targets).square().sum() / len(outputs)
    return total


def _focal(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    each = functional.cross_entropy(logits, targets, reduction="none")
    loss: torch.Tensor = ((1 - torch.exp(-each)) ** 2 * each).mean()
    return loss


def _by_example(logits: torch.Tensor, targets: Any) -> torch.Tensor:
    labels, weights = targets
    loss: torch.Tensor = (functional.cross_entropy(logits, labels, reduction="none") * weights).mean()
    return loss


def _normalised(logits: torch.Tensor, targets: Any) -> torch.Tensor:
    weights = targets["weights"]
    each = functional.cross_entropy(logits, targets["labels"], reduction="none")
    loss: torch.Tensor = (each * weights).sum() / weights.sum()
    return loss


def _contrastive(outputs: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    unit = functional.normalize(outputs, dim=1)
    return functional.cross_entropy(unit @ unit.roll(1, 0).T / 0.5, torch.arange(len(outputs)))


def _silent(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Broadcasts (N, 1) against (N,) to (N, N)."""
    return (outputs - targets).square().mean()


def _plus_scaled_sum(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs, targets, reduction="sum") + 0.1 * outputs.mean().square()


class Tempered(nn.Module):
    """Cross-entropy with a temperature of its own."""

    def __init__(self, *, trained: bool) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.tensor(0.3), requires_grad=trained)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits * self.log_rate.exp(), targets)


CLASSES: dict[str, Callable[[Shape], Loss]] = {
    "cross-entropy": lambda s: Loss("cross-entropy", _cross_entropy, _labels(s)),
    "cross-entropy, int32 labels": lambda s: Loss(
        "cross-entropy", lambda o, t: _cross_entropy(o, t.long()), _labels(s).int()
    ),
    "cross-entropy, ignored": lambda s: Loss("cross-entropy", _cross_entropy, _ignored(_labels(s), -100)),
    "cross-entropy, probabilities": lambda s: Loss("cross-entropy", _cross_entropy, torch.rand(s).softmax(1)),
    "mse of labels": lambda s: Loss("mse", _one_hot_mse, _labels(s), sure=False),
    "module": lambda s: _module(nn.CrossEntropyLoss(), _labels(s)),
    "functional": lambda s: _function(functional.cross_entropy, _labels(s)),
    "class weights": lambda s: _module(nn.CrossEntropyLoss(weight=0.1 + torch.rand(s[1])), _labels(s)),
    "ignore_index": lambda s: _module(nn.CrossEntropyLoss(ignore_index=1), _ignored(_labels(s), 1)),
    "label smoothing": lambda s: _module(nn.CrossEntropyLoss(label_smoothing=0.1), _labels(s)),
    "weights, ignored, smoothing": lambda s: _module(
        nn.CrossEntropyLoss(weight=0.1 + torch.rand(s[1]), ignore_index=-100, label_smoothing=0.2),
        _ignored(_labels(s), -100),
    ),
    "sum": lambda s: _module(nn.CrossEntropyLoss(reduction="sum"), _labels(s)),
    "multi-margin": lambda s: _module(nn.MultiMarginLoss(p=2), _labels(s), sure=False),
    "kl": lambda s: _function(
        lambda o, t: functional.kl_div(o.log_softmax(1), t, reduction="batchmean"), torch.rand(s).softmax(1)
    ),
    "nll": lambda s: _function(lambda o, t: nn.NLLLoss()(o.log_softmax(1), t), _labels(s)),
    "focal": lambda s: _function(_focal, _labels(s)),
    "sum and a mean": lambda s: _function(_plus_scaled_sum, _labels(s), splits=False),
    "weighted by example": lambda s: _function(_by_example, (_labels(s), torch.rand(s[0]))),
    "normalised weights": lambda s: _function(
        _normalised, {"labels": _labels(s), "weights": torch.rand(s[0])}, splits=False
    ),
    "contrastive": lambda s: _function(_contrastive, _labels(s), splits=False),
    "trained temperature": lambda s: _module(Tempered(trained=True), _labels(s), sure=False),
    "frozen temperature": lambda s: _module(Tempered(trained=False), _labels(s)),
}
"""For outputs (N, classes)."""

VALUES: dict[str, Callable[[Shape], Loss]] = {
    "mse": lambda s: Loss("mse", nn.MSELoss(), torch.randn(s)),
    "squared": lambda s: Loss("squared", _half_squared, torch.randn(s)),
    "mse module, sum": lambda s: _module(nn.MSELoss(reduction="sum"), torch.randn(s)),
    "huber": lambda s: _module(nn.HuberLoss(delta=0.7), torch.randn(s)),
    "smooth l1": lambda s: _module(nn.SmoothL1Loss(), torch.randn(s)),
    "poisson": lambda s: _module(nn.PoissonNLLLoss(), torch.randint(4, s).double()),
    "bce with logits": lambda s: _module(nn.BCEWithLogitsLoss(), torch.randint(2, s).double()),
    "bce with pos_weight": lambda s: _module(
        nn.BCEWithLogitsLoss(pos_weight=torch.rand(s[1:]) + 0.5), torch.rand(s)
    ),
    "bce": lambda s: _function(lambda o, t: functional.binary_cross_entropy(o.sigmoid(), t), torch.rand(s)),
    "soft margin": lambda s: _module(nn.SoftMarginLoss(), torch.randint(2, s).double() * 2 - 1),
    "log-cosh": lambda s: _function(lambda o, t: (o - t).cosh().log().mean(), torch.randn(s)),
    "float32 targets": lambda s: Loss(
        "mse", lambda o, t: functional.mse_loss(o, t.to(o.dtype)), torch.randn(s).float()
    ),
    "integer targets": lambda s: Loss(
        "mse", lambda o, t: functional.mse_loss(o, t.to(o.dtype)), torch.randint(3, s), sure=False
    ),
}
"""For outputs of any shape."""

MISSHAPEN: dict[str, Callable[[Shape], Loss]] = {
    "named mse against (N,)": lambda s: Loss(
        "mse", lambda o, t: functional.mse_loss(o, t[:, None]), torch.randn(s[0]), sure=False
    ),
    "named squared against (N,)": lambda s: Loss(
        "squared", lambda o, t: _half_squared(o, t[:, None]), torch.randn(s[0]), sure=False
    ),
    "silent broadcast": lambda s: _function(_silent, torch.randn(s[0]), sure=False, splits=False),
}
"""For outputs (N, 1)."""

LANGUAGE: dict[str, Callable[[Shape], Loss]] = {
    "cross-entropy": lambda s: Loss("cross-entropy", _over_tokens, torch.randint(s[2], s[:2])),
    "cross-entropy, padded": lambda s: Loss(
        "cross-entropy", _over_tokens, _ignored(torch.randint(s[2], s[:2]), -100)
    ),
    "flattened": lambda s: _function(
        lambda o, t: functional.cross_entropy(o.reshape(-1, o.shape[-1]), t.view(-1)),
        torch.randint(s[2], s[:2]),
    ),
    "transposed": lambda s: _function(
        lambda o, t: nn.CrossEntropyLoss()(o.transpose(1, 2), t), torch.randint(s[2], s[:2])
    ),
    "padded, own": lambda s: _function(
        _over_tokens, _ignored(torch.randint(s[2], s[:2]), -100), splits=False
    ),
    "probabilities": lambda s: _function(
        lambda o, t: -(t * o.log_softmax(-1)).sum(-1).mean(), torch.rand(s).softmax(-1)
    ),
}
"""For outputs (N, time, vocabulary)."""

DENSE: dict[str, Callable[[Shape], Loss]] = {
    name: CLASSES[name]
    for name in (
        "cross-entropy", "cross-entropy, ignored", "module", "class weights", "ignore_index",
        "label smoothing", "weights, ignored, smoothing", "functional", "sum",
    )
}  # fmt: skip
"""For outputs (N, classes, height, width)."""


def _over_tokens(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
