"""The figures by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import require_known
from .bifurcation import bifurcation
from .coordinates import figure_28
from .drawing import SCALES
from .early import figure_24, figure_26
from .edge import edge
from .fluctuations import error_bars
from .networks import figure_1
from .phase_plane import portrait, portrait_universal
from .spectra import figure_2, figure_3
from .style import paper_style
from .two_layer import figure_5, figure_10
from .width import deviation, optimum, width_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from .drawing import Drawing, FigureSettings


class FigureSpec(NamedTuple):
    """A figure that can be made."""

    title: str
    make: Callable[[FigureSettings], Drawing]
    scales: tuple[str, ...] = SCALES


def draw_figure(name: str, settings: FigureSettings) -> Drawing:
    """Make a figure by name.

    Raises
    ------
    InputError
        If there is no such figure, or not at that scale.
    """
    require_known("figure", name, FIGURES)
    require_known(f"scale of figure {name}", settings.scale, FIGURES[name].scales)
    with paper_style():
        return FIGURES[name].make(settings)


FIGURES: dict[str, FigureSpec] = {
    "1": FigureSpec("sharpness, loss and learning-rate transfer, muP above NTP", figure_1),
    "2": FigureSpec("Hessian and kernel eigenvalues 1, 4 and 10 over time, muP", figure_2),
    "3": FigureSpec("distance of sharpness, loss and kernel to a wide network, muP", figure_3),
    "5": FigureSpec("largest eigenvalues of G and R on the way, muP and NTP", figure_5),
    "10": FigureSpec("loss of the two-layer linear network under NTP and muP", figure_10),
    "24": FigureSpec("first steps to the edge of stability, muP and NTP", figure_24),
    "26": FigureSpec("sharpness with random features, under muP and under NTP", figure_26),
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
"""Every figure by its number in the paper or its name."""
