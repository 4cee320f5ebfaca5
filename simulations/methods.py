"""The methods that advance latent states: on (w, e, v) itself, or on a factor of its Gram matrix.

The laws of Theorem 5.1 hold for every width, but iterating them in floating point keeps the rank of
`S = [[e, kappa w], [kappa w^T, v]]`, at most N, only to rounding. With N >= D + 1 that constrains nothing.
With N <= D rounding adds directions that no network of that width has, and those grow exponentially until the
residual is gone. There a factor `S = Z Z^T` with N columns is advanced instead, which keeps the rank by
construction and costs less.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..errors import invalid, require_known
from ..theory import LatentState
from .kernels import advance, advance_factored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ..theory import Array, Problem


class Method(ABC):
    """Many latent states of one problem that advance together.

    Parameters
    ----------
    problem
        Shared by all.
    states
        Shapes (T, D), (T, D, D), (T,); copied.
    learning_rate, loss_limit
        `eta0` and the loss that counts as divergence, shape (T,).
    """

    name: ClassVar[str]

    def __init__(
        self, problem: Problem, states: LatentState, learning_rate: Array, loss_limit: Array
    ) -> None:
        self.problem = problem
        self.target = np.array(problem.target)
        self.learning_rate = learning_rate
        self.loss_limit = loss_limit
        self.coupling = np.full_like(learning_rate, problem.kappa)
        self._start(states)

    @abstractmethod
    def _start(self, states: LatentState) -> None:
        """Take the states over."""

    @abstractmethod
    def advance(self, before: int, after: int, diverged_step: NDArray[np.int64]) -> None:
        """Step from one step to a later one, entering divergences."""

    @abstractmethod
    def states(self) -> LatentState:
        """The present states."""


class FullMethod(Method):
    """Theorem 5.1 on (w, e, v): O(D^2) a step whatever the width."""

    name = "full"

    def _start(self, states: LatentState) -> None:
        self._states = LatentState(*(np.array(part, dtype=np.float64) for part in states))

    def advance(self, before: int, after: int, diverged_step: NDArray[np.int64]) -> None:
        """Step from one step to a later one, entering divergences."""
        settings = (self.target, self.learning_rate, self.coupling**2, self.loss_limit)
        advance(*self._states, *settings, before, after - before, diverged_step)

    def states(self) -> LatentState:
        """The present states."""
        return self._states


_NEGLIGIBLE = 1e-12
"""Eigenvalues of `S` below this share of the largest are rounding."""


_SMALLEST_COUPLING = 1e-6
"""Below this `kappa` the factor, which holds `kappa w`, has lost digits of `w`."""


class FactoredMethod(Method):
    """The congruence law on a factor of `S` with as many columns as its rank: O(D rank) a step."""

    name = "factored"

    def _start(self, states: LatentState) -> None:
        w, e, v = states
        dimension = self.problem.dimension
        gram = np.empty((len(w), dimension + 1, dimension + 1))
        gram[:, :-1, :-1], gram[:, -1, -1] = e, v
        gram[:, :-1, -1] = gram[:, -1, :-1] = self.problem.kappa * w
        values, vectors = np.linalg.eigh(gram)
        rank = int(min(self.problem.width, dimension + 1))
        if (values[:, : dimension + 1 - rank] > _NEGLIGIBLE * values[:, -1:]).any():
            rank = dimension + 1  # not the state of N neurons: the infinite-width start, say
        columns = vectors[..., -rank:] * np.sqrt(np.maximum(values[:, None, -rank:], 0.0))
        self._neurons = np.ascontiguousarray(np.swapaxes(columns, 1, 2))

    def advance(self, before: int, after: int, diverged_step: NDArray[np.int64]) -> None:
        """Step from one step to a later one, entering divergences."""
        settings = (self.target, self.learning_rate, self.coupling, self.loss_limit)
        advance_factored(self._neurons, *settings, before, after - before, diverged_step)

    def states(self) -> LatentState:
        """The present states."""
        first, second = self._neurons[..., :-1], self._neurons[..., -1]
        return LatentState(
            np.einsum("tki,tk->ti", first, second) / self.problem.kappa,
            np.swapaxes(first, 1, 2) @ first,
            np.einsum("tk,tk->t", second, second),
        )


METHODS: Mapping[str, type[Method]] = {method.name: method for method in (FullMethod, FactoredMethod)}


def choose_method(name: str, problem: Problem) -> type[Method]:
    """A method by name; `auto` takes the factored one where the width limits the rank (N <= D).

    Raises
    ------
    InputError
        If the name is unknown, or a factor is asked for that does not hold `w` (NTP at huge width).
    """
    require_known("method", name, ("auto", *METHODS))
    if name == FactoredMethod.name and problem.kappa < _SMALLEST_COUPLING:
        accepted = f"full or auto where the coupling is below {_SMALLEST_COUPLING:g}"
        raise invalid("method", name, accepted=accepted, remedy="pass --method auto")
    if name == "auto":
        return FactoredMethod if problem.width <= problem.dimension else FullMethod
    return METHODS[name]
