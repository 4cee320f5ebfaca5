"""The rooms agree without sharing code: PyTorch on raw weights against Numba on the latent state."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from superconsistency.claims import CLAIMS, Settings, Verdict, agreement, verify
from superconsistency.claims.agreement import (
    AGREEMENT_DIMENSIONS,
    AGREEMENT_STEPS,
    AGREEMENT_TOLERANCE,
    AGREEMENT_WIDTHS,
    AgreementCase,
    compare_network,
)
from superconsistency.neural import TwoLayerLinear, descend
from superconsistency.simulations import trajectory
from superconsistency.theory import (
    OBSERVABLES,
    PARAMETRIZATIONS,
    LatentState,
    Problem,
    gaussian_weights,
    latent_state,
    parametrization,
)


def test_latent_trajectories_are_those_of_the_network_to_rounding(
    record_property: Callable[[str, object], None],
) -> None:
    cases = [
        AgreementCase(table, dimension, width, seed=0)
        for table, dimension, width in product(
            PARAMETRIZATIONS.values(), AGREEMENT_DIMENSIONS, AGREEMENT_WIDTHS
        )
    ]
    errors = {case: compare_network(case).errors for case in cases}
    largest = {name: float(np.max([found[name] for found in errors.values()])) for name in ("w", "e", "v")}
    worst = max(errors, key=lambda case: max(errors[case].values()))
    words = ", ".join(f"{name} {error:.1e}" for name, error in largest.items())
    where = f"{worst.parametrization.title}, D = {worst.dimension}, N = {worst.width}"
    record_property(
        "measured",
        f"latent system against raw-weight PyTorch, {len(cases)} networks, {AGREEMENT_STEPS} steps: "
        f"largest relative error {words} (worst: {where})",
    )
    assert np.max(list(largest.values())) <= AGREEMENT_TOLERANCE


@pytest.mark.parametrize("step", [0, 1, AGREEMENT_STEPS])
def test_a_trajectory_with_a_hole_does_not_agree(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_a_hole(*arguments: Any) -> LatentState:
        states = trajectory(*arguments)
        states.v[step] = np.nan
        return states

    monkeypatch.setattr(agreement, "trajectory", with_a_hole)
    errors = compare_network(AgreementCase(parametrization("mup"), 2, 4, seed=0)).errors
    assert np.isnan(errors["v"])
    (entry,) = verify([claim for claim in CLAIMS if claim.id == "latent-is-network"], Settings())
    assert entry.verdict is Verdict.REFUTED


def test_iterating_w_e_v_itself_loses_the_rank_when_the_network_is_narrower_than_its_input() -> None:
    problem = Problem(parametrization("mup"), 1, np.full(20, 20**-0.5))
    weights = gaussian_weights(problem, np.random.default_rng([0, 1]))
    start, rate = latent_state(problem, weights), 0.4487
    network = list(descend(TwoLayerLinear(problem, weights), rate, AGREEMENT_STEPS))[-1]
    error = {
        method: float(
            np.abs(trajectory(problem, start, rate, AGREEMENT_STEPS, method).w[-1] - network.w).max()
        )
        for method in ("full", "factored")
    }
    assert error["factored"] < 1e-12
    assert error["full"] > 1e6 * error["factored"]


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_a_network_diverges_when_its_latent_trajectory_does(name: str) -> None:
    problem = Problem(parametrization(name), 8, np.ones(3))
    weights = gaussian_weights(problem, np.random.default_rng(0))
    start = latent_state(problem, weights)
    rate = 8 / float(OBSERVABLES["sharpness"].compute(start, problem))
    latent = trajectory(problem, start, rate, 60)
    network = descend(TwoLayerLinear(problem, weights), rate, 60)
    assert np.isnan(latent.w[-1]).all()
    assert any(np.abs(state.w).max() > 1e10 for state in network)
