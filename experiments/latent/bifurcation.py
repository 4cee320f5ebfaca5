"""Attractors and Lyapunov exponents of the infinite-width map over the learning rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ...records.tables import Table
from ...stats.onset import landmarks
from ...theory import PlanarMap
from ..base import LAPTOP, PAPER, SMOKE, Arm, Experiment, Setup, Statement, over
from ..criteria import CHAOS_LATER, begins
from ..panels import Panel
from ..series import Series
from ..tables import Tabulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    Runs = Mapping[str, xr.Dataset]

_ARM = "the infinite-width limit"
_PERIOD = Series(_ARM, "period")
_DIAGRAM = tuple(
    _PERIOD.pick(name)
    for name in (
        "learning_rate", "sharpness", "period", "diverged_step",
        "lyapunov", "lyapunov_error", "lyapunov_second", "lyapunov_second_error",
    )
)  # fmt: skip
"""What a diagram is made of."""

_ROWS = 16
"""Learning rates that the table shows."""

_COLUMNS = (
    "eta0", "over the edge", "period", "largest exponent", "second exponent", "diverged at step",
)  # fmt: skip
_PERIODS = {0: "none up to 64", -1: "diverged"}


def _diagram(series: tuple[Series, ...], runs: Runs) -> xr.Dataset:
    """The diagram of one target."""
    return xr.Dataset(
        {one.quantity: one.runs(runs, keep=("factor", "sample"))[one.quantity] for one in series}
    )


def _is_missing(runs: Runs) -> bool:
    return bool((runs[_ARM]["completed"] == 0).any())


class _OfTarget(Panel):
    """A panel over learning rates, with the predicted bifurcations of the diagram's target."""

    def marked(self, axes: Axes, diagram: xr.Dataset, *, labels: bool) -> Axes:
        """The axes, with limits and marks."""
        from ...figures.bifurcation import mark_bifurcations  # noqa: PLC0415 - loads matplotlib

        mu = diagram["factor"].to_numpy()
        margin = 0.02 * float(np.ptp(mu))
        axes.set_xlim(float(mu.min()) - margin, float(mu.max()) + margin)
        planar = PlanarMap(int(diagram["dimension"]), float(diagram["target_norm"]), 1.0)
        return mark_bifurcations(axes, planar, labels=labels)


@dataclass(frozen=True)
class Attractor(_OfTarget):
    """The sharpness on the attractor, against the learning rate."""

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.bifurcation import draw_attractor  # noqa: PLC0415 - loads matplotlib

        diagram = _diagram(self.series, runs)
        return self.marked(draw_attractor(axes, diagram), diagram, labels=True)


@dataclass(frozen=True)
class LyapunovCurves(_OfTarget):
    """Both Lyapunov exponents, against the learning rate."""

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.bifurcation import draw_exponents  # noqa: PLC0415 - loads matplotlib

        diagram = _diagram(self.series, runs)
        axes.set_xlabel(r"$\mu = \eta_0 |w^*|/\sqrt{D}$, learning rate over the edge")
        return self.marked(draw_exponents(axes, diagram), diagram, labels=False)


@dataclass(frozen=True)
class Periods(Tabulated):
    """Period, exponents and divergence at some of the learning rates; at all of them in a document."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where the run is missing."""
        (every,) = self.whole(runs)
        chosen = np.unique(np.linspace(0, max(len(every.rows) - 1, 0), _ROWS).round().astype(int))
        return replace(every, rows=tuple(every.rows[k] for k in chosen if every.rows))

    def whole(self, runs: Runs) -> tuple[Table, ...]:
        """See `Tabulated`."""
        diagram = _diagram(self.series, runs)
        columns = {
            str(name): diagram[name].to_numpy() for name in (*diagram, "factor") if name != "sharpness"
        }
        count = 0 if _is_missing(runs) else diagram.sizes["factor"]
        rows = tuple(_row({name: values[k] for name, values in columns.items()}) for k in range(count))
        return (Table("attractor of the infinite-width limit from initialisation", _COLUMNS, rows),)


def _row(at: Mapping[str, Any]) -> tuple[Any, ...]:
    """One learning rate as a row of a table."""
    period, step = int(at["period"]), int(at["diverged_step"])
    exponents = (
        "" if step >= 0 else f"{at[name]:.4f} ± {at[name + '_error']:.4f}"
        for name in ("lyapunov", "lyapunov_second")
    )
    return (
        float(at["learning_rate"]), float(at["factor"]), _PERIODS.get(period, period), *exponents,
        "" if step < 0 else step,
    )  # fmt: skip


@dataclass(frozen=True)
class FirstMet(Tabulated):
    """Where things first happen, in learning rates over the edge."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where the run is missing."""
        found = {} if _is_missing(runs) else landmarks(_diagram(self.series, runs))
        rows = tuple((name, "not met" if np.isnan(value) else value) for name, value in found.items())
        return Table("in learning rates over the edge", ("landmark", "value"), rows)


BIFURCATION = Experiment(
    "bifurcation",
    "Attractors and Lyapunov exponents over the learning rate",
    "beyond the paper",
    arms=(Arm(_ARM, {"dimension": over(20), "target_norm": over(3.0)}, "bifurcation"),),
    scales={
        SMOKE: Setup({"low": 0.5, "high": 2.0, "points": 16, "settle": 2000, "average": 1024}),
        LAPTOP: Setup({"low": 0.5, "high": 2.0, "points": 1500}),
        PAPER: Setup({"low": 0.5, "high": 2.0, "points": 6000}),
    },
    claims=(
        Statement(
            "period two begins at the edge", begins(2.0), (_PERIOD, _PERIOD.pick("first_doubling"))
        ),
        Statement(
            "period two doubles where it is predicted to", begins(4.0),
            (_PERIOD, _PERIOD.pick("second_doubling")),
        ),
        Statement(
            "chaos begins beyond the second doubling", CHAOS_LATER,
            (_PERIOD.pick("chaotic"), _PERIOD.pick("second_doubling")),
        ),
        Statement(
            "the start diverges where it is predicted to", begins(-1.0),
            (_PERIOD, _PERIOD.pick("divergence")),
        ),
    ),
    panels=(
        (Attractor(_DIAGRAM, "attractor from initialisation"),),
        (LyapunovCurves(_DIAGRAM, "Lyapunov exponents"),),
    ),
    tables=(Periods(_DIAGRAM), FirstMet(_DIAGRAM)),
)  # fmt: skip
