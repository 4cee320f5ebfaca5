"""Figures of the two-layer linear network: Figure 10."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from ..simulations import Ensemble, schedule, simulate
from ..theory import parametrization
from .curves import draw_curves
from .drawing import Drawing
from .style import LINES, PAGE

if TYPE_CHECKING:
    from .drawing import FigureSettings


def figure_10(settings: FigureSettings) -> Drawing:
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
