"""What is true: the nouns of the theory, the parametrization table, closed forms and symbolic derivations.

The closed forms need only NumPy and SciPy; `derivation` and `moments` bring SymPy and are imported by name
(`from superconsistency.theory import derivation`).
"""

from .evolution import evolve
from .observables import OBSERVABLES, Observable
from .parametrization import PARAMETRIZATIONS, LayerRule, Parametrization, Scale, parametrization
from .planar import PlanarMap, PlanarState
from .problem import Array, Problem, uniform_target
from .state import LatentState, Weights, gaussian_weights, initial_state, latent_state, limit_state

__all__ = [
    "OBSERVABLES",
    "PARAMETRIZATIONS",
    "Array",
    "LatentState",
    "LayerRule",
    "Observable",
    "Parametrization",
    "PlanarMap",
    "PlanarState",
    "Problem",
    "Scale",
    "Weights",
    "evolve",
    "gaussian_weights",
    "initial_state",
    "latent_state",
    "limit_state",
    "parametrization",
    "uniform_target",
]
