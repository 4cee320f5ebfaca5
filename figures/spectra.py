"""Figures 2 and 3: eigenvalues of Hessian and tangent kernel over time, and their distance to the limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from ..neural import TrainingConfig, network
from ..records import logarithmic_schedule
from ..stats.power_laws import power_law_fit, settled, width_dependence
from ..stats.verdicts import above, all_of, below, outside, within
from ..theory import parametrization
from .curves import draw_edge, width_label
from .drawing import Drawing
from .style import LINES, PAGE, ordered_colours
from .training import Workshop

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from .drawing import FigureSettings


class _Recipe(NamedTuple):
    """A figure at one scale; widths are numbers of filters, a quarter of those on the paper's axes."""

    widths: tuple[int, ...]
    steps: int
    measurements: int
    seeds: int
    examples: int
    """Of the Hessian and the kernel."""


_RATE = 0.7
_EPOCH = 50_000 // 128
_SPECTRA = {
    "laptop": _Recipe((8, 16, 32, 64), 384, 8, 2, 64),
    "paper": _Recipe((8, 16, 32, 64, 128, 256, 512, 1024), 10 * _EPOCH, 40, 3, 1024),
}
_DISTANCES = {
    "laptop": _Recipe((8, 16, 32, 128), 384, 10, 4, 64),
    "paper": _Recipe((8, 32, 128, 1024), 10 * _EPOCH, 40, 3, 1024),
}
_SHOWN = (1, 4, 10)
_FLAT = 0.1
"""Log-log slope on width within which an eigenvalue counts as consistent."""
_NAMES = {"loss": "loss", "sharpness": "sharpness", "ntk_sharpness": "kernel's largest eigenvalue"}


def figure_2(settings: FigureSettings) -> Drawing:
    """Hessian and kernel eigenvalues 1, 4 and 10 of a ConvNet under muP (Figure 2)."""
    recipe = _SPECTRA[settings.scale]
    work = Workshop(settings, (1.0,))
    config = _config(recipe, ("sharpness", "ntk_sharpness"), max(_SHOWN))
    record = work.train(config, recipe.widths, (_RATE,), recipe.seeds)
    figure, panels = plt.subplots(1, 2, figsize=(PAGE, 2.6))
    numbers: dict[str, Any] = {}
    for panel, (stem, first, title) in zip(
        panels,
        (
            ("eigenvalue", "sharpness", "Hessian"),
            ("ntk_eigenvalue", "ntk_sharpness", "tangent kernel"),
        ),
        strict=True,
    ):
        for line, number in zip(LINES, _SHOWN, strict=False):
            values = record[first if number == 1 else f"{stem}_{number}"]
            _draw_lines(panel, values.isel(learning_rate=0), line)
            numbers |= _dependence(values, f"{title}, eigenvalue {number}")
        panel.set_title(f"{title}: eigenvalues {', '.join(map(str, _SHOWN))}")
        panel.set_xlabel("step")
    draw_edge(panels[0], _RATE)
    _legend(panels[1], recipe.widths)
    configuration = work.provenance(**recipe._asdict(), learning_rate=_RATE, network="convnet")
    return Drawing(figure, f"{work.data.name}: {_spectra_verdict(numbers)}", numbers, configuration)


def figure_3(settings: FigureSettings) -> Drawing:
    """Distance of sharpness, loss and kernel to those of a wide network over time (Figure 3, Eq. 3)."""
    recipe = _DISTANCES[settings.scale]
    work = Workshop(settings, (1.0,))
    steps = logarithmic_schedule(recipe.steps, recipe.measurements)
    config = _config(recipe, ("sharpness", "ntk_sharpness"), 1, steps)
    record = work.train(config, recipe.widths, (_RATE,), recipe.seeds).isel(learning_rate=0)
    figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.4))
    numbers: dict[str, Any] = {}
    for panel, name in zip(panels, ("sharpness", "loss", "ntk_sharpness"), strict=True):
        numbers |= _draw_distances(panel, record[name], _NAMES[name], settings.seed)
    panels[0].legend()
    configuration = work.provenance(**recipe._asdict(), learning_rate=_RATE, network="convnet")
    return Drawing(figure, f"{work.data.name}: {_distance_verdict(numbers)}", numbers, configuration)


def _config(
    recipe: _Recipe, quantities: tuple[str, ...], count: int, steps: tuple[int, ...] | None = None
) -> TrainingConfig:
    return TrainingConfig(
        parametrization("mup"),
        architecture=network("convnet"),
        steps=recipe.steps,
        measure_every=max(1, recipe.steps // recipe.measurements),
        measure_at=steps,
        quantities=quantities,
        count=count,
        hessian_examples=recipe.examples,
        evaluation_examples=512,
        tolerance=1e-2,
    )


def _draw_lines(axes: Any, values: xr.DataArray, line: Any) -> None:
    """The geometric mean over seeds against steps, a colour a width."""
    colours = ordered_colours(values.sizes["width"])
    for colour, width in zip(colours, values["width"].to_numpy(), strict=True):
        runs = values.sel(width=width).transpose("seed", "step").to_numpy()
        with np.errstate(invalid="ignore"):
            middle = np.exp(np.log(np.where(runs > 0, runs, np.nan)).mean(axis=0))
        axes.plot(values["step"], middle, color=colour, ls=line)
    axes.set_yscale("log")


def _legend(axes: Any, widths: tuple[int, ...]) -> None:
    for colour, width in zip(ordered_colours(len(widths)), widths, strict=True):
        axes.plot([], [], color=colour, label=width_label(width))
    axes.legend()


def _dependence(values: xr.DataArray, name: str) -> dict[str, Any]:
    """How an eigenvalue at the end goes with width."""
    found = width_dependence(settled(values).isel(learning_rate=0))
    return {f"{name}: slope on width": found.slope, f"{name}: interval": found.fair_interval}


def _spectra_verdict(numbers: Mapping[str, Any]) -> str:
    words = []
    for title in ("Hessian", "tangent kernel"):
        slopes = []
        for number in _SHOWN:
            low, high = numbers[f"{title}, eigenvalue {number}: interval"]
            slope = numbers[f"{title}, eigenvalue {number}: slope on width"]
            slopes.append(f"{slope:+.2f} ({low:+.2f} to {high:+.2f})")
        words.append(f"{title} eigenvalues {', '.join(map(str, _SHOWN))} end as width^ {', '.join(slopes)}")
    return (
        f"{'; '.join(words)}; the sharpness consistent, the kernel's largest eigenvalue not: "
        f"{score_spectra(numbers)}"
    )


def score_spectra(numbers: Mapping[str, Any]) -> str:
    """Figure 2's claim, from the intervals of the largest eigenvalues' slopes on width."""
    return all_of(
        (
            within(numbers["Hessian, eigenvalue 1: interval"], _FLAT),
            outside(numbers["tangent kernel, eigenvalue 1: interval"], _FLAT),
        )
    )


def _draw_distances(axes: Any, values: xr.DataArray, title: str, seed: int) -> dict[str, Any]:
    """g(t) of every width but the widest, the proxy of the limit, with its power law in time."""
    table = values.transpose("width", "seed", "step")
    widths, steps = table["width"].to_numpy(), table["step"].to_numpy()
    proxy = table.isel(width=-1).mean("seed").to_numpy()
    numbers: dict[str, Any] = {}
    generator = np.random.default_rng(seed)
    colours = ordered_colours(len(widths))
    for index, width in enumerate(widths[:-1]):
        runs = np.abs(table.isel(width=index).to_numpy() - proxy)[:, 1:]
        fit = power_law_fit(steps[1:], runs, generator=generator)
        axes.plot(steps[1:], runs.mean(axis=0), color=colours[index], marker="o", ms=2)
        axes.plot(
            steps[1:],
            fit.amplitude * steps[1:] ** fit.exponent,
            color=colours[index],
            ls="--",
            lw=0.8,
            label=f"{width_label(width)}, $\\beta = {fit.exponent:.2f}$",
        )
        numbers[f"{title}, N = {width:g}: exponent"] = fit.exponent
        numbers[f"{title}, N = {width:g}: interval"] = fit.interval
        relative = runs.mean(axis=0) / np.abs(proxy[1:])
        numbers[f"{title}, N = {width:g}: relative distance, first and last"] = (
            float(relative[0]),
            float(relative[-1]),
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_title(f"g(t): {title}")
    return numbers


def _distance_verdict(numbers: Mapping[str, Any]) -> str:
    words = []
    for title in _NAMES.values():
        found = [
            f"{value:+.2f} ({numbers[name.replace(': exponent', ': interval')][0]:+.2f} to "
            f"{numbers[name.replace(': exponent', ': interval')][1]:+.2f})"
            for name, value in numbers.items()
            if name.startswith(f"{title}, ") and name.endswith(": exponent")
        ]
        words.append(f"{title} {', '.join(found)}")
    return (
        f"exponents in time of the distance to the widest, narrow to wide: {'; '.join(words)}; that of the "
        f"sharpness shrinks, those of loss and kernel grow: {score_distances(numbers)}"
    )


def score_distances(numbers: Mapping[str, Any]) -> str:
    """Figure 3's claim, from the intervals of all exponents in time."""
    verdicts = []
    for name, interval in numbers.items():
        if name.endswith(": interval"):
            shrinks = name.startswith("sharpness, ")
            verdicts.append(below(interval, 0.0) if shrinks else above(interval, 0.0))
    return all_of(verdicts)
