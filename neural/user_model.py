"""A user's own network as something to measure: model, batch, loss, metric and edge, from names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import invalid
from ..records import array_hash, versions
from .curvature import CRITERIA, CROSS_ENTROPY, OWN_LOSS, TOKEN_CROSS_ENTROPY, Batch, Objective
from .curvature.isolation import own_randomness
from .data import TOKENS
from .device import resolve_device
from .fitting import as_placed, batch_structure, fitted_batch, require_next_tokens, with_targets
from .loading import DataReading, build_model, load_batch, load_checkpoint
from .messages import error_text
from .user_code import as_factory, called, load_object
from .user_optimizer import decay_of, stepping_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .curvature import Metric
    from .loading import Built, Drawn
    from .user_code import Executed
    from .user_optimizer import Decay, Stepping

    Loss = str | Callable[[Any, Any], torch.Tensor]


@dataclass(frozen=True)
class Choices:
    """What is to be measured, as given on the command line."""

    factory: str
    """See `loading.build_model`."""
    data: str | None = None
    examples: int | None = None
    """See `loading.load_batch`."""
    reading: DataReading = field(default_factory=DataReading)
    """How text and images are read."""
    loss: str = "cross-entropy"
    """A name of `CRITERIA`; `model` for the loss that the model returns itself; or the name, as of
    `loading.load_object`, of a function of (outputs, targets), a loss module or a class of one."""
    output: str | int | None = None
    """Where the logits are in what the model returns; None looks for them."""
    weight_decay: float | None = None
    """Part of the loss, for all parameters; None is the optimizer's where it acts through the gradient."""
    checkpoint: Path | None = None
    learning_rate: float | None = None
    """Learning rate of the edge of stability; None is the optimizer's largest."""
    plain: bool = False
    """Whether the optimizer is left out, with its weight decay."""
    evaluation: bool = False
    """Whether the model is put into evaluation mode; else it stays as the factory returned it."""
    double: bool = False
    """Whether in double precision."""
    seed: int = 0
    """Seed of initialisation, examples and dropout."""
    device: str = "auto"
    examples_at_once: int | None = None


@dataclass(frozen=True)
class UserModel:
    """A network, ready to be measured."""

    choices: Choices
    objective: Objective
    batch: Batch
    drawn: Drawn
    decay: Decay
    """Weight decay that is part of the loss."""
    stepping: Stepping
    """How sharpness and learning rate are compared."""
    optimizer: str | None
    """Class of the model's optimizer, unless it is left out."""

    @property
    def metric(self) -> Metric | None:
        """What everything is measured in; None is the plain Hessian's."""
        return self.stepping.metric

    @property
    def edge(self) -> float | None:
        """Sharpness beyond which steps of this learning rate are unstable; None without one."""
        return self.stepping.edge

    @property
    def mode(self) -> str:
        """Mode of the model."""
        return "training" if self.objective.model.training else "evaluation"

    def document(self) -> dict[str, Any]:
        """What is measured, in plain values: configuration, seed, versions, hashes of data and weights."""
        weights = [value.detach().cpu().numpy() for value in self.objective.parameters.values()]
        configuration = asdict(self.choices) | {
            "checkpoint": None if self.choices.checkpoint is None else str(self.choices.checkpoint),
            "reading": self.choices.reading._asdict(),
        }
        return {
            "configuration": configuration,
            "seeds": [self.choices.seed],
            "versions": versions(__name__),
            "data_hash": self.batch.hash,
            "weights_hash": array_hash(*weights),
            "model": type(self.objective.model).__name__,
            "mode": self.mode,
            "parameters": self.objective.size,
            "dtype": str(self.objective.dtype).removeprefix("torch."),
            "device": str(self.objective.device),
            "data": self.drawn.name,
            "examples": self.batch.examples,
            "available": self.drawn.available,
            **batch_structure(self.batch),
            "loss": self.choices.loss,
            "output_key": self.choices.output,
            "weight_decay": self.decay.values,
            "optimizer": self.optimizer,
            "metric": self.stepping.words,
            "learning_rate": self.stepping.learning_rate,
            "edge_of_stability": self.edge,
        }


def load_user_model(choices: Choices) -> UserModel:
    """Build the model, draw the batch, and try the loss on it.

    Raises
    ------
    InputError
        If a name, a file or a number cannot be used, or the model does not run on the batch.
    """
    device = resolve_device(choices.device)
    executed: Executed = {}
    drawn = load_batch(choices.data, choices.examples, choices.seed, choices.reading, executed=executed)
    built = build_model(choices.factory, choices.seed, executed=executed)
    loss = _loss(choices, executed)
    if loss == CROSS_ENTROPY and drawn.kind == TOKENS:
        loss = TOKEN_CROSS_ENTROPY
    _place(built, loss, device, double=choices.double)
    if choices.checkpoint is not None:
        load_checkpoint(choices.checkpoint, built)
    if choices.evaluation:
        built.model.eval()
    optimizer = None if choices.plain else built.optimizer
    objective, decay = _objective(built.model, loss, optimizer, choices)
    drawn = drawn._replace(batch=as_placed(drawn.batch, objective.device, objective.dtype))
    batch = _batch(objective, drawn, choices)
    stepping = stepping_of(
        optimizer, objective, batch, choices.learning_rate, examples_at_once=choices.examples_at_once
    )
    name = None if optimizer is None else type(optimizer).__name__
    return UserModel(choices, objective, batch, drawn, decay, stepping, name)


def _objective(
    model: torch.nn.Module, loss: Loss, optimizer: torch.optim.Optimizer | None, choices: Choices
) -> tuple[Objective, Decay]:
    """The loss with its weight decay."""
    objective = Objective(model, loss, seed=choices.seed, output=choices.output)
    decay = decay_of(optimizer, objective.parameters, choices.weight_decay)
    if not decay.values:
        return objective, decay
    whole = Objective(model, loss, seed=choices.seed, output=choices.output, weight_decay=decay.values)
    return whole, decay


def _batch(objective: Objective, drawn: Drawn, choices: Choices) -> Batch:
    """The examples in the form in which the model takes them."""
    if choices.loss == OWN_LOSS:
        drawn = drawn._replace(batch=with_targets(objective.model, drawn))
    elif choices.loss in CRITERIA:
        require_next_tokens(objective.model, drawn.batch)
    return fitted_batch(objective, drawn, choices.examples_at_once)


def _place(built: Built, loss: Loss, device: torch.device, *, double: bool) -> None:
    """Move the model and a loss module to a device and precision, the optimizer's state with them."""
    for what, module in (("model", built.model), ("loss", loss)):
        if not isinstance(module, torch.nn.Module):
            continue
        try:
            module.to(device)
            if double:
                _make_double(module)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            name = type(module).__name__
            accepted = f"a module that can be moved to {device} ({error_text(error)})"
            raise invalid(what, name, accepted=accepted, remedy="load its weights first") from error
    if built.optimizer is not None and built.optimizer.state:
        built.optimizer.load_state_dict(built.optimizer.state_dict())


def _make_double(module: torch.nn.Module) -> None:
    """Put a module into double precision, complex numbers too, which `Module.double` leaves as they are."""
    module.double()
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_complex():
            tensor.data = tensor.data.to(torch.complex128)


def _loss(choices: Choices, executed: Executed) -> Loss:
    """A name, or a function or module by name; a class is made an object of."""
    loss = choices.loss
    if loss == OWN_LOSS or loss in CRITERIA:
        return loss
    if ":" not in loss:
        accepted = f"{', '.join(CRITERIA)}, {OWN_LOSS}, or module:function of (outputs, targets)"
        raise invalid("loss", loss, accepted=accepted, remedy="choose one of these")
    with own_randomness(choices.seed):
        found = load_object(loss, executed)
    if isinstance(found, type):
        found = called(loss, found, choices.seed)
    return as_factory(loss, found)
