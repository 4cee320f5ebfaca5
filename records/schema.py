"""The common record: every run, latent or neural, is an `xarray.Dataset` with these names and attributes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from ..errors import invalid, require_known
from .origin import provenance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SCHEMA_VERSION = 2
"""1 had neither hashes of the values nor axes beside `RUN_DIMENSIONS`; it is read as it is."""

RUN_DIMENSIONS = ("width", "learning_rate", "seed")
DIMENSIONS = (*RUN_DIMENSIONS, "step")

NEVER = -1
"""Value of `diverged_step` for a run that did not diverge."""


class Quantity(NamedTuple):
    """How a variable of the record is described."""

    long_name: str
    units: str


QUANTITIES: dict[str, Quantity] = {
    "width": Quantity("hidden width N", "neurons"),
    "learning_rate": Quantity("base learning rate eta0", "1 / sharpness"),
    "seed": Quantity("seed of the run", "1"),
    "step": Quantity("gradient-descent steps taken", "steps"),
    "loss": Quantity("loss", "loss"),
    "sharpness": Quantity("largest Hessian eigenvalue in the learning-rate metric", "1 / eta0"),
    "hessian_products": Quantity("Hessian-vector products one measurement took", "products"),
    "ntk_sharpness": Quantity("largest eigenvalue of the neural tangent kernel", "1 / eta0"),
    "residual_norm": Quantity("norm of w - w*", "1"),
    "alignment": Quantity("end-to-end map along the target, w.w*/|w*|", "1"),
    "second_layer": Quantity("second-layer norm v", "1 / eta0"),
    "first_layer_trace": Quantity("trace of the first layer's Gram matrix e", "1 / eta0"),
    "residual_sharpness": Quantity("largest eigenvalue of the residual part R = H - G", "1 / eta0"),
    "hessian_trace": Quantity("Hessian trace in the learning-rate metric", "1 / eta0"),
    "gradient_norm": Quantity("gradient norm in the learning-rate metric", "sqrt(loss / eta0)"),
    "accuracy": Quantity("part of the evaluation examples that are classified rightly", "1"),
    "smallest_eigenvalue": Quantity("smallest Hessian eigenvalue in the learning-rate metric", "1 / eta0"),
    "ggn_sharpness": Quantity("largest eigenvalue of the Gauss-Newton part G", "1 / eta0"),
    "residual_spectral_norm": Quantity("spectral norm of R = H - G", "1 / eta0"),
    "output_residual": Quantity("root mean square of the loss gradient in the outputs", "1"),
    "gradient_alignment": Quantity("part of the squared gradient in the top eigenvectors", "1"),
    "ggn_share": Quantity("part of the sharpness that the Gauss-Newton part gives", "1"),
    "ggn_overlap": Quantity("overlap of the top eigenvectors of H and G", "1"),
    "directional_sharpness": Quantity("curvature along the gradient, learning-rate metric", "1 / eta0"),
    "critical_sharpness": Quantity(
        "2 over the first rate at which the loss along the update stops falling", "1 / eta0"
    ),
    "batch_sharpness": Quantity(
        "mean curvature along mini-batch gradients, of the mini-batches' own losses", "1 / eta0"
    ),
    "diverged_step": Quantity("step at which the run diverged, -1 if it did not", "steps"),
    "edge_of_stability": Quantity("sharpness beyond which the optimizer is unstable", "1 / eta0"),
    "stopped_step": Quantity("step after which the run was given up, -1 if it was not", "steps"),
    "truncation_error": Quantity("estimated relative error of the reduction to a few coordinates", "1"),
    "completed": Quantity("whether the run reached its last step or divergence", "1"),
}
"""What every variable of a record is, by name: the only place that says it, for latent and trained runs."""

_NUMBERED = {
    "eigenvalue": Quantity("Hessian eigenvalue number {}, learning-rate metric", "1 / eta0"),
    "ntk_eigenvalue": Quantity("eigenvalue number {} of the neural tangent kernel", "1 / eta0"),
}


def describe(name: str) -> Quantity:
    """What a variable of the record is: one of `QUANTITIES`, a numbered eigenvalue, or the error of one.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if name.endswith("_error") and name not in QUANTITIES:
        whole = describe(name.removesuffix("_error"))
        return Quantity(f"error of the {whole.long_name}", whole.units)
    stem, _, number = name.rpartition("_")
    if stem in _NUMBERED and number.isdigit():
        return Quantity(_NUMBERED[stem].long_name.format(number), _NUMBERED[stem].units)
    require_known("recorded quantity", name, QUANTITIES)
    return QUANTITIES[name]


def empty_record(
    *,
    widths: Sequence[float],
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    steps: Sequence[int],
    quantities: Sequence[str],
    configuration: Mapping[str, object],
    producer: str,
    threshold: float | None,
    data_hash: str | None = None,
    ends: Sequence[str] = ("diverged_step",),
) -> xr.Dataset:
    """A record with room for every run of a grid; quantities are NaN until measured.

    Parameters
    ----------
    widths, learning_rates, seeds, steps
        Coordinates of the grid and the steps at which quantities are recorded; widths and rates ascend, so
        that slices by label select what lies between.
    quantities
        Names that `describe` knows, each of shape (width, learning_rate, seed, step).
    configuration
        Everything needed to run again; stored with seeds, versions and data hash in the attributes.
    producer
        `__name__` of the module that runs the grid; see `origin.versions`.
    threshold
        Sharpness times eta0 at the edge of stability; None where there is no one edge.
    data_hash
        SHA-256 of the data, if the runs saw any.
    ends
        Steps at which runs may end before their last, by why they do.

    Raises
    ------
    InputError
        If a quantity is not in the schema, or widths or learning rates do not ascend.
    """
    coordinates = {
        "width": np.asarray(widths, dtype=np.float64),
        "learning_rate": np.asarray(learning_rates, dtype=np.float64),
        "seed": np.asarray(seeds, dtype=np.int64),
        "step": np.asarray(steps, dtype=np.int64),
    }
    for name in ("width", "learning_rate"):
        _require_ascending(name, coordinates[name].tolist())
    shape = tuple(coordinate.size for coordinate in coordinates.values())
    variables: dict[str, tuple[tuple[str, ...], NDArray[np.generic]]] = {
        name: (DIMENSIONS, np.full(shape, np.nan)) for name in quantities
    }
    for name in ends:
        variables[name] = (RUN_DIMENSIONS, np.full(shape[:-1], NEVER, dtype=np.int64))
    edge = (np.nan if threshold is None else threshold) / coordinates["learning_rate"]
    variables["edge_of_stability"] = (RUN_DIMENSIONS, np.broadcast_to(edge[:, None], shape[:-1]).copy())
    variables["completed"] = (RUN_DIMENSIONS, np.zeros(shape[:-1], dtype=np.int8))
    record = xr.Dataset(variables, coords=coordinates)
    record.attrs = provenance(configuration, seeds=seeds, data_hash=data_hash, producer=producer)
    record.attrs["schema_version"] = SCHEMA_VERSION
    _describe(record)
    return record


def _require_ascending(name: str, values: list[float]) -> None:
    if any(not one < other for one, other in pairwise(values)):
        accepted = "ascending values, each once"
        raise invalid(f"{name} of the record", values, accepted=accepted, remedy="sort them")


def with_run_variable(record: xr.Dataset, name: str) -> xr.Dataset:
    """A record with one more number for every run, zero until entered.

    Raises
    ------
    InputError
        If the name is not in the schema.
    """
    shape = tuple(record.sizes[axis] for axis in RUN_DIMENSIONS)
    extended = record.assign({name: (RUN_DIMENSIONS, np.zeros(shape))})
    _describe(extended)
    return extended


def take_over(record: xr.Dataset, earlier: xr.Dataset) -> None:
    """Enter the completed runs of an earlier record of the same call into an empty one.

    Raises
    ------
    InputError
        If the earlier record is of another configuration, or of other versions.
    """
    same = all(str(record.attrs[key]) == str(earlier.attrs.get(key)) for key in record.attrs)
    if (
        not same
        or set(record.variables) != set(earlier.variables)
        or not all(np.array_equal(record[axis].to_numpy(), earlier[axis].to_numpy()) for axis in DIMENSIONS)
    ):
        raise invalid(
            "record to resume",
            earlier.attrs.get("configuration", "unknown"),
            accepted="one of the same settings, steps, seeds and versions",
            remedy="pass another --output, or remove the partial record",
        )
    done = earlier["completed"].to_numpy() == 1
    for name in record.data_vars:
        record[name].values[done] = earlier[name].to_numpy()[done]


def _describe(record: xr.Dataset) -> None:
    for name in record.variables:
        quantity = describe(str(name))
        record[name].attrs.update(long_name=quantity.long_name, units=quantity.units)
