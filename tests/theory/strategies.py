"""Random problems and weights, the edge sizes included."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from superconsistency.theory import PARAMETRIZATIONS, Problem, Weights, gaussian_weights


@st.composite
def networks(draw: st.DrawFn) -> tuple[Problem, Weights]:
    table = draw(st.sampled_from(list(PARAMETRIZATIONS.values())))
    dimension, width = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    scale = draw(st.sampled_from([0.0, 0.3, 1.0, 5.0]))
    problem = Problem(table, width, scale * generator.standard_normal(dimension))
    return problem, gaussian_weights(problem, generator)


def orthogonal(size: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A random orthogonal matrix."""
    factor, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    return factor
