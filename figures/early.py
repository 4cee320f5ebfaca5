"""Figures 24 and 26: the first steps to the edge of stability, and what does not sharpen without features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from ..neural import TrainingConfig, network
from ..records import settled, width_dependence
from ..records.statistics import power_law_fit
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


_EARLY = {
    "laptop": _Recipe((8, 16, 32, 64), 200, 20, 3),
    "paper": _Recipe((2, 8, 32, 128, 512), 200, 40, 3),
}
_EARLY_RATES = {"mup": 0.8, "ntp": 8.0}
_FEATURES = {
    "laptop": _Recipe((64, 128, 256), 256, 8, 2),
    "paper": _Recipe((64, 256, 1024, 4096, 8192), 10 * (50_000 // 128), 40, 3),
}
_FEATURE_RATES = {"mup": 0.5, "ntp": 7.0}
_TITLES = {"mup": "μP", "ntp": "NTP"}
_NEAR = 0.9
"""Part of 2/eta0 that counts as having come to the edge."""


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
    kinds = (("random features", "mup", ("first", "second")), ("μP", "mup", ()), ("NTP", "ntp", ()))
    for panel, (title, name, frozen) in zip(panels, kinds, strict=True):
        config = TrainingConfig(
            parametrization(name),
            steps=recipe.steps,
            measure_every=max(1, recipe.steps // recipe.measurements),
            evaluation_examples=256,
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
    axes.legend()
    draw_edge(axes, rate)


def _edge_numbers(sharpness: xr.DataArray, rate: float, title: str) -> dict[str, Any]:
    """Steps to nine tenths of the edge by width, NaN if never, and how they go with width."""
    widths = [float(width) for width in sharpness["width"]]
    times = [_steps_to_edge(sharpness.sel(width=width), rate) for width in widths]
    means = [float(np.mean(found)) for found in times]
    reached = [mean for mean in means if math.isfinite(mean)]
    numbers: dict[str, Any] = {
        f"{title}: steps to {_NEAR:g} of 2/eta0 by width": dict(zip(map(str, widths), means, strict=True)),
        f"{title}: widths of which all runs came there": len(reached),
    }
    if len(reached) > 1 and len(set(reached)) > 1:
        fit = power_law_fit(widths, means)
        numbers[f"{title}: exponent of these steps in width"] = fit.exponent
        numbers[f"{title}: interval of the exponent"] = fit.interval
    final = width_dependence(settled(sharpness))
    numbers[f"{title}: slope of log final sharpness on log width"] = final.slope
    numbers[f"{title}: interval of the slope"] = final.interval
    return numbers


def _steps_to_edge(runs: xr.DataArray, rate: float) -> list[float]:
    """The first measured step of each run near the edge; NaN for one that never is."""
    steps = runs["step"].to_numpy()
    near = runs.transpose("seed", "step").to_numpy() >= _NEAR * 2 / rate
    return [float(steps[np.argmax(row)]) if row.any() else math.nan for row in near]


def _early_verdict(numbers: Mapping[str, Any]) -> str:
    words = []
    for title in _TITLES.values():
        times = numbers[f"{title}: steps to {_NEAR:g} of 2/eta0 by width"].values()
        shown = ", ".join("never" if math.isnan(time) else f"{time:.0f}" for time in times)
        words.append(f"under {title} the sharpness comes to {_NEAR:g} of 2/eta0 in {shown} steps")
    mup, ntp = (
        list(numbers[f"{title}: steps to {_NEAR:g} of 2/eta0 by width"].values())
        for title in _TITLES.values()
    )
    same = all(math.isfinite(time) for time in mup) and max(mup) <= 1.5 * min(mup)
    later = math.isnan(ntp[-1]) or ntp[-1] > 1.5 * ntp[0]
    claim = "as published" if same and later else "not as published"
    return f"{'; '.join(words)} (narrow to wide): {claim}"


def _sharpening(sharpness: xr.DataArray, title: str) -> dict[str, Any]:
    """Largest sharpness of each run over its first, mean over seeds, by width."""
    runs = sharpness.transpose("width", "seed", "step").to_numpy()
    ratios = runs.max(axis=-1) / runs[..., 0]
    return {
        f"{title}: largest sharpness over the first by width": dict(
            zip([str(float(width)) for width in sharpness["width"]], ratios.mean(axis=1), strict=True)
        )
    }


def _feature_verdict(numbers: Mapping[str, Any]) -> str:
    words, ratios = [], {}
    for title in ("random features", "μP", "NTP"):
        found = numbers[f"{title}: largest sharpness over the first by width"]
        ratios[title] = list(found.values())
        words.append(f"{title} {', '.join(f'{ratio:.2f}' for ratio in found.values())}")
    still = max(ratios["random features"]) < 1.2 and min(ratios["μP"]) > 1.5
    claim = "as published" if still else "not as published"
    return (
        f"largest sharpness over the first, narrow to wide: {'; '.join(words)}; "
        f"without feature learning none sharpens: {claim}"
    )
