"""Figure 28: activations in the first steps do not depend on width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ...records.tables import Table
from ...stats.each_slope import SlopeOfEach
from ...theory import width_exponents
from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import NO_LAYER_DEPENDS, falls_as
from ..measuring import measured_values
from ..panels import Panel
from ..series import Series
from ..tables import Tabulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    Runs = Mapping[str, xr.Dataset]

_STEPS = (1, 2, 3, 4)
_HIDDEN = Series("μP", "activation")
_READOUT = _HIDDEN.pick("readout_activation")
_START = _HIDDEN.pick("readout_start_activation")
_PREDICTED = float(width_exponents("mup", "readout").activation or 0)
"""Exponent in width of the readout's outputs at the start."""


@dataclass(frozen=True)
class Activations(Panel):
    """Mean activations against width at one step: those of every hidden layer, then those of the readout.

    Attributes
    ----------
    legend
        Whether the legend of the whole figure is drawn below it.
    """

    legend: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.coordinates import draw_sizes  # noqa: PLC0415 - loads matplotlib

        hidden, readout = (
            one.runs(runs, keep=("layer", "width", "seed"))[one.quantity] for one in self.series
        )
        whole = xr.concat([hidden, readout.expand_dims(layer=["readout"])], dim="layer")
        draw_sizes(axes, whole.rename(width="size")).set_ylabel("mean |activation|")
        if self.legend:
            axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return axes


@dataclass(frozen=True)
class WidthExponents(Tabulated):
    """Exponents in width of hidden layers, of the readout, and of the readout at the start."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where a run is missing."""
        rows = []
        families: tuple[tuple[str, ...], ...] = (("layer", "step"), ("step",), ())
        for one, family in zip(self.series, families, strict=True):
            statistic = SlopeOfEach(family, "seed" if family else "initialization")
            measured = measured_values(one, runs, NO_LAYER_DEPENDS._replace(statistic=statistic))
            if isinstance(measured, str):
                continue
            for member in statistic.slopes(np.random.default_rng(0), measured):
                at = dict(zip(family, member.place, strict=True))
                rows.append((at.get("layer", "readout"), at.get("step", 0), member.slope, *member.interval))
        return Table("exponents in width", ("layer", "step", "exponent", "from", "to"), tuple(rows))


FIGURE_28 = Experiment(
    "28",
    "Coordinate check: activations against width, μP",
    "Noci et al. 2024, Figure 28",
    arms=(
        Arm(
            "μP",
            {
                "parametrization": over("mup"), "network": "convnet", "learning_rate": 0.7,
                "steps": over(*_STEPS),
            },
            "coordinates",
        ),
    ),
    scales={
        SMOKE: Setup({"width": over(2, 4, 8), "seed": over(0, 1), "examples": 16, "threads": 1}),
        LAPTOP: Setup(
            {"width": over(64, 128, 256, 512), "seed": over(*range(16)), "examples": 64, "threads": 2}
        ),
        PAPER: Setup(
            {
                "width": over(64, 128, 256, 512, 1024, 2048), "seed": over(*range(16)), "examples": 128,
                "threads": 2,
            }
        ),
    },
    claims=(
        Statement(
            "no hidden activation depends on width", NO_LAYER_DEPENDS, (_HIDDEN,), None,
            "activations do not depend on width",
        ),
        Statement("the readout starts as predicted", falls_as(_PREDICTED), (_START,)),
    ),
    panels=(
        tuple(
            Activations(
                (_HIDDEN.pick(step=step), _READOUT.pick(step=step)), f"step {step}", legend=step == _STEPS[-1]
            )
            for step in _STEPS
        ),
    ),
    tables=(WidthExponents((_HIDDEN, _READOUT, _START)),),
    row_height=2.6,
)  # fmt: skip
