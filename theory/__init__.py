"""What is true: the nouns of the theory, the parametrization table, closed forms and symbolic derivations.

The closed forms need only NumPy and SciPy. SymPy is loaded when a derivation is asked for:
`theory.derivation("5.1")`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .deep_linear import (
    READINGS,
    LinearData,
    best_learning_rate,
    draw_overlaps,
    limit_learning_rate,
    one_step_loss,
)
from .evolution import evolve
from .flow import conserved, final_sharpness_mup, final_sharpness_ntp, integrate
from .fluctuations import Deviation, growth_factors, predicted_deviation
from .generalised import Descent, LinearNetwork
from .observables import (
    OBSERVABLES,
    EigenvalueTail,
    NoTail,
    Observable,
    TraceTail,
    critical_sharpness,
)
from .parametrization import (
    ADAM,
    ADAMW,
    KINDS,
    OPTIMIZERS,
    PARAMETRIZATIONS,
    SGD,
    TABLE,
    BranchRule,
    LayerRule,
    Parametrization,
    Scale,
    parametrization,
)
from .planar import PlanarMap, PlanarState, UniversalState, universal_step
from .problem import Array, IsotropicTarget, Problem, uniform_target
from .scaling import Exponents, Regime, depth_exponents, gradient_scale, regime, width_exponents
from .stability import (
    flattest_minimizer,
    jacobian,
    largest_stable_learning_rate,
    marginal_sharpness,
    minimizer,
    smallest_minimizer_sharpness,
)
from .state import LatentState, Weights, gaussian_weights, initial_state, latent_state, limit_state
from .wishart import wishart_state

if TYPE_CHECKING:
    from .symbolic import Derivation

__all__ = [
    "ADAM",
    "ADAMW",
    "KINDS",
    "OBSERVABLES",
    "OPTIMIZERS",
    "PARAMETRIZATIONS",
    "READINGS",
    "SGD",
    "TABLE",
    "Array",
    "BranchRule",
    "Descent",
    "Deviation",
    "EigenvalueTail",
    "Exponents",
    "IsotropicTarget",
    "LatentState",
    "LayerRule",
    "LinearData",
    "LinearNetwork",
    "NoTail",
    "Observable",
    "Parametrization",
    "PlanarMap",
    "PlanarState",
    "Problem",
    "Regime",
    "Scale",
    "TraceTail",
    "UniversalState",
    "Weights",
    "best_learning_rate",
    "conserved",
    "critical_sharpness",
    "depth_exponents",
    "derivation",
    "draw_overlaps",
    "evolve",
    "final_sharpness_mup",
    "final_sharpness_ntp",
    "flattest_minimizer",
    "gaussian_weights",
    "gradient_scale",
    "growth_factors",
    "initial_state",
    "integrate",
    "jacobian",
    "largest_stable_learning_rate",
    "latent_state",
    "limit_learning_rate",
    "limit_state",
    "marginal_sharpness",
    "minimizer",
    "one_step_loss",
    "parametrization",
    "predicted_deviation",
    "regime",
    "smallest_minimizer_sharpness",
    "uniform_target",
    "universal_step",
    "width_exponents",
    "wishart_state",
]


def derivation(name: str) -> Derivation:
    """A statement derived symbolically: its steps, SymPy expressions and LaTeX.

    Parameters
    ----------
    name
        A statement of the paper or of this toolkit, such as "5.1" or "exact-sharpness".

    Raises
    ------
    InputError
        If there is no such derivation; the message lists those there are.
    """
    from . import symbolic  # noqa: PLC0415 - loads SymPy, which nothing else here needs

    return symbolic.build_derivation(name)
