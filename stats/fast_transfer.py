"""Whether carrying a learning rate from small networks costs less and less beside what size itself gains.

Source: Ghosh, Wu and Bietti 2025 (arXiv 2512.22768), who call transfer fast, and then useful, where it does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .coordinates import require_size_name
from .curves import LossCurves
from .estimates import Estimate, interval_words, undetermined
from .power_laws import PowerLaw, power_law_fit
from .transfer import checked_losses

if TYPE_CHECKING:
    import xarray as xr

    from .resolution import Floor

_LEAST = 3
"""Finite sizes below the reference that a comparison of exponents needs."""


class FastTransfer(NamedTuple):
    """How two losses beyond that of the reference, the largest network, fall with size."""

    reference: float
    """The size that stands for the limit; infinite where there is that; NaN where its optimum is unknown."""
    sizes: tuple[float, ...]
    """The smaller ones, ascending, whose best rates lie within the grid."""
    gaps: tuple[float, ...]
    """What the size itself costs: least loss of each size over that of the reference, less one."""
    excesses: tuple[float, ...]
    """What its learning rate costs the reference: its loss there over its least, less one."""
    gap: PowerLaw | None
    """Power law of the gaps in size; None where there are too few positive ones."""
    excess: PowerLaw | None
    """Power law of the excesses."""
    estimate: Estimate
    """Exponent of the excess less that of the gap, Student's 95% over the sizes: transfer is fast below 0."""


def fast_transfer(losses: xr.DataArray, *, over: str = "width", floor: Floor = None) -> FastTransfer:
    """Compare what a carried learning rate costs with what size gains.

    Near a finite reference both costs vanish, that of the rate as the square, so that transfer looks faster
    than it is: the interval is then unbounded above, and can refute fast transfer but not show it.

    Parameters
    ----------
    losses
        As for `transfer_verdict`; an infinite size is the reference where there is one.
    over, floor
        As for `transfer_verdict`.

    Raises
    ------
    InputError
        As `transfer_verdict`.
    """
    require_size_name(over)
    curves = LossCurves(checked_losses(losses, over, infinite=True), floor)
    count = len(curves.sizes)
    if count < 2 or not curves.inside[-1]:
        nothing = undetermined("the best rate of the largest size does not lie within the grid")
        return FastTransfer(math.nan, (), (), (), None, None, nothing)
    smaller = [index for index in range(count - 1) if curves.inside[index]]
    sizes = tuple(float(curves.sizes[index]) for index in smaller)
    least = curves.loss_at(-1, curves.places[-1])
    gaps = tuple(float(np.expm1(curves.loss_at(at, curves.places[at]) - least)) for at in smaller)
    excesses = tuple(curves.excess(index) for index in smaller)
    reference = float(curves.sizes[-1])
    estimate = _compared(sizes, gaps, excesses, reference, over)
    return FastTransfer(reference, sizes, gaps, excesses, _law(sizes, gaps), _law(sizes, excesses), estimate)


def _compared(
    sizes: tuple[float, ...],
    gaps: tuple[float, ...],
    excesses: tuple[float, ...],
    reference: float,
    over: str,
) -> Estimate:
    """Exponent of the excess over the gap."""
    both = [
        (size, excess / gap)
        for size, gap, excess in zip(sizes, gaps, excesses, strict=True)
        if gap > 0 and excess > 0
    ]
    if len(both) < _LEAST:
        return undetermined(
            f"{len(both)} {over}s below the largest have both a gap and an excess, fewer than {_LEAST}"
        )
    law = power_law_fit(*zip(*both, strict=True))
    low, high = law.range
    interval = (low, high if math.isinf(reference) else math.inf)
    words = (
        f"excess over gap goes as {over}^{law.exponent:+.2f} ({interval_words(interval, '+.2f')}), against "
        f"{over} {reference:g}"
    )
    return Estimate(law.exponent, interval, "1", words)


def _law(sizes: tuple[float, ...], values: tuple[float, ...]) -> PowerLaw | None:
    positive = [(size, value) for size, value in zip(sizes, values, strict=True) if value > 0]
    return power_law_fit(*zip(*positive, strict=True)) if len(positive) > 1 else None
