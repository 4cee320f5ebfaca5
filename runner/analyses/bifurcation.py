"""Attractors and Lyapunov exponents of the infinite-width map over the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import invalid, require_whole
from ...simulations.attractors import DOUBLING, bifurcation_diagram, plan_diagram
from ...theory import PlanarMap
from ..analysis_model import Analysis
from ..axes import NUMBER, WHOLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from ..models import OnProgress

_MOST_POINTS = 20_000
"""Learning rates of a diagram."""

_PREDICTED = {
    "first_doubling": "learning rate over the edge at which the fixed point becomes a cycle of two",
    "second_doubling": "learning rate over the edge at which period two doubles",
    "divergence": "learning rate over the edge past which the start diverges",
}
"""What the theory says of a diagram."""


def _plan(values: Mapping[str, Any]) -> xr.Dataset:
    return _by_factor(plan_diagram(**_arguments(values)), values)


def _run(values: Mapping[str, Any], on_progress: OnProgress) -> xr.Dataset:
    del on_progress  # over in seconds
    found = _by_factor(bifurcation_diagram(**_arguments(values)), values)
    planar = PlanarMap(values["dimension"], values["target_norm"], 1.0)
    predicted = (1.0, DOUBLING, planar.divergence / planar.edge)
    return found.assign(
        {name: found[name].copy(data=value) for name, value in zip(_PREDICTED, predicted, strict=True)}
    )


def _by_factor(diagram: xr.Dataset, values: Mapping[str, Any]) -> xr.Dataset:
    """The diagram along learning rates over the edge, which every target has, with room for the theory."""
    attrs = diagram["factor"].attrs
    diagram = diagram.swap_dims(learning_rate="factor").reset_coords("learning_rate")
    # mu, computed from eta0, differs from what was asked for by rounding, from target to target
    diagram = diagram.assign_coords(factor=("factor", _factors(values), attrs))
    return diagram.assign(
        {name: ((), np.nan, {"long_name": words, "units": "1"}) for name, words in _PREDICTED.items()}
    )


def _factors(values: Mapping[str, Any]) -> list[float]:
    low, high, points = values["low"], values["high"], values["points"]
    require_whole("number of points", points, least=2, most=_MOST_POINTS, example=500)
    if not 0 < low < high < float("inf"):
        raise invalid(
            "range of learning rates", f"{low:g} to {high:g}", accepted="above 0, the lower end first",
            remedy="choose 0.5 to 2, for example",
        )  # fmt: skip
    return [float(factor) for factor in np.linspace(low, high, int(points))]


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    names = ("dimension", "target_norm", "settle", "keep", "average")
    return {name: values[name] for name in names} | {"factors": _factors(values)}


ANALYSIS = Analysis(
    axes={"dimension": (WHOLE, (20,)), "target_norm": (NUMBER, (3.0,))},
    defaults={
        "low": 0.5, "high": 2.0, "points": 1500, "settle": 100_000, "keep": 256, "average": 16_384,
    },
    plan=_plan,
    run=_run,
    cost=lambda values: float(values["points"]),
)  # fmt: skip
