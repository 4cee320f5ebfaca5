"""Orbits of the infinite-width map and of finite networks, and what starts in a part of the plane come to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...errors import require_whole
from ...records.origin import provenance
from ...records.recording import schedule
from ...records.schema import NEVER, SCHEMA_VERSION, describe
from ...simulations.attractors import LONGEST_PERIOD, detect_period
from ...simulations.basins import OrbitFate, find_outcomes
from ...simulations.ensemble import simulate
from ...simulations.grid import Ensemble
from ...simulations.planar import iterate
from ...simulations.planes import plane_of
from ...theory import IsotropicTarget, PlanarMap, PlanarState, parametrization
from ..analysis_model import Analysis
from ..axes import NUMBER, WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...simulations.planes import View
    from ..models import OnProgress

    Values = Mapping[str, Any]

_MOST_STEPS = 100_000
"""Steps of a trajectory."""

_SETTLE = 20_000
"""Steps of the limit before its cycle is looked for, and until its fate is known."""

_LONGEST, _STARTS = 4000, 45
"""Steps of other starts, and how many of them there are along each side of the view."""

OUTCOMES: tuple[OrbitFate, ...] = tuple(kind for kind in OrbitFate if kind != OrbitFate.NO_NETWORK)
"""What a start can come to."""

_NUMBERS = {
    "learning_rate": ("learning rate eta0", "1 / sharpness"),
    "mu": ("learning rate over the edge", "1"),
    "edge": ("largest learning rate with a minimizer that is stable in the plane", "1 / sharpness"),
    "largest_safe": ("largest learning rate with a bounded start and a stable minimizer", "1 / sharpness"),
    "divergence": ("largest learning rate whose start is bounded", "1 / sharpness"),
    "fate_sharpness": ("sharpness of the stable minimizer reached over the edge, infinite without", "1"),
    "bounded": ("whether the start stays bounded: 1, or 0", "1"),
    "bounded_inside": ("share of the starts inside the invariant ellipse that stay bounded", "1"),
    "diverging_outside": ("share of the starts outside of it that diverge", "1"),
}
"""Numbers of the limit, with their units."""

_WHOLE = {
    "fate": ("what the start comes to", "1"),
    "fate_steps": ("steps until that was known", "steps"),
    "period": (f"period of the attractor, 0 if none up to {LONGEST_PERIOD} was found", "steps"),
}
"""Whole numbers of the limit."""


def _plan(values: Values) -> xr.Dataset:
    """The dataset of which nothing is known, every setting having been checked."""
    planar = _map(values)
    require_whole("steps", values["steps"], least=1, most=_MOST_STEPS, example=60)
    seeds, recorded = tuple(values["seed"]), schedule(int(values["steps"]))
    widths = _ensemble(values, planar).widths if values["width"] else ()
    runs, path = ("width", "seed"), ("width", "seed", "step")
    shape = (len(widths) + 1, len(seeds), len(recorded))
    variables: dict[str, Any] = {name: (path, np.full(shape, np.nan)) for name in _quantities(values)}
    variables["diverged_step"] = (runs, np.full(shape[:2], NEVER))
    variables["edge_of_stability"] = (runs, np.full(shape[:2], 2 / planar.learning_rate))
    for name, part in variables.items():
        variables[name] = (*part, describe(name)._asdict())
    free: dict[str, Any] = {
        "limit_sharpness": (("step",), np.full(shape[2], np.nan), describe("sharpness")._asdict()),
        "share": (("outcome",), np.full(len(OUTCOMES), np.nan), _words("share of starts", "1")),
    }
    for name in ("alignment", "second_layer"):
        free[f"cycle_{name}"] = ("point", np.full(LONGEST_PERIOD, np.nan), describe(name)._asdict())
    free |= {name: ((), np.nan, _words(*words)) for name, words in _NUMBERS.items()}
    free |= {name: ((), NEVER, _words(*words)) for name, words in _WHOLE.items()}
    coordinates = {
        "width": [*widths, math.inf], "seed": list(seeds), "step": list(recorded),
        "outcome": [_name(kind) for kind in OUTCOMES], "point": np.arange(LONGEST_PERIOD),
    }  # fmt: skip
    configuration = {
        "model": "two-layer linear network under muP, infinitely wide (planar map) and finite",
        **{name: values[name] for name in ("dimension", "target_norm", "plane", "steps")},
        "learning_rate": planar.learning_rate, "width": list(widths), "view": _view(values, planar),
    }  # fmt: skip
    attrs = provenance(configuration, seeds=seeds, data_hash=None, producer=__name__)
    return xr.Dataset(variables | free, coordinates, attrs | {"schema_version": SCHEMA_VERSION})


def _words(long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units}


def _name(kind: OrbitFate) -> str:
    return kind.name.lower().replace("_", " ")


def _map(values: Values) -> PlanarMap:
    """The map at the learning rate asked for."""
    rate = values["learning_rate"]
    if rate is None:
        rate = values["factor"] * PlanarMap(values["dimension"], values["target_norm"], 1.0).edge
    return PlanarMap(values["dimension"], values["target_norm"], rate)


def _view(values: Values, planar: PlanarMap) -> View:
    return plane_of(values["plane"]).window(planar) if values["view"] is None else tuple(values["view"])


def _quantities(values: Values) -> tuple[str, ...]:
    """What is recorded of every network: where it is in the plane, and its loss."""
    return tuple(dict.fromkeys((*plane_of(values["plane"]).quantities, "alignment", "second_layer", "loss")))


def _ensemble(values: Values, planar: PlanarMap) -> Ensemble:
    target = IsotropicTarget(planar.dimension, planar.target_norm)
    rates, seeds = (planar.learning_rate,), tuple(values["seed"])
    return Ensemble(parametrization("mup"), target, tuple(values["width"]), rates, seeds)


def _run(values: Values, on_progress: OnProgress) -> xr.Dataset:
    del on_progress  # over in seconds
    planar, found = _map(values), _plan(values)
    if values["width"]:
        networks = simulate(
            _ensemble(values, planar), record_at=found["step"].to_numpy().tolist(),
            quantities=_quantities(values),
        ).isel(learning_rate=0)  # fmt: skip
        for name in (*_quantities(values), "diverged_step"):
            found[name][:-1] = networks[name].transpose(*found[name].dims).to_numpy()
    orbit = iterate(planar, int(values["steps"]))
    for name, path in _limit(values, planar, orbit.states).items():
        found[name][-1] = path
    found["diverged_step"][-1] = orbit.diverged_step
    found["limit_sharpness"][:] = planar.sharpness(orbit.states)
    cycle = _cycle(planar)
    for name, points in zip(("alignment", "second_layer"), cycle, strict=True):
        found[f"cycle_{name}"][: points.size] = points
    numbers = _numbers(planar) | _fate(planar) | {"period": cycle.a.size}
    shares, ellipse = _shares(values, planar)
    found["share"][:] = [shares[kind] for kind in OUTCOMES]
    return found.assign({name: found[name].copy(data=value) for name, value in (numbers | ellipse).items()})


def _limit(values: Values, planar: PlanarMap, states: PlanarState) -> dict[str, Any]:
    """What is recorded of every network, of the limit."""
    plane = plane_of(values["plane"])
    placed = dict(zip(plane.quantities, plane.place(planar, states), strict=True))
    return placed | {"alignment": states.a, "second_layer": states.p, "loss": planar.loss(states)}


def _numbers(planar: PlanarMap) -> dict[str, float]:
    names = ("learning_rate", "mu", "edge", "largest_safe", "divergence")
    return {name: getattr(planar, name) for name in names}


def _cycle(planar: PlanarMap) -> PlanarState:
    """The cycle that the orbit from initialisation settles on; no points if it has none, or diverges."""
    orbit = iterate(planar, _SETTLE)
    last = PlanarState(*(part[-2 * LONGEST_PERIOD :] for part in orbit.states))
    period = 0 if orbit.diverged_step >= 0 else int(detect_period(last))
    return PlanarState(*(part[part.size - period :] for part in last))


def _fate(planar: PlanarMap) -> dict[str, float]:
    """What the orbit from initialisation comes to."""
    fate = find_outcomes(planar, planar.start, _SETTLE)
    sharpness = float(planar.minimizer_sharpness(fate.last.p)) * planar.learning_rate / 2
    return {
        "fate": int(fate.outcome), "fate_steps": int(fate.steps),
        "fate_sharpness": sharpness if fate.outcome == OrbitFate.MINIMIZER else math.inf,
        "bounded": float(fate.outcome != OrbitFate.DIVERGED),
    }  # fmt: skip


def _shares(values: Values, planar: PlanarMap) -> tuple[dict[OrbitFate, float], dict[str, float]]:
    """Shares of the starts in the view by what they come to, and of those on each side of the ellipse."""
    left, right, bottom, top = _view(values, planar)
    sides = ((left, right), (bottom, top))
    grid = np.meshgrid(*(np.linspace(*side, 2 * _STARTS + 1)[1:-1:2] for side in sides))
    starts = plane_of(values["plane"]).states(planar, *grid)
    fates = find_outcomes(planar, starts, _LONGEST)
    known = fates.outcome != OrbitFate.NO_NETWORK
    found = fates.outcome[known]
    shares = {kind: float(np.mean(found == kind)) for kind in OUTCOMES}
    if planar.mu >= 2:  # there is no ellipse
        return shares, {}
    x, y = planar.to_universal(PlanarState(starts.a[known], starts.p[known]))
    inside = x**2 / (2 + planar.mu) + y**2 / (2 - planar.mu) < 2
    diverged = found == OrbitFate.DIVERGED
    ellipse = {"bounded_inside": ~diverged[inside], "diverging_outside": diverged[~inside]}
    return shares, {name: float(part.mean()) for name, part in ellipse.items() if part.size}


ANALYSIS = Analysis(
    axes={"dimension": (WHOLE, (3,)), "target_norm": (NUMBER, (1.0,))},
    defaults={
        "factor": 0.8, "learning_rate": None, "width": (64, 1024), "seed": (0,), "steps": 60, "plane": "ap",
        "view": None,
    },
    plan=_plan,
    run=_run,
    cost=lambda values: float(1 + len(values["width"]) * len(values["seed"])),
)  # fmt: skip
