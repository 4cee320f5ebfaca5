"""A data set in memory: what every reader gives and every network is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...errors import require_instance

if TYPE_CHECKING:
    import torch

IMAGES, TOKENS, VECTORS = "images", "tokens", "vectors"
"""Kinds of examples."""


class Dataset(NamedTuple):
    """Examples and targets as tensors, one example a row.

    The kind of the examples says which networks take them: images of floating-point numbers, shape
    (examples, channels, side, side), channels last in memory; sequences of tokens, int64 of shape
    (examples, time); vectors, floating-point of shape (examples, dimension).
    """

    name: str
    kind: str
    """`images`, `tokens` or `vectors`."""
    inputs: torch.Tensor
    targets: torch.Tensor
    """Labels or next tokens, int64 of shape (examples,) or (examples, time), or floating-point values of
    shape (examples, outputs)."""
    outputs: int
    """Classes, tokens of the vocabulary, or values."""
    hash: str
    """SHA-256 of examples and targets as read."""

    @property
    def examples(self) -> int:
        """Number of examples."""
        return len(self.targets)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.inputs.shape[1:])

    def to(self, device: torch.device) -> Dataset:
        """The same examples on a device."""
        return self._replace(inputs=self.inputs.to(device), targets=self.targets.to(device))


def require_dataset(data: object) -> None:
    """Raise `InputError` unless a data set is a `Dataset`."""
    remedy = "pass what load_dataset returns"
    require_instance("data", data, Dataset, accepted="a Dataset", remedy=remedy)
