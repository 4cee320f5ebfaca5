"""Figures of the infinite-width map: its phase portraits, with finite networks laid over it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from ..simulations import Ensemble, iterate, schedule, simulate
from ..simulations.attractors import LONGEST_PERIOD, detect_period
from ..simulations.basins import OrbitFate, find_outcomes
from ..theory import IsotropicTarget, PlanarMap, PlanarState, parametrization
from .curves import width_label
from .drawing import Drawing
from .portrait import (
    draw_cycle,
    draw_ellipse,
    draw_orbit,
    draw_portrait,
    legend_handles,
    plane_of,
    window,
)
from .style import COLUMN, PAGE, PALETTE, ordered_colours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .drawing import FigureSettings
    from .portrait import Points, View

_SETTLE, _LONGEST_DRAWN = 20_000, 16
"""Steps before a cycle is looked for, and the longest period whose points are ringed."""


class Layers(NamedTuple):
    """What is laid over a portrait."""

    plane: str = "ap"
    """Name in `PLANES`."""
    widths: tuple[float, ...] = ()
    """Finite networks under muP."""
    seed: int = 0
    steps: int = 60
    basins: bool = True
    ellipse: bool = False


def portrait(settings: FigureSettings) -> Drawing:
    """Planar infinite-width map below, near and beyond the edge, with finite networks laid over it."""
    dimension, norm = 3, 1.0
    factors = {"below the edge": 0.5, "near the edge": 0.95, "beyond the edge": 1.15}
    layers = Layers("ap", (64, 1024), settings.seed)
    edge = PlanarMap(dimension, norm, 1.0).edge
    shared = window(PlanarMap(dimension, norm, 0.75 * edge))
    figure, numbers = _row((dimension, norm), factors, layers, settings, shared)
    below, near, beyond = (numbers[f"{words}: final loss"] for words in factors)
    verdict = (
        f"with the edge at eta0 = {edge:.3f}, the loss at infinite width after {layers.steps} steps is "
        f"{below:.1e} at half the edge, {near:.1e} just below it and {beyond:.1e} beyond it, "
        f"where no minimizer is stable and the attractor has period {numbers['beyond the edge: period']}"
    )
    configuration = {"dimension": dimension, "target_norm": norm, "factors": factors} | layers._asdict()
    return Drawing(figure, verdict, numbers, configuration)


def portrait_universal(settings: FigureSettings) -> Drawing:
    """The same map in the coordinates in which it has one parameter, with the ellipse no orbit crosses."""
    dimension, norm = 3, 1.0
    factors = {"below the edge": 0.5, "near the edge": 0.95, "beyond the edge": 1.15}
    layers = Layers("xy", (64, 1024), settings.seed, ellipse=True)
    figure, numbers = _row((dimension, norm), factors, layers, settings, (0.0, 2.72, 0.0, 1.87))
    inside = [numbers[f"{words}: bounded share inside the ellipse"] for words in factors]
    outside = [numbers[f"{words}: diverging share outside the ellipse"] for words in factors]
    verdict = (
        f"inside the ellipse x^2/(2+mu) + y^2/(2-mu) = 2 at least {100 * min(inside):.1f}% of starts stay "
        f"bounded, outside it at least {100 * min(outside):.1f}% diverge; minimizers, the hyperbola "
        "x^2 - y^2 = 2 mu, are stable within the circle x^2 + y^2 = 2, which it meets for mu < 1 only"
    )
    configuration = {"dimension": dimension, "target_norm": norm, "factors": factors} | layers._asdict()
    return Drawing(figure, verdict, numbers, configuration)


def plane_portrait(planar: PlanarMap, layers: Layers) -> Drawing:
    """A portrait at one learning rate, in the plane and with the overlays asked for.

    Raises
    ------
    InputError
        If there is no such plane, or a width, the seed or the steps cannot be used.
    """
    plane_of(layers.plane)
    figure, panel = plt.subplots(figsize=(COLUMN + 1.5, 2.9))
    numbers = _panel(panel, planar, layers)
    _legend(figure, [panel], layers, side="outside right center", ncols=1)
    panel.set_title(f"$\\eta_0 = {planar.learning_rate:.4g}$")
    edge, divergence = f"the edge at {planar.edge:.4g}", f"divergence at {planar.divergence:.4g}"
    # the start of a small target diverges below the edge already
    place = (
        f"past {divergence}" if planar.learning_rate > planar.divergence
        else f"below {edge}" if planar.learning_rate < planar.edge
        else f"beyond {edge} and below {divergence}"
    )  # fmt: skip
    verdict = (
        f"eta0 = {planar.learning_rate:.4g} is {place}; from initialisation "
        f"the infinite-width orbit {numbers['comes to']}"
    )
    configuration = {
        "dimension": planar.dimension,
        "target_norm": planar.target_norm,
        "learning_rate": planar.learning_rate,
    }
    return Drawing(figure, verdict, numbers, configuration | layers._asdict())


def _row(
    target: tuple[int, float],
    factors: Mapping[str, float],
    layers: Layers,
    settings: FigureSettings,
    limits: View,
) -> tuple[Figure, dict[str, Any]]:
    """A portrait for each learning rate, with one legend; the figure and the numbers of every panel.

    The target is its dimension and norm; learning rates are multiples of the edge.
    """
    edge = PlanarMap(*target, 1.0).edge
    figure, panels = plt.subplots(1, len(factors), figsize=(PAGE, 3.1), sharey=True)
    numbers: dict[str, Any] = {}
    maps = [PlanarMap(*target, factor * edge) for factor in factors.values()]
    for done, (panel, words, planar) in enumerate(zip(panels, factors, maps, strict=True), start=1):
        found = _panel(panel, planar, layers, limits)
        numbers |= {f"{words}: {name}": value for name, value in found.items()}
        parameter = (
            f"\\mu = {planar.mu:.2f}" if layers.plane == "xy" else f"\\eta_0 = {planar.learning_rate:.2f}"
        )
        panel.set_title(f"{words}: ${parameter}$")
        settings.on_progress(done, len(factors))
    for panel in panels[1:]:
        panel.set_ylabel("")
    _legend(figure, panels, layers, side="outside lower center", ncols=5)
    return figure, numbers


def _panel(panel: Axes, planar: PlanarMap, layers: Layers, limits: View | None = None) -> dict[str, Any]:
    """One portrait with its overlays, and its numbers."""
    plane = plane_of(layers.plane)
    draw_portrait(panel, planar, limits, plane=plane, basins=layers.basins)
    shown = (*panel.get_xlim(), *panel.get_ylim())
    if layers.ellipse:
        draw_ellipse(panel, planar, plane=plane)
    two = len(layers.widths) == 2
    colours: Sequence[Any] = (PALETTE[1], PALETTE[6]) if two else ordered_colours(len(layers.widths))
    numbers: dict[str, Any] = {}
    for colour, (width, run) in zip(colours, _finite(planar, layers).items(), strict=False):
        draw_orbit(panel, run.points, colour, width_label(width), marker=".")
        numbers[f"{width_label(width).strip('$')}: final loss"] = run.final_loss
    orbit = iterate(planar, layers.steps)
    draw_orbit(panel, plane.place(planar, orbit.states), PALETTE[0], width_label(math.inf))
    cycle = _cycle(planar)
    if 1 < cycle.a.size <= _LONGEST_DRAWN:
        draw_cycle(panel, plane.place(planar, cycle))
    last = PlanarState(orbit.states.a[-1], orbit.states.p[-1])
    return numbers | {
        "mu": planar.mu,
        "edge": planar.edge,
        "divergence": planar.divergence,
        "final sharpness times eta0/2": float(planar.sharpness(last) * planar.learning_rate / 2),
        "final loss": float(planar.loss(last)),
        "period": cycle.a.size,
        "comes to": _fate(planar, cycle.a.size),
        **_shares(planar, shown, layers),
    }


class _Run(NamedTuple):
    """A finite network's way through the plane."""

    points: Points
    final_loss: float
    """NaN if it diverged."""


def _finite(planar: PlanarMap, layers: Layers) -> dict[float, _Run]:
    """Runs of finite networks by width, from their own initialisation."""
    if not layers.widths:
        return {}
    plane = plane_of(layers.plane)
    ensemble = Ensemble(
        parametrization("mup"),
        IsotropicTarget(planar.dimension, planar.target_norm),
        layers.widths,
        (planar.learning_rate,),
        (layers.seed,),
    )
    record = simulate(ensemble, record_at=schedule(layers.steps), quantities=(*plane.quantities, "loss"))
    runs = {}
    for width in layers.widths:
        run = record.sel(width=width).isel(learning_rate=0, seed=0)
        first, second = (run[name].to_numpy() for name in plane.quantities)
        runs[width] = _Run(plane.measured(planar, first, second), float(run["loss"][-1]))
    return runs


def _cycle(planar: PlanarMap) -> PlanarState:
    """The cycle that the orbit from initialisation settles on; no points if it has none, or diverges."""
    orbit = iterate(planar, _SETTLE)
    last = PlanarState(*(part[-2 * LONGEST_PERIOD :] for part in orbit.states))
    period = 0 if orbit.diverged_step >= 0 else int(detect_period(last))
    return PlanarState(*(part[part.size - period :] for part in last))


def _fate(planar: PlanarMap, period: int) -> str:
    """What the orbit from initialisation comes to, in words."""
    fate = find_outcomes(planar, planar.start, _SETTLE)
    if fate.outcome == OrbitFate.MINIMIZER:
        ratio = float(planar.minimizer_sharpness(fate.last.p)) * planar.learning_rate / 2
        return f"reaches a minimizer of sharpness {ratio:.3f} times 2/eta0 in {int(fate.steps)} steps"
    if fate.outcome == OrbitFate.UNSTABLE_ACROSS:
        return "comes to a minimizer that is unstable across the target, which finite networks leave"
    if fate.outcome == OrbitFate.DIVERGED:
        return f"diverges at step {int(fate.steps)}"
    if period:
        return f"settles on period {period}"
    return f"stays bounded and keeps to no period up to {LONGEST_PERIOD}"


def _shares(planar: PlanarMap, shown: View, layers: Layers) -> dict[str, float]:
    """Shares of the shown starts by what they come to, and by the ellipse if that is drawn."""
    left, right, bottom, top = shown
    grid = np.meshgrid(np.linspace(left, right, 91)[1:-1:2], np.linspace(bottom, top, 91)[1:-1:2])
    starts = plane_of(layers.plane).states(planar, *grid)
    fates = find_outcomes(planar, starts, 4000)
    known = fates.outcome != OrbitFate.NO_NETWORK
    found = fates.outcome[known]
    shares = {
        f"share of starts: {kind.name.lower().replace('_', ' ')}": float(
            np.mean(fates.outcome[known] == kind)
        )
        for kind in OrbitFate
        if kind != OrbitFate.NO_NETWORK
    }
    if layers.ellipse and planar.mu < 2:
        x, y = planar.to_universal(PlanarState(starts.a[known], starts.p[known]))
        inside = x**2 / (2 + planar.mu) + y**2 / (2 - planar.mu) < 2
        diverged = found == OrbitFate.DIVERGED
        shares["bounded share inside the ellipse"] = float(np.mean(~diverged[inside]))
        shares["diverging share outside the ellipse"] = float(np.mean(diverged[~inside]))
    return shares


def _legend(figure: Figure, panels: Sequence[Axes], layers: Layers, *, side: str, ncols: int) -> None:
    """One legend for all panels: the runs, then the portrait's parts, then the basins that occur."""
    handles = panels[0].get_legend_handles_labels()[0] + legend_handles(panels, plane=layers.plane)
    place: Any = side  # the type knows only the places inside the figure
    figure.legend(handles=handles, loc=place, ncols=ncols, columnspacing=1.2)
