"""Curvature of a loss: operators as functions of parameters and batch, and certified eigenvalues."""

from .estimates import KINDS, NOT_CONVERGED, Estimate
from .measure import Measurements, Meter, measure
from .metric import Metric, stability_threshold
from .objective import CRITERIA, Batch, Objective
from .operators import DenseOperator, GaussNewton, Hessian, Residual, SymmetricOperator, TangentKernel
from .quantities import QUANTITIES
from .stochastic import SpectralDensity, TraceEstimate, estimate_trace, spectral_density
from .tracker import Eigenpairs, NotConvergedWarning, SpectrumTracker

__all__ = [
    "CRITERIA",
    "KINDS",
    "NOT_CONVERGED",
    "QUANTITIES",
    "Batch",
    "DenseOperator",
    "Eigenpairs",
    "Estimate",
    "GaussNewton",
    "Hessian",
    "Measurements",
    "Meter",
    "Metric",
    "NotConvergedWarning",
    "Objective",
    "Residual",
    "SpectralDensity",
    "SpectrumTracker",
    "SymmetricOperator",
    "TangentKernel",
    "TraceEstimate",
    "estimate_trace",
    "measure",
    "spectral_density",
    "stability_threshold",
]
