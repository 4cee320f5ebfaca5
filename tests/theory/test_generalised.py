from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.claims import Settings, Verdict, generalised
from superconsistency.errors import InputError
from superconsistency.theory import Array, Problem, Weights, evolve, latent_state, parametrization
from superconsistency.theory.generalised import (
    Descent,
    Factors,
    GeneralisedState,
    LayerWeights,
    LinearNetwork,
    cross_entropy_gradient,
    descent_step,
    gaussian_layers,
    initial_factors,
    joint_gram,
    readout,
    squared_gradient,
    step_matrix,
)
from superconsistency.theory.symbolic import generalised as symbolic
from superconsistency.theory.symbolic.core import ETA0, KAPPA
from superconsistency.theory.symbolic.published_formulas import Law

from .strategies import networks, orthogonal

SIZES = [(1, 1, 1), (3, 1, 2), (3, 2, 2), (2, 9, 1), (1, 4, 3), (4, 7, 3)]
"""(D, N, K), N below, at and above D + K."""


def read(network: LinearNetwork, state: Factors) -> GeneralisedState:
    return readout(network, joint_gram(state))


def assert_agree(left: GeneralisedState, right: GeneralisedState, tolerance: float = 1e-12) -> None:
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max())))


def any_gradient(w: Array) -> Array:
    """The gradient of `sum (w^2 / 2 + sin w)`, which is neither quadratic nor data."""
    return w + np.cos(w)


def raw_sgd(network: LinearNetwork, layers: LayerWeights, settings: Descent, steps: int) -> GeneralisedState:
    """Heavy-ball gradient descent on E and V, written out: the oracle."""
    first, second = layers
    rate, m = settings.learning_rate * network.learning_rate_scale, network.multiplier
    buffers: list[Array] = []
    for _ in range(steps):
        outer = any_gradient(m * first @ second)
        slopes = (
            m * outer @ second.T + settings.weight_decay * first,
            m * first.T @ outer + settings.weight_decay * second,
        )
        olds = buffers or [np.zeros_like(first), np.zeros_like(second)]
        buffers = [settings.momentum * old + slope for old, slope in zip(olds, slopes, strict=True)]
        first, second = first - rate * buffers[0], second - rate * buffers[1]
    gram = network.gram
    return GeneralisedState(m * first @ second, gram * first @ first.T, gram * second.T @ second)


@given(
    st.sampled_from(SIZES),
    st.sampled_from(["ntp", "mup", "sp"]),
    st.floats(0.01, 0.3),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 0.01, 0.1]),
    st.integers(1, 6),
    st.integers(0, 999),
)
def test_the_law_is_heavy_ball_descent_with_weight_decay_on_the_weights(
    size: tuple[int, int, int], name: str, rate: float, momentum: float, decay: float, steps: int, seed: int
) -> None:
    dimension, width, outputs = size
    network = LinearNetwork(parametrization(name), width, dimension, outputs)
    layers = gaussian_layers(network, np.random.default_rng(seed))
    settings = Descent(rate, momentum, decay)
    state = initial_factors(network, layers)
    for _ in range(steps):
        state = descent_step(state, network, any_gradient, settings)
    assert_agree(read(network, state), raw_sgd(network, layers, settings, steps), 1e-10)


@given(networks(), st.floats(0.01, 1.0))
def test_one_output_and_whitened_data_give_theorem_5_1(drawn: tuple[Problem, Weights], rate: float) -> None:
    problem, weights = drawn
    dimension = problem.dimension
    network = LinearNetwork(problem.parametrization, int(problem.width), dimension)
    gradient = partial(
        squared_gradient,
        inputs=np.sqrt(dimension) * np.eye(dimension),
        targets=np.sqrt(dimension) * problem.target[:, None],
    )
    state = initial_factors(network, LayerWeights(weights.first, weights.second[:, None]))
    found = read(network, descent_step(state, network, gradient, Descent(rate)))
    w, e, v = evolve(latent_state(problem, weights), problem, rate)
    assert_agree(found, GeneralisedState(w[:, None], e, v.reshape(1, 1)))


@pytest.mark.parametrize("size", SIZES)
def test_the_joint_gram_matrix_gives_its_own_successor(size: tuple[int, int, int]) -> None:
    dimension, width, outputs = size
    network = LinearNetwork(parametrization("mup"), width, dimension, outputs)
    settings = Descent(0.2, 0.9, 0.01)
    state = initial_factors(network, gaussian_layers(network, np.random.default_rng(3)))
    for _ in range(4):
        gram = joint_gram(state)
        matrix = step_matrix(network, any_gradient(readout(network, gram).w), settings)
        state = descent_step(state, network, any_gradient, settings)
        np.testing.assert_allclose(joint_gram(state), matrix @ gram @ matrix.T, atol=1e-12)


def test_the_gram_matrix_alone_leaves_the_path_of_a_narrow_network_and_the_factors_do_not() -> None:
    network = LinearNetwork(parametrization("ntp"), 1, 4, 3)
    layers = gaussian_layers(network, np.random.default_rng(0))
    target = np.random.default_rng(1).standard_normal((4, 3))
    settings = Descent(0.3)
    state = initial_factors(network, layers)
    gram = joint_gram(state)
    for _ in range(80):
        matrix = step_matrix(network, readout(network, gram).w - target, settings)
        gram = matrix @ gram @ matrix.T
        state = descent_step(state, network, lambda w: w - target, settings)
    kept, lost = (np.linalg.eigvalsh(matrix) for matrix in (joint_gram(state), gram))
    assert np.abs(kept[:-1]).max() < 1e-14 * kept[-1]
    assert lost[0] < -1e-11 * lost[-1]


@pytest.mark.parametrize("size", SIZES)
def test_a_network_of_any_width_is_one_of_at_most_inputs_plus_outputs(size: tuple[int, int, int]) -> None:
    dimension, width, outputs = size
    network = LinearNetwork(parametrization("ntp"), width, dimension, outputs)
    state = initial_factors(network, gaussian_layers(network, np.random.default_rng(0)))
    assert state.weights.shape == (dimension + outputs, min(width, dimension + outputs))


def test_rotating_the_neurons_changes_nothing() -> None:
    network = LinearNetwork(parametrization("sp"), 4, 3, 2)
    first, second = gaussian_layers(network, np.random.default_rng(0))
    turn = orthogonal(4, 1)
    states = [initial_factors(network, LayerWeights(first @ q, q.T @ second)) for q in (np.eye(4), turn)]
    for _ in range(5):
        states = [descent_step(state, network, any_gradient, Descent(0.05, 0.9)) for state in states]
    assert_agree(read(network, states[0]), read(network, states[1]))


def test_weight_decay_scaled_with_the_width_leaves_no_width_under_mup() -> None:
    base = parametrization("mup")
    narrow, wide = LinearNetwork(base, 5, 3, 2), LinearNetwork(base, 20, 3, 2)
    start = initial_factors(narrow, gaussian_layers(narrow, np.random.default_rng(0)))
    after = [
        descent_step(start, network, any_gradient, Descent(0.1, 0.9, 0.2 / network.learning_rate_scale))
        for network in (narrow, wide)
    ]
    np.testing.assert_allclose(after[0].weights, after[1].weights, rtol=1e-13)
    unscaled = [
        descent_step(start, network, any_gradient, Descent(0.1, 0.9, 0.2)) for network in (narrow, wide)
    ]
    assert np.abs(unscaled[0].weights - unscaled[1].weights).max() > 0.1


@pytest.mark.parametrize(("dimension", "outputs", "examples"), [(1, 1, 1), (3, 1, 5), (1, 4, 2), (5, 3, 2)])
def test_the_closed_form_gradients_are_those_of_autograd(dimension: int, outputs: int, examples: int) -> None:
    generator = np.random.default_rng(7)
    w, x = generator.standard_normal((dimension, outputs)), generator.standard_normal((examples, dimension))
    y, labels = generator.standard_normal((examples, outputs)), generator.integers(outputs, size=examples)
    weight = torch.tensor(w, requires_grad=True)
    predicted = torch.tensor(x) @ weight
    squared = 0.5 * (predicted - torch.tensor(y)).square().sum(dim=1).mean()
    entropy = torch.nn.functional.cross_entropy(predicted, torch.tensor(labels))
    for loss, found in (
        (squared, squared_gradient(w, x, y)),
        (entropy, cross_entropy_gradient(w, x, labels)),
    ):
        (slope,) = torch.autograd.grad(loss, weight, retain_graph=True)
        np.testing.assert_allclose(found, slope.numpy(), atol=1e-14)


def test_the_cross_entropy_gradient_of_huge_logits_is_finite() -> None:
    w, x = np.array([[2000.0, -2000.0]]), np.array([[1.0], [-1.0]])
    np.testing.assert_array_equal(cross_entropy_gradient(w, x, np.array([0, 1])), np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "learning rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning rate is nan"),
        ({"learning_rate": 0.1, "momentum": 1.0}, "momentum is 1.0; accepted: from 0 to below 1"),
        ({"learning_rate": 0.1, "momentum": float("nan")}, "momentum is nan"),
        ({"learning_rate": 0.1, "weight_decay": -0.1}, "weight decay is -0.1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Descent(**settings)


def test_shapes_and_labels_that_do_not_fit_are_refused() -> None:
    network = LinearNetwork(parametrization("mup"), 2, 3, 2)
    state = initial_factors(network, gaussian_layers(network, np.random.default_rng(0)))
    x, w = np.ones((4, 3)), np.ones((3, 2))
    with pytest.raises(InputError, match="shape of the gradient"):
        descent_step(state, network, lambda w: w.T, Descent(0.1))
    with pytest.raises(InputError, match="shape of the gradient"):
        step_matrix(network, w.T, Descent(0.1))
    with pytest.raises(InputError, match="shape of V"):
        initial_factors(network, LayerWeights(np.ones((3, 2)), np.ones((2, 1))))
    with pytest.raises(InputError, match="shape of the inputs"):
        squared_gradient(w, np.ones((0, 3)), np.ones((0, 2)))
    with pytest.raises(InputError, match="shape of the targets"):
        squared_gradient(w, x, np.ones(4))
    with pytest.raises(InputError, match="label is 2; accepted: classes from 0 to 1"):
        cross_entropy_gradient(w, x, np.array([0, 1, 2, 0]))
    with pytest.raises(InputError, match="outputs is 0"):
        LinearNetwork(parametrization("mup"), 2, 3, 0)


def test_the_derivation_holds_and_every_step_has_words_and_latex() -> None:
    found = symbolic.generalised_derivation()
    assert found.holds
    assert not found.failing()
    assert {"gradient", "w", "e", "v", "momentum", "theorem-5.1", "width-mup"} <= {
        s.label for s in found.steps
    }
    assert found.latex


def _changed_law(state: Law, g: Any, eta0: Any, kappa: Any, decay: Any) -> Law:
    law = symbolic.generalised_law(state, g, eta0, kappa, decay)
    return law._replace(v=law.v + eta0**2 * kappa**2 * g.T * g)


def _changed_momentum(eta0: Any, kappa: Any, decay: Any, momentum: Any) -> tuple[tuple[Any, ...], ...]:
    upper, lower = symbolic.momentum_coefficients(eta0, kappa, decay, momentum)
    return upper, (lower[0], lower[1], momentum**2, lower[3])


MUTATIONS = {
    "generalised-gradient": lambda g, e, v, m: (m * g * v.T, 2 * m * e.T * g),
    "generalised": _changed_law,
    "generalised-momentum": _changed_momentum,
    "generalised-width": lambda name: {"coupling": name == "mup", "decay": name == "mup"},
}
LABELS = {
    "generalised": {"v", "theorem-5.1"},
    "generalised-momentum": {"momentum"},
    "generalised-width": {"width-ntp", "width-mup"},
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_derivation_rejects_a_wrong_formula(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(symbolic, "ENTRY_SIZES", ((1, 2, 2),))
    monkeypatch.setitem(symbolic.GENERALISED_FORMULAS, name, MUTATIONS[name])
    failing = symbolic.generalised_derivation().failing()
    assert failing
    assert {step.label for step in failing} == LABELS.get(name, {step.label for step in failing})
    if name == "generalised-gradient":
        assert "gradient" in {step.label for step in failing}


def test_the_derived_matrix_is_the_one_that_is_run() -> None:
    network = LinearNetwork(parametrization("mup"), 4, 1, 1)
    values = {ETA0: 0.3, KAPPA: network.kappa, symbolic.MOMENTUM: 0.9}
    decay = sp.Symbol("d")
    rows = symbolic.momentum_coefficients(ETA0, KAPPA, decay, symbolic.MOMENTUM)
    scaled = 0.01 * network.learning_rate_scale
    c = [[float(sp.sympify(x).subs({**values, decay: scaled})) for x in row] for row in rows]
    eye, mixing = np.eye(2), np.array([[0.0, 0.7], [0.7, 0.0]])
    expected = np.block([[r[0] * eye + r[1] * mixing, r[2] * eye + r[3] * mixing] for r in c])
    found = step_matrix(network, np.array([[0.7]]), Descent(0.3, 0.9, 0.01))
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generalised, "SHAPES", ((4, 1), (2, 6)))
    monkeypatch.setattr(generalised, "RECIPES", (generalised.RECIPES[0], generalised.RECIPES[-1]))


@pytest.mark.usefixtures("short")
def test_the_claim_holds_from_another_seed() -> None:
    outcome = generalised._network(Settings(seed=5), lambda _: None)
    assert outcome.verdict is Verdict.VERIFIED
    assert [row[0] for row in outcome.evidence.tables[0].rows] == ["Theorem 5.1", "all together"]


@pytest.mark.usefixtures("short")
def test_the_claim_fails_where_the_law_forgets_the_weight_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(state: Factors, network: LinearNetwork, gradient: Any, settings: Descent) -> Factors:
        return descent_step(state, network, gradient, Descent(settings.learning_rate, settings.momentum))

    monkeypatch.setattr(generalised, "descent_step", forgetful)
    assert generalised._network(Settings(), lambda _: None).verdict is Verdict.REFUTED


def test_the_claim_fails_on_errors_that_are_no_numbers_and_on_networks_that_stand_still() -> None:
    good = ("a recipe", 1e-15, 1e-15, 1.0, 0.5)
    judged = [
        generalised._judged([good, other], 2, Settings()).verdict
        for other in (good, ("nan", float("nan"), 1e-15, 1.0, 0.5), ("still", 1e-15, 1e-15, 0.01, 0.0))
    ]
    assert judged == [Verdict.VERIFIED, Verdict.REFUTED, Verdict.REFUTED]
