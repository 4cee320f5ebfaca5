"""What the layers of a network do in its first steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ...errors import require_whole
from ..data import IMAGES, TOKENS
from ..networks import scaled_layers
from ..networks.layers import Norm
from ..training import Cohort, Probe
from .check import ACTIVATION, LATER, QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...theory import Array
    from ..data import Dataset
    from ..networks import ScaledLayer
    from ..training import Run, TrainingConfig


def few_examples(data: Dataset, examples: int | None) -> Dataset:
    """The first examples of a shuffled data set."""
    count = examples or (1 if data.kind == TOKENS else 16)
    if examples is None and data.kind == TOKENS:
        data = data._replace(inputs=data.inputs[:, :8], targets=data.targets[:, :8])
    require_whole("examples", count, least=1, most=data.examples, example=16)
    rows = torch.from_numpy(np.random.default_rng(0).permutation(data.examples)[:count])
    rows = rows.to(data.targets.device)
    inputs = data.inputs[rows]
    if data.kind == IMAGES:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return data._replace(inputs=inputs, targets=data.targets[rows])


class MeasuredNetwork:
    """One network, and what its layers do in training."""

    def __init__(self, config: TrainingConfig, run: Run, data: Dataset) -> None:
        self.inputs, self.targets = data.inputs, data.targets
        self.cohort = Cohort(config, data, Probe(config, data), (run,))
        self.model = self.cohort.models[0]
        self.layers = {
            name: layer for name, layer in scaled_layers(self.model) if not isinstance(layer, Norm)
        }
        self.rows = {name: layer.scales["weight"] for name, layer in self.layers.items()}

    def measured(self, steps: Sequence[int]) -> dict[str, dict[str, Array]]:
        """Every quantity at every step, by layer."""
        start = self._passes()
        shares = self._shares(start)
        start = {name: _Pass(*(part.detach() for part in seen)) for name, seen in start.items()}
        weights = {name: _weight(layer).clone() for name, layer in self.layers.items()}
        changes: dict[str, list[tuple[float, ...]]] = {name: [] for name in self.layers}

        @torch.no_grad()
        def note(cohort: Cohort) -> None:
            if cohort.step not in steps:
                return
            now = self._passes()
            for name, layer in self.layers.items():
                total = now[name].outputs - start[name].outputs
                own = layer(start[name].inputs) - start[name].outputs
                means = [float((shares[name] * part.abs()).sum()) for part in (total, own)]
                moved = float((_weight(layer) - weights[name]).abs().mean())
                changes[name].append((*means, moved, float(now[name].outputs.abs().mean())))

        for _ in self.cohort.train(note) if steps else ():
            pass
        found = {
            name: {ACTIVATION: np.array(float(seen.outputs.abs().mean()))} for name, seen in start.items()
        }
        for name, rows in changes.items():
            found[name] |= dict(zip((*QUANTITIES[1:], LATER), np.array(rows).T, strict=True)) if rows else {}
        return found

    def _shares(self, start: dict[str, _Pass]) -> dict[str, torch.Tensor]:
        """Size of the loss's gradient in every output of a layer, over their sum."""
        outputs = [seen.outputs for seen in start.values()]
        loss = self.cohort.probe.criterion(outputs[-1], self.targets)
        gradients = torch.autograd.grad(loss, outputs, materialize_grads=True)
        sizes = {name: gradient.abs() for name, gradient in zip(start, gradients, strict=True)}
        return {name: size / size.sum() for name, size in sizes.items()}

    def _passes(self) -> dict[str, _Pass]:
        """Inputs and outputs of every layer on the examples, the readout's last."""
        seen: dict[str, _Pass] = {}
        hooks = [
            layer.register_forward_hook(
                lambda _layer, given, outputs, name=name: seen.__setitem__(name, _Pass(given[0], outputs))
            )
            for name, layer in self.layers.items()
        ]
        try:
            self.model(self.inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return seen


def _weight(layer: ScaledLayer) -> torch.Tensor:
    return layer.get_parameter("weight").detach()


class _Pass(NamedTuple):
    """What a layer was given, and what it made of it."""

    inputs: torch.Tensor
    outputs: torch.Tensor
