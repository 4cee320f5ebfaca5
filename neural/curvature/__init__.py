"""Curvature of a loss: operators as functions of parameters and batch, and certified eigenvalues."""

from .along_updates import optimizer_update
from .batch import Batch
from .criteria import CRITERIA, CROSS_ENTROPY, TOKEN_CROSS_ENTROPY
from .estimates import ESTIMATE_KINDS, NOT_CONVERGED, CurvatureEstimate
from .loss_function import OWN_LOSS
from .meter import Measurements, Meter, measure
from .metric import Metric, stability_threshold
from .midpoints import Midpoints
from .objective import Objective
from .operators import GaussNewton, Hessian, Residual, TangentKernel
from .quantities import CURVATURE_QUANTITIES
from .scipy_operator import linear_operator
from .stochastic import SpectralDensity, TraceEstimate, estimate_trace, spectral_density
from .symmetric import DenseOperator, SymmetricOperator
from .tracker import Eigenpairs, NotConvergedWarning, SpectrumTracker

__all__ = [
    "CRITERIA",
    "CROSS_ENTROPY",
    "CURVATURE_QUANTITIES",
    "ESTIMATE_KINDS",
    "NOT_CONVERGED",
    "OWN_LOSS",
    "TOKEN_CROSS_ENTROPY",
    "Batch",
    "CurvatureEstimate",
    "DenseOperator",
    "Eigenpairs",
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
