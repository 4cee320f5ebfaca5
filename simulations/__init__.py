"""The latent dynamical system run fast: compiled kernels, ensembles, planar orbits."""

from ..records import schedule
from .choice import METHODS, Choice, choose_method
from .ensemble import Ensemble, simulate, trajectory
from .planar import Orbit, iterate

__all__ = [
    "METHODS",
    "Choice",
    "Ensemble",
    "Orbit",
    "choose_method",
    "iterate",
    "schedule",
    "simulate",
    "trajectory",
]
