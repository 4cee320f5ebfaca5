"""The examples of every step, as a function of seed and step alone: nothing of it needs to be saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from ..data import Augmentation, Dataset
    from ..data.augment import AugmentationDraws

_IMAGE_DIMENSIONS = 4
_ORDER, _AUGMENTATION = 0, 1


class Stream:
    """Minibatches without replacement, a new order each epoch, without the remainder.

    Parameters
    ----------
    data
        On the device to train on.
    batch_size
        Examples a step; None is all, in their order.
    augmentation
        Augmentation of the images; None augments nothing.
    seed
        Seed of order and augmentation.
    """

    def __init__(
        self, data: Dataset, batch_size: int | None, augmentation: Augmentation | None, seed: int
    ) -> None:
        self.data, self.augmentation, self.seed = data, augmentation, seed
        self.whole = batch_size is None
        self.size = batch_size or data.examples
        self.steps = data.examples // self.size
        self._epoch: _Epoch | None = None

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of the step after this many, on the data's device."""
        data = self.data
        if self.whole and self.augmentation is None:
            return data.inputs, data.targets
        number, place = divmod(step, self.steps)
        epoch = self._at(number)
        rows = slice(place * self.size, (place + 1) * self.size)
        chosen = epoch.order[rows]
        if self.augmentation is not None and epoch.draws is not None:
            draws = type(epoch.draws)(*(values[rows] for values in epoch.draws))
            return self.augmentation.apply(data.inputs, chosen, draws), data.targets[chosen]
        inputs = data.inputs[chosen]
        if inputs.ndim == _IMAGE_DIMENSIONS:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs, data.targets[chosen]

    def _at(self, number: int) -> _Epoch:
        """An epoch, drawn when it begins."""
        if self._epoch is None or self._epoch.number != number:
            self._epoch = self._drawn(number)
        return self._epoch

    def _drawn(self, number: int) -> _Epoch:
        examples, device = self.data.examples, self.data.targets.device
        generator = torch_generator(self.seed, number, _ORDER)
        order = torch.arange(examples) if self.whole else torch.randperm(examples, generator=generator)
        draws = None
        if self.augmentation is not None:
            drawn = self.augmentation.draw(examples, torch_generator(self.seed, number, _AUGMENTATION))
            draws = type(drawn)(*(values.to(device) for values in drawn))
        return _Epoch(number, order.to(device), draws)


class _Epoch(NamedTuple):
    """One pass over the data."""

    number: int
    order: torch.Tensor
    draws: AugmentationDraws | None


def torch_generator(*seeds: int) -> torch.Generator:
    """A CPU generator seeded by numbers: a run's randomness is the same on every device."""
    return torch.Generator().manual_seed(seed_of(*seeds))


def seed_of(*seeds: int) -> int:
    """One seed from several."""
    return int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0] >> np.uint64(1))
