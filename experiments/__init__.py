"""Everything a person can ask for, one object each: run, judged, drawn and told in one place for all."""

from .base import LAPTOP, PAPER, SCALES, SMOKE, Arm, Experiment, Setup, Statement, over
from .registry import EXPERIMENTS, experiment
from .series import FIRST, LAST, Series

__all__ = [
    "EXPERIMENTS",
    "FIRST",
    "LAPTOP",
    "LAST",
    "PAPER",
    "SCALES",
    "SMOKE",
    "Arm",
    "Experiment",
    "Series",
    "Setup",
    "Statement",
    "experiment",
    "over",
]
