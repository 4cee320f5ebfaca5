"""Losses by name, what their means divide by, and what is known of torch's own.

A named loss means exactly what torch's means. Where torch would broadcast in silence or read a layout in
another way than it was meant, the loss is refused with both shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ...errors import invalid
from .layouts import (
    IGNORED,
    class_dimension,
    is_labels,
    mismatch,
    require_class_dimension_of_probabilities,
    require_labels,
    require_same_shape,
    require_tensors,
    require_unit_interval,
)

if TYPE_CHECKING:
    pass

LossCallable = Callable[[Any, Any], torch.Tensor]
"""A function of outputs and targets, or a module, that returns one number."""


@dataclass(frozen=True)
class NamedLoss:
    """A loss by name: a function of outputs and targets that checks their shapes and types.

    Checks of the values, for which the host has to wait for a device, are apart from it.
    """

    name: str
    compute: Callable[[str, Any, Any], torch.Tensor]
    require: Callable[[str, Any, Any], None]

    def __call__(self, outputs: Any, targets: Any) -> torch.Tensor:
        """The loss, a scalar.

        Raises
        ------
        InputError
            If shapes or types do not fit.
        """
        return self.compute(self.name, outputs, targets)

    def require_values(self, outputs: Any, targets: Any) -> None:
        """Refuse labels that are no classes, and probabilities that are none.

        Raises
        ------
        InputError
            Naming the value, or as the loss itself.
        """
        require_tensors(self.name, outputs, targets)
        self.require(self.name, outputs, targets)


def _cross_entropy(name: str, outputs: Any, targets: Any) -> torch.Tensor:
    """The loss for class labels, classes in dimension 1 or last, or class probabilities in dimension 1."""
    require_tensors(name, outputs, targets)
    if targets.dtype == torch.bool:
        accepted, remedy = "integer labels", "pass targets.long(), or use binary-cross-entropy"
        raise mismatch(name, outputs, targets, accepted, remedy)
    if targets.is_floating_point():
        return _cross_entropy_of_probabilities(name, outputs, targets)
    place, labels = class_dimension(name, outputs, targets), targets.long()
    if place == outputs.ndim - 1:
        return functional.cross_entropy(outputs.flatten(0, -2), labels.flatten())
    return functional.cross_entropy(outputs, labels)


def _cross_entropy_of_probabilities(name: str, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if outputs.ndim < 2:
        accepted = "outputs of shape (N, C); torch reads (N,) as one example"
        remedy = "use binary-cross-entropy for one logit an example"
        raise mismatch(name, outputs, targets, accepted, remedy)
    require_same_shape(name, outputs, targets)
    return functional.cross_entropy(outputs, targets)


def _token_cross_entropy(name: str, outputs: Any, targets: Any) -> torch.Tensor:
    """The loss for class labels with the classes in the last dimension, whatever else would fit."""
    require_tensors(name, outputs, targets)
    if not (is_labels(targets) and outputs.ndim > 1 and outputs.shape[:-1] == targets.shape):
        accepted = "outputs (..., C) with integer labels (...), one for each position"
        raise mismatch(name, outputs, targets, accepted, "let the model return the classes last")
    return functional.cross_entropy(outputs.flatten(0, -2), targets.long().flatten())


def _require_tokens(name: str, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    if is_labels(targets) and outputs.ndim > 1:
        require_labels(name, outputs, targets.long(), outputs.shape[-1], ignored=IGNORED)


def _require_classes(name: str, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    if targets.is_floating_point() and targets.shape == outputs.shape and outputs.ndim > 1:
        require_class_dimension_of_probabilities(name, outputs, targets)
    if not is_labels(targets):
        return
    place = class_dimension(name, outputs, targets)
    require_labels(name, outputs, targets.long(), outputs.shape[place], ignored=IGNORED)


def _binary_cross_entropy(name: str, outputs: Any, targets: Any) -> torch.Tensor:
    require_tensors(name, outputs, targets)
    require_same_shape(name, outputs, targets)
    outputs, targets = _promoted(outputs, targets)
    return functional.binary_cross_entropy_with_logits(outputs, targets)


def _mean_squared(name: str, outputs: Any, targets: Any) -> torch.Tensor:
    return functional.mse_loss(*_numbers(name, outputs, targets))


def _huber(name: str, outputs: Any, targets: Any) -> torch.Tensor:
    return functional.huber_loss(*_numbers(name, outputs, targets))


def _absolute(name: str, outputs: Any, targets: Any) -> torch.Tensor:
    return functional.l1_loss(*_numbers(name, outputs, targets))


def _half_squared(name: str, outputs: Any, targets: Any) -> torch.Tensor:
    outputs, targets = _numbers(name, outputs, targets)
    squares: torch.Tensor = (outputs - targets).square()
    if squares.ndim > 1:
        squares = squares.flatten(1).sum(1)
    return 0.5 * squares.mean()


def _numbers(name: str, outputs: Any, targets: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets of one shape and precision; class labels as one-hot rows."""
    require_tensors(name, outputs, targets)
    if _are_classes(outputs, targets):
        class_dimension(name, outputs, targets)
        targets = targets.unsqueeze(-1) == torch.arange(outputs.shape[-1], device=targets.device)
    require_same_shape(name, outputs, targets)
    return _promoted(outputs, targets)


def _are_classes(outputs: torch.Tensor, targets: torch.Tensor) -> bool:
    """Whether targets are labels, of which rows with a one at the label are made."""
    several = outputs.ndim > 1 and outputs.shape[-1] > 1
    return is_labels(targets) and several and bool(targets.shape == outputs.shape[:-1])


def _require_labels_of_rows(name: str, outputs: torch.Tensor, targets: torch.Tensor) -> None:
    if _are_classes(outputs, targets):
        require_labels(name, outputs, targets, outputs.shape[-1])


def _promoted(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in the wider precision, which torch's binary operations use and some of its losses do not."""
    wider = torch.promote_types(outputs.dtype, targets.dtype)
    return outputs.to(wider), targets.to(wider)


CROSS_ENTROPY, TOKEN_CROSS_ENTROPY = "cross-entropy", "token-cross-entropy"

CRITERIA: dict[str, LossCallable] = {
    loss.name: loss
    for loss in (
        NamedLoss(CROSS_ENTROPY, _cross_entropy, _require_classes),
        NamedLoss(TOKEN_CROSS_ENTROPY, _token_cross_entropy, _require_tokens),
        NamedLoss("binary-cross-entropy", _binary_cross_entropy, require_unit_interval),
        NamedLoss("mse", _mean_squared, _require_labels_of_rows),
        NamedLoss("squared", _half_squared, _require_labels_of_rows),
        NamedLoss("huber", _huber, _require_labels_of_rows),
        NamedLoss("l1", _absolute, _require_labels_of_rows),
    )
}
"""Losses by name. `token-cross-entropy` has the classes in the last dimension, as language models do, where
`cross-entropy` refuses shapes that can be read in two ways. `binary-cross-entropy` takes logits; `mse`,
`huber` and `l1` are torch's means over examples and outputs; `squared` is half the squared error summed over
outputs, averaged over examples, whose Gauss-Newton matrix has the eigenvalues of the tangent kernel."""


class Reduction(NamedTuple):
    """How the losses of a batch's parts make up the loss of the whole.

    `loss(batch) = sum_p share(p) loss(p)`, where `share(p) = weight(p) / weight(batch)` for a mean and 1 for
    a sum. A part whose share is 0 is to be left out: torch's mean over no labels is not a number.
    """

    words: str
    """What the loss divides by, to be shown."""
    weight: Callable[[Any, int], float]
    """What a mean divides by on given targets and number of examples, up to a factor common to all parts."""
    sums: bool = False
    """Whether the loss is a sum, whose parts add up as they are."""

    def shares(self, parts: list[tuple[Any, int]]) -> list[float]:
        """The factor of each part's loss, from the targets and the number of examples of every part.

        Raises
        ------
        InputError
            If all parts together weigh nothing, so that the mean is not a number.
        """
        if self.sums:
            return [1.0] * len(parts)
        weights = [self.weight(targets, examples) for targets, examples in parts]
        whole = sum(weights)
        if not whole > 0:
            raise invalid(
                "weight of the batch in its loss",
                whole,
                accepted="a number above 0",
                remedy=f"the loss divides by {self.words}: leave such a batch out",
            )
        return [weight / whole for weight in weights]


def _per_example(_targets: Any, examples: int) -> float:
    return float(examples)


def _per_label(ignored: int, weight: torch.Tensor | None) -> Callable[[Any, int], float]:
    """Number, or summed class weights, of the labels that are not ignored; examples for probabilities."""

    def divisor(targets: Any, examples: int) -> float:
        if not isinstance(targets, torch.Tensor) or targets.is_floating_point():
            return float(examples)
        labels = targets.long()
        kept = labels != ignored
        if weight is None:
            return float(kept.sum())
        known = kept & (labels >= 0) & (labels < len(weight))  # the loss itself refuses any other
        return float(weight.to(labels.device).double()[labels[known]].sum())

    return divisor


_EXAMPLES = Reduction("the number of examples", _per_example)
_SUM = Reduction("nothing: it is a sum", _per_example, sums=True)

_OF_LABELS = Reduction("the number of labels that are not ignored", _per_label(IGNORED, None))

_NAMED: dict[LossCallable, Reduction] = dict.fromkeys(CRITERIA.values(), _EXAMPLES) | {
    CRITERIA[CROSS_ENTROPY]: _OF_LABELS,
    CRITERIA[TOKEN_CROSS_ENTROPY]: _OF_LABELS,
}

_LABELLED: dict[Any, type[nn.Module]] = {
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.nll_loss: nn.NLLLoss,
}
"""torch's losses whose mean divides by the labels or class weights that it sums over."""

_EVEN: dict[Any, type[nn.Module]] = {
    functional.mse_loss: nn.MSELoss,
    functional.l1_loss: nn.L1Loss,
    functional.smooth_l1_loss: nn.SmoothL1Loss,
    functional.huber_loss: nn.HuberLoss,
    functional.binary_cross_entropy: nn.BCELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.kl_div: nn.KLDivLoss,
    functional.poisson_nll_loss: nn.PoissonNLLLoss,
    functional.soft_margin_loss: nn.SoftMarginLoss,
    functional.multi_margin_loss: nn.MultiMarginLoss,
    functional.multilabel_margin_loss: nn.MultiLabelMarginLoss,
    functional.multilabel_soft_margin_loss: nn.MultiLabelSoftMarginLoss,
    functional.hinge_embedding_loss: nn.HingeEmbeddingLoss,
}
"""torch's losses whose mean counts every example alike."""

_PER_CLASS = frozenset({functional.multi_margin_loss, functional.multilabel_soft_margin_loss})
"""Those of `_EVEN` whose weights belong to classes, and not to elements."""


def denominator(criterion: LossCallable) -> Reduction | None:
    """What a loss's mean divides by; None if that cannot be known.

    It is known for the losses of `CRITERIA`, and for modules and functions of torch.nn with their options,
    `functools.partial` of such functions included.

    Parameters
    ----------
    criterion
        A function of (outputs, targets) or a module.

    Examples
    --------
    The first two of four labels weigh a third, since one of them is ignored:

    >>> import torch
    >>> from superconsistency.neural.curvature.criteria import denominator
    >>> labels = torch.tensor([1, -100, 0, 2])
    >>> reduction = denominator(torch.nn.CrossEntropyLoss())
    >>> [round(share, 3) for share in reduction.shares([(labels[:2], 2), (labels[2:], 2)])]
    [0.333, 0.667]
    """
    if isinstance(criterion, NamedLoss):
        return _NAMED[criterion]
    function, options = _torchs(criterion)
    if function is None or options.get("size_average") is not None or options.get("reduce") is not None:
        return None
    reduction, weight = options.get("reduction", "mean"), options.get("weight")
    if reduction == "sum":
        return _SUM
    if reduction == "mean" and function in _LABELLED:
        words = "the number of labels that are not ignored" if weight is None else "the labels' class weights"
        return Reduction(words, _per_label(options.get("ignore_index", IGNORED), weight))
    if function in _EVEN and (weight is None or function in _PER_CLASS):
        is_mean = reduction == "mean" or (reduction == "batchmean" and function is functional.kl_div)
        return _EXAMPLES if is_mean else None
    return None


def _torchs(criterion: LossCallable) -> tuple[Any, dict[str, Any]]:
    """A loss of torch.nn as its function and options; None if it is another or takes further arguments."""
    known = _LABELLED | _EVEN
    if isinstance(criterion, nn.Module):
        for function, module in known.items():
            if type(criterion).forward is module.forward and "forward" not in vars(criterion):
                return function, vars(criterion) | dict(criterion.named_buffers())
        return None, {}
    function, options = _bare(criterion)
    return (function, options) if isinstance(function, FunctionType) and function in known else (None, {})


def _bare(criterion: Any) -> tuple[Any, dict[str, Any]]:
    """The function of a `functools.partial` and its options; None if arguments are bound by position."""
    options: dict[str, Any] = {}
    while isinstance(criterion, partial):
        if criterion.args:
            return None, {}
        criterion, options = criterion.func, criterion.keywords | options
    return criterion, options


def is_torchs(criterion: LossCallable) -> bool:
    """Whether a loss is a function or module of torch.nn, which takes tensors only."""
    criterion = _bare(criterion)[0]
    own = type(criterion).forward if isinstance(criterion, nn.Module) else criterion
    return str(getattr(own, "__module__", "")) in {"torch.nn.functional", "torch.nn.modules.loss"}


def criterion_name(criterion: str | LossCallable) -> str:
    """What a loss is called in messages."""
    if isinstance(criterion, str):
        return criterion
    while isinstance(criterion, partial):
        criterion = criterion.func
    if isinstance(criterion, NamedLoss):
        return criterion.name
    return str(getattr(criterion, "__name__", type(criterion).__name__))
