"""The reduced method: the few coordinates of a chain in which a trajectory happens (theory.krylov_chain)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, invalid
from ..theory import LatentState
from ..theory.krylov_chain import Chain, even, target_coordinates
from ..theory.observables import TraceTail, first_layer_trace
from .methods import Method, factor, unfactor
from .reduced_kernels import advance_factored, advance_heads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..theory import Array, Observable, Problem

TOLERANCE = 1e-10
"""Relative error that the head is made long enough for."""

FIRST_SIZE = 16
"""Coordinates that a head has to begin with."""

_SQUARE = 4.0
"""Networks with fewer than this many neurons an input are advanced by a factor of their Gram matrix."""


def undeclared_tail(name: str) -> InputError:
    """The error of asking the reduced method for an observable that declares no tail."""
    return invalid(
        "method",
        ReducedMethod.name,
        accepted=f"auto, full, factored for {name}, which does not declare how its tail is taken",
        remedy="pass another method, or give the observable a tail (theory.Observable)",
    )


def head_factor(chains: Chain, size: int, problem: Problem) -> Array:
    """Neurons with the Gram matrices of heads, shape (networks, size + 1, size + 1).

    For a drawn chain they are its own diagonals, with all their zeros: nothing reaches a coordinate before
    the dynamics do. For a given state they are computed from the head, with rounding in those places.
    """
    if chains.diagonals is None:
        neurons = factor(chains.head(size), problem)
        missing = size + 1 - neurons.shape[1]
        return np.pad(neurons, [(0, 0), (missing, 0), (0, 0)])
    columns = np.zeros((len(chains.v), size + 1, size + 1))
    for offset in range(3):
        column = np.arange(size + 1 - offset)
        columns[:, column, column + offset] = chains.diagonals[:, offset, : size + 1 - offset]
    return np.roll(columns, -1, axis=2)  # V, the first row of Z, comes last in a neuron


class ReducedMethod(Method):
    """Theorem 5.1 on the head of a chain: O(h^2) a step whatever the width and the dimension.

    Parameters
    ----------
    problem
        In any coordinates; its sizes count.
    learning_rates
        Shape (rates,).
    chains
        First axis over networks.
    size
        Coordinates `h` of the head; at most the chain's length.
    loss_floor
        As for `Method.loss_limit`.
    """

    name = "reduced"

    def __init__(
        self,
        problem: Problem,
        learning_rates: Array,
        chains: Chain,
        size: int = FIRST_SIZE,
        loss_floor: float = 1.0,
    ) -> None:
        self.size = min(even(size), chains.length)
        in_chain = target_coordinates(problem, self.size)
        super().__init__(in_chain, learning_rates, len(chains.v), chains.bands)
        self._chains = chains
        heads = chains.head(self.size)
        self._taken = 0
        self._leak = np.zeros(self.learning_rate.size)
        width, dimension = self.problem.sizes.values()
        self._factored = width < _SQUARE * dimension
        if self._factored:
            self._neurons = np.ascontiguousarray(head_factor(chains, self.size, self.problem)[self.network])
        self._states = LatentState(*(np.array(part[self.network]) for part in heads))
        self._limit = self.loss_limit(loss_floor)
        self._scale = np.linalg.norm(self._states.w - self.problem.target, axis=-1)

    def advance(self, before: int, after: int, diverged_step: NDArray[np.int64]) -> None:
        """Step from one step to a later one, entering divergences."""
        self._taken = after
        target, rate = self.problem.target, self.learning_rate
        steps, limit, leak = after - before, self._limit, self._leak
        if self._factored:
            kappa, neurons = self.coupling, self._neurons
            advance_factored(neurons, target, rate, kappa, limit, before, steps, diverged_step, leak)
            self._states = unfactor(neurons, self.problem)
        else:
            (w, e, v), squared = self._states, self.coupling**2
            advance_heads(w, e, v, target, rate, squared, limit, before, steps, diverged_step, leak)

    def states(self) -> LatentState:
        """The present states of the heads, first axis T."""
        return self._states

    def read(self, observable: Observable, alive: NDArray[np.bool_]) -> Array:
        """An observable for some of the trajectories, with what the tail adds to it.

        Raises
        ------
        InputError
            If the observable does not declare how its tail is taken.
        """
        if observable.tail is None:
            raise undeclared_tail(observable.name)
        if isinstance(observable.tail, TraceTail):
            states = self._states_of(alive)
            tail = self._chains.bands[:, 0, self.size :].sum(axis=-1) + self._chains.rest
            trace = first_layer_trace(states, self.problem) + tail[self.network[alive]]
            return observable.tail.value(np.asarray(trace), states, self.problem)
        return super().read(observable, alive)

    @property
    def complete(self) -> bool:
        """Whether the head is the whole input space, so that nothing is left out."""
        return self.size >= self.problem.sizes["dimension"]

    def truncation_error(self) -> Array:
        """Estimated relative error of what is observed, shape (T,).

        What reaches the head's last two coordinates would go on to the tail, step after step. It comes back
        to the target's direction by as many couplings as it took to get there, so that what is observed is
        off by the square of the whole flow over `|r_0|`. That is relative to the start: a ratio of things
        that have vanished, as the directional sharpness of a converged run is, can be off by more. On chaotic
        orbits rounding parts the paths of any two methods, and this says nothing of them: compare laws there.
        """
        if self.complete or 2 * self._taken + 2 <= self.size:  # where the residual cannot have got to
            return np.zeros(self.learning_rate.size)
        end = min(self.size, self._chains.length - 2)
        last = self._chains.bands[:, :, end - 2 : end]
        coupled = np.hypot(last[:, 2, 0], np.hypot(last[:, 1, 1], last[:, 2, 1]))[self.network]
        scale = np.where(self._scale > 0, self._scale, 1.0)
        flow = self.learning_rate * coupled * self._leak / scale
        return np.asarray(np.minimum(flow, flow**2))
