"""Losses and gradients of a step as one CUDA graph: small networks otherwise wait for their launches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ...errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    Gradients = tuple[torch.Tensor, ...]
    Backward = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, Gradients]]

_WARM_UPS = 3
"""Calls before the recording, as CUDA graphs ask for."""


class Recorded:
    """A function of a batch, recorded at its first call and then replayed.

    Parameters
    ----------
    function
        Gives losses and gradients of inputs and targets; it does the same operations on the same memory each
        time, and synchronises nothing.

    Notes
    -----
    Batches have to keep their shapes. What a call gives is overwritten by the next.
    """

    def __init__(self, function: Backward) -> None:
        self.function = function
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, Gradients]:
        """Losses and gradients."""
        if self._graph is None:
            self._record(inputs, targets)
        self.inputs.copy_(inputs)
        self.targets.copy_(targets)
        if self._graph is not None:
            self._graph.replay()
        return self.results

    def _record(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.inputs, self.targets = inputs.clone(), targets.clone()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call] # torch leaves it untyped
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                self.function(self.inputs, self.targets)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.results = self.function(self.inputs, self.targets)
        self._graph = graph


def require_cuda(device: torch.device) -> None:
    """Raise `InputError` unless a device can record graphs."""
    if device.type != "cuda":
        raise invalid("cuda graphs", device.type, accepted="a CUDA device", remedy="leave them out")
