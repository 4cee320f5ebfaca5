"""Coordinate check: how far every layer moves, against what the parametrization table predicts."""

from .check import USED, CoordinateCheck, default_rate, default_steps
from .report import FAILED, PASSED, TOLERANCE, UNDECIDED, CoordinateReport, Fit, coordinate_check

__all__ = [
    "FAILED",
    "PASSED",
    "TOLERANCE",
    "UNDECIDED",
    "USED",
    "CoordinateCheck",
    "CoordinateReport",
    "Fit",
    "coordinate_check",
    "default_rate",
    "default_steps",
]
