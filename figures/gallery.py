"""Figures that are no experiments yet, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .bifurcation import bifurcation
from .coordinates import figure_28
from .drawing import LAPTOP_AND_PAPER
from .edge import edge
from .fluctuations import error_bars
from .phase_plane import portrait, portrait_universal
from .two_layer import figure_5, figure_10
from .width import deviation, optimum, width_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from .drawing import Drawing, FigureSettings


class FigureSpec(NamedTuple):
    """A figure that can be made."""

    title: str
    make: Callable[[FigureSettings], Drawing]
    scales: tuple[str, ...] = LAPTOP_AND_PAPER


FIGURES: dict[str, FigureSpec] = {
    "5": FigureSpec("largest eigenvalues of G and R on the way, muP and NTP", figure_5),
    "10": FigureSpec("loss of the two-layer linear network under NTP and muP", figure_10),
    "28": FigureSpec("coordinate check: activations against width, muP", figure_28),
    "portrait": FigureSpec("phase portrait of the infinite-width map under muP", portrait),
    "portrait-universal": FigureSpec("the same map in its universal coordinates", portrait_universal),
    "bifurcation": FigureSpec("attractors and Lyapunov exponents over the learning rate", bifurcation),
    "edge": FigureSpec("approach to the edge of stability, muP and NTP", edge),
    "width-check": FigureSpec("slope of the sharpness on width, step by step", width_check),
    "optimum": FigureSpec("best learning rate against width", optimum),
    "deviation": FigureSpec("distance to the infinite-width limit, Eq. 3 and Figure 3", deviation),
    "error-bars": FigureSpec("fluctuations at finite width, predicted and sampled", error_bars),
}
"""Figures that are drawn by themselves, by number in the paper or name; the others are experiments."""
