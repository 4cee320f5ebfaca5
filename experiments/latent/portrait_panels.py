"""Panel and table of a phase portrait."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...records.tables import Table
from ...theory import PlanarMap, PlanarState
from ..panels import Panel
from ..tables import Tabulated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from ..series import Series

    Runs = Mapping[str, xr.Dataset]

_LONGEST_DRAWN = 16
"""Longest period whose points are ringed."""


def _of_target(series: Series, runs: Runs) -> xr.Dataset | None:
    """The dataset of an arm with one target; None where it is missing.

    Raises
    ------
    InputError
        If the arm has several targets.
    """
    checked = series.runs(runs, keep=("width", "seed"))
    return runs[series.arm].isel(dimension=0, target_norm=0) if int(checked["completed"]) == 1 else None


@dataclass(frozen=True)
class Portrait(Panel):
    """The map's field, minimizers and edge, with the orbits of the limit and of finite networks.

    Attributes
    ----------
    basins
        Whether starts are coloured by what they come to.
    ellipse
        Whether the ellipse that no orbit crosses is drawn.
    legend
        Where the legend of all portraits of the figure is, for the last of them; empty for the others.
    """

    basins: bool = True
    ellipse: bool = False
    legend: str = ""

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`; empty where the run is missing."""
        from ...figures.portrait import draw_ellipse, draw_portrait  # noqa: PLC0415 - loads matplotlib
        from ...simulations.planes import plane_of  # noqa: PLC0415 - loads Numba

        found = _of_target(self.series[0], runs)
        if found is None:
            return axes
        settings = json.loads(found.attrs["configuration"])
        planar, plane = _map(found), plane_of(settings["plane"])
        draw_portrait(axes, planar, settings["view"], plane=plane, basins=self.basins)
        if self.ellipse:
            draw_ellipse(axes, planar, plane=plane)
        _draw_orbits(axes, found, planar, settings["plane"])
        if self.legend:
            _draw_legend(axes.figure, settings["plane"], self.legend)
        return axes


def _map(found: xr.Dataset) -> PlanarMap:
    return PlanarMap(int(found["dimension"]), float(found["target_norm"]), float(found["learning_rate"]))


def _draw_orbits(axes: Axes, found: xr.Dataset, planar: PlanarMap, name: str) -> None:
    """The first network of every width, the limit, and the points of its cycle."""
    from ...figures.curves import width_label  # noqa: PLC0415 - loads matplotlib
    from ...figures.portrait import draw_cycle, draw_orbit  # noqa: PLC0415
    from ...figures.style import PALETTE, ordered_colours  # noqa: PLC0415
    from ...simulations.planes import plane_of  # noqa: PLC0415

    plane, first = plane_of(name), found.isel(seed=0)
    widths = first["width"].to_numpy()[:-1]
    two = (PALETTE[1], PALETTE[6])
    colours: Sequence[Any] = two if len(widths) == len(two) else ordered_colours(len(widths))
    for colour, width in zip(colours, widths, strict=False):
        run = first.sel(width=width)
        points = plane.measured(planar, *(run[quantity].to_numpy() for quantity in plane.quantities))
        draw_orbit(axes, points, colour, width_label(width), marker=".")
    limit = first.isel(width=-1)
    states = PlanarState(limit["alignment"].to_numpy(), limit["second_layer"].to_numpy())
    draw_orbit(axes, plane.place(planar, states), PALETTE[0], width_label(math.inf))
    period = int(found["period"])
    if 1 < period <= _LONGEST_DRAWN:
        parts = (found[f"cycle_{part}"].to_numpy()[:period] for part in ("alignment", "second_layer"))
        draw_cycle(axes, plane.place(planar, PlanarState(*parts)))


def _draw_legend(figure: Figure | SubFigure, plane: str, place: Any) -> None:
    """One legend for all portraits: the runs, then the portrait's parts, then the basins that occur."""
    from ...figures.portrait import legend_handles  # noqa: PLC0415 - loads matplotlib

    panels = [panel for panel in figure.axes if panel.lines]
    handles = panels[0].get_legend_handles_labels()[0] + legend_handles(panels, plane=plane)
    below = place.startswith("outside lower")
    figure.legend(handles=handles, loc=place, ncols=5 if below else 1, columnspacing=1.2)


@dataclass(frozen=True)
class PlaneNumbers(Tabulated):
    """Where the limit and the first network of every width end, and shares of the starts in view."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where a run is missing."""
        columns = {}
        for one in self.series:
            found = _of_target(one, runs)
            columns[one.arm] = {} if found is None else _numbers(found)
        names = list(dict.fromkeys(name for numbers in columns.values() for name in numbers))
        rows = tuple((name, *(numbers.get(name, "") for numbers in columns.values())) for name in names)
        return Table("the limit from initialisation, and starts in view", ("quantity", *columns), rows)


def _numbers(found: xr.Dataset) -> dict[str, Any]:
    """Everything that is told about one portrait."""
    final = found.isel(seed=0, step=-1)
    losses = dict(zip(found["width"].to_numpy(), final["loss"].to_numpy(), strict=True))
    limit = losses.pop(math.inf)
    numbers: dict[str, Any] = {f"N = {width:g}: final loss": float(loss) for width, loss in losses.items()}
    numbers |= {name: float(found[name]) for name in ("learning_rate", "mu", "edge", "divergence")}
    numbers |= {
        "place": _place(found),
        "final sharpness times eta0/2": float(final["limit_sharpness"] * found["learning_rate"] / 2),
        "final loss": float(limit),
        "period": int(found["period"]),
        "comes to": _fate(found),
    }
    numbers |= {
        f"share of starts: {name}": float(share)
        for name, share in zip(found["outcome"].to_numpy(), found["share"].to_numpy(), strict=True)
    }
    for name in ("bounded_inside", "diverging_outside"):
        if np.isfinite(found[name]):
            side = name.split("_")[1]
            numbers[f"{name.split('_')[0]} share {side} the ellipse"] = float(found[name])
    return numbers


def _place(found: xr.Dataset) -> str:
    """Where the learning rate is, in words."""
    rate, edge, divergence = (float(found[name]) for name in ("learning_rate", "edge", "divergence"))
    # the start of a small target diverges below the edge already
    if rate > divergence:
        return f"past divergence at {divergence:.4g}"
    if rate < edge:
        return f"below the edge at {edge:.4g}"
    return f"beyond the edge at {edge:.4g} and below divergence at {divergence:.4g}"


def _fate(found: xr.Dataset) -> str:
    """What the orbit from initialisation comes to, in words."""
    from ...simulations.attractors import LONGEST_PERIOD  # noqa: PLC0415 - loads Numba
    from ...simulations.basins import OrbitFate  # noqa: PLC0415

    fate, steps, period = (int(found[name]) for name in ("fate", "fate_steps", "period"))
    if fate == OrbitFate.MINIMIZER:
        ratio = float(found["fate_sharpness"])
        return f"reaches a minimizer of sharpness {ratio:.3f} times 2/eta0 in {steps} steps"
    if fate == OrbitFate.UNSTABLE_ACROSS:
        return "comes to a minimizer that is unstable across the target, which finite networks leave"
    if fate == OrbitFate.DIVERGED:
        return f"diverges at step {steps}"
    if period:
        return f"settles on period {period}"
    return f"stays bounded and keeps to no period up to {LONGEST_PERIOD}"
