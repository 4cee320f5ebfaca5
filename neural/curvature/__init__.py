"""Curvature of a loss: operators as functions of parameters and batch, and certified eigenvalues."""

from .along_updates import optimizer_update
from .batch import Batch
from .criteria import CRITERIA, CROSS_ENTROPY, TOKEN_CROSS_ENTROPY
from .estimates import KINDS, NOT_CONVERGED, Estimate
from .linear_operator import linear_operator
from .measure import Measurements, Meter, measure
from .metric import Metric, stability_threshold
from .midpoints import Midpoints
from .objective import OWN_LOSS, Objective
from .operators import DenseOperator, GaussNewton, Hessian, Residual, SymmetricOperator, TangentKernel
from .quantities import QUANTITIES
from .stochastic import SpectralDensity, TraceEstimate, estimate_trace, spectral_density
from .tracker import Eigenpairs, NotConvergedWarning, SpectrumTracker

__all__ = [
    "CRITERIA",
    "CROSS_ENTROPY",
    "KINDS",
    "NOT_CONVERGED",
    "OWN_LOSS",
    "QUANTITIES",
    "TOKEN_CROSS_ENTROPY",
    "Batch",
    "DenseOperator",
    "Eigenpairs",
    "Estimate",
    "GaussNewton",
    "Hessian",
    "Measurements",
    "Meter",
    "Metric",
    "Midpoints",
    "NotConvergedWarning",
    "Objective",
    "Residual",
    "SpectralDensity",
    "SpectrumTracker",
    "SymmetricOperator",
    "TangentKernel",
    "TraceEstimate",
    "estimate_trace",
    "linear_operator",
    "measure",
    "optimizer_update",
    "spectral_density",
    "stability_threshold",
]
