"""Panels and tables of width-check and optimum: slopes on width, and best learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...records.tables import Table
from ...stats.independence import IndependenceOfSize
from ...stats.limits import ApproachToLimit
from ...stats.power_laws import no_law
from ..criteria import NEARS_AS_THE_ROOT, Criterion
from ..measuring import measured_values
from ..panels import Panel, quantity_words
from ..tables import Tabulated

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes

    from ...stats.dependence import SizeVerdict
    from ...stats.power_laws import PowerLaw
    from ..series import Series

    Runs = Mapping[str, xr.Dataset]

OF_RATES = ", best rate"
"""End of the name of an arm that holds a parametrization's best learning rates."""


def size_verdict(series: Series, criterion: Criterion, runs: Runs) -> SizeVerdict | None:
    """The verdict of a criterion whose statistic is `IndependenceOfSize`; None where runs are missing."""
    found = measured_values(series, runs, criterion)
    if isinstance(found, str) or not isinstance(criterion.statistic, IndependenceOfSize):
        return None
    return criterion.statistic.verdict(np.random.default_rng(0), found, criterion.window)


def _verdicts(
    series: tuple[Series, ...], criteria: tuple[Criterion, ...], runs: Runs
) -> list[tuple[Series, SizeVerdict]]:
    """The verdicts that there are."""
    found = [
        (one, size_verdict(one, criterion, runs)) for one, criterion in zip(series, criteria, strict=True)
    ]
    return [(one, verdict) for one, verdict in found if verdict is not None]


def approach(series: Series, runs: Runs) -> PowerLaw:
    """How the quantity nears that of infinite width; open where runs, or that width, are missing."""
    found = measured_values(series, runs, NEARS_AS_THE_ROOT)
    if isinstance(found, str):
        return no_law(found)
    return ApproachToLimit().law(np.random.default_rng(0), found)


def _title(series: Series) -> str:
    """The parametrization that an arm is of."""
    return series.arm.removesuffix(OF_RATES)


@dataclass(frozen=True)
class Slopes(Panel):
    """Slopes on width at every step, a colour a series, over the widths that each verdict rests on.

    Attributes
    ----------
    criteria
        How each series is scored, in the order of the series.
    first
        Whether it is the first of its row, which has the label of the vertical axis and the key.
    """

    criteria: tuple[Criterion, ...] = ()
    first: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.width import draw_slopes  # noqa: PLC0415 - loads matplotlib

        found = _verdicts(self.series, self.criteria, runs)
        slopes = {_title(one): verdict.wide_slopes for one, verdict in found}
        statistic = self.criteria[0].statistic
        draw_slopes(axes, slopes, getattr(statistic, "tolerance", 0.0))
        if self.first:
            axes.set_ylabel("slope of log value on log $N$")
            axes.legend(loc="best")
        return axes


@dataclass(frozen=True)
class BestRates(Panel):
    """Best learning rates against width, a colour a series, with the fitted power of each."""

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.width import draw_best_rates  # noqa: PLC0415 - loads matplotlib

        return _with_key(draw_best_rates(axes, _by_title(self.series, runs)))


@dataclass(frozen=True)
class RateApproach(Panel):
    """Distance of the best learning rates from those of infinite width, with the fitted power of each."""

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ...figures.width import draw_rate_approach  # noqa: PLC0415 - loads matplotlib

        laws = {_title(one): approach(one.pick("best_rate_inside"), runs) for one in self.series}
        return _with_key(draw_rate_approach(axes, _by_title(self.series, runs), laws))


def _with_key(axes: Axes) -> Axes:
    """The axes with a legend, if something has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left")
    return axes


def _by_title(series: tuple[Series, ...], runs: Runs) -> dict[str, xr.DataArray]:
    return {_title(one): one.runs(runs, keep=("width", "seed"))[one.quantity] for one in series}


_STEP_COLUMNS = ("", "eta0", "step", "all widths", "from N =", "these widths", "ten times the width")
_WHOLE_COLUMNS = (
    "parametrization", "quantity", "widths", "from N", "to N", "step", "slope", "lower", "upper",
    "family lower", "family upper", "ten times the width", "widths that entered",
)  # fmt: skip


@dataclass(frozen=True)
class StepSlopes(Tabulated):
    """Slope of log sharpness on log width at some steps, over all widths and over the wide ones.

    A document has the slopes of every series at every step.

    Attributes
    ----------
    criteria
        How each series is scored, in the order of the series.
    """

    criteria: tuple[Criterion, ...] = ()

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where a run is missing."""
        rows = []
        for one, verdict in _verdicts(self.series, self.criteria, runs):
            if one.quantity != "sharpness":
                continue
            rate = float(runs[one.arm]["learning_rate"].to_numpy()[0])
            count = verdict.slopes.sizes["step"]
            for index in sorted({0, min(1, count - 1), count // 4, count - 1}):
                every, wide = verdict.slopes.isel(step=index), verdict.wide_slopes.isel(step=index)
                rows.append((
                    _title(one), f"{rate:.3g}", int(every["step"]), _slope(every),
                    f"{verdict.wide_slopes.attrs['least_size']:g}", _slope(wide), _change(wide),
                ))  # fmt: skip
        title = "slope of log sharpness on log width; 95% interval of each step"
        return Table(title, _STEP_COLUMNS, tuple(rows))

    def whole(self, runs: Runs) -> tuple[Table, ...]:
        """Slopes of every series at every step."""
        rows = [
            row
            for one, verdict in _verdicts(self.series, self.criteria, runs)
            for row in _slope_rows(one, verdict)
        ]
        return (Table("slopes of logs on log width, with 95% intervals", _WHOLE_COLUMNS, tuple(rows)),)


def _slope_rows(series: Series, verdict: SizeVerdict) -> list[tuple[object, ...]]:
    """Slopes over all widths, and over those that the verdict rests on, at every step."""
    names = ("slope", "lower", "upper", "family_lower", "family_upper", "change", "sizes")
    rows: list[tuple[object, ...]] = []
    for words, slopes in (("all", verdict.slopes), ("of the verdict", verdict.wide_slopes)):
        ends = (slopes.attrs["least_size"], slopes.attrs["greatest_size"])
        steps = slopes["step"].to_numpy().tolist() if "step" in slopes.coords else [math.nan]
        values = zip(*(slopes[name].to_numpy().tolist() for name in names), strict=True)
        head = (_title(series), quantity_words(series.quantity), words, *ends)
        rows += [(*head, step, *found) for step, found in zip(steps, values, strict=True)]
    return rows


@dataclass(frozen=True)
class RatesByWidth(Tabulated):
    """The best learning rate by width: mean over networks, deviation, and caveats.

    A document has the best rate of every network too.
    """

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`."""
        rows = []
        for one in self.series:
            rates = _rates(one, runs)
            for width in rates["width"].to_numpy():
                found = rates.sel(width=width)
                best = found["best_rate"].to_numpy()
                mean, reference = float(best.mean()), float(found["reference"])
                rows.append((
                    _title(one), float(width), mean, f"{best.std():.2g}", f"{mean / reference:.3f}",
                    f"{int((found['at_edge'] == 1).sum())} of {best.size}",
                    f"{int((found['minima'] > 1).sum())} of {best.size}",
                ))  # fmt: skip
        columns = (
            "", "N", "best eta0", "deviation", "over the edge", "at the grid's end", "several minima",
        )  # fmt: skip
        return Table("best learning rate", columns, tuple(rows))

    def whole(self, runs: Runs) -> tuple[Table, ...]:
        """By width, and of every network."""
        names = ("best_rate", "best_loss", "at_edge", "minima")
        rows = []
        for one in self.series:
            rates = _rates(one, runs)
            values = np.stack([rates[name].transpose("width", "seed").to_numpy() for name in names], axis=-1)
            for width, networks in zip(rates["width"].to_numpy().tolist(), values.tolist(), strict=True):
                seeds = rates["seed"].to_numpy().tolist()
                rows += [
                    (_title(one), width, seed, *found) for seed, found in zip(seeds, networks, strict=True)
                ]
        columns = ("parametrization", "N", "seed", *(quantity_words(name) for name in names))
        return self.table(runs), Table("best learning rate of every network", columns, tuple(rows))


def _rates(series: Series, runs: Runs) -> xr.Dataset:
    """All that was found about best rates, by width and seed."""
    found = runs[series.arm]
    return found.isel({name: 0 for name in found.dims if name not in {"width", "seed"}}).load()


@dataclass(frozen=True)
class RateDrifts(Tabulated):
    """The drift of the best learning rate with width, and its approach to the limit.

    Attributes
    ----------
    criteria
        How each series is scored, in the order of the series.
    """

    criteria: tuple[Criterion, ...] = ()

    def table(self, runs: Runs) -> Table:
        """See `Tabulated`; without rows where a run is missing."""
        rows = []
        for one, verdict in _verdicts(self.series, self.criteria, runs):
            every, law = verdict.slopes.isel(step=0), approach(one, runs)
            near = f"N^{law}" if math.isfinite(law.exponent) else law.open
            rows.append((_title(one), _change(every), _slope(every), near))
        columns = ("", "ten times the width", "slope over all widths", "distance to the limit")
        return Table("drift of the best learning rate with width", columns, tuple(rows))

    def whole(self, runs: Runs) -> tuple[Table, ...]:
        """Slopes over all widths and over those of the verdict, and the laws of the distance to the limit."""
        rows, laws = [], []
        for one, verdict in _verdicts(self.series, self.criteria, runs):
            rows += _slope_rows(one, verdict)
            law = approach(one, runs)
            fields = (law.amplitude, law.exponent, *law.interval, law.r_squared, law.points, law.open)
            laws.append((_title(one), *fields))
        columns = ("parametrization", "amplitude", "exponent", "lower", "upper", "R^2", "points", "open")
        return (
            Table("slopes of logs on log width, with 95% intervals", _WHOLE_COLUMNS, tuple(rows)),
            Table("distance of the log of the best rate from the limit", columns, tuple(laws)),
        )


def _slope(one: xr.Dataset) -> str:
    slope, low, high = (float(one[name]) for name in ("slope", "lower", "upper"))
    return "none" if math.isnan(slope) else f"{slope:+.4f} ({low:+.4f} to {high:+.4f})"


def _change(one: xr.Dataset) -> str:
    change = float(one["change"])
    return "none" if math.isnan(change) else f"{change:+.2%}"
