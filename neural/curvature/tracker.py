"""The largest or smallest eigenvalues along a run, certified, at the cost of a few products each time."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ...errors import invalid, require_known, require_whole
from .eigenpair import Pair
from .evaluation import own_context
from .search import Search, SearchSettings

if TYPE_CHECKING:
    from ...theory import Array
    from .symmetric import SymmetricOperator

_MEMORY = 2**26
"""Bytes the basis may take where fewer vectors would do."""

_VECTORS = 32
"""Vectors beyond which a larger basis saves few products."""

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
    """Whether every error bound is within the tolerance; for an eigenvalue not to be told from zero, within
    `tolerance^2`, or 450 roundings if that is more, of the operator's norm."""
    following: float
    """The next Ritz value inwards, which lies inwards of the next eigenvalue; NaN if there is none."""
    note: str
    """Why it has not converged, if it has not."""
    misses: Array
    """Shape (count,): at most the probability, over the random vectors drawn, that an eigenvalue lies beyond
    the value and its bound, unseen; 1 where too few products were taken to tell. In at most a part p of many
    calls is an eigenvalue missed while this is p or less."""

    @property
    def value(self) -> float:
        """The outermost eigenvalue."""
        return float(self.values[0])

    @property
    def error_bound(self) -> float:
        """Error bound of the outermost eigenvalue."""
        return float(self.error_bounds[0])

    @property
    def residual(self) -> float:
        """Residual of the outermost eigenvalue."""
        return float(self.residuals[0])

    @property
    def missed(self) -> float:
        """Probability that an eigenvalue beyond the outermost one was missed."""
        return float(self.misses[0])


class SpectrumTracker:
    """Follows the outermost eigenvalues of an operator that changes little between calls.

    Configure it, then call it with one operator after another: it starts from the last eigenvectors.
    Each pair is found by Lanczos with thick restarts until its residual certifies it, orthogonally to the
    pairs before it. A warm search has two starts, the last eigenvector, and the next one with a random part:
    an eigenvalue that overtakes is seen, and a near one does not slow the search down. From a cold start,
    when the value has fallen, and always with several pairs, one more is looked for from a random start,
    which by interlacing may not lie above those kept. What can still be missed is an eigenvalue that none of
    the last searches saw, where it overtakes one that does not fall, and one nearer than a few tolerances
    (`make stress` counts how often). Each result says how probable that is at most (`Eigenpairs.misses`),
    from what the random starts of its own call exclude.

    Parameters
    ----------
    tolerance
        Bound on the error of each eigenvalue, relative to it.
    count
        Eigenvalues, from the end inwards, with multiplicity.
    end
        `largest` (not in modulus) or `smallest`.
    seed
        Seed of the random vectors: the same calls give the same bits.
    vectors
        Vectors of the basis; by default 32 or what 64 MiB hold, and not less than count + 3. With one or two
        more, a product's own, they are what is held beyond the graph (`make bench-curvature` measures it).
    max_products
        Products for one pair after which the call gives up, with a warning and `converged` false.

    Raises
    ------
    InputError
        If a setting is out of range.

    Examples
    --------
    >>> import torch
    >>> from superconsistency.neural.curvature import DenseOperator
    >>> track = SpectrumTracker(tolerance=1e-6)
    >>> matrix = torch.diag(0.7 ** torch.arange(50, dtype=torch.float64))
    >>> found = track(DenseOperator(matrix))
    >>> round(found.value, 6), found.converged, found.missed < 0.01
    (1.0, True, True)
    >>> track(DenseOperator(1.01 * matrix)).matvecs < found.matvecs
    True
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
            raise invalid("tolerance", tolerance, accepted="between 0 and 1", remedy="pass 1e-3, for example")
        require_whole("count", count, least=1, example=1)
        require_known("end", end, ENDS)
        require_whole("seed", seed, least=0, example=0)
        require_whole("max products", max_products, least=2, example=500)
        if vectors is not None:
            require_whole("vectors", vectors, least=count + 3, example=count + 3)
        self.tolerance, self.count, self.end = tolerance, count, end
        self.vectors, self.max_products = vectors, max_products
        self.generator = torch.Generator(device="cpu").manual_seed(seed)
        self._rows: torch.Tensor | None = None
        self._warm = False
        self._pairs: list[Pair] = []
        self.highest = -math.inf
        """Largest value since one more was looked for."""

    @own_context()
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
        settings = SearchSettings(self.tolerance, self.count, ENDS[self.end], self.max_products)
        search = Search(settings, operator, rows, self.generator, self.highest)
        pairs = search.run(self._pairs if warm else [])
        if all(math.isfinite(pair.value) for pair in pairs):
            self._warm = True
            self._pairs = pairs
            self.highest = pairs[0].value if search.guarded else max(self.highest, pairs[0].value)
        return self._result(pairs, rows, search)

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

    def _result(self, pairs: list[Pair], rows: torch.Tensor, search: Search) -> Eigenpairs:
        sign = ENDS[self.end]
        note = next((pair.note for pair in pairs if pair.note), "")
        inwards = sign * pairs[-1].second if self.count < rows.shape[1] else math.nan
        bounds = search.claimed(pairs)
        result = Eigenpairs(
            np.array([sign * pair.value for pair in pairs]),
            bounds,
            np.array([pair.residual for pair in pairs]),
            rows[: self.count].clone(),
            search.matvecs,
            not note,
            inwards,
            note,
            search.missed(pairs, bounds),
        )
        if note and math.isfinite(result.value):
            known = f"{result.value:.6g} is known to {result.error_bound:.2g} only"
            warnings.warn(f"the {self.end} eigenvalue {known}: {note}", NotConvergedWarning, stacklevel=3)
        return result


def _plain(pair: Pair) -> dict[str, Any]:
    """A pair without NumPy's types, which a file that can hold no code may not name."""
    numbers = {name: float(value) for name, value in pair._asdict().items() if name not in {"leaks", "note"}}
    return {**numbers, "leaks": torch.from_numpy(pair.leaks.copy()), "note": pair.note}
