"""Panels and tables of the deviations over starts, predicted and sampled."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...records.tables import Table
from ...stats.coverage import covered
from ..joining import joined_runs
from ..panels import Panel
from ..tables import Tabulated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from matplotlib.axes import Axes

    Runs = Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class _Bars(Panel):
    """One quantity's deviations, whose parts are the series.

    Attributes
    ----------
    shown
        Widths that share the colours, as far as they are there; all of them where none is.
    count
        How many of them are drawn, from the narrowest on; None is all.
    legend
        Whether the panel names its curves.
    """

    shown: tuple[float, ...] = ()
    count: int | None = None
    legend: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        bars = joined_runs(self.series, runs, keep=("width",))
        bars = bars.assign(limit=bars["limit"].isel(width=0))  # the same at every width
        known = bars["width"].to_numpy().tolist()
        among = [width for width in self.shown if width in known] or known
        return self.draw_bars(axes, bars.sel(width=among[: self.count]), among)

    @abstractmethod
    def draw_bars(self, axes: Axes, bars: xr.Dataset, among: Sequence[float]) -> Axes:
        """Draw the deviations of some widths, whose colours are those among others."""


@dataclass(frozen=True)
class Bands(_Bars):
    """The curve of infinite width in its predicted bands, and sampled means with their deviations."""

    def draw_bars(self, axes: Axes, bars: xr.Dataset, among: Sequence[float]) -> Axes:
        """See `_Bars`."""
        from ...figures.fluctuations import draw_bands  # noqa: PLC0415 - loads matplotlib

        draw_bands(axes, bars, among).set_ylabel("mean $\\pm$ 2 deviations")
        if self.legend:
            axes.legend(loc="lower right")
        return axes


@dataclass(frozen=True)
class Deviations(_Bars):
    """Deviations over starts against steps: predicted as lines, sampled with their intervals."""

    def draw_bars(self, axes: Axes, bars: xr.Dataset, among: Sequence[float]) -> Axes:
        """See `_Bars`."""
        from ...figures.fluctuations import draw_deviations, name_deviations  # noqa: PLC0415

        draw_deviations(axes, bars, among).set_ylabel("deviation over starts")
        return name_deviations(axes) if self.legend else axes


@dataclass(frozen=True)
class Ratio(_Bars):
    """Sampled over predicted deviation against width, a colour a step.

    Attributes
    ----------
    steps
        Those to show, as far as they are recorded.
    """

    steps: tuple[int, ...] = ()

    def draw_bars(self, axes: Axes, bars: xr.Dataset, among: Sequence[float]) -> Axes:
        """See `_Bars`."""
        from ...figures.fluctuations import draw_ratio, name_ratio  # noqa: PLC0415 - loads matplotlib

        del among
        recorded = bars["step"].to_numpy().tolist()
        draw_ratio(axes, bars.sel(step=[step for step in self.steps if step in recorded]))
        axes.set_ylabel("sampled / predicted")
        return name_ratio(axes) if self.legend else axes


@dataclass(frozen=True)
class CoverageTable(Tabulated):
    """By quantity and width: predicted and sampled deviation at the last step where first order holds."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`."""
        bars = joined_runs(self.series, runs, keep=("width", "quantity"))
        columns = (
            "quantity", "N", "step", "predicted", "sampled", "95% interval", "cells covered", "cells",
            "median of sampled / predicted",
        )  # fmt: skip
        rows = tuple(
            _row(bars.sel(quantity=name, width=width))
            for name in bars["quantity"].to_numpy()
            for width in bars["width"].to_numpy()
        )
        return Table(
            "standard deviation over starts, at the last step where first order holds", columns, rows
        )


def _row(one: xr.Dataset) -> tuple[object, ...]:
    """Cells of one quantity at one width."""
    head = (str(one["quantity"].item()), float(one["width"]))
    inside = covered(one)
    kept = one.isel(step=inside.notnull().to_numpy())
    if not kept.sizes["step"]:
        return (*head, *("none",) * 5, 0, "none")
    last = kept.isel(step=-1)
    return (
        *head,
        int(last["step"]),
        float(last["predicted"]),
        float(last["sampled"]),
        f"{float(last['lower']):.4g} to {float(last['upper']):.4g}",
        f"{float(inside.mean()):.0%}",
        kept.sizes["step"],
        float((kept["sampled"] / kept["predicted"]).median()),
    )
