"""Panels and tables of deviation: power laws of the distance to the limit, in time and in width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...records.tables import Table
from ...stats.limits import ExponentInSize, halving_window
from ...stats.over_time import growth
from ..criteria import DIES_OUT
from ..measuring import measured_values
from ..panels import Panel
from ..series import recorded
from ..tables import Tabulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes

    from ...stats.power_laws import PowerLaw
    from ...stats.windows import Steps
    from ..series import Series

    Runs = Mapping[str, xr.Dataset]

KEEP = ("width", "seed", "step")
_SHOWN = (1, 10, 30)
"""Steps at which the figure shows distances against width."""


class FittedDistances(NamedTuple):
    """Distances with the laws of each width, or of each step."""

    values: xr.DataArray
    """Dimensions (width, seed, step)."""
    by: Mapping[Any, PowerLaw]
    window: Steps | None = None


def time_laws(series: Series, runs: Runs, window: Steps | None) -> FittedDistances:
    """Laws in time at each width; by default until the limit's loss has halved."""
    values = series.runs(runs, keep=KEEP)[series.quantity].transpose(*KEEP).load()
    chosen = _window(series, runs, window)
    laws = growth(values, np.random.default_rng(0), window=chosen, span=1, points=2)
    return FittedDistances(values, laws, chosen)


def _window(series: Series, runs: Runs, window: Steps | None) -> Steps:
    """Steps of the fits in time."""
    return window or halving_window(series.pick("loss").runs(runs, keep=KEEP)["loss"])


def width_laws(series: Series, runs: Runs, steps: tuple[int, ...] = ()) -> FittedDistances:
    """Laws in width at some steps, by default five."""
    values = series.runs(runs, keep=KEEP)[series.quantity].transpose(*KEEP).load()
    found = measured_values(series, runs, DIES_OUT)
    if isinstance(found, str):
        return FittedDistances(values, {})
    return FittedDistances(values, ExponentInSize(steps).laws(np.random.default_rng(0), found))


@dataclass(frozen=True)
class DistanceInTime(Panel):
    """Mean distance to the limit against time, a colour a width, with the fitted power of each.

    Attributes
    ----------
    window
        Steps of the fits; None is until the limit's loss has halved.
    first
        Whether it is the first of its row, which has the label of the vertical axis and the key.
    """

    window: Steps | None = None
    first: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.width import draw_time_laws  # noqa: PLC0415 - loads matplotlib

        found = time_laws(self.series[0], runs, self.window)
        draw_time_laws(axes, found.values, found.by, found.window)
        if self.first:
            axes.set_ylabel("$g = |S_N - S_\\infty|$")
            axes.legend(loc="lower left")
        return axes


@dataclass(frozen=True)
class DistanceInWidth(Panel):
    """Mean distance to the limit against width, a colour a step, with the fitted power of each.

    Attributes
    ----------
    first
        Whether it is the first of its row, which has the label of the vertical axis.
    """

    first: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.width import draw_width_laws  # noqa: PLC0415 - loads matplotlib

        found = width_laws(self.series[0], runs, _SHOWN)
        draw_width_laws(axes, found.values, found.by)
        if self.first:
            axes.set_ylabel("$g = |S_N - S_\\infty|$")
        return axes


def _head(series: Series) -> tuple[str, str]:
    """The quantity that a distance is of, and what stands for the limit: infinite width, or the widest."""
    (quantity,) = recorded(series.quantity)
    return quantity, "widest" if series.quantity.startswith("proxy") else "infinite"


def _interval(law: PowerLaw, sign: int) -> str:
    low, high = law.interval if sign > 0 else (-law.interval[1], -law.interval[0])
    return f"{low:.3f} to {high:.3f}" if np.isfinite(low) else "too few seeds"


def _rows(series: Series, laws: Mapping[Any, PowerLaw], sign: int = 1) -> list[tuple[Any, ...]]:
    """The laws that there are; exponents are told times the sign."""
    return [
        (
            *_head(series), f"{place:g}", f"{law.amplitude:.3g}", f"{sign * law.exponent:.3f}",
            _interval(law, sign), f"{law.r_squared:.3f}",
        )
        for place, law in laws.items()
        if np.isfinite(law.exponent)
    ]  # fmt: skip


def _all_digits(series: Series, laws: Mapping[Any, PowerLaw]) -> list[tuple[Any, ...]]:
    """Every field of every law."""
    return [
        (
            *_head(series), float(place), law.amplitude, law.exponent, *law.interval, law.r_squared,
            law.points, law.log_amplitude, *law.ends, law.bent, law.open,
        )
        for place, law in laws.items()
    ]  # fmt: skip


_FIELDS = (
    "amplitude", "exponent", "lower", "upper", "R^2", "points", "log amplitude", "exponent at first",
    "exponent at last", "bent", "open",
)  # fmt: skip


@dataclass(frozen=True)
class LawsInTime(Tabulated):
    """The fits in time, by width.

    Attributes
    ----------
    window
        Steps of the fits; None is until the limit's loss has halved.
    """

    window: Steps | None = None

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where there is no law."""
        rows = [row for one in self.series for row in _rows(one, time_laws(one, runs, self.window).by)]
        columns = ("quantity", "limit", "N", "a", "beta", "interval", "R^2")
        return Table(f"{self._title(runs)}; 95% intervals", columns, tuple(rows))

    def whole(self, runs: Runs) -> tuple[Table, ...]:
        """The same laws with all digits."""
        rows = [row for one in self.series for row in _all_digits(one, time_laws(one, runs, self.window).by)]
        return (Table(self._title(runs), ("quantity", "limit", "N", *_FIELDS), tuple(rows)),)

    def _title(self, runs: Runs) -> str:
        window = _window(self.series[0], runs, self.window)
        return f"distance to the limit, g = a t^beta over steps {window.first:g} to {window.last:g}"


@dataclass(frozen=True)
class LawsInWidth(Tabulated):
    """The fits in width, by step; a document has the mean distances too."""

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where there is no law."""
        rows = [row for one in self.series for row in _rows(one, width_laws(one, runs).by, -1)]
        columns = ("quantity", "limit", "step", "a", "alpha", "interval", "R^2")
        return Table("distance to the limit, g = a N^-alpha; 95% intervals", columns, tuple(rows))

    def whole(self, runs: Runs) -> tuple[Table, ...]:
        """The same laws with all digits, and the mean distances of every width at every step."""
        rows, means = [], []
        for one in self.series:
            found = width_laws(one, runs)
            rows += _all_digits(one, found.by)
            mean = found.values.mean("seed", skipna=False)
            for width, curve in zip(mean["width"].to_numpy().tolist(), mean.to_numpy().tolist(), strict=True):
                steps = mean["step"].to_numpy().tolist()
                means += [(*_head(one), width, step, value) for step, value in zip(steps, curve, strict=True)]
        return (
            Table("distance to the limit, g = a N^b", ("quantity", "limit", "step", *_FIELDS), tuple(rows)),
            Table("mean distance to the limit", ("quantity", "limit", "N", "step", "g"), tuple(means)),
        )
