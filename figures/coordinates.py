"""Pictures of coordinate checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from .style import PAGE, PALETTE, paper_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..neural.coordinates import CoordinateReport


def draw_sizes(axes: Axes, sizes: Any) -> Axes:
    """Mean activations of layers against width; dimensions (layer, size, seed)."""
    for index, layer in enumerate(sizes["layer"].to_numpy()):
        means = sizes.sel(layer=layer).mean("seed")
        axes.plot(
            means["size"], means, marker="o", ms=2, color=PALETTE[index % len(PALETTE)], label=str(layer),
            ls="-" if index < len(PALETTE) else "--",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("width N")
    return axes


def draw_coordinates(report: CoordinateReport) -> Figure:
    """Every fitted exponent with its interval beside what was predicted."""
    with paper_style():
        quantities = list(dict.fromkeys(fit.quantity for fit in report.fits))
        layers = list(dict.fromkeys(fit.layer for fit in report.fits))
        size = (PAGE, 1.2 + 0.14 * len(layers))
        figure, panels = plt.subplots(1, len(quantities), figsize=size, sharey=True, squeeze=False)
        for panel, quantity in zip(panels[0], quantities, strict=True):
            for fit in (fit for fit in report.fits if fit.quantity == quantity):
                _draw_fit(panel, layers.index(fit.layer), fit)
            panel.set_title(quantity.replace("_", " "))
            panel.set_xlabel("exponent")
        panels[0, 0].set_yticks(range(len(layers)), layers, fontsize=5)
        panels[0, 0].invert_yaxis()
        return figure


def _draw_fit(axes: Any, place: int, fit: Any) -> None:
    colour = {"passed": PALETTE[2], "undecided": PALETTE[4]}.get(fit.verdict, PALETTE[1])
    low, high = fit.predicted
    axes.barh(place, high - low + 0.2, left=low - 0.1, color="0.9", height=0.9)
    reach = np.abs(np.array(fit.interval) - fit.exponent)[:, None]
    reach = np.where(np.isfinite(reach), reach, 0.0)
    axes.errorbar([fit.exponent], [place], xerr=reach, fmt="o", ms=2, color=colour, lw=0.8)
