from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from superconsistency.errors import InputError
from superconsistency.records.paired_steps import edge_schedule
from superconsistency.simulations import Ensemble, simulate
from superconsistency.simulations.edge import (
    EDGE_SHARE,
    HessianParts,
    RegressionData,
    against_the_edge,
    approach_edge,
    edge_rate,
    hessian_parts,
    plan_sharpening,
    random_data,
    sharpening_on_data,
)
from superconsistency.theory import (
    OBSERVABLES,
    Array,
    IsotropicTarget,
    LatentState,
    LinearNetwork,
    Problem,
    final_sharpness_mup,
    parametrization,
    uniform_target,
)
from superconsistency.theory.generalised import (
    LayerWeights,
    gaussian_layers,
    initial_factors,
    joint_gram,
    readout,
    squared_gradient,
)

MUP, NTP = parametrization("mup"), parametrization("ntp")


def dense_parts(network: LinearNetwork, layers: LayerWeights, data: RegressionData) -> tuple[Array, Array]:
    """G and R in the weights, entry by entry, in the learning-rate metric: the oracle."""
    inputs, targets = data
    (first, second), m = layers, network.multiplier
    size, examples = first.size + second.size, len(inputs)
    gauss_newton, residual = np.zeros((size, size)), np.zeros((size, size))
    for x, y in zip(inputs, targets[:, 0], strict=True):
        jacobian = m * np.concatenate([np.outer(x, second[:, 0]).ravel(), first.T @ x])
        gauss_newton += np.outer(jacobian, jacobian) / examples
        for i in range(first.shape[0]):
            for k in range(first.shape[1]):
                place = i * first.shape[1] + k, first.size + k
                second_derivative = m * x[i] * (m * x @ first @ second[:, 0] - y) / examples
                residual[place] += second_derivative
                residual[place[::-1]] += second_derivative
    return network.learning_rate_scale * gauss_newton, network.learning_rate_scale * residual


def parts_of(network: LinearNetwork, layers: LayerWeights, data: RegressionData) -> HessianParts:
    return hessian_parts(network, readout(network, joint_gram(initial_factors(network, layers))), data)


@pytest.mark.parametrize("name", ["mup", "ntp", "sp"])
@pytest.mark.parametrize(("dimension", "width", "examples"), [(1, 1, 1), (3, 2, 5), (2, 6, 4), (4, 5, 2)])
def test_the_parts_are_those_of_the_dense_hessian(
    name: str, dimension: int, width: int, examples: int
) -> None:
    generator = np.random.default_rng(dimension + width)
    network = LinearNetwork(parametrization(name), width, dimension)
    data = random_data(examples, generator.standard_normal(dimension), generator)
    layers = gaussian_layers(network, generator)
    found = parts_of(network, layers, data)
    dense = [float(np.linalg.eigvalsh(part)[-1]) for part in dense_parts(network, layers, data)]
    assert tuple(found) == pytest.approx(dense, rel=1e-10)


def test_the_dense_parts_sum_to_the_hessian_of_the_loss() -> None:
    generator = np.random.default_rng(5)
    network = LinearNetwork(MUP, 3, 2)
    data, layers = random_data(4, np.ones(2), generator), gaussian_layers(network, generator)

    def gradient(flat: Array) -> Array:
        first, second = flat[:6].reshape(2, 3), flat[6:, None]
        outer = squared_gradient(network.multiplier * first @ second, *data)
        slopes = outer @ second.T, first.T @ outer
        return network.multiplier * np.concatenate([slope.ravel() for slope in slopes])

    flat, h = np.concatenate([layers.first.ravel(), layers.second.ravel()]), 1e-5
    columns = [
        (gradient(flat + h * unit) - gradient(flat - h * unit)) / (2 * h) for unit in np.eye(flat.size)
    ]
    whole = network.learning_rate_scale * np.stack(columns)
    np.testing.assert_allclose(sum(dense_parts(network, layers, data)), whole, atol=1e-8)


def test_on_whitened_data_the_parts_are_the_observables() -> None:
    network, target = LinearNetwork(NTP, 7, 4), np.arange(4.0)
    layers = gaussian_layers(network, np.random.default_rng(0))
    state = readout(network, joint_gram(initial_factors(network, layers)))
    found = hessian_parts(network, state, RegressionData(2 * np.eye(4), 2 * target[:, None]))
    problem = Problem(NTP, 7, target)
    latent = LatentState(state.w[:, 0], state.e, state.v[0, 0])
    assert found.gauss_newton == pytest.approx(float(OBSERVABLES["ntk_sharpness"].compute(latent, problem)))
    assert found.residual == pytest.approx(float(OBSERVABLES["residual_sharpness"].compute(latent, problem)))


@pytest.mark.parametrize("width", [1, 3, 30])
def test_runs_on_data_are_gradient_descent_on_the_weights(width: int) -> None:
    data = random_data(9, np.array([1.0, -2.0, 0.5]), np.random.default_rng(1))
    run = sharpening_on_data(MUP, data, widths=(width,), learning_rate=0.2, seeds=(4,), steps=6)
    network = LinearNetwork(MUP, width, 3)
    first, second = gaussian_layers(network, np.random.default_rng([4, width]))
    for step in range(7):
        w = network.multiplier * first @ second
        one = run.isel(width=0, seed=0, step=step)
        assert float(one["loss"]) == pytest.approx(0.5 * np.mean((data.inputs @ w - data.targets) ** 2))
        parts = parts_of(network, LayerWeights(first, second), data)
        assert (float(one["gauss_newton"]), float(one["residual"])) == pytest.approx(tuple(parts))
        slope = 0.2 * network.learning_rate_scale * network.multiplier * squared_gradient(w, *data)
        first, second = first - slope @ second.T, second - first.T @ slope


def test_a_run_on_data_that_diverges_says_when() -> None:
    data = random_data(5, np.ones(2), np.random.default_rng(1))
    run = sharpening_on_data(MUP, data, widths=(4, 8), learning_rate=50.0, seeds=(0,), steps=20)
    for width in (4, 8):
        one = run.sel(width=width).isel(seed=0)
        step = int(one["diverged_step"])
        assert step > 0
        assert np.isfinite(one["gauss_newton"][:step]).all()
        assert np.isnan(one["loss"][step:]).all()


def test_g_sharpens_at_every_width_under_mup_and_like_the_inverse_width_under_ntp() -> None:
    data = random_data(60, uniform_target(10, 2.0), np.random.default_rng(0))
    rises = {}
    for table, rate in ((MUP, 0.5), (NTP, 2.0)):
        runs = sharpening_on_data(
            table, data, widths=(64, 1024), learning_rate=rate, seeds=range(6), steps=40
        )
        curve = runs["gauss_newton"].mean("seed")
        rises[table.name] = (curve[:, -1] / curve[:, 0] - 1).to_numpy()
    assert rises["mup"][1] > 2
    assert rises["mup"][1] == pytest.approx(rises["mup"][0], rel=0.3)
    assert rises["ntp"][0] / rises["ntp"][1] == pytest.approx(16, rel=0.6)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_final_sharpness_lies_between_the_flattest_minimizers_and_the_edge(share: float) -> None:
    runs = approach_edge(
        MUP, uniform_target(3, 1.0), widths=(500, math.inf), relative_rates=(share,), seeds=(0, 1), steps=600
    )
    final = runs["final_relative_sharpness"].to_numpy()
    assert runs["converged"].all()
    assert (final > share).all()
    assert (final < 1).all()


def test_at_small_learning_rates_the_sharpness_ends_where_the_flow_does() -> None:
    dimension, norm, share = 4, 1.2, 0.01
    runs = approach_edge(
        MUP,
        uniform_target(dimension, norm),
        widths=(math.inf,),
        relative_rates=(share,),
        seeds=(0,),
        steps=4000,
    )
    flow = final_sharpness_mup(dimension, norm) * share * math.sqrt(dimension) / norm / 2
    assert runs["final_relative_sharpness"].item() == pytest.approx(flow, rel=0.01)


def test_the_final_sharpness_climbs_to_two_over_eta0_as_the_edge_is_neared_and_no_run_converges_beyond() -> (
    None
):
    shares = (0.5, 0.8, 0.95, 0.99, 1.02)
    runs = approach_edge(
        MUP, uniform_target(2, 1.0), widths=(200,), relative_rates=shares, seeds=(0, 1, 2), steps=2500
    )
    final = runs["final_relative_sharpness"].mean("seed").to_numpy()[0]
    assert (np.diff(final) > 0).all()
    assert final[3] == pytest.approx(1, abs=0.012)
    assert runs["converged"].all("seed").to_numpy()[0].tolist() == [True] * 4 + [False]


def test_under_mup_every_width_reaches_the_edge_at_the_same_step_and_under_ntp_wide_ones_never_do() -> None:
    reached = {}
    for table in (MUP, NTP):
        runs = approach_edge(
            table,
            uniform_target(10, 4.0),
            widths=(24, 1000),
            relative_rates=(0.97,),
            seeds=range(4),
            steps=40,
        )
        reached[table.name] = runs["reached_step"].to_numpy()[:, 0]
    assert np.ptp(np.median(reached["mup"], axis=1)) <= 1
    assert (reached["mup"] > 0).all()
    assert (reached["ntp"][0] >= 0).all()
    assert (reached["ntp"][1] == -1).all()


def test_the_step_of_reaching_is_the_first_recorded_one_above_the_level() -> None:
    runs = approach_edge(
        MUP, np.array([2.0]), widths=(3, 40), relative_rates=(0.3, 0.95), seeds=(0, 1, 2), steps=30
    )
    for relative, reached in zip(
        runs["relative_sharpness"].to_numpy().reshape(-1, runs.sizes["step"]),
        runs["reached_step"].to_numpy().ravel(),
        strict=True,
    ):
        above = runs["step"].to_numpy()[relative >= EDGE_SHARE]
        assert reached == (above[0] if above.size else -1)


def test_learning_rates_are_shares_of_the_narrowest_widths_edge() -> None:
    runs = approach_edge(
        NTP, uniform_target(4, 2.0), widths=(100, 25), relative_rates=(0.5, 0.25), seeds=(0,), steps=8
    )
    np.testing.assert_allclose(runs["learning_rate"], [1.25, 2.5])
    np.testing.assert_allclose(runs["relative_rate"], [0.25, 0.5])
    np.testing.assert_allclose(
        runs["relative_sharpness"], runs["sharpness"] * runs["learning_rate"] / 2, rtol=1e-15
    )


@pytest.mark.parametrize(("name", "edge"), [("mup", 2 / 3), ("ntp", 2 * 5 / 3), ("sp", 1 / 3)])
def test_the_edge_is_one_over_the_coupling_and_the_targets_norm(name: str, edge: float) -> None:
    assert edge_rate(name, IsotropicTarget(4, 3.0), 25) == pytest.approx(edge)


def test_a_record_is_measured_against_the_edge_whatever_its_further_axes() -> None:
    settings = Ensemble(MUP, IsotropicTarget(4, 2.0), (30, 60), (0.5, 0.9), (0, 1))
    record = simulate(settings, record_at=edge_schedule(20), quantities=("loss", "sharpness"))
    plain = against_the_edge(record, 1.0)
    wider = against_the_edge(record.expand_dims(parametrization=["mup"]), 1.0)
    np.testing.assert_array_equal(plain["relative_rate"], [0.5, 0.9])
    for name in ("final_relative_sharpness", "converged", "reached_step"):
        np.testing.assert_array_equal(plain[name], wider[name].isel(parametrization=0))


@pytest.mark.parametrize("widths", [(4,), (4, 8)])
def test_the_plan_of_runs_on_data_has_what_the_runs_have(widths: tuple[int, ...]) -> None:
    data = random_data(5, np.ones(2), np.random.default_rng(1))
    settings: dict[str, Any] = {"widths": widths, "learning_rate": 0.1, "seeds": (0, 3), "steps": 2}
    planned, run = plan_sharpening(MUP, data, **settings), sharpening_on_data(MUP, data, **settings)
    assert planned.attrs == run.attrs
    assert {name: (part.dims, part.dtype) for name, part in planned.variables.items()} == {
        name: (part.dims, part.dtype) for name, part in run.variables.items()
    }
    assert planned["loss"].isnull().all()
    assert (planned["diverged_step"] == -1).all()
    other = random_data(5, np.ones(2), np.random.default_rng(2))
    assert plan_sharpening(MUP, other, **settings).attrs["data_hash"] != planned.attrs["data_hash"]


def test_a_run_that_diverges_has_no_final_sharpness() -> None:
    runs = approach_edge(MUP, np.ones(2), widths=(50,), relative_rates=(0.5, 9.0), seeds=(0,), steps=300)
    final = runs["final_relative_sharpness"].to_numpy().ravel()
    assert np.isfinite(final[0])
    assert np.isnan(final[1])
    assert runs["diverged_step"].to_numpy().ravel()[1] > 0
    assert not runs["converged"].to_numpy().ravel()[1]


@pytest.mark.parametrize("steps", [0, 1, 8, 9, 40, 2001])
def test_the_schedule_holds_the_ends_and_pairs_of_steps(steps: int) -> None:
    schedule = edge_schedule(steps)
    assert list(schedule) == sorted(set(schedule))
    assert set(range(max(steps - 7, 0), steps + 1)) | {0} <= set(schedule)
    assert schedule[-1] == steps
    assert all(step + 1 in schedule for step in schedule if step % 2 == 0 and step < steps)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": np.zeros(2)}, "target norm is 0.0"),
        ({"steps": 7}, "number of steps is 7"),
        ({"relative_rates": (0.5, -1.0)}, "learning rate over the edge is -1.0"),
        ({"relative_rates": ()}, "learning rates over the edge"),
        ({"widths": ()}, "widths"),
        ({"seeds": (1, 1)}, "seeds"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(changes: dict[str, object], words: str) -> None:
    settings = {
        "target": np.ones(2), "widths": (8,), "relative_rates": (0.5,), "seeds": (0,), "steps": 20
    } | changes  # fmt: skip
    target = settings.pop("target")
    with pytest.raises(InputError, match=words) as refused:
        approach_edge(MUP, target, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_networks_with_several_outputs_have_no_such_parts() -> None:
    network = LinearNetwork(MUP, 5, 2, 3)
    state = readout(
        network, joint_gram(initial_factors(network, gaussian_layers(network, np.random.default_rng(0))))
    )
    with pytest.raises(InputError, match="number of outputs"):
        hessian_parts(network, state, RegressionData(np.ones((2, 2)), np.ones((2, 1))))


@pytest.mark.parametrize("name", ["mup", "ntp"])
def test_a_target_may_be_given_by_its_norm_alone(name: str) -> None:
    settings = {"widths": (30, 60), "relative_rates": (0.5,), "seeds": (0,), "steps": 10}
    runs = [
        approach_edge(parametrization(name), target, **settings)  # type: ignore[arg-type]
        for target in (uniform_target(6, 1.5), IsotropicTarget(6, 1.5))
    ]
    np.testing.assert_allclose(runs[0]["learning_rate"], runs[1]["learning_rate"])
    assert np.isfinite(runs[1]["final_relative_sharpness"]).all()
