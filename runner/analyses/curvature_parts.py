"""Largest eigenvalues of the Gauss-Newton part and the residual part on random data, by width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import require_whole
from ...simulations.edge import plan_sharpening, random_data, sharpening_on_data
from ...theory import uniform_target
from ..analysis_model import Analysis
from ..axes import NUMBER, WORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from ..models import OnProgress


def _plan(values: Mapping[str, Any]) -> xr.Dataset:
    return plan_sharpening(**_arguments(values)).squeeze("width", drop=True)


def _run(values: Mapping[str, Any], on_progress: OnProgress) -> xr.Dataset:
    return sharpening_on_data(**_arguments(values), on_progress=on_progress).squeeze("width", drop=True)


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    require_whole("width", values["width"], least=1, example=64)
    target = uniform_target(values["dimension"], values["target_norm"])
    return {
        "parametrization": values["parametrization"],
        "data": random_data(values["examples"], target, np.random.default_rng(values["data_seed"])),
        "widths": (int(values["width"]),),
        "learning_rate": values["learning_rate"],
        "seeds": tuple(values["seed"]),
        "steps": values["steps"],
    }


ANALYSIS = Analysis(
    axes={"parametrization": (WORD, ("mup",)), "width": (NUMBER, (50.0, 200.0, 1000.0))},
    defaults={
        "dimension": 20, "target_norm": 2.0, "examples": 100, "data_seed": 0, "learning_rate": 0.75,
        "seed": tuple(range(10)), "steps": 30,
    },
    plan=_plan,
    run=_run,
    cost=lambda values: float(len(values["seed"]) * max(1, values["steps"])),
)  # fmt: skip
