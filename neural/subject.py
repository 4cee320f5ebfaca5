"""A user's own network as something to measure: model, batch, loss, metric and edge, from names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import InputError, invalid
from ..records import array_hash, versions
from .curvature import CRITERIA, Batch, Metric, Objective, stability_threshold
from .device import resolve_device
from .loading import build_model, load_batch, load_checkpoint, load_factory, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .loading import Built, Drawn

_PRECISIONS = (torch.float32, torch.float64)
"""In which eigenvalues of a Hessian can be found to a useful error."""


@dataclass(frozen=True)
class Choices:
    """What is to be measured, as given on the command line."""

    factory: str
    """As of `loading.build_model`."""
    data: str | None = None
    examples: int | None = None
    """As of `loading.load_batch`."""
    loss: str = "cross-entropy"
    """A name of `CRITERIA`, or that of a function of (outputs, targets) as of `loading.load_factory`."""
    checkpoint: Path | None = None
    learning_rate: float | None = None
    """Of the edge of stability; None is the optimizer's largest."""
    plain: bool = False
    """Whether the optimizer is left out."""
    evaluation: bool = False
    """Whether the model is put into evaluation mode; else it stays as the factory returned it."""
    double: bool = False
    """Whether in double precision."""
    seed: int = 0
    """Of initialisation, examples and dropout."""
    device: str = "auto"
    examples_at_once: int | None = None


@dataclass(frozen=True)
class Subject:
    """A network, ready to be measured."""

    choices: Choices
    objective: Objective
    batch: Batch
    drawn: Drawn
    metric: Metric | None
    """None is the plain Hessian's."""
    optimizer: str | None
    """Its class, if it gives the metric."""
    learning_rate: float | None
    """eta0, against which the sharpness is measured."""
    threshold: float
    """Sharpness times eta0 at the edge of stability."""

    @property
    def edge(self) -> float | None:
        """Sharpness beyond which steps of this learning rate are unstable; None without one."""
        return self.threshold / self.learning_rate if self.learning_rate else None

    @property
    def held(self) -> int:
        """Tensors of the objective that the optimizer trains; all of them without one."""
        roots = self.metric.roots if self.metric else (1.0,) * len(self.objective.parameters)
        return sum(not (isinstance(root, float) and root == 0) for root in roots)

    @property
    def mode(self) -> str:
        """Of the model."""
        return "training" if self.objective.model.training else "evaluation"

    def document(self) -> dict[str, Any]:
        """What is measured, in plain values: configuration, seed, versions, hashes of data and weights."""
        weights = [value.detach().cpu().numpy() for value in self.objective.parameters.values()]
        return {
            "configuration": asdict(self.choices) | {"checkpoint": _text(self.choices.checkpoint)},
            "seeds": [self.choices.seed],
            "versions": versions(),
            "data_hash": self.batch.hash,
            "weights_hash": array_hash(*weights),
            "model": type(self.objective.model).__name__,
            "mode": self.mode,
            "parameters": self.objective.size,
            "dtype": str(self.objective.dtype).removeprefix("torch."),
            "device": str(self.objective.device),
            "data": self.drawn.name,
            "examples": self.batch.examples,
            "optimizer": self.optimizer,
            "learning_rate": self.learning_rate,
            "edge_of_stability": self.edge,
        }


def load_subject(choices: Choices) -> Subject:
    """Build the model, draw the batch, and try the loss on it.

    Raises
    ------
    InputError
        If a name, a file or a number cannot be used, or the model does not run on the batch.
    """
    device = resolve_device(choices.device)
    drawn = load_batch(choices.data, choices.examples, choices.seed)
    built = build_model(choices.factory, choices.seed)
    _place(built, device, double=choices.double)
    if choices.checkpoint is not None:
        load_checkpoint(choices.checkpoint, built)
    if choices.evaluation:
        built.model.eval()
    objective = Objective(built.model, _criterion(choices.loss), seed=choices.seed)
    if objective.dtype not in _PRECISIONS:
        dtype = str(objective.dtype).removeprefix("torch.")
        raise invalid("dtype of the model", dtype, accepted="float32, float64", remedy="pass --double")
    batch = Batch(*(_placed(tensor, objective) for tensor in drawn.batch))
    _require_running(objective, batch, choices)
    optimizer = None if choices.plain else built.optimizer
    rate = choices.learning_rate
    metric, threshold = None, 2.0
    if optimizer is not None:
        base = max(float(group["lr"]) for group in optimizer.param_groups)
        metric = Metric.from_optimizer(optimizer, objective.parameters, base=base)
        threshold = stability_threshold(optimizer)
        rate = rate or base
    name = type(optimizer).__name__ if optimizer is not None else None
    return Subject(choices, objective, batch, drawn, metric, name, rate, threshold)


def _place(built: Built, device: torch.device, *, double: bool) -> None:
    """Move the model to a device and precision, its optimizer's state with it."""
    built.model.to(device)
    if double:
        built.model.double()
    if built.optimizer is not None and built.optimizer.state:
        built.optimizer.load_state_dict(built.optimizer.state_dict())


def _placed(tensor: torch.Tensor, objective: Objective) -> torch.Tensor:
    dtype = objective.dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.to(objective.device, dtype)


def _criterion(loss: str) -> str | Callable[[Any, torch.Tensor], torch.Tensor]:
    if ":" in loss:
        return load_factory(loss)
    if loss not in CRITERIA:
        accepted = f"{', '.join(CRITERIA)}, or module:function of (outputs, targets)"
        raise invalid("loss", loss, accepted=accepted, remedy="choose one of these")
    return loss


def _require_running(objective: Objective, batch: Batch, choices: Choices) -> None:
    """Run the model and the loss once, since either can fail in any way on what it was not made for."""
    try:
        objective.loss(batch, choices.examples_at_once)
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        shape = tuple(batch.inputs.shape)
        raise invalid(
            "model",
            choices.factory,
            accepted=f"one that runs, with its loss, on inputs of shape {shape} ({words_of(error)})",
            remedy="check the model against --data and --loss",
        ) from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
