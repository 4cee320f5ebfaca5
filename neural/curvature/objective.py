"""The loss that curvature is measured of: a model and its criterion, checked before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import additivity, guards
from .evaluation import own_context
from .loss_function import LossFunction
from .parameters import as_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from .batch import Batch
    from .criteria import LossCallable
    from .outputs import Selector


class Objective(LossFunction):
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
        criterion: str | LossCallable = "cross-entropy",
        *,
        seed: int = 0,
        output: Selector = None,
        weight_decay: float | Mapping[str, float] = 0.0,
    ) -> None:
        super().__init__(model, criterion, seed=seed, output=output, weight_decay=weight_decay)
        self._checked: set[object] = set()
        self._shares: dict[object, list[float]] = {}

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
            As in `guards.check_derivatives`.
        """
        key = (batch.signature, differentiation, self._code_key())
        if key not in self._checked:
            guards.check_derivatives(self, batch, differentiation)
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
