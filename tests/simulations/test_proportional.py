from __future__ import annotations

import math

import numpy as np
import pytest
from superconsistency.errors import InputError
from superconsistency.simulations import Ensemble, schedule, simulate
from superconsistency.simulations.proportional import proportional_limit
from superconsistency.theory import PARAMETRIZATIONS, IsotropicTarget, Problem, parametrization

QUANTITIES = ("loss", "sharpness", "ntk_sharpness", "second_layer", "gradient_norm", "alignment")
STEPS = (0, 1, 2, 5, 15)


def setting(name: str, dimension: int, ratio: float, scale: float = 1.0) -> tuple[Ensemble, Problem, float]:
    """Sizes, with the target and the learning rate that keep their limit fixed."""
    width = int(dimension / ratio)
    compact = Problem(parametrization(name), width, np.ones(1), dimension)
    first, second, _ = (float(value.at(**compact.sizes)) for value in compact.parametrization.start)
    norm = scale * second / compact.kappa
    rate = 0.3 / (first * (1 + math.sqrt(ratio)) ** 2 + second * (1 + scale))
    target = IsotropicTarget(dimension, norm)
    runs = Ensemble(compact.parametrization, target, (width,), (rate,), tuple(range(4)))
    return runs, runs.compact_problem(width), rate


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_large_networks_tend_to_the_limit_at_a_fixed_ratio(name: str, ratio: float) -> None:
    errors = []
    for dimension in (10**3, 10**7):
        runs, problem, rate = setting(name, dimension, ratio)
        drawn = simulate(runs, record_at=STEPS, quantities=QUANTITIES)
        limit = proportional_limit(problem, rate, record_at=STEPS, quantities=QUANTITIES)
        scale = {"alignment": float(np.linalg.norm(problem.target))}
        errors.append(
            max(
                float(np.abs(drawn[quantity] - limit[quantity].isel(seed=0)).max())
                / scale.get(quantity, float(limit[quantity].max()))
                for quantity in QUANTITIES
            )
        )
    assert errors[1] < 3e-3
    assert errors[1] < 0.1 * errors[0]


def test_mup_and_ntp_are_one_system_at_proportional_sizes() -> None:
    records = []
    for name in ("mup", "ntp"):
        _, problem, rate = setting(name, 1000, 0.5)
        record = proportional_limit(problem, rate, record_at=schedule(20), quantities=("loss", "sharpness"))
        start = record.isel(step=0)
        records.append((record["loss"] / start["loss"], record["sharpness"] / start["sharpness"]))
    for one, two in zip(*records, strict=True):
        np.testing.assert_allclose(one.to_numpy(), two.to_numpy(), rtol=1e-12)


def test_at_the_start_the_eigenvalues_are_those_of_marchenko_and_pastur() -> None:
    _, problem, rate = setting("mup", 900, 2.25, scale=1e-9)
    record = proportional_limit(problem, rate, record_at=(0,), quantities=("ntk_sharpness",))
    assert float(record["ntk_sharpness"].item()) == pytest.approx((1 + 1.5) ** 2 / 900 + 1 / 900)


def test_divergence_is_a_result_with_its_step() -> None:
    _, problem, rate = setting("mup", 1000, 0.5)
    record = proportional_limit(problem, 40 * rate, record_at=schedule(60), quantities=("loss", "sharpness"))
    step = int(record["diverged_step"].item())
    assert 0 < step <= 60
    loss = record["loss"].to_numpy().ravel()
    assert np.isfinite(loss[:step]).all()
    assert np.isnan(loss[step:]).all()


@pytest.mark.parametrize("factor", [3.0, 100.0])
def test_divergence_is_at_the_step_of_large_networks(factor: float) -> None:
    runs, problem, rate = setting("mup", 10**8, 1.0, scale=1e-4)
    limit = proportional_limit(problem, factor * 20 * rate, record_at=schedule(60))
    ensemble = Ensemble(runs.parametrization, runs.target, runs.widths, (factor * 20 * rate,), runs.seeds)
    drawn = simulate(ensemble, record_at=schedule(60))["diverged_step"].to_numpy()
    assert (np.abs(drawn - int(limit["diverged_step"].item())) <= 0).all()


def test_what_has_no_limit_is_refused() -> None:
    runs, problem, rate = setting("mup", 100, 1.0)
    with pytest.raises(InputError, match="hessian_trace"):
        proportional_limit(problem, rate, record_at=(0,), quantities=("hessian_trace",))
    for steps in ((5, 3), (-1, 2), ()):
        with pytest.raises(InputError, match="recorded steps"):
            proportional_limit(problem, rate, record_at=steps)
    wide = Problem(runs.parametrization, math.inf, np.ones(1), 100)
    with pytest.raises(InputError, match="planar map"):
        proportional_limit(wide, rate, record_at=(0,))
