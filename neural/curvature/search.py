"""One search for the outermost eigenvalues of an operator, from nothing or from what an earlier one found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .eigenpair import ROUNDED, VANISHED, Aim, error_bound, largest_pair, zero_resolution
from .lanczos import LanczosSpace, combine_rows
from .missed import RandomStart, combined
from .reductions import norm

if TYPE_CHECKING:
    from ...theory import Array
    from .eigenpair import Pair
    from .symmetric import SymmetricOperator

_CHANCE = 0.3
"""Norm of the random part of a warm start, beside the earlier vector's one."""

_ROOM = 3
"""Rows of a basis that two starts need."""

_SEEN = {"", ROUNDED, VANISHED}
"""Notes of a pair that more products would not change."""

_WARM, _COLD = 0.5, 0.1
"""Parts of the tolerance that a search goes on to; less from a cold start, which knows nothing of gaps."""

_FALLEN = 0.9
"""Part of its largest value since the last guard at which an eigenvalue is guarded again: one that falls may
have been overtaken (`make stress`)."""

_ATTEMPTS = 4
_FINER = 0.1
"""Tightening of each pair's tolerance until all of them together meet theirs."""


class SearchSettings(NamedTuple):
    """What a search is asked for; see `SpectrumTracker`."""

    tolerance: float
    pairs: int
    """How many are wanted, with multiplicity."""
    sign: int
    """1 for the largest, -1 for the smallest."""
    max_products: int


class Search:
    """One call: pair after pair, each orthogonal to those before, then all of them together.

    The rows hold, from the first on, the vectors found, then the basis of the present search; the last rows,
    the warm vectors of pairs still to come.
    """

    def __init__(
        self,
        settings: SearchSettings,
        operator: SymmetricOperator,
        rows: torch.Tensor,
        generator: torch.Generator,
        highest: float,
    ) -> None:
        self.settings, self.operator, self.rows = settings, operator, rows
        self.generator, self.highest = generator, highest
        self.count = settings.pairs
        self.held = min(self.count + 1, operator.size)
        self.matvecs = 0
        self.guarded = False
        self.scale = 0.0
        """What is known of the operator's norm."""
        self.resolution = zero_resolution(settings.tolerance, operator.dtype)
        self._starts: dict[int, RandomStart] = {}
        self._guard: RandomStart | None = None
        self._guards = 0

    def run(self, earlier: list[Pair]) -> list[Pair]:
        """The pairs, outermost first, their vectors in the first rows and the next one's after them.

        Parameters
        ----------
        earlier
            The last call's pairs, whose vectors the first rows hold; none for a cold start.
        """
        cold = not earlier
        goal = (_COLD if cold else _WARM) * self.settings.tolerance
        pairs: list[Pair] = []
        for _ in range(_ATTEMPTS):
            self._guard = None
            pairs = self._together(self._each(goal, earlier))
            if self._to_guard(pairs[0], cold=cold):
                pairs = self._with_overtaking(pairs, goal)
            if any(pair.note for pair in pairs) or all(self._within(pair) for pair in pairs):
                return pairs
            earlier, goal = pairs, _FINER * goal
        note = "the pairs together are less certain than each alone"
        return [pair._replace(note=note) for pair in pairs]

    def claimed(self, pairs: list[Pair]) -> Array:
        """Error bounds to state, not less than was asked for: what was not told apart leaves no residual."""
        return np.array([self._claimed(pair) for pair in pairs])

    def _claimed(self, pair: Pair) -> float:
        resolved = self.resolution * self.scale if pair.is_zero(self.resolution) else 0.0
        return max(pair.error_bound, self.settings.tolerance * abs(pair.value), resolved)

    def missed(self, pairs: list[Pair], bounds: Array) -> Array:
        """Bounds on the probability that an eigenvalue lies beyond value and bound, for each pair.

        If one was missed at the i-th place, at least i eigenvalues lie above m, the i-th value plus its bound
        b. Then the operator restricted to the complement of the vectors before has one above m, by
        interlacing, which the search there did not see. And restricted to the complement of all vectors it
        has one above `m - r^2 / b`, r being the norm of all residuals, which the guard did not see: otherwise
        `A - m` would have fewer than i positive eigenvalues, by its Schur complement.
        """
        if not all(math.isfinite(pair.value) for pair in pairs):
            return np.full(self.count, math.nan)
        if self.count == self.operator.size:
            return np.zeros(self.count)
        square = sum(pair.residual**2 for pair in pairs)
        found = []
        for index, (pair, bound) in enumerate(zip(pairs, bounds, strict=True)):
            limit = pair.value + bound
            own = self._starts[index].missed(limit) if index in self._starts else 1.0
            inside = limit - square / bound if bound > 0 else limit
            guard = 1.0 if self._guard is None else self._guards * self._guard.missed(inside)
            found.append(combined(own, min(1.0, guard)))
        return np.array(found)

    def _to_guard(self, pair: Pair, *, cold: bool) -> bool:
        """Whether one more is looked for; always with several pairs, where copies are missed otherwise."""
        if self.count == self.operator.size or pair.note not in _SEEN:
            return False
        fallen = pair.value < self.highest - (1 - _FALLEN) * abs(self.highest)
        self.guarded = self.count > 1 or cold or fallen
        return self.guarded

    def _within(self, pair: Pair) -> bool:
        # A guard may have doubled the bound of what is zero.
        aim = self._aim(_WARM * self.settings.tolerance)._replace(fine=_WARM)
        return pair.error_bound - pair.rounding <= aim.allowed(pair)

    def _each(self, goal: float, earlier: list[Pair]) -> list[Pair]:
        """Pair after pair, deflated by those before."""
        if earlier and self.count > 1:
            for index in range(self.held - 1, 0, -1):
                self.rows[self._waiting + index].copy_(self.rows[index])
        pairs: list[Pair] = []
        space, spread = self._begin(0, earlier)
        for index in range(self.count):
            if index and earlier:
                space, spread = self._begin(index, earlier)
            elif index:
                space.deflate()
            pairs.append(self._pair(space, self._aim(goal, earlier[index] if earlier else None)))
            if not math.isfinite(pairs[-1].value):
                return pairs + [pairs[-1]] * (self.count - index - 1)
            if earlier or not index:
                self._starts.setdefault(index, self._start(space, spread))
        return pairs

    @property
    def _waiting(self) -> int:
        """Row of the first warm vector of pairs still to come."""
        return len(self.rows) - self.held

    def _begin(self, index: int, earlier: list[Pair]) -> tuple[LanczosSpace, float]:
        """The space of a pair's search, from its warm vector and the next one's; its `spread`."""
        rows, ahead = self.rows, index + (self._waiting if self.count > 1 else 0)
        end = self._waiting + index + 1 if earlier and index < self.count - 1 else len(rows)
        if index:
            rows[index].copy_(rows[ahead])
        if not earlier or index + 1 >= self.held or end - index < _ROOM:
            return self._space(index, end)
        rows[index + 1].copy_(rows[ahead + 1])
        self._perturb(rows[index + 1], _CHANCE)
        return self._space(index, end, starts=2)

    def _space(
        self, found: int, end: int, chance: float = _CHANCE, starts: int = 1
    ) -> tuple[LanczosSpace, float]:
        """A space orthogonal to the first rows, from what the next ones hold; one start is perturbed."""
        spread = self._perturb(self.rows[found], chance) if starts == 1 else math.inf
        space = LanczosSpace(
            self.operator,
            self.rows,
            self.generator,
            found=found,
            end=end,
            starts=starts,
            sign=self.settings.sign,
            scale=self.scale,
        )
        return space, spread

    def _start(self, space: LanczosSpace, spread: float) -> RandomStart:
        """What is left of a search that bounds the probability of a miss."""
        unit = space.unit
        return RandomStart(
            space.recurrence, self.operator.size, spread, unit * space.scale, unit, space.complete
        )

    def _aim(self, goal: float, known: Pair | None = None) -> Aim:
        """A search to a goal; the rest of the tolerance is for rounding."""
        rounding = (1 - _WARM) * self.settings.tolerance
        aim = Aim(goal, self.settings.max_products, self.resolution, rounding=rounding)
        if known is None:
            return aim
        return aim._replace(known_value=known.value, known_second=known.second, known_scale=known.scale)

    def _pair(self, space: LanczosSpace, aim: Aim) -> Pair:
        pair = largest_pair(space, aim)
        self.matvecs += space.matvecs
        self.scale = max(self.scale, pair.scale)
        return pair

    def _perturb(self, row: torch.Tensor, chance: float) -> float:
        """Bring a vector to norm one and add a random one; nothing but that if there is no vector.

        Returns the largest norm of the sum over that of the random part.
        """
        length = norm(row)
        if length > 0:
            row.div_(length)
        drawn = torch.randn(len(row), generator=self.generator, dtype=row.dtype, device="cpu")
        row.add_(drawn.to(row.device), alpha=chance / norm(drawn))
        return 1 + 1 / chance if length > 0 else 1.0

    def _together(self, pairs: list[Pair]) -> list[Pair]:
        """Rayleigh-Ritz on all vectors found, whose couplings are known, and bounds for the whole of them."""
        if len(pairs) == 1 or not all(math.isfinite(pair.value) for pair in pairs):
            return pairs
        projection = np.diag([pair.value for pair in pairs])
        for index, pair in enumerate(pairs):
            projection[: len(pair.leaks), index] = projection[index, : len(pair.leaks)] = pair.leaks
        values, vectors = np.linalg.eigh(projection)
        values, vectors = values[::-1], vectors[:, ::-1]
        combine_rows(self.rows[: len(pairs)], vectors)
        residuals = np.array([pair.residual for pair in pairs])
        whole = float(np.linalg.norm(residuals))
        rounding = max(pair.rounding for pair in pairs)
        rotated = [
            pair._replace(
                value=float(value),
                residual=min(whole, own),
                leaks=np.zeros(0),
                rounding=rounding,
                scale=self.scale,
            )
            for pair, value, own in zip(pairs, values, np.abs(vectors).T @ residuals, strict=True)
        ]
        return self._bounded(rotated, pairs[-1].second)

    def _bounded(self, pairs: list[Pair], outside: float) -> list[Pair]:
        """The pairs with their bounds: contamination comes from outside all of them, from the value given."""
        whole = float(np.linalg.norm([pair.residual for pair in pairs]))
        following = [*(pair.value for pair in pairs[1:]), outside]
        return [
            pair._replace(
                second=second,
                error_bound=min(pair.residual, error_bound(whole, pair.value - outside)) + pair.rounding,
            )
            for pair, second in zip(pairs, following, strict=True)
        ]

    def _with_overtaking(self, pairs: list[Pair], goal: float) -> list[Pair]:
        """The pairs, with any that a random start finds, orthogonally to them, to lie above the last.

        By interlacing there is none if they are the outermost. A multiple eigenvalue's copies come this way.
        """
        for _ in range(self.count + 1):
            if not all(math.isfinite(pair.value) for pair in pairs):
                return pairs
            last = pairs[-1]
            space, spread = self._space(self.count, len(self.rows), chance=1.0)
            self._guards += 1
            guard = self._pair(space, self._aim(goal)._replace(ceiling=last.value))
            if guard.note not in _SEEN or guard.value <= last.value + last.error_bound:
                self._guard = self._start(space, spread)
                pairs = self._bounded(pairs, guard.value)
                bound = max(pairs[-1].error_bound, guard.value + guard.error_bound - last.value)
                pairs[-1] = pairs[-1]._replace(error_bound=bound, note=last.note or guard.note)
                return pairs
            space.matvecs = 0
            guard = self._pair(space, self._aim(goal))
            *pairs, dropped = self._together([*pairs, guard])
            pairs = self._bounded(pairs, max(dropped.value, guard.second))
        note = "random starts went on finding larger ones"
        return [pair._replace(note=pair.note or note) for pair in pairs]
