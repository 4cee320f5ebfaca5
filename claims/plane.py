"""Claims about infinite width under muP: the planar map, its sharpness, bifurcations and divergence."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..neural import dense_hessian
from ..records.tables import Table
from ..simulations import iterate
from ..theory import OBSERVABLES, PlanarMap, PlanarState, Problem, parametrization, uniform_target
from ..theory.planar import UniversalState, universal_step
from .checks import compared, derived
from .flow import network_of
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..theory import Array

_TARGETS = ((1, 1.0), (2, 0.1), (2, 3.0), (5, 0.1), (5, 1.0), (20, 0.1), (20, 3.0))
"""(D, |w*|)."""
_FRACTIONS = {"below the edge": 0.5, "near the edge": 0.99, "beyond the edge": 1.2}
_ORBIT, _HESSIANS, _WILD = 60, 3, 1e3
"""Steps of a trajectory, dense Hessians along it, and `|a|` at which a diverging one is left."""


def _points(planar: PlanarMap) -> list[PlanarState]:
    """Points of the orbit from initialisation, while it is tame."""
    a, p = iterate(planar, _ORBIT).states
    return [PlanarState(a[k], p[k]) for k in np.flatnonzero((np.abs(a) < _WILD) & (p < _WILD))]


def _sharpness_errors(planar: PlanarMap) -> tuple[float, float, int, int]:
    """Largest relative errors against the latent state and the network, points, and points won across."""
    limit, finite = (
        Problem(parametrization("mup"), width, uniform_target(planar.dimension, planar.target_norm))
        for width in (math.inf, planar.dimension + 2)
    )
    points = _points(planar)
    found = np.array([float(planar.sharpness(point)) for point in points])
    latent = np.array(
        [float(OBSERVABLES["sharpness"].compute(planar.embed(point), limit)) for point in points]
    )
    along = PlanarMap(1, planar.target_norm * math.sqrt(planar.coupling), planar.learning_rate)
    single = [
        float(along.sharpness(PlanarState(math.sqrt(planar.coupling) * a, p))) for a, p in points
    ]  # one input of the same kappa |w*| has no sector across
    chosen = np.linspace(0, len(points) - 1, _HESSIANS).astype(int)
    dense = [
        float(np.linalg.eigvalsh(dense_hessian(finite, network_of(finite, planar.embed(points[k]))))[-1])
        for k in chosen
    ]
    errors = (np.abs(found / latent - 1), np.abs(found[chosen] / dense - 1))
    across = int(np.sum(found > np.array(single) * (1 + 1e-9)))
    return float(np.max(errors[0])), float(np.max(errors[1])), len(points), across


def _planar_sharpness(_settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """The closed form against the sharpness equation of the latent state and dense Hessians of networks."""
    rows = []
    for done, ((dimension, norm), (where, fraction)) in enumerate(
        product(_TARGETS, _FRACTIONS.items()), start=1
    ):
        planar = PlanarMap(dimension, norm, fraction * math.sqrt(dimension) / norm)
        latent, dense, points, across = _sharpness_errors(planar)
        rows.append((dimension, norm, where, points, across, latent, dense))
        report(done / (len(_TARGETS) * len(_FRACTIONS)))
    worst = float(np.max([row[-2:] for row in rows]))
    total, won = sum(row[3] for row in rows), sum(row[4] for row in rows)
    summary = f"largest relative error {worst:.1e} over {total} points; across the target in {won} of them"
    table = Table(
        "closed form along trajectories, against the latent state and the dense Hessian of a network, N = "
        "D + 2",
        ("D", "|w*|", "learning rate", "points", "largest across", "error to latent", "error to Hessian"),
        tuple((*row[:5], f"{row[5]:.1e}", f"{row[6]:.1e}") for row in rows),
    )
    return compared(Evidence(summary, {}, worst, 1e-12, tables=(table,)))


_STARTS = ((5, 0.05), (5, 0.2), (1, 1.0), (5, 1.0), (20, 1.0), (100, 1.0), (100, 10.0), (1000, 10.0))
"""(D, |w*|), by rising |w*| sqrt(D)."""
_STEPS, _GRID, _LAST, _FAR = 2000, 1e-3, 2.1, 1e12
_TOLERANCE = 1e-7
"""Relative error of a threshold over the edge; just past it an orbit takes long to leave."""


class _Threshold(NamedTuple):
    """Where divergence from initialisation starts."""

    mu: float
    """Smallest diverging learning rate over the edge, to 1e-9."""
    step: int
    """Step at which the orbit just past it is far away."""
    bounded_past_two: int
    """Learning rates of the grid past twice the edge that do not diverge."""


def _diverges(size: float, mu: Array) -> Array:
    """Step at which the orbit from initialisation is far, or -1; `size = |w*| sqrt(D)`, mu of shape (n,)."""
    start = np.sqrt(mu / size)  # x0^2 = eta0/D = mu/(|w*| sqrt(D))
    state, when = UniversalState(start, start), np.full(mu.shape, -1)
    for step in range(1, _STEPS + 1):
        moved = universal_step(state, mu)
        far = moved.x**2 + moved.y**2 > _FAR
        when[far & (when < 0)] = step
        # a diverged orbit is held at the origin, a fixed point
        state = UniversalState(*(np.where(when < 0, part, 0.0) for part in moved))
    return when


def _threshold(size: float) -> _Threshold:
    """The smallest diverging learning rate: the first of a grid, then a section between its neighbours."""
    grid = np.arange(_GRID, _LAST, _GRID)
    when = _diverges(size, grid)
    first = int(np.flatnonzero(when >= 0)[0])
    low, high = grid[first] - _GRID, grid[first]
    while high - low > 1e-9:
        inner = np.linspace(low, high, 101)
        near = int(np.flatnonzero(_diverges(size, inner) >= 0)[0])
        low, high = inner[near - 1], inner[near]
    step = int(_diverges(size, np.array([high]))[0])
    return _Threshold(float(high), step, int(np.sum((when < 0) & (grid > 2))))


def _diverges_exactly(size: float, mu: float, steps: int) -> bool:
    """Whether the orbit is far within some steps, in arithmetic of 80 digits."""
    with localcontext() as context:
        context.prec = 80
        parameter = Decimal(mu)
        x = y = (parameter / Decimal(size)).sqrt()
        for _ in range(steps):
            m = (x * x - y * y) / 2 - parameter
            x, y = x * (1 - m), y * (1 + m)
            if x * x + y * y > Decimal(_FAR):
                return True
    return False


def _last_bounded_cubic() -> float:
    """Largest mu at which the orbit of the cubic's extremum stays, by bisection."""
    low, high = 1.5, 3.0
    while high - low > 1e-9:
        mu = (low + high) / 2
        state = UniversalState(np.array(math.sqrt(2 * (1 + mu) / 3)), np.array(0.0))
        for _ in range(100):
            state = universal_step(state, mu)
            if abs(state.x) > 10:
                break
        low, high = (low, mu) if abs(state.x) > 10 else (mu, high)
    return low


def _iterated(planar: PlanarMap, mu: float) -> bool:
    """Whether the planar map in (a, p) diverges from initialisation at a learning rate of mu edges."""
    moving = PlanarMap(planar.dimension, planar.target_norm, mu * planar.edge)
    return iterate(moving, _STEPS).diverged_step >= 0


def _divergence(_settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """Where divergence starts, from initialisation and on the line y = 0."""
    rows, agreed, errors, mus, past_two = [], [], [], [], 0
    for done, (dimension, norm) in enumerate(_STARTS, start=1):
        planar = PlanarMap(dimension, norm, 1.0)
        closed, found = planar.divergence / planar.edge, _threshold(norm * math.sqrt(dimension))
        past, before = closed + 1e-6, closed - 1e-6
        exact = _diverges_exactly(norm * math.sqrt(dimension), past, _STEPS)
        agreed.append(exact and _iterated(planar, past) and not _iterated(planar, before))
        errors.append(abs(found.mu - closed))
        mus.append(found.mu)
        past_two += found.bounded_past_two
        rows.append(
            (dimension, norm, f"{found.mu:.7f}", f"{closed:.7f}", f"{planar.divergence:.5f}", found.step)
        )
        report(done / len(_STARTS))
    worst, cubic = float(np.max(errors)), _last_bounded_cubic()
    evidence = Evidence(
        f"from initialisation divergence starts at {mus[0]:.3f} to {mus[-1]:.3f} times the edge, within "
        f"{worst:.1e} of the closed form; on the line y = 0 it starts at {cubic:.6f} times",
        {"last bounded on y = 0": cubic, "bounded past twice the edge": past_two},
        worst,
        _TOLERANCE,
        tables=(
            Table(
                "divergence from initialisation over the edge: universal map, 2,000 steps, against the "
                "closed form",
                ("D", "|w*|", "found", "closed form", "eta0", "steps just past it"),
                tuple(rows),
            ),
        ),
    )
    holds = all(agreed) and worst <= _TOLERANCE and abs(cubic - 2) <= _TOLERANCE and past_two == 0
    return CheckResult(Verdict.VERIFIED if holds else Verdict.REFUTED, evidence)


def _symbolic(name: str, statement: str, summary: str, method: str, settled_by: tuple[str, str]) -> Claim:
    """A claim that a derivation settles, or the steps of one label in it."""
    check = partial(derived, *settled_by, summary)
    return Claim(name, "theory", statement, "beyond the paper", Kind.SYMBOLIC, method, check)


PLANE_CLAIMS = (
    _symbolic(
        "planar-map",
        "At infinite width under muP the latent state keeps a form of two numbers: gradient descent is a "
        "map of the plane",
        "the ansatz is kept by the derived laws, word by word at every D",
        "insertion of the ansatz into the derived laws",
        ("planar", ""),
    ),
    _symbolic(
        "planar-sharpness",
        "On the plane the sharpness is p + sqrt(p^2 + c (a-s)(3a-s)) or a root of a cubic; kappa |r| is "
        "never larger",
        "the sharpness equation splits along and across the target; both sectors are needed, rho is not",
        "restriction of the sharpness equation to the target's direction and its complement",
        ("planar-sharpness", ""),
    ),
    _symbolic(
        "universal-map",
        "The planar map has one parameter, mu = eta0 |w*|/sqrt(D), and stable minimizers only for mu < 1",
        "one change of coordinates for every D, target and learning rate; multipliers 1 and 1 - (x^2 + y^2)",
        "change of coordinates; eigenvalues of the Jacobian",
        ("universal", ""),
    ),
    _symbolic(
        "cubic-bifurcations",
        "Beyond the edge: period two from mu = 1, period four from mu = sqrt(5) - 1, bounded on y = 0 up "
        "to mu = 2",
        "closed forms of the fixed point, the two-cycle, their multipliers and the invariant interval",
        "algebra of the odd cubic; negative Schwarzian derivative",
        ("cubic", ""),
    ),
    _symbolic(
        "planar-boundedness",
        "No orbit crosses the ellipse x^2/(2 + mu) + y^2/(2 - mu) = 2: the start is bounded up to a "
        "closed-form rate",
        "what a point lacks of the ellipse is multiplied by 1 + mu m + m^2 > 0 in a step, for mu < 2",
        "invariant ellipse of the universal map",
        ("universal", "bounded"),
    ),
    Claim(
        id="planar-sharpness-network",
        room="theory",
        statement="Along trajectories the closed form is the sharpness of the latent state and of networks",
        source="beyond the paper",
        kind=Kind.NUMERIC,
        method="sharpness equation and dense autograd Hessian; D 1-20, below, near and beyond the edge",
        check=_planar_sharpness,
    ),
    Claim(
        id="planar-divergence",
        room="theory",
        statement="The start diverges past (sqrt(1 + 4 D |w*|^2) - 1)/|w*|^2, below twice the edge",
        source="beyond the paper",
        kind=Kind.NUMERIC,
        method="scan and refinement of the universal map; 80-digit arithmetic; the map in (a, p)",
        check=_divergence,
    ),
)
