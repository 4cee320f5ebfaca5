"""The start in few coordinates: `e` as a pentadiagonal matrix in a basis that begins with the target and `w`.

Rotating the inputs changes nothing that an observable shows, and neither does rotating the neurons. So any
state may be seen in an orthonormal basis `q_0, q_1, ...` of the input space in which

    w* = |w*| q_0,   w = w_0 q_0 + w_1 q_1,   e_ij = 0 for |i - j| > 2:

a block Krylov basis of `e` with blocks of two. Gradient descent moves the residual by `e r` and by multiples
of `w` and `r`, so that after t steps it lies in the first 2t + 2 coordinates, and what it has in the later
ones falls off exponentially: the first few dozen coordinates, the *head*, carry the dynamics to rounding, and
the rest of the chain, the *tail*, stands still.

For Gaussian weights the chain is drawn without the network: Householder reflections from both sides bring the
stacked weights `Z = [V^T; E]` to three diagonals of independent variables (standard deviations set to one),

    Z_ii = chi(N - i),   Z_i,i-1 = normal,   Z_i,i-2 = chi(D + 1 - i),

in which N and D are degrees of freedom and nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import eig_banded

from .evolution import require_dimension
from .state import LatentState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .problem import Array, Problem


class Chain(NamedTuple):
    """A latent state in its own few coordinates; leading axes, if any, run over networks."""

    w: Array
    """First two coordinates of the end-to-end map, shape (..., 2); the others are zero."""
    bands: Array
    """`e_ii`, `e_i,i+1` and `e_i,i+2`, shape (..., 3, n); zero where an index is past the end."""
    v: Array
    """Second-layer norm, shape (...)."""
    rest: Array
    """Trace of `e` over the directions that the chain leaves out, shape (...)."""
    diagonals: Array | None = None
    """For a drawn chain, `Z_ii`, `Z_i+1,i` and `Z_i+2,i` in units in which `Z Z^T` is the Gram matrix of
    (V, E), shape (..., 3, n + 1); zero where an index is past the end."""

    @property
    def length(self) -> int:
        """Coordinates `n`, a multiple of 4; those past the input dimension are empty."""
        return int(self.bands.shape[-1])

    def head(self, size: int) -> LatentState:
        """The state in the first coordinates, shapes (..., size), (..., size, size), (...)."""
        lead = np.shape(self.v)
        w, e = np.zeros((*lead, size)), np.zeros((*lead, size, size))
        w[..., :2] = self.w
        for offset in range(3):
            i = np.arange(size - offset)
            e[..., i, i + offset] = e[..., i + offset, i] = self.bands[..., offset, : size - offset]
        return LatentState(w, e, np.array(self.v, dtype=np.float64))


def stack(chains: Sequence[Chain]) -> Chain:
    """Chains as one, the first axis over networks; shorter ones are filled up with empty coordinates."""
    length = max(chain.length for chain in chains)
    bands = [np.pad(chain.bands, [(0, 0), (0, length - chain.length)]) for chain in chains]
    w, v, rest = (np.array([getattr(chain, name) for chain in chains]) for name in ("w", "v", "rest"))
    known = [chain.diagonals for chain in chains if chain.diagonals is not None]
    same = len(known) == len(chains) and len({diagonals.shape for diagonals in known}) == 1
    return Chain(w, np.array(bands), v, rest, np.array(known) if same else None)


def target_coordinates(problem: Problem, size: int) -> Problem:
    """The problem in the first coordinates of a chain, with the scales of its own dimension."""
    target = np.zeros(size)
    target[0] = np.linalg.norm(problem.target)
    return type(problem)(problem.parametrization, problem.width, target, problem.inputs or problem.dimension)


def chain_length(problem: Problem) -> int:
    """Coordinates that hold the largest eigenvalue of a drawn `e` to rounding, at any width and dimension.

    The eigenvector at the upper edge of a Wishart spectrum falls off along the chain as the Airy function
    does, over `(N D / (2 (sqrt N + sqrt D)^2))^(1/3)` pairs of coordinates (Edelman and Persson 2005).
    """
    width, dimension = problem.sizes["width"], problem.sizes["dimension"]
    half = 1 / (1 / math.sqrt(width) + 1 / math.sqrt(dimension))
    pairs = max(_AIRY * (half**2 / 2) ** (1 / 3), _LEAST_PAIRS)
    return even(min(2 * pairs, dimension))


_AIRY = 10.0
"""The eigenvector has fallen to Ai(10) / Ai(0) = 3e-10 there; the eigenvalue is off by the square."""

_LEAST_PAIRS = 48
"""Pairs that a chain has at least, if there are as many, for the dynamics to draw on."""


def draw_chain(problem: Problem, generator: np.random.Generator) -> Chain:
    """The start of a random network, exact in law, at the cost of `chain_length` random numbers.

    Parameters
    ----------
    problem
        Any parametrization and width, infinity included, and any dimension (`Problem.inputs`), N < D too.
    generator
        Source of the random numbers.

    Notes
    -----
    Law: `initial_state` in rotated coordinates; `tests/simulations/test_reduced.py` and the ledger compare.
    """
    length = chain_length(problem)
    table, (width, dimension) = problem.parametrization, problem.sizes.values()
    first, second, variance = (float(scale.at(**problem.sizes)) for scale in table.start)
    diagonal, below, twice_below = _draw_diagonals(width, dimension, length + 1, generator)
    # Row 0 of Z is V, the others are E's, all over sqrt(N).
    end_to_end = math.sqrt(variance) * diagonal[0] * np.array([below[1], twice_below[2]])
    if math.isfinite(width):
        below, twice_below = below / math.sqrt(width), twice_below / math.sqrt(width)
    else:
        below, twice_below = np.zeros_like(below), np.zeros_like(twice_below)
    rows = slice(1, None)
    bands = np.zeros((3, length))
    bands[0] = (diagonal**2 + below**2 + twice_below**2)[rows]
    bands[1, :-1] = diagonal[1:-1] * below[2:] + below[1:-1] * twice_below[2:]
    bands[2, :-2] = diagonal[1:-2] * twice_below[3:]
    diagonals = np.zeros((3, length + 1))
    diagonals[0] = math.sqrt(first) * diagonal
    diagonals[0, 0] = math.sqrt(second) * diagonal[0]
    diagonals[1, :-1], diagonals[2, :-2] = math.sqrt(first) * below[1:], math.sqrt(first) * twice_below[2:]
    v = np.asarray(second * diagonal[0] ** 2)
    rest = first * _draw_rest(width, dimension, length, generator)
    return Chain(end_to_end, first * bands, v, np.asarray(rest), diagonals)


def _draw_diagonals(
    width: float, dimension: float, rows: int, generator: np.random.Generator
) -> tuple[Array, Array, Array]:
    """`Z_ii / sqrt(N)`, `Z_i,i-1` and `Z_i,i-2`, shape (rows,); zero where a row or column is missing."""
    i = np.arange(rows)
    exists = i <= dimension
    if math.isinf(width):
        diagonal = np.ones(rows)
    else:
        diagonal = _chi(np.where(exists, width - i, 0), generator) / math.sqrt(width)
    below = generator.standard_normal(rows) * (exists & (i >= 1) & (i - 1 < width))
    twice_below = _chi(np.where((i >= 2) & (i - 2 < width), dimension + 1 - i, 0), generator)
    return diagonal * exists, below, twice_below


def _chi(degrees: Array, generator: np.random.Generator) -> Array:
    """Chi variables; zero where there are no degrees of freedom."""
    drawn = np.zeros(degrees.shape)
    some = degrees > 0
    drawn[some] = np.sqrt(generator.chisquare(degrees[some]))
    return drawn


def _draw_rest(width: float, dimension: float, length: int, generator: np.random.Generator) -> float:
    """Squared norm, over N, of the rows past the chain: what no reflection has put into the diagonals."""
    rows = max(dimension - length, 0.0)
    if math.isinf(width):
        return rows
    degrees = rows * (width - length + 1)
    return float(generator.chisquare(degrees)) / width if degrees > 0 else 0.0


def chain_of_state(
    state: LatentState, problem: Problem, *, least: int = 32, edge_precision: float | None = 1e-8
) -> Chain:
    """The chain of a given state: band Lanczos on `e` from the target and `w`, reorthogonalised.

    Parameters
    ----------
    state
        One state, `w` of shape (D,).
    problem
        Gives the target.
    least
        Coordinates wanted at least, if there are as many.
    edge_precision
        The chain goes on until the residual of the largest eigenvalue of `e` is below this share of it, or to
        the end; the eigenvalue is then off by the residual's square over the gap. None: no longer than
        `least`, which is enough for what the residual alone shows.

    Returns
    -------
    Chain
        Without leading axes, at a cost of O(n D^2).

    Raises
    ------
    InputError
        If the state's dimension differs from the target's.

    Notes
    -----
    Where the Krylov space ends early, as for a target of zero or in the limit's state, a fixed random
    direction continues the chain, coupled to nothing before it.
    """
    require_dimension(state, problem)
    w, e, v = (np.asarray(part, dtype=np.float64) for part in state)
    dimension = w.size
    basis = _Basis(dimension, even(least))
    end_to_end, bands = np.zeros(2), np.zeros((3, 0))
    basis.extend(problem.target)
    if dimension > 1:
        basis.extend(w)
    end_to_end[: basis.size] = basis.vectors @ w
    while True:
        bands = _lanczos(e, basis, bands, min(dimension, even(max(least, 2 * bands.shape[1]))))
        if bands.shape[1] == dimension or edge_precision is None or _edge_residual(bands) < edge_precision:
            break
    rest = np.trace(e) - bands[0].sum() if bands.shape[1] < dimension else 0.0
    padded = np.pad(_closed(bands), [(0, 0), (0, even(bands.shape[1]) - bands.shape[1])])
    return Chain(end_to_end, padded, v, np.asarray(rest))


def even(size: float) -> int:
    """The next whole multiple of `_PACK`."""
    return _PACK * math.ceil(size / _PACK)


_PACK = 4
"""Lengths are multiples of this many coordinates, which compiled loops take at once."""


class _Basis:
    """Orthonormal vectors by rows, one more at a time."""

    def __init__(self, dimension: int, room: int) -> None:
        self._rows = np.empty((min(room + 2, dimension), dimension))
        self._generator = np.random.default_rng(0)
        self.size = 0

    @property
    def vectors(self) -> Array:
        """Shape (size, D)."""
        return self._rows[: self.size]

    def extend(self, candidate: Array) -> float:
        """Add what is new in a candidate; its length, zero if it is rounding and a random one is taken."""
        norm = float(np.linalg.norm(candidate))
        rest = self._new_part(candidate)
        length = float(np.linalg.norm(rest))
        if length <= _ROUNDING * norm:
            length, rest = 0.0, self._new_part(self._generator.standard_normal(candidate.size))
        if self.size == len(self._rows):
            room = np.empty((min(2 * self.size, candidate.size), candidate.size))
            room[: self.size] = self._rows
            self._rows = room
        self._rows[self.size] = rest / np.linalg.norm(rest)
        self.size += 1
        return length

    def _new_part(self, candidate: Array) -> Array:
        rest = candidate
        for _ in range(2):  # twice is enough for orthogonality to rounding
            rest = rest - self.vectors.T @ (self.vectors @ rest)
        return rest


_ROUNDING = 1e-13
"""What is left of a vector counts as rounding below this share of its length."""


def _lanczos(e: Array, basis: _Basis, bands: Array, length: int) -> Array:
    """Lengthen the bands; entries past the last vector are those by which the next ones couple."""
    longer = np.zeros((3, length))
    longer[:, : bands.shape[1]] = bands
    for i in range(bands.shape[1], length):
        image = e @ basis.vectors[i]
        longer[0, i] = basis.vectors[i] @ image
        if i + 1 < e.shape[0]:
            longer[1, i] = basis.vectors[i + 1] @ image
        if i + 2 < e.shape[0]:
            longer[2, i] = basis.extend(image)
    return longer


def _edge_residual(bands: Array) -> float:
    """Residual of the largest Ritz pair over its value."""
    length = bands.shape[1]
    values, vectors = eig_banded(
        _closed(bands), lower=True, select="i", select_range=(length - 1, length - 1)
    )
    last, before = vectors[-1, 0], vectors[-2, 0]
    coupled = math.hypot(bands[2, -2] * before + bands[1, -1] * last, bands[2, -1] * last)
    return coupled / float(values[0]) if values[0] > 0 else 0.0


def _closed(bands: Array) -> Array:
    """Bands without the couplings that lead past their end."""
    closed = bands.copy()
    closed[1, -1] = 0.0
    closed[2, -2:] = 0.0
    return closed
