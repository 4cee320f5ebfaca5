"""The loss of a model as a function of its parameters, evaluated without touching the model."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from ...errors import invalid, require_known
from .batch import Batch, describe_structure, mapped, own_copy
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
    from collections.abc import Iterator, Mapping

    from .criteria import LossCallable
    from .outputs import Selector

OWN_LOSS = "model"
"""Name of the loss that the model itself returns."""


class LossFunction:
    """A model and its criterion as a function of parameters and examples.

    Values and derivatives are taken as they come; `Objective`, which has the parameters' description, checks
    them first and splits batches.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        criterion: str | LossCallable = "cross-entropy",
        *,
        seed: int = 0,
        output: Selector = None,
        weight_decay: float | Mapping[str, float] = 0.0,
    ) -> None:
        self.name = criterion_name(criterion)
        self.own_loss = isinstance(criterion, str) and criterion == OWN_LOSS
        self.criterion: LossCallable = _found_criterion(criterion)
        self.takes_tensor = isinstance(self.criterion, NamedLoss) or is_torchs(self.criterion)
        self.model, self.output, self._seed = model, output, seed
        require_measurable(model, self.criterion)
        self.decay = WeightDecay(weight_decay, self.listed())
        self.copies_frozen = False
        """Whether the model changes parameters that are not trained, and so is given copies of them."""

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
            Parameters by name, as `leaves` returns them, and examples.
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
            See `outputs`.

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
        """Outputs and loss; see `outputs` and `loss_of`."""
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
            describe_structure(loss),
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


def _found_criterion(criterion: str | LossCallable) -> LossCallable:
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
