"""Claims about the Hessian: the exact sharpness, what else (w, e, v) tell of it, and a misprint."""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..neural import TwoLayerLinear, dense_hessian, descend
from ..records.tables import Table
from ..theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    LatentState,
    Problem,
    gaussian_weights,
    latent_state,
    parametrization,
)
from ..theory.observables import ntk_spectrum, reduced_hessian
from .checks import compared, corrected
from .ledger import CheckResult, Claim, Correction, Evidence, Kind, Settings
from .published import symbolic_claim

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..theory import Array, Weights

_SIZES = ((1, 1), (1, 8), (2, 1), (3, 2), (4, 4), (5, 16), (8, 3), (10, 40), (12, 5), (12, 64))
"""(D, N), of which four have N < D."""
_STAGES = {"start": 0, "early": 3, "late": 150, "diverging": 60}
"""Steps taken; diverging networks stop once their loss has grown a hundredfold."""
_FACTORS = {"start": 0.3, "early": 0.3, "late": 0.3, "diverging": 3.0}
"""Learning rates in units of the start's stability threshold."""
_TOLERANCE = 1e-12
_RESOLVED = 1e-20
"""Squared gradient norm above which its direction is more than rounding."""


class _Network(NamedTuple):
    """A network at some time, with its dense Hessian in the learning-rate metric."""

    parametrization: str
    stage: str
    problem: Problem
    weights: Weights
    hessian: Array
    eigenvalues: Array

    @property
    def state(self) -> LatentState:
        return latent_state(self.problem, self.weights)


@cache
def _networks(seed: int) -> tuple[_Network, ...]:
    """240 networks: every size and parametrization at four stages of training, two seeds."""
    networks = []
    for (dimension, width), table, draw in product(_SIZES, PARAMETRIZATIONS.values(), range(2)):
        generator = np.random.default_rng([seed, dimension, width, draw])
        problem = Problem(table, width, generator.standard_normal(dimension))
        start = gaussian_weights(problem, generator)
        for stage, steps in _STAGES.items():
            weights = _trained(problem, start, steps, _FACTORS[stage])
            hessian = dense_hessian(problem, weights)
            networks.append(
                _Network(
                    table.name, stage, problem, weights, hessian, np.asarray(np.linalg.eigvalsh(hessian))
                )
            )
    return tuple(networks)


def _trained(problem: Problem, start: Weights, steps: int, factor: float) -> Weights:
    """Raw weights after gradient descent at a multiple of the stability threshold of the start."""
    network = TwoLayerLinear(problem, start)
    sharpness = float(OBSERVABLES["sharpness"].compute(latent_state(problem, start), problem))
    first = float(OBSERVABLES["loss"].compute(latent_state(problem, start), problem))
    for state in descend(network, 2 * factor / sharpness, steps):
        if OBSERVABLES["loss"].compute(state, problem) > 100 * first:
            break
    return network.weights()


def _exact_sharpness(settings: Settings, _report: Callable[[float], None]) -> CheckResult:
    """The sharpness equation against the largest eigenvalue of the dense Hessian."""
    rows, worst = [], 0.0
    networks = _networks(settings.seed)
    for key in product(PARAMETRIZATIONS, _STAGES):
        chosen = [network for network in networks if (network.parametrization, network.stage) == key]
        errors = [_relative(_observed(network, "sharpness"), network.eigenvalues[-1]) for network in chosen]
        sharpnesses = [float(network.eigenvalues[-1]) for network in chosen]
        worst = float(np.max([worst, *errors]))
        rows.append(
            (*key, len(chosen), f"{min(sharpnesses):.2g} to {max(sharpnesses):.2g}", f"{max(errors):.1e}")
        )
    few = sum(network.problem.width < network.problem.dimension for network in networks)
    summary = f"largest relative error {worst:.1e} over {len(networks)} states ({few} with N < D)"
    table = Table(
        "sharpness equation against the dense autograd Hessian, D 1-12, N 1-64",
        ("parametrization", "stage", "states", "sharpness", "largest relative error"),
        tuple(rows),
    )
    return compared(Evidence(summary, {}, worst, _TOLERANCE, (settings.seed,), tables=(table,)))


def _observed(network: _Network, name: str) -> float:
    return float(OBSERVABLES[name].compute(network.state, network.problem))


def _relative(value: float, reference: float, scale: float | None = None) -> float:
    """Error relative to the reference, or to a scale that rounding in the oracle is proportional to."""
    return float(abs(value - reference) / abs(reference if scale is None else scale))


def _observables(settings: Settings, _report: Callable[[float], None]) -> CheckResult:
    """Every other observable, and the subspace, against the dense Hessian and its two parts."""
    errors: dict[str, list[float]] = {}
    for network in _networks(settings.seed):
        for name, error in _observable_errors(network).items():
            errors.setdefault(name, []).append(error)
    worst = {name: float(np.max(found)) for name, found in errors.items()}
    largest = float(np.max(list(worst.values())))
    rows = tuple((name, len(errors[name]), f"{error:.1e}") for name, error in worst.items())
    table = Table(
        "against dense matrices by autograd", ("observable", "states", "largest relative error"), rows
    )
    summary = (
        f"largest relative error {largest:.1e} over {len(worst)} observables, {len(errors['trace'])} states"
    )
    return compared(Evidence(summary, worst, largest, 1e-11, (settings.seed,), tables=(table,)))


def _observable_errors(network: _Network) -> dict[str, float]:
    """Errors relative to the Hessian's norm, or to the quantity where it has its own scale."""
    problem, state, hessian = network.problem, network.state, network.hessian
    norm = float(np.abs(network.eigenvalues).max())
    jacobian, gradient = _jacobian(network), _gradient(network)
    outer = np.linalg.eigvalsh(jacobian @ jacobian.T)
    inner = np.linalg.eigvalsh(hessian - jacobian.T @ jacobian)
    square = float(gradient @ gradient)
    along = {}
    if square > _RESOLVED:
        curvature = float(gradient @ hessian @ gradient) / square
        along["gradient norm"] = _relative(_observed(network, "gradient_norm") ** 2, square)
        along["directional sharpness"] = _relative(
            _observed(network, "directional_sharpness"), curvature, norm
        )
    return along | {
        "trace": _relative(
            _observed(network, "hessian_trace"), float(np.trace(hessian)), norm * problem.dimension
        ),
        "lambda_max(G)": _relative(_observed(network, "ntk_sharpness"), float(outer[-1]), norm),
        "NTK spectrum": float(np.abs(ntk_spectrum(state, problem) - outer).max()) / norm,
        "lambda_max(R)": _relative(_observed(network, "residual_sharpness"), float(inner[-1]), norm),
        "lambda_min(R)": _relative(-_observed(network, "residual_sharpness"), float(inner[0]), norm),
        "invariant subspace": _subspace_error(network, norm),
    }


def _jacobian(network: _Network) -> Array:
    """`K` of Lemma 5.2 from the raw weights, shape (D, D N + N)."""
    (first, second), dimension = network.weights, network.problem.dimension
    jacobian: Array = math.sqrt(network.problem.gram) * np.hstack([np.kron(np.eye(dimension), second), first])
    return jacobian


def _gradient(network: _Network) -> Array:
    """`gamma grad L` from the raw weights, shape (D N + N,)."""
    problem = network.problem
    residual = problem.multiplier * (network.weights.first @ network.weights.second) - problem.target
    return np.asarray(_jacobian(network).T @ residual)


def _subspace_error(network: _Network, norm: float) -> float:
    """Distance of each Hessian eigenvalue from the reduced matrix's, 0 and +-rho."""
    rho = _observed(network, "residual_sharpness")
    found = np.linalg.eigvals(reduced_hessian(network.state, network.problem))
    known = np.concatenate([found, [0.0, rho, -rho]])
    return float(np.abs(network.eigenvalues[:, None] - known).min(axis=1).max()) / norm


def _eq_11(settings: Settings, _report: Callable[[float], None]) -> CheckResult:
    """Eq. 11 prints `I_N (x) r` beside `I_D (x) V V^T`, which orders the entries of E the other way."""
    generator = np.random.default_rng(settings.seed)
    problem = Problem(parametrization("mup"), 3, generator.standard_normal(2))
    weights = gaussian_weights(problem, generator)
    first, second = weights
    residual = (problem.multiplier * (first @ second) - problem.target)[:, None]
    kernel = np.kron(np.eye(2), np.outer(second, second))
    gauss_newton = problem.gram * np.block(
        [[kernel, np.kron(first, second[:, None])], [np.kron(first.T, second), first.T @ first]]
    )
    dense = dense_hessian(problem, weights)
    error = {}
    for name, block in (
        ("r (x) I_N", np.kron(residual, np.eye(3))),
        ("I_N (x) r", np.kron(np.eye(3), residual)),
    ):
        corner = np.block([[np.zeros((6, 6)), block], [block.T, np.zeros((3, 3))]])
        error[name] = float(np.abs(gauss_newton + problem.kappa * corner - dense).max() / np.abs(dense).max())
    evidence = Evidence(
        f"relative distance from the dense Hessian: {error['I_N (x) r']:.2g} as printed, "
        f"{error['r (x) I_N']:.0e} corrected",
        error,
        seeds=(settings.seed,),
        correction=Correction(
            published="off-diagonal blocks of R are I_N (x) (w - w*), Eq. 11 and 12",
            instead="(w - w*) (x) I_N, as in Eq. 8 and 9: G orders E by input, then neuron",
            counterexample="D = 2, N = 3, muP, Gaussian weights: dense autograd Hessian",
        ),
    )
    return corrected(
        published_fails=error["I_N (x) r"] > 1e-3, instead_holds=error["r (x) I_N"] < 1e-14, evidence=evidence
    )


HESSIAN_CLAIMS = (
    symbolic_claim(
        "exact-sharpness",
        statement="The sharpness is the only zero above kappa |r| of an equation in (w, e, v), or kappa |r|",
        source="beyond the paper: left open at the end of Section 5.1",
        derivation="exact-sharpness",
        label="equation",
        summary="an eigenvalue problem of size N (D + 1) reduced to size D, for every D and N",
        method="elimination of (A, b) from the eigenvector equation, word by word",
    ),
    Claim(
        id="exact-sharpness-hessian",
        room="theory",
        statement="That zero is the largest eigenvalue of the Hessian",
        source="beyond the paper: left open at the end of Section 5.1",
        kind=Kind.NUMERIC,
        method="dense autograd Hessian on raw weights; D 1-12, N 1-64, NTP, muP, SP, start to divergence",
        check=_exact_sharpness,
    ),
    symbolic_claim(
        "invariant-subspace",
        statement="The Hessian leaves 3D + 1 dimensions invariant; other eigenvalues are 0 or +-kappa |r|",
        source="beyond the paper",
        derivation="invariant-subspace",
        summary="the image of each direction has the same form, with coordinates in (w, e, v)",
        method="matrix algebra, every D and N",
    ),
    symbolic_claim(
        "observables",
        statement="Trace, gradient norm and directional sharpness are functions of (w, e, v)",
        source="beyond the paper",
        derivation="observables",
        summary="tr e + D v; r.Theta r; (|Theta r|^2 + 2 c |r|^2 w.r) / r.Theta r",
        method="matrix algebra, every D and N",
    ),
    Claim(
        id="observables-hessian",
        room="theory",
        statement="All observables and the subspace's spectrum are those of the dense Hessian",
        source="Lemma 5.2 and beyond",
        kind=Kind.NUMERIC,
        method="dense autograd Hessian and its parts G and R on the same states",
        check=_observables,
    ),
    Claim(
        id="eq-11-order",
        room="theory",
        statement="The off-diagonal blocks of R are I_N (x) (w - w*), beside those of G",
        source="Appendix C.1, Eq. 11",
        kind=Kind.NUMERIC,
        method="both block matrices against the dense autograd Hessian",
        check=_eq_11,
    ),
)
