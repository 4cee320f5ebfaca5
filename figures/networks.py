"""Figures of trained networks: Figure 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from ..neural import Grid, TrainingConfig, load_images, resolve_device, train_grid
from ..records import settled, width_dependence
from ..theory import parametrization
from .curves import draw_curves, draw_edge, draw_transfer
from .drawing import Drawing
from .style import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .drawing import FigureSettings


class _Recipe(NamedTuple):
    """Figure 1 under one parametrization."""

    learning_rates: tuple[float, ...]
    shown: float
    """Learning rate of the curves over time."""


_FIGURE_1 = {
    "mup": _Recipe((0.5, 1.0, 2.0, 4.0, 8.0), 0.5),
    "ntp": _Recipe((7.0, 14.0, 28.0, 56.0, 112.0), 7.0),
}
_FIGURE_1_WIDTHS = (16, 32, 64, 128)
_FIGURE_1_STEPS = {"cifar-10": 512, "digits": 192}


def figure_1(settings: FigureSettings) -> Drawing:
    """Sharpness, loss and learning-rate transfer of SimpleConvNet, muP above NTP (Figure 1)."""
    data = load_images(settings.data_dir, download=settings.download).to(resolve_device(settings.device))
    steps = _FIGURE_1_STEPS.get(data.name, 512)
    figure, panels = plt.subplots(2, 3, figsize=(PAGE, 4.0))
    numbers: dict[str, Any] = {}
    work = _Work(settings.on_progress, parts=2 * len(_FIGURE_1))
    for row, (name, recipe) in zip(panels, _FIGURE_1.items(), strict=True):
        config = TrainingConfig(
            parametrization(name), steps=steps, measure_every=steps // 16, evaluation_examples=512
        )
        seeds = (settings.seed, settings.seed + 1)
        curves = train_grid(Grid(config, _FIGURE_1_WIDTHS, (recipe.shown,), seeds), data, on_progress=work)
        work.next()
        quick = TrainingConfig(
            config.parametrization,
            steps=steps // 2,
            measure_every=steps // 8,
            quantities=(),
            evaluation_examples=512,
        )
        grid = Grid(quick, _FIGURE_1_WIDTHS, recipe.learning_rates, seeds[:1])
        transfer = train_grid(grid, data, on_progress=work)
        work.next()
        numbers |= _draw_figure_1_row(row, curves, transfer, config.parametrization.title)
    panels[0, 1].legend(loc="lower left")
    verdict = _figure_1_verdict(numbers)
    configuration = {
        "data": data.name,
        "data_hash": data.hash,
        "widths": _FIGURE_1_WIDTHS,
        "recipes": {name: recipe._asdict() for name, recipe in _FIGURE_1.items()},
        "steps": steps,
        "seed": settings.seed,
        "scale": settings.scale,
    }
    return Drawing(figure, f"{data.name}: {verdict}", numbers, configuration)


class _Work:
    """Progress over several grids of equal weight."""

    def __init__(self, on_progress: Callable[[float, float], None], parts: int) -> None:
        self._on_progress = on_progress
        self._parts = parts
        self._finished = 0

    def __call__(self, done: float, total: float) -> None:
        self._on_progress(self._finished + done / total, self._parts)

    def next(self) -> None:
        """Go on to the next grid."""
        self._finished += 1


def _draw_figure_1_row(row: Any, curves: xr.Dataset, transfer: xr.Dataset, title: str) -> Mapping[str, Any]:
    """Draw one parametrization's three panels; give its numbers."""
    sharpness, loss = curves["sharpness"], curves["loss"]
    rate = float(curves["learning_rate"][0])
    draw_edge(draw_curves(row[0], sharpness, band=True), rate).set_ylabel("sharpness")
    draw_curves(row[1], loss, log=False, band=True).set_ylabel("loss")
    # The mean over the last measurements stands for the final loss; a diverged run has none.
    final = settled(transfer["loss"]).isel(seed=0)
    draw_transfer(row[2], final).set_ylabel("final loss")
    for panel, words in zip(row, ("sharpness", "loss", "transfer"), strict=True):
        panel.set_title(f"{title}: {words}" + ("" if words == "transfer" else f", $\\eta_0 = {rate:g}$"))
    dependence = width_dependence(settled(sharpness).isel(learning_rate=0))
    best = final.fillna(np.inf).idxmin("learning_rate").to_numpy().tolist()
    return {
        f"{title}: slope of log final sharpness on log width": dependence.slope,
        f"{title}: 95% interval of the slope": dependence.interval,
        f"{title}: final sharpness by width": dependence.means,
        f"{title}: final sharpness times eta0/2 at the widest": dependence.means[-1] * rate / 2,
        f"{title}: best learning rate by width": best,
        f"{title}: a best learning rate is at the end of the grid": bool(
            set(best) & {float(final["learning_rate"].min()), float(final["learning_rate"].max())}
        ),
        f"{title}: drift of the best learning rate, factors of two": float(np.log2(best[-1] / best[0])),
    }


def _figure_1_verdict(numbers: Mapping[str, Any]) -> str:
    words = []
    for title in ("μP", "NTP"):
        slope = numbers[f"{title}: slope of log final sharpness on log width"]
        low, high = numbers[f"{title}: 95% interval of the slope"]
        best = ", ".join(f"{rate:g}" for rate in numbers[f"{title}: best learning rate by width"])
        if numbers[f"{title}: a best learning rate is at the end of the grid"]:
            best += " (some at the end of the grid, so the best may lie beyond)"
        words.append(
            f"under {title} the final sharpness goes as width^{slope:.2f} (95% {low:.2f} to {high:.2f}) "
            f"and the best learning rates, narrow to wide, are {best}"
        )
    return "; ".join(words)
