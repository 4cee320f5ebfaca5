"""Does width matter? A verdict from the slopes on width at every step, that can be acted on.

Finite networks differ from the limit by terms that die out as they widen. A quantity "does not depend on
width" is therefore a statement about the widths from some N on, and it is shown by an interval that lies
within a tolerance (an equivalence test); that an interval contains zero shows nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import require_known, require_positive, require_whole
from .power_laws import trend_probability
from .slopes import finite_widths, width_slopes

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

TOLERANCE = 0.02
"""Log-log slope that counts as none: 4.7% for a factor ten of width."""

_NEIGHBOURS = 3
"""Widths of a local slope, by which independence from some width on is shown."""

VERDICTS = INDEPENDENT, DEPENDS, UNDECIDED = "width-independent", "depends on width", "undecided"
"""What may be found."""


class WidthVerdict(NamedTuple):
    """What repeated runs say about the dependence of a quantity on width."""

    verdict: str
    """One of `VERDICTS`."""
    sentence: str
    """The verdict with its numbers, in words."""
    independent_from: float | None
    """Width from which on independence is shown."""
    slopes: xr.Dataset
    """Slopes over all widths, as `width_slopes` gives them."""
    wide_slopes: xr.Dataset
    """Slopes over the widths that the verdict rests on."""


def judge_width(
    values: xr.DataArray,
    generator: np.random.Generator,
    *,
    name: str = "the quantity",
    tolerance: float = TOLERANCE,
    least_width: float = 1,
    resamples: int = 2000,
) -> WidthVerdict:
    """Whether a quantity depends on width, and from which width on it does not.

    From the widest three widths down, the slope over three neighbours has to lie within the tolerance at
    every step, by the interval that holds at all steps at once; the first three that fail end the descent.
    This fixed order keeps the chance of a wrong claim of independence at 5% (Maurer et al. 1995). One slope
    over all widths would hide a large change among the narrow ones, a small slope over many decades.

    Parameters
    ----------
    values
        Dimensions (width, seed, step), one learning rate. NaN where a run diverged.
    generator, resamples
        Draws the bootstrap resamples, and how many of them.
    name
        Of the quantity, for the sentence.
    tolerance
        Absolute log-log slope up to which width does not matter.
    least_width
        Narrower widths do not count for the verdict.

    Returns
    -------
    WidthVerdict
        Width-independent: shown from some width on. Depends: at some step the slope is beyond the tolerance
        with its whole interval, over the widest three widths or over all that count, or the share of diverged
        runs depends on width. Undecided: neither is shown.

    Raises
    ------
    InputError
        If fewer than two finite widths count, or the tolerance is not positive.
    """
    require_positive("tolerance", tolerance, example=TOLERANCE)
    every = width_slopes(values, generator, resamples=resamples)
    table = finite_widths(values, least_width)
    broken = np.isnan(table.isel(step=-1).to_numpy())
    whole = table.isel(width=~broken.any(axis=1))
    if trend_probability(broken) < 0.05:  # wider networks diverge more often, or less
        return WidthVerdict(DEPENDS, f"{DEPENDS}: {_diverged(table, broken)}", None, every, every)
    aside = f"; {_diverged(table, broken)}" if broken.any() else ""
    if whole.sizes["width"] < 2:
        words = f"{UNDECIDED}: fewer than two widths are without diverged runs{aside}"
        return WidthVerdict(UNDECIDED, words, None, every, every)
    verdict, words, width, slopes = _judge_whole(whole, generator, tolerance, resamples)
    since = "" if width is None else f" from N = {width:g} on"
    return WidthVerdict(verdict, f"{verdict}{since}: {name} has {words}{aside}", width, every, slopes)


def largest_change(values: xr.DataArray) -> xr.DataArray:
    """Largest change of a quantity since its first record, up to each later step.

    Under a parametrization whose features stand still at large width, the sharpness tends to a limit and so
    does not depend on width; its change does.
    """
    ordered = values.transpose(..., "step")
    change = np.abs(ordered.to_numpy() - ordered.to_numpy()[..., :1])
    return ordered.copy(data=np.maximum.accumulate(change, axis=-1)).isel(step=slice(1, None))


class TrainingVerdict(NamedTuple):
    """Whether a quantity depends on width, and whether what training does to it does."""

    level: WidthVerdict
    """Of the quantity."""
    change: WidthVerdict
    """Of its largest change since the start."""

    @property
    def verdict(self) -> str:
        """Width-independent if both are; depends if either does."""
        found = {self.level.verdict, self.change.verdict}
        return next(one for one in (DEPENDS, UNDECIDED, INDEPENDENT) if one in found)

    @property
    def independent_from(self) -> float | None:
        """Width from which on both are independent of it."""
        found = (self.level.independent_from, self.change.independent_from)
        return None if found[0] is None or found[1] is None else max(found[0], found[1])

    @property
    def sentences(self) -> tuple[str, str]:
        """Both verdicts with their numbers."""
        return self.level.sentence, self.change.sentence


def judge_training(
    values: xr.DataArray,
    generator: np.random.Generator,
    *,
    name: str,
    tolerance: float = TOLERANCE,
    least_width: float = 1,
) -> TrainingVerdict:
    """Both verdicts on a quantity that is positive, such as the sharpness; arguments as for `judge_width`.

    Raises
    ------
    InputError
        As `judge_width`, and if there is no step after the first.
    """
    require_whole("number of recorded steps", values.sizes["step"], least=2, example=10)
    level = judge_width(values, generator, name=name, tolerance=tolerance, least_width=least_width)
    change = judge_width(
        largest_change(values),
        generator,
        name=f"the change of {name} since the start",
        tolerance=tolerance,
        least_width=least_width,
    )
    return TrainingVerdict(level, change)


def width_verdict(
    record: xr.Dataset,
    generator: np.random.Generator,
    *,
    quantity: str = "sharpness",
    tolerance: float = TOLERANCE,
    least_width: float = 1,
) -> list[str]:
    """For each learning rate of a record, sentences on whether a quantity and its change depend on width.

    Parameters
    ----------
    record
        The common record, with at least two finite widths and two steps.
    generator
        Draws the resamples.
    quantity
        A variable of the record.
    tolerance, least_width
        As for `judge_width`.

    Raises
    ------
    InputError
        If the record has no such quantity, or too few widths or steps.
    """
    known = [str(name) for name, part in record.data_vars.items() if "step" in part.dims]
    require_known("quantity of the record", quantity, known)
    sentences = []
    for rate in record["learning_rate"].to_numpy():
        found = judge_training(
            record[quantity].sel(learning_rate=rate),
            generator,
            name=quantity.replace("_", " "),
            tolerance=tolerance,
            least_width=least_width,
        )
        sentences += [f"eta0 = {rate:g}: {words}" for words in dict.fromkeys(found.sentences)]
    return sentences


def _judge_whole(
    whole: xr.DataArray, generator: np.random.Generator, tolerance: float, resamples: int
) -> tuple[str, str, float | None, xr.Dataset]:
    """Verdict on widths without diverged runs, why, the width it holds from, and the slopes it rests on."""
    start, failed = _descend(whole, generator, tolerance, resamples)
    wide = width_slopes(whole.isel(width=slice(start, None)), generator, resamples=resamples)
    if start is None and failed is not None:
        verdict, slopes = _without_independence(failed, wide, tolerance)
        words = f"{_words(slopes, _clearest(slopes) if verdict == DEPENDS else None)} {_range(slopes)}"
        reason = "" if verdict == DEPENDS else f"; the interval is not within ±{tolerance:g}, add seeds"
        return verdict, words + reason, None, slopes
    below = "" if failed is None else f"; not shown {_range(failed)}: {_words(failed)}"
    return INDEPENDENT, _words(wide) + below, float(wide.attrs["least_width"]), wide


def _descend(
    whole: xr.DataArray, generator: np.random.Generator, tolerance: float, resamples: int
) -> tuple[int | None, xr.Dataset | None]:
    """Index of the narrowest width from which on no local slope fails, and the slopes that failed."""
    count = min(_NEIGHBOURS, whole.sizes["width"])
    shown = None
    for start in range(whole.sizes["width"] - count, -1, -1):
        local = width_slopes(whole.isel(width=slice(start, start + count)), generator, resamples=resamples)
        within = (local["family_lower"] >= -tolerance) & (local["family_upper"] <= tolerance)
        if not bool((within & (local["widths"] == count)).all()):
            return shown, local
        shown = start
    return shown, None


def _without_independence(local: xr.Dataset, wide: xr.Dataset, tolerance: float) -> tuple[str, xr.Dataset]:
    """Verdict where independence is not shown, and the slopes that say so: over the widest, or over all."""
    for slopes in (local, wide):
        if bool(((slopes["family_lower"] > tolerance) | (slopes["family_upper"] < -tolerance)).any()):
            return DEPENDS, slopes
    return UNDECIDED, local


def _diverged(table: xr.DataArray, broken: NDArray[np.bool_]) -> str:
    """Which widths have how many diverged runs, in words."""
    parts = [
        f"{int(runs.sum())} at N = {width:g}"
        for width, runs in zip(table["width"].to_numpy(), broken, strict=True)
        if runs.any()
    ]
    shown = ", ".join(parts) if len(parts) <= 4 else f"{parts[0]}, {parts[1]}, ..., {parts[-1]}"
    whole = len(broken) - len(parts)
    return f"of {broken.shape[1]} runs a width, diverged {shown}, none at {whole} of {len(broken)} widths"


def _clearest(slopes: xr.Dataset) -> int:
    """Index of the step whose interval is farthest from zero."""
    return int(np.nanargmax(np.maximum(slopes["family_lower"].values, -slopes["family_upper"].values)))


def _words(slopes: xr.Dataset, index: int | None = None) -> str:
    """The slope at a step, by default where its interval reaches farthest."""
    reach = np.maximum(-slopes["family_lower"].to_numpy(), slopes["family_upper"].to_numpy())
    if not np.isfinite(slopes["slope"].to_numpy()).any():
        return "no positive values"
    one = slopes.isel(step=int(np.nanargmax(reach)) if index is None else index)
    values = {name: float(one[name]) for name in ("slope", "family_lower", "family_upper", "change")}
    interval = (
        f"95% {values['family_lower']:+.3f} to {values['family_upper']:+.3f}"
        if math.isfinite(values["family_lower"])
        else "too few seeds for an interval"
    )
    return (
        f"slope {values['slope']:+.3f} at step {int(one['step'])} ({interval}; "
        f"{100 * values['change']:+.3g}% for ten times the width)"
    )


def _range(slopes: xr.Dataset) -> str:
    """The widths of slopes, in words."""
    return f"from N = {slopes.attrs['least_width']:g} to {slopes.attrs['greatest_width']:g}"
