"""Further quantities for simulations to record, each described and tried on small networks first."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from ..errors import invalid, require_instance
from ..records import NEVER
from ..records.schema import QUANTITIES, Quantity
from ..theory import (
    OBSERVABLES,
    LatentState,
    Observable,
    Problem,
    evolve,
    parametrization,
    uniform_target,
    wishart_state,
)
from ..theory.krylov_chain import chain_of_state, stack
from ..theory.observables import Tail
from .reduced import FIRST_SIZE, ReducedMethod

if TYPE_CHECKING:
    from ..theory import Array

_TRIED = ((1, 1), (3, 2), (48, 64), (48, 16))
"""Dimension and width of the networks that a declared tail is tried on; two have more than a head holds."""

_STEPS = 3
"""Steps after which it is tried again; the residual is still inside the head."""

_RATE = 0.1

_PRECISION = 1e-8
"""Difference, over the value's size, beyond which a declared tail is wrong."""


def add_observable(observable: Observable, *, long_name: str, units: str) -> None:
    """Let `simulate` record a further quantity, in this process.

    Parameters
    ----------
    observable
        Its name must be a new one. `compute` takes states with leading axes. If it declares a tail, the
        declaration is tried on small networks.
    long_name, units
        What the record says of it, such as "trace of the neural tangent kernel" and "1 / eta0".

    Raises
    ------
    InputError
        If the name is taken, `compute` does not return one number for each network, or the declared tail
        does not give what `compute` gives on states in all coordinates.

    Examples
    --------
    >>> from superconsistency import Observable, add_observable
    >>> from superconsistency.theory import TraceTail
    >>> def of_trace(trace, state, problem):
    ...     return trace + problem.sizes["dimension"] * state.v
    >>> def ntk_trace(state, problem):
    ...     return of_trace(state.e.trace(axis1=-2, axis2=-1), state, problem)
    >>> add_observable(
    ...     Observable("ntk_trace", ntk_trace, TraceTail(of_trace)),
    ...     long_name="trace of the neural tangent kernel",
    ...     units="1 / eta0",
    ... )
    """
    remedy = "pass Observable(name, compute, tail), and what it is in words"
    require_instance("observable", observable, Observable, accepted="an Observable", remedy=remedy)
    for what, words in (
        ("name of the observable", observable.name),
        ("long_name", long_name),
        ("units", units),
    ):
        require_instance(what, words, str, accepted="text", remedy='pass "trace", for example')
    compute, tail = cast("tuple[object, object]", observable[1:])
    if not callable(compute) or not isinstance(tail, Tail | None):
        accepted = "a function compute(state, problem), and a tail of theory's or None"
        raise invalid("observable", observable, accepted=accepted, remedy=remedy)
    described = Quantity(long_name, units)
    name = observable.name
    if not name.isidentifier() or name in OBSERVABLES or QUANTITIES.get(name, described) != described:
        accepted = "a new name of letters, digits and underscores"
        raise invalid("name of the observable", name, accepted=accepted, remedy="choose another one")
    for dimension, width in _TRIED:
        _require_consistent(observable, dimension, width)
    QUANTITIES[name] = described
    OBSERVABLES[name] = observable


def _require_consistent(observable: Observable, dimension: int, width: int) -> None:
    """Refuse an observable that is not the same on a chain's head as on whole states."""
    problem = Problem(parametrization("mup"), width, uniform_target(dimension, 1.0))
    states = [wishart_state(problem, np.random.default_rng(seed)) for seed in range(2)]
    whole = LatentState(*(np.stack(parts) for parts in zip(*states, strict=True)))
    if observable.tail is None:
        _value(observable, whole, problem)
        return
    method = ReducedMethod(
        problem, np.array([_RATE]), stack([chain_of_state(one, problem) for one in states]), FIRST_SIZE
    )
    never, alive = np.full(len(states), NEVER), np.ones(len(states), dtype=np.bool_)
    for step in range(0, _STEPS + 1, _STEPS):
        method.advance(max(0, step - _STEPS), step, never)
        expected = _value(observable, whole, problem)
        found = np.asarray(method.read(observable, alive))
        if found.shape != expected.shape or not _close(found, expected):
            raise invalid(
                f"tail of {observable.name}",
                f"{_number(found)} on the head, {_number(expected)} on the whole state (D = {dimension})",
                accepted="one by which both agree",
                remedy="declare another tail (theory.TraceTail, EigenvalueTail), or none",
            )
        for _ in range(_STEPS):
            whole = evolve(whole, problem, _RATE)


def _value(observable: Observable, states: LatentState, problem: Problem) -> Array:
    """What `compute` returns; `InputError` unless it is a finite number for each network."""
    value = np.asarray(observable.compute(states, problem))
    if value.shape != states.v.shape or value.dtype.kind != "f" or not np.isfinite(value).all():
        raise invalid(
            f"value of {observable.name}",
            f"of shape {value.shape} and type {value.dtype}",
            accepted=f"finite numbers, one for each network: shape {states.v.shape} here",
            remedy="reduce over the last axes only",
        )
    return value


def _close(found: Array, expected: Array) -> bool:
    scale = max(1.0, float(np.abs(expected).max()))
    return bool(np.abs(found - expected).max() <= _PRECISION * scale)


def _number(values: Array) -> str:
    return f"{float(np.ravel(values)[0]):.4g}"
