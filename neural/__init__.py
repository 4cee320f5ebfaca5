"""Real networks: models, data, training and curvature, in PyTorch."""

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
from .data import Augmentation, Dataset, load_dataset, load_images
from .device import resolve_device
from .networks import NETWORKS, SimpleConvNet, network
from .training import Checkpoint, Grid, Optimizer, TrainingConfig, train_grid
from .two_layer import TwoLayerLinear, dense_hessian, descend

__all__ = [
    "NETWORKS",
    "Augmentation",
    "Batch",
    "Checkpoint",
    "Dataset",
    "Eigenpairs",
    "GaussNewton",
    "Grid",
    "Hessian",
    "Metric",
    "NotConvergedWarning",
    "Objective",
    "Optimizer",
    "Residual",
    "SimpleConvNet",
    "SpectrumTracker",
    "TangentKernel",
    "TrainingConfig",
    "TwoLayerLinear",
    "dense_hessian",
    "descend",
    "load_dataset",
    "load_images",
    "network",
    "resolve_device",
    "stability_threshold",
    "train_grid",
]
