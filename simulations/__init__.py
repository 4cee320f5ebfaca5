"""The latent dynamical system run fast: compiled kernels, ensembles, planar orbits."""

from ..records import schedule
from .ensemble import Ensemble, simulate, trajectory
from .planar import Orbit, iterate

__all__ = ["Ensemble", "Orbit", "iterate", "schedule", "simulate", "trajectory"]
