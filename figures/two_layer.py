"""Figures of the two-layer linear network: Figures 5 and 10."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from ..simulations import Ensemble, schedule, simulate
from ..simulations.edge import random_data, sharpening_on_data
from ..stats.slopes import size_dependence
from ..theory import parametrization, uniform_target
from .curves import draw_curves, width_label
from .drawing import Drawing
from .style import LINES, PAGE, ordered_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .drawing import FigureSettings


_FIGURE_5_WIDTHS = (50, 100, 200, 500, 1000)
_FIGURE_5_RATES = {"mup": 0.75, "ntp": 2.0}
_FIGURE_5_SEEDS = {"laptop": 10, "paper": 50}
_FIGURE_5_STEPS = 30


def figure_5(settings: FigureSettings) -> Drawing:
    """Largest eigenvalues of G and R of the two-layer linear network on random data (Figure 5).

    The caption names random data, not whitened ones, and the widths. The number of examples, the dimension,
    the target and the learning rates it leaves open; here they are such that under muP the eigenvalues cover
    the ranges of its axes.
    """
    examples, dimension, norm = 100, 20, 2.0
    seeds = tuple(range(settings.seed, settings.seed + _FIGURE_5_SEEDS[settings.scale]))
    data = random_data(examples, uniform_target(dimension, norm), np.random.default_rng(settings.seed))
    figure, panels = plt.subplots(1, 2, figsize=(PAGE, 2.6))
    numbers: dict[str, Any] = {}
    for done, (panel, (name, rate)) in enumerate(zip(panels, _FIGURE_5_RATES.items(), strict=True)):
        table = parametrization(name)
        runs = sharpening_on_data(
            table,
            data,
            widths=_FIGURE_5_WIDTHS,
            learning_rate=rate,
            seeds=seeds,
            steps=_FIGURE_5_STEPS,
            on_progress=partial(_half_done, settings, done),
        )
        draw_hessian_parts(panel, runs)
        panel.set_title(f"{table.title}, $\\eta_0 = {rate:g}$")
        numbers[table.title] = _rise(runs)
    panels[0].set_ylabel("$\\lambda_{\\max}(R)$, residual part")
    panels[0].legend(loc="lower left")
    configuration = {
        "data": "Gaussian inputs, noiseless labels, mean squared error / 2, full batch",
        "examples": examples,
        "dimension": dimension,
        "target_norm": norm,
        "widths": _FIGURE_5_WIDTHS,
        "learning_rates": _FIGURE_5_RATES,
        "steps": _FIGURE_5_STEPS,
        "seeds": seeds,
    }
    return Drawing(figure, _figure_5_verdict(numbers), numbers, configuration)


def _half_done(settings: FigureSettings, panels: int, done: int, total: int) -> None:
    """Progress of a figure of two panels, some of which are finished."""
    settings.on_progress(panels + done / total, 2)


def draw_hessian_parts(axes: Axes, runs: xr.Dataset) -> Axes:
    """The eigenvalue of R against that of G: mean over seeds, an arrow a step, a colour a width.

    Parameters
    ----------
    axes
        Drawn into and returned; its vertical axis becomes logarithmic.
    runs
        `gauss_newton` and `residual` with dimensions (width, seed, step), as
        `simulations.edge.sharpening_on_data` gives them.
    """
    axes.set_yscale("log")
    driven = runs["gauss_newton"].mean("seed")
    logs: xr.DataArray = xr.apply_ufunc(np.log, runs["residual"])
    residual = xr.apply_ufunc(np.exp, logs.mean("seed"))
    for colour, width in zip(ordered_colours(runs.sizes["width"]), runs["width"].to_numpy(), strict=True):
        x, y = driven.sel(width=width).to_numpy(), residual.sel(width=width).to_numpy()
        axes.plot(x, y, color=colour, lw=0.8, label=width_label(width))
        axes.plot(x[:1], y[:1], color=colour, marker="s", ms=3.5)
        # In units of the axes an arrow ends where the next begins, on a logarithmic axis too.
        axes.quiver(
            x[:-1], y[:-1], np.diff(x), np.diff(y),
            angles="xy", scale_units="xy", scale=1, color=colour, width=0.005, headwidth=4, minlength=0.2,
        )  # fmt: skip
    axes.set_xlabel("$\\lambda_{\\max}(G)$, Gauss-Newton part")
    return axes


def _rise(runs: xr.Dataset) -> dict[str, Any]:
    """How far G's eigenvalue rises: mean over seeds of final over initial, and its excess over 1 by width."""
    curve = runs["gauss_newton"].mean("seed")
    rise = curve.isel(step=-1) / curve.isel(step=0)
    numbers: dict[str, Any] = {
        f"final over initial, N = {width:g}": float(value)
        for width, value in zip(rise["width"].to_numpy(), rise.to_numpy(), strict=True)
    }
    found = size_dependence((rise - 1).expand_dims("seed"))
    if np.isnan(found.slope):
        return numbers
    return numbers | {
        "log-log slope of the excess over 1 on width": found.slope,
        "95% interval of the slope": found.interval,
    }


def _figure_5_verdict(numbers: dict[str, Any]) -> str:
    words = []
    for title, found in numbers.items():
        ends = [found[f"final over initial, N = {width}"] for width in _FIGURE_5_WIDTHS]
        places = [f"{end:.2f}-fold at N = {width}" for width, end in zip(_FIGURE_5_WIDTHS, ends, strict=True)]
        part = f"{places[0]} and {places[-1]}"
        if "95% interval of the slope" in found:
            low, high = found["95% interval of the slope"]
            slope = found["log-log slope of the excess over 1 on width"]
            part += f" (the excess over 1 as N^{slope:.2f}, 95% {low:.2f} to {high:.2f})"
        words.append(f"{part} under {title}")
    return "while training, lambda_max(G) rises " + ", and ".join(words)


_FIGURE_10_SEEDS = {"laptop": 20, "paper": 50}


def figure_10(settings: FigureSettings) -> Drawing:
    """Loss of the two-layer linear network under NTP and muP at two widths (Figure 10)."""
    target = np.ones(100)
    rates = {"ntp": (2.5, 5.0, 10.0), "mup": (0.1, 0.2, 0.4)}
    seeds = tuple(range(settings.seed, settings.seed + _FIGURE_10_SEEDS[settings.scale]))
    figure, panels = plt.subplots(1, 2, figsize=(PAGE, 2.3))
    numbers: dict[str, Any] = {}
    for done, (panel, name) in enumerate(zip(panels, rates, strict=True), start=1):
        ensemble = Ensemble(parametrization(name), target, (300, 1000), rates[name], seeds)
        loss = simulate(ensemble, record_at=schedule(40))["loss"]
        draw_curves(panel, loss, band=True)
        panel.set_title(f"{ensemble.parametrization.title}, D = 100, {len(seeds)} seeds")
        for style, rate in zip(LINES, rates[name], strict=False):
            panel.plot([], [], color="0.3", ls=style, label=f"$\\eta_0 = {rate:g}$")
        numbers[f"{name}: largest gap between widths, powers of ten"] = _width_gap(loss)
        settings.on_progress(done, 2)
    panels[0].set_ylabel("loss")
    for panel in panels:
        panel.set_ylim(_FLOOR, 300)
        panel.legend(loc="upper right" if panel is panels[0] else "lower left")
    gaps = list(numbers.values())
    verdict = (
        f"within 40 steps the loss at N = 300 and at N = 1000 differs by at most {gaps[1]:.2f} powers of ten "
        f"under muP and {gaps[0]:.1f} under NTP (geometric means over {len(seeds)} seeds)"
    )
    configuration = {"dimension": 100, "target": "ones", "learning_rates": rates, "seeds": seeds, "steps": 40}
    return Drawing(figure, verdict, numbers, configuration)


_FLOOR = 1e-6
"""Lowest loss that Figure 10 shows."""


def _width_gap(loss: xr.DataArray) -> float:
    """Largest distance of the losses of two widths over steps and learning rates, in powers of ten.

    Losses below `_FLOOR`, where the figure ends, count as `_FLOOR`.
    """
    logs: xr.DataArray = xr.apply_ufunc(np.log10, loss).mean("seed").clip(min=np.log10(_FLOOR))
    return float(np.abs(logs.isel(width=0) - logs.isel(width=1)).max())
