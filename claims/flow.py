"""Claims about gradient flow: what it conserves, and the sharpness it ends at."""

from __future__ import annotations

import math
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..records.tables import Table
from ..theory import (
    OBSERVABLES,
    LatentState,
    Problem,
    Weights,
    latent_state,
    limit_state,
    parametrization,
    uniform_target,
)
from ..theory.flow import final_sharpness_mup, final_sharpness_ntp, final_sharpness_planar, integrate
from .checks import compared, derived
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..theory import Array

_DIMENSIONS = (1, 2, 5, 20)
_NORMS = (0.3, 1.0, 3.0)
_FRACTIONS = (0.04, 0.02, 0.01)
"""Learning rates of gradient descent, over the final 1/sharpness."""
_EXACT, _SLOPE = 1e-10, 0.1
"""Tolerances: relative error of exact forms, and distance of a fitted rate from its order."""
_SETTLED = 1e-12


def network_of(problem: Problem, state: LatentState) -> Weights:
    """Raw weights with a given latent state: the root of its Gram matrix, and zeros in further neurons.

    The width has to be D + 1 at least, and S positive semidefinite.
    """
    dimension = problem.dimension
    gram = np.empty((dimension + 1, dimension + 1))
    gram[:-1, :-1], gram[-1, -1] = state.e, state.v
    gram[:-1, -1] = gram[-1, :-1] = problem.kappa * state.w
    values, vectors = np.linalg.eigh(gram / problem.gram)
    stacked = np.zeros((dimension + 1, int(problem.width)))
    stacked[:, : dimension + 1] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return Weights(stacked[:-1], stacked[-1])


def _descended(problem: Problem, weights: Weights, rate: float) -> float:
    """Sharpness where gradient descent on the raw weights settles; NaN if it does not."""
    first, second = weights
    raw = rate * problem.learning_rate_scale * problem.multiplier
    for _ in range(100_000):
        r = problem.multiplier * (first @ second) - problem.target
        if float(r @ r) < _SETTLED**2:
            return _sharpness(latent_state(problem, Weights(first, second)), problem)
        first, second = first - raw * np.outer(r, second), second - raw * (r @ first)
    return math.nan


def _sharpness(state: LatentState, problem: Problem) -> float:
    return float(OBSERVABLES["sharpness"].compute(state, problem))


def _frozen(problem: Problem, start: Array) -> LatentState:
    """`w0`, `e = I/D`, `v = 1/D`."""
    limit = limit_state(problem, np.random.default_rng(0))
    return limit._replace(w=start)


def _slope(sizes: tuple[float, ...], errors: list[float]) -> float:
    """Power of the sizes with which errors fall."""
    return float(np.polyfit(np.log(sizes), np.log(np.abs(errors)), 1)[0])


class _Descent(NamedTuple):
    """Gradient descent with small steps against the flow."""

    error: float
    """Relative, at the smallest step."""
    order: float
    """Power of the step with which the error falls."""


def _descent(problem: Problem, start: Array, end: float) -> _Descent:
    """Gradient descent on raw weights of the frozen start at three learning rates."""
    weights = network_of(problem, _frozen(problem, start))
    errors = [_descended(problem, weights, fraction / end) / end - 1 for fraction in _FRACTIONS]
    return _Descent(abs(errors[-1]), _slope(_FRACTIONS, errors))


def _flow_mup(_settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """The closed form against the integrated flow at infinite width and against networks of width D + 1."""
    rows, errors, orders = [], [], []
    cases = list(product(_DIMENSIONS, _NORMS))
    for done, (dimension, norm) in enumerate(cases, start=1):
        target = uniform_target(dimension, norm)
        limit, finite = (
            Problem(parametrization("mup"), width, target) for width in (math.inf, dimension + 1)
        )
        closed = final_sharpness_mup(dimension, norm)
        start = np.zeros(dimension)
        flowed = _sharpness(integrate(_frozen(limit, start), limit, 20 * dimension), limit)
        descent = _descent(finite, start, closed)
        errors.append(abs(flowed / closed - 1))
        orders.append(descent.order)
        rows.append(
            (
                dimension,
                norm,
                f"{2 / dimension:.4f}",
                f"{closed:.6f}",
                f"{errors[-1]:.1e}",
                f"{descent.error:.1e}",
                f"{descent.order:.3f}",
            )
        )
        report(done / len(cases))
    worst, order = float(np.max(errors)), float(np.max(np.abs(np.array(orders) - 1)))
    table = Table(
        f"sharpness at the end; gradient descent on raw weights, N = D + 1, at {_FRACTIONS[-1]}/sharpness",
        ("D", "|w*|", "start, NTK", "closed form", "error of the flow", "error of descent", "order in eta0"),
        tuple(rows),
    )
    summary = (
        f"largest relative error {worst:.1e} against the integrated flow; gradient descent on raw weights "
        f"of width D + 1 tends to it at orders {min(orders):.2f} to {max(orders):.2f} in eta0"
    )
    figures = {"largest distance of the order from 1": order}
    return _judged(Evidence(summary, figures, worst, _EXACT, tables=(table,)), order)


def _judged(evidence: Evidence, distance: float) -> CheckResult:
    """Compared, and refuted if a fitted rate is too far from its order."""
    outcome = compared(evidence)
    return outcome if distance <= _SLOPE else CheckResult(Verdict.REFUTED, evidence)


_WIDTHS = tuple(2.0**power for power in range(6, 11))
"""Widths over D."""


def _direction(dimension: int, generator: np.random.Generator) -> Array:
    vector = generator.standard_normal(dimension)
    return np.asarray(vector / np.linalg.norm(vector))


def _planar_error(problem: Problem, alignment: float) -> float:
    """Relative error of the exact form on the plane."""
    start = alignment * problem.target / np.linalg.norm(problem.target)
    end = integrate(_frozen(problem, start), problem, 25 * problem.dimension)
    return abs(final_sharpness_planar(problem, alignment) / _sharpness(end, problem) - 1)


def _flow_ntp(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """The first order in 1/N against the integrated flow at five widths; the plane exactly."""
    rows = []
    orders: list[float] = []
    exact: list[float] = []
    generator = np.random.default_rng([settings.seed, 1])
    cases = list(product(_DIMENSIONS, (0.5, 1.5)))
    for done, (dimension, ratio) in enumerate(cases, start=1):
        target, start = _direction(dimension, generator), ratio * _direction(dimension, generator)
        problems = [Problem(parametrization("ntp"), dimension * times, target) for times in _WIDTHS]
        ends = [_sharpness(integrate(_frozen(p, start), p, 25 * dimension), p) for p in problems]
        errors = [final_sharpness_ntp(p, start) - end for p, end in zip(problems, ends, strict=True)]
        exact.extend(_planar_error(problems[0], sign * ratio) for sign in (1, -1))
        descent = _descent(problems[0], start, ends[0])
        order = _slope(tuple(p.width for p in problems), errors)
        orders.extend((abs(order + 2), abs(descent.order - 1)))
        change = final_sharpness_ntp(problems[-1], start) - 2 / dimension
        rows.append(
            (
                dimension,
                ratio,
                f"{change:.3e}",
                f"{abs(errors[-1]):.1e}",
                f"{order:.3f}",
                f"{max(exact[-2:]):.1e}",
                f"{descent.order:.3f}",
            )
        )
        report(done / len(cases))
    worst, distance = float(np.max(exact)), float(np.max(orders))
    table = Table(
        f"NTP, |w*| = 1, random directions, N = {_WIDTHS[0]:.0f} D to {_WIDTHS[-1]:.0f} D; figures at the "
        "largest",
        (
            "D",
            "|w0|",
            "change of sharpness",
            "missed by",
            "order in N",
            "error on the plane",
            "descent, order in eta0",
        ),
        tuple(rows),
    )
    summary = (
        f"what the first order misses falls as N to the power -2, within {max(orders[::2]):.3f}; on the "
        f"plane the exact form holds to {worst:.1e}"
    )
    figures = {"largest distance of an order from -2 in N or 1 in eta0": distance}
    return _judged(Evidence(summary, figures, worst, _EXACT, (settings.seed,), tables=(table,)), distance)


FLOW_CLAIMS = (
    Claim(
        id="flow-integrals",
        room="theory",
        statement="Gradient flow conserves tr e - v, |e|^2 - 2c|w|^2 + v^2, all the spectrum of S J; descent "
        "changes tr e - v by eta0^2 c (v |r|^2 - r.e r) a step",
        source="beyond the paper",
        kind=Kind.SYMBOLIC,
        method="first order of the derived laws, every D and N; S J moves by a commutator",
        check=partial(
            derived, "flow", "", "the spectrum of S J stands still; both integrals follow, word by word"
        ),
    ),
    Claim(
        id="flow-sharpness",
        room="theory",
        statement="The flow from e = I/D, v = 1/D ends at a sharpness in closed form: exactly on the plane, "
        "to first order in 1/N from any w0 under NTP",
        source="beyond the paper",
        kind=Kind.SYMBOLIC,
        method="conserved p^2 - c a^2; expansion of the flow in the coupling",
        check=partial(derived, "flow-sharpness", "", "both ends follow from the flow, at every D"),
    ),
    Claim(
        id="flow-sharpness-mup",
        room="theory",
        statement="Under muP at infinite width the flow sharpens from 2/D to 2 sqrt(1/D^2 + |w*|^2/D)",
        source="beyond the paper",
        kind=Kind.NUMERIC,
        method="flow integrated to 1e-12; gradient descent on raw weights with small steps",
        check=_flow_mup,
    ),
    Claim(
        id="flow-sharpness-ntp",
        room="theory",
        statement="Under NTP the flow from e = I/D, v = 1/D changes the sharpness as stated, up to N^-2",
        source="beyond the paper",
        kind=Kind.NUMERIC,
        method="flow integrated to 1e-12 at five widths; gradient descent on raw weights with small steps",
        check=_flow_ntp,
    ),
)
