"""Theorem 5.1 in JAX as one would write it: `jit`, `vmap` over trajectories, `scan` over steps, float64, CPU.

Three formulations; a benchmark takes the quickest at each size. State buffers are donated.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    jax = None

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.theory import LatentState, Problem


def _theorem(state: Any, target: Any, rate: float, c: float) -> Any:
    """As printed."""
    w, e, v = state
    r = w - target
    e_r, w_r = e @ r, w @ r
    rw = jnp.outer(r, w)
    return (
        w - rate * (v * r + e_r) + rate**2 * c * w_r * r,
        e - rate * c * (rw + rw.T) + rate**2 * c * v * jnp.outer(r, r),
        v - 2 * rate * c * w_r + rate**2 * c * (r @ e_r),
    )


def _two_products(state: Any, target: Any, rate: float, c: float) -> Any:
    """The update of `e` as outer products without a transpose, which fuse into one pass."""
    w, e, v = state
    r = w - target
    e_r, w_r = e @ r, w @ r
    z = 0.5 * rate**2 * c * v * r - rate * c * w
    return (
        w - rate * (v * r + e_r) + rate**2 * c * w_r * r,
        e + r[:, None] * z[None, :] + z[:, None] * r[None, :],
        v - 2 * rate * c * w_r + rate**2 * c * (r @ e_r),
    )


def _carried_product(state: Any, target: Any, rate: float, c: float) -> Any:
    """The next `e r` in the step that updates `e`, carried along, as the first kernel did."""
    w, e, v, e_r = state
    r = w - target
    w_r = w @ r
    z = 0.5 * rate**2 * c * v * r - rate * c * w
    w_next = w - rate * (v * r + e_r) + rate**2 * c * w_r * r
    e_next = e + r[:, None] * z[None, :] + z[:, None] * r[None, :]
    v_next = v - 2 * rate * c * w_r + rate**2 * c * (r @ e_r)
    return w_next, e_next, v_next, e_next @ (w_next - target)


_FORMS = {"theorem": _theorem, "two products": _two_products, "carried product": _carried_product}


def version() -> str | None:
    """JAX's version, or None where it is not installed."""
    return None if jax is None else str(jax.__version__)


def contestants(
    problem: Problem, states: LatentState, rate: float, steps: int
) -> dict[str, Callable[[], Any]]:
    """Runs of stacked states to the end, by formulation; nothing where JAX is not installed.

    Each waits for its result, the final (w, e, v). Starts are copied to donate them.
    """
    if jax is None:
        return {}
    jax.config.update("jax_enable_x64", True)
    return {name: partial(_run, _compiled(name, problem, rate, steps), states) for name in _FORMS}


def _compiled(name: str, problem: Problem, rate: float, steps: int) -> Any:
    target, c, form = jnp.asarray(problem.target), problem.kappa**2, _FORMS[name]

    def one(state: Any) -> Any:
        if name == "carried product":
            state = (*state, state[1] @ (state[0] - target))
        end, _ = jax.lax.scan(lambda now, _: (form(now, target, rate, c), None), state, None, length=steps)
        return end[:3]

    return jax.jit(jax.vmap(one), donate_argnums=0)


def _run(advance: Any, states: LatentState) -> Any:
    return jax.block_until_ready(advance(tuple(jnp.array(np.asarray(part)) for part in states)))
