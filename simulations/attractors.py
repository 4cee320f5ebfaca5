"""The attractor of the planar map over learning rates: its period, its sharpness, its Lyapunov exponents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from ..errors import invalid, require_distinct, require_positive, require_whole
from ..records import NEVER, QUANTITIES
from ..records.origin import provenance
from ..records.schema import SCHEMA_VERSION
from ..theory import PlanarMap, PlanarState, UniversalState
from .planar import FAR, universal_grid
from .planar_kernels import RENORMALISE, advance_universal, measure_exponents, record_universal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..theory import Array

LONGEST_PERIOD = 64
"""Longest period that is looked for."""

DOUBLING = math.sqrt(5) - 1
"""mu at which period two doubles again (the derivation "cubic")."""

BLOCKS = 16
"""Blocks that an exponent's standard error is estimated from."""

_TOLERANCE = 1e-7
"""Change over a period, relative to the largest coordinate, below which a point has come back."""

_MOST_POINTS = 10**8
"""Points that one diagram may hold."""

_DESCRIBED = {
    "factor": ("learning rate over the edge, mu = eta0 |w*| / sqrt(D)", "1"),
    "sample": ("steps since the attractor was settled on", "steps"),
    "period": (
        f"period of the attractor, 0 if none up to {LONGEST_PERIOD} was found, -1 if diverged",
        "steps",
    ),
    "lyapunov": ("largest Lyapunov exponent", "1 / step"),
    "lyapunov_error": ("its standard error", "1 / step"),
    "lyapunov_second": ("second Lyapunov exponent", "1 / step"),
    "lyapunov_second_error": ("its standard error", "1 / step"),
}

_SAMPLED = ("alignment", "second_layer", "loss", "sharpness")
"""Quantities of every point that is kept, ..."""

_EXPONENTS = ("lyapunov", "lyapunov_error", "lyapunov_second", "lyapunov_second_error")
"""... those of every learning rate, as `LyapunovExponents` has them, ..."""

_WHOLE = ("period", "diverged_step")
"""... and those that are whole numbers."""


class LyapunovExponents(NamedTuple):
    """The two Lyapunov exponents of orbits, natural logarithms a step, shape (...) each; NaN if diverged."""

    largest: Array
    largest_error: Array
    """Standard error, from blocks of the orbit."""
    second: Array
    second_error: Array
    diverged_step: NDArray[np.int64]
    """Steps at which orbits diverged, or -1."""


def lyapunov_exponents(start: UniversalState, mu: float | Array, steps: int = 16_384) -> LyapunovExponents:
    """Lyapunov exponents of the universal map along orbits, by the exact derivative.

    Parameters
    ----------
    start
        Points to start from, on or near the attractor; coordinates of shapes that broadcast with `mu`.
    mu
        Learning rates over the edge, at least zero.
    steps
        Steps to average over, rounded up to a multiple of 128; a sixteenth as many are passed over first.

    Raises
    ------
    InputError
        If there are fewer than one step, or a start or a parameter cannot be used.

    Notes
    -----
    They are those of (x, y), the weights' own growth factors. In (a, p) they are the same where y stays
    away from zero. On the line y = 0, which the orbit tends to beyond the edge, the exponent along the line
    is the same still, and the one towards it is twice as large, since (a, p) contains the square of y.
    """
    require_whole("steps", steps, least=1, example=16_384)
    x, y, parameter = universal_grid(start, mu)
    diverged_step = np.full(x.shape, NEVER, dtype=np.int64)
    return _measure(x, y, parameter, steps, diverged_step)


def _measure(
    x: Array, y: Array, mu: Array, steps: int, diverged_step: NDArray[np.int64]
) -> LyapunovExponents:
    """Exponents of orbits that have not diverged yet, moving their points on in place."""
    growth = np.empty((x.size, BLOCKS, 2))
    stretch = _stretches(steps)
    flat_x, flat_y, flat_mu = (part.reshape(-1) for part in (x, y, mu))
    measure_exponents(flat_x, flat_y, flat_mu, FAR, growth, diverged_step.reshape(-1), stretch)
    largest, area = growth[..., 0], growth[..., 1]
    # on a superstable orbit both are -inf; the second exponent then is
    second = np.where(np.isneginf(area), -np.inf, area - np.where(np.isinf(largest), 0.0, largest))
    first, first_error, other, other_error = (
        part.reshape(x.shape) for values in (largest, second) for part in _mean_with_error(values)
    )
    return LyapunovExponents(first, first_error, other, other_error, diverged_step)


def _stretches(steps: int) -> int:
    """Stretches between two logarithms in a block."""
    return -(-steps // (BLOCKS * RENORMALISE))


def _mean_with_error(blocks: Array) -> tuple[Array, Array]:
    """Mean over the last axis and its standard error; zero error where the mean is infinite."""
    mean, error = blocks.mean(axis=-1), np.zeros(blocks.shape[0])
    usual = ~np.isinf(mean)
    error[usual] = blocks[usual].std(axis=-1, ddof=1) / math.sqrt(BLOCKS)
    return mean, error


def detect_period(points: PlanarState, tolerance: float = _TOLERANCE) -> NDArray[np.int64]:
    """The least number of steps, up to 64, after which every point comes back; 0 if there is none.

    Parameters
    ----------
    points
        Consecutive points of orbits, shape (..., count) each, at least 128 of them.
    tolerance
        Largest change over a period, relative to each coordinate's largest size.

    Raises
    ------
    InputError
        If there are fewer than 128 points.
    """
    count = np.shape(points.a)[-1]
    require_whole("number of points", count, least=2 * LONGEST_PERIOD, example=256)
    period = np.zeros(np.shape(points.a)[:-1], dtype=np.int64)
    for lag in range(LONGEST_PERIOD, 0, -1):
        back = np.ones(period.shape, dtype=bool)
        for part in points:
            size = np.abs(part).max(axis=-1)
            back &= np.abs(part[..., lag:] - part[..., :-lag]).max(axis=-1) <= tolerance * size
        period[back] = lag
    return period


def bifurcation_diagram(
    dimension: int,
    target_norm: float,
    *,
    factors: Sequence[float] | Array | None = None,
    learning_rates: Sequence[float] | Array | None = None,
    settle: int = 100_000,
    keep: int = 256,
    average: int = 16_384,
) -> xr.Dataset:
    """What the orbit from initialisation settles on, for each learning rate.

    Parameters
    ----------
    dimension, target_norm
        `D` and `|w*|`.
    factors, learning_rates
        Learning rates as multiples of the edge `sqrt(D)/|w*|`, or as they are; exactly one of the two.
    settle
        Steps before anything is looked at.
    keep
        Consecutive points to keep, at least 128.
    average
        Steps to average the Lyapunov exponents over, after settling and before keeping.

    Returns
    -------
    xarray.Dataset
        Dimensions `learning_rate` and `sample`; `alignment`, `second_layer`, `loss` and `sharpness` of the
        points kept (NaN for an orbit that diverged), and per learning rate `period`, `lyapunov`,
        `lyapunov_second`, their standard errors, and `diverged_step`.

    Raises
    ------
    InputError
        If a value is out of range, not exactly one of `factors` and `learning_rates` is given, or the
        diagram does not fit into memory.

    Notes
    -----
    A period of 0 is chaos where the largest exponent is positive; otherwise the orbit has not settled, as
    happens within about 1/settle of a bifurcation, or its period is above 64. For the exponents' meaning see
    `lyapunov_exponents`.
    """
    record = plan_diagram(
        dimension, target_norm, factors=factors, learning_rates=learning_rates, settle=settle, keep=keep,
        average=average,
    )  # fmt: skip
    maps = [PlanarMap(dimension, target_norm, float(rate)) for rate in record["learning_rate"]]
    states, exponents, diverged_step = _follow(maps, settle, keep, average)
    found: dict[str, NDArray[Any]] = {
        "alignment": states.a, "second_layer": states.p,
        "loss": maps[0].loss(states), "sharpness": maps[0].sharpness(states),
        "period": np.where(diverged_step >= 0, NEVER, detect_period(states)),
        "diverged_step": diverged_step, **dict(zip(_EXPONENTS, exponents[:-1], strict=True)),
    }  # fmt: skip
    return record.assign({name: record[name].copy(data=values) for name, values in found.items()})


def plan_diagram(
    dimension: int,
    target_norm: float,
    *,
    factors: Sequence[float] | Array | None = None,
    learning_rates: Sequence[float] | Array | None = None,
    settle: int = 100_000,
    keep: int = 256,
    average: int = 16_384,
) -> xr.Dataset:
    """The dataset that `bifurcation_diagram` would fill, before any step; arguments and errors as there."""
    require_whole("settling steps", settle, least=0, example=100_000)
    require_whole("points kept", keep, least=2 * LONGEST_PERIOD, example=256)
    require_whole("averaged steps", average, least=1, example=16_384)
    rates = _learning_rates(PlanarMap(dimension, target_norm, 1.0), factors, learning_rates)
    _check_size(len(rates) * keep)
    maps = [PlanarMap(dimension, target_norm, rate) for rate in rates]
    configuration = {
        "model": "two-layer linear network, infinite width under muP (planar map)",
        "dimension": dimension, "target_norm": target_norm,
        "settle": settle, "keep": keep, "average": average, "period_tolerance": _TOLERANCE,
    }  # fmt: skip
    return _empty(maps, keep, configuration)


def _follow(
    maps: Sequence[PlanarMap], settle: int, keep: int, average: int
) -> tuple[PlanarState, LyapunovExponents, NDArray[np.int64]]:
    """Points kept, shape (maps, keep), exponents, and steps of divergence: settle, measure, then look."""
    mu = np.array([planar.mu for planar in maps])
    x, y = (
        np.array(part) for part in zip(*(planar.to_universal(planar.start) for planar in maps), strict=True)
    )
    diverged_step = np.full(x.shape, NEVER, dtype=np.int64)
    advance_universal(x, y, mu, FAR, settle, diverged_step)
    exponents, diverged_step = _after(settle, UniversalState(x, y), mu, average, diverged_step)
    seen_x, seen_y = np.empty((2, mu.size, keep))
    late = np.where(diverged_step >= 0, 0, NEVER)
    record_universal(x, y, mu, FAR, seen_x, seen_y, late)
    fresh = (late >= 0) & (diverged_step < 0)
    diverged_step[fresh] = late[fresh] + settle + (BLOCKS + 1) * RENORMALISE * _stretches(average)
    points = [planar.from_universal(UniversalState(seen_x[k], seen_y[k])) for k, planar in enumerate(maps)]
    states = PlanarState(*(np.array(part) for part in zip(*points, strict=True)))
    return states, exponents, diverged_step


def _after(
    settle: int, state: UniversalState, mu: Array, average: int, diverged_step: NDArray[np.int64]
) -> tuple[LyapunovExponents, NDArray[np.int64]]:
    """Exponents after settling, and the steps of divergence up to the end of their measurement."""
    during = diverged_step.copy()
    exponents = _measure(*state, mu, average, during)
    fresh = (during >= 0) & (diverged_step < 0)
    return exponents, np.where(fresh, during + settle, diverged_step)


def _learning_rates(
    planar: PlanarMap, factors: Sequence[float] | Array | None, learning_rates: Sequence[float] | Array | None
) -> list[float]:
    """The learning rates asked for."""
    if (factors is None) == (learning_rates is None):
        given = "both" if factors is not None else "neither"
        raise invalid(
            "factors and learning_rates", given, accepted="exactly one of them", remedy="leave one out"
        )
    if factors is not None and not math.isfinite(planar.edge):
        raise invalid(
            "target norm", planar.target_norm, accepted="above 0 where learning rates are over the edge",
            remedy="pass learning_rates",
        )  # fmt: skip
    chosen = learning_rates if factors is None else factors
    rates = [] if chosen is None else [float(value) for value in chosen]
    require_distinct("learning rates", rates)
    for rate in rates:
        require_positive("learning rate", rate, example=0.5)
    return rates if factors is None else [factor * planar.edge for factor in rates]


def _check_size(points: int) -> None:
    if points > _MOST_POINTS:
        raise invalid(
            "learning rates times points kept", points, accepted=f"at most {_MOST_POINTS}",
            remedy="keep fewer points",
        )  # fmt: skip


def _empty(maps: Sequence[PlanarMap], keep: int, configuration: dict[str, object]) -> xr.Dataset:
    """A diagram's record of which nothing is known."""
    over, both = ("learning_rate",), ("learning_rate", "sample")
    count = len(maps)
    record = xr.Dataset(
        {name: (both, np.full((count, keep), np.nan)) for name in _SAMPLED}
        | {name: (over, np.full(count, NEVER, dtype=np.int64)) for name in _WHOLE}
        | {name: (over, np.full(count, np.nan)) for name in _EXPONENTS},
        coords={
            "learning_rate": [planar.learning_rate for planar in maps],
            "sample": np.arange(keep),
            "factor": (over, [planar.mu for planar in maps]),
        },
    )
    record.attrs = provenance(configuration, seeds=(), data_hash=None, producer=__name__) | {
        "schema_version": SCHEMA_VERSION
    }
    described = {name: tuple(QUANTITIES[name]) for name in QUANTITIES} | _DESCRIBED
    for name in record.variables:
        long_name, units = described[str(name)]
        record[name].attrs.update(long_name=long_name, units=units)
    return record
