"""Training of SimpleConvNet by SGD, with loss and sharpness measured on fixed examples along the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from ..errors import invalid, require_positive, require_whole
from ..records import array_hash, schedule
from .convnet import WIDEST, SimpleConvNet, parameter_groups, scaled_layers
from .curvature import Batch, Eigenpairs, Hessian, Metric, Objective, SpectrumTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..theory import Parametrization
    from .data import Dataset

_LARGEST_RATE = 1e30
"""Times the widest network's factor it is still a single-precision number."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings that all runs of a grid share.

    Attributes
    ----------
    parametrization
        A row of the table.
    steps
        SGD steps, at least 0.
    batch_size
        Examples a step.
    measure_every
        Steps between measurements; the first and the last state are always measured.
    measure_sharpness
        Whether the sharpness is measured beside the loss.
    hessian_examples, evaluation_examples
        Size of the fixed sets on which sharpness and loss are measured; the smaller is part of the larger.
    probe_seed
        Chooses the fixed examples.
    tolerance
        Relative accuracy asked of the eigensolver.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    parametrization: Parametrization
    steps: int = 512
    batch_size: int = 128
    measure_every: int = 32
    measure_sharpness: bool = True
    hessian_examples: int = 128
    evaluation_examples: int = 1024
    probe_seed: int = 0
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 0),
            ("batch_size", 1),
            ("measure_every", 1),
            ("hessian_examples", 1),
            ("evaluation_examples", 1),
            ("probe_seed", 0),
        ):
            require_whole(name.replace("_", " "), getattr(self, name), least=least, example=128)
        if not 0 < self.tolerance < 1:
            raise invalid("tolerance", self.tolerance, accepted="between 0 and 1", remedy="pass 1e-3, say")

    @property
    def measured_steps(self) -> tuple[int, ...]:
        """Steps at which the run is measured."""
        return schedule(self.steps, self.measure_every)


class Measurement(NamedTuple):
    """One measurement of a run."""

    step: int
    loss: float
    """Mean cross-entropy on the evaluation examples."""
    sharpness: Eigenpairs | None
    """Largest Hessian eigenvalue on the Hessian examples, if asked for."""


class Diverged(NamedTuple):
    """The end of a run whose loss ceased to be finite."""

    step: int


class Probe:
    """The fixed examples that every run is measured on, chosen before training and the same for all runs."""

    def __init__(self, config: TrainingConfig, data: Dataset) -> None:
        order = np.random.default_rng(config.probe_seed).permutation(len(data.targets))
        largest = max(config.evaluation_examples, config.hessian_examples)
        chosen = torch.from_numpy(order[:largest]).to(data.targets.device)
        self.images = data.inputs[chosen].contiguous(memory_format=torch.channels_last)
        self.labels = data.targets[chosen]
        self.evaluated = slice(0, config.evaluation_examples)
        curved = slice(0, config.hessian_examples)
        self.batch = Batch(self.images[curved], self.labels[curved])

    def loss(self, model: torch.nn.Module) -> torch.Tensor:
        """Mean cross-entropy on the evaluation examples."""
        with torch.no_grad():
            kept = self.evaluated
            return functional.cross_entropy(model(self.images[kept]), self.labels[kept])

    @property
    def hash(self) -> str:
        """SHA-256 of the fixed examples."""
        return array_hash(self.images.cpu().numpy(), self.labels.cpu().numpy())

    def hessian(self, model: torch.nn.Module) -> Hessian:
        """The Hessian in the learning-rate metric on the Hessian examples."""
        scales = [layer.learning_rate_scale for layer in scaled_layers(model)]
        return Hessian(Objective(model), self.batch, Metric.from_scales(scales))


def train(
    config: TrainingConfig,
    data: Dataset,
    probe: Probe,
    *,
    width: int,
    learning_rate: float,
    seed: int,
    on_step: Callable[[int], None] | None = None,
) -> Iterator[Measurement | Diverged]:
    """Train one network, giving its measurements as they are made.

    Initialisation depends on seed and width, the order of the data on the seed alone. A run whose loss is no
    longer finite ends with `Diverged`.

    Parameters
    ----------
    config, data, probe
        What is shared; the data decide the device.
    width, learning_rate, seed
        This run.
    on_step
        Called with the number of steps taken.
    """
    device = data.inputs.device
    model = SimpleConvNet(config.parametrization, width, torch_generator(seed, width)).to(device)
    optimizer = torch.optim.SGD(parameter_groups(model, learning_rate))
    batches = _batches(len(data.targets), config.batch_size, torch_generator(seed), device)
    tracker = SpectrumTracker(tolerance=config.tolerance, seed=_seed(seed, width) % 2**53)
    losses: list[torch.Tensor] = []
    measured = frozenset(config.measured_steps)
    for step in range(config.steps + 1):
        if step in measured:
            losses.append(probe.loss(model))
            # The only synchronisation with the device: losses wait there until a measurement needs them.
            finite = torch.isfinite(torch.stack(losses)).cpu()
            if not finite.all():
                yield Diverged(step - len(losses) + 1 + int(torch.argmin(finite.int())))
                return
            estimate = tracker(probe.hessian(model)) if config.measure_sharpness else None
            yield Measurement(step, float(losses[-1]), estimate)
            losses.clear()
        if step < config.steps:
            losses.append(_sgd_step(model, optimizer, data, next(batches)))
            if on_step is not None:
                on_step(step + 1)


def _sgd_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, data: Dataset, batch: torch.Tensor
) -> torch.Tensor:
    images = data.inputs[batch].contiguous(memory_format=torch.channels_last)
    loss = functional.cross_entropy(model(images), data.targets[batch])
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves backward untyped
    optimizer.step()
    return loss.detach()


def torch_generator(*seeds: int) -> torch.Generator:
    """A CPU generator seeded by numbers: a run's randomness is the same on every device."""
    return torch.Generator().manual_seed(_seed(*seeds))


def _seed(*seeds: int) -> int:
    """One seed from several."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _batches(
    examples: int, size: int, generator: torch.Generator, device: torch.device
) -> Iterator[torch.Tensor]:
    """Endless minibatches of indices, a new order each epoch, without the remainder."""
    while True:
        order = torch.randperm(examples, generator=generator).to(device)
        yield from torch.chunk(order[: examples - examples % size], examples // size)


def check_run(width: float, learning_rate: float, seed: int) -> None:
    """Refuse a run that cannot be trained.

    Raises
    ------
    InputError
        If the width, learning rate or seed is out of range.
    """
    require_whole("width", width, least=1, most=WIDEST, example=64)
    require_positive("learning rate", learning_rate, example=0.5)
    if learning_rate > _LARGEST_RATE:
        raise invalid(
            "learning rate", learning_rate, accepted=f"at most {_LARGEST_RATE:g}", remedy="pass 0.5, say"
        )
    require_whole("seed", seed, least=0, example=0)
