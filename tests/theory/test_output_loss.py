from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import sympy as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.claims import Settings, Verdict, output
from superconsistency.errors import InputError
from superconsistency.theory import Array
from superconsistency.theory.output_loss import (
    gauss_newton,
    neural_tangent_kernel,
    softmax_curvature_bound,
    softmax_hessian,
)
from superconsistency.theory.symbolic import output as symbolic
from torch.func import jacrev


@st.composite
def predictions(draw: st.DrawFn) -> Array:
    classes, scale = draw(st.integers(1, 6)), draw(st.sampled_from([0.0, 0.3, 3.0, 30.0]))
    logits = scale * np.random.default_rng(draw(st.integers(0, 9999))).standard_normal(classes)
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def largest(matrix: Array) -> Array:
    return np.asarray(np.linalg.eigvalsh(matrix)[..., -1])


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_softmax_hessian_is_the_second_derivative_of_the_cross_entropy_whatever_the_label(
    classes: int,
) -> None:
    logits = torch.randn(classes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for label in range(classes):
        loss = partial(torch.nn.functional.cross_entropy, target=torch.tensor(label))
        dense = jacrev(jacrev(loss))(logits).numpy()
        np.testing.assert_allclose(softmax_hessian(torch.softmax(logits, 0).numpy()), dense, atol=1e-14)


@given(predictions())
def test_the_softmax_hessian_is_semidefinite_with_a_null_vector_and_the_stated_trace(p: Array) -> None:
    matrix = softmax_hessian(p)
    assert np.linalg.eigvalsh(matrix)[0] >= -1e-15
    np.testing.assert_allclose(matrix @ np.ones(len(p)), 0, atol=1e-15)
    np.testing.assert_allclose(np.trace(matrix), 1 - p @ p, atol=1e-15)
    assert np.linalg.norm(matrix - np.eye(len(p)), 2) >= 1 - 1e-12


@given(predictions())
def test_the_curvature_bound_holds_and_is_never_above_one_half(p: Array) -> None:
    bound = float(softmax_curvature_bound(p))
    assert largest(softmax_hessian(p)) <= bound + 1e-15
    assert bound <= 0.5


@pytest.mark.parametrize("p", [0.25, 0.3, 0.5, 0.7, 0.999, 1.0])
def test_the_curvature_bound_is_attained_for_every_largest_probability(p: float) -> None:
    rest = 1 - 2 * p
    prediction = np.array([p, p, rest / 2, rest / 2]) if p <= 0.5 else np.array([p, 1 - p, 0.0])
    np.testing.assert_allclose(
        largest(softmax_hessian(prediction)), softmax_curvature_bound(prediction), atol=1e-15
    )


def test_confidence_takes_the_softmax_hessian_to_zero_and_away_from_the_identity() -> None:
    steps = np.array([0.0, 1.0, 3.0, 10.0, 100.0])
    weights = np.exp(np.stack([np.zeros(5), -steps, -steps], axis=1))
    matrices = softmax_hessian(weights / weights.sum(axis=1, keepdims=True))
    curvature, distance = largest(matrices), np.linalg.norm(matrices - np.eye(3), axis=(1, 2))
    assert np.all(np.diff(distance) > 0)
    assert curvature[-1] < 1e-40
    assert distance[-1] == pytest.approx(np.sqrt(3))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 8), st.integers(0, 99))
def test_gauss_newton_is_the_sum_over_examples_and_never_above_the_bound_times_the_ntk(
    examples: int, outputs: int, parameters: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    jacobian = generator.standard_normal((examples, outputs, parameters))
    p = generator.dirichlet(np.ones(outputs), size=examples)
    found = gauss_newton(jacobian, softmax_hessian(p))
    summed = sum(j.T @ h @ j for j, h in zip(jacobian, softmax_hessian(p), strict=True))
    np.testing.assert_allclose(found, summed, atol=1e-12)
    limit = softmax_curvature_bound(p).max() * largest(neural_tangent_kernel(jacobian))
    assert largest(found) <= limit * (1 + 1e-12) + 1e-14


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="numbers of at least 0 that sum to 1"):
        softmax_hessian(np.array([0.5, 0.6]))
    with pytest.raises(InputError, match="probabilities"):
        softmax_curvature_bound(np.array([1.5, -0.5]))
    with pytest.raises(InputError, match="shape of the Jacobian"):
        neural_tangent_kernel(np.ones((2, 3)))
    with pytest.raises(InputError, match="shape of the output Hessians"):
        gauss_newton(np.ones((2, 3, 4)), np.ones((3, 3)))


def test_the_derivation_holds_and_has_latex() -> None:
    found = symbolic.appendix_d()
    assert found.holds
    assert {"sign", "shapes", "mse", "cross-entropy"} <= {step.label for step in found.steps}
    assert found.latex


def _symmetric(p: Any) -> Any:
    return sp.diag(*p) - 2 * p * p.T


@pytest.mark.parametrize(
    ("name", "formula", "label"),
    [
        ("25", symbolic.OUTPUT_FORMULAS["25-published"], "sign"),
        ("26", symbolic.OUTPUT_FORMULAS["26-published"], "shapes"),
        ("D-limit", symbolic.OUTPUT_FORMULAS["D-limit-published"], "cross-entropy"),
        ("27", _symmetric, ""),
    ],
)
def test_the_derivation_rejects_what_is_printed_and_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, name: str, formula: Any, label: str
) -> None:
    monkeypatch.setattr(symbolic, "CLASS_COUNTS", (2,))
    monkeypatch.setitem(symbolic.OUTPUT_FORMULAS, name, formula)
    assert label in {step.label for step in symbolic.appendix_d().failing()}


@pytest.mark.parametrize("seed", [11])  # the ledger has seed 0
@pytest.mark.parametrize(
    ("check", "verdict"),
    [
        (output._same_spectrum, Verdict.VERIFIED),
        (output._cross_entropy, Verdict.CORRECTED),
        (output._sign, Verdict.CORRECTED),
        (output._shapes, Verdict.CORRECTED),
    ],
)
def test_the_claims_reach_their_verdicts(check: Any, verdict: Verdict, seed: int) -> None:
    assert check(Settings(seed=seed), lambda _: None).verdict is verdict


def test_a_hessian_that_is_wrong_in_one_entry_fails_the_comparison_of_spectra() -> None:
    network = output.squared_network(output.NETWORK_SIZES[0], 0)
    wrong = network.loss_hessian.copy()
    wrong[0, 0] += 1e-3
    assert output.spectrum_error(network) <= output.SPECTRUM_TOLERANCE
    assert output.spectrum_error(network._replace(loss_hessian=wrong)) > output.SPECTRUM_TOLERANCE


def test_the_cross_entropy_claim_fails_for_an_output_hessian_as_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(output, "softmax_hessian", lambda p: np.zeros((*p.shape, 1)) + np.eye(p.shape[-1]))
    assert output._cross_entropy(Settings(), lambda _: None).verdict is Verdict.REFUTED


def test_the_sign_claim_fails_where_the_printed_sign_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = output.squared_network(output.NETWORK_SIZES[0], 0)
    curvature = network.curvature._replace(models=-network.curvature.models)
    monkeypatch.setattr(output, "squared_network", lambda *_: network._replace(curvature=curvature))
    assert output._sign(Settings(), lambda _: None).verdict is Verdict.REFUTED
