"""What the published code did otherwise, each by name: for runs `as_published`, to attribute a difference."""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from ...theory import PARAMETRIZATIONS, SGD, Scale
from ..curvature.reductions import inner_product, norm
from ..networks import ConvNetSettings, VisionTransformerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...theory import Parametrization
    from ..curvature.symmetric import SymmetricOperator
    from ..networks import Architecture
    from .optimizers import Optimizer

SHARED_INITIALISATION = "shared-initialisation"
NTP_AS_SP = "ntp-as-sp"
ADAM_RATE = "adam-rate-with-fan-in"
MOMENTUM_OVER_WIDTH = "momentum-over-width"
INNER_WIDTH = "vit-inner-128"
BRANCH_GAIN = "branch-gain"
UNFROZEN = "unfrozen-hessian"
SUMMED_KERNEL = "summed-kernel"
POWER_ITERATION = "power-iteration"
AUGMENTED_PROBE = "augmented-probe"

PUBLISHED: Mapping[str, str] = MappingProxyType(
    {
        SHARED_INITIALISATION: "all seeds share one initialisation: error bars show data order only",
        NTP_AS_SP: "what is called SP is NTP",
        ADAM_RATE: "Adam's learning rate under muP is proportional to the fan-in",
        MOMENTUM_OVER_WIDTH: "SGD's momentum is divided by gamma^2",
        INNER_WIDTH: "the vision transformer's MLP is 128 wide at every width",
        BRANCH_GAIN: "weights inside the ConvNet's residual blocks have a gain of sqrt(2)",
        UNFROZEN: "the Hessian is that of all weights, also where layers are frozen",
        SUMMED_KERNEL: "the kernel's eigenvalues are not divided by the number of examples",
        POWER_ITERATION: "the sharpness is by power iteration: largest in modulus, ended by a small change",
        AUGMENTED_PROBE: "the sharpness is measured on augmented examples",
    }
)
"""The oddities by name."""


def published_table(table: Parametrization, oddities: frozenset[str]) -> Parametrization:
    """A row of the table as the published code had it."""
    if NTP_AS_SP in oddities and table.name == "sp":
        return PARAMETRIZATIONS["ntp"]
    if ADAM_RATE in oddities and table.hidden.adam != Scale():
        rules = {
            name: replace(getattr(table, rule), adam=Scale.of(fan_in=1))
            for name, rule in (("hidden", "hidden"), ("readout", "readout"), ("first", "input"))
        }
        return replace(table, **rules)
    return table


def published_architecture(architecture: Architecture, oddities: frozenset[str]) -> Architecture:
    """A network's settings as the published code had them."""
    if INNER_WIDTH in oddities and isinstance(architecture, VisionTransformerSettings):
        return replace(architecture, inner=128)
    if BRANCH_GAIN in oddities and isinstance(architecture, ConvNetSettings):
        return replace(architecture, gain=math.sqrt(2))
    return architecture


def published_optimizer(
    optimizer: Optimizer, table: Parametrization, width: int, oddities: frozenset[str]
) -> Optimizer:
    """An optimizer as the published code had it, for a network whose readout has this fan-in."""
    if MOMENTUM_OVER_WIDTH in oddities and optimizer.name == SGD and optimizer.momentum:
        gamma_squared = float(table.hidden.learning_rate.at(width=float(width), fan_in=float(width)))
        return replace(optimizer, momentum=optimizer.momentum / gamma_squared)
    return optimizer


def power_iteration(
    operator: SymmetricOperator,
    generator: torch.Generator,
    *,
    iterations: int = 100,
    tolerance: float = 1e-3,
) -> float:
    """The eigenvalue that the published measurement ends at: largest in modulus if it ends well.

    It stops when the Rayleigh quotient changes by less than a part of itself, which can be between the two
    ends of a nearly symmetric spectrum; that is why everything else here uses `SpectrumTracker`.

    Parameters
    ----------
    operator, generator
        The operator, and the start's randomness, on the CPU.
    iterations, tolerance
        Products at most, and the relative change that ends them.

    Notes
    -----
    Source: Appendix J.1, Noci et al. 2024, and the settings that it names.
    """
    drawn = torch.randn(operator.size, generator=generator, dtype=operator.dtype)
    vector = drawn.to(operator.device)
    value = math.nan
    for _ in range(iterations):
        length = norm(vector)
        if length == 0:
            return 0.0
        vector = vector / length
        product = operator(vector)
        before, value = value, inner_product(vector, product)
        if abs(value - before) < tolerance * (abs(before) + 1e-6):
            break
        vector = product
    return value
