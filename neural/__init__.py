"""Real networks: models, data, training and curvature, in PyTorch."""

from .convnet import SimpleConvNet
from .curvature import (
    Batch,
    Eigenpairs,
    GaussNewton,
    Hessian,
    Metric,
    NotConvergedWarning,
    Objective,
    Residual,
    SpectrumTracker,
    TangentKernel,
    stability_threshold,
)
from .data import Dataset, load_images
from .device import resolve_device
from .grid import Grid, train_grid
from .training import TrainingConfig
from .two_layer import TwoLayerLinear, dense_hessian, descend

__all__ = [
    "Batch",
    "Dataset",
    "Eigenpairs",
    "GaussNewton",
    "Grid",
    "Hessian",
    "Metric",
    "NotConvergedWarning",
    "Objective",
    "Residual",
    "SimpleConvNet",
    "SpectrumTracker",
    "TangentKernel",
    "TrainingConfig",
    "TwoLayerLinear",
    "dense_hessian",
    "descend",
    "load_images",
    "resolve_device",
    "stability_threshold",
    "train_grid",
]
