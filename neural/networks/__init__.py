"""The paper's networks, every layer scaled by its row of the parametrization table."""

from .architecture import WIDEST, Architecture, require_kind
from .catalogue import NETWORKS, network
from .convnets import ConvNet, ConvNetSettings, SimpleConvNet, SimpleConvNetSettings
from .dense import ACTIVATIONS, DenseNet, DenseSettings
from .layers import NORMS, Network, ScaledLayer, Scales, Scaling, parameter_scales, scaled_layers
from .transformers import (
    Attention,
    LanguageModel,
    LanguageModelSettings,
    VisionTransformer,
    VisionTransformerSettings,
)

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
