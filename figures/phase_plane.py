"""Figures of the infinite-width map: its phase portraits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt

from ..simulations import Ensemble, iterate, schedule, simulate
from ..theory import PlanarMap, PlanarState, parametrization, uniform_target
from .curves import width_label
from .drawing import Drawing
from .portrait import draw_orbit, draw_portrait, legend_entries, window
from .style import PAGE, PALETTE

if TYPE_CHECKING:
    from .drawing import FigureSettings


def portrait(settings: FigureSettings) -> Drawing:
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
