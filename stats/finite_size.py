"""Corrections of narrow networks, which die out as one over the size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .coordinates import SEED, finite_sizes, require_resampling, symbol
from .resampling import UNBOUNDED, expansion, resample_means, tails

if TYPE_CHECKING:
    import xarray as xr

    from .verdicts import Interval


class SizeCorrection(NamedTuple):
    """A fitted `y = limit (1 + coefficient / size)`."""

    limit: float
    """Value at infinite size."""
    coefficient: float
    interval: Interval
    """95% interval of the coefficient; infinite with fewer than two runs of each size."""

    def share(self, size: float) -> float:
        """The correction at a size, over the limit."""
        return self.coefficient / size


def size_correction(
    values: xr.DataArray, generator: np.random.Generator, *, over: str = "width", resamples: int = 2000
) -> SizeCorrection:
    """Least squares of the means over runs by `limit (1 + coefficient / size)`, runs resampled at each size.

    Parameters
    ----------
    values
        Dimensions (size, seed), finite everywhere; at least three sizes.
    generator
        Draws the resamples.
    over
        Name of the size axis.
    resamples
        Number of resamples.

    Raises
    ------
    InputError
        If fewer than three finite sizes are given, or a coordinate or setting makes no sense.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> widths = np.array([32.0, 64.0, 128.0])
    >>> runs = np.outer(3 * (1 + 4 / widths), np.ones(2))
    >>> table = xr.DataArray(runs, {"width": widths, "seed": [0, 1]}, ("width", "seed"))
    >>> found = size_correction(table, np.random.default_rng(0))
    >>> round(found.limit, 6), round(found.coefficient, 6)
    (3.0, 4.0)
    """
    require_resampling(generator, resamples, 0.95)
    table = finite_sizes(values, over, 0.0, fewest=3).transpose(over, SEED)
    sizes, runs = table[over].to_numpy(), table.to_numpy()
    basis = np.linalg.pinv(np.stack([np.ones_like(sizes), 1 / sizes], axis=1))
    limit, slope = basis @ runs.mean(axis=1)
    count = runs.shape[1]
    if count < 2:
        return SizeCorrection(float(limit), float(slope / limit), UNBOUNDED)
    drawn = np.stack([resample_means(row, generator, resamples) for row in runs]).T @ basis.T
    coefficient = slope / limit
    spread = drawn[:, 1] / drawn[:, 0] - coefficient
    low, high = expansion(count, len(sizes) * (count - 1)) * np.quantile(spread, tails(0.95))
    return SizeCorrection(
        float(limit), float(coefficient), (float(coefficient + low), float(coefficient + high))
    )


def correction_words(found: SizeCorrection, over: str = "width") -> str:
    """The law in words."""
    low, high = found.interval
    return (
        f"{found.limit:.3g} (1 + {found.coefficient:.3g}/{symbol(over)}), "
        f"95% {low:.2g} to {high:.2g} for the coefficient"
    )
