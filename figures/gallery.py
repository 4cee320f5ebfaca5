"""The figures by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import require_known
from .networks import figure_1
from .phase_plane import portrait
from .style import paper_style
from .two_layer import figure_10

if TYPE_CHECKING:
    from collections.abc import Callable

    from .drawing import Drawing, FigureSettings


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


FIGURES: dict[str, FigureSpec] = {
    "1": FigureSpec("sharpness, loss and learning-rate transfer, muP above NTP", figure_1),
    "10": FigureSpec("loss of the two-layer linear network under NTP and muP", figure_10),
    "portrait": FigureSpec("phase portrait of the infinite-width map under muP", portrait),
}
"""Every figure by its number in the paper or its name."""
