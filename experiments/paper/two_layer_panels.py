"""Panels and tables of Figures 5 and 10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...records.tables import Table
from ..joining import joined_runs
from ..panels import Curves, Panel
from ..tables import Tabulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes

    Runs = Mapping[str, xr.Dataset]


@dataclass(frozen=True)
class PartsPanel(Panel):
    """The largest eigenvalue of R against that of G, an arrow a step; the series are those of G and of R.

    Attributes
    ----------
    legend
        Whether the widths are named.
    """

    legend: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.two_layer import draw_hessian_parts  # noqa: PLC0415 - loads matplotlib

        draw_hessian_parts(axes, joined_runs(self.series, runs, keep=("width", "seed")))
        axes.set_ylabel("$\\lambda_{\\max}(R)$, residual part")
        if self.legend:
            axes.legend(loc="lower left")
        return axes


@dataclass(frozen=True)
class FlooredCurves(Curves):
    """Curves down to a floor, each panel with a legend of its own.

    Attributes
    ----------
    floor, top
        Ends of the vertical axis.
    legend
        Where it is.
    """

    floor: float = 1e-6
    top: float = 1.0
    legend: Literal["best", "upper right", "lower left"] = "best"

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        super().draw(axes, runs).set_ylim(self.floor, self.top)
        axes.legend(loc=self.legend)
        return axes


@dataclass(frozen=True)
class RiseTable(Tabulated):
    """By arm and width: the largest eigenvalue of G at the first and the last step, means over seeds."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`."""
        rows = []
        for one in self.series:
            curve = one.runs(runs, keep=("width", "seed"))[one.quantity].mean("seed", skipna=False)
            for width in curve["width"].to_numpy():
                first, last = (float(curve.sel(width=width).isel(step=place)) for place in (0, -1))
                rows.append((one.arm, float(width), first, last, last / first))
        columns = ("", "N", "at the start", "at the end", "end over start")
        return Table("largest eigenvalue of the Gauss-Newton part G, means over seeds", columns, tuple(rows))
