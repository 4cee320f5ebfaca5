"""Orbits of the planar infinite-width map."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import require_whole
from ..theory import PlanarState
from .kernels import planar_orbit

if TYPE_CHECKING:
    from ..theory import PlanarMap

_FAR = 1e100
"""Coordinates beyond this count as diverged."""


class Orbit(NamedTuple):
    """A trajectory of the planar map."""

    states: PlanarState
    """Points, shape (steps + 1,) each; NaN from the step of divergence on."""
    diverged_step: int
    """Step at which the orbit diverged, or -1."""


def iterate(planar: PlanarMap, steps: int, start: PlanarState | None = None) -> Orbit:
    """Iterate the map from a point, by default from initialisation at infinite width.

    Raises
    ------
    InputError
        If there are fewer than zero steps.
    """
    require_whole("steps", steps, least=0, example=200)
    a, p = planar.start if start is None else start
    orbit = np.empty((steps + 1, 2))
    diverged = planar_orbit(
        float(a), float(p), planar.coupling, planar.target_norm, planar.learning_rate, _FAR, orbit
    )
    return Orbit(PlanarState(orbit[:, 0], orbit[:, 1]), int(diverged))
