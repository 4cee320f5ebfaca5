"""The largest or smallest eigenvalues along a run, certified, at the cost of a few products each time."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ...errors import invalid, require_known, require_whole
from .lanczos import Aim, LanczosSpace, Pair, combine, error_bound, is_near, largest_pair
from .reductions import norm

if TYPE_CHECKING:
    from ...theory import Array
    from .operators import SymmetricOperator

_MEMORY = 2**26
"""Bytes the basis may take where fewer vectors would do."""

_VECTORS = 32
"""Vectors beyond which a larger basis saves few products."""

_NEIGHBOUR = {True: 0.5, False: 0.2}
"""Part of the next eigenvector in a warm start, by whether it is near the largest. With a tenth a crossing
was missed: at it the two cannot be told apart, and what is left of the other in the vector is too little to
show in the residual afterwards. More than is needed costs products."""

_CHANCE = 0.3
"""Norm of the random part of a warm start, beside the last eigenvector's one."""

_WARM, _COLD = 0.5, 0.1
"""Parts of the tolerance that a search goes on to; less from a cold start, which knows nothing of gaps."""

_FALLEN = 0.9
"""Part of its largest value since the last guard at which an eigenvalue is guarded again: one that falls may
have been overtaken (`make stress`)."""

_ATTEMPTS = 4
_FINER = 0.1
"""Tightening of each pair's tolerance until all of them together meet theirs."""

ENDS = {"largest": 1, "smallest": -1}


class NotConvergedWarning(UserWarning):
    """An eigenvalue was asked for and not reached; the estimate says by how much."""


class Eigenpairs(NamedTuple):
    """Eigenvalues from the chosen end inwards, each with what is known of its error."""

    values: Array
    """Shape (count,); not to be trusted beyond `error_bounds`. NaN if a product is not finite."""
    error_bounds: Array
    """Shape (count,). That some eigenvalue lies within the residual needs no assumption; where the quadratic
    bound `2 residual^2 / gap` is less, it rests on the gap to the next Ritz value. The search goes on to half
    the tolerance and claims no less than all of it: what it has not told apart leaves no residual."""
    residuals: Array
    """Norms of `A x - value x`, shape (count,)."""
    vectors: torch.Tensor
    """Unit eigenvectors, shape (count, n)."""
    matvecs: int
    """Products taken."""
    converged: bool
    """Whether every error bound is within the tolerance; less than 1e-13 of the operator's norm is zero."""
    following: float
    """The next Ritz value inwards, which lies inwards of the next eigenvalue; NaN if there is none."""
    note: str = ""
    """Why it has not converged, if it has not."""

    @property
    def value(self) -> float:
        """The outermost eigenvalue."""
        return float(self.values[0])

    @property
    def error_bound(self) -> float:
        """Of the outermost eigenvalue."""
        return float(self.error_bounds[0])

    @property
    def residual(self) -> float:
        """Of the outermost eigenvalue."""
        return float(self.residuals[0])


class SpectrumTracker:
    """Follows the outermost eigenvalues of an operator that changes little between calls.

    Configure it, then call it with one operator after another: it starts from the last eigenvectors.
    Each pair is found by Lanczos with thick restarts until its residual certifies it, orthogonally to the
    pairs before it. A warm start contains a part of the next eigenvector and of a random vector, so that an
    eigenvalue that overtakes is seen. From a cold start, when the value has fallen, and always with several
    pairs, one more is looked for from a random start, which by interlacing may not lie above those kept.
    What can still be missed is an eigenvalue that none of the last searches saw, where it overtakes one that
    does not fall, and one nearer than a few tolerances (`make stress` counts how often).

    Parameters
    ----------
    tolerance
        Bound on the error of each eigenvalue, relative to it.
    count
        Eigenvalues, from the end inwards, with multiplicity.
    end
        `largest` (not in modulus) or `smallest`.
    seed
        Of the random vectors: the same calls give the same bits.
    vectors
        Vectors of the basis; by default 32 or what 64 MiB hold, and not less than count + 3. With one or two
        more, a product's own, they are what is held beyond the graph (`make bench-curvature` measures it).
    max_products
        Of one pair, at which the call gives up, with a warning and `converged` false.

    Raises
    ------
    InputError
        If a setting is out of range.
    """

    def __init__(
        self,
        *,
        tolerance: float = 1e-3,
        count: int = 1,
        end: str = "largest",
        seed: int = 0,
        vectors: int | None = None,
        max_products: int = 500,
    ) -> None:
        if not 0 < tolerance < 1:
            raise invalid("tolerance", tolerance, accepted="between 0 and 1", remedy="pass 1e-3, say")
        require_whole("count", count, least=1, example=1)
        require_known("end", end, ENDS)
        require_whole("seed", seed, least=0, example=0)
        require_whole("max products", max_products, least=2, example=500)
        if vectors is not None:
            require_whole("vectors", vectors, least=count + 3, example=count + 3)
        self.tolerance, self.count, self.end = tolerance, count, end
        self.vectors, self.max_products = vectors, max_products
        self.generator = torch.Generator().manual_seed(seed)
        self._rows: torch.Tensor | None = None
        self._warm = False
        self._pairs: list[Pair] = []
        self.highest = -math.inf
        """Largest value since one more was looked for."""

    def __call__(self, operator: SymmetricOperator) -> Eigenpairs:
        """The operator's outermost eigenvalues.

        Raises
        ------
        InputError
            If more eigenvalues are asked for than there are.
        """
        require_whole("count", self.count, least=1, most=operator.size, example=1)
        rows = self._memory(operator)
        warm, self._warm = self._warm, False
        search = _Search(self, operator, rows)
        pairs = search.run(self._pairs if warm else [])
        if all(math.isfinite(pair.value) for pair in pairs):
            self._warm = True
            self._pairs = pairs
            self.highest = pairs[0].value if search.guarded else max(self.highest, pairs[0].value)
        return self._result(pairs, rows, search.matvecs)

    def state(self) -> dict[str, Any]:
        """Everything that the next call depends on, as tensors and plain values."""
        held = self.count + 1
        return {
            "generator": self.generator.get_state(),
            "rows": None if self._rows is None else self._rows[:held].clone(),
            "capacity": 0 if self._rows is None else len(self._rows),
            "warm": self._warm,
            "pairs": [_plain(pair) for pair in self._pairs],
            "highest": self.highest,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from the state of a tracker with the same settings: the next call gives the same bits."""
        self.generator.set_state(state["generator"].cpu())
        rows = state["rows"]
        self._rows = None
        if rows is not None:
            self._rows = torch.zeros(state["capacity"], rows.shape[1], dtype=rows.dtype, device=rows.device)
            self._rows[: len(rows)] = rows
        self._warm, self.highest = state["warm"], state["highest"]
        self._pairs = [Pair(**pair | {"leaks": pair["leaks"].cpu().numpy()}) for pair in state["pairs"]]

    def _memory(self, operator: SymmetricOperator) -> torch.Tensor:
        """The rows, kept between calls while the operators are of one kind."""
        rows = self._rows
        if (
            rows is not None
            and rows.shape[1] == operator.size
            and rows.dtype == operator.dtype
            and rows.device.type == operator.device.type
        ):
            return rows
        self._warm = False
        least = self.count + 3
        affordable = _MEMORY // (operator.size * operator.dtype.itemsize)
        capacity = self.vectors or max(least, min(_VECTORS + self.count, affordable))
        # One row more than there are dimensions is never needed, but two rows are the least that restart.
        capacity = max(2, min(capacity, operator.size + self.count))
        self._rows = torch.zeros(capacity, operator.size, dtype=operator.dtype, device=operator.device)
        return self._rows

    def _result(self, pairs: list[Pair], rows: torch.Tensor, matvecs: int) -> Eigenpairs:
        sign = ENDS[self.end]
        note = next((pair.note for pair in pairs if pair.note), "")
        inwards = sign * pairs[-1].second if self.count < rows.shape[1] else math.nan
        values = np.array([sign * pair.value for pair in pairs])
        result = Eigenpairs(
            values,
            np.array([max(pair.error_bound, self.tolerance * abs(pair.value)) for pair in pairs]),
            np.array([pair.residual for pair in pairs]),
            rows[: self.count].clone(),
            matvecs,
            not note,
            inwards,
            note,
        )
        if note and math.isfinite(result.value):
            known = f"{result.value:.6g} is known to {result.error_bound:.2g} only"
            warnings.warn(f"the {self.end} eigenvalue {known}: {note}", NotConvergedWarning, stacklevel=3)
        return result


def _plain(pair: Pair) -> dict[str, Any]:
    """A pair without NumPy's types, which a file that can hold no code may not name."""
    numbers = {name: float(value) for name, value in pair._asdict().items() if name not in {"leaks", "note"}}
    return {**numbers, "leaks": torch.tensor(pair.leaks), "note": pair.note}


class _Search:
    """One call: pair after pair, each orthogonal to those before, then all of them together.

    The rows hold, from the first on, the vectors found, then the basis of the present search; the last rows,
    the warm vectors of pairs still to come.
    """

    def __init__(self, tracker: SpectrumTracker, operator: SymmetricOperator, rows: torch.Tensor) -> None:
        self.tracker, self.operator, self.rows = tracker, operator, rows
        self.count = tracker.count
        self.held = min(self.count + 1, operator.size)
        self.matvecs = 0
        self.guarded = False

    def run(self, earlier: list[Pair]) -> list[Pair]:
        """The pairs, outermost first, their vectors in the first rows and the next one's after them.

        Parameters
        ----------
        earlier
            The last call's pairs, whose vectors the first rows hold; none for a cold start.
        """
        cold = not earlier
        goal = (_COLD if cold else _WARM) * self.tracker.tolerance
        pairs: list[Pair] = []
        for _ in range(_ATTEMPTS):
            pairs = self._together(self._each(goal, earlier))
            if self._to_guard(pairs[0], cold=cold):
                pairs = self._with_overtaking(pairs, goal)
            if any(pair.note for pair in pairs) or all(self._within(pair) for pair in pairs):
                return pairs
            earlier, goal = pairs, _FINER * goal
        note = "the pairs together are less certain than each alone"
        return [pair._replace(note=note) for pair in pairs]

    def _to_guard(self, pair: Pair, *, cold: bool) -> bool:
        """Whether one more is looked for; always with several pairs, where copies are missed otherwise."""
        if self.count == self.operator.size or pair.note:
            return False
        highest = self.tracker.highest
        fallen = pair.value < highest - (1 - _FALLEN) * abs(highest)
        self.guarded = self.count > 1 or cold or fallen
        return self.guarded

    def _within(self, pair: Pair) -> bool:
        return pair.error_bound - pair.rounding <= _WARM * self.tracker.tolerance * abs(pair.value)

    def _each(self, goal: float, earlier: list[Pair]) -> list[Pair]:
        """Pair after pair, deflated by those before."""
        rows, waiting, warm = self.rows, len(self.rows) - self.held, bool(earlier)
        if warm and self.count > 1:
            for index in range(self.held - 1, 0, -1):
                rows[waiting + index].copy_(rows[index])
        pairs: list[Pair] = []
        space: LanczosSpace | None = None
        for index in range(self.count):
            if space is not None and not warm:
                space.deflate()
            else:
                ahead = index + (waiting if self.count > 1 else 0)
                if index:
                    rows[index].copy_(rows[ahead])
                if warm and index + 1 < self.held:
                    near = is_near(earlier[index].value, earlier[index].second)
                    rows[index].add_(rows[ahead + 1], alpha=_NEIGHBOUR[near])
                several = warm and index < self.count - 1
                space = self._space(index, waiting + index + 1 if several else len(rows))
            pairs.append(self._pair(space, self._aim(goal, earlier[index] if warm else None)))
            if not math.isfinite(pairs[-1].value):
                return pairs + [pairs[-1]] * (self.count - index - 1)
        return pairs

    def _space(self, found: int, end: int, chance: float = _CHANCE) -> LanczosSpace:
        """A space orthogonal to the first rows, from what the next one holds and some randomness."""
        self._perturb(self.rows[found], chance)
        return LanczosSpace(
            self.operator,
            self.rows,
            self.tracker.generator,
            found=found,
            end=end,
            sign=ENDS[self.tracker.end],
        )

    def _aim(self, goal: float, known: Pair | None = None) -> Aim:
        """A search to a goal; the rest of the tolerance is for rounding."""
        aim = Aim(goal, self.tracker.max_products, rounding=(1 - _WARM) * self.tracker.tolerance)
        return aim._replace(known_value=known.value, known_second=known.second) if known else aim

    def _pair(self, space: LanczosSpace, aim: Aim) -> Pair:
        pair = largest_pair(space, aim)
        self.matvecs += space.matvecs
        return pair

    def _perturb(self, row: torch.Tensor, chance: float) -> None:
        """Bring a vector to norm one and add a random one; nothing but that if there is no vector."""
        length = norm(row)
        if length > 0:
            row.div_(length)
        drawn = torch.randn(len(row), generator=self.tracker.generator, dtype=row.dtype)
        row.add_(drawn.to(row.device), alpha=chance / norm(drawn))

    def _together(self, pairs: list[Pair]) -> list[Pair]:
        """Rayleigh-Ritz on all vectors found, whose couplings are known, and bounds for the whole of them."""
        if len(pairs) == 1 or not all(math.isfinite(pair.value) for pair in pairs):
            return pairs
        projection = np.diag([pair.value for pair in pairs])
        for index, pair in enumerate(pairs):
            projection[: len(pair.leaks), index] = projection[index, : len(pair.leaks)] = pair.leaks
        values, vectors = np.linalg.eigh(projection)
        values, vectors = values[::-1], vectors[:, ::-1]
        combine(self.rows[: len(pairs)], vectors)
        residuals = np.array([pair.residual for pair in pairs])
        whole = float(np.linalg.norm(residuals))
        rounding = max(pair.rounding for pair in pairs)
        rotated = [
            pair._replace(value=float(value), residual=min(whole, own), leaks=np.zeros(0), rounding=rounding)
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
            space = self._space(self.count, len(self.rows), chance=1.0)
            guard = self._pair(space, self._aim(goal)._replace(ceiling=last.value))
            if guard.note or guard.value <= last.value + last.error_bound:
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
