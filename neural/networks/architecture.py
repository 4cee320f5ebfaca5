"""Settings that know how to build their network: the base of every architecture."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import as_number, invalid, require_known

if TYPE_CHECKING:
    import torch

    from ...theory import Parametrization
    from ..data import Dataset
    from .layers import Network

WIDEST = 2**14
"""Widest network: SimpleConvNet then has 2.4e9 weights, about 10 GB."""


class Architecture(ABC):
    """Settings that know how to build their network.

    Attributes
    ----------
    kinds
        Kinds of data sets that the network takes.
    """

    kinds: ClassVar[tuple[str, ...]]

    def build(
        self,
        table: Parametrization,
        width: int,
        data: Dataset,
        generator: torch.Generator,
        device: torch.device | None = None,
    ) -> Network:
        """The network at a width, for the shapes of a data set, in the precision of its inputs.

        Raises
        ------
        InputError
            If the settings do not fit the width or the data.
        """
        require_kind(self, data)
        network = self._network(data, table, width, generator, device=device)
        return network.to(data.inputs.dtype) if data.inputs.is_floating_point() else network

    @abstractmethod
    def _network(self, data: Dataset, *drawn: Any, device: torch.device | None) -> Network:
        """The network for a data set's shapes; parametrization, width and generator are passed on."""


def require_kind(settings: Architecture, data: Dataset) -> None:
    """Raise `InputError` unless the network takes such examples."""
    require_known("kind of the data", data.kind, settings.kinds)


def image_arguments(data: Dataset) -> dict[str, Any]:
    """Constructor arguments of a network of images, from the data's shape."""
    channels, side = data.shape[:2]
    return {"channels": channels, "side": side, "classes": data.outputs}


def require_finite(settings: object, *names: str) -> None:
    """Raise `InputError` unless these settings are finite numbers."""
    for name in names:
        words = name.replace("_", " ")
        value = as_number(words, getattr(settings, name), example=1)
        if not math.isfinite(value):
            raise invalid(words, value, accepted="a finite number", remedy="pass 1, for example")
