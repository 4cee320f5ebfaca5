"""The spectral density of a curvature matrix, with its outermost eigenvalues and the edge of stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from .style import COLUMN, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..neural.curvature import SpectralDensity

_SMOOTHING = 0.01
"""Width of the smoothing relative to the range of the spectrum."""

_POINTS = 800

_FARTHEST = 2.0
"""Distance of a mark beyond the spectrum, in ranges of it, up to which it is shown."""

_LABELS = ("sharpness", "smallest eigenvalue", "edge of stability")
_COLOURS = (PALETTE[1], PALETTE[2], "0.35")


class Landmarks(NamedTuple):
    """Values to mark on the axis of eigenvalues; None where there is none."""

    sharpness: float | None = None
    smallest: float | None = None
    edge: float | None = None
    """Sharpness at the edge of stability."""


def draw_spectrum(axes: Axes, spectrum: SpectralDensity, landmarks: Landmarks | None = None) -> Axes:
    """Number of eigenvalues per unit, logarithmic, with a band of one standard error.

    Parameters
    ----------
    axes
        To draw into.
    spectrum
        Not of a network that has diverged.
    landmarks
        What to mark.
    """
    marks = landmarks or Landmarks()
    ends = [value for value in marks[:2] if value is not None]
    low, high = min([*ends, spectrum.nodes.min()]), max([*ends, spectrum.nodes.max()])
    width = _SMOOTHING * (high - low or abs(high) or 1.0)
    at = np.linspace(low - 4 * width, high + 4 * width, _POINTS)
    mean, error = (spectrum.size * values for values in spectrum.density(at, width))
    axes.fill_between(at, np.maximum(mean - error, 0), mean + error, color=PALETTE[0], alpha=0.25, lw=0)
    axes.semilogy(at, mean, color=PALETTE[0])
    # A hundredth of what a single eigenvalue shows: below there is none. Above, room for the legend.
    axes.set_ylim(0.01 / (width * np.sqrt(2 * np.pi)), 1e3 * mean.max())
    farthest = high + _FARTHEST * (high - low)
    for value, label, colour in zip(marks, _LABELS, _COLOURS, strict=True):
        if value is None:
            continue
        if value <= farthest:
            axes.axvline(value, color=colour, ls="--", lw=0.8, label=f"{label} {value:.3g}")
        else:
            axes.plot([], [], color=colour, ls="--", lw=0.8, label=f"{label} {value:.3g}, to the right")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left")
    axes.set_xlabel("eigenvalue")
    axes.set_ylabel("eigenvalues per unit")
    return axes


def spectrum_figure(spectrum: SpectralDensity, landmarks: Landmarks, title: str) -> Figure:
    """One panel, as `draw_spectrum`."""
    figure, axes = plt.subplots(figsize=(1.4 * COLUMN, 2.6))
    draw_spectrum(axes, spectrum, landmarks).set_title(title)
    return figure
