"""Steps at which runs near the edge of stability are recorded."""

from __future__ import annotations

import numpy as np

FINAL_STEPS = 8
"""Last steps, all recorded, whose mean is a final value; even, for orbits of period two beyond the edge."""

_PAIRS = 50
"""Pairs of steps recorded on the way, evenly spaced in their logarithm."""


def edge_schedule(steps: int) -> tuple[int, ...]:
    """The first twelve and the last eight steps, and between them pairs of an even and an odd one.

    The pairs are spaced evenly in their logarithm. Orbits of period two show both their values in each.
    """
    even = 2 * np.geomspace(1, max(steps // 2, 1), _PAIRS).round().astype(int)
    last = range(max(steps - FINAL_STEPS + 1, 0), steps + 1)
    wanted = {*range(12), *even.tolist(), *(even + 1).tolist(), *last}
    return tuple(sorted(step for step in wanted if step <= steps))
