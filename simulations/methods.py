"""The methods that advance latent states: on (w, e, v) itself, or on a factor of its Gram matrix.

The laws of Theorem 5.1 hold for every width, but iterating them in floating point keeps the rank of
`S = [[e, kappa w], [kappa w^T, v]]`, at most N, only to rounding. With N >= D + 1 that constrains nothing.
With N <= D rounding adds directions that no network of that width has, and those grow exponentially until the
residual is gone. There a factor `S = Z Z^T` with N columns is advanced instead, which keeps the rank by
construction and costs less.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from ..theory import OBSERVABLES, LatentState
from ..theory.observables import EigenvalueTail, loss
from .eigenvalue_kernels import largest_eigenvalues
from .kernels import advance
from .reduced_kernels import advance_factored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..theory import Array, Observable, Problem

DIVERGENCE_FACTOR = 1e30
"""A loss this many times the initial one (or |w*|^2 / 2, or 1, if larger) counts as divergence."""

_PRECISION = 1e-12
"""Relative distance of the bounds on an eigenvalue."""


class Eigenvalue(NamedTuple):
    """A largest eigenvalue between two bounds, each of shape (T,)."""

    low: Array
    high: Array


class Method(ABC):
    """Networks of one problem, each at every learning rate, that advance together.

    Trajectories are ordered by learning rate, then by network; T is their number.

    Parameters
    ----------
    problem
        Shared by all.
    learning_rates
        Shape (rates,).
    networks
        Number of networks.
    bands
        Chains that go on past the states' coordinates (`theory.krylov_chain`), shape (networks, 3, n).
    """

    name: ClassVar[str]

    def __init__(
        self, problem: Problem, learning_rates: Array, networks: int, bands: Array | None = None
    ) -> None:
        self.problem = problem
        self._bands = np.zeros((networks, 3, problem.dimension)) if bands is None else bands
        # One start for each operator: what else is measured changes no bits.
        shape = (len(learning_rates) * networks, self._bands.shape[-1])
        self._vectors = {of_hessian: np.zeros(shape) for of_hessian in (True, False)}
        self.learning_rate = np.repeat(np.asarray(learning_rates, dtype=np.float64), networks)
        self.network = np.tile(np.arange(networks), len(learning_rates))
        self.coupling = np.full(self.learning_rate.size, problem.kappa)

    @abstractmethod
    def advance(self, before: int, after: int, diverged_step: NDArray[np.int64]) -> None:
        """Step from one step to a later one, entering divergences."""

    @abstractmethod
    def states(self) -> LatentState:
        """The present states, first axis T."""

    def observe(self, name: str, alive: NDArray[np.bool_]) -> Array:
        """An observable of `theory.OBSERVABLES` for some of the trajectories."""
        return self.read(OBSERVABLES[name], alive)

    def read(self, observable: Observable, alive: NDArray[np.bool_]) -> Array:
        """An observable for some of the trajectories, whether it is in the table or not."""
        if isinstance(observable.tail, EigenvalueTail):
            return self.largest(alive, of_hessian=observable.tail.of_hessian).low
        return observable.compute(self._states_of(alive), self.problem)

    def _states_of(self, alive: NDArray[np.bool_]) -> LatentState:
        return LatentState(*(part[alive] for part in self.states()))

    def largest(self, alive: NDArray[np.bool_], *, of_hessian: bool = True) -> Eigenvalue:
        """Bounds on the largest eigenvalue of the Hessian, or else of the NTK, chains included.

        Each search starts from the eigenvector that the one before found of the same operator.
        """
        w, e, v = (np.ascontiguousarray(part[alive]) for part in self.states())
        residual = (w - self.problem.target) * of_hessian
        low, high, vectors = np.empty(len(v)), np.empty(len(v)), self._vectors[of_hessian][alive]
        squared, network = self.coupling[alive] ** 2, self.network[alive]
        largest_eigenvalues(w, e, v, residual, squared, self._bands, network, _PRECISION, vectors, low, high)
        self._vectors[of_hessian][alive] = vectors
        return Eigenvalue(low, high)

    def loss_limit(self, floor: float = 1.0) -> Array:
        """Loss that counts as divergence from the present state on, shape (T,).

        `DIVERGENCE_FACTOR` times the largest of the present loss, that of a map of zero, and the floor.
        """
        initial = loss(self.states(), self.problem)
        target = np.asarray(self.problem.target)
        return DIVERGENCE_FACTOR * np.maximum(initial, max(floor, 0.5 * float(target @ target)))


class FullMethod(Method):
    """Theorem 5.1 on (w, e, v): O(D^2) a step whatever the width."""

    name = "full"

    def __init__(self, problem: Problem, learning_rates: Array, states: LatentState) -> None:
        super().__init__(problem, learning_rates, len(states.v))
        self._states = LatentState(*(np.array(part[self.network], dtype=np.float64) for part in states))
        self._limit = self.loss_limit()

    def advance(self, before: int, after: int, diverged_step: NDArray[np.int64]) -> None:
        """Step from one step to a later one, entering divergences."""
        settings = (self.problem.target, self.learning_rate, self.coupling**2, self._limit)
        advance(*self._states, *settings, before, after - before, diverged_step)

    def states(self) -> LatentState:
        """The present states, first axis T."""
        return self._states


class FactoredMethod(Method):
    """The congruence law on a factor of `S` with as many columns as its rank: O(D rank) a step."""

    name = "factored"

    def __init__(self, problem: Problem, learning_rates: Array, states: LatentState) -> None:
        super().__init__(problem, learning_rates, len(states.v))
        self._neurons = np.ascontiguousarray(factor(states, problem)[self.network])
        self._limit = self.loss_limit()
        self._unwatched = np.zeros(self.learning_rate.size)

    def advance(self, before: int, after: int, diverged_step: NDArray[np.int64]) -> None:
        """Step from one step to a later one, entering divergences."""
        settings = (self.problem.target, self.learning_rate, self.coupling, self._limit)
        advance_factored(self._neurons, *settings, before, after - before, diverged_step, self._unwatched)

    def states(self) -> LatentState:
        """The present states, first axis T."""
        return unfactor(self._neurons, self.problem)


_NEGLIGIBLE = 1e-12
"""Eigenvalues of `S` below this share of the largest are rounding."""


def factor(states: LatentState, problem: Problem) -> Array:
    """Neurons with the given Gram matrices, shape (networks, rank, D + 1): `S = sum over the rank`."""
    w, e, v = states
    dimension = problem.dimension
    gram = np.empty((len(w), dimension + 1, dimension + 1))
    gram[:, :-1, :-1], gram[:, -1, -1] = e, v
    gram[:, :-1, -1] = gram[:, -1, :-1] = problem.kappa * w
    values, vectors = np.linalg.eigh(gram)
    rank = int(min(problem.width, dimension + 1))
    if (values[:, : dimension + 1 - rank] > _NEGLIGIBLE * values[:, -1:]).any():
        rank = dimension + 1  # not the state of N neurons, as at the start of infinite width
    columns = vectors[..., -rank:] * np.sqrt(np.maximum(values[:, None, -rank:], 0.0))
    return np.ascontiguousarray(np.swapaxes(columns, 1, 2))


def unfactor(neurons: Array, problem: Problem) -> LatentState:
    """The states of given neurons, first axis over networks."""
    first, second = neurons[..., :-1], neurons[..., -1]
    with np.errstate(over="ignore", invalid="ignore"):  # networks that have diverged
        return LatentState(
            np.einsum("tki,tk->ti", first, second) / problem.kappa,
            np.swapaxes(first, 1, 2) @ first,
            np.einsum("tk,tk->t", second, second),
        )
