"""Whether the best learning rate of one size is that of another: interpolated optima and their drift."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import invalid, require_positive
from .coordinates import RATE, SEED, checked_table, finite_sizes, require_resampling, require_size_name
from .curves import LossCurves
from .power_laws import PowerLaw, power_law_fit
from .resampling import UNBOUNDED
from .verdicts import REFUTED, SHOWN, TRANSFER, UNDECIDED, Judgement, Within

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

    from .resolution import Floor

    Interval = tuple[float, float]

DRIFT = 0.25
"""Factors of two a doubling of the size that the best rate may move by and still transfer."""

CONFIDENCE = 0.9
"""Confidence level of the intervals."""


class TransferVerdict(NamedTuple):
    """Whether the best learning rate of small networks is that of large ones."""

    judgement: Judgement
    """On the expectation that it is."""
    sentence: str
    """The verdict with its numbers, or why there is none."""
    sizes: tuple[float, ...]
    """Widths, or depths, ascending, at which some rate trains every seed."""
    optima: tuple[float, ...]
    """Interpolated best rate of each; the middle of the tied ones where there are several."""
    intervals: tuple[Interval, ...]
    """Interval of each, from resampled seeds; infinite with one. For tied rates their range."""
    at_edge: tuple[bool, ...]
    """Whether it may lie beyond the grid: it is the first or last rate, or its neighbour diverged."""
    tied: tuple[bool, ...]
    """Whether several rates share the least loss, so that none is the best."""
    diverged: tuple[int, ...]
    """Learning rates at each size at which some run has no final loss."""
    drift: float
    """Factors of two that the optimum moves by when the size doubles; NaN with fewer than two in the grid."""
    interval: Interval
    """Interval of the drift, from resampled seeds."""
    jumps: tuple[Interval, ...]
    """The same between neighbouring sizes, all at one level."""
    excesses: tuple[float, ...]
    """Loss of the largest network at each size's best rate over that at its own, less one; NaN where one of
    them may lie beyond the grid or diverges."""
    law: PowerLaw | None
    """Power law in size of the optima within the grid, with Student's 95% interval over the sizes, which one
    seed has too; None with fewer than two."""

    @property
    def verdict(self) -> str:
        """The judgement in its own words: `transfers`, `does not transfer` or `no verdict`."""
        return TRANSFER.of(self.judgement)

    @property
    def line(self) -> tuple[float, Interval]:
        """Exponent of `law` with its interval; NaN and infinite where there is none."""
        return (math.nan, UNBOUNDED) if self.law is None else (self.law.exponent, self.law.interval)

    @property
    def excess(self) -> float:
        """What carrying the smallest network's best rate to the largest one costs, relative to its loss."""
        return self.excesses[0] if self.excesses else math.nan


def transfer_verdict(
    losses: xr.DataArray,
    generator: np.random.Generator,
    *,
    over: str = "width",
    tolerance: float = DRIFT,
    floor: Floor = None,
    level: float = CONFIDENCE,
    resamples: int = 2000,
) -> TransferVerdict:
    """Whether the best learning rate transfers, or why the losses cannot say.

    Parameters
    ----------
    losses
        Final losses of dimensions (size, learning_rate, seed), none negative; NaN where a run diverged: such
        a rate does not compete.
    generator, resamples
        Source of the resamples of seeds, which are the same for all rates of a size, and their number.
    over
        Name of the size axis: `width`, `depth` or another.
    tolerance
        Factors of two a doubling that count as none.
    floor
        Losses at or below it are not resolved and count as equal to it: a number, or one for each run. None
        takes the largest of all losses for the scale (`rounding_floor`).
    level
        Confidence level of the intervals, which are widened for few seeds.

    Returns
    -------
    TransferVerdict
        A verdict needs three sizes whose best rates lie within the grid, and two seeds.

    Raises
    ------
    InputError
        If there are fewer than two finite sizes, a loss is negative, or a coordinate, dimension or setting
        makes no sense.
    """
    require_size_name(over)
    require_positive("tolerance", tolerance, example=DRIFT)
    require_resampling(generator, resamples, level)
    curves = LossCurves(checked_losses(losses, over), floor)
    spread = curves.resampled(generator, resamples)
    drift, interval = curves.drift(spread, level)
    jumps, ends = curves.jumps(spread, level), curves.intervals(spread, level)
    judgement, because = _judged(curves, (drift, interval), jumps, over, tolerance)
    best = tuple(math.exp(place) for place in curves.places)
    excesses = tuple(curves.excess(index) for index in range(len(best)))
    inside = curves.inside
    law = power_law_fit(curves.sizes[inside], np.array(best)[inside]) if inside.sum() > 1 else None
    words = [f"{TRANSFER.of(judgement)}: {because}", *_optima_words(curves, best, ends, over)]
    words += _excess_words(excesses)
    return TransferVerdict(
        judgement, "; ".join(words), tuple(map(float, curves.sizes)), best, tuple(ends),
        tuple(map(bool, curves.at_edge)), tuple(map(bool, curves.tied)), tuple(map(int, curves.diverged)),
        drift, interval, tuple(jumps), excesses, law,
    )  # fmt: skip


def checked_losses(losses: xr.DataArray, over: str, *, infinite: bool = False) -> xr.DataArray:
    """Losses of dimensions (size, learning_rate, seed), ascending along each, without or with infinite size.

    Raises
    ------
    InputError
        If there are fewer than two finite sizes, a loss is negative, or a coordinate or dimension makes no
        sense.
    """
    table = checked_table(losses, (over, RATE, SEED))
    table = table if infinite else finite_sizes(table, over)
    if bool((table < 0).any()):
        raise invalid(
            "least loss", float(table.min()), accepted="at least 0",
            remedy="subtract a bound from below, or pass the exponential of a log density",
        )  # fmt: skip
    return table


def _judged(
    curves: LossCurves,
    drift: tuple[float, Interval],
    jumps: list[Interval],
    over: str,
    tolerance: float,
) -> tuple[Judgement, str]:
    """Judgement, and why."""
    value, interval = drift
    if curves.inside.sum() < 3:
        few = f"{len(curves.sizes)} {over}s are too few to say how the best rate moves: add some"
        return UNDECIDED, "; ".join(_obstacles(curves, over)) or few
    if not math.isfinite(interval[0]):
        return (
            UNDECIDED,
            f"drift {value:+.2f} factors of two a doubling, but one seed gives no interval: add seeds",
        )
    low, high = interval
    words = f"the best rate moves by {value:+.2f} factors of two a doubling ({low:+.2f} to {high:+.2f})"
    left_out = _left_out(curves, over)
    words += f", without {left_out}" if left_out else ""
    expected = Within(tolerance)
    found = expected.judge(interval)
    if REFUTED in {found, *(expected.judge(jump) for jump in jumps)}:
        aside = "" if found == REFUTED else f", but further between neighbouring {over}s"
        return REFUTED, words + aside
    if found == UNDECIDED:
        reason = f"which is neither within ±{tolerance:g} nor beyond: add seeds, {over}s or rates"
        return UNDECIDED, f"{words}, {reason}"
    return (UNDECIDED, f"{words}: try more rates") if left_out else (SHOWN, words)


def _obstacles(curves: LossCurves, over: str) -> list[str]:
    """Why sizes have no single best rate within the grid, each with its remedy."""
    some = curves.tied & ~curves.flat
    found = (
        (curves.sizes[curves.at_edge], "the best rate may lie beyond the grid at {}: try more rates"),
        (curves.sizes[curves.flat], "the loss is the same at every rate at {}: no rate is the best"),
        (curves.sizes[some], "several rates share the least loss at {}: none is the best, stop earlier"),
        (curves.lost, "no rate trains every seed at {}: try smaller ones"),
    )
    return [words.format(f"{over} {_listed(sizes)}") for sizes, words in found if sizes.size]


def _left_out(curves: LossCurves, over: str) -> str:
    """Sizes that do not enter the drift, and why, in a few words."""
    found = (
        (curves.sizes[curves.at_edge], "at the edge of the grid"),
        (curves.sizes[curves.tied], "where several rates are equally good"),
        (curves.lost, "where no rate trains every seed"),
    )
    return " and ".join(f"{over} {_listed(sizes)}, {words}" for sizes, words in found if sizes.size)


def _optima_words(
    curves: LossCurves, best: Iterable[float], ends: Iterable[Interval], over: str
) -> list[str]:
    """The best rates with their intervals, in words."""
    parts = []
    for rate, (low, high), edge, tied in zip(best, ends, curves.at_edge, curves.tied, strict=True):
        reach = f" ({low:.3g} to {high:.3g})" if high < math.inf else ""
        parts.append(
            f"{low:.3g} to {high:.3g} (tied)" if tied else f"{rate:.3g}{' (edge)' if edge else reach}"
        )
    if not parts:
        return []
    return [f"best rates at {over} {_listed(curves.sizes)}: {', '.join(parts)}"]


def _excess_words(excesses: tuple[float, ...]) -> list[str]:
    """What the smallest size's best rate costs the largest one, in words."""
    if len(excesses) < 2 or not math.isfinite(excesses[0]):
        return []
    excess = excesses[0]
    lost = f"{100 * excess:.2g}% more" if excess < 1 else f"{excess + 1:.3g} times as much"
    lost = "no more" if excess <= 0 else lost
    return [f"at the smallest one's best rate the largest has {lost} loss"]


def _listed(sizes: Iterable[float]) -> str:
    return ", ".join(f"{size:g}" for size in sizes)
