"""How finite sizes near the limit of infinite size: exponents in size, and in time while the loss halves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .coordinates import SEED, STEP, checked_table, symbol
from .estimates import Estimate, interval_words, undetermined
from .measured import THROUGHOUT, OverSizes, undiverged_sizes, windowed
from .power_laws import no_law, power_law_fit
from .windows import Steps, common_steps

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from .measured import Measured
    from .power_laws import PowerLaw
    from .windows import Window

    Floats = NDArray[np.float64]


def halving_window(loss: xr.DataArray, over: str = "width") -> Steps:
    """Steps in which distances to the limit may grow: from 1 until the limit's loss has halved, 3 at least.

    Later the distances end with the training that makes them, and follow no power of time. Where the loss
    does not halve it is every step from 1 on.

    Parameters
    ----------
    loss
        Dimensions (size, seed, step); the mean at the largest size stands for the limit.
    over
        Name of the size axis.
    """
    table = checked_table(loss, (over, SEED, STEP))
    curve = table.isel({over: -1}).mean(SEED, skipna=False).to_numpy()
    steps = table[STEP].to_numpy()
    halved = steps[curve <= 0.5 * curve[0]]
    last = int(steps[-1])
    return Steps(1, max(1, min(last, max(int(halved[0]), 3) if halved.size else last)))


@dataclass(frozen=True)
class ExponentInSize(OverSizes):
    """Exponent in size of the mean over runs at some steps, by intervals that hold for all of them at once.

    Attributes
    ----------
    steps
        Those of these steps that were recorded, or the last one where none was. Without any, the first two
        steps of the window, those at a tenth and a third of it, and its last.

    Notes
    -----
    Steps without a law, such as those at which all values are below rounding, are left out. The statistic is
    open where the share of diverged runs depends on the size.
    """

    steps: tuple[int, ...] = ()

    def laws(
        self,
        generator: np.random.Generator,
        measured: Measured,
        window: Window = THROUGHOUT,
        level: float = 0.95,
    ) -> dict[int, PowerLaw]:
        """The law at each step, ascending; `open` where there is none."""
        runs = windowed(measured, self.keep, window)
        table = runs.table.isel({STEP: np.flatnonzero(common_steps(runs.inside).to_numpy())})
        chosen = table.isel({STEP: self._places(table[STEP].to_numpy())}).transpose(STEP, SEED, self.over)
        sizes = table[self.over].to_numpy()
        found = {}
        for step, columns in zip(chosen[STEP].to_numpy(), chosen.to_numpy(), strict=True):
            try:
                law = power_law_fit(
                    sizes, columns, generator=generator, paired=False, resamples=self.resamples, level=level
                )
            except InputError:
                law = no_law(f"fewer than two {self.over}s with values above rounding")
            found[int(step)] = law
        return found

    def _places(self, recorded: Floats) -> list[int]:
        """Indices of the steps to fit among those recorded."""
        last = len(recorded) - 1
        if last < 0:
            return []
        if self.steps:
            return np.flatnonzero(np.isin(recorded, self.steps)).tolist() or [last]
        return sorted({0, min(1, last), last // 10, last // 3, last})

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The median of the exponents, the range of their intervals, and the interval of each step."""
        (one,) = measured
        runs = windowed(one, self.keep, window)
        if runs.open:
            return undetermined(runs.open)
        _, left_out, reason = undiverged_sizes(runs.table, one.diverged_step, self.over)
        if reason:
            return undetermined(reason)
        level = 1 - 0.05 / len(self._places(runs.table[STEP].to_numpy()))
        every = self.laws(generator, one, window, level)
        laws = {step: law for step, law in every.items() if math.isfinite(law.exponent)}
        if not laws:
            return undetermined(f"at no step have two {self.over}s values above rounding")
        family = tuple(law.range for law in laws.values())
        value = float(np.median([law.exponent for law in laws.values()]))
        interval = min(low for low, _ in family), max(high for _, high in family)
        listed = ", ".join(
            f"{law.exponent:+.2f} ({interval_words(law.range, '+.2f')}) at step {step}"
            for step, law in laws.items()
        )
        words = f"exponent in {self.over} {listed}" + (f"; {left_out}" if left_out else "")
        return Estimate(value, interval, "1", words, family)


@dataclass(frozen=True)
class ApproachToLimit(OverSizes):
    """Exponent in size of the mean distance of the log of a quantity from its log at infinite size.

    Attributes
    ----------
    over
        Name of the size axis, with the infinite size on it; the mean over runs there is the limit.

    Notes
    -----
    The exponent is -1/2 where every network fluctuates about the limit. Sizes with a run without a value do
    not enter.
    """

    @property
    def keep(self) -> tuple[str, ...]:
        """Axes that the values must have."""
        return self.over, SEED

    def law(self, generator: np.random.Generator, measured: Measured) -> PowerLaw:
        """The law of the distance; `open` where there is none."""
        table = checked_table(measured.values, self.keep)
        sizes, values = table[self.over].to_numpy(), table.to_numpy()
        infinite = np.isinf(sizes)
        if not infinite.any():
            return no_law(f"there is no infinite {self.over}")
        logs = np.log(np.where(values > 0, values, np.nan))
        distances = np.abs(logs[~infinite] - np.log(values[infinite].mean()))
        try:
            return power_law_fit(
                sizes[~infinite], distances.T, generator=generator, paired=False, resamples=self.resamples
            )
        except InputError:
            return no_law(f"fewer than two {self.over}s have a value in every run")

    def __call__(
        self, generator: np.random.Generator, *measured: Measured, window: Window = THROUGHOUT
    ) -> Estimate:
        """The exponent with its interval."""
        del window
        (one,) = measured
        law = self.law(generator, one)
        if law.open:
            return undetermined(law.open)
        words = f"the distance of the log from the limit goes as {symbol(self.over)}^{law}"
        return Estimate(law.exponent, law.range, "1", words)
