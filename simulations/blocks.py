"""Blocks of an ensemble: networks of one width that advance together, and how they enter the record."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import invalid
from ..records import NEVER
from ..theory import OBSERVABLES, LatentState, wishart_state
from ..theory.evolution import require_dimension
from ..theory.krylov_chain import chain_length, chain_of_state, draw_chain, stack
from ..theory.observables import EigenvalueTail
from .choice import Choice, choose_method, without_tails
from .methods import FactoredMethod, FullMethod
from .reduced import FIRST_SIZE, TOLERANCE, ReducedMethod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from ..theory import Array, Problem
    from .grid import Ensemble
    from .methods import Method

    Start = Callable[[Problem, np.random.Generator], LatentState]

STATE_METHODS: Mapping[str, type[FullMethod | FactoredMethod]] = {
    method.name: method for method in (FullMethod, FactoredMethod)
}
"""Methods that advance states in all their coordinates."""

_UPDATES = 10**9
"""Entries of `e` that one call of a kernel may update: about a second."""

_BLOCK_UPDATES = 5 * 10**9
"""Entries of `e` that a block may update: what a killed run loses at most is a few seconds."""

_MEMORY = 2**28
"""Bytes of latent state that are advanced together."""

_LARGEST_STATES = 2**31
"""Bytes of latent state that one network at all learning rates may take."""

_COPIES = 5
"""Arrays of the size of the heads that a run holds at once."""

_GROWTH = 2
"""By how much a head grows that was too short."""

_LARGEST_HEAD = 256
"""Coordinates at which a head stops growing. Stable runs need far fewer; where the bulk of the spectrum is
unstable the residual spreads over all coordinates, and what is left out is in `truncation_error`."""


class Block(NamedTuple):
    """Some seeds of one width, at every learning rate."""

    ensemble: Ensemble
    width_index: int
    seeds: slice
    quantities: Sequence[str]
    start: Start | None
    choice: Choice

    @property
    def width(self) -> float:
        """Hidden width."""
        return self.ensemble.widths[self.width_index]

    @property
    def runs(self) -> int:
        """Trajectories in the block."""
        return len(self.ensemble.learning_rates) * len(self.ensemble.seeds[self.seeds])

    def run(self, part: xr.Dataset, on_steps: Callable[[int], None]) -> None:
        """Run to the last step, entering what is seen into a record of dimensions (rate, seed, step)."""
        rates = np.array(self.ensemble.learning_rates)
        generators = [self.ensemble.generator(self.width, seed) for seed in self.ensemble.seeds[self.seeds]]
        all_runs = np.ones((len(rates), len(generators)), dtype=np.bool_)
        entry = _Entry(part, self.quantities, len(rates), np.arange(len(generators)), all_runs)
        if self.choice.method == ReducedMethod.name:
            self._run_reduced(entry, rates, _Networks(self, generators), on_steps)
        else:
            problem = self.ensemble.problem(self.width)
            draw = self.start or wishart_state
            states = [draw(problem, generator) for generator in generators]
            for state in states:
                require_dimension(state, problem)
            columns = LatentState(*(np.array(column) for column in zip(*states, strict=True)))
            entry.fill(STATE_METHODS[self.choice.method](problem, rates, columns), on_steps)
        part["completed"].values[...] = 1

    def _run_reduced(
        self, entry: _Entry, rates: Array, networks: _Networks, on_steps: Callable[[int], None]
    ) -> None:
        """Run on heads; again on longer ones for the networks whose head was too short."""
        todo = [_Attempt(entry, FIRST_SIZE)]
        while todo:
            now = todo.pop()
            chains = stack([networks.chains[index] for index in now.entry.columns])
            method = ReducedMethod(self.ensemble.compact_problem(self.width), rates, chains, now.size)
            now.entry.fill(method, on_steps if now.size == FIRST_SIZE else _ignore)
            error = method.truncation_error().reshape(len(rates), -1)
            now.entry.put(entry.part["truncation_error"].values, error)
            # A run that was right keeps its bits whatever runs beside it.
            left, size = now.entry.only(error > TOLERANCE), min(_GROWTH * method.size, _LARGEST_HEAD)
            grows = method.size < chains.length or networks.lengthen(left.columns, size)
            if left.columns.size and size > method.size and grows:
                together = max(1, _MEMORY // (_COPIES * 8 * len(rates) * (size**2 + chains.length)))
                todo += [_Attempt(part, size) for part in left.cut(together)]


class _Attempt(NamedTuple):
    """Runs to be made on heads of some size."""

    entry: _Entry
    size: int


def _ignore(_: int) -> None:
    """No progress: the same steps again."""


class _Networks:
    """The chains of a block's networks, each as long as has been needed."""

    def __init__(self, block: Block, generators: list[np.random.Generator]) -> None:
        self._problem = None if block.start is None else block.ensemble.problem(block.width)
        self._states: list[LatentState] = []
        if block.start is None or self._problem is None:
            compact = block.ensemble.compact_problem(block.width)
            self.chains = [draw_chain(compact, generator) for generator in generators]
            return
        self._states = [block.start(self._problem, generator) for generator in generators]
        tails = [OBSERVABLES[name].tail for name in block.quantities]
        precision = 1e-8 if any(isinstance(tail, EigenvalueTail) for tail in tails) else None
        self.chains = [
            chain_of_state(state, self._problem, least=FIRST_SIZE, edge_precision=precision)
            for state in self._states
        ]
        self._equalise(range(len(self.chains)))

    def lengthen(self, chosen: NDArray[np.int64], size: int) -> bool:
        """Lengthen chains of given states; whether it could be done."""
        if self._problem is None:
            return False
        for index in chosen:
            self.chains[index] = chain_of_state(self._states[index], self._problem, least=size)
        if not chosen.size:
            return False
        self._equalise([int(index) for index in chosen])
        return True

    def _equalise(self, chosen: Sequence[int]) -> None:
        """Make chains of given states equally long: one that ends must not look as if nothing followed."""
        longest = max(self.chains[index].length for index in chosen)
        for index in chosen:
            if self._problem is not None and self.chains[index].length < longest:
                self.chains[index] = chain_of_state(self._states[index], self._problem, least=longest)


@dataclass(frozen=True)
class _Entry:
    """Where a block's observations go."""

    part: xr.Dataset
    quantities: Sequence[str]
    rates: int
    columns: NDArray[np.int64]
    """Which seeds of the part are observed."""
    wanted: NDArray[np.bool_]
    """Which of the runs enter, shape (rates, columns)."""

    def only(self, wanted: NDArray[np.bool_]) -> _Entry:
        """The same for some of the runs, and the networks that have any."""
        both = self.wanted & wanted
        some = both.any(axis=0)
        return _Entry(self.part, self.quantities, self.rates, self.columns[some], both[:, some])

    def cut(self, together: int) -> list[_Entry]:
        """The same in parts of so many networks."""
        places = [slice(first, first + together) for first in range(0, self.columns.size, together)]
        return [
            _Entry(self.part, self.quantities, self.rates, self.columns[some], self.wanted[:, some])
            for some in places
        ]

    def put(self, place: NDArray[Any], values: NDArray[Any]) -> None:
        """Enter values of shape (rates, columns) into an array over (rates, seeds)."""
        found = values.reshape(self.rates, -1)
        place[:, self.columns] = np.where(self.wanted, found, place[:, self.columns])

    def fill(self, method: Method, on_steps: Callable[[int], None]) -> None:
        """Run a method to the last step, recording on the way."""
        diverged_step = np.full(method.learning_rate.size, NEVER, dtype=np.int64)
        steps = self.part["step"].to_numpy().tolist()
        for index, (before, after) in enumerate(pairwise((0, *steps))):
            self._advance(method, before, after, diverged_step, on_steps)
            alive = diverged_step < 0
            for name in self.quantities:
                values = np.full(diverged_step.size, np.nan)
                values[alive] = method.observe(name, alive)
                self.put(self.part[name].values[..., index], values)
        self.put(self.part["diverged_step"].values, diverged_step)

    def _advance(
        self,
        method: Method,
        before: int,
        after: int,
        diverged_step: NDArray[np.int64],
        on_steps: Callable[[int], None],
    ) -> None:
        """Step from one recorded step to the next, in calls short enough to be interrupted between them."""
        runs = diverged_step.size
        most = max(1, _UPDATES // (runs * method.problem.dimension**2))
        for first in range(before, after, most):
            last = min(first + most, after)
            method.advance(first, last, diverged_step)
            on_steps(runs * (last - first))


def plan_blocks(
    ensemble: Ensemble, steps: Sequence[int], quantities: Sequence[str], start: Start | None, method: str
) -> Iterator[Block]:
    """Cut an ensemble into blocks that fit into memory and take a few seconds.

    Raises
    ------
    InputError
        If a method does not do what is asked, or the states do not fit into memory.
    """
    for index, width in enumerate(ensemble.widths):
        problem = ensemble.compact_problem(width)
        choice = choose_method(method, problem, start_given=start is not None, quantities=quantities)
        size = ensemble.target.size
        if choice.method != ReducedMethod.name or start is not None:
            rates = 1 if choice.method == ReducedMethod.name else len(ensemble.learning_rates)
            _check_size(size, rates, without_tails(quantities))
        if choice.method == ReducedMethod.name:
            size = min(size, FIRST_SIZE) if start is None else size
        together = _together(ensemble, size, chain_length(problem), steps[-1])
        for first in range(0, len(ensemble.seeds), together):
            yield Block(ensemble, index, slice(first, first + together), quantities, start, choice)


def _together(ensemble: Ensemble, size: int, length: int, steps: int) -> int:
    """Seeds in a block."""
    rates = len(ensemble.learning_rates)
    memory = _MEMORY // (_COPIES * 8 * rates * (size**2 + length))
    work = _BLOCK_UPDATES // (rates * min(size, FIRST_SIZE) ** 2 * max(steps, 1))
    return int(max(1, min(memory, work)))


def _check_size(dimension: int, rates: int, without_tail: Sequence[str]) -> None:
    """Refuse states that do not fit into memory, naming what needs them in all coordinates."""
    if 8 * dimension**2 * rates > _LARGEST_STATES:
        largest = math.isqrt(_LARGEST_STATES // (8 * rates))
        why = f", which {without_tail[0]} needs" if without_tail else ""
        instead = (
            "declare its tail (theory.Observable)" if without_tail else "draw starts in law (the default)"
        )
        raise invalid(
            "dimension",
            dimension,
            accepted=f"at most {largest} at {rates} learning rates, for states in all coordinates{why}",
            remedy=f"{instead}, or use a smaller dimension or fewer learning rates",
        )
