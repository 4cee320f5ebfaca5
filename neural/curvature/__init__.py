"""Curvature of a loss: operators as functions of parameters and batch, and certified eigenvalues."""

from .metric import Metric, stability_threshold
from .objective import CRITERIA, Batch, Objective
from .operators import GaussNewton, Hessian, Residual, SymmetricOperator, TangentKernel
from .tracker import Eigenpairs, NotConvergedWarning, SpectrumTracker

__all__ = [
    "CRITERIA",
    "Batch",
    "Eigenpairs",
    "GaussNewton",
    "Hessian",
    "Metric",
    "NotConvergedWarning",
    "Objective",
    "Residual",
    "SpectrumTracker",
    "SymmetricOperator",
    "TangentKernel",
    "stability_threshold",
]
