"""Panels and tables of the approach to the edge of stability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...records.tables import Table
from ...theory import final_sharpness_mup
from ..edge_quantities import edges_of, target_of
from ..joining import joined_runs
from ..panels import Panel
from ..tables import Tabulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes

    Runs = Mapping[str, xr.Dataset]

_AXES = ("width", "learning_rate", "seed")


def against_narrowest(found: xr.Dataset) -> xr.Dataset:
    """Loss and sharpness of latent runs measured against the edge of the narrowest width."""
    from ...simulations.edge import against_the_edge  # noqa: PLC0415 - loads Numba

    edges = edges_of(found)
    return against_the_edge(found, float(edges.sel(width=edges["width"].min())))


@dataclass(frozen=True)
class Approach(Panel):
    """Sharpness over `2/eta0` against steps at one learning rate: a curve a width.

    Attributes
    ----------
    rate
        Place of the learning rate in the arm.
    top
        Upper end of the vertical axis; None fits it to the curves.
    legend
        Whether the widths are named.
    """

    rate: int = 0
    top: float | None = None
    legend: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.edge import draw_approach  # noqa: PLC0415 - loads matplotlib

        (one,) = self.series
        relative = one.runs(runs, keep=_AXES)[one.quantity]
        draw_approach(axes, relative.isel(learning_rate=self.rate))
        axes.set_ylim(0, self.top)
        axes.set_ylabel("sharpness $\\times\\ \\eta_0/2$")
        if self.legend:
            axes.legend(loc="lower right")
        return axes


@dataclass(frozen=True)
class Ends(Panel):
    """Where the sharpness ends over `2/eta0`, against the learning rate over the edge; loss and sharpness."""

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.edge import draw_final  # noqa: PLC0415 - loads matplotlib

        found = against_narrowest(joined_runs(self.series, runs, keep=_AXES))
        target = target_of(found)
        flattest = 2 * target.norm / math.sqrt(target.dimension)
        return draw_final(
            axes, found, flow_share=final_sharpness_mup(target.dimension, target.norm) / flattest
        )


@dataclass(frozen=True)
class EdgeTable(Tabulated):
    """By width and learning rate: where the sharpness ends, and when it reaches 0.9 of `2/eta0`.

    The series are the loss and the sharpness of one arm.
    """

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`."""
        from ...simulations.edge import EDGE_SHARE  # noqa: PLC0415 - loads Numba

        found = against_narrowest(joined_runs(self.series, runs, keep=_AXES))
        columns = (
            "N", "eta0 / edge", "eta0", "final sharpness x eta0/2", "converged",
            f"reach {EDGE_SHARE:g} of 2/eta0", "median step",
        )  # fmt: skip
        rows = tuple(
            _row(found.isel(width=width, learning_rate=rate))
            for width in range(found.sizes["width"])
            for rate in range(found.sizes["learning_rate"])
        )
        seeds = found.sizes["seed"]
        words = f"{self.series[0].arm}: sharpness against 2/eta0, means over {seeds} seeds"
        return Table(words, columns, rows)


def _row(one: xr.Dataset) -> tuple[object, ...]:
    """Cells of the runs at one width and learning rate."""
    if bool((one["completed"] == 0).any()):
        return (*_head(one), *("none",) * 4)
    steps = one["reached_step"].to_numpy()
    arrived = sorted(steps[steps >= 0].tolist())
    final = float(one["final_relative_sharpness"].mean(skipna=False))
    return (
        *_head(one),
        "diverged" if math.isnan(final) else final,
        f"{float(one['converged'].mean()):.0%}",
        f"{len(arrived) / steps.size:.0%}",
        arrived[len(arrived) // 2] if arrived else "never",
    )


def _head(one: xr.Dataset) -> tuple[float, ...]:
    return tuple(float(one[name]) for name in ("width", "relative_rate", "learning_rate"))
