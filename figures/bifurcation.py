"""Bifurcation diagrams of the planar map: its attractor and its Lyapunov exponents over learning rates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from ..simulations.attractors import bifurcation_diagram
from ..theory import PlanarMap
from .drawing import Drawing
from .style import COLUMN, PALETTE

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from .drawing import FigureSettings

DOUBLING = math.sqrt(5) - 1
"""mu at which period two doubles again."""

_DEEPEST = -2.0
"""Exponents below this, down to minus infinity on superstable cycles, are cut off."""


def draw_attractor(axes: Axes, record: xr.Dataset) -> Axes:
    """The attractor's sharpness over `2/eta0`, against the learning rate over the largest stable one.

    Parameters
    ----------
    axes
        Drawn into and returned.
    record
        From `simulations.attractors.bifurcation_diagram`.
    """
    over_edge = record["sharpness"] * record["learning_rate"] / 2
    mu = np.repeat(record["factor"].to_numpy(), record.sizes["sample"])
    values = over_edge.transpose("learning_rate", "sample").to_numpy().ravel()
    axes.plot(
        mu, values, ls="", marker=".", ms=0.6, mew=0, alpha=0.5, color=PALETTE[0], rasterized=True, zorder=2
    )
    axes.axhline(1, color="0.35", lw=0.6, ls="--", zorder=1)
    axes.set_ylabel(r"attractor's $\lambda\,\eta_0/2$")
    return axes


def draw_exponents(axes: Axes, record: xr.Dataset) -> Axes:
    """Both Lyapunov exponents with their zero line, chaos shaded; each with a band of two standard errors.

    Parameters
    ----------
    axes
        Drawn into and returned.
    record
        From `simulations.attractors.bifurcation_diagram`.
    """
    mu = record["factor"].to_numpy()
    for name, colour, label in (
        ("lyapunov_second", PALETTE[5], "second"),
        ("lyapunov", PALETTE[1], "largest"),
    ):
        value, error = record[name].to_numpy(), record[f"{name}_error"].to_numpy()
        value = np.where(np.isneginf(value), 10 * _DEEPEST, value)
        axes.plot(mu, value, color=colour, lw=0.7, label=label)
        axes.fill_between(mu, value - 2 * error, value + 2 * error, color=colour, alpha=0.3, lw=0)
    axes.axhline(0, color="0.35", lw=0.6)
    highest = float(record["lyapunov"].max()) if record["lyapunov"].notnull().any() else 0.0
    axes.set_ylim(_DEEPEST, max(1.2 * highest, 0.3))
    axes.set_ylabel("Lyapunov exponents")
    axes.legend(loc="upper left")
    return axes


def mark_bifurcations(axes: Axes, planar: PlanarMap, *, labels: bool = False) -> Axes:
    """Lines where minimizers lose stability, where period two doubles, and where the start diverges."""
    marks = {
        1.0: r"$\mu = 1$",
        DOUBLING: r"$\sqrt{5} - 1$",
        planar.divergence / planar.edge: "divergence",
    }
    low, high = axes.get_xlim()
    for place, words in marks.items():
        if low <= place <= high:
            axes.axvline(place, color="0.45", lw=0.6, ls=":", zorder=1.5)
            if labels:
                axes.annotate(
                    words, (place, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
                    textcoords="offset points", ha="center", va="bottom", fontsize=6.5,
                )  # fmt: skip
    return axes


def bifurcation_figure(record: xr.Dataset, planar: PlanarMap) -> Drawing:
    """Attractor above exponents, for a record of `bifurcation_diagram` and a map of the same target.

    Its numbers are the learning rates, over the edge, at which periods first occur, and of chaos.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(COLUMN, 3.7), sharex=True, height_ratios=(3, 2))
    draw_attractor(above, record)
    draw_exponents(below, record)
    mu = record["factor"].to_numpy()
    margin = 0.02 * float(np.ptp(mu)) or 0.1
    below.set_xlim(float(mu.min()) - margin, float(mu.max()) + margin)
    for panel in (above, below):
        mark_bifurcations(panel, planar, labels=panel is above)
    below.set_xlabel(r"$\mu = \eta_0 |w^*|/\sqrt{D}$, learning rate over the edge")
    figure.align_ylabels()
    numbers = landmarks(record)
    numbers |= {"divergence in closed form": planar.divergence / planar.edge}
    return Drawing(figure, _verdict(numbers), numbers, {})


def landmarks(record: xr.Dataset) -> dict[str, Any]:
    """Where things first happen, in learning rates over the edge; NaN for what does not happen."""
    mu, period = (record[name].to_numpy() for name in ("factor", "period"))
    exponent, error = (record[name].to_numpy() for name in ("lyapunov", "lyapunov_error"))
    chaotic = exponent > np.maximum(3 * error, 1e-3)

    def first(where: Any) -> float:
        return float(mu[where].min()) if where.any() else math.nan

    return {
        "first period two": first(period == 2),
        "first period four": first(period == 4),
        "first period three": first(period == 3),
        "first chaos": first(chaotic),
        "share of chaos beyond first": float(chaotic[mu >= first(chaotic)].mean()) if chaotic.any() else 0.0,
        "largest exponent": float(np.nanmax(exponent)) if np.isfinite(exponent).any() else math.nan,
        "first divergence": first(period < 0),
    }


def _verdict(numbers: dict[str, Any]) -> str:
    """One sentence, of what the range of learning rates contains."""
    words = {
        "first period two": "period two is first met at {:.3f}",
        "first period four": "period four at {:.3f}",
        "first chaos": "chaos (a positive Lyapunov exponent) at {:.3f}",
        "first divergence": "divergence at {:.3f}",
    }
    met = [text.format(numbers[name]) for name, text in words.items() if not math.isnan(numbers[name])]
    if not met:
        return "at every one of these learning rates the start converges to a minimizer"
    return f"in units of the largest stable learning rate, {', '.join(met)}"


def bifurcation(settings: FigureSettings) -> Drawing:
    """Attractor and Lyapunov exponents of the infinite-width map, from half the edge to divergence."""
    dimension, norm, low, high, points = 20, 3.0, 0.5, 2.0, 1500
    planar = PlanarMap(dimension, norm, 1.0)
    record = bifurcation_diagram(dimension, norm, factors=np.linspace(low, high, points).tolist())
    settings.on_progress(1, 1)
    drawing = bifurcation_figure(record, planar)
    configuration = {"dimension": dimension, "target_norm": norm, "from": low, "to": high, "points": points}
    return drawing._replace(configuration=configuration)
