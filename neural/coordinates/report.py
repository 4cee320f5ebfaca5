"""Coordinate check: how sizes of activations, of their changes and of weight changes go with width or depth.

For every layer, the exponents fitted over networks of several sizes are compared with those that the
parametrization table predicts (`theory.width_exponents`, `theory.depth_exponents`).

Source: Yang et al. 2022 (Tensor Programs V), Appendix D.1; Figure 28, Noci et al. 2024.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from ...errors import require_function, require_instance
from ...records import array_hash, provenance
from ...stats.power_laws import power_law_fit
from ...stats.verdicts import UNDECIDED
from ...theory import SGD, depth_exponents, width_exponents
from ...theory.parametrization import ATTENTION, EMBEDDING, HALF, HIDDEN, INPUT, STREAM
from ..data.dataset import require_dataset
from ..memory import freed_memory_kept
from ..precision import full_precision
from .check import (
    ACTIVATION,
    CHANGE,
    COORDINATE_QUANTITIES,
    DEPTH,
    LATER,
    LOGITS,
    OWN_CHANGE,
    WEIGHT_CHANGE,
    WIDTH,
    CoordinateCheck,
)
from .measuring import MeasuredNetwork, few_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...theory import Array, Parametrization
    from ..data import Dataset
    from ..networks import Scales

EXPONENT_TOLERANCE = 0.1
"""Distance of a fitted exponent from the predicted one that passes."""

PASSED, FAILED = "passed", "failed"
"""Verdicts on a layer, beside `UNDECIDED`."""


class ExponentFit(NamedTuple):
    """One exponent of one layer."""

    layer: str
    quantity: str
    """One of `COORDINATE_QUANTITIES`."""
    exponent: float
    """Fitted to the means over seeds (means of logarithms would see their spread, which falls with width)."""
    interval: tuple[float, float]
    """95%, from the bootstrap over seeds; infinite with one."""
    predicted: tuple[float, float]
    """What the table predicts; two numbers that differ where terms of different exponents add up."""
    verdict: str
    """`passed`: within `EXPONENT_TOLERANCE` of what was predicted, and the interval within twice that;
    `failed`: the interval is outside the tolerance, or a size has no finite value; otherwise `undecided`."""

    @property
    def words(self) -> str:
        """The fit and what was predicted."""
        low, high = self.predicted
        expected = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        if math.isnan(self.exponent):
            return f"{self.layer}: {self.quantity.replace('_', ' ')} is zero or not finite at some size"
        reach = f"{self.interval[0]:.2f} to {self.interval[1]:.2f}"
        name = self.quantity.replace("_", " ")
        return f"{self.layer}: {name} {self.exponent:.2f} (95% {reach}), predicted {expected}"


class CoordinateReport(NamedTuple):
    """A coordinate check."""

    fits: tuple[ExponentFit, ...]
    record: xr.Dataset
    """Every quantity, dimensions (layer, size, seed, step); NaN for a layer that a network has not."""
    verdict: str
    """`passed` if every fit did, `failed` if one did, else `undecided`."""

    @property
    def sentence(self) -> str:
        """The verdict, and the fits that stand out."""
        worst = [fit for fit in self.fits if fit.verdict == self.verdict != PASSED]
        if not worst:
            farthest = max(self.fits, key=_distance)
            within = f"{len(self.fits)} exponents within {EXPONENT_TOLERANCE:g}"
            return f"{PASSED}: {within}; farthest {farthest.words}"
        return f"{self.verdict}: {len(worst)} of {len(self.fits)} exponents; " + "; ".join(
            fit.words for fit in sorted(worst, key=_distance, reverse=True)[:3]
        )


def coordinate_check(
    check: CoordinateCheck,
    data: Dataset,
    *,
    examples: int | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> CoordinateReport:
    """Measure networks of every size, fit exponents and compare them with the table's.

    Parameters
    ----------
    check, data
        What, and out of which examples, on the device to train on.
    examples
        How many of them every network is trained and measured on, all at each step; None is 16, or one
        sequence's first 8 tokens. The exponents are those of widths beyond the number of a layer's different
        inputs.
    on_progress
        Called with (work done, in all).

    Raises
    ------
    InputError
        If the network does not fit the data.
    """
    accepted, remedy = "a CoordinateCheck", "pass one, with the settings of the networks"
    require_instance("check", check, CoordinateCheck, accepted=accepted, remedy=remedy)
    require_dataset(data)
    require_function("on_progress", on_progress)
    few = few_examples(data, examples)
    tally = _Tally(check)
    work = np.array(check.sizes, dtype=float) ** (2 if check.size == WIDTH else 1)
    total, done = float(work.sum()) * len(check.seeds), 0.0
    with freed_memory_kept(), full_precision():
        for index, size in enumerate(check.sizes):
            for place, seed in enumerate(check.every_seed):
                network = MeasuredNetwork(*check.at(size, seed), few)
                trained = place < len(check.seeds)
                for layer, values in network.measured(check.steps if trained else ()).items():
                    tally.add(layer, network.rows[layer], values, (index, place))
                done += float(work[index]) if trained else 0.0
                if on_progress is not None:
                    on_progress(done, total)
    means = tally.means()
    attends = any(row.kind == ATTENTION for row in tally.rows.values())
    fits = tuple(
        _fit(check, (layer, quantity), values, predicted)
        for (layer, quantity), values in means.items()
        if quantity in COORDINATE_QUANTITIES
        and (predicted := _prediction(check, tally.rows[layer], quantity, attends=attends)) is not None
    )
    return CoordinateReport(fits, _record(check, few, means), _verdict([fit.verdict for fit in fits]))


class _Tally:
    """Means over the layers of a group, of every quantity in every network."""

    def __init__(self, check: CoordinateCheck) -> None:
        self.check = check
        self.shape = (len(check.sizes), len(check.every_seed), len(check.steps))
        self.rows: dict[str, Scales] = {}
        self.sums: dict[tuple[str, str], Array] = {}
        self.counts: dict[tuple[str, str], Array] = {}

    def add(self, layer: str, row: Scales, values: dict[str, Array], cell: tuple[int, int]) -> None:
        """Add one layer of one network."""
        name = _group(layer, row) if self.check.size == DEPTH else layer
        self.rows[name] = row
        for quantity, numbers in values.items():
            key = (name, quantity)
            self.sums.setdefault(key, np.zeros(self.shape))[cell] += numbers
            self.counts.setdefault(key, np.zeros(self.shape))[cell] += 1

    def means(self) -> dict[tuple[str, str], xr.DataArray]:
        """By layer and quantity; NaN where a network has no such layer."""
        axes = {
            "size": list(self.check.sizes),
            "seed": list(self.check.every_seed),
            "step": list(self.check.steps),
        }
        return {
            key: xr.DataArray(
                np.divide(
                    sums, self.counts[key], out=np.full(self.shape, np.nan), where=self.counts[key] > 0
                ),
                axes,
                tuple(axes),
            )
            for key, sums in self.sums.items()
        }


def _group(name: str, row: Scales) -> str:
    """Name of what is one thing where networks differ in how many they have."""
    last = name.rsplit(".", 1)[-1]
    if row.kind == STREAM:
        return f"stream, {last}"
    if row.in_branch:
        return "branches" if last.isdigit() else f"branches, {last}"
    return name


def _prediction(
    check: CoordinateCheck, row: Scales, quantity: str, *, attends: bool
) -> tuple[float, float] | None:
    """Smallest and largest exponent that the table predicts; None where there is no power law."""
    table = check.config.parametrization if check.expected is None else check.expected
    optimizer = check.config.optimizer.name
    if check.size == DEPTH and row.in_branch and quantity == CHANGE:
        return None  # that of the stream, which is less than the readout's by how far up the branch is
    if check.size == DEPTH and (row.kind == LOGITS or (row.kind == ATTENTION and optimizer == SGD)):
        return None  # its gradient is small at the start, and larger the more has been learned
    if row.kind == LOGITS:
        return _prediction_of_logits(table, optimizer, quantity)
    if check.size == WIDTH:
        found = width_exponents(table, row.kind, optimizer, attends=attends)
    else:
        found = depth_exponents(table, row.kind, optimizer, in_branch=row.in_branch)
    if quantity == CHANGE:
        ends = (found.least_change, found.change)
        return None if None in ends else (float(ends[0] or 0), float(ends[1] or 0))
    value = {
        ACTIVATION: found.activation,
        OWN_CHANGE: found.own_change,
        WEIGHT_CHANGE: found.weight_change,
    }[quantity]
    return None if value is None else (float(value), float(value))


def _prediction_of_logits(
    table: Parametrization, optimizer: str, quantity: str
) -> tuple[float, float] | None:
    """At the start a sum of d independent terms; a change is coherent, or comes with that of the inputs."""
    factor = table.attention.exponent("fan_in")
    if quantity == ACTIVATION:
        return float(factor + HALF), float(factor + HALF)
    own = width_exponents(table, ATTENTION, optimizer)
    inputs = [width_exponents(table, kind, optimizer).own_change for kind in (EMBEDDING, INPUT, HIDDEN)]
    terms = [own.own_change + 1 + factor, *(change + HALF + factor for change in inputs)]
    return float(min(terms)), float(max(terms))


def _fit(
    check: CoordinateCheck,
    place: tuple[str, str],
    values: xr.DataArray,
    predicted: tuple[float, float],
) -> ExponentFit:
    """Slope of the log mean over seeds, at the last step, on the log size."""
    seen = values.isel(step=-1).dropna("seed", how="all").transpose("seed", "size").to_numpy()
    means = seen.mean(axis=0) if len(seen) else np.full(len(check.sizes), np.nan)
    if not (np.isfinite(means) & (means > 0)).all():
        return ExponentFit(*place, math.nan, (-math.inf, math.inf), predicted, FAILED)
    found = power_law_fit(check.sizes, seen, generator=np.random.default_rng(0), paired=False)
    (bottom, top), exponent = found.interval, found.exponent
    low, high = predicted[0] - EXPONENT_TOLERANCE, predicted[1] + EXPONENT_TOLERANCE
    known = bottom >= low - EXPONENT_TOLERANCE and top <= high + EXPONENT_TOLERANCE
    if low <= exponent <= high and known:
        verdict = PASSED
    else:
        verdict = UNDECIDED if bottom <= high and top >= low else FAILED
    return ExponentFit(*place, exponent, found.interval, predicted, verdict)


def _distance(fit: ExponentFit) -> float:
    """From what was predicted."""
    low, high = fit.predicted
    return max(low - fit.exponent, fit.exponent - high, 0.0)


def _verdict(found: Sequence[str]) -> str:
    return next((one for one in (FAILED, UNDECIDED) if one in found), PASSED)


def _record(check: CoordinateCheck, data: Dataset, means: dict[tuple[str, str], xr.DataArray]) -> xr.Dataset:
    layers = list(dict.fromkeys(layer for layer, _ in means))
    nothing = xr.full_like(next(iter(means.values())), np.nan)
    configuration = check.used.document() | {
        "coordinate_check": {
            "size": check.size,
            "sizes": list(check.sizes),
            "width": check.width,
            "steps": list(check.steps),
            "learning_rate": check.learning_rate,
            "expected": None if check.expected is None else check.expected.document(),
            "data": data.name,
            "examples": data.examples,
        }
    }
    digest = array_hash(data.inputs.cpu().numpy(), data.targets.cpu().numpy())
    return xr.Dataset(
        {
            quantity: xr.concat(
                [means.get((layer, quantity), nothing) for layer in layers], dim="layer"
            ).assign_coords(layer=layers)
            for quantity in (*COORDINATE_QUANTITIES, LATER)
        },
        attrs={
            **provenance(configuration, seeds=check.every_seed, data_hash=digest, producer=__name__),
            "size": check.size,
            "learning_rate": check.learning_rate,
        },
    )
