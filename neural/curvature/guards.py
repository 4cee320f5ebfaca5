"""Checks before a loss is measured: its graph is whole, and its derivatives are those of its values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ...errors import InputError, invalid
from .derivatives import DOUBLE, SINGLE, UNRESOLVED, Defect, Sizes, defect, drawn_like, scale_of
from .diagnosis import explain_failure, module_with_wrong_derivative
from .evaluation import How, operations
from .failures import UserCodeError
from .graph import forward_product, leaves_of, require_whole_graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from .batch import Batch
    from .loss_function import LossFunction

    Pieces = Sequence[torch.Tensor]

_EXAMPLES = 8
"""Examples that derivatives are checked on: few, so that few jumps of the derivative are near."""

_MOVED = 0.05
"""Random part, relative to its entries, added to each parameter: derivatives are checked beside the present
weights, since at the zeros that many networks start with there are kinks, and at the weights themselves,
where a derivative may be wrong that is right elsewhere."""

_CONSTANT = {True: 1e-9, False: 1e-4}
"""Relative change from call to call up to which a loss is one function, in double precision or not."""


class DerivativeError(InputError):
    """A loss whose derivatives cannot be trusted."""


def _refused(name: str, value: object, *, accepted: str, remedy: str) -> DerivativeError:
    return DerivativeError(str(invalid(name, value, accepted=accepted, remedy=remedy)))


def check_derivatives(objective: LossFunction, batch: Batch, differentiation: str = "reverse") -> None:
    """Refuse a loss part of which is not differentiated, or whose derivatives are wrong.

    It is evaluated on a few examples, or on all of them if it does not run on a few; in double precision, or
    in the model's own if it does not run in that.

    Parameters
    ----------
    objective, batch
        What is to be measured.
    differentiation
        Which second derivative is checked; see `CurvatureOperator`.

    Raises
    ------
    InputError
        If the model or the loss does not run on the batch, changes its weights in place, reaches weights that
        are not measured, gives another value when called again, or has a derivative that is not that of its
        values.
    """
    batch.require_paired()
    few = batch.spread(min(_EXAMPLES, batch.examples))
    parts = [few, batch] if few.examples < batch.examples else [batch]
    failure: InputError | None = None
    for double in (True, False):
        for part in parts:
            try:
                trial = _Trial(objective, part, double=double)
            except (RuntimeError, TypeError):  # a device without double precision
                continue
            try:
                _check(trial, differentiation)
            except DerivativeError:
                raise
            except InputError as error:
                failure = error
            else:
                return
    if failure is not None:
        raise failure


def _check(trial: _Trial, differentiation: str) -> None:
    point, first = _beside(trial)
    again = trial(point)
    _require_constant(trial, first, again)
    _require_no_other_leaves(point, first, again)
    sizes, undecided = Sizes(), False
    for place in (point, trial.near()):
        try:
            found = defect(
                trial,
                place,
                DOUBLE if trial.how.double else SINGLE,
                torch.Generator(device="cpu").manual_seed(1),
                product=trial.forward if differentiation == "forward" else None,
                jumps=lambda: trial.how.kinked,
                inside=trial.inside,
                sizes=sizes,
            )
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # a backward pass of the user's own can fail in any way
            raise _failed(trial, error) from error
        if found is UNRESOLVED:
            undecided = True
        elif found is not None:
            raise _untrue(trial, found)
    if undecided:
        _check_modules(trial)


def _failed(trial: _Trial, error: BaseException) -> InputError:
    """The error for derivatives that cannot be taken; after double precision the model's own is tried."""
    found = str(explain_failure(trial.objective, trial.given, error))
    return UserCodeError(found) if trial.how.double else DerivativeError(found)


def _check_modules(trial: _Trial) -> None:
    """Refuse the model if one of its modules, each by itself, has a wrong derivative.

    In the whole of a large network jumps of the derivative can hide what a single module shows.
    """
    place = module_with_wrong_derivative(trial.objective, trial.given)
    if place:
        raise _refused(
            "model",
            f"not differentiated rightly in {place}",
            accepted="derivatives of its own values, which this module's are not by itself",
            remedy="look there for detach(), straight-through estimates or a backward of its own",
        )


def _beside(trial: _Trial) -> tuple[list[torch.Tensor], torch.Tensor]:
    """A point beside the parameters and the loss there; where the model does not run, the parameters."""
    for factor in (False, True):
        point = trial.near(_MOVED, factor=factor)
        try:
            return point, trial(point)
        except UserCodeError:  # parameters such as scales may have to be positive
            continue
    point = trial.near()
    return point, trial(point)


class _Trial:
    """The loss as a function of leaves on some examples, watched for what it changes and reaches."""

    def __init__(self, objective: LossFunction, part: Batch, *, double: bool) -> None:
        self.objective, self.given = objective, part
        listed = objective.listed()
        wide = {torch.float32: torch.float64, torch.complex64: torch.complex128} if double else {}

        def converted(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(wide.get(tensor.dtype, tensor.dtype))

        self.part = part.mapped(converted)
        self.names = list(listed.trained)
        self.start = [converted(value).clone() for value in listed.coordinates().values()]
        self.frozen = {name: converted(value.detach()).clone() for name, value in listed.frozen.items()}
        self.how = How(double=double)

    def near(self, moved: float = 0.0, *, factor: bool = False) -> list[torch.Tensor]:
        """Leaves at the parameters, or moved by a random part of each entry or of the tensor's scale."""
        generator = torch.Generator(device="cpu").manual_seed(0)
        point = []
        for value in self.start:
            scale = value if factor else scale_of(value)
            step = moved * scale * drawn_like(value, generator) if moved else 0.0
            point.append((value + step).detach().clone().requires_grad_())
        return point

    def __call__(self, leaves: Pieces) -> torch.Tensor:
        """The loss, a scalar."""
        return self._loss(leaves, self.how)

    def _loss(self, leaves: Pieces, how: How) -> torch.Tensor:
        named = dict(zip(self.names, leaves, strict=True))
        how.frozen = {name: value.clone() for name, value in self.frozen.items()}
        watched = named | how.frozen
        before = {name: _version(value) for name, value in watched.items()}
        _, loss = self.objective.evaluated(named, self.part, how)
        for name, value in watched.items():
            if _version(value) != before[name] and name in how.frozen:
                self.objective.copies_frozen = True  # as of a moving average: from now on it is of a copy
            elif _version(value) != before[name]:
                raise _changed(name)
        if not _is_wrapped(loss):
            require_whole_graph(self.objective.listed(), loss)
        return loss

    def inside(self, leaves: list[torch.Tensor]) -> AbstractContextManager[None]:
        """What derivatives at leaves are taken in."""
        return self.objective.derivatives(dict(zip(self.names, leaves, strict=True)), self.how)

    def forward(self, leaves: Pieces, direction: Pieces) -> list[torch.Tensor]:
        """The second derivative along a direction, by forward over reverse."""
        how = How(lean=False, double=self.how.double)
        products = forward_product(
            lambda named: self._loss(list(named.values()), how), dict(zip(self.names, leaves, strict=True))
        )
        found = [torch.zeros_like(leaf) for leaf in leaves]

        def deposit(index: int, piece: torch.Tensor) -> None:
            found[index] = piece

        with operations(lean=False):
            products(direction, deposit)
        return found


def _is_wrapped(tensor: torch.Tensor) -> bool:
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


def _version(tensor: torch.Tensor) -> int:
    """Number of changes in place; constant inside `torch.func` transforms, which do not count them."""
    return 0 if _is_wrapped(tensor) else tensor._version


def _require_constant(trial: _Trial, first: torch.Tensor, again: torch.Tensor) -> None:
    """Refuse a loss that has another value when called again."""
    one, other = float(first.detach()), float(again.detach())
    both = math.isfinite(one) and math.isfinite(other)
    if both and abs(one - other) > _CONSTANT[trial.how.double] * max(abs(one), abs(other)):
        raise _refused(
            "loss",
            f"{one:.9g}, and {other:.9g} when called again",
            accepted="one function of the parameters",
            remedy="draw random numbers from torch, numpy or random; keep no state between calls",
        )


def _require_no_other_leaves(point: Pieces, first: torch.Tensor, again: torch.Tensor) -> None:
    """Refuse a loss that reaches tensors with gradients, the same at each call, that are not measured."""
    found = [leaves_of(loss) for loss in (first, again)]
    measured = {id(value) for value in point}
    for key in (found[0].keys() & found[1].keys()) - measured:
        leaf = found[0][key]
        if not leaf.numel():
            continue
        raise _refused(
            "loss",
            f"a function of a tensor of shape {tuple(leaf.shape)} that requires a gradient",
            accepted="a function of the model's own parameters",
            remedy="make it a parameter of the model or of the loss module, or detach() it",
        )


def _changed(name: str) -> DerivativeError:
    return _refused(
        f"parameter {name}",
        "changed in place when the model is called",
        accepted="a model that leaves its weights as they are",
        remedy="let it make new tensors; an embedding's max_norm has to be None",
    )


def _untrue(trial: _Trial, found: Defect) -> DerivativeError:
    """The error for a derivative that is not that of the values, naming the module that causes it."""
    place = module_with_wrong_derivative(trial.objective, trial.given) or f"loss {trial.objective.name}"
    return _refused(
        "model",
        f"not differentiated rightly in {place}",
        accepted=f"derivatives of its own values; {found.words}",
        remedy="look there for detach(), straight-through estimates or a backward of its own",
    )
