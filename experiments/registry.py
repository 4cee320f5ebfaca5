"""Every experiment by name: the one list that commands, gallery, report, ledger and tests read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import require_distinct, require_known
from .paper.ablations import FIGURE_26
from .paper.early import FIGURE_24
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
    FIGURE_24,
    FIGURE_26,
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
