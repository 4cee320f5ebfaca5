"""The infinite-width limit under muP: a map of the plane.

From `e = I/D`, `v = 1/D`, `w = 0` the latent state keeps the form

    w = a u,   e = I/D + (p - 1/D) u u^T,   v = p,   u = w*/|w*|,

so two numbers, `a` (the end-to-end map along the target) and `p` (the layers' common norm), say everything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import require_positive, require_whole
from .problem import Array, require_norm, uniform_target
from .state import LatentState


class PlanarState(NamedTuple):
    """A point of the plane, or an array of points."""

    a: Array
    """`w.u`, shape (...)."""
    p: Array
    """`v = u.e u`, shape (...)."""


@dataclass(frozen=True)
class PlanarMap:
    """Gradient descent at infinite width under muP.

    Attributes
    ----------
    dimension
        Input dimension `D`; the coupling is `c = 1/D`.
    target_norm
        `s = |w*|`, at least zero.
    learning_rate
        `eta0`, above zero.
    """

    dimension: int
    target_norm: float
    learning_rate: float

    def __post_init__(self) -> None:
        require_whole("dimension", self.dimension, least=1, example=20)
        require_positive("learning rate", self.learning_rate, example=0.5)
        require_norm(self.target_norm)

    @property
    def coupling(self) -> float:
        """`c = kappa^2 = 1/D`."""
        return 1.0 / self.dimension

    @property
    def edge(self) -> float:
        """Largest learning rate with a stable minimizer, `sqrt(D)/|w*|`.

        No orbit from initialisation stays bounded past twice that; some diverge sooner, from 1.6 times on at
        D = 5 and |w*| = 1.
        """
        return math.sqrt(self.dimension) / self.target_norm if self.target_norm > 0 else math.inf

    @property
    def start(self) -> PlanarState:
        """Initialisation at infinite width (Proposition C.1)."""
        return PlanarState(np.asarray(0.0), np.asarray(self.coupling))

    def step(self, state: PlanarState) -> PlanarState:
        """One gradient-descent step; Theorem 5.1 restricted to the plane."""
        a, p = state
        rate, r = self.learning_rate, state.a - self.target_norm
        second = rate**2 * self.coupling * r**2
        return PlanarState(
            np.asarray(a - 2 * rate * p * r + second * a),
            np.asarray(p - 2 * rate * self.coupling * a * r + second * p),
        )

    def loss(self, state: PlanarState) -> Array:
        """`(a - s)^2 / 2`."""
        return np.asarray(0.5 * (state.a - self.target_norm) ** 2)

    def sharpness(self, state: PlanarState) -> Array:
        """Largest Hessian eigenvalue over all sectors at infinite width, shape (...).

        The sharpness equation (`observables.sharpness`) splits by direction. Along the target it gives
        `p + sqrt(p^2 + c (a - s)(3a - s))`; across it (D > 1) the matrix has the eigenvalue 1/D, which leaves
        the cubic `(lambda - p)(lambda^2 - rho^2) = lambda^2 / D`; and `rho = kappa |r|` fills the rest.
        """
        a, p = np.asarray(state.a), np.asarray(state.p)
        r = a - self.target_norm
        along = p + np.sqrt(np.maximum(p**2 + self.coupling * r * (3 * a - self.target_norm), 0.0))
        rho = math.sqrt(self.coupling) * np.abs(r)
        if self.dimension == 1:
            return np.asarray(np.maximum(along, rho))
        return np.asarray(np.maximum(np.maximum(along, self._across(state)), rho))

    def minimizer_sharpness(self, p: Array) -> Array:
        """Sharpness at the minimizer `(a, p) = (s, p)`: `2p` along the target, `p + 1/D` across it."""
        return np.asarray(2 * p if self.dimension == 1 else np.maximum(2 * p, p + self.coupling))

    def minimizer_is_stable(self, p: Array) -> Array:
        """Whether gradient descent in the plane is linearly stable at `(s, p)`: `2p < 2/eta0`."""
        return np.asarray(p * self.learning_rate < 1)

    def embed(self, state: PlanarState) -> LatentState:
        """The D-dimensional latent state of a point, with the target along (1, ..., 1)."""
        u = uniform_target(self.dimension, 1.0)
        along = np.outer(u, u)
        e = np.eye(self.dimension) * self.coupling + (state.p - self.coupling) * along
        return LatentState(state.a * u, e, np.asarray(state.p))

    def _across(self, state: PlanarState) -> Array:
        """Largest root of the cubic of the orthogonal sector."""
        r = np.asarray(state.a) - self.target_norm
        p, rho2 = np.broadcast_arrays(np.asarray(state.p, dtype=float), self.coupling * r**2)
        cubics = np.stack([np.ones_like(p), -(p + self.coupling), -rho2, p * rho2], axis=-1)
        roots = [np.roots(cubic).real.max() for cubic in cubics.reshape(-1, 4)]
        return np.array(roots).reshape(p.shape)
