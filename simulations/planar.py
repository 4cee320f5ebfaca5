"""Orbits of the planar infinite-width map: one with all its points, or many with their last."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import invalid, require_whole
from ..records import NEVER
from ..theory import PlanarState, UniversalState
from .planar_kernels import advance_universal, planar_orbit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..theory import Array, PlanarMap

FAR = 1e100
"""Coordinates beyond this count as diverged: `a` and `p`, or `x^2 + y^2 = 2 eta0 p`."""


class Orbit(NamedTuple):
    """A trajectory of the planar map."""

    states: PlanarState
    """Points, shape (steps + 1,) each; NaN from the step of divergence on."""
    diverged_step: int
    """Step at which the orbit diverged, or -1."""


class Advanced(NamedTuple):
    """Where many orbits are after some steps."""

    states: UniversalState
    """Last points, shape (...) each; those of a diverged orbit are NaN."""
    diverged_step: NDArray[np.int64]
    """Steps at which orbits diverged, or -1; shape (...)."""


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
        float(a), float(p), planar.coupling, planar.target_norm, planar.learning_rate, FAR, orbit
    )
    return Orbit(PlanarState(orbit[:, 0], orbit[:, 1]), int(diverged))


def advance_planar(start: UniversalState, mu: float | Array, steps: int) -> Advanced:
    """Take steps of many planar maps at once, keeping only where they end.

    Every dimension, target and learning rate is one number here, `PlanarMap.mu`; points come from
    `PlanarMap.to_universal` and go back by `PlanarMap.from_universal`.

    Parameters
    ----------
    start
        Starts, coordinates of any shapes that broadcast with `mu`.
    mu
        Learning rates over the edge, at least zero.
    steps
        Steps to take.

    Raises
    ------
    InputError
        If a coordinate or a parameter is not finite, a parameter is negative, or the steps are.
    """
    require_whole("steps", steps, least=0, example=10_000)
    x, y, parameter = universal_grid(start, mu)
    diverged_step = np.full(x.shape, NEVER, dtype=np.int64)
    advance_universal(x.ravel(), y.ravel(), parameter.ravel(), FAR, steps, diverged_step.ravel())
    far = diverged_step >= 0
    return Advanced(UniversalState(*(np.where(far, np.nan, part) for part in (x, y))), diverged_step)


def universal_grid(start: UniversalState, mu: float | Array) -> tuple[Array, Array, Array]:
    """Copies of points and parameters, broadcast to one shape and checked, for the kernels to work on.

    Raises
    ------
    InputError
        If a coordinate or a parameter is not finite, or a parameter is negative.
    """
    parts = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (*start, mu)))
    x, y, parameter = (np.array(part, order="C") for part in parts)
    for name, values in (("x", x), ("y", y), ("mu", parameter)):
        if not np.isfinite(values).all():
            raise invalid(
                name,
                float(values[~np.isfinite(values)][0]),
                accepted="finite numbers",
                remedy="leave out points that diverged",
            )
    if (parameter < 0).any():
        raise invalid(
            "mu", float(parameter.min()), accepted="at least 0", remedy="pass learning rates over the edge"
        )
    return x, y, parameter
