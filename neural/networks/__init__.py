"""The paper's networks, every layer scaled by its row of the parametrization table."""

from .convnets import WIDEST, ConvNet, SimpleConvNet
from .dense import ACTIVATIONS, DenseNet
from .layers import NORMS, Network, ScaledLayer, Scales, Scaling, parameter_scales, scaled_layers
from .settings import (
    NETWORKS,
    Architecture,
    ConvNetSettings,
    DenseSettings,
    LanguageModelSettings,
    SimpleConvNetSettings,
    VisionTransformerSettings,
    network,
    require_kind,
)
from .transformers import Attention, LanguageModel, VisionTransformer

__all__ = [
    "ACTIVATIONS",
    "NETWORKS",
    "NORMS",
    "WIDEST",
    "Architecture",
    "Attention",
    "ConvNet",
    "ConvNetSettings",
    "DenseNet",
    "DenseSettings",
    "LanguageModel",
    "LanguageModelSettings",
    "Network",
    "ScaledLayer",
    "Scales",
    "Scaling",
    "SimpleConvNet",
    "SimpleConvNetSettings",
    "VisionTransformer",
    "VisionTransformerSettings",
    "network",
    "parameter_scales",
    "require_kind",
    "scaled_layers",
]
