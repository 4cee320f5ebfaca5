"""Part of a data set, every class keeping the same share of its examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ...errors import as_number, invalid, require_whole
from ...records import array_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .dataset import Dataset


def stratified_subset(data: Dataset, examples: int, seed: int) -> Dataset:
    """Draw examples without replacement and keep them in the data's order.

    Parameters
    ----------
    data
        With one label an example, each class keeps the same share of its examples as far as whole numbers
        allow: the shares are rounded down and the largest remainders, ties drawn, get one more. Next tokens
        and values have no classes, and their examples are simply drawn.
    examples
        How many; as many as there are is the data set itself.
    seed
        Seed of the draw, at least 0.

    Returns
    -------
    Dataset
        With a hash of its own examples and targets, and all the outputs.

    Raises
    ------
    InputError
        If there are not as many, or the seed is not a whole number.
    """
    require_whole("seed", seed, least=0, example=0)
    if not 1 <= as_number("examples", examples, example=1) <= data.examples or examples != int(examples):
        accepted = f"1 to {data.examples}, as {data.name} has"
        raise invalid("examples", examples, accepted=accepted, remedy="pass a number of these")
    examples, seed = int(examples), int(seed)
    if examples == data.examples:
        return data
    generator = np.random.default_rng(seed)
    groups = _classes(data)
    shares = _shares(np.array([len(group) for group in groups]), examples, generator)
    drawn = [
        generator.choice(group, share, replace=False) for group, share in zip(groups, shares, strict=True)
    ]
    return _kept(data, np.sort(np.concatenate(drawn)))


def _classes(data: Dataset) -> list[NDArray[np.int64]]:
    """Numbers of the examples of each class; of all examples where there are no classes."""
    if data.targets.is_floating_point() or data.targets.ndim != 1:
        return [np.arange(data.examples)]
    labels = data.targets.cpu().numpy()
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _shares(counts: NDArray[np.int64], examples: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """How many examples of each class are kept, by largest remainder."""
    shares, remainders = np.divmod(counts * examples, counts.sum())
    ranked = np.lexsort((generator.permutation(len(counts)), -remainders))
    shares[ranked[: examples - shares.sum()]] += 1
    result: NDArray[np.int64] = shares
    return result


def _kept(data: Dataset, rows: NDArray[np.int64]) -> Dataset:
    chosen = torch.from_numpy(rows).to(data.targets.device)
    inputs, targets = data.inputs[chosen], data.targets[chosen]
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    digest = array_hash(inputs.cpu().numpy(), targets.cpu().numpy())
    return data._replace(inputs=inputs, targets=targets, hash=digest)
