"""Every network by name, with its default settings."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from ...errors import require_known
from .convnets import ConvNetSettings, SimpleConvNetSettings
from .dense import DenseSettings
from .transformers import LanguageModelSettings, VisionTransformerSettings

if TYPE_CHECKING:
    from .architecture import Architecture

NETWORKS: dict[str, Any] = {
    "simple-convnet": SimpleConvNetSettings(),
    "convnet": ConvNetSettings(),
    "resnet": ConvNetSettings(depth=6, skip=1.0),
    "vit": VisionTransformerSettings(),
    "transformer": LanguageModelSettings(),
    "transformer-post": LanguageModelSettings(norm="post"),
    "mlp": DenseSettings(),
    "residual-mlp": DenseSettings(depth=6, skip=1.0),
    "two-layer-linear": DenseSettings(depth=0, activation="linear"),
    "deep-linear": DenseSettings(depth=3, activation="linear"),
}
"""Default settings of every network, by its name."""


def network(name: str, **changes: float | str | None) -> Architecture:
    """Settings of a network by name, some of them changed.

    Parameters
    ----------
    name
        One of `NETWORKS`.
    **changes
        Settings by name, such as `depth=12`; the class of the network's settings describes each.

    Raises
    ------
    InputError
        If there is no such network or no such setting, or a value is out of range.
    """
    require_known("network", name, NETWORKS)
    settings = NETWORKS[name]
    known = [field.name for field in fields(settings)]
    for key in changes:
        require_known(f"setting of {name}", key, known)
    changed: Architecture = replace(settings, **changes)
    return changed
