"""Which multiples of the losses of a batch's parts add up to the whole's, checked on the parts themselves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from ...errors import InputError, invalid
from .batch import tensors
from .criteria import Reduction, denominator
from .evaluation import How
from .layouts import IGNORED

if TYPE_CHECKING:
    from .batch import Batch
    from .loss_function import LossFunction

_PAIR, _SINGLE = 2, 4
"""Parts compared at a time; bytes of a number in single precision."""

_TOLERANCE = {True: 1e-6, False: 1e-4}
"""Distance of sum and whole, relative to the parts, that rounding may make: in double precision, where models
have some steps in single precision, or not."""


def shares(objective: LossFunction, batch: Batch, size: int) -> list[float]:
    """The factor of each part's loss in the whole's.

    They follow from what the criterion divides by, where that is known; else means over examples, sums and
    means over labels that are not ignored are tried. That they are right is seen on every two parts that
    follow each other: loss and gradient of the two together have to be those of both.

    Parameters
    ----------
    objective, batch
        What is measured.
    size
        Examples in a part.

    Raises
    ------
    InputError
        If loss or gradient of parts do not add up, as with contrastive losses, batch statistics, and dropout,
        whose masks are drawn for each part anew.
    """
    _refuse_batch_norm(objective, size)
    parts = list(batch.parts(size))
    known = denominator(objective.criterion)
    worst: _Mismatch | None = None
    for reduction in (known,) if known else _HYPOTHESES:
        found = _mismatch(objective, batch, size, reduction)
        if found is None:
            return reduction.shares([(part.targets, part.examples) for part in parts])
        worst = worst or found
    raise _refusal(objective, size, worst)


def _examples(_targets: object, examples: int) -> float:
    return float(examples)


def _labels(targets: object, examples: int) -> float:
    found = next(tensors(targets), None)
    if found is None or found.is_floating_point() or found.dtype == torch.bool:
        return float(examples)
    return float((found != IGNORED).sum())


_HYPOTHESES = (
    Reduction("the number of examples", _examples),
    Reduction("nothing: it is a sum", _examples, sums=True),
    Reduction("the number of labels that are not ignored", _labels),
)
"""How a loss whose reduction is not known may depend on the examples."""


class _Mismatch(NamedTuple):
    """Parts whose losses or gradients do not add up to those of the parts together."""

    words: str

    @classmethod
    def of(cls, what: str, whole: float, parts: float) -> _Mismatch:
        return cls(f"{what} together {whole:.6g}, from each {parts:.6g}")


class _Evaluated(NamedTuple):
    """Loss and gradient of some examples."""

    loss: float
    gradient: list[torch.Tensor]
    randomness: str

    @classmethod
    def of(cls, objective: LossFunction, part: Batch) -> _Evaluated:
        how = How(counts=True)
        loss, gradient = objective.value_and_gradient(part, how)
        return cls(loss, list(gradient.values()), how.randomness)


def _mismatch(objective: LossFunction, batch: Batch, size: int, reduction: Reduction) -> _Mismatch | None:
    """The first pair of parts that does not add up to the two together; None if all do.

    Parts that count for nothing are passed over. They are in what the pair before or after them is compared
    with, so that they are seen to count for nothing.
    """
    begins = [
        begin
        for begin in range(0, batch.examples, size)
        if _weight(reduction, batch.rows(begin, begin + size))
    ]
    tolerance = _TOLERANCE[all(value.dtype.itemsize > _SINGLE for value in objective.parameters.values())]
    previous: _Evaluated | None = None
    losses = []
    for index, begin in enumerate(begins):
        part = batch.rows(begin, begin + size)
        own = _Evaluated.of(objective, part)
        if previous is not None or len(begins) == 1:
            pair = (
                [part]
                if previous is None
                else [batch.rows(begins[index - 1], begins[index - 1] + size), part]
            )
            start = 0 if index < _PAIR else begins[index - 1]
            end = begins[index + 1] if index + 1 < len(begins) else batch.examples
            factors = reduction.shares([(one.targets, one.examples) for one in pair])
            found = _compared(
                _Evaluated.of(objective, batch.rows(start, end)),
                [own] if previous is None else [previous, own],
                factors,
                tolerance,
            )
            if found is not None:
                return found
        previous = own
        losses.append(own.loss)
    factors = reduction.shares([(one.targets, one.examples) for one in _rows(batch, begins, size)])
    return _compared_losses(objective, batch, losses, factors, tolerance)


def _rows(batch: Batch, begins: list[int], size: int) -> list[Batch]:
    return [batch.rows(begin, begin + size) for begin in begins]


def _compared_losses(
    objective: LossFunction, batch: Batch, losses: list[float], factors: list[float], tolerance: float
) -> _Mismatch | None:
    """How the whole batch's loss, which takes no graph, differs from that of all parts."""
    _, loss = objective.evaluated(objective.listed().coordinates(), batch)
    whole, terms = float(loss.detach()), [factor * one for factor, one in zip(factors, losses, strict=True)]
    if abs(whole - sum(terms)) <= tolerance * (sum(map(abs, terms)) + abs(whole)):
        return None
    return _Mismatch.of("loss of all parts", whole, sum(terms))


def _weight(reduction: Reduction, part: Batch) -> float:
    return reduction.weight(part.targets, part.examples)


def _compared(
    whole: _Evaluated, parts: list[_Evaluated], factors: list[float], tolerance: float
) -> _Mismatch | None:
    """How the whole differs from the sum of the parts; None if it does not."""
    if any(part.randomness != whole.randomness for part in parts):
        return _Mismatch("random numbers are drawn for each example")
    terms = [factor * part.loss for factor, part in zip(factors, parts, strict=True)]
    size = sum(map(abs, terms)) + abs(whole.loss)
    if not abs(whole.loss - sum(terms)) <= tolerance * size:
        return _Mismatch.of("loss of two parts", whole.loss, sum(terms))
    distance, size = 0.0, 0.0
    for place, piece in enumerate(whole.gradient):
        added = sum(
            factor * part.gradient[place].double() for factor, part in zip(factors, parts, strict=True)
        )
        distance += float((piece.double() - added).square().sum())
        size += float(piece.double().square().sum())
        size += sum(float(part.gradient[place].double().square().sum()) for part in parts)
    if not math.sqrt(distance) <= tolerance * math.sqrt(size):
        return _Mismatch(f"gradients of two parts are off by {math.sqrt(distance / size):.2g}")
    return None


def _refusal(objective: LossFunction, size: int, found: _Mismatch | None) -> InputError:
    """The error, with how far parts are from adding up and what is likely to be the cause."""
    why = "" if found is None else f"; {found.words}"
    cause = _mixing_module(objective)
    remedy = f"call eval() on the model, for {cause}, or" if cause else "weight examples alike, or"
    return invalid(
        "examples at once",
        size,
        accepted=f"all of them: parts of the batch do not add up to the whole for {objective.name}{why}",
        remedy=f"{remedy} leave the batch whole",
    )


def _mixing_module(objective: LossFunction) -> str:
    """A module whose outputs for an example depend on the others or on chance; empty if none is known."""
    for name, module in objective.model.named_modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd) and module.training and module.p:
            return f"{name or 'its root'} ({type(module).__name__})"
    return ""


def _refuse_batch_norm(objective: LossFunction, size: int) -> None:
    for name, module in objective.model.named_modules():
        if not isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            continue
        if module.training or module.running_mean is None:
            remedy = "call eval() on the model" if module.running_mean is not None else "track statistics"
            raise invalid(
                "examples at once",
                size,
                accepted=f"the whole batch while {name or 'the model'} normalises by its batch",
                remedy=f"{remedy}, or leave the batch whole",
            )
