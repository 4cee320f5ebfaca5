"""Every experiment by name: the one list that commands, gallery, report, ledger and tests read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import require_distinct, require_known
from .latent.bifurcation import BIFURCATION
from .latent.deviation import DEVIATION
from .latent.edge import EDGE_APPROACH
from .latent.error_bars import ERROR_BARS
from .latent.optimum import OPTIMUM
from .latent.portrait import PORTRAIT, PORTRAIT_UNIVERSAL
from .latent.width_check import WIDTH_CHECK
from .paper.ablations import FIGURE_26
from .paper.coordinates import FIGURE_28
from .paper.early import FIGURE_24
from .paper.trained import TRAINED_SHARPNESS
from .paper.two_layer import FIGURE_5, FIGURE_10
from .paper.width import FIGURE_1, FIGURE_2, FIGURE_3

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .base import Experiment


def _by_name(*experiments: Experiment) -> Mapping[str, Experiment]:
    require_distinct("experiments", [one.name for one in experiments])
    return {one.name: one for one in experiments}


EXPERIMENTS = _by_name(
    FIGURE_1,
    FIGURE_2,
    FIGURE_3,
    FIGURE_5,
    FIGURE_10,
    FIGURE_24,
    FIGURE_26,
    FIGURE_28,
    TRAINED_SHARPNESS,
    EDGE_APPROACH,
    ERROR_BARS,
    WIDTH_CHECK,
    OPTIMUM,
    DEVIATION,
    PORTRAIT,
    PORTRAIT_UNIVERSAL,
    BIFURCATION,
)
"""By a figure's number in the paper, or a word."""


def experiment(name: str) -> Experiment:
    """An experiment by name.

    Raises
    ------
    InputError
        If there is none.
    """
    require_known("experiment", name, tuple(EXPERIMENTS))
    return EXPERIMENTS[name]
