"""The best learning rate against width: where the loss up to some step, or at it, is least."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ..errors import require_known, require_positive, require_whole
from ..records.origin import provenance
from ..theory import IsotropicTarget, largest_stable_learning_rate
from .ensemble import simulate
from .grid import Ensemble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..theory import Array, Parametrization
    from .ensemble import Progress

    Indices = NDArray[np.int64]

OBJECTIVES = ("mean", "last")
"""What is made least: the mean of the loss over steps 1 to the last, or the loss at the last."""

GRID = (0.02, 1.25)
"""First grid of rates, over the largest stable rate."""

CELLS = 48
"""Cells of the first grid, even in log eta0."""

_FINER = 4
"""A refinement divides each cell about a minimum into so many."""

_CANDIDATES = 3
"""Local minima of the first grid that are refined, the lowest ones."""

_PROMISING = 10.0
"""Local minima of the first grid with a loss above this times the lowest are not refined, ..."""

_NEARLY_SOLVED = 1e-2
"""... unless it is below this times the loss at the start."""

_ALIKE = 1.05
"""Refined minima up to this times the lowest loss count as equally good."""

_SOLVED = 1e-6
"""And so do those with a loss below this times the one at the start."""


def largest_rate(
    parametrization: Parametrization | str,
    target: Array | IsotropicTarget,
    width: float,
    seeds: Sequence[int],
) -> float:
    """Largest `eta0` that is stable at the start and has a stable minimizer, at one width.

    The lesser of `2 / sharpness` at the start (mean over seeds) and `1 / (kappa |w*|)`; it grows with no
    width under muP, tends to D under NTP, and falls as `2 D / N` under SP.
    """
    ensemble = Ensemble(parametrization, target, (width,), (1.0,), tuple(seeds))
    start = simulate(ensemble, record_at=(0,), quantities=("sharpness",))["sharpness"]
    return min(2 / float(start.mean()), largest_stable_learning_rate(ensemble.compact_problem(width)))


def best_rates(
    parametrization: Parametrization | str,
    target: Array | IsotropicTarget,
    *,
    widths: Sequence[float],
    seeds: Sequence[int],
    step: int = 10,
    objective: str = "mean",
    refinements: int = 3,
    on_progress: Progress | None = None,
) -> xr.Dataset:
    """The learning rate of least loss up to some step, or at it, for every width and seed.

    A network's loss is evaluated at many rates from the same start: on a grid even in log eta0 from 0.02 to
    1.25 of the largest stable rate of its width, then on finer and finer ones about the three lowest local
    minima; a parabola through the loss at the last three rates gives the optimum.

    The loss at one step is a poor objective in this system: in the limit it vanishes at every rate at which
    the residual happens to cross zero at that step, so that several rates are best, and wide networks jump
    from one to another. The mean over the steps, which is the area under the loss curve, has one minimum.

    Parameters
    ----------
    parametrization, target
        The network's row of the table and its target; `w*` of shape (D,), or its norm alone.
    widths, seeds
        One network for each pair; `math.inf` is a width where the parametrization has a limit.
    step, objective
        `mean` of the loss over steps 1 to `step`, which is at least 1, or the loss at the `last`.
    refinements
        Each makes the grid four times finer.
    on_progress
        Called with (widths done, in all).

    Returns
    -------
    xarray.Dataset
        Dimensions (width, seed): `best_rate`, in 1/sharpness; `best_loss`; `at_edge`, whether the lowest loss
        is at an end of the grid, so that the best rate may lie beyond; `minima`, how many of the refined
        local minima are within 5% of the lowest loss, or below 1e-6 of the one at the start (near and beyond
        the edge the loss is jagged in eta0). Dimension (width): `reference`, the largest stable rate. Where
        every rate diverged the best rate is NaN, and `minima` is 0.

    Raises
    ------
    InputError
        If a setting makes no sense.
    """
    plan = plan_best_rates(
        parametrization, target, widths=widths, seeds=seeds, step=step, objective=objective,
        refinements=refinements,
    )  # fmt: skip
    ensemble = Ensemble(parametrization, target, tuple(widths), (1.0,), tuple(seeds))
    steps = range(1, step + 1) if objective == "mean" else (step,)
    result = _search_widths(ensemble, steps, refinements, on_progress)
    return result.assign_coords(step=step).assign_attrs(plan.attrs)


def plan_best_rates(
    parametrization: Parametrization | str,
    target: Array | IsotropicTarget,
    *,
    widths: Sequence[float],
    seeds: Sequence[int],
    step: int = 10,
    objective: str = "mean",
    refinements: int = 3,
) -> xr.Dataset:
    """The dataset that `best_rates` would fill, before any run; arguments and errors as there."""
    require_whole("step of the loss", step, least=1, example=10)
    require_known("objective", objective, OBJECTIVES)
    require_whole("refinements", refinements, least=0, most=8, example=3)
    ensemble = Ensemble(parametrization, target, tuple(widths), (1.0,), tuple(seeds))
    configuration = _configuration(ensemble, refinements) | {"step": step, "objective": objective}
    result = _unsearched(ensemble).assign_coords(step=step)
    result.attrs = provenance(configuration, seeds=list(ensemble.seeds), data_hash=None, producer=__name__)
    return result


def _unsearched(ensemble: Ensemble) -> xr.Dataset:
    """Best rates of which none is known."""
    shape = (len(ensemble.widths), len(ensemble.seeds))
    unknown = {
        "best_rate": np.full(shape, np.nan),
        "best_loss": np.full(shape, np.nan),
        "at_edge": np.zeros(shape, dtype=bool),
        "minima": np.zeros(shape, dtype=int),
    }
    return xr.Dataset(
        {name: (("width", "seed"), values) for name, values in unknown.items()},
        {"width": np.asarray(ensemble.widths, dtype=float), "seed": list(ensemble.seeds)},
    ).assign(reference=("width", np.full(shape[0], np.nan)))


def _configuration(ensemble: Ensemble, refinements: int) -> dict[str, object]:
    """What describes the networks and the grid of rates."""
    target = ensemble.target
    return {
        "parametrization": ensemble.parametrization.name,
        "dimension": target.size,
        "target_norm": target.norm if isinstance(target, IsotropicTarget) else float(np.linalg.norm(target)),
        "grid_over_largest_stable_rate": GRID,
        "smallest_relative_spacing": math.log(GRID[1] / GRID[0]) / CELLS / _FINER**refinements,
    }


def _search_widths(
    ensemble: Ensemble, steps: Sequence[int], refinements: int, on_progress: Progress | None
) -> xr.Dataset:
    """Best rates of the networks of every width, by the mean of the loss over some steps."""
    result = _unsearched(ensemble)
    for index, width in enumerate(ensemble.widths):
        result["reference"][index] = largest_rate(
            ensemble.parametrization, ensemble.target, width, ensemble.seeds
        )
        search = _Search(replace(ensemble, widths=(width,)), steps, float(result["reference"][index]))
        for name, values in search.run(refinements).items():
            result[name][index] = values
        if on_progress is not None:
            on_progress(index + 1, len(ensemble.widths))
    return result


class _Search:
    """The loss of all networks of one width at rates `lowest exp(spacing i / 4^level)`."""

    def __init__(self, ensemble: Ensemble, steps: Sequence[int], reference: float) -> None:
        require_positive("largest stable learning rate", reference, example=0.5)
        self._ensemble, self._steps = ensemble, tuple(steps)
        self._lowest = math.log(GRID[0] * reference)
        self._spacing = math.log(GRID[1] / GRID[0]) / CELLS
        self._first = self._simulated((reference,), (0,))[:, 0]

    def losses(self, indices: Indices, level: int) -> NDArray[np.float64]:
        """Shape (seed, rate), infinite where a run diverged."""
        rates = np.exp(self._lowest + self._spacing * indices / _FINER**level)
        return self._simulated(rates.tolist(), self._steps)

    def _simulated(self, rates: Sequence[float], steps: Sequence[int]) -> NDArray[np.float64]:
        record = simulate(replace(self._ensemble, learning_rates=tuple(rates)), record_at=steps)
        loss = record["loss"].isel(width=0).mean("step", skipna=False)
        values = loss.transpose("seed", "learning_rate").to_numpy()
        return np.where(np.isfinite(values), values, np.inf)

    def run(self, refinements: int) -> dict[str, NDArray[np.float64]]:
        """Best rate and loss, whether at an end of the grid, and how many minima are alike; shape (seed,)."""
        grid = np.arange(CELLS + 1)
        losses = self.losses(grid, 0)
        solved = _NEARLY_SOLVED * self._first
        centres = np.stack([_lowest_minima(*pair) for pair in zip(losses, solved, strict=True)])
        at_edge = np.isin(losses.argmin(axis=1), (0, CELLS))
        for level in range(1, refinements + 1):
            centres = self._refine(centres * _FINER, level)
        offset, depth = self._parabola(centres, refinements)
        best = np.argsort(depth, axis=1)[:, :1]
        place = np.take_along_axis(centres + offset, best, axis=1)[:, 0]
        least = np.take_along_axis(depth, best, axis=1)[:, 0]
        lost = ~np.isfinite(least)
        rate = np.exp(self._lowest + self._spacing * place / _FINER**refinements)
        good = np.maximum(_ALIKE * least, _SOLVED * self._first)
        minima = [_distinct(*pair) for pair in zip(centres, depth <= good[:, None], strict=True)]
        return {
            "best_rate": np.where(lost, np.nan, rate),
            "best_loss": np.where(lost, np.nan, least),
            "at_edge": at_edge.astype(np.float64),
            "minima": np.where(lost, 0, minima),
        }

    def _refine(self, centres: Indices, level: int) -> Indices:
        """The lowest place within a former cell of each centre, both (seed, candidate)."""
        reach = np.arange(-_FINER, _FINER + 1)
        places = np.clip(centres[..., None] + reach, 0, CELLS * _FINER**level)
        return np.take_along_axis(places, self._at(places, level).argmin(axis=-1)[..., None], -1)[..., 0]

    def _at(self, places: Indices, level: int) -> NDArray[np.float64]:
        """Losses at places (seed, ...) of each network's own; all networks run at the rates of any."""
        wanted, position = np.unique(places, return_inverse=True)
        flat = np.take_along_axis(self.losses(wanted, level), position.reshape(len(places), -1), axis=1)
        return flat.reshape(places.shape)

    def _parabola(self, centres: Indices, level: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Offset of each minimum from its centre, in spacings, and the loss at the centre."""
        ends = CELLS * _FINER**level
        left, middle, right = np.moveaxis(
            self._at(np.clip(centres[..., None] + np.array([-1, 0, 1]), 0, ends), level), -1, 0
        )
        inside = (centres > 0) & (centres < ends) & np.isfinite(left) & np.isfinite(right)
        with np.errstate(invalid="ignore"):
            bend = left - 2 * middle + right
            inside &= (bend > 0) & (middle <= left) & (middle <= right)
            offset = np.divide(left - right, 2 * bend, out=np.zeros_like(middle), where=inside)
        return offset, middle


def _lowest_minima(row: NDArray[np.float64], solved: float) -> Indices:
    """Places of the lowest local minima, ascending in loss; the lowest is repeated where there are fewer."""
    padded = np.concatenate([[np.inf], row, [np.inf]])
    minima = np.flatnonzero((row <= padded[:-2]) & (row < padded[2:]))
    if minima.size == 0:  # every rate diverged
        minima = np.zeros(1, dtype=np.int64)
    minima = minima[row[minima] <= max(_PROMISING * row.min(), solved)]
    chosen = minima[np.argsort(row[minima], kind="stable")][:_CANDIDATES]
    return np.asarray(np.concatenate([chosen, np.repeat(chosen[:1], _CANDIDATES - chosen.size)]))


def _distinct(places: Indices, alike: NDArray[np.bool_]) -> int:
    """Number of different places among those that are as good."""
    return int(np.unique(places[alike]).size)
