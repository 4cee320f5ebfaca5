"""Does the size matter? A verdict from the slopes on size at every step, that can be acted on.

Finite networks differ from the limit by terms that die out as they grow. A quantity "does not depend on
width" is therefore a statement about the widths from some N on, and it is shown by an interval that lies
within a tolerance (an equivalence test); that an interval contains zero shows nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import require_known, require_positive, require_whole
from .coordinates import RATE, SEED, STEP, checked_table, require_resampling, require_size_name, symbol
from .divergence import TREND, counts_by_size, diverged_words, trend_probability
from .resolution import difference_floor, resolved
from .slopes import size_slopes, size_table, table_slopes
from .verdicts import REFUTED, SHOWN, UNDECIDED, Judgement, Within, all_of, size_words

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from .resolution import Floor
    from .verdicts import Interval

SLOPE_TOLERANCE = 0.02
"""Log-log slope that counts as none: 4.7% for a factor ten of size."""

INDEPENDENT, DEPENDS, _ = size_words("width")
"""Verdicts over the width, in words."""

DIVERGING = (math.inf, math.inf)
"""Interval that stands for a slope where the share of diverged runs depends on the size."""

_NEIGHBOURS = 3
"""Sizes of a local slope, by which independence from some size on is shown."""


class SizeVerdict(NamedTuple):
    """What repeated runs say about the dependence of a quantity on size."""

    judgement: Judgement
    """On the expectation that the size does not matter."""
    sentence: str
    """The verdict with its numbers, in words."""
    independent_from: float | None
    """Size from which on independence is shown."""
    slopes: xr.Dataset
    """Slopes over all sizes, as `size_slopes` gives them."""
    wide_slopes: xr.Dataset
    """Slopes over the sizes that the verdict rests on."""
    family: tuple[Interval, ...] = ()
    """Intervals of the slopes that decide: where independence is shown those of all slopes over neighbours,
    each over all steps; where it is refuted that of the clearest step. Infinite where larger sizes diverge
    more often, or less, and empty where nothing is decided."""
    over: str = "width"
    """Name of the size axis."""

    @property
    def verdict(self) -> str:
        """The judgement in its own words, such as `width-independent`."""
        return size_words(self.over).of(self.judgement)


def judge_size(
    values: xr.DataArray,
    generator: np.random.Generator,
    *,
    over: str = "width",
    name: str = "the quantity",
    tolerance: float = SLOPE_TOLERANCE,
    least: float = 1,
    floor: Floor = None,
    resamples: int = 2000,
) -> SizeVerdict:
    """Whether a quantity depends on size, and from which size on it does not.

    From the largest three sizes down, the slope over three neighbours has to lie within the tolerance at
    every step, by the interval that holds at all steps at once; the first three that fail end the descent.
    This fixed order keeps the chance of a wrong claim of independence at 5% (Maurer et al. 1995). One slope
    over all sizes would hide a large change among the small ones, a small slope over many decades.

    Parameters
    ----------
    values
        Dimensions (size, seed), and step where there is one; one learning rate. NaN where a run diverged.
    generator, resamples
        Source of the bootstrap resamples of seeds, and their number.
    over
        Name of the size axis: `width`, `depth` or another.
    name
        What the quantity is called in the sentence.
    tolerance
        Absolute log-log slope up to which the size does not matter.
    least
        Smaller sizes do not count for the verdict.
    floor
        Values at or below it are not resolved; None is `rounding_floor`.

    Returns
    -------
    SizeVerdict
        Independent: shown from some size on. Depends: at some step the slope is beyond the tolerance with its
        whole interval, over the largest three sizes or over all that count, or the share of diverged runs
        depends on size. Undecided: neither is shown.

    Raises
    ------
    InputError
        If fewer than two finite sizes count, there are further dimensions, or a coordinate or setting makes
        no sense.
    """
    require_size_name(over)
    require_positive("tolerance", tolerance, example=SLOPE_TOLERANCE)
    require_resampling(generator, resamples)
    every = size_slopes(values, generator, over=over, floor=floor, resamples=resamples)
    table = size_table(values, over, floor, least)
    return _judge_table(table, every, generator, name=name, tolerance=tolerance, resamples=resamples)


def _judge_table(
    table: xr.DataArray,
    every: xr.Dataset,
    generator: np.random.Generator,
    *,
    name: str,
    tolerance: float,
    resamples: int,
) -> SizeVerdict:
    """Verdict on a checked table, given the slopes over all sizes."""
    over = str(table.dims[0])
    sizes = table[over].to_numpy()
    broken = np.isnan(table.isel({STEP: -1}).to_numpy())
    words = size_words(over)
    if trend_probability(broken) < TREND:  # larger networks diverge more often, or less
        sentence = f"{words.refuted}: {diverged_words(sizes, broken, over)}"
        return SizeVerdict(REFUTED, sentence, None, every, every, (DIVERGING,), over)
    whole, aside = table.isel({over: ~broken.any(axis=1)}), _aside(table, broken)
    if whole.sizes[over] < 2:
        sentence = f"{words.undecided}: fewer than two {over}s are without diverged runs{aside}"
        return SizeVerdict(UNDECIDED, sentence, None, every, every, (), over)
    found, because, size, slopes, family = _judge_whole(whole, generator, tolerance, resamples)
    since = "" if size is None else f" from {symbol(over)} = {size:g} on"
    sentence = f"{words.of(found)}{since}: {name} has {because}{aside}"
    return SizeVerdict(found, sentence, size, every, slopes, family, over)


def _aside(table: xr.DataArray, broken: NDArray[np.bool_]) -> str:
    """Runs that diverged, and those with values that are not resolved, in words; empty without any."""
    over = str(table.dims[0])
    sizes, zero = table[over].to_numpy(), (table.to_numpy() == 0).any(axis=2)
    words = f"; {diverged_words(sizes, broken, over)}" if broken.any() else ""
    if zero.any():
        words += f"; zero or below rounding at some step {counts_by_size(sizes, zero, over)}"
    return words


def largest_change(values: xr.DataArray) -> xr.DataArray:
    """Largest change of a quantity since its first record, up to each later step.

    Under a parametrization whose features stand still at large width, the sharpness tends to a limit and so
    does not depend on width; its change does. A change below the rounding of the values is zero.
    """
    ordered = values.sortby(STEP).transpose(..., STEP)
    start = ordered.isel({STEP: 0}, drop=True)
    change = np.abs(ordered.to_numpy() - ordered.to_numpy()[..., :1])
    largest = ordered.copy(data=np.maximum.accumulate(change, axis=-1)).isel({STEP: slice(1, None)})
    return resolved(largest, difference_floor(start))


class TrainingVerdict(NamedTuple):
    """Whether a quantity depends on size, and whether what training does to it does."""

    level: SizeVerdict
    """Verdict on the quantity."""
    change: SizeVerdict
    """Verdict on its largest change since the start."""

    @property
    def sentences(self) -> tuple[str, str]:
        """Both verdicts with their numbers."""
        return self.level.sentence, self.change.sentence


def judge_training(
    values: xr.DataArray,
    generator: np.random.Generator,
    *,
    name: str,
    over: str = "width",
    tolerance: float = SLOPE_TOLERANCE,
    least: float = 1,
) -> TrainingVerdict:
    """Both verdicts on a quantity that is positive, such as the sharpness; arguments as for `judge_size`.

    Raises
    ------
    InputError
        As `judge_size`, and if there is no step after the first.
    """
    require_size_name(over)
    table = checked_table(values, (over, SEED, STEP))
    require_whole("number of recorded steps", table.sizes[STEP], least=2, example=10)
    level = judge_size(table, generator, over=over, name=name, tolerance=tolerance, least=least)
    change = judge_size(
        largest_change(table),
        generator,
        over=over,
        name=f"the change of {name} since the start",
        tolerance=tolerance,
        least=least,
        floor=0.0,
    )
    return TrainingVerdict(level, change)


def training_sentences(
    record: xr.Dataset,
    generator: np.random.Generator,
    *,
    over: str = "width",
    quantity: str = "sharpness",
    tolerance: float = SLOPE_TOLERANCE,
    least: float = 1,
) -> list[str]:
    """For each learning rate of a record, sentences on whether a quantity and its change depend on size.

    Parameters
    ----------
    record
        The common record, with at least two finite sizes and two steps.
    generator
        Draws the resamples.
    quantity
        A variable of the record.
    over, tolerance, least
        As for `judge_size`.

    Raises
    ------
    InputError
        If the record has no such quantity, or too few sizes or steps.
    """
    known = [str(name) for name, part in record.data_vars.items() if STEP in part.dims]
    require_known("quantity of the record", quantity, known)
    sentences = []
    for index, rate in enumerate(record[RATE].to_numpy()):
        found = judge_training(
            record[quantity].isel({RATE: index}),
            generator,
            over=over,
            name=quantity.replace("_", " "),
            tolerance=tolerance,
            least=least,
        )
        sentences += [f"eta0 = {rate:g}: {words}" for words in dict.fromkeys(found.sentences)]
    return sentences


def _judge_whole(
    whole: xr.DataArray, generator: np.random.Generator, tolerance: float, resamples: int
) -> tuple[Judgement, str, float | None, xr.Dataset, tuple[Interval, ...]]:
    """Judgement on sizes without diverged runs, why, the size it holds from, and the slopes that decide."""
    over = str(whole.dims[0])
    start, failed, shown = _descend(whole, generator, tolerance, resamples)
    wide = table_slopes(whole.isel({over: slice(start, None)}), generator, over=over, resamples=resamples)
    if start is None and failed is not None:
        found, slopes = _without_independence(failed, wide, tolerance)
        if found == REFUTED:
            step = clearest(slopes)
            ends = float(slopes["family_lower"][step]), float(slopes["family_upper"][step])
            return found, f"{_words(slopes, step)} {_range(slopes)}", None, slopes, (ends,)
        reason = f"the interval is not within ±{tolerance:g}, add seeds"
        return found, f"{_words(slopes)} {_range(slopes)}; {reason}", None, slopes, ()
    below = "" if failed is None else f"; not shown {_range(failed)}: {_words(failed)}"
    return SHOWN, _words(wide) + below, float(wide.attrs["least_size"]), wide, shown


def _descend(
    whole: xr.DataArray, generator: np.random.Generator, tolerance: float, resamples: int
) -> tuple[int | None, xr.Dataset | None, tuple[Interval, ...]]:
    """Index of the smallest size from which on no local slope fails, the one that failed, other intervals."""
    over = str(whole.dims[0])
    count = min(_NEIGHBOURS, whole.sizes[over])
    shown = None
    intervals: list[Interval] = []
    for start in range(whole.sizes[over] - count, -1, -1):
        part = whole.isel({over: slice(start, start + count)})
        local = table_slopes(part, generator, over=over, resamples=resamples)
        entered = bool((local["sizes"] == count).all())
        if not entered or all_of(_judged_steps(local, tolerance)) != SHOWN:
            return shown, local, tuple(intervals)
        shown = start
        intervals.append((float(local["family_lower"].min()), float(local["family_upper"].max())))
    return shown, None, tuple(intervals)


def _judged_steps(slopes: xr.Dataset, tolerance: float) -> list[Judgement]:
    """What the interval of each step says about independence."""
    ends = zip(slopes["family_lower"].to_numpy(), slopes["family_upper"].to_numpy(), strict=True)
    return [Within(tolerance).judge((float(low), float(high))) for low, high in ends]


def _without_independence(
    local: xr.Dataset, wide: xr.Dataset, tolerance: float
) -> tuple[Judgement, xr.Dataset]:
    """Judgement where independence is not shown, and the slopes behind it: over the largest, or over all."""
    for slopes in (local, wide):
        if REFUTED in _judged_steps(slopes, tolerance):
            return REFUTED, slopes
    return UNDECIDED, local


def clearest(slopes: xr.Dataset) -> int:
    """Index of the step whose interval is farthest from zero."""
    return int(np.nanargmax(np.maximum(slopes["family_lower"].values, -slopes["family_upper"].values)))


def farthest(slopes: xr.Dataset) -> int:
    """Index of the step whose interval reaches farthest."""
    return int(np.nanargmax(np.maximum(-slopes["family_lower"].values, slopes["family_upper"].values)))


def _words(slopes: xr.Dataset, index: int | None = None) -> str:
    """The slope at a step, by default where its interval reaches farthest."""
    over = slopes.attrs["over"]
    if not np.isfinite(slopes["slope"].to_numpy()).any():
        return f"fewer than two {over}s with positive, resolved values"
    one = slopes.isel({STEP: farthest(slopes) if index is None else index})
    values = {name: float(one[name]) for name in ("slope", "family_lower", "family_upper", "change")}
    interval = (
        f"95% {values['family_lower']:+.3f} to {values['family_upper']:+.3f}"
        if math.isfinite(values["family_lower"])
        else "too few seeds for an interval"
    )
    at = f" at step {int(one[STEP])}" if STEP in one.coords else ""
    change = f"{100 * values['change']:+.3g}% for ten times the {over}"
    return f"slope {values['slope']:+.3f}{at} ({interval}; {change})"


def _range(slopes: xr.Dataset) -> str:
    """The sizes of slopes, in words."""
    least, greatest = slopes.attrs["least_size"], slopes.attrs["greatest_size"]
    return f"from {symbol(slopes.attrs['over'])} = {least:g} to {greatest:g}"
