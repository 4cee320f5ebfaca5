"""The loss of a model as a function of its parameters on a batch, evaluated without touching the model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from ...errors import invalid, require_known
from . import additivity, guards
from .batch import Batch, describe, mapped, own_copy
from .broadcast import refuse_broadcast
from .criteria import CRITERIA, NamedLoss, criterion_name, is_torchs
from .evaluation import (
    How,
    Substitution,
    call,
    double_by_default,
    operations,
    own_context,
    substituted,
)
from .failures import users_code
from .isolation import modules_in, own_randomness, random_state, reached_by, silence_backward_hooks, unchanged
from .outputs import impossible, loss_in, tensor_in
from .parameters import ParameterList, Snapshot, WeightDecay, as_parameter, require_measurable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .criteria import Criterion
    from .outputs import Selector

OWN_LOSS = "model"
"""Name of the loss that the model itself returns."""

__all__ = ["OWN_LOSS", "Batch", "Objective"]


class Objective:
    """A model with the loss it is trained on.

    What is measured is what the model uses: its parameters are listed anew at each measurement, and weights
    that the loss reaches through closures, lists or plain attributes are part of them. Evaluating it leaves
    parameters, buffers, gradients, attributes, flags and all random states as they were.

    Parameters
    ----------
    model
        Any module, in the mode in which it is to be measured.
    criterion
        A name of `CRITERIA`; `model`, the loss that the model returns itself; or a function or module of
        (outputs, targets) that gives one number. If it is a module, its own parameters are measured too.
    seed
        Seeds dropout and the like, so that the loss is one function. The model and the criterion each
        start from it.
    output
        Where the logits are in what the model returns: a key, an index, an attribute or a function. By
        default they are found: a tensor, the entry `logits`, or the first floating-point tensor. A function
        of one's own gets all that the model returns unless this is given.
    weight_decay
        Adds `decay/2 |theta|^2` to the loss: a number for all parameters, or numbers by name.

    Raises
    ------
    InputError
        If nothing in the model is trained, it is compiled, scripted, lazy, on no device, wrapped for several
        devices, or in half precision, or the criterion is unknown.

    Examples
    --------
    >>> import torch
    >>> from superconsistency.neural import Batch, Objective
    >>> objective = Objective(torch.nn.Linear(3, 2))
    >>> objective.size, objective.dtype
    (8, torch.float32)
    >>> batch = Batch(torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]))
    >>> 0.3 < objective.loss(batch) < 1.2
    True
    """

    def __init__(
        self,
        model: torch.nn.Module,
        criterion: str | Criterion = "cross-entropy",
        *,
        seed: int = 0,
        output: Selector = None,
        weight_decay: float | Mapping[str, float] = 0.0,
    ) -> None:
        self.name = criterion_name(criterion)
        self.own_loss = isinstance(criterion, str) and criterion == OWN_LOSS
        self.criterion: Criterion = _found_criterion(criterion)
        self.takes_tensor = isinstance(self.criterion, NamedLoss) or is_torchs(self.criterion)
        self.model, self.output, self._seed = model, output, seed
        require_measurable(model, self.criterion)
        self.decay = WeightDecay(weight_decay, self.listed())
        self.copies_frozen = False
        """Whether the model changes parameters that are not trained, and so is given copies of them."""
        self._checked: set[object] = set()
        self._shares: dict[object, list[float]] = {}

    def listed(self) -> ParameterList:
        """The trained parameters of the model, and of the criterion where it has some, as they are now."""
        return ParameterList(self.model, self.criterion)

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The trained parameters by name, as they are now."""
        return self.listed().trained

    @property
    def size(self) -> int:
        """Number of real coordinates of all parameters; a complex number has two."""
        return self.listed().size

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.listed().device

    @property
    def dtype(self) -> torch.dtype:
        """The widest precision among the parameters."""
        return self.listed().dtype

    def leaves(self) -> dict[str, torch.Tensor]:
        """New leaves of the graph, one a parameter, that share its memory but not its gradient.

        A complex parameter's leaf is real, with its real and imaginary parts in a last dimension of two.
        """
        return {name: value.requires_grad_() for name, value in self.listed().coordinates().items()}

    @own_context()
    def outputs(self, leaves: Mapping[str, torch.Tensor], batch: Batch, *, how: How | None = None) -> Any:
        """The model's outputs on a batch, for these values of its parameters.

        Parameters
        ----------
        leaves, batch
            Parameters by name, as of `leaves`, and examples.
        how
            How to evaluate; what is seen on the way is noted there.

        Raises
        ------
        InputError
            If the model fails on the batch, naming the module.
        """
        with self._substituted(leaves, how or How()):
            return self._called(batch)

    @own_context()
    def loss_of(
        self,
        outputs: Any,
        batch: Batch,
        leaves: Mapping[str, torch.Tensor] | None = None,
        *,
        how: How | None = None,
    ) -> torch.Tensor:
        """The criterion of a model's outputs, a scalar, without weight decay.

        Parameters
        ----------
        outputs
            What `outputs` gave.
        batch
            The examples, for their targets.
        leaves
            Values of the parameters, for a criterion that reaches them by itself; None are the present ones.
        how
            As of `outputs`.

        Raises
        ------
        InputError
            If it fails, naming the criterion, or is not one real number.
        """
        return self.loss_of_logits(self._given(outputs), batch, leaves, how=how)

    @own_context()
    def loss_of_logits(
        self,
        given: Any,
        batch: Batch,
        leaves: Mapping[str, torch.Tensor] | None = None,
        *,
        how: How | None = None,
    ) -> torch.Tensor:
        """The criterion of what it takes of the outputs, as `loss_of`."""
        with self._substituted(self.listed().coordinates() if leaves is None else leaves, how or How()):
            return self._criticised(given, batch)

    @own_context()
    def evaluated(
        self, leaves: Mapping[str, torch.Tensor], batch: Batch, how: How | None = None
    ) -> tuple[Any, torch.Tensor]:
        """Outputs and loss, as of `outputs` and `loss_of`."""
        with self._substituted(leaves, how or How()):
            outputs = self._called(batch)
            if how is not None and how.counts:
                how.randomness = random_state()
            with own_randomness(self._seed):
                loss = self._criticised(self._given(outputs), batch)
                if how is not None and how.counts:
                    how.randomness += random_state()
        return outputs, loss

    def _called(self, batch: Batch) -> Any:
        inputs = mapped(batch.inputs, own_copy)
        with users_code(self.model, batch):
            return call(self.model, inputs)

    def _criticised(self, given: Any, batch: Batch) -> torch.Tensor:
        targets = mapped(batch.targets, own_copy)
        with users_code(self.criterion, Batch(given, targets), self.name), refuse_broadcast():
            if isinstance(self.criterion, NamedLoss):
                self.criterion.require_values(given, targets)
            loss = self.criterion(given, targets)
        return self._scalar(loss)

    def _given(self, outputs: Any) -> Any:
        """What the criterion gets of the outputs."""
        return tensor_in(outputs, self.output) if self._selects else outputs

    @property
    def _selects(self) -> bool:
        """Whether the criterion gets one tensor out of what the model returned."""
        return not self.own_loss and (self.takes_tensor or self.output is not None)

    def _scalar(self, loss: object) -> torch.Tensor:
        if isinstance(loss, torch.Tensor) and not loss.ndim and loss.is_floating_point():
            return loss
        raise invalid(
            f"loss {self.name}",
            describe(loss),
            accepted="one real number, the mean over examples",
            remedy="let the criterion reduce with mean()",
        )

    def logits(self, outputs: Any) -> torch.Tensor:
        """The one tensor of outputs that the Gauss-Newton matrix and the tangent kernel are about.

        Raises
        ------
        ImpossibleQuantityError
            If the loss is a function of more than one tensor.
        """
        if self.own_loss:
            raise impossible(
                "loss",
                "that which the model returns",
                accepted="a loss of outputs and targets, for the Gauss-Newton matrix",
                remedy="name a loss, such as cross-entropy",
            )
        return tensor_in(outputs, self.output, strict=not self._selects)

    @own_context()
    def loss(self, batch: Batch, examples_at_once: int | None = None) -> float:
        """The loss on a batch with its weight decay, from its parts if it does not fit at once."""
        self.ready(batch)
        return self.loss_at(self.listed().coordinates(), batch, examples_at_once)

    @own_context()
    def loss_at(
        self, coordinates: Mapping[str, torch.Tensor], batch: Batch, examples_at_once: int | None = None
    ) -> float:
        """The loss as `loss` gives it, for other values of the parameters."""
        total = self.decay.penalty(coordinates)
        for part, share in self.parts(batch, examples_at_once):
            _, loss = self.evaluated(coordinates, part)
            total += share * float(loss.detach())
        return total

    @own_context()
    def gradients(self, batch: Batch, examples_at_once: int | None = None) -> dict[str, torch.Tensor]:
        """The loss's gradient with its weight decay, by parameter and of its shape and type."""
        self.ready(batch)
        listed = self.listed()
        total = {name: self.decay.of(name) * value for name, value in listed.coordinates().items()}
        for part, share in self.parts(batch, examples_at_once):
            for name, piece in self.value_and_gradient(part)[1].items():
                total[name] = total[name] + share * piece
        return {name: as_parameter(value, listed.trained[name]) for name, value in total.items()}

    @own_context()
    def value_and_gradient(
        self, part: Batch, how: How | None = None
    ) -> tuple[float, dict[str, torch.Tensor]]:
        """One part's own loss and its gradient in the leaves' shapes, without weight decay."""
        leaves, how = self.leaves(), how or How()
        _, loss = self.evaluated(leaves, part, how)
        if not loss.requires_grad:
            return float(loss), {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
        with self.derivatives(leaves, how):
            found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        return float(loss.detach()), dict(zip(leaves, found, strict=True))

    def penalty(self) -> float:
        """The weight decay's part of the loss."""
        return self.decay.penalty(self.listed().coordinates())

    @own_context()
    def parts(self, batch: Batch, examples_at_once: int | None) -> list[tuple[Batch, float]]:
        """Parts of a batch with the factors of their losses; parts that do not count are left out.

        Raises
        ------
        InputError
            If the parts' losses and gradients do not make up the whole's.
        """
        if examples_at_once is None or examples_at_once >= batch.examples:
            return [(batch, 1.0)]
        key = (batch.hash, examples_at_once, self._code_key())
        if key not in self._shares:
            self._shares[key] = additivity.shares(self, batch, examples_at_once)
        found = zip(batch.parts(examples_at_once), self._shares[key], strict=True)
        return [(part, share) for part, share in found if share]

    @own_context()
    def ready(self, batch: Batch, differentiation: str = "reverse") -> None:
        """Check once, on a few examples, that derivatives are those of the loss, and nothing is left out.

        Raises
        ------
        InputError
            As `guards.check`.
        """
        key = (batch.signature, differentiation, self._code_key())
        if key not in self._checked:
            guards.check(self, batch, differentiation)
            self._checked.add(key)

    def take_checks(self, other: Objective) -> None:
        """Rely on the checks of an objective whose model has the same code, such as one of another width."""
        self._checked = other._checked

    def _code_key(self) -> object:
        """What the loss depends on beside values: modes of all modules, and which parameters are trained."""
        modes = [
            (name, value)
            for module in self.model.modules()
            for name, value in vars(module).items()
            if isinstance(value, (bool, str))
        ]
        return tuple(modes), tuple(self.parameters)

    @contextmanager
    def derivatives(self, leaves: Mapping[str, torch.Tensor], how: How) -> Iterator[None]:
        """Inside, derivatives of what was evaluated at these leaves are taken; parts may run again."""
        with self._substituted(leaves, how) if how.recomputes else operations(lean=how.lean):
            yield

    @contextmanager
    def _substituted(self, leaves: Mapping[str, torch.Tensor], how: How) -> Iterator[None]:
        """Inside, the model and the criterion have other parameters and copies of their buffers.

        Random numbers are the objective's own; afterwards everything is as before.
        """
        modules = [module for module in (self.model, self.criterion) if isinstance(module, torch.nn.Module)]
        listed = self.listed()
        values = {name: as_parameter(leaf, listed.trained[name]) for name, leaf in leaves.items()}
        frozen = how.frozen
        if self.copies_frozen and not frozen:
            frozen = {name: value.detach().clone() for name, value in listed.frozen.items()}
        reached = reached_by(self.criterion)
        whole = (*modules, *modules_in(reached))
        snapshot = Snapshot.of(whole, listed, values, frozen)
        holders: list[object] = [part for module in whole for part in module.modules()]
        holders += [item for item in reached if not isinstance(item, torch.nn.Module)]
        with (
            torch.enable_grad(),
            own_randomness(self._seed),
            unchanged(holders),
            operations(lean=how.lean),
            double_by_default() if how.double else nullcontext(),
            substituted(
                modules,
                snapshot.named[: len(modules)],
                Substitution(snapshot.replacements, snapshot.originals, how),
            ),
        ):
            silence_backward_hooks(modules)
            yield


def _found_criterion(criterion: str | Criterion) -> Criterion:
    """The loss of a name, or the one given."""
    if isinstance(criterion, str):
        require_known("loss", criterion, (*CRITERIA, OWN_LOSS))
        return CRITERIA.get(criterion, loss_in)
    if isinstance(criterion, type):
        name = criterion.__name__
        raise invalid("loss", f"the class {name}", accepted="a loss itself", remedy=f"pass {name}()")
    if not callable(criterion):
        raise invalid("loss", criterion, accepted="a name or a function", remedy="pass cross-entropy")
    return criterion
