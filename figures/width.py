"""Figures of width: the slope on it at every step, the best learning rate, the distance to the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from ..simulations import schedule
from ..simulations.deviation import DEVIATING_QUANTITIES, deviations, growth_window, time_laws, width_laws
from ..simulations.optimum import best_rates, check_width, drift_towards_limit, judge_rates, largest_rate
from ..stats.dependence import SLOPE_TOLERANCE
from ..theory import PARAMETRIZATIONS, IsotropicTarget
from .curves import width_label
from .drawing import Drawing
from .style import LINES, PAGE, PALETTE, ordered_colours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..simulations.optimum import RateDrift, WidthCheck
    from ..stats.power_laws import PowerLaw
    from .drawing import FigureSettings

_NAMES = ("mup", "ntp", "sp")
_WIDTHS = (64, 256, 1024, 4096, 16384, 65536, 10**6, 10**7, 10**8, 10**9)
_DEVIATION_WIDTHS = (64, 256, 1024, 4096, 16384)
_TARGET = IsotropicTarget(20, 1.0)
_SEEDS = {"laptop": 20, "paper": 100}
_SHOWN_STEPS = (1, 10, 30)
_WORDS = {"loss": "loss", "sharpness": "sharpness", "ntk_sharpness": "NTK eigenvalue"}


def width_check(settings: FigureSettings) -> Drawing:
    """Slope of log sharpness and of log sharpening on log width at every step, three parametrizations."""
    checks = {}
    for name in _NAMES:
        generator = np.random.default_rng(settings.seed)
        checks[name] = check_width(
            PARAMETRIZATIONS[name], _TARGET, generator, widths=_WIDTHS, seeds=_seeds(settings)
        )
        settings.on_progress(len(checks), len(_NAMES))
    numbers = {name: _check_numbers(check) for name, check in checks.items()}
    verdict = "; ".join(f"{_title(name)}: {_check_words(check)}" for name, check in checks.items())
    return Drawing(width_check_figure(checks), verdict, numbers, _configuration(settings, _WIDTHS))


def optimum(settings: FigureSettings) -> Drawing:
    """Best learning rate against width under three parametrizations."""
    found = {}
    for name in _NAMES:
        widths = _WIDTHS if name == "sp" else (*_WIDTHS, math.inf)
        found[name] = best_rates(PARAMETRIZATIONS[name], _TARGET, widths=widths, seeds=_seeds(settings))
        settings.on_progress(len(found), len(_NAMES))
    drifts = {name: judge_rates(rates, np.random.default_rng(settings.seed)) for name, rates in found.items()}
    numbers = {name: _rate_numbers(found[name], drift) for name, drift in drifts.items()}
    words = (f"{_title(name)}: {_drift_words(drift)}" for name, drift in drifts.items())
    verdict = "the best learning rate moves, for ten times the width, by " + "; ".join(words)
    return Drawing(optimum_figure(found), verdict, numbers, _configuration(settings, _WIDTHS))


def deviation(settings: FigureSettings) -> Drawing:
    """Distance to the limit of infinite width against time and width under muP (Eq. 3, Figure 3)."""
    table, seeds, steps = PARAMETRIZATIONS["mup"], _seeds(settings), 100
    rate = 0.1 * largest_rate(table, _TARGET, _DEVIATION_WIDTHS[0], seeds)
    found = deviations(
        table,
        _TARGET,
        widths=_DEVIATION_WIDTHS,
        learning_rate=rate,
        seeds=seeds,
        record_at=schedule(steps),
        on_progress=settings.on_progress,
    )
    generator = np.random.default_rng(settings.seed)
    numbers: dict[str, Any] = {}
    for name in DEVIATING_QUANTITIES:
        in_time = time_laws(found, name, generator)
        in_width = width_laws(found.sel(step=list(_SHOWN_STEPS)), name, generator)
        numbers[name] = {
            "g(t) = a t^beta, by width": {f"{at:g}": _law_numbers(law) for at, law in in_time.items()},
            "g = a N^slope, by step": {str(at): _law_numbers(law) for at, law in in_width.items()},
        }
    configuration = _configuration(settings, _DEVIATION_WIDTHS) | {
        "parametrization": "mup",
        "learning_rate": rate,
        "window of the fits in time": growth_window(found),
    }
    return Drawing(deviation_figure(found), _deviation_verdict(numbers), numbers, configuration)


def width_check_figure(checks: Mapping[str, WidthCheck], tolerance: float = SLOPE_TOLERANCE) -> Figure:
    """Slopes of the sharpness and of its change, a column each, over the widths each verdict rests on."""
    figure, panels = plt.subplots(1, 2, figsize=(PAGE, 2.5), sharex=True)
    for panel, part, words in zip(
        panels, ("level", "change"), ("sharpness", "change of sharpness since the start"), strict=True
    ):
        slopes = {name: getattr(check.training, part).wide_slopes for name, check in checks.items()}
        draw_slopes(panel, slopes, tolerance).set_title(words)
    panels[0].set_ylabel("slope of log value on log $N$")
    panels[0].legend(loc="best")
    return figure


def optimum_figure(found: Mapping[str, xr.Dataset]) -> Figure:
    """The best learning rate against width, and its distance from the limit where there is one."""
    figure, panels = plt.subplots(1, 2, figsize=(PAGE, 2.5))
    draw_best_rates(panels[0], found).legend(loc="lower left")
    near = {name: rates for name, rates in found.items() if bool(np.isinf(rates["width"]).any())}
    if near:
        draw_rate_approach(panels[1], near).legend(loc="lower left")
    else:
        panels[1].set_axis_off()
    return figure


def deviation_figure(found: xr.Dataset) -> Figure:
    """Distance to the limit against time above and against width below, a column a quantity."""
    names = [str(name) for name in found.data_vars if f"{name}_limit" in found]
    figure, panels = plt.subplots(2, len(names), figsize=(PAGE, 4.2), squeeze=False)
    # Without a limit of infinite width, the widest stands for it.
    limit = "infinite" if bool(found[names[0]].sel(limit="infinite").notnull().any()) else "widest"
    for column, name in zip(panels.T, names, strict=True):
        draw_time_laws(column[0], found, name, limit=limit).set_title(_WORDS.get(name, name))
        steps = [step for step in _SHOWN_STEPS if step in found["step"]] or [int(found["step"][-1])]
        draw_width_laws(column[1], found.sel(step=steps), name, limit=limit)
    for row in panels:
        row[0].set_ylabel("$g = |S_N - S_\\infty|$")
    panels[0, 0].legend(loc="lower left")
    return figure


def draw_slopes(axes: Axes, slopes: Mapping[str, xr.Dataset], tolerance: float) -> Axes:
    """Slope on width at each step: the interval of each step dark, the one of all steps at once light.

    Parameters
    ----------
    axes
        Drawn into and returned; between -0.1 and 0.1 its vertical axis is linear, beyond logarithmic.
    slopes
        By parametrization, as `stats.slopes.size_slopes` gives them.
    tolerance
        Half the height of the shaded band in which width does not matter.
    """
    axes.axhspan(-tolerance, tolerance, color="0.88", lw=0, label=f"within ±{tolerance:g}")
    axes.axhline(0, color="0.35", lw=0.8)
    for name, colour in zip(slopes, PALETTE, strict=False):
        one = slopes[name]
        steps = one["step"].to_numpy()
        for low, high, alpha in (("family_lower", "family_upper", 0.2), ("lower", "upper", 0.35)):
            bottom, top = (one[end].where(np.isfinite(one[end])).to_numpy() for end in (low, high))
            axes.fill_between(steps, bottom, top, color=colour, alpha=alpha, lw=0)
        label = f"{_title(name)}, {_powers(one.attrs['least_size'])} to {_powers(one.attrs['greatest_size'])}"
        axes.plot(steps, one["slope"], color=colour, marker="o", ms=2, label=label)
    axes.set_yscale("symlog", linthresh=0.1, linscale=1.5)
    axes.set_yticks([-1, -0.1, -0.05, 0, 0.05, 0.1, 1], ["−1", "−0.1", "−0.05", "0", "0.05", "0.1", "1"])
    axes.minorticks_off()
    axes.set_xlabel("step")
    return axes


def draw_best_rates(axes: Axes, found: Mapping[str, xr.Dataset]) -> Axes:
    """Best learning rate against width: mean with two deviations over seeds, and the fitted power.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    found
        By parametrization, as `simulations.best_rates` gives them; infinite width is a grey line.
    """
    for name, colour, style in zip(found, PALETTE, LINES, strict=False):
        rates = found[name]
        finite = rates.isel(width=np.isfinite(rates["width"].to_numpy())).sortby("width")
        widths, logs = finite["width"].to_numpy(), np.log(finite["best_rate"].to_numpy())
        centre, reach = logs.mean(axis=1), 2 * logs.std(axis=1)
        middle = np.exp(centre)
        ends = [middle - np.exp(centre - reach), np.exp(centre + reach) - middle]
        axes.errorbar(widths, middle, ends, color=colour, ls="", marker="o", ms=2.5, lw=0.8, capsize=1.5)
        usable = np.isfinite(centre)
        slope, height = np.polyfit(np.log(widths[usable]), centre[usable], 1)
        label = f"{_title(name)}: $\\eta_0^* \\propto N^{{{slope:+.3f}}}$"
        axes.plot(widths, np.exp(height) * widths**slope, color=colour, ls=style, lw=0.9, label=label)
        for limit in rates["best_rate"].sel(width=np.isinf(rates["width"])).to_numpy():
            axes.axhline(limit.mean(), color="0.6", lw=0.6, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="width $N$", ylabel="best learning rate $\\eta_0^*$")
    return axes


def draw_rate_approach(axes: Axes, found: Mapping[str, xr.Dataset]) -> Axes:
    """Distance of the best learning rate from that of infinite width: mean over seeds, and fitted power.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    found
        By parametrization, as `simulations.best_rates` gives them, infinite width among the widths.
    """
    for name, colour, style in zip(found, PALETTE, LINES, strict=False):
        rates = found[name]
        logs = np.log(rates["best_rate"].to_numpy())
        infinite = np.isinf(rates["width"].to_numpy())
        distance = np.abs(logs[~infinite] - logs[infinite].mean()).mean(axis=1)
        widths = rates["width"].to_numpy()[~infinite]
        axes.plot(widths, distance, color=colour, ls="", marker="o", ms=2.5)
        law = drift_towards_limit(rates, np.random.default_rng(0))
        if law is not None:
            label = f"{_title(name)}: $N^{{{law.exponent:.2f}}}$"
            axes.plot(widths, law.at(widths), color=colour, ls=style, lw=0.9, label=label)
    axes.set(xscale="log", yscale="log", xlabel="width $N$")
    axes.set_ylabel("$|\\log \\eta_0^*(N) - \\log \\eta_0^*(\\infty)|$")
    return axes


def draw_time_laws(axes: Axes, found: xr.Dataset, name: str, *, limit: str = "infinite") -> Axes:
    """Mean distance to the limit against step, a colour a width, with the fitted power dashed.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    found
        As `simulations.deviations` gives them.
    name, limit
        The quantity, and what stands for the limit.
    """
    laws = time_laws(found, name, np.random.default_rng(0), limit=limit)
    steps = found["step"].to_numpy()
    inside = steps >= 1
    first, last = growth_window(found)
    for colour, (width, law) in zip(ordered_colours(len(laws)), laws.items(), strict=True):
        curve = found[name].sel(limit=limit, width=width).mean("seed", skipna=False).to_numpy()
        axes.plot(steps[inside], curve[inside], color=colour, label=width_label(width))
        if law is not None:
            window = steps[(steps >= first) & (steps <= last)]
            axes.plot(window, law.at(window), color="black", ls="--", lw=0.7)
    axes.set(xscale="log", yscale="log", xlabel="step $t$")
    return axes


def draw_width_laws(axes: Axes, found: xr.Dataset, name: str, *, limit: str = "infinite") -> Axes:
    """Mean distance to the limit against width, a colour a step, with the fitted power dashed.

    Parameters
    ----------
    axes
        Drawn into and returned; both axes become logarithmic.
    found
        As `simulations.deviations` gives them, at the steps to draw.
    name, limit
        The quantity, and what stands for the limit.
    """
    laws = width_laws(found, name, np.random.default_rng(0), limit=limit)
    widths = found["width"].to_numpy()
    for colour, (step, law) in zip(PALETTE, laws.items(), strict=False):
        means = found[name].sel(limit=limit, step=step).mean("seed", skipna=False).to_numpy()
        words = f"$t = {step}$" if law is None else f"$t = {step}$: $N^{{{law.exponent:.2f}}}$"
        axes.plot(widths, means, color=colour, ls="", marker="o", ms=3, label=words)
        if law is not None:
            axes.plot(widths, law.at(widths), color=colour, ls="--", lw=0.7)
    axes.set(xscale="log", yscale="log", xlabel="width $N$")
    low, high = axes.get_ylim()
    axes.set_ylim(low / (high / low) ** 0.45, high)
    axes.legend(loc="lower left")
    return axes


def _title(name: str) -> str:
    return PARAMETRIZATIONS[name].title


def _powers(width: float) -> str:
    """A width, short."""
    power = round(math.log10(width))
    return f"$10^{{{power}}}$" if power >= 5 and width == 10**power else f"{width:g}"


def _seeds(settings: FigureSettings) -> tuple[int, ...]:
    return tuple(range(settings.seed, settings.seed + _SEEDS[settings.scale]))


def _configuration(settings: FigureSettings, widths: Sequence[int]) -> dict[str, Any]:
    seeds = _seeds(settings)
    return {
        "dimension": _TARGET.dimension,
        "target_norm": _TARGET.norm,
        "widths": widths,
        "seeds": [seeds[0], seeds[-1]],
    }


def _check_numbers(check: WidthCheck) -> dict[str, Any]:
    training = check.training
    return {
        "learning rate": check.learning_rate,
        "verdict": training.verdict,
        "independent from": training.independent_from,
        "sharpness": training.level.sentence,
        "change of sharpness": training.change.sentence,
        "best learning rate": check.drift.sentence,
    }


def _check_words(check: WidthCheck) -> str:
    training = check.training
    if training.independent_from is not None:
        return f"{training.verdict} from N = {training.independent_from:g} on, sharpness and its change"
    found = training.change if training.level.independent_from is not None else training.level
    return found.sentence


def _rate_numbers(rates: xr.Dataset, fit: RateDrift) -> dict[str, Any]:
    return {
        "best learning rate by width": {
            f"{width:g}": float(rates["best_rate"].sel(width=width).mean())
            for width in rates["width"].to_numpy()
        },
        "drift": fit.drift.sentence,
        "distance to the limit": None if fit.approach is None else fit.approach._asdict(),
        "runs at the end of the grid": int(rates["at_edge"].sum()),
        "runs with several minima": int((rates["minima"] > 1).sum()),
    }


def _drift_words(fit: RateDrift) -> str:
    one = fit.drift.slopes.isel(step=0)
    low, high = (math.expm1(math.log(10) * float(one[name])) for name in ("lower", "upper"))
    return f"{float(one['change']):+.1%} (95% {low:+.1%} to {high:+.1%})"


def _law_numbers(law: PowerLaw | None) -> dict[str, Any] | None:
    return None if law is None else law._asdict()


def _deviation_verdict(numbers: dict[str, Any]) -> str:
    """Exponents in width at the last step drawn, and in time at the widest."""
    words = []
    for name, found in numbers.items():
        in_width = found["g = a N^slope, by step"][str(_SHOWN_STEPS[-1])]
        in_time = found["g(t) = a t^beta, by width"][str(_DEVIATION_WIDTHS[-1])]
        low, high = in_width["interval"]
        words.append(
            f"{_WORDS[name]} as N^{in_width['exponent']:.2f} (95% {low:.2f} to {high:.2f}), and before the "
            f"loss has halved, at N = {_DEVIATION_WIDTHS[-1]}, as t^{in_time['exponent']:.2f} "
            f"(R^2 {in_time['r_squared']:.2f})"
        )
    return f"under μP the distance to the limit goes, at step {_SHOWN_STEPS[-1]}: " + "; ".join(words)
