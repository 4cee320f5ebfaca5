"""Weights halfway between the iterates of an optimizer, where curvature changes little from step to step."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHARES = {1: (1.0,), 2: (0.5, 0.5), 3: (0.25, 0.5, 0.25)}
"""Parts of the last iterates, the oldest first, by how many there are."""


class Midpoints:
    """Second-order midpoints of a run, `(theta[t-1] + 2 theta[t] + theta[t+1])/4`.

    At the edge of stability the iterate swings to and fro along the top eigenvector, and the Hessian with it.
    The midpoint stays near the middle, so that a tracked eigenvector is nearly right already and a
    measurement takes fewer products (`make bench-curvature`). Three copies of the parameters are held.

    Parameters
    ----------
    parameters
        A module, or the tensors that the optimizer changes in place.

    Examples
    --------
    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> midpoints = Midpoints([weight])
    >>> for value in (1.0, -1.0, 2.0):
    ...     _ = weight.data.fill_(value)
    ...     midpoints.observe()
    >>> with midpoints.weights():
    ...     weight.item()
    0.25
    >>> weight.item()
    2.0
    """

    def __init__(self, parameters: torch.nn.Module | Iterable[torch.Tensor]) -> None:
        given = parameters.parameters() if isinstance(parameters, torch.nn.Module) else parameters
        self.parameters = list(given)
        self._iterates: deque[list[torch.Tensor]] = deque(maxlen=max(SHARES))

    def observe(self) -> None:
        """Take the present weights in as the latest iterate: to be called after each optimizer step."""
        self._iterates.append([value.detach().clone() for value in self.parameters])

    @contextmanager
    def weights(self) -> Iterator[None]:
        """Inside, parameters are at the midpoint of the last iterates; without any, as they are.

        Afterwards they have the very bits that they had.
        """
        if not self._iterates:
            yield
            return
        before = [value.detach().clone() for value in self.parameters]
        self._put(self._midpoint())
        try:
            yield
        finally:
            self._put(before)

    def state(self) -> dict[str, Any]:
        """What later midpoints depend on, as tensors."""
        return {"iterates": [list(iterate) for iterate in self._iterates]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from the state of a run with the same parameters."""
        self._iterates.clear()
        self._iterates.extend(list(iterate) for iterate in state["iterates"])

    def _midpoint(self) -> list[torch.Tensor]:
        shares = SHARES[len(self._iterates)]
        found = [shares[0] * value for value in self._iterates[0]]
        for share, iterate in zip(shares[1:], list(self._iterates)[1:], strict=True):
            for total, value in zip(found, iterate, strict=True):
                total.add_(value, alpha=share)
        return found

    @torch.no_grad()
    def _put(self, values: list[torch.Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)
