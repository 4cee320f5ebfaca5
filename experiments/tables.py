"""What an experiment prints beside its claims, as data: each table names its series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..records.tables import Table
from ..stats.finite_size import correction_words, size_correction
from ..stats.measured import windowed
from ..stats.measures import Mean, run_means
from ..stats.verdicts import Within
from ..stats.windows import AfterArrival, settled
from .criteria import Criterion
from .measuring import measured_values
from .panels import quantity_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from .series import Series

    Runs = Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class Tabulated(ABC):
    """A table that is made from an experiment's runs.

    Attributes
    ----------
    series
        What it shows.
    """

    series: tuple[Series, ...]

    @abstractmethod
    def table(self, runs: Runs) -> Table:
        """The table; `InputError` if the data do not fit."""

    def whole(self, runs: Runs) -> tuple[Table, ...]:
        """What a document holds in place of the table: by default the same."""
        return (self.table(runs),)


@dataclass(frozen=True)
class FiniteSize(Tabulated):
    """The quantity by width after arrival at the edge, and the fitted correction that dies out as 1/N."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where a run is missing, diverged, or never arrived."""
        (one,) = self.series
        criterion = Criterion(Mean(), AfterArrival(), Within(1.0))
        title, columns = (
            f"{one.words}: {quantity_words(one.quantity)} by width",
            ("N", "mean", "above the limit"),
        )
        measured = measured_values(one, runs, criterion)
        if isinstance(measured, str):
            return Table(f"{title}: {measured}", columns, ())
        found = windowed(measured, criterion.statistic.keep, criterion.window)
        means = run_means(found.table, found.inside).transpose("width", "seed")
        if found.open or means.sizes["width"] < 3 or not bool(np.isfinite(means).all()):
            return Table(
                f"{title}: {found.open or 'it takes three widths without diverged runs'}", columns, ()
            )
        fit = size_correction(means, np.random.default_rng(0))
        rows = tuple(
            (float(width), float(mean), f"{100 * fit.share(float(width)):+.1f}%")
            for width, mean in zip(means["width"].to_numpy(), means.mean("seed").to_numpy(), strict=True)
        )
        return Table(f"{title}: {correction_words(fit)}", columns, rows)


@dataclass(frozen=True)
class FinalByWidth(Tabulated):
    """The final values of quantities by width: mean over runs, and standard deviation."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; NaN where a run is missing or diverged."""
        rows = []
        for one in self.series:
            final = settled(one.runs(runs, keep=("width", "seed", "step"))[one.quantity])
            for width in final["width"].to_numpy():
                values = final.sel(width=width).to_numpy()
                deviation = float(values.std(ddof=1)) if values.size > 1 else float("nan")
                words = f"{one.words}: {quantity_words(one.quantity)}"
                rows.append((words, float(width), float(values.mean()), deviation))
        return Table("at the end", ("", "N", "mean", "deviation"), tuple(rows))
