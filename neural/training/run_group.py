"""Runs that share width and data order, one or several at once: trained, measured, saved and resumed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...errors import invalid
from ..curvature.midpoints import Midpoints
from ..networks import parameter_scales
from ..networks.stacking import stacked_network
from .graphs import Recorded, require_cuda
from .optimizers import OptimizerSteps
from .probe import freeze
from .published import SHARED_INITIALISATION, published_optimizer
from .stream import Stream, torch_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..data import Dataset
    from .config import TrainingConfig
    from .probe import Probe


class Run(NamedTuple):
    """One network to train."""

    width: int
    learning_rate: float
    seed: int


class Measurement(NamedTuple):
    """One measurement of a run."""

    run: Run
    step: int
    values: dict[str, float]
    """By variable of the record; loss and accuracy are those on the evaluation examples."""


class Diverged(NamedTuple):
    """The end of a run whose loss ceased to be finite."""

    run: Run
    step: int


class GivenUp(NamedTuple):
    """The end of a run whose loss is hopeless; it was measured at this step."""

    run: Run
    step: int


Event = Measurement | Diverged | GivenUp
"""What a group tells of its runs."""


class RunGroup:
    """Runs at one width on one order of the data, whose networks do every step together.

    Initialisation depends on seed and width, the order of the data on the seed alone. A run whose loss is no
    longer finite ends with `Diverged`, one whose loss is beyond `config.give_up` with `GivenUp`; the others
    go on.

    Parameters
    ----------
    config, data, probe
        What is shared; the data decide the device, and whether in double precision.
    runs
        At least one, of the same width and `data_seed`.
    cuda_graphs
        Whether losses and gradients are recorded once and replayed, on a CUDA device.

    Raises
    ------
    InputError
        If the network does not fit the data, nothing is trained, a frozen part is of no parameter's name, or
        runs differ in width or data order.
    """

    def __init__(
        self,
        config: TrainingConfig,
        data: Dataset,
        probe: Probe,
        runs: Sequence[Run],
        *,
        cuda_graphs: bool = False,
    ) -> None:
        self.config, self.probe, self.runs = config, probe, tuple(runs)
        if len({(run.width, data_seed(config, run.seed)) for run in runs}) != 1:
            raise invalid(
                "runs to train together", list(map(tuple, runs)), accepted="one width and data order",
                remedy="train them apart",
            )  # fmt: skip
        width = runs[0].width
        generators = [torch_generator(initialisation_seed(config, run.seed), width) for run in runs]
        build, device = config.network.build, data.inputs.device
        self.models = [build(config.table, width, data, one, device) for one in generators]
        for model in self.models:
            freeze(model, config)
        self.whole: torch.nn.Module = self.models[0] if len(runs) == 1 else stacked_network(self.models)
        trained = freeze(self.whole, config)
        self.parameters = list(trained.values())
        scales = parameter_scales(self.models[0])
        self.rows = [scales[name] for name in trained]
        optimizer = published_optimizer(
            config.optimizer, config.table, int(self.models[0].readout.weight.shape[1]), config.oddities
        )
        self.optimizer: OptimizerSteps = optimizer.begin(
            self.parameters, self.rows, [run.learning_rate for run in runs]
        )
        self.stream = Stream(data, config.batch_size, config.augmentation, data_seed(config, runs[0].seed))
        self.meters = [probe.meter(run.seed, run.width) for run in runs]
        if cuda_graphs:
            require_cuda(device)
        self._losses_and_gradients = Recorded(self._backward) if cuda_graphs else self._backward
        self._observed_steps = config.observed_steps
        self.midpoints = Midpoints(self.parameters) if self._observed_steps else None
        self.step = 0
        self._observe()
        self.measured = -1
        """Last step at which the runs were measured."""
        self.losses: list[torch.Tensor] = []
        """Losses of the batches since then, each (runs,); they wait on the device until they are needed."""
        self.ended: list[int | None] = [None] * len(runs)
        """Steps at which runs diverged or were given up."""
        self.first_losses: list[float | None] = [None] * len(runs)
        """Losses on the evaluation examples at the first measurement."""

    def train(self, on_step: Callable[[RunGroup], None] | None = None) -> Iterator[Event]:
        """Go on to the last step, giving measurements and ends of runs as they are met.

        Parameters
        ----------
        on_step
            Called after every step, when the state is whole.
        """
        measured = frozenset(self.config.measured_steps)
        while True:
            if self.step in measured and self.measured < self.step:
                yield from self._measure()
            if self.step == self.config.steps or None not in self.ended:
                break
            self._advance()
            if on_step is not None:
                on_step(self)
        if self.losses:
            yield from self._diverged(torch.stack(self.losses).cpu())

    def _advance(self) -> None:
        losses, gradients = self._losses_and_gradients(*self.stream.batch(self.step))
        self.optimizer.step(gradients, self.config.factor(self.step))
        self.losses.append(losses.clone())
        self.step += 1
        self._observe()

    def _observe(self) -> None:
        """Keep the iterate if a midpoint that is measured needs it."""
        if self.midpoints is not None and self.step in self._observed_steps:
            self.midpoints.observe()

    def _backward(
        self, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Losses of a batch, shape (runs,), and the parameters' gradients."""
        outputs = self.whole(inputs)
        parts = (outputs,) if len(self.runs) == 1 else outputs
        losses = torch.stack([self.probe.criterion(part, targets) for part in parts])
        gradients = torch.autograd.grad(losses.sum(), self.parameters)
        return losses.detach(), gradients

    def _measure(self) -> Iterator[Event]:
        """Measure the runs that have not ended, one after the other."""
        scores = self.probe.scores(self.whole, len(self.runs))
        # The only synchronisation with the device: losses wait there until a measurement needs them.
        losses = torch.stack([*self.losses, scores.loss]).cpu()
        accuracy = scores.accuracy.tolist()
        yield from self._diverged(losses)
        for index, run in enumerate(self.runs):
            if self.ended[index] is not None:
                continue
            loss = float(losses[-1, index])
            values = {"loss": loss}
            if self.probe.classifies:
                values["accuracy"] = accuracy[index]
            yield Measurement(run, self.step, self._curvature(index) | values)
            if self._hopeless(index, loss) and self.step < self.config.steps:
                self.ended[index] = self.step
                yield GivenUp(run, self.step)
        self.losses.clear()
        self.measured = self.step

    def _hopeless(self, index: int, loss: float) -> bool:
        """Whether a run's loss is beyond the multiple of its first at which runs are given up."""
        first = self.first_losses[index]
        if first is None:
            self.first_losses[index] = first = loss
        return self.config.give_up is not None and loss > self.config.give_up * first

    def _diverged(self, losses: torch.Tensor) -> Iterator[Diverged]:
        """The runs whose losses since the last measurement, shape (steps, runs), ceased to be finite."""
        begun = self.step - len(self.losses)
        for index, run in enumerate(self.runs):
            finite = torch.isfinite(losses[:, index])
            if self.ended[index] is None and not finite.all():
                first = begun + int(torch.argmin(finite.int()))
                self.ended[index] = first
                yield Diverged(run, first)

    def _curvature(self, index: int) -> dict[str, float]:
        meter = self.meters[index]
        if meter is None:
            return {}
        with nullcontext() if self.midpoints is None else self.midpoints.weights():
            return self.probe.measure(meter, self.models[index], self.roots(index))

    def roots(self, index: int) -> list[float | torch.Tensor] | None:
        """Roots of the learning-rate metric, for each parameter of one run; None before it is known."""
        model = self.models[index]
        shapes = {name: value.shape for name, value in model.named_parameters()}
        trained = freeze(model, self.config)
        found = self.optimizer.roots(index, [shapes[name] for name in trained])
        if found is None:
            return None
        known = dict(zip(trained, found, strict=True))
        scales = parameter_scales(model)
        name_of = self.optimizer.optimizer.name
        return [
            known[name] if name in known else scales[name].rate(name_of) ** 0.5
            for name, value in model.named_parameters()
            if value.requires_grad
        ]

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the runs depends on, as tensors and plain values."""
        return {
            "step": self.step,
            "measured": self.measured,
            "parameters": [value.detach() for value in self.whole.parameters()],
            "optimizer": self.optimizer.state(),
            "losses": list(self.losses),
            "ended": list(self.ended),
            "first_losses": list(self.first_losses),
            "meters": [None if meter is None else meter.state() for meter in self.meters],
            "midpoints": None if self.midpoints is None else self.midpoints.state(),
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Go on from the state of a group of the same runs: the rest is the same, bit for bit."""
        for value, saved in zip(self.whole.parameters(), state["parameters"], strict=True):
            value.copy_(saved)
        self.optimizer.load(state["optimizer"])
        self.step, self.measured = state["step"], state["measured"]
        self.losses, self.ended = list(state["losses"]), list(state["ended"])
        self.first_losses = list(state["first_losses"])
        for meter, saved in zip(self.meters, state["meters"], strict=True):
            if meter is not None:
                meter.load(saved)
        if self.midpoints is not None:
            self.midpoints.load(state["midpoints"])


def initialisation_seed(config: TrainingConfig, seed: int) -> int:
    """Seed of the initialisation of a grid's run."""
    shared = config.vary == "data" or SHARED_INITIALISATION in config.oddities
    return 0 if shared else seed


def data_seed(config: TrainingConfig, seed: int) -> int:
    """Seed of the order of the data, and of augmentation, of a grid's run."""
    return 0 if config.vary == "initialisation" else seed
