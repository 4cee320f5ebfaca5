"""Theorem 5.1 as plain NumPy: one gradient-descent step in latent space."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import as_number, invalid
from .problem import require_problem
from .state import LatentState

if TYPE_CHECKING:
    from .problem import Array, Problem


def evolve(state: LatentState, problem: Problem, learning_rate: float) -> LatentState:
    """One gradient-descent step in latent space.

    Parameters
    ----------
    state
        Latent state; leading axes run over networks.
    problem
        Gives the target and the coupling `kappa`.
    learning_rate
        `eta0`, in units of 1/sharpness; stable below 2/sharpness.

    Returns
    -------
    LatentState
        The state after the step, of the same shapes.

    Raises
    ------
    InputError
        If the state's dimension differs from the target's.

    Notes
    -----
    Source: Theorem 5.1, Noci et al. 2024, in residual form (`r = w - w*`, `c = kappa^2`).
    """
    require_dimension(state, problem)
    _require_shapes(state)
    learning_rate = as_number("learning rate", learning_rate, example=0.5)
    if not math.isfinite(learning_rate):
        raise invalid(
            "learning rate", learning_rate, accepted="a finite number", remedy="pass 0.5, for example"
        )
    coupling = problem.kappa**2
    w, e, v = state
    r = w - problem.target
    e_r = np.einsum("...ij,...j->...i", e, r)
    w_r = _dot(w, r)
    first, second = learning_rate, learning_rate**2 * coupling
    return LatentState(
        w - first * (v[..., None] * r + e_r) + second * w_r[..., None] * r,
        e - first * coupling * (_outer(r, w) + _outer(w, r)) + second * v[..., None, None] * _outer(r, r),
        v - 2 * first * coupling * w_r + second * _dot(r, e_r),
    )


def require_dimension(state: LatentState, problem: Problem) -> None:
    """Raise `InputError` unless a state and a problem are such, of the same input dimension."""
    if not isinstance(state, LatentState) or not all(isinstance(part, _ARRAYS) for part in state):
        accepted = "a LatentState of arrays w, e and v"
        raise invalid("state", state, accepted=accepted, remedy="use initial_state(problem, generator)")
    require_problem(problem)
    if state.w.shape[-1] != problem.dimension:
        raise invalid(
            "dimension of the state",
            state.w.shape[-1],
            accepted=f"that of the target, {problem.dimension}",
            remedy="start the state from the same problem",
        )


def _require_shapes(state: LatentState) -> None:
    """Raise `InputError` unless the parts of a state have shapes that go together."""
    w, e, v = state
    if e.shape != (*w.shape, *w.shape[-1:]) or v.shape != w.shape[:-1]:
        accepted = "(..., D), (..., D, D) and (...) for w, e and v"
        shapes = tuple(part.shape for part in state)
        raise invalid("shapes of the state", shapes, accepted=accepted, remedy="stack w, e and v alike")


_ARRAYS = np.ndarray, np.generic


def _dot(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("...i,...i->...", a, b))


def _outer(a: Array, b: Array) -> Array:
    return np.asarray(a[..., :, None] * b[..., None, :])
