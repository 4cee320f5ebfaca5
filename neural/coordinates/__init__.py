"""Coordinate check: how far every layer moves, against what the parametrization table predicts."""

from ...stats.verdicts import UNDECIDED
from .check import USED, CoordinateCheck, default_rate, default_steps
from .report import (
    EXPONENT_TOLERANCE,
    FAILED,
    PASSED,
    CoordinateReport,
    ExponentFit,
    coordinate_check,
)

__all__ = [
    "EXPONENT_TOLERANCE",
    "FAILED",
    "PASSED",
    "UNDECIDED",
    "USED",
    "CoordinateCheck",
    "CoordinateReport",
    "ExponentFit",
    "coordinate_check",
    "default_rate",
    "default_steps",
]
