"""Which way of differentiation is the faster one for a model on its device, by measurement."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import torch

from ...errors import InputError
from .operators import DIFFERENTIATION, Hessian

if TYPE_CHECKING:
    from .batch import Batch
    from .objective import Objective

_MARGIN = 1.2
"""Times that forward over reverse has to be faster to be chosen, so that noise does not choose."""

_EXAMPLES = 128


def fastest_differentiation(objective: Objective, batch: Batch, *, repeats: int = 3) -> str:
    """`reverse`, or `forward` if its products are faster by a fifth at least, by timing a few of each.

    Parameters
    ----------
    objective, batch
        What the products are taken on; only the first 128 examples are used.
    repeats
        Products timed, after one that is not; their median counts.

    Raises
    ------
    InputError
        If the model has no second derivative.

    Notes
    -----
    Forward over reverse counts as infinitely slow where an operation has no forward derivative.
    """
    part = next(batch.parts(_EXAMPLES))
    seconds = {}
    for way in DIFFERENTIATION:
        try:
            seconds[way] = _seconds(Hessian(objective, part, differentiation=way), repeats)
        except InputError:
            if way == "reverse":
                raise
    forward = seconds.get("forward", float("inf"))
    return "forward" if _MARGIN * forward < seconds["reverse"] else "reverse"


def _seconds(hessian: Hessian, repeats: int) -> float:
    """Median time of a product, read back so that it has been done."""
    vector = torch.ones(hessian.size, dtype=hessian.dtype, device=hessian.device)
    float(hessian(vector)[0])
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        float(hessian(vector)[0])
        times.append(time.perf_counter() - begun)
    return median(times)
