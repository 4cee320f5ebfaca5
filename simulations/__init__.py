"""The latent dynamical system run fast: compiled kernels, ensembles, limits, and what is read off them."""

from ..records import schedule
from .basins import Fates, Outcome, find_outcomes
from .bifurcation import Exponents, detect_period, lyapunov_exponents
from .choice import METHODS, Choice, choose_method
from .edge import approach_edge
from .ensemble import Ensemble, plan_record, simulate, trajectory
from .error_bars import sample_error_bars
from .planar import Advanced, Orbit, advance_planar, iterate
from .proportional import proportional_limit

__all__ = [
    "METHODS",
    "Advanced",
    "Choice",
    "Ensemble",
    "Exponents",
    "Fates",
    "Orbit",
    "Outcome",
    "advance_planar",
    "approach_edge",
    "choose_method",
    "detect_period",
    "find_outcomes",
    "iterate",
    "lyapunov_exponents",
    "plan_record",
    "proportional_limit",
    "sample_error_bars",
    "schedule",
    "simulate",
    "trajectory",
]
