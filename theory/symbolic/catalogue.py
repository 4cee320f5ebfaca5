"""Every derivation by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import require_known
from . import (
    deep,
    flow,
    fluctuations,
    generalised,
    hessian,
    laws,
    output,
    plane,
    sharpness_equation,
    stability,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .core import Derivation

DERIVATIONS: Mapping[str, Callable[[], Derivation]] = {
    "5.1": laws.theorem_5_1,
    "5.2": hessian.lemma_5_2,
    "5.3": stability.proposition_5_3,
    "5.4": laws.corollary_5_4,
    "ntp-limit": laws.ntp_limit,
    "C.1": start.proposition_c_1,
    "C.3": laws.standard_laws,
    "C.3.2": start.standard_start,
    "D": output.appendix_d,
    "congruence": laws.congruence,
    "generalised": generalised.generalised_derivation,
    "exact-sharpness": sharpness_equation.exact_sharpness,
    "invariant-subspace": hessian.invariant_subspace,
    "observables": hessian.observables_derivation,
    "eta-max": stability.largest_stable_rate,
    "planar": plane.planar_derivation,
    "planar-sharpness": plane.planar_sharpness_derivation,
    "universal": plane.universal,
    "cubic": plane.cubic,
    "flow": flow.flow_integrals,
    "flow-sharpness": flow.flow_sharpness,
    "wishart": start.wishart_derivation,
    "fluctuations": fluctuations.fluctuations_derivation,
    "one-step": deep.one_step_transfer,
}
"""Derivations by the number of the statement, or by its name where it has none."""


def build_derivation(name: str) -> Derivation:
    """A derivation, made anew.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    require_known("derivation", name, DERIVATIONS)
    return DERIVATIONS[name]()
