"""Deviations over starts under muP, predicted and sampled, by width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...records.recording import schedule
from ...simulations.error_bars import PREDICTED, plan_error_bars, sample_error_bars
from ...theory import IsotropicTarget
from ..analysis_model import Analysis
from ..axes import NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from ..models import OnProgress


def _plan(values: Mapping[str, Any]) -> xr.Dataset:
    return _of_one_width(plan_error_bars(**_arguments(values)))


def _run(values: Mapping[str, Any], on_progress: OnProgress) -> xr.Dataset:
    return _of_one_width(sample_error_bars(**_arguments(values), on_progress=on_progress))


def _of_one_width(bars: xr.Dataset) -> xr.Dataset:
    kept = bars.squeeze("width", drop=True)
    return kept.assign(holds=kept["holds"].astype("int8"))


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    every = max(1, values["steps"] // 30) if values["measure_every"] is None else values["measure_every"]
    return {
        "target": IsotropicTarget(values["dimension"], values["target_norm"]),
        "learning_rate": values["learning_rate"],
        "widths": (values["width"],),
        "seeds": tuple(values["seed"]),
        "record_at": schedule(values["steps"], every),
        "quantities": tuple(values["quantities"]),
        "level": values["level"],
    }


ANALYSIS = Analysis(
    axes={"width": (NUMBER, (64.0, 1024.0, 16384.0))},
    defaults={
        "dimension": 10, "target_norm": 1.0, "learning_rate": 0.5, "seed": tuple(range(200)), "steps": 30,
        "measure_every": None, "quantities": PREDICTED, "level": 0.95,
    },
    plan=_plan,
    run=_run,
    cost=lambda values: float(len(values["seed"]) * max(1, values["steps"])),
)  # fmt: skip
