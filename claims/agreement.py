"""The claim that ties the rooms together: the latent system is the network."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..neural import TwoLayerLinear, descend, resolve_device
from ..simulations import trajectory
from ..theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    LatentState,
    Problem,
    gaussian_weights,
    latent_state,
    uniform_target,
)
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..theory import Array, Parametrization, Weights

AGREEMENT_DIMENSIONS = (1, 5, 20)
AGREEMENT_WIDTHS = (1, 3, 64, 1024)
AGREEMENT_STEPS = 200
AGREEMENT_TOLERANCE = 1e-12


class AgreementCase(NamedTuple):
    """One comparison of a network with the latent system."""

    parametrization: Parametrization
    dimension: int
    width: int
    seed: int


class Agreement(NamedTuple):
    """How far a network and the latent system drift apart over a run."""

    learning_rate: float
    errors: dict[str, float]
    """Largest relative error of w, e and v over all steps, in the maximum norm."""


def stable_learning_rate(problem: Problem, weights: Weights) -> float:
    """A learning rate at which the trajectory converges: a third of both stability thresholds.

    One is `2/sharpness` at the start, the other `1/(kappa |w*|)`, beyond which no minimizer is stable.
    """
    start = float(OBSERVABLES["sharpness"].compute(latent_state(problem, weights), problem))
    return min(2 / start, 1 / (problem.kappa * float(np.linalg.norm(problem.target)))) / 3


def compare_network(case: AgreementCase, steps: int = AGREEMENT_STEPS, device: str = "cpu") -> Agreement:
    """Run PyTorch on the raw weights and Numba on the latent state from the same weights."""
    problem = Problem(case.parametrization, case.width, uniform_target(case.dimension, 1.0))
    weights = gaussian_weights(problem, np.random.default_rng([case.seed, case.width]))
    rate = stable_learning_rate(problem, weights)
    latent = trajectory(problem, latent_state(problem, weights), rate, steps)
    network = descend(TwoLayerLinear(problem, weights, resolve_device(device)), rate, steps)
    histories = zip(*network, strict=True)
    errors = {
        name: _largest_relative_error(values, np.array(history))
        for name, values, history in zip(LatentState._fields, latent, histories, strict=True)
    }
    return Agreement(rate, errors)


def _largest_relative_error(values: Array, references: Array) -> float:
    """Largest over steps of the error in the maximum norm, relative to the reference; NaN if anything is."""
    if values.shape != references.shape:
        raise ValueError(f"histories of shapes {values.shape} and {references.shape}")
    steps = len(references)
    error = np.abs(values - references).reshape(steps, -1).max(axis=1)
    scale = np.abs(references).reshape(steps, -1).max(axis=1)
    return float(np.max(error / np.where(scale > 0, scale, 1.0)))


def _latent_is_network(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    cases = [
        AgreementCase(table, dimension, width, settings.seed)
        for table, dimension, width in product(
            PARAMETRIZATIONS.values(), AGREEMENT_DIMENSIONS, AGREEMENT_WIDTHS
        )
    ]
    errors = []
    for done, case in enumerate(cases, start=1):
        errors.append(compare_network(case, device=settings.device).errors)
        report(done / len(cases))
    worst = {name: float(np.max([found[name] for found in errors])) for name in LatentState._fields}
    largest = float(np.max(list(worst.values())))  # NaN, unlike with max(), if one is
    summary = (
        f"largest relative error {largest:.1e} over {len(cases)} networks and {AGREEMENT_STEPS} steps each"
    )
    figures = {f"largest relative error of {name}": error for name, error in worst.items()}
    verdict = Verdict.VERIFIED if largest <= AGREEMENT_TOLERANCE else Verdict.REFUTED
    return CheckResult(verdict, Evidence(summary, figures, largest, AGREEMENT_TOLERANCE, (settings.seed,)))


AGREEMENT_CLAIMS = (
    Claim(
        id="latent-is-network",
        room="simulations",
        statement="The latent system reproduces gradient descent on the raw weights, to rounding",
        source="Theorem 5.1",
        kind=Kind.NUMERIC,
        method="Numba latent system against PyTorch autograd on (E, V); D 1-20, N 1-1024, NTP, muP, SP",
        check=_latent_is_network,
    ),
)
