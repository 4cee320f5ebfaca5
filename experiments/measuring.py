"""What a criterion's statistic takes, from an experiment's runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..stats.measured import Measured
from ..stats.measures import ExponentInTime

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from ..stats.power_laws import PowerLaw
    from .criteria import Criterion
    from .series import Series

    Runs = Mapping[str, xr.Dataset]


def laws_of(series: Series, criterion: Criterion, runs: Runs, seed: int = 0) -> dict[float, PowerLaw]:
    """Power law in time at each size, if the criterion's statistic fits them; none where runs are missing."""
    found = measured_values(series, runs, criterion)
    if isinstance(found, str) or not isinstance(criterion.statistic, ExponentInTime):
        return {}
    return criterion.statistic.laws(np.random.default_rng(seed), found, criterion.window)


def measured_values(series: Series, runs: Runs, criterion: Criterion) -> Measured | str:
    """What the statistic takes, or which runs are missing."""
    found = series.runs(runs, keep=criterion.statistic.keep)
    absent = int((found["completed"] == 0).sum())
    if absent:
        return f"{absent} of {found['completed'].size} runs are missing"
    sharpness = None
    if criterion.follows_the_edge:
        whole = series.pick("sharpness").runs(runs, keep=criterion.statistic.keep)
        sharpness = whole["sharpness"].sel({name: found[name] for name in found[series.quantity].dims})
    values, dims = found[series.quantity], [name for name in criterion.statistic.keep if name != "step"]
    if "step" in criterion.statistic.keep and "step" not in values.dims:
        values = values.expand_dims("step")
    if "edge_of_stability" not in found:  # a dataset of an analysis
        return Measured(values)
    edge = found["edge_of_stability"].transpose(*dims)
    return Measured(values, found["diverged_step"].transpose(*dims), sharpness, edge)
