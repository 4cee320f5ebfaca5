"""Error bars over starts: predicted to first order in N^(-1/2), and sampled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from ..errors import invalid, require_distinct, require_known, require_whole
from ..records.origin import provenance
from ..records.recording import require_schedule
from ..theory import Deviation, IsotropicTarget, PlanarMap, Problem, predicted_deviation
from ..theory.planar import largest_root_across
from .ensemble import simulate
from .grid import Ensemble
from .planar import iterate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ..theory import Array, PlanarState
    from .ensemble import Progress

PREDICTED = ("sharpness", "loss", "second_layer", "alignment")
"""Quantities of the record whose deviation is predicted."""

_NEGLIGIBLE = 0.1
"""Second order over first order up to which the first is said to hold: it then errs by half a percent."""

_CLEAR = 4.0
"""Deviations by which two eigenvalues must differ to count as told apart."""


class Interval(NamedTuple):
    """Ends of an interval, arrays of one shape."""

    lower: Array
    upper: Array


def deviation_interval(deviation: Array, samples: int, level: float = 0.95) -> Interval:
    """Interval of a standard deviation estimated from normal samples, by the chi-square law of its square.

    Parameters
    ----------
    deviation
        Estimated with `samples - 1` degrees of freedom, any shape.
    samples
        At least 2.
    level
        Probability that the interval covers the true deviation, above 0 and below 1.

    Raises
    ------
    InputError
        If there are fewer than two samples or the level is no probability.
    """
    require_whole("number of seeds", samples, least=2, example=200)
    if not 0 < level < 1:
        raise invalid(
            "level of the interval", level, accepted="above 0 and below 1", remedy="pass 0.95, for example"
        )
    degrees = samples - 1
    low, high = (float(stats.chi2.ppf((1 + sign * level) / 2, degrees)) for sign in (-1, 1))
    return Interval(deviation * math.sqrt(degrees / high), deviation * math.sqrt(degrees / low))


def sample_error_bars(
    target: Array | IsotropicTarget,
    learning_rate: float,
    *,
    widths: Sequence[float],
    seeds: Sequence[int],
    record_at: Sequence[int],
    quantities: Sequence[str] = PREDICTED,
    level: float = 0.95,
    on_progress: Progress | None = None,
) -> xr.Dataset:
    """Predict the standard deviation over starts under muP, and sample it.

    Parameters
    ----------
    target, learning_rate
        `w*`, shape (D,), or its norm alone; and `eta0`.
    widths
        Finite ones.
    seeds
        At least two; each is a network at every width.
    record_at
        Steps, ascending.
    quantities
        From `PREDICTED`.
    level
        Coverage of the intervals.
    on_progress
        See `simulate`.

    Returns
    -------
    xarray.Dataset
        Dimensions (quantity, width, step): `predicted`, `sampled`, `lower` and `upper`, the ends of the
        chi-square interval of the sampled deviation; `mean`, over seeds; `holds`, whether the second order
        is negligible against the first (see `first_order_holds`). Without a width: `limit`, the value at
        infinite width. The intervals take the samples for normal and are correlated from step to step: at
        `level` 0.95 about 95% of many independent cells cover the prediction, but a run of steps falls out
        together. Where any network diverged all but the prediction is NaN.

    Raises
    ------
    InputError
        If a quantity has no prediction, a width is infinite or there are fewer than two seeds.
    """
    planned = plan_error_bars(
        target, learning_rate, widths=widths, seeds=seeds, record_at=record_at, quantities=quantities,
        level=level,
    )  # fmt: skip
    ensemble = Ensemble("mup", target, tuple(widths), (learning_rate,), tuple(seeds))
    record = simulate(ensemble, record_at=record_at, quantities=quantities, on_progress=on_progress)
    runs = record[list(quantities)].isel(learning_rate=0, drop=True).to_array("quantity")
    bars = _compare(runs.transpose("seed", *_DIMENSIONS).drop_vars("seed"), ensemble, level)
    return bars.assign_coords(planned.coords).assign_attrs(planned.attrs)


def plan_error_bars(
    target: Array | IsotropicTarget,
    learning_rate: float,
    *,
    widths: Sequence[float],
    seeds: Sequence[int],
    record_at: Sequence[int],
    quantities: Sequence[str] = PREDICTED,
    level: float = 0.95,
) -> xr.Dataset:
    """The dataset that `sample_error_bars` fills, before any run; arguments and errors as there."""
    _check(widths, seeds, quantities, level)
    ensemble = Ensemble("mup", target, tuple(widths), (learning_rate,), tuple(seeds))
    steps = np.asarray(require_schedule(record_at), dtype=np.int64)
    shape = (len(quantities), len(ensemble.widths), steps.size)
    bars = xr.Dataset(
        {name: (_DIMENSIONS, np.full(shape, np.nan)) for name in _SAMPLED},
        {"quantity": list(quantities), "width": np.asarray(ensemble.widths, dtype=np.float64), "step": steps},
    )
    bars["holds"] = (_DIMENSIONS, np.zeros(shape, dtype=bool))
    bars["limit"] = (("quantity", "step"), np.full((shape[0], shape[2]), np.nan))
    planar = _planar(ensemble)
    configuration = {
        "model": "two-layer linear network under muP",
        "dimension": planar.dimension,
        "target_norm": planar.target_norm,
        "learning_rate": learning_rate,
        "level": level,
    }
    bars.attrs = provenance(configuration, seeds=seeds, data_hash=None, producer=__name__)
    return bars


_DIMENSIONS = ("quantity", "width", "step")
_SAMPLED = ("predicted", "sampled", "lower", "upper", "mean")


def _check(widths: Sequence[float], seeds: Sequence[int], quantities: Sequence[str], level: float) -> None:
    """Refuse what cannot be compared before any work is done."""
    require_distinct("quantities", quantities)
    for name in quantities:
        require_known("quantity with a predicted deviation", name, PREDICTED)
    for width in widths:
        require_whole("width", width, least=1, example=64)
    deviation_interval(np.zeros(1), len(seeds), level)


def _compare(runs: xr.DataArray, ensemble: Ensemble, level: float) -> xr.Dataset:
    """Sampled and predicted deviations of runs with dimensions (seed, quantity, width, step)."""
    names, steps = runs["quantity"].to_numpy().tolist(), runs["step"].to_numpy()
    sampled = runs.std("seed", ddof=1, skipna=False)
    interval = deviation_interval(sampled.to_numpy(), runs.sizes["seed"], level)
    predicted, holds = _predictions(ensemble, steps, names)
    limit = _limit_values(_planar(ensemble), steps)
    return xr.Dataset(
        {
            "predicted": (_DIMENSIONS, predicted),
            "sampled": sampled,
            "lower": (_DIMENSIONS, interval.lower),
            "upper": (_DIMENSIONS, interval.upper),
            "mean": runs.mean("seed", skipna=False),
            "holds": (_DIMENSIONS, holds),
            "limit": (("quantity", "step"), np.stack([limit[name] for name in names])),
        }
    )


def first_order_holds(problem: Problem, learning_rate: float, steps: int) -> Mapping[str, NDArray[np.bool_]]:
    """By quantity of `PREDICTED`, whether the second order in N^(-1/2) is negligible; shape (steps + 1,).

    Notes
    -----
    With `x` for the deviation of the map along the target, `y` and `g` for those of the map and of e across
    it, `r` for the residual at infinite width and `n = D - 1`, the second order has the deviation

    - `sqrt((x^4 + n y^4) / 2)` in the loss, whose first order `|r| x` vanishes with the residual;
    - `sqrt(n) y g / p` in `w.u`, which it feeds through `e`, and which contracts faster than `w.d`;
    - `x` times the strain, the sum over past steps of `eta0 (deviations of u.e u and v) / |1 - 2 eta0 p|`:
      every network contracts at its own rate, which tells more with every step;
    - `sqrt(2 n) g^2 / gap` in the sharpness, `gap` the distance to the eigenvalue across the target. That
      has to exceed the fluctuations of both, of which those across are the largest of n: `2 / sqrt(N D)`.

    The deviation of `v` stays clear of its second order but for the D directions that act on it together: it
    is taken to hold where `D <= N / 10`. Measured, it then errs by at most 3%, and by 20% at `D = N`.
    """
    planar = PlanarMap(problem.dimension, float(np.linalg.norm(problem.target)), learning_rate)
    deviation = predicted_deviation(problem, learning_rate, steps)
    states = iterate(planar, steps).states
    with np.errstate(all="ignore"):  # beyond divergence everything is infinite, and nothing holds
        return _holds(planar, states, deviation, problem.width)


def _holds(
    planar: PlanarMap, states: PlanarState, deviation: Deviation, width: float
) -> Mapping[str, NDArray[np.bool_]]:
    others, c = planar.dimension - 1, planar.coupling
    x, y, g = deviation.alignment, deviation.across, deviation.first_across
    finite = np.isfinite(states.a) & np.isfinite(x)
    rate = planar.learning_rate
    strain = rate * (deviation.first_along + deviation.second_layer) / np.abs(1 - 2 * rate * states.p)
    strain = np.concatenate([[0.0], np.cumsum(strain)[:-1]])
    mixing = math.sqrt(others) * y * g / states.p
    map_holds = finite & (mixing <= _NEGLIGIBLE * x) & (strain <= _NEGLIGIBLE)
    square = np.sqrt((x**4 + others * y**4) / 2)
    loss_holds = map_holds & (square <= _NEGLIGIBLE * deviation.loss) & (deviation.loss > 0)
    gap = np.full_like(x, np.inf)
    if others:
        rho = math.sqrt(c) * np.abs(states.a - planar.target_norm)
        gap = planar.sharpness(states) - largest_root_across(states.p, rho, c)
    spread = deviation.sharpness + 2 * math.sqrt(c / width)
    mixed = math.sqrt(2 * others) * g**2
    sharpness_holds = (
        finite
        & deviation.along_target
        & (gap > _CLEAR * spread)
        & (mixed <= _NEGLIGIBLE * gap * deviation.sharpness)
    )
    return {
        "sharpness": sharpness_holds,
        "loss": loss_holds,
        "second_layer": finite & (planar.dimension <= _NEGLIGIBLE * width),
        "alignment": map_holds,
    }


def _planar(ensemble: Ensemble) -> PlanarMap:
    problem = ensemble.problem(ensemble.widths[0])
    return PlanarMap(
        problem.dimension, float(np.linalg.norm(problem.target)), float(ensemble.learning_rates[0])
    )


def _predictions(
    ensemble: Ensemble, steps: NDArray[np.int64], quantities: Sequence[str]
) -> tuple[Array, NDArray[np.bool_]]:
    """Predicted deviations and whether they hold, each of shape (quantity, width, step)."""
    rate, last = ensemble.learning_rates[0], int(steps[-1])
    problems = [ensemble.problem(width) for width in ensemble.widths]
    found = [predicted_deviation(problem, rate, last) for problem in problems]
    holds = [first_order_holds(problem, rate, last) for problem in problems]
    return (
        np.array([[getattr(one, name)[steps] for one in found] for name in quantities]),
        np.array([[one[name][steps] for one in holds] for name in quantities]),
    )


def _limit_values(planar: PlanarMap, steps: NDArray[np.int64]) -> Mapping[str, Array]:
    """The quantities at infinite width."""
    states = iterate(planar, int(steps[-1])).states
    states = type(states)(*(part[steps] for part in states))
    with np.errstate(invalid="ignore", over="ignore"):
        return {
            "sharpness": planar.sharpness(states),
            "loss": planar.loss(states),
            "second_layer": states.p,
            "alignment": states.a,
        }
