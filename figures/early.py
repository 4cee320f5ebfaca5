"""Figures 24 and 26: the first steps to the edge of stability, and what does not sharpen without features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from ..neural import TrainingConfig, network
from ..stats.power_laws import power_law_fit, settled, width_dependence
from ..stats.verdicts import REFUTED, SHOWN, UNDECIDED, above, all_of, below, within
from ..theory import parametrization
from .curves import draw_curves, draw_edge
from .drawing import Drawing
from .style import PAGE
from .training import Workshop

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from .drawing import FigureSettings


class _Recipe(NamedTuple):
    """A figure at one scale."""

    widths: tuple[int, ...]
    steps: int
    measurements: int
    seeds: int
    examples: int
    """Of the Hessian."""


_EARLY = {
    "laptop": _Recipe((8, 16, 32, 64), 200, 50, 4, 128),
    "paper": _Recipe((2, 8, 32, 128, 512), 200, 100, 3, 1024),
}
_EARLY_RATES = {"mup": 0.8, "ntp": 8.0}
_FEATURES = {
    "laptop": _Recipe((64, 128, 256), 256, 8, 2, 128),
    "paper": _Recipe((64, 256, 1024, 4096, 8192), 20 * (50_000 // 128), 40, 3, 1024),
}
_FEATURE_RATES = {"mup": 0.5, "ntp": 7.0}
_TITLES = {"mup": "μP", "ntp": "NTP"}
_RANDOM = "random features"
_NEAR = 0.9
"""Part of 2/eta0 that counts as having come to the edge."""
_TIME = f"steps to {_NEAR:g} of 2/eta0"
_AS_FAST = 0.25
"""Exponent in width within which the time to the edge counts as the same: 19% a doubling."""
_NOTHING, _SHARPENED = 1.1, 1.5
"""Largest sharpness over the first below which nothing has sharpened, and above which it has."""


def figure_24(settings: FigureSettings) -> Drawing:
    """The first steps: loss, sharpness, and sharpness against width, muP above NTP (Figure 24)."""
    recipe = _EARLY[settings.scale]
    work = Workshop(settings, (1.0, 1.0))
    figure, panels = plt.subplots(2, 3, figsize=(PAGE, 4.0))
    numbers: dict[str, Any] = {}
    for row, (name, rate) in zip(panels, _EARLY_RATES.items(), strict=True):
        config = TrainingConfig(
            parametrization(name),
            architecture=network("convnet"),
            steps=recipe.steps,
            measure_every=max(1, recipe.steps // recipe.measurements),
            evaluation_examples=512,
            hessian_examples=recipe.examples,
            tolerance=1e-2,
        )
        record = work.train(config, recipe.widths, (rate,), recipe.seeds)
        draw_curves(row[0], record["loss"], log=False, band=True).set_ylabel("loss")
        draw_edge(draw_curves(row[1], record["sharpness"], band=True), rate).set_ylabel("sharpness")
        _draw_against_width(row[2], record["sharpness"].isel(learning_rate=0), rate)
        for panel, words in zip(row, ("loss", "sharpness", "sharpness, at steps"), strict=True):
            panel.set_title(f"{_TITLES[name]}: {words}")
        numbers |= _edge_numbers(record["sharpness"].isel(learning_rate=0), rate, _TITLES[name])
    panels[0, 0].legend()
    configuration = work.provenance(**recipe._asdict(), learning_rates=_EARLY_RATES, network="convnet")
    return Drawing(figure, f"{work.data.name}: {_early_verdict(numbers)}", numbers, configuration)


def figure_26(settings: FigureSettings) -> Drawing:
    """Sharpness over time with random features, under muP and under NTP (Figure 26)."""
    recipe = _FEATURES[settings.scale]
    work = Workshop(settings, (1.0, 1.0, 1.0))
    figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.4))
    numbers: dict[str, Any] = {}
    kinds = ((_RANDOM, "mup", ("first", "second")), ("μP", "mup", ()), ("NTP", "ntp", ()))
    for panel, (title, name, frozen) in zip(panels, kinds, strict=True):
        config = TrainingConfig(
            parametrization(name),
            steps=recipe.steps,
            measure_every=max(1, recipe.steps // recipe.measurements),
            evaluation_examples=256,
            hessian_examples=recipe.examples,
            frozen=frozen,
        )
        rate = _FEATURE_RATES[name]
        record = work.train(config, recipe.widths, (rate,), recipe.seeds)
        draw_edge(draw_curves(panel, record["sharpness"], band=True), rate).set_title(title)
        numbers |= _sharpening(record["sharpness"].isel(learning_rate=0), title)
    panels[0].set_ylabel("sharpness")
    panels[0].legend()
    configuration = work.provenance(**recipe._asdict(), learning_rates=_FEATURE_RATES)
    return Drawing(figure, f"{work.data.name}: {_feature_verdict(numbers)}", numbers, configuration)


def _draw_against_width(axes: Any, sharpness: xr.DataArray, rate: float) -> None:
    """Mean over seeds against width, at a few steps."""
    steps = sharpness["step"].to_numpy()
    for index in np.unique(np.linspace(0, len(steps) - 1, 5).round().astype(int)):
        at = sharpness.isel(step=int(index)).mean("seed")
        axes.plot(at["width"], at, marker="o", ms=2.5, label=f"step {steps[index]}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("width N")
    axes.axhline(2 / rate, color="0.35", lw=0.8, ls="--", label="$2/\\eta_0$")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _edge_numbers(sharpness: xr.DataArray, rate: float, title: str) -> dict[str, Any]:
    """Steps to nine tenths of the edge by width, NaN if some run never is there, and their exponent."""
    widths = [float(width) for width in sharpness["width"]]
    times = np.array([_steps_to_edge(sharpness.sel(width=width), rate) for width in widths])
    diverged = sharpness.isnull().any("step").transpose("width", "seed").to_numpy() & np.isnan(times)
    means = times.mean(axis=1)
    there = np.isfinite(means) & (means > 0)
    late = np.isnan(times) & ~diverged
    numbers: dict[str, Any] = {
        f"{title}: {_TIME} by width": dict(zip(map(str, widths), means.tolist(), strict=True))
    }
    if late.any():
        numbers[f"{title}: part of the runs that never are there by width"] = late.mean(axis=1).tolist()
    if diverged.any():
        numbers[f"{title}: runs that diverged before by width"] = diverged.sum(axis=1).tolist()
    exponent, interval = math.nan, (-math.inf, math.inf)
    if there.sum() > 1:
        fit = power_law_fit(
            np.array(widths)[there], times[there].T, generator=np.random.default_rng(0), paired=False
        )
        exponent, interval = fit.exponent, fit.interval
    numbers[f"{title}: exponent of these steps in width"] = exponent
    numbers[f"{title}: interval of the exponent"] = interval
    final = width_dependence(settled(sharpness))
    numbers[f"{title}: slope of log final sharpness on log width"] = final.slope
    numbers[f"{title}: interval of the slope"] = final.fair_interval
    return numbers


def _steps_to_edge(runs: xr.DataArray, rate: float) -> list[float]:
    """The first measured step of each run near the edge; NaN for one that never is."""
    steps = runs["step"].to_numpy()
    near = runs.transpose("seed", "step").to_numpy() >= _NEAR * 2 / rate
    return [float(steps[np.argmax(row)]) if row.any() else math.nan for row in near]


def _early_verdict(numbers: Mapping[str, Any]) -> str:
    words = []
    for title in _TITLES.values():
        times = numbers[f"{title}: {_TIME} by width"].values()
        shown = ", ".join("never" if math.isnan(time) else f"{time:.0f}" for time in times)
        low, high = numbers[f"{title}: interval of the exponent"]
        exponent = numbers[f"{title}: exponent of these steps in width"]
        reach = f", as width^{exponent:.2f} (95% {low:.2f} to {high:.2f})" if math.isfinite(low) else ""
        words.append(f"under {title} the sharpness comes to {_NEAR:g} of 2/eta0 in {shown} steps{reach}")
    return (
        f"{'; '.join(words)} (narrow to wide); as fast at every width under μP, later and later under NTP: "
        f"{score_early(numbers)}"
    )


def score_early(numbers: Mapping[str, Any]) -> str:
    """Figure 24's claim, from the steps to the edge and the interval of their exponent in width.

    Widths with a run that is not there in time do not enter the exponent: where none of their runs is, that
    speaks for itself, unless the other widths say the contrary.
    """
    fast = within(numbers["μP: interval of the exponent"], _AS_FAST)
    later = above(numbers["NTP: interval of the exponent"], 0.0)
    (mup, mup_diverged), (ntp, ntp_diverged) = (
        (
            numbers.get(f"{title}: part of the runs that never are there by width", []),
            bool(numbers.get(f"{title}: runs that diverged before by width")),
        )
        for title in _TITLES.values()
    )
    if any(mup):
        fast = REFUTED if any(part == 1 for part in mup) and not all(part == 1 for part in mup) else UNDECIDED
    if ntp and ntp[0] == 0 and ntp[-1] == 1:
        later = UNDECIDED if later == REFUTED else SHOWN
    return all_of((UNDECIDED if mup_diverged else fast, UNDECIDED if ntp_diverged else later))


def _sharpening(sharpness: xr.DataArray, title: str) -> dict[str, Any]:
    """Largest sharpness of each run over its first: mean over seeds by width, extremes, slope on width."""
    ratios = sharpness.max("step", skipna=False) / sharpness.isel(step=0)  # NaN where a run diverged
    dependence = width_dependence(ratios)
    return {
        f"{title}: largest sharpness over the first by width": dependence.means,
        f"{title}: least and greatest over all runs": (float(ratios.min()), float(ratios.max())),
        f"{title}: slope on width": dependence.slope,
        f"{title}: interval of the slope": dependence.fair_interval,
    }


def _feature_verdict(numbers: Mapping[str, Any]) -> str:
    words = []
    for title in (_RANDOM, *_TITLES.values()):
        found = numbers[f"{title}: largest sharpness over the first by width"]
        words.append(f"{title} {', '.join(f'{ratio:.2f}' for ratio in found)}")
    low, high = numbers["NTP: interval of the slope"]
    slope = numbers["NTP: slope on width"]
    return (
        f"largest sharpness over the first, narrow to wide: {'; '.join(words)} (under NTP as "
        f"width^{slope:.2f}, 95% {low:.2f} to {high:.2f}); none without feature learning, at every width "
        f"under μP, less and less under NTP: {score_features(numbers)}"
    )


def score_features(numbers: Mapping[str, Any]) -> str:
    """Figure 26's claim, from the extremes over runs and the interval of NTP's slope."""
    random, mup = (numbers[f"{title}: least and greatest over all runs"] for title in (_RANDOM, "μP"))
    still = SHOWN if random[1] < _NOTHING else REFUTED if random[0] >= _NOTHING else UNDECIDED
    sharpens = SHOWN if mup[0] > _SHARPENED else REFUTED if mup[1] <= _SHARPENED else UNDECIDED
    return all_of((still, sharpens, below(numbers["NTP: interval of the slope"], 0.0)))
