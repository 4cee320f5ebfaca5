"""Sizes of activations in the first steps of training, by layer and width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...neural.coordinates import CoordinateCheck, coordinate_check
from ...neural.coordinates.measuring import MeasuredNetwork, few_examples
from ...neural.device import resolve_device
from ...neural.settings import named_config
from ...records.origin import provenance
from ...records.schema import SCHEMA_VERSION
from ..analysis_model import Analysis
from ..axes import WORD
from ..data import DataChoice
from ..network_model import NetworkModel, thread_count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...neural.data import Dataset
    from ..models import OnProgress

    Values = Mapping[str, Any]

_VARIABLES = {
    "activation": ("layer", "width", "seed", "step"),
    "readout_activation": ("width", "seed", "step"),
    "start_activation": ("layer", "width", "initialization"),
    "readout_start_activation": ("width", "initialization"),
}
"""Mean |activation| of hidden layers and of the readout; more networks are seen at the start than trained."""

_WORDS = {"long_name": "mean absolute activation", "units": "1"}


def _data(values: Values) -> Dataset:
    """The examples, in main memory."""
    shared = [(name, values[name]) for name in ("architecture", "parametrization", "optimizer")]
    return NetworkModel(data=values["data"], device=values["device"]).examples(tuple(shared))


def _check(values: Values) -> CoordinateCheck:
    config = named_config(values["architecture"], values["parametrization"], values["optimizer"], ())
    return CoordinateCheck(
        config, values["learning_rate"], sizes=tuple(values["width"]), steps=tuple(values["steps"]),
        seeds=tuple(values["seed"]),
    )  # fmt: skip


def _plan(values: Values) -> xr.Dataset:
    """The dataset of which nothing is known; the narrowest network tells the layers."""
    check, data = _check(values), _data(values)
    with thread_count(values["threads"]):
        few = few_examples(data, values["examples"])
        layers = list(MeasuredNetwork(*check.at(min(check.sizes), check.seeds[0]), few).layers)
    coordinates: dict[str, Any] = {
        "layer": layers[:-1], "width": np.asarray(check.sizes, dtype=np.float64), "seed": list(check.seeds),
        "step": list(check.steps), "initialization": list(check.every_seed),
    }  # fmt: skip
    variables = {
        name: (dims, np.full([len(coordinates[dim]) for dim in dims], np.nan), _WORDS)
        for name, dims in _VARIABLES.items()
    }
    configuration = check.used.document() | {
        "data": data.name, "examples": few.examples, "readout": layers[-1], "widths": list(check.sizes),
        "learning_rate": check.learning_rate, "threads": values["threads"],
        "device": resolve_device(values["device"]).type,
    }  # fmt: skip
    attrs = provenance(configuration, seeds=check.seeds, data_hash=data.hash, producer=__name__)
    return xr.Dataset(variables, coordinates, attrs | {"schema_version": SCHEMA_VERSION})


def _run(values: Values, on_progress: OnProgress) -> xr.Dataset:
    check, found = _check(values), _plan(values)
    with thread_count(values["threads"]):
        data = _data(values).to(resolve_device(values["device"]))
        report = coordinate_check(check, data, examples=values["examples"], on_progress=on_progress)
    record = report.record.rename(size="width")
    trained = record["later_activation"].sel(seed=list(check.seeds))
    start = record["activation"].isel(step=0).rename(seed="initialization")
    parts = {
        "activation": trained[:-1], "readout_activation": trained[-1],
        "start_activation": start[:-1], "readout_start_activation": start[-1],
    }  # fmt: skip
    return found.assign(
        {
            name: found[name].copy(data=part.transpose(*found[name].dims).to_numpy())
            for name, part in parts.items()
        }
    )


ANALYSIS = Analysis(
    axes={"parametrization": (WORD, ("mup",))},
    defaults={
        "architecture": "convnet", "optimizer": "sgd", "learning_rate": 0.7, "width": (64, 128, 256, 512),
        "seed": tuple(range(16)), "steps": (1, 2, 3, 4), "examples": 128, "data": DataChoice(),
        "device": "auto", "threads": 1,
    },
    plan=_plan,
    run=_run,
    cost=lambda values: float(len(values["seed"]) * sum(width**2 for width in values["width"])),
)  # fmt: skip
