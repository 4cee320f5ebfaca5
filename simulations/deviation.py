"""Distance to the limit of infinite width, in time and in width (Eq. 3 and Figure 3 of the paper)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ..errors import InputError, invalid, require_distinct, require_known, require_whole
from ..records.origin import provenance
from ..stats.power_laws import PowerLaw, power_law_fit
from ..stats.resolution import difference_floor, resolved
from .ensemble import simulate
from .grid import Ensemble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..theory import Array, IsotropicTarget, Parametrization
    from .ensemble import Progress

DEVIATING_QUANTITIES = ("loss", "sharpness", "ntk_sharpness")
"""What the paper's Figures 3, 22 and 23 follow."""

LIMITS = ("infinite", "widest")
"""What stands for the limit: infinite width itself, or the widest networks as a proxy (the paper's way)."""


def deviations(
    parametrization: Parametrization | str,
    target: Array | IsotropicTarget,
    *,
    widths: Sequence[int],
    learning_rate: float,
    seeds: Sequence[int],
    record_at: Sequence[int],
    quantities: Sequence[str] = DEVIATING_QUANTITIES,
    on_progress: Progress | None = None,
) -> xr.Dataset:
    """Distance `g(t) = |S_N(t) - S_inf(t)|` of every run from the limit's curve (Eq. 3).

    Parameters
    ----------
    parametrization, target, learning_rate
        What to run.
    widths, seeds
        One network for each pair; the widths finite, at least two.
    record_at, on_progress
        See `simulate`; steps ascending.
    quantities
        Names from `theory.OBSERVABLES`.

    Returns
    -------
    xarray.Dataset
        Each quantity with dimensions (limit, width, seed, step); the limit is a mean over seeds, of networks
        of infinite width or of the widest, and `{quantity}_limit` (limit, step) is it. Against the proxy the
        widest width itself is NaN, and against infinite width everything where there is no such limit, as
        under SP. From the step of divergence on a run is NaN; a limit is NaN once one of its runs diverged.

    Raises
    ------
    InputError
        If a width is infinite or there are fewer than two, or a setting makes no sense.
    """
    require_distinct("quantities", tuple(quantities))
    require_whole("number of widths", len(widths), least=2, example=4)
    for width in widths:
        require_whole("width", width, least=1, example=64)
    finite = Ensemble(parametrization, target, tuple(sorted(widths)), (learning_rate,), tuple(seeds))
    record = simulate(finite, record_at=record_at, quantities=quantities, on_progress=on_progress)
    record = record.isel(learning_rate=0, drop=True)
    infinite = _at_infinite_width(finite, record_at, quantities)
    found: dict[str, xr.DataArray] = {}
    for name in quantities:
        found |= _distances(record[name], None if infinite is None else infinite[name])
    result = xr.Dataset(found).assign(diverged_step=record["diverged_step"])
    configuration = {
        "parametrization": finite.parametrization.name,
        "dimension": finite.compact_problem(finite.widths[0]).dimension,
        "target_norm": float(np.linalg.norm(finite.compact_problem(finite.widths[0]).target)),
        "learning_rate": learning_rate,
        "widths": list(finite.widths),
    }
    result.attrs = provenance(configuration, seeds=list(seeds), data_hash=None, producer=__name__)
    return result


def _distances(runs: xr.DataArray, infinite: xr.DataArray | None) -> dict[str, xr.DataArray]:
    """Distance of runs (width, seed, step) from both limits' curves, and these curves, by name."""
    proxy = runs.isel(width=-1, drop=True).mean("seed", skipna=False)
    exact = xr.full_like(proxy, np.nan) if infinite is None else infinite
    axis = xr.DataArray(list(LIMITS), dims="limit", name="limit")
    parts = [abs(runs - exact), abs(runs - proxy).where(runs["width"] < runs["width"].max())]
    distances = xr.concat(parts, dim=axis).transpose("limit", "width", "seed", "step")
    return {f"{runs.name}": distances, f"{runs.name}_limit": xr.concat([exact, proxy], dim=axis)}


def _at_infinite_width(
    finite: Ensemble, record_at: Sequence[int], quantities: Sequence[str]
) -> xr.Dataset | None:
    """Mean over seeds of the curves at infinite width; None where the parametrization has no such limit."""
    try:
        ensemble = Ensemble(
            finite.parametrization, finite.target, (math.inf,), finite.learning_rates, finite.seeds
        )
        record = simulate(ensemble, record_at=record_at, quantities=quantities)
    except InputError:  # the start, or the coupling, grows with width
        return None
    return record[list(quantities)].isel(width=0, learning_rate=0, drop=True).mean("seed", skipna=False)


def growth_window(distances: xr.Dataset) -> tuple[int, int]:
    """Steps in which distances may grow: from 1 until the limit's loss has halved, three at least.

    Later the distances end with the training that makes them, and follow no power of time. Without a loss
    among the quantities it is every step from 1 on.
    """
    steps = distances["step"].to_numpy()
    last = int(steps[-1])
    if "loss_limit" in distances:
        limit = distances["loss_limit"]
        curve = limit.sel(limit="infinite")
        curve = limit.sel(limit="widest") if bool(curve.isnull().all()) else curve
        halved = steps[curve.to_numpy() <= 0.5 * float(curve[0])]
        last = max(int(halved[0]), 3) if halved.size else last
    return 1, min(last, int(steps[-1]))


def time_laws(
    distances: xr.Dataset,
    quantity: str,
    generator: np.random.Generator,
    *,
    limit: str = "infinite",
    window: tuple[int, int] | None = None,
) -> dict[float, PowerLaw | None]:
    """For each width `g(t) = a t^beta` of the mean distance over seeds, its interval from resampled runs.

    Parameters
    ----------
    distances
        As `deviations` gives them.
    quantity
        One of its quantities.
    generator
        Draws the resamples.
    limit
        `infinite`, or `widest` for the proxy.
    window
        First and last step that enter; by default `growth_window`.

    Returns
    -------
    dict
        By width; None where fewer than two steps have a distance that is finite and above zero.

    Raises
    ------
    InputError
        If the quantity or the limit is unknown, or the window is empty.
    """
    runs = _runs(distances, quantity, limit)
    steps = runs["step"].to_numpy()
    first, last = window or growth_window(distances)
    inside = (steps >= first) & (steps <= last)
    if inside.sum() < 2:
        raise invalid("window", (first, last), accepted="at least 2 recorded steps", remedy="widen it")
    chosen = runs.isel(step=inside).transpose("width", "seed", "step")
    widths = chosen["width"].to_numpy()
    return {
        float(width): _fit(steps[inside], curves, generator, paired=True)
        for width, curves in zip(widths, chosen.to_numpy(), strict=True)
    }


def width_laws(
    distances: xr.Dataset,
    quantity: str,
    generator: np.random.Generator,
    *,
    limit: str = "infinite",
    least_width: float = 1,
) -> dict[int, PowerLaw | None]:
    """For each step `g = a N^-alpha` of the mean distance over seeds, widths resampled independently.

    Parameters
    ----------
    distances, quantity, generator, limit
        See `time_laws`.
    least_width
        Narrower widths do not enter: the law is one of large width.

    Returns
    -------
    dict
        By step; None where fewer than two widths have a distance that is finite and above zero.
    """
    runs = _runs(distances, quantity, limit)
    chosen = runs.isel(width=runs["width"].to_numpy() >= least_width).transpose("step", "seed", "width")
    widths, steps = chosen["width"].to_numpy(), chosen["step"].to_numpy()
    return {
        int(step): _fit(widths, columns, generator, paired=False)
        for step, columns in zip(steps, chosen.to_numpy(), strict=True)
    }


def all_laws(
    distances: xr.Dataset, generator: np.random.Generator, window: tuple[int, int] | None = None
) -> list[dict[str, object]]:
    """Laws in time at every width, and in width at five steps, of every quantity against both limits.

    Returns
    -------
    list of dict
        `quantity`, `limit`, `law` (time or width), `at` (the width or the step) and the fields of `PowerLaw`,
        None where there is no fit.
    """
    last = distances.sizes["step"] - 1
    some = distances.isel(step=sorted({0, min(1, last), last // 10, last // 3, last}))
    rows = []
    for name in (name for name in distances.data_vars if f"{name}_limit" in distances):
        for limit in LIMITS:
            found: dict[str, dict[Any, PowerLaw | None]] = {
                "time": dict(time_laws(distances, str(name), generator, limit=limit, window=window)),
                "width": dict(width_laws(some, str(name), generator, limit=limit)),
            }
            place = {"quantity": str(name), "limit": limit}
            for kind, laws in found.items():
                rows += [place | {"law": kind, "at": at} | _fields(law) for at, law in laws.items()]
    return rows


def _fields(law: PowerLaw | None) -> dict[str, Any]:
    return dict.fromkeys(PowerLaw._fields) if law is None else law._asdict()


def _runs(distances: xr.Dataset, quantity: str, limit: str) -> xr.DataArray:
    known = [str(name) for name, part in distances.data_vars.items() if {"seed", "step"} <= set(part.dims)]
    require_known("quantity", quantity, known)
    require_known("limit", limit, LIMITS)
    floor = difference_floor(distances[f"{quantity}_limit"].sel(limit=limit))
    return resolved(distances[quantity].sel(limit=limit), floor)


def _fit(x: Array, runs: Array, generator: np.random.Generator, *, paired: bool) -> PowerLaw | None:
    try:
        return power_law_fit(x, runs, generator=generator, paired=paired)
    except InputError:
        return None
