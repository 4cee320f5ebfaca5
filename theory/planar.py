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

from ..errors import invalid, require_positive, require_whole
from .problem import Array, as_floats, require_norm, uniform_target
from .state import LatentState


class PlanarState(NamedTuple):
    """A point of the plane, or an array of points."""

    a: Array
    """`w.u`, shape (...)."""
    p: Array
    """`v = u.e u`, shape (...)."""


class UniversalState(NamedTuple):
    """A point in the coordinates in which the map has one parameter; a sign of x or y means nothing."""

    x: Array
    """`sqrt(eta0 (p + kappa a))`, shape (...)."""
    y: Array
    """`sqrt(eta0 (p - kappa a))`, shape (...)."""


def as_point(state: PlanarState) -> PlanarState:
    """A point of the plane as arrays, given as a `PlanarState` or another pair of numbers or arrays.

    Raises
    ------
    InputError
        If it is no pair of numbers or arrays.
    """
    if not isinstance(state, tuple) or len(state) != len(PlanarState._fields):
        accepted = "a PlanarState, or a pair (a, p)"
        raise invalid("state", state, accepted=accepted, remedy="pass PlanarMap.start, for example")
    return PlanarState(*(as_floats("coordinate of the state", part) for part in state))


def universal_step(state: UniversalState, mu: float | Array) -> UniversalState:
    """One gradient-descent step at infinite width under muP, for every D, target and learning rate at once.

    Parameters
    ----------
    state
        Point of the plane, coordinates of shape (...).
    mu
        `eta0 |w*| / sqrt(D)`, the learning rate over the edge; a number, or an array of shape (...).

    Notes
    -----
    `x+ = x (1 - m)`, `y+ = y (1 + m)`, `m = (x^2 - y^2)/2 - mu`: the derivation "universal".
    """
    x, y = state
    m = (x**2 - y**2) / 2 - mu
    return UniversalState(np.asarray(x * (1 - m)), np.asarray(y * (1 + m)))


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
        if self.learning_rate > _LARGEST_RATE:
            accepted = f"at most {_LARGEST_RATE:g}"
            raise invalid("learning rate", self.learning_rate, accepted=accepted, remedy="pass a smaller one")
        require_norm(self.target_norm)
        object.__setattr__(self, "dimension", int(self.dimension))
        object.__setattr__(self, "target_norm", float(self.target_norm))
        object.__setattr__(self, "learning_rate", float(self.learning_rate))

    @property
    def coupling(self) -> float:
        """`c = kappa^2 = 1/D`."""
        return 1.0 / self.dimension

    @property
    def edge(self) -> float:
        """Largest learning rate with a minimizer that is stable in the plane, `sqrt(D)/|w*|`.

        From initialisation orbits stay bounded up to `divergence`, which is further unless the target is
        small, `s sqrt(D) < 2/3`.
        """
        return math.sqrt(self.dimension) / self.target_norm if self.target_norm > 0 else math.inf

    @property
    def divergence(self) -> float:
        """Largest learning rate whose orbit from initialisation is bounded, `(sqrt(1 + 4 D s^2) - 1)/s^2`.

        Below twice the edge, which it tends to as `s sqrt(D)` grows, and below `2 D`, which it tends to as s
        vanishes. Up to it the start is inside the ellipse `x^2/(2 + mu) + y^2/(2 - mu) = 2`, which no orbit
        crosses (the derivation "universal"); every start outside that was tried diverged.
        """
        return 4 * self.dimension / (1 + math.sqrt(1 + 4 * self.dimension * self.target_norm**2))

    @property
    def start(self) -> PlanarState:
        """Initialisation at infinite width (Proposition C.1)."""
        return PlanarState(np.asarray(0.0), np.asarray(self.coupling))

    def step(self, state: PlanarState) -> PlanarState:
        """One gradient-descent step; Theorem 5.1 restricted to the plane."""
        a, p = as_point(state)
        rate, r = self.learning_rate, a - self.target_norm
        second = rate**2 * self.coupling * r**2
        return PlanarState(
            np.asarray(a - 2 * rate * p * r + second * a),
            np.asarray(p - 2 * rate * self.coupling * a * r + second * p),
        )

    @property
    def mu(self) -> float:
        """The universal parameter, `eta0 |w*| / sqrt(D)`: the learning rate over the edge."""
        return self.learning_rate * self.target_norm / math.sqrt(self.dimension)

    def to_universal(self, state: PlanarState) -> UniversalState:
        """Universal coordinates of a point.

        Raises
        ------
        InputError
            If the point is none of a network, whose `p` is at least `kappa |a|`.
        """
        a, p = as_point(state)
        shift = math.sqrt(self.coupling) * a
        # S is positive semidefinite; a point on its boundary may lie outside it by rounding.
        if not np.all(p - np.abs(shift) >= -4 * np.finfo(float).eps * np.abs(p)):
            raise invalid(
                "p - kappa |a|",
                float(np.min(p - np.abs(shift))),
                accepted="at least 0, as in every network",
                remedy="raise p to kappa |a| = |a|/sqrt(D)",
            )
        squares = (self.learning_rate * np.maximum(p + sign * shift, 0.0) for sign in (1, -1))
        return UniversalState(*(np.sqrt(square) for square in squares))

    def from_universal(self, state: UniversalState) -> PlanarState:
        """The point of given universal coordinates; the inverse of `to_universal`, up to their signs."""
        x2, y2 = np.asarray(state.x) ** 2, np.asarray(state.y) ** 2
        twice = 2 * self.learning_rate
        return PlanarState(
            np.asarray((x2 - y2) / (twice * math.sqrt(self.coupling))), np.asarray((x2 + y2) / twice)
        )

    def loss(self, state: PlanarState) -> Array:
        """`(a - s)^2 / 2`."""
        return np.asarray(0.5 * (as_point(state).a - self.target_norm) ** 2)

    def sharpness(self, state: PlanarState) -> Array:
        """Largest Hessian eigenvalue over all sectors at infinite width, shape (...).

        The sharpness equation (`observables.sharpness`) splits by direction. Along the target it gives
        `p + sqrt(p^2 + c (a - s)(3a - s))`; across it (D > 1) the matrix has the eigenvalue 1/D, which leaves
        the cubic `(lambda - p)(lambda^2 - rho^2) = lambda^2 / D`. The eigenvalues +-rho, `rho = kappa |r|`,
        of the rest are never larger. Points are those of a network, `p >= kappa |a|`.
        """
        a, p = as_point(state)
        kappa = math.sqrt(self.coupling)
        # p^2 + c (a - s)(3a - s), as a sum that no cancellation spoils near p = kappa |a|
        square = (p - kappa * a) * (p + kappa * a) + self.coupling * (2 * a - self.target_norm) ** 2
        along = p + np.sqrt(np.maximum(square, 0.0))
        if self.dimension == 1:
            return np.asarray(along)
        rho = kappa * np.abs(a - self.target_norm)
        return np.asarray(np.maximum(along, largest_root_across(p, rho, self.coupling)))

    def minimizer_sharpness(self, p: Array) -> Array:
        """Sharpness at the minimizer `(a, p) = (s, p)`: `2p` along the target, `p + 1/D` across it."""
        p = as_floats("p", p)
        return np.asarray(2 * p if self.dimension == 1 else np.maximum(2 * p, p + self.coupling))

    def minimizer_is_stable(self, p: Array) -> Array:
        """Whether gradient descent is linearly stable at `(s, p)`, along the target and across it.

        Across it, where `p + 1/D` counts, the orbit of the limit itself never leaves the plane; every finite
        network does.
        """
        return np.asarray(self.minimizer_sharpness(p) * self.learning_rate < 2)

    @property
    def highest_stable(self) -> float:
        """The `p` below which minimizers are stable: `1/eta0`, or `2/eta0 - 1/D` if that is less (D > 1)."""
        along = 1 / self.learning_rate
        return along if self.dimension == 1 else min(along, 2 * along - self.coupling)

    @property
    def largest_safe(self) -> float:
        """Largest learning rate at which the start's orbit is bounded and some minimizer is stable.

        The least of `edge`, `divergence` and, for D > 1, `2 / (kappa s + 1/D)`, from which on the flattest
        minimizer is unstable across the target; that is below the edge where `s sqrt(D) < 1`.
        """
        across = 2 / (math.sqrt(self.coupling) * self.target_norm + self.coupling)
        bounds = (self.edge, self.divergence, math.inf if self.dimension == 1 else across)
        return min(bounds)

    def embed(self, state: PlanarState) -> LatentState:
        """The D-dimensional latent state of a point, with the target along (1, ..., 1)."""
        state = as_point(state)
        u = uniform_target(self.dimension, 1.0)
        along = np.outer(u, u)
        e = np.eye(self.dimension) * self.coupling + (state.p - self.coupling) * along
        return LatentState(state.a * u, e, np.asarray(state.p))


def largest_root_across(p: Array, rho: Array, gap: float) -> Array:
    """Largest root of `(lambda - p)(lambda^2 - rho^2) = gap lambda^2`, to rounding.

    Parameters
    ----------
    p, rho
        At least zero, shapes that broadcast.
    gap
        Above zero; `1/D` for the sector across the target.

    Notes
    -----
    The left side minus the right is not negative at 0 and not positive at -rho and rho, so all three roots
    are real; the largest is simple and given by Viete's cosine. Newton's method removes what that rounds off.
    """
    p, rho = np.broadcast_arrays(np.asarray(p, dtype=float), np.asarray(rho, dtype=float))
    third = (p + gap) / 3
    radius = np.sqrt(third**2 + rho**2 / 3)
    # lambda = third + 2 radius cos(theta) solves the cubic where cos(3 theta) is this
    cosine = (third**3 + (third / 2 - p / 2) * rho**2) / radius**3
    root = third + 2 * radius * np.cos(np.arccos(np.clip(cosine, -1.0, 1.0)) / 3)
    for _ in range(_NEWTON_STEPS):
        inner = (root - rho) * (root + rho)
        value = (root - p) * inner - gap * root**2
        slope = inner + 2 * root * (root - p - gap)
        root = root - value / slope
    return np.asarray(root)


_LARGEST_RATE = 1e100
"""Learning rates beyond this overflow when squared."""

_NEWTON_STEPS = 3
"""Each squares the error of the cosine formula, 1e-8 at worst, so two would do."""
