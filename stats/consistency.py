"""Super-consistency of a measured quantity over width or depth.

Its slope at every step, and its distance to the widest networks in time (Eq. 3), with a verdict in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import InputError, invalid, require_known, require_whole
from .power_laws import PowerLaw, power_law_fit
from .slopes import width_slopes
from .width import WidthVerdict, judge_width

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

SIZES = {"width": "N", "depth": "L"}
"""What a quantity may be consistent over, and its symbol."""

TOLERANCE = 0.05
"""Log-log slope that counts as none for trained networks: 12% for a factor ten."""


class Consistency(NamedTuple):
    """How a quantity depends on the size of networks along training."""

    over: str
    """`width` or `depth`."""
    slopes: xr.Dataset
    """At each step, over all sizes, as of `width_slopes`."""
    judged: WidthVerdict
    """On all recorded steps together."""
    distances: xr.DataArray
    """Of the runs at each size but the largest to the mean at the largest; (size, seed, step)."""
    growth: dict[float, PowerLaw | None]
    """Power law in time of the mean distance, by size; None where it has no two points."""

    @property
    def verdict(self) -> str:
        """What was found, of `stats.width.VERDICTS`."""
        return self.judged.verdict

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        laws = [
            f"{SIZES[self.over]} = {size:g}: {law}" for size, law in self.growth.items() if law is not None
        ]
        grown = (
            f"; distance to the largest goes as a power of time, exponents {', '.join(laws)}" if laws else ""
        )
        return _of(self.over, self.judged.sentence) + grown


def consistency(
    values: xr.DataArray,
    generator: np.random.Generator,
    *,
    name: str = "the quantity",
    over: str = "width",
    tolerance: float = TOLERANCE,
    resamples: int = 2000,
) -> Consistency:
    """Whether a quantity takes the same course at every width, or depth.

    Parameters
    ----------
    values
        Dimensions (width, seed, step), or depth in place of width; positive, NaN where a run diverged
        (`records.results.whole_sizes` leaves out runs that are missing).
    generator, resamples
        Draws the resamples of seeds, and how many of them.
    name
        Of the quantity, for the sentence.
    over
        `width` or `depth`.
    tolerance
        Absolute log-log slope up to which the size does not matter.

    Returns
    -------
    Consistency
        Undecided where there are too few seeds to say.

    Raises
    ------
    InputError
        If fewer than two sizes or steps have values, or there are further dimensions.
    """
    require_known("size", over, SIZES)
    if set(values.dims) != {over, "seed", "step"}:
        raise invalid(
            "dimensions", tuple(map(str, values.dims)), accepted=f"{over}, seed and step",
            remedy="select one value of the others",
        )  # fmt: skip
    table = values
    if over != "width":
        table = values.drop_vars("width", errors="ignore").rename({over: "width"})
    require_whole("number of recorded steps", table.sizes["step"], least=2, example=10)
    judged = judge_width(table, generator, name=name, tolerance=tolerance, resamples=resamples)
    distances = distance_to_largest(values, over)
    return Consistency(
        over,
        width_slopes(table, generator, resamples=resamples),
        judged,
        distances,
        growth(distances, generator, over, resamples=resamples),
    )


def distance_to_largest(values: xr.DataArray, over: str = "width") -> xr.DataArray:
    """`g(t) = |S_N(t) - S_inf(t)|` of every run, the mean at the largest size standing for the limit (Eq. 3).

    Dimensions (width or depth, seed, step), the largest size left out.
    """
    table = values.sortby(over).transpose(over, "seed", "step")
    limit = table.isel({over: -1}, drop=True).mean("seed", skipna=False)
    return abs(table.isel({over: slice(None, -1)}) - limit)


def growth(
    distances: xr.DataArray, generator: np.random.Generator, over: str = "width", *, resamples: int = 2000
) -> dict[float, PowerLaw | None]:
    """Power law `a t^beta` in time of the mean distance at each size, from the first step on.

    Intervals are from resampled seeds; None where a run diverged, or fewer than two steps
    have a distance above zero.
    """
    later = distances.isel(step=distances["step"].to_numpy() > 0).transpose(over, "seed", "step")
    steps = later["step"].to_numpy()
    found: dict[float, PowerLaw | None] = {}
    for size, runs in zip(later[over].to_numpy(), later.to_numpy(), strict=True):
        found[float(size)] = _law(steps, runs, generator, resamples) if np.isfinite(runs).all() else None
    return found


def _law(
    steps: NDArray[np.int64], runs: NDArray[np.float64], generator: np.random.Generator, resamples: int
) -> PowerLaw | None:
    try:
        return power_law_fit(steps, runs, generator=generator, resamples=resamples)
    except InputError:
        return None


def _of(over: str, sentence: str) -> str:
    """A sentence on width said of another size."""
    if over == "width":
        return sentence
    return sentence.replace("N = ", f"{SIZES[over]} = ").replace("width", over)
