"""The look shared by all figures: sizes for a two-column paper, colours that survive colour blindness."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMN = 3.3
"""Width of a column, inches."""
PAGE = 6.9
"""Width of a page, inches."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart under every common colour blindness."""

LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))


@contextmanager
def paper_style() -> Iterator[None]:
    """Matplotlib settings for a figure that is read at column width."""
    settings: dict[Any, Any] = {
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "legend.fontsize": 6.5,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.2,
        "legend.frameon": False,
        "figure.dpi": 150,
        "savefig.dpi": 200,
        "pdf.fonttype": 42,
        "svg.hashsalt": "superconsistency",
        "figure.constrained_layout.use": True,
    }
    with mpl.rc_context(settings):
        yield


def ordered_colours(count: int) -> Sequence[tuple[float, float, float, float]]:
    """Colours for an ordered quantity such as width, dark to light, monotone in lightness."""
    return [tuple(colour) for colour in mpl.colormaps["viridis"](np.linspace(0.0, 0.85, max(count, 1)))]
