"""Best learning rates of the latent system, by width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...simulations.optimum import CELLS, best_rates, plan_best_rates
from ...theory import IsotropicTarget
from ..analysis_model import Analysis
from ..axes import NUMBER, WORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from ..models import OnProgress


def _plan(values: Mapping[str, Any]) -> xr.Dataset:
    return _of_one_width(plan_best_rates(**_arguments(values)))


def _run(values: Mapping[str, Any], on_progress: OnProgress) -> xr.Dataset:
    return _of_one_width(best_rates(**_arguments(values), on_progress=on_progress))


def _of_one_width(rates: xr.Dataset) -> xr.Dataset:
    kept = rates.squeeze("width", drop=True).drop_vars("step")
    return kept.assign(at_edge=kept["at_edge"].astype("int8"))


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "parametrization": values["parametrization"],
        "target": IsotropicTarget(values["dimension"], values["target_norm"]),
        "widths": (values["width"],),
        "seeds": tuple(values["seed"]),
        "step": values["step"],
        "objective": values["objective"],
        "refinements": values["refinements"],
    }


def _cost(values: Mapping[str, Any]) -> float:
    """About the steps of all runs: a refinement takes as many rates as the first grid."""
    return float(values["step"] * len(values["seed"]) * CELLS * (1 + values["refinements"]))


ANALYSIS = Analysis(
    axes={"parametrization": (WORD, ("mup",)), "width": (NUMBER, (64.0, 256.0, 1024.0))},
    defaults={
        "dimension": 20, "target_norm": 1.0, "seed": tuple(range(20)), "step": 10, "objective": "mean",
        "refinements": 3,
    },
    plan=_plan,
    run=_run,
    cost=_cost,
)  # fmt: skip
