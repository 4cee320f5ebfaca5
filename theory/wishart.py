"""The start at any width from O(D^2) random numbers: Bartlett's decomposition of the Wishart matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .problem import require_problem
from .state import LatentState, as_generator, limit_state

if TYPE_CHECKING:
    from .problem import Array, Problem


def wishart_state(problem: Problem, generator: np.random.Generator | int) -> LatentState:
    """The latent state at initialisation, drawn in time O(D^3) and memory O(D^2) whatever the width.

    In law, though not number by number, it is `initial_state`: the stacked Gaussian weights `Z` enter only
    through `Z Z^T`, which is Wishart with N degrees of freedom. At infinite width it is `limit_state`.

    Parameters
    ----------
    problem
        Any parametrization; width from 1 on, below the dimension too.
    generator
        Source of the random numbers, or its seed.

    Notes
    -----
    Source: Bartlett 1933; Proposition C.1 gives its first moments.
    """
    require_problem(problem)
    generator = as_generator(generator)
    if math.isinf(problem.width):
        return limit_state(problem, generator)
    first, second, variance = (float(scale.at(**problem.sizes)) for scale in problem.parametrization.start)
    factor = bartlett_factor(problem.dimension + 1, problem.width, generator) / math.sqrt(problem.width)
    inputs, output = factor[:-1], factor[-1]
    # E[(L L^T)_ij] = N delta_ij, so `first` and `second` are the means; w sums N products, whence sqrt(N).
    w = math.sqrt(variance * problem.width) * (inputs @ output)
    return LatentState(w, first * (inputs @ inputs.T), np.asarray(second * (output @ output)))


def bartlett_factor(size: int, width: float, generator: np.random.Generator) -> Array:
    """A factor `L`, shape (size, min(size, width)), with `L L^T` Wishart of N = width degrees of freedom.

    The first `min(size, width)` rows form a lower triangle with a chi variable of `N - i` degrees of freedom
    on the diagonal at i = 0, 1, ...; everything below the diagonal is standard normal. With fewer neurons
    than rows the triangle ends early and the other rows are full: a trapezium.
    """
    columns = int(min(size, width))
    factor: Array = np.tril(generator.standard_normal((size, columns)), -1)
    degrees = float(width) - np.arange(columns)
    np.fill_diagonal(factor, np.sqrt(generator.chisquare(degrees)))
    return factor
