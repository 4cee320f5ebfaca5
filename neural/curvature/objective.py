"""The loss of a model as a function of its parameters on a batch, evaluated without touching the model."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...errors import invalid, require_known
from ...records import array_hash
from .diagnosis import require_differentiable_twice
from .functions import LeanSecondDerivatives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Criterion = Callable[[Any, torch.Tensor], torch.Tensor]

_IMAGE_DIMENSIONS = 4

CHANNELS_LAST = frozenset({"cpu"})
"""Device types on which images with channels last in memory were measured to be faster for graph and products
together (`make bench-curvature`); elsewhere a batch stays as it is."""


class Batch(NamedTuple):
    """Examples on which curvature is measured; both tensors have one example a row."""

    inputs: torch.Tensor
    targets: torch.Tensor

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self.targets)

    @property
    def hash(self) -> str:
        """SHA-256 of the examples."""
        return array_hash(self.inputs.detach().cpu().numpy(), self.targets.detach().cpu().numpy())

    def parts(self, size: int | None) -> Iterator[Batch]:
        """Consecutive parts of at most `size` examples; the whole if None."""
        size = size or self.examples
        for begin in range(0, self.examples, size):
            yield Batch(self.inputs[begin : begin + size], self.targets[begin : begin + size])


def _mean_squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(outputs, _like(targets, outputs))


def _half_squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return 0.5 * (outputs - _like(targets, outputs)).square().flatten(1).sum(1).mean()


def _cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Over the last dimension, so that a language model's (batch, time, vocabulary) needs no reshaping."""
    if targets.is_floating_point():
        return functional.cross_entropy(outputs, targets)
    return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def _like(targets: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Class labels as one-hot rows; anything else in the outputs' precision."""
    if not targets.is_floating_point():
        targets = functional.one_hot(targets, outputs.shape[-1])
    return targets.to(outputs.dtype)


CRITERIA: dict[str, Criterion] = {
    "cross-entropy": _cross_entropy,
    "mse": _mean_squared,
    "squared": _half_squared,
}
"""Losses by name: `mse` is torch's mean over examples and outputs, `squared` half the squared error summed
over outputs, whose Gauss-Newton matrix has the eigenvalues of the neural tangent kernel."""


class Objective:
    """A model with the loss it is trained on.

    Evaluating it leaves the model's parameters, buffers, gradients, mode and all random states as they were:
    it runs on leaves that share the parameters' memory and on copies of the buffers.

    Parameters
    ----------
    model
        Any module that maps a batch's inputs to outputs, in the mode in which it is to be measured.
    criterion
        A name of `CRITERIA`, or a function of (outputs, targets) that gives a mean over examples.
    seed
        Of dropout and the like, so that the loss is one function.

    Raises
    ------
    InputError
        If nothing in the model is trained, it is compiled, or the criterion is unknown.
    """

    def __init__(
        self, model: torch.nn.Module, criterion: str | Criterion = "cross-entropy", *, seed: int = 0
    ) -> None:
        require_differentiable_twice(model)
        if isinstance(criterion, str):
            require_known("loss", criterion, CRITERIA)
            criterion = CRITERIA[criterion]
        self.model = model
        self.criterion = criterion
        self.parameters = {
            name: value for name, value in model.named_parameters() if value.requires_grad and value.numel()
        }
        self._seed = seed
        if not self.parameters:
            raise invalid(
                "model",
                type(model).__name__,
                accepted="a module with at least one parameter that is trained",
                remedy="set requires_grad on what is to be measured",
            )

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(value.numel() for value in self.parameters.values())

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(iter(self.parameters.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The widest precision among the parameters."""
        widest = torch.float32 if torch.float32 in self._dtypes else next(iter(self._dtypes))
        return torch.float64 if torch.float64 in self._dtypes else widest

    @property
    def _dtypes(self) -> set[torch.dtype]:
        return {value.dtype for value in self.parameters.values()}

    def leaves(self) -> dict[str, torch.Tensor]:
        """New leaves of the graph, one a parameter, that share its memory but not its gradient."""
        return {name: value.detach().requires_grad_() for name, value in self.parameters.items()}

    def outputs(self, leaves: Mapping[str, torch.Tensor], batch: Batch, *, lean: bool = True) -> Any:
        """The model's outputs on a batch, for these values of its parameters.

        Parameters
        ----------
        leaves, batch
            Parameters by name, and examples.
        lean
            Whether to use the operations of `functions`, which only reverse passes go through.
        """
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        with torch.enable_grad(), self.own_randomness(), operations(lean=lean):
            return functional_call(self.model, {**buffers, **leaves}, (_arranged(batch.inputs),))

    def loss_of(self, outputs: Any, batch: Batch) -> torch.Tensor:
        """The criterion, a scalar.

        Raises
        ------
        InputError
            If it is not one number.
        """
        with torch.enable_grad():
            loss = self.criterion(outputs, batch.targets)
        if loss.ndim:
            raise invalid(
                "loss",
                f"a tensor of shape {tuple(loss.shape)}",
                accepted="one number, the mean over examples",
                remedy="let the criterion reduce with mean()",
            )
        return loss

    def loss(self, batch: Batch, examples_at_once: int | None = None) -> float:
        """The loss on a batch, as a mean over its parts if it does not fit at once."""
        leaves, total = self.leaves(), 0.0
        for part in batch.parts(examples_at_once):
            with torch.no_grad():
                loss = self.loss_of(self.outputs(leaves, part), part).detach()
            total += float(loss) * part.examples / batch.examples
        return total

    @contextmanager
    def own_randomness(self) -> Iterator[None]:
        """Random numbers of the objective's own seed inside, every generator's state as before outside."""
        device = self.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._seed)
            yield


@contextmanager
def operations(*, lean: bool = True) -> Iterator[None]:
    """Inside, attention is by the math kernel and, if so wished, the operations of `functions` are used.

    Derivatives are taken inside, too, where `torch.utils.checkpoint` runs parts of a model again.
    """
    with sdpa_kernel(SDPBackend.MATH), LeanSecondDerivatives() if lean else nullcontext():
        yield


def _arranged(inputs: torch.Tensor) -> torch.Tensor:
    """Images with channels last in memory where that is faster."""
    if inputs.ndim == _IMAGE_DIMENSIONS and inputs.device.type in CHANNELS_LAST:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs
