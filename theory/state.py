"""The latent state of Theorem 5.1 and the ways it starts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import invalid
from .problem import require_limit, require_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .problem import Array, Problem

_LARGEST_DRAW = 2**33
"""Gaussian numbers one start may need (a minute or so of drawing)."""


class Weights(NamedTuple):
    """Raw weights of the two-layer linear network."""

    first: Array
    """`E`, shape (D, N)."""
    second: Array
    """`V`, shape (N,)."""


class LatentState(NamedTuple):
    """A two-layer linear network seen through Theorem 5.1; leading axes, if any, run over networks.

    Source: Section 5, Noci et al. 2024.
    """

    w: Array
    """End-to-end map, shape (..., D)."""
    e: Array
    """First-layer Gram matrix `gram * E E^T`, shape (..., D, D)."""
    v: Array
    """Second-layer norm `gram * V.V`, shape (...)."""


def as_generator(generator: np.random.Generator | int) -> np.random.Generator:
    """A source of random numbers, given as one or as its seed.

    Raises
    ------
    InputError
        If it is neither a generator of NumPy's nor a whole number of at least 0.
    """
    if isinstance(generator, np.random.Generator):
        return generator
    if isinstance(generator, bool) or not isinstance(generator, int | np.integer) or generator < 0:
        accepted = "a numpy.random.Generator, or a seed of at least 0"
        raise invalid("generator", generator, accepted=accepted, remedy="pass 0, for example")
    return np.random.default_rng(int(generator))


def gaussian_weights(problem: Problem, generator: np.random.Generator | int) -> Weights:
    """Draw the raw weights at initialisation, neuron by neuron.

    Neurons are drawn in order, so the first neurons of a wide network are those of a narrow one drawn from
    the same generator state.

    Raises
    ------
    InputError
        If the width is infinite: draw with `initial_state` instead.
    """
    require_problem(problem)
    if math.isinf(problem.width):
        raise invalid(
            "width", problem.width, accepted="finite widths", remedy="use initial_state for the limit"
        )
    neurons = np.concatenate(list(_neurons(problem, as_generator(generator))))
    return Weights(np.ascontiguousarray(neurons[:, :-1].T), np.ascontiguousarray(neurons[:, -1]))


def latent_state(problem: Problem, weights: Weights) -> LatentState:
    """The latent state of given raw weights (Eq. 4 and 5)."""
    first, second = weights
    return LatentState(
        problem.multiplier * (first @ second),
        problem.gram * (first @ first.T),
        np.asarray(problem.gram * (second @ second)),
    )


def initial_state(problem: Problem, generator: np.random.Generator | int) -> LatentState:
    """The latent state at initialisation, in memory O(D^2) whatever the width.

    At finite width it is that of the weights which `gaussian_weights` draws from the same generator state;
    at infinite width it is the limit of Proposition C.1.

    Parameters
    ----------
    problem
        Sizes and parametrization.
    generator
        Source of the random numbers, or its seed.

    Returns
    -------
    LatentState
        One state, `w` of shape (D,).

    Raises
    ------
    InputError
        If the neurons are too many to be drawn one by one, or the infinite width has no limit.
    """
    require_problem(problem)
    generator = as_generator(generator)
    if math.isinf(problem.width):
        return limit_state(problem, generator)
    size = problem.dimension + 1
    moment = np.zeros((size, size))
    for block in _neurons(problem, generator):
        moment += block.T @ block
    return LatentState(
        problem.multiplier * moment[:-1, -1],
        problem.gram * moment[:-1, :-1],
        np.asarray(problem.gram * moment[-1, -1]),
    )


def limit_state(problem: Problem, generator: np.random.Generator | int) -> LatentState:
    """The start that initialisation tends to as the width grows, whatever the problem's own width.

    Proposition C.1: `e = I/D`, `v = 1/D`; `w` is zero under muP, Gaussian of variance 1/D under NTP.

    Raises
    ------
    InputError
        If the parametrization has no such limit (SP).
    """
    require_problem(problem)
    require_limit(problem.parametrization)
    sizes = {"width": math.inf, "dimension": float(problem.dimension)}
    first, second, variance = (float(scale.at(**sizes)) for scale in problem.parametrization.start)
    w = math.sqrt(variance) * as_generator(generator).standard_normal(problem.dimension)
    return LatentState(w, first * np.eye(problem.dimension), np.asarray(second))


def _neurons(problem: Problem, generator: np.random.Generator, block: int = 2**22) -> Iterator[Array]:
    """Blocks of neurons, each row `(E[:, k], V[k])`, shape (block, D + 1)."""
    size, width = problem.dimension + 1, int(problem.width)
    if size * width > _LARGEST_DRAW:
        raise invalid(
            "width",
            width,
            accepted=f"at most {_LARGEST_DRAW // size} neurons drawn one by one at dimension {size - 1}",
            remedy="use a smaller width, or width inf for the limit",
        )
    deviations = _deviations(problem)
    rows = max(1, block // size)
    for start in range(0, width, rows):
        neurons = generator.standard_normal((min(rows, width - start), size))
        neurons *= deviations
        yield neurons


def _deviations(problem: Problem) -> Array:
    """Standard deviations of a neuron's weights, shape (D + 1,)."""
    table, width, dimension = problem.parametrization, float(problem.width), float(problem.dimension)
    deviations: Array = np.full(problem.dimension + 1, table.input.variance.at(fan_in=dimension, width=width))
    deviations[-1] = table.readout.variance.at(fan_in=width, width=width)
    return np.sqrt(deviations)
