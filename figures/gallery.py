"""The figures by name: what each runs, how it is composed, and what its numbers say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from ..errors import require_known
from ..neural import Grid, TrainingConfig, load_images, resolve_device, train_grid
from ..records import settled, to_json, versions, width_dependence, write_atomically
from ..simulations import Ensemble, iterate, schedule, simulate
from ..theory import PlanarMap, PlanarState, parametrization, uniform_target
from .curves import draw_curves, draw_edge, draw_transfer, width_label
from .portrait import draw_orbit, draw_portrait, legend_entries, window
from .style import COLUMN, LINES, PAGE, PALETTE, paper_style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FigureSettings:
    """What a person may choose about a figure.

    Attributes
    ----------
    scale
        Only `laptop` so far: at most ten minutes on two cores.
    seed
        First seed.
    device
        Device that networks train on.
    data_dir, download
        CIFAR-10 from a folder or the official archive, instead of the built-in digits.
    on_progress
        Called with (done, in all).
    """

    scale: str = "laptop"
    seed: int = 0
    device: str = "auto"
    data_dir: Path | None = None
    download: bool = False
    on_progress: Callable[[float, float], None] = field(default=lambda done, total: None)  # noqa: ARG005

    def __post_init__(self) -> None:
        require_known("scale", self.scale, SCALES)


SCALES = ("laptop",)


class Drawing(NamedTuple):
    """A finished figure and what it shows."""

    figure: Figure
    verdict: str
    """What the numbers say about the paper's claim, in words."""
    numbers: dict[str, Any]
    configuration: dict[str, Any]


class FigureSpec(NamedTuple):
    """A figure that can be made."""

    title: str
    make: Callable[[FigureSettings], Drawing]


def draw_figure(name: str, settings: FigureSettings) -> Drawing:
    """Make a figure by name.

    Raises
    ------
    InputError
        If there is no such figure.
    """
    require_known("figure", name, FIGURES)
    with paper_style():
        return FIGURES[name].make(settings)


def save_drawing(drawing: Drawing, stem: Path) -> list[Path]:
    """Write a figure as PDF and PNG, with its numbers, configuration and versions beside it as JSON."""
    provenance = {
        "verdict": drawing.verdict,
        "numbers": drawing.numbers,
        "configuration": drawing.configuration,
        "versions": versions(),
    }
    paths = [stem.with_name(stem.name + suffix) for suffix in (".pdf", ".png", ".json")]
    text = json.dumps(to_json(provenance), indent=2, sort_keys=True, allow_nan=False) + "\n"
    with paper_style():
        write_atomically(paths[0], lambda path: drawing.figure.savefig(path, metadata={"CreationDate": None}))
        write_atomically(paths[1], drawing.figure.savefig)
    write_atomically(paths[2], lambda path: path.write_text(text))
    plt.close(drawing.figure)
    return paths


def draw_record(record: xr.Dataset, quantities: Sequence[str]) -> Figure:
    """A record's quantities against steps, a panel each."""
    with paper_style():
        size = (COLUMN * len(quantities), 2.4)
        figure, panels = plt.subplots(1, len(quantities), figsize=size, squeeze=False)
        for panel, name in zip(panels[0], quantities, strict=True):
            draw_curves(panel, record[name], band=True).set_ylabel(name.replace("_", " "))
        if "sharpness" in quantities and record.sizes["learning_rate"] == 1:
            draw_edge(panels[0][list(quantities).index("sharpness")], float(record["learning_rate"][0]))
        panels[0][0].legend()
        return figure


def _figure_10(settings: FigureSettings) -> Drawing:
    """Loss of the two-layer linear network under NTP and muP at two widths (Figure 10)."""
    target = np.ones(100)
    rates = {"ntp": (2.5, 5.0, 10.0), "mup": (0.1, 0.2, 0.4)}
    seeds = tuple(range(settings.seed, settings.seed + 5))
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


def _portrait(settings: FigureSettings) -> Drawing:
    """Planar infinite-width map below, near and beyond the edge, with finite networks laid over it."""
    dimension, norm, steps = 3, 1.0, 60
    factors = {"below the edge": 0.5, "near the edge": 0.95, "beyond the edge": 1.15}
    widths = (64, 1024)
    limit = PlanarMap(dimension, norm, 1.0)
    figure, panels = plt.subplots(1, 3, figsize=(PAGE, 2.9), sharey=True)
    numbers: dict[str, Any] = {}
    limits = window(PlanarMap(dimension, norm, 0.75 * limit.edge))
    for done, (panel, (words, factor)) in enumerate(zip(panels, factors.items(), strict=True), start=1):
        planar = PlanarMap(dimension, norm, factor * limit.edge)
        draw_portrait(panel, planar, limits)
        ensemble = Ensemble(
            parametrization("mup"),
            uniform_target(dimension, norm),
            widths,
            (planar.learning_rate,),
            (settings.seed,),
        )
        record = simulate(ensemble, record_at=schedule(steps), quantities=("alignment", "second_layer"))
        for colour, width in zip((PALETTE[1], PALETTE[6]), widths, strict=True):
            run = record.sel(width=width).isel(learning_rate=0, seed=0)
            path = PlanarState(run["alignment"].to_numpy(), run["second_layer"].to_numpy())
            draw_orbit(panel, path, colour, width_label(width), marker=".")
        orbit = iterate(planar, steps)
        draw_orbit(panel, orbit.states, PALETTE[0], "$N = \\infty$")
        panel.set_title(f"{words}: $\\eta_0 = {planar.learning_rate:.2f}$")
        numbers[f"{words}: final sharpness times eta0/2"] = float(
            planar.sharpness(PlanarState(*(part[-1] for part in orbit.states))) * planar.learning_rate / 2
        )
        numbers[f"{words}: final loss"] = float(
            planar.loss(PlanarState(*(part[-1] for part in orbit.states)))
        )
        settings.on_progress(done, len(factors))
    for panel in panels[1:]:
        panel.set_ylabel("")
    legend_entries(panels[0])
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.2)
    below, near, beyond = (numbers[f"{words}: final loss"] for words in factors)
    verdict = (
        f"with the edge at eta0 = {limit.edge:.3f}, the loss at infinite width after {steps} steps is "
        f"{below:.1e} at half the edge, {near:.1e} just below it and {beyond:.1e} beyond it, "
        f"where no minimizer is stable"
    )
    configuration = {"dimension": dimension, "target_norm": norm, "factors": factors, "widths": widths}
    return Drawing(figure, verdict, numbers, configuration | {"seed": settings.seed, "steps": steps})


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


def _figure_1(settings: FigureSettings) -> Drawing:
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
            measure_sharpness=False,
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


FIGURES: dict[str, FigureSpec] = {
    "1": FigureSpec("sharpness, loss and learning-rate transfer, muP above NTP", _figure_1),
    "10": FigureSpec("loss of the two-layer linear network under NTP and muP", _figure_10),
    "portrait": FigureSpec("phase portrait of the infinite-width map under muP", _portrait),
}
"""Every figure by its number in the paper or its name."""
