"""When a run is recorded."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import as_numbers, invalid, require_whole

if TYPE_CHECKING:
    from ..errors import Numbers

_MOST = 10**6
"""Recorded steps a run may have."""


def schedule(steps: int, every: int = 1) -> tuple[int, ...]:
    """Steps 0, every, 2 every, ... and the last one.

    Raises
    ------
    InputError
        If there are fewer than zero steps, the interval is not positive, or too many steps are recorded.
    """
    require_whole("steps", steps, least=0, example=200)
    require_whole("interval of recording", every, least=1, example=10)
    steps, every = int(steps), int(every)
    if steps // every > _MOST:
        raise invalid(
            "interval of recording", every, accepted=f"at least {-(-steps // _MOST)} at {steps} steps",
            remedy="record less often, or take fewer steps",
        )  # fmt: skip
    return tuple(sorted({*range(0, steps + 1, every), steps}))


def logarithmic_schedule(steps: int, points: int = 16) -> tuple[int, ...]:
    """Step 0 and about `points` steps from 1 to the last, evenly spaced in their logarithm.

    Raises
    ------
    InputError
        If there are fewer than zero steps, or no points.
    """
    require_whole("steps", steps, least=0, example=200)
    require_whole("points", points, least=1, most=_MOST, example=16)
    steps, points = int(steps), int(points)
    if steps == 0:
        return (0,)
    spaced = (steps ** (index / max(1, points - 1)) for index in range(points))
    return tuple(sorted({0, steps, *(round(step) for step in spaced)}))


def require_schedule(record_at: Numbers) -> tuple[int, ...]:
    """Steps as a tuple, of one step or several; `InputError` unless they ascend from at least zero."""
    steps = as_numbers("recorded steps", record_at, example=10)
    whole = all(step == step // 1 for step in steps)
    if not steps or not whole or steps[0] < 0 or any(one >= other for one, other in pairwise(steps)):
        raise invalid(
            "recorded steps",
            steps,
            accepted="ascending whole numbers of at least 0",
            remedy="use schedule(steps)",
        )
    return tuple(int(step) for step in steps)
