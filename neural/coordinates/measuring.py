"""What the layers of a network do in its first steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ...errors import require_whole
from ..data import IMAGES, TOKENS
from ..networks import Attention, scaled_layers
from ..networks.layers import Norm
from ..training import Probe, RunGroup
from .check import ACTIVATION, CHANGE, LATER, LOGITS, OWN_CHANGE, WEIGHT_CHANGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...theory import Array
    from ..data import Dataset
    from ..training import Run, TrainingConfig


def few_examples(data: Dataset, examples: int | None) -> Dataset:
    """The first examples of a shuffled data set."""
    count = (1 if data.kind == TOKENS else 16) if examples is None else examples
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
    """One network, and what its layers do in training.

    Attributes
    ----------
    rows
        Row of the table by name of what is measured: a layer, its further parameters (`first.bias`), and the
        logits of attention (`blocks.0.attention.logits`), whose row has the kind `LOGITS`.
    """

    def __init__(self, config: TrainingConfig, run: Run, data: Dataset) -> None:
        self.inputs, self.targets = data.inputs, data.targets
        self.run_group = RunGroup(config, data, Probe(config, data), (run,))
        self.model = self.run_group.models[0]
        layers = dict(scaled_layers(self.model))
        self.layers = {name: layer for name, layer in layers.items() if not isinstance(layer, Norm)}
        self.vectors = {
            f"{name}.{key}": layer.get_parameter(key)
            for name, layer in layers.items()
            for key in layer.scales
            if key != "weight"
        }
        self.attention = {
            name: module for name, module in self.model.named_modules() if isinstance(module, Attention)
        }
        self.rows = {name: layer.scales["weight"] for name, layer in self.layers.items()}
        self.rows |= {
            f"{name}.{key}": row
            for name, layer in layers.items()
            for key, row in layer.scales.items()
            if key != "weight"
        }
        self.rows |= {
            f"{name}.{LOGITS}": self.rows[f"{name}.query"]._replace(kind=LOGITS) for name in self.attention
        }

    def measured(self, steps: Sequence[int]) -> dict[str, dict[str, Array]]:
        """Every quantity at every step, by name; NaN at steps that a network which diverges does not take."""
        start = self._passes()
        shares = self._shares(start)
        start = {name: _Pass(*(part.detach() for part in seen)) for name, seen in start.items()}
        logits = self._logits(start)
        weights = {name: value.detach().clone() for name, value in self.weights.items()}
        changes = {name: self._changing(name, len(steps)) for name in self.rows}

        @torch.no_grad()
        def note(group: RunGroup) -> None:
            if group.step not in steps:
                return
            now, place = self._passes(), steps.index(group.step)
            for name, layer in self.layers.items():
                total = now[name].outputs - start[name].outputs
                own = layer(start[name].inputs) - start[name].outputs
                for quantity, part in ((CHANGE, total), (OWN_CHANGE, own)):
                    changes[name][quantity][place] = float((shares[name] * part.abs()).sum())
                changes[name][LATER][place] = float(now[name].outputs.abs().mean())
            for name, value in self.weights.items():
                changes[name][WEIGHT_CHANGE][place] = float((value - weights[name]).abs().mean())
            for name, values in self._logits(now).items():
                changes[name][CHANGE][place] = float((values - logits[name]).abs().mean())

        for _ in self.run_group.train(note) if steps else ():
            pass
        outputs = {name: seen.outputs for name, seen in start.items()} | logits
        for name, values in outputs.items():
            changes[name][ACTIVATION] = np.array(float(values.abs().mean()))
        return changes

    def _changing(self, name: str, steps: int) -> dict[str, Array]:
        """Room for what changes of a row, in a network that is trained."""
        quantities = [CHANGE, OWN_CHANGE, LATER, WEIGHT_CHANGE]
        if name not in self.layers:
            quantities = [WEIGHT_CHANGE] if name in self.vectors else [CHANGE]
        return {quantity: np.full(steps, np.nan) for quantity in quantities} if steps else {}

    @property
    def weights(self) -> dict[str, torch.nn.Parameter]:
        """Every parameter: a layer's weight by the layer's name, others by their own."""
        return {name: layer.get_parameter("weight") for name, layer in self.layers.items()} | self.vectors

    def _logits(self, seen: dict[str, _Pass]) -> dict[str, torch.Tensor]:
        return {
            f"{name}.{LOGITS}": module.logits(
                seen[f"{name}.query"].outputs.detach(), seen[f"{name}.key"].outputs.detach()
            )
            for name, module in self.attention.items()
        }

    def _shares(self, start: dict[str, _Pass]) -> dict[str, torch.Tensor]:
        """Size of the loss's gradient in every output of a layer, over their sum."""
        outputs = [seen.outputs for seen in start.values()]
        loss = self.run_group.probe.criterion(outputs[-1], self.targets)
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


class _Pass(NamedTuple):
    """What a layer was given, and what it made of it."""

    inputs: torch.Tensor
    outputs: torch.Tensor
