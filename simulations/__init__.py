"""The latent dynamical system run fast: compiled kernels, ensembles, limits, and what is read off them."""

from ..records import schedule
from .attractors import LyapunovExponents, detect_period, lyapunov_exponents
from .basins import Fates, OrbitFate, find_outcomes
from .choice import METHODS, Choice, choose_method
from .ensemble import plan_record, simulate, trajectory
from .grid import Ensemble
from .planar import Advanced, Orbit, advance_planar, iterate
from .proportional import proportional_limit

__all__ = [
    "METHODS",
    "Advanced",
    "Choice",
    "Ensemble",
    "Fates",
    "LyapunovExponents",
    "Orbit",
    "OrbitFate",
    "advance_planar",
    "choose_method",
    "detect_period",
    "find_outcomes",
    "iterate",
    "lyapunov_exponents",
    "plan_record",
    "proportional_limit",
    "schedule",
    "simulate",
    "trajectory",
]
