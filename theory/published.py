"""Theorem 5.1 as printed in the paper: only ever what a derivation is compared with.

The formula is written once and evaluated on whatever matrix algebra it is given: SymPy matrix symbols for
every D and N at once, or explicit matrices of symbols. `v` is a 1x1 matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Law(NamedTuple):
    """The three updated quantities, in one matrix algebra."""

    w: Any
    """`w+`, (D, 1)."""
    e: Any
    """`e+`, (D, D)."""
    v: Any
    """`v+`, (1, 1)."""


def theorem_5_1(state: Law, target: Any, eta0: Any, coupling: Any) -> Law:
    """Theorem 5.1 in the paper's order of terms, with `coupling` for its `gamma^2 / (N D)`."""
    w, e, v = state
    t = target
    first, second = eta0 * coupling, eta0**2 * coupling
    return Law(
        w=w - eta0 * ((w - t) * v + e * (w - t)) + second * (w * w.T - t * w.T) * (w - t),
        e=e
        + first * (-2 * w * w.T + t * w.T + w * t.T)
        + second * (w * v * w.T - t * v * w.T - w * v * t.T + t * v * t.T),
        v=v + first * (-2 * w.T * w + 2 * t.T * w) + second * (w.T * e * w - 2 * t.T * e * w + t.T * e * t),
    )


PUBLISHED: dict[str, Callable[..., Law]] = {"5.1": theorem_5_1}
"""Published formulas by statement number."""
