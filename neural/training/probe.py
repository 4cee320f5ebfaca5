"""What runs are measured on: fixed examples, chosen before training and the same for all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch

from ...errors import invalid
from ...records import array_hash
from ..curvature import CRITERIA, CROSS_ENTROPY, TOKEN_CROSS_ENTROPY, Batch, Hessian, Meter, Metric, Objective
from ..data import IMAGES, TOKENS, Augmentation
from .config import FREE_OF_METRIC
from .published import AUGMENTED_PROBE, POWER_ITERATION, SUMMED_KERNEL, UNFROZEN, power_iteration
from .stream import seed_of, torch_generator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..curvature import CurvatureEstimate
    from ..data import Dataset
    from .config import TrainingConfig


MINI_BATCHES = 8
"""On which batch sharpness is measured."""


class Scores(NamedTuple):
    """Networks on the evaluation examples; each field of shape (networks,), on the device."""

    loss: torch.Tensor
    accuracy: torch.Tensor
    """Part classified rightly; NaN where targets are not classes."""


class Probe:
    """The fixed examples of a grid, and what is measured on them.

    Parameters
    ----------
    config, data
        Settings, and the examples to choose from, on the device to measure on.
    """

    def __init__(self, config: TrainingConfig, data: Dataset) -> None:
        self.config = config
        # The table's own networks return the classes last.
        tokens = data.kind == TOKENS and config.loss == CROSS_ENTROPY
        self.criterion = CRITERIA[TOKEN_CROSS_ENTROPY if tokens else config.loss]
        order = np.random.default_rng(config.probe_seed).permutation(data.examples)
        largest = max(config.evaluation_examples, config.hessian_examples)
        chosen = torch.from_numpy(order[:largest]).to(data.targets.device)
        self.inputs, self.targets = data.inputs[chosen], data.targets[chosen]
        if data.kind == IMAGES:
            self.inputs = self.inputs.contiguous(memory_format=torch.channels_last)
        self.evaluated = slice(0, config.evaluation_examples)
        curved = chosen[: config.hessian_examples]
        inputs = self.inputs[: len(curved)]
        if AUGMENTED_PROBE in config.oddities and data.kind == IMAGES:
            inputs = _augmented(config, data, curved)
        self.batch = Batch(inputs, self.targets[: len(curved)])
        self.classifies = not data.targets.is_floating_point()
        self.mini_batches = _mini_batches(config, data) if "batch_sharpness" in config.quantities else None
        self._objectives: WeakKeyDictionary[torch.nn.Module, Objective] = WeakKeyDictionary()

    @property
    def hash(self) -> str:
        """SHA-256 of the fixed examples."""
        drawn = [values for part in self.mini_batches or () for values in part]
        arrays = (self.inputs, self.targets, self.batch.inputs, *drawn)
        return array_hash(*(values.cpu().numpy() for values in arrays))

    @property
    def names(self) -> tuple[str, ...]:
        """Variables of a record that a measurement fills."""
        config = self.config
        scores = ("loss", "accuracy") if self.classifies else ("loss",)
        names = []
        for name in config.quantities:
            further = {"sharpness": "eigenvalue", "ntk_sharpness": "ntk_eigenvalue"}.get(name)
            numbers = range(2, config.count + 1) if further else ()
            names += [name, *(f"{further}_{number}" for number in numbers)]
        products = ("hessian_products",) if names else ()
        return (
            *scores,
            *(part for name in names if name != "loss" for part in (name, f"{name}_error")),
            *products,
        )

    @torch.no_grad()
    def scores(self, model: torch.nn.Module, networks: int = 1) -> Scores:
        """Loss and accuracy of one network, or of several trained together."""
        outputs = model(self.inputs[self.evaluated])
        targets = self.targets[self.evaluated]
        parts = (outputs,) if networks == 1 else outputs
        losses = torch.stack([self.criterion(part, targets) for part in parts])
        if not self.classifies:
            return Scores(losses, torch.full_like(losses, math.nan))
        right = [(part.argmax(-1) == targets).to(losses.dtype).mean() for part in parts]
        return Scores(losses, torch.stack(right))

    def meter(self, *seeds: int) -> Meter | None:
        """What measures one run's curvature, its random vectors seeded; None if nothing is asked for."""
        config = self.config
        if not config.quantities:
            return None
        return Meter(
            config.quantities,
            count=config.count,
            kernel_count=config.count,
            tolerance=config.tolerance,
            seed=seed_of(*seeds) % 2**53,
        )

    def measure(
        self, meter: Meter, model: torch.nn.Module, roots: Sequence[float | torch.Tensor] | None
    ) -> dict[str, float]:
        """Curvature of a model in the metric of these roots, by variable of the record.

        Without roots there are no values, unless all that is asked for is free of the metric.
        """
        config = self.config
        if roots is None and not set(config.quantities) <= FREE_OF_METRIC:
            return {}
        objective = self._objective(model)
        metric = None if roots is None else Metric(tuple(roots))
        found = meter(objective, self.batch, metric, mini_batches=self.mini_batches)
        values = self._values(found.estimates) | {"hessian_products": float(found.products)}
        if POWER_ITERATION in config.oddities and "sharpness" in values:
            hessian = Hessian(objective, self.batch, metric)
            values["sharpness"] = power_iteration(hessian, torch_generator(config.probe_seed))
            values["sharpness_error"] = math.nan
        return values

    def _objective(self, model: torch.nn.Module) -> Objective:
        """A network's loss; derivatives are checked for the first network, all being of the same code."""
        if model not in self._objectives:
            own = Objective(model, self.criterion)
            for earlier in self._objectives.values():
                own.take_checks(earlier)
            self._objectives[model] = own
        return self._objectives[model]

    def _values(self, estimates: Mapping[str, CurvatureEstimate]) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, estimate in estimates.items():
            summed = name.startswith("ntk_") and SUMMED_KERNEL in self.config.oddities
            factor = self.batch.examples if summed else 1
            values[name], values[f"{name}_error"] = factor * estimate.value, factor * estimate.error
        return {name: value for name, value in values.items() if name in self.names}


def _mini_batches(config: TrainingConfig, data: Dataset) -> list[Batch]:
    """Fixed mini-batches of the size that is trained on, not augmented."""
    generator = np.random.default_rng([config.probe_seed, 1])
    size = min(config.batch_size or data.examples, data.examples)
    rows = [generator.permutation(data.examples)[:size] for _ in range(MINI_BATCHES)]
    chosen = [torch.from_numpy(own).to(data.targets.device) for own in rows]
    return [Batch(data.inputs[own], data.targets[own]) for own in chosen]


def _augmented(config: TrainingConfig, data: Dataset, rows: torch.Tensor) -> torch.Tensor:
    """These examples, augmented as the training is, or as it is by default."""
    augmentation = config.augmentation or Augmentation()
    draws = augmentation.draw(len(rows), torch_generator(config.probe_seed))
    draws = type(draws)(*(values.to(rows.device) for values in draws))
    return augmentation.apply(data.inputs, rows, draws)


def freeze(model: torch.nn.Module, config: TrainingConfig) -> dict[str, torch.nn.Parameter]:
    """Switch the gradients of frozen parameters off; give those that are trained, by name.

    As published, frozen parameters keep their gradients, and so their part in the Hessian.

    Raises
    ------
    InputError
        If something frozen is part of no parameter's name, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    trained = {
        name: value for name, value in parameters.items() if not any(part in name for part in config.frozen)
    }
    idle = [part for part in config.frozen if not any(part in name for name in parameters)]
    if idle or not trained:
        accepted = f"parts of parameters' names, such as {next(iter(parameters))}"
        raise invalid("frozen", idle or config.frozen, accepted=accepted, remedy="leave one trained")
    if UNFROZEN not in config.oddities:
        for name in parameters.keys() - trained.keys():
            parameters[name].requires_grad_(False)
    return trained
