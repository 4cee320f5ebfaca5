"""Real networks: models, data, training and curvature, in PyTorch."""

from .convnet import SimpleConvNet
from .curvature import HessianOperator, SharpnessEstimate, sharpness
from .data import Images, load_images
from .device import resolve_device
from .grid import Grid, train_grid
from .training import TrainingConfig
from .two_layer import TwoLayerLinear, dense_hessian, descend

__all__ = [
    "Grid",
    "HessianOperator",
    "Images",
    "SharpnessEstimate",
    "SimpleConvNet",
    "TrainingConfig",
    "TwoLayerLinear",
    "dense_hessian",
    "descend",
    "load_images",
    "resolve_device",
    "sharpness",
    "train_grid",
]
