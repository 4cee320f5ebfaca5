"""Basins of the planar map: where the orbits of all starts in a part of the plane end."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import xarray as xr

from ..errors import invalid, require_whole
from ..records.origin import provenance
from ..records.schema import QUANTITIES, SCHEMA_VERSION
from ..theory import PlanarState
from . import planar_kernels
from .planar import FAR
from .planar_kernels import find_fates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..theory import Array, PlanarMap

_Number = TypeVar("_Number", np.int64, np.float64)

_TOLERANCE = 1e-9
"""`|m|` at a minimizer, and how far from closed, relative to a step, a cycle of period two may be."""


class OrbitFate(IntEnum):
    """Where an orbit ends."""

    NO_NETWORK = -1
    """The start has `p < kappa |a|`, which no network has."""
    MINIMIZER = planar_kernels.MINIMIZER
    """A linearly stable minimizer."""
    PERIOD_TWO = planar_kernels.PERIOD_TWO
    """A cycle of period two."""
    OTHER = planar_kernels.OTHER_FATE
    """Bounded and neither: a longer period, chaos, an unstable fixed point, or not settled yet."""
    DIVERGED = planar_kernels.DIVERGED
    UNSTABLE_ACROSS = planar_kernels.DIVERGED + 1
    """A minimizer stable in the plane and not across the target: the limit stays there, no network does."""


class Fates(NamedTuple):
    """Where the orbits of starts end, as arrays of one shape (...)."""

    outcome: NDArray[np.int64]
    """Values of `OrbitFate`."""
    steps: NDArray[np.int64]
    """Steps until that was known: at the minimizer, on the cycle, far away, or all that were allowed; 0
    where there is no network."""
    last: PlanarState
    """Last points; NaN where there is no network or the orbit diverged."""


def find_outcomes(planar: PlanarMap, starts: PlanarState, steps: int = 10_000) -> Fates:
    """Follow starts, in parallel, until each reaches a stable minimizer or a two-cycle, or diverges.

    Parameters
    ----------
    planar
        The map.
    starts
        Points of any shape; points that no network can have, NaN among them, are marked in the result.
    steps
        Largest number of steps to take.

    Raises
    ------
    InputError
        If there are fewer than zero steps.
    """
    require_whole("steps", steps, least=0, example=10_000)
    a, p = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in starts))
    exists = np.isfinite(a) & np.isfinite(p) & (p >= np.sqrt(planar.coupling) * np.abs(a))
    inside = planar.to_universal(PlanarState(a[exists], p[exists]))
    x, y = (np.array(part) for part in inside)
    outcome, taken = np.empty(x.size, dtype=np.int64), np.full(x.size, steps, dtype=np.int64)
    find_fates(x, y, planar.mu, FAR, _TOLERANCE, outcome, taken)
    x[outcome == OrbitFate.DIVERGED] = np.nan
    last = planar.from_universal(inside._replace(x=x, y=y))
    stable = np.asarray(planar.minimizer_is_stable(last.p), dtype=np.bool_)
    outcome[(outcome == OrbitFate.MINIMIZER) & ~stable] = OrbitFate.UNSTABLE_ACROSS
    return Fates(
        _spread(exists, outcome, int(OrbitFate.NO_NETWORK)),
        _spread(exists, taken, 0),
        PlanarState(*(_spread(exists, part, np.nan) for part in last)),
    )


def _spread(where: NDArray[np.bool_], values: NDArray[_Number], fill: float) -> NDArray[_Number]:
    """Values at chosen places of an array, another value elsewhere."""
    full = np.full(where.shape, fill, dtype=values.dtype)
    full[where] = values
    return full


def map_basins(
    planar: PlanarMap, alignment: Sequence[float] | Array, second_layer: Sequence[float] | Array,
    *, steps: int = 10_000,
) -> xr.Dataset:  # fmt: skip
    """Record where the orbit of each start of a grid in the plane ends.

    Parameters
    ----------
    planar
        The map.
    alignment, second_layer
        The grid's `a` and `p`, ascending, shapes (A,) and (P,).
    steps
        Largest number of steps to take.

    Returns
    -------
    xarray.Dataset
        Dimensions (second_layer, alignment); `outcome` (values of `OrbitFate`), `steps`, and where the start
        comes to a minimizer its `final_second_layer` and `final_sharpness`, NaN elsewhere.

    Raises
    ------
    InputError
        If an axis is empty, not ascending or not finite, or the steps are below zero.
    """
    axes = {"alignment": alignment, "second_layer": second_layer}
    a, p = (_axis(name, values) for name, values in axes.items())
    fates = find_outcomes(planar, PlanarState(*np.meshgrid(a, p)), steps)
    final = np.where(fates.outcome == OrbitFate.MINIMIZER, fates.last.p, np.nan)
    both = ("second_layer", "alignment")
    record = xr.Dataset(
        {
            "outcome": (both, fates.outcome.astype(np.int8)),
            "steps": (both, fates.steps),
            "final_second_layer": (both, final),
            "final_sharpness": (both, planar.minimizer_sharpness(final)),
        },
        coords={"alignment": a, "second_layer": p},
    )
    configuration = {
        "model": "two-layer linear network, infinite width under muP (planar map)",
        "dimension": planar.dimension, "target_norm": planar.target_norm,
        "learning_rate": planar.learning_rate, "steps": steps, "tolerance": _TOLERANCE,
        "outcomes": {outcome.name: int(outcome) for outcome in OrbitFate},
    }  # fmt: skip
    record.attrs = provenance(configuration, seeds=(), data_hash=None, producer=__name__) | {
        "schema_version": SCHEMA_VERSION
    }
    described = {
        "outcome": ("what the start comes to", "1"),
        "steps": ("steps until that was known", "steps"),
        "final_second_layer": ("norm p of the minimizer reached", "1 / eta0"),
        "final_sharpness": ("sharpness of the minimizer reached", "1 / eta0"),
        "alignment": tuple(QUANTITIES["alignment"]),
        "second_layer": tuple(QUANTITIES["second_layer"]),
    }
    for name, (long_name, units) in described.items():
        record[name].attrs.update(long_name=long_name, units=units)
    return record


def _axis(name: str, values: Sequence[float] | Array) -> Array:
    """An axis of a grid as an array."""
    axis = np.asarray(values, dtype=np.float64)
    if axis.ndim != 1 or axis.size == 0 or not np.isfinite(axis).all() or (np.diff(axis) <= 0).any():
        raise invalid(
            f"grid of {name.replace('_', ' ')}", axis.tolist(),
            accepted="finite ascending numbers, one at least",
            remedy="pass numpy.linspace(0, 1, 100), for example",
        )  # fmt: skip
    return axis
