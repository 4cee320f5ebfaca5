from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.claims import deep as claims
from superconsistency.claims.ledger import Settings, Verdict
from superconsistency.errors import InputError
from superconsistency.theory.deep_linear import (
    READINGS,
    DenseLayer,
    LinearData,
    OneStepLoss,
    Overlaps,
    SampledLayer,
    best_learning_rate,
    draw_overlaps,
    effective_scales,
    limit_learning_rate,
    one_step_loss,
    overlaps_of,
)
from superconsistency.theory.parametrization import LayerRule, Parametrization, Scale
from superconsistency.theory.symbolic import catalogue, deep

Array = np.ndarray[Any, np.dtype[np.float64]]


def example(inputs: int, samples: int, seed: int = 0) -> LinearData:
    generator = np.random.default_rng(seed)
    return LinearData(generator.standard_normal((inputs, samples)), generator.standard_normal(samples))


class Network:
    """A network without multipliers: `W_0`, `W_l` of variance 1/n, `V` of variance one."""

    def __init__(self, data: LinearData, depth: int, width: int, seed: int) -> None:
        generator = np.random.default_rng(seed)
        inputs = len(data.inputs)
        self.data, self.width = data, width
        self.first = generator.standard_normal((width, inputs)) / inputs**0.5
        self.layers = [generator.standard_normal((width, width)) / width**0.5 for _ in range(depth)]
        self.readout = generator.standard_normal(width)

    def overlaps(self) -> Overlaps:
        return overlaps_of(self.data, self.first, [DenseLayer(layer) for layer in self.layers], self.readout)

    def trained(self, table: Parametrization, eta0: float) -> tuple[Array, float]:
        """Residual and loss after a step on the raw weights in the parametrization's own form."""
        sizes = {"fan_in": float(self.width), "width": float(self.width)}
        hidden, readout = (float(rule.multiplier.at(**sizes)) for rule in (table.hidden, table.readout))
        spread = float(table.hidden.variance.at(**sizes)) ** 0.5 * self.width**0.5
        raw = [torch.tensor(layer * spread, requires_grad=True) for layer in self.layers]
        vector = torch.tensor(self.readout * float(table.readout.variance.at(**sizes)) ** 0.5)
        start, target = torch.tensor(self.first @ self.data.inputs), torch.tensor(np.array(self.data.targets))

        def residual() -> torch.Tensor:
            features = start
            for weight in raw:
                features = hidden * (weight @ features)
            return readout * (vector @ features) - target

        slopes = torch.autograd.grad((residual() ** 2).sum() / (2 * target.numel()), raw)
        with torch.no_grad():
            for weight, slope in zip(raw, slopes, strict=True):
                weight.sub_(eta0 * float(table.hidden.learning_rate.at(**sizes)) * slope)
            after = residual()
        return after.numpy(), float((after**2).mean() / 2)


EDGES = [(1, 1, 1, 1), (1, 3, 2, 2), (2, 1, 3, 4), (3, 4, 3, 2), (5, 2, 1, 7), (4, 5, 3, 1)]
"""Depth, inputs, samples, width."""


@pytest.mark.parametrize("name", READINGS)
@pytest.mark.parametrize("size", EDGES)
def test_the_polynomial_is_training_the_raw_weights_with_multipliers_on(
    name: str, size: tuple[int, int, int, int]
) -> None:
    depth, inputs, samples, width = size
    network = Network(example(inputs, samples), depth, width, seed=3)
    loss = one_step_loss(network.data, network.overlaps(), READINGS[name])
    for eta0 in (0.0, 0.4 * loss.unit, 2.5 * loss.unit):
        residual, value = network.trained(READINGS[name], eta0)
        scale = np.abs(residual).max() + np.abs(loss.residual(0)).max()
        np.testing.assert_allclose(loss.residual(eta0), residual, rtol=0, atol=1e-12 * scale)
        assert loss.at(eta0) == pytest.approx(value, rel=1e-10, abs=1e-12 * scale**2)


def test_the_effective_scales_are_those_of_the_readings() -> None:
    found = {
        name: tuple(scale.exponent("width") for scale in effective_scales(table))
        for name, table in READINGS.items()
    }
    expected: dict[str, tuple[Any, ...]] = {
        "mup": (-2, 0),
        "sp": (-1, 0),
        "ntp": (-1, -1),
        "ntp-rescaled": (-1, -1),
        "ntp-start": (-1, 0),
        "ntp-mup-rate": (-1, 0),
    }
    assert found == expected


def test_hidden_weights_of_another_variance_are_refused() -> None:
    wide = Parametrization("wide", "wide", LayerRule(), LayerRule())
    with pytest.raises(InputError, match=r"^parametrization is wide; accepted: .*; remedy: [^\n]*$"):
        effective_scales(wide)


@given(
    width=st.integers(1, 12),
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
def test_a_sampled_layer_is_one_matrix(width: int, counts: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    layer = SampledLayer(width, 1 / width, generator)
    right, images, left, transposed = [], [], [], []
    for count in counts:
        vectors = generator.standard_normal((width, count)) * 10.0 ** generator.integers(-6, 6, size=count)
        vectors[:, 0] = vectors.sum(axis=1)  # dependent on the others where there are few
        right.append(vectors)
        images.append(layer.apply(vectors))
        left.append(images[-1] / (1 + np.linalg.norm(images[-1], axis=0)))
        transposed.append(layer.apply_transposed(left[-1]))
    inputs, outputs = np.hstack(right), np.hstack(images)
    unit = np.linalg.norm(inputs, axis=0)
    pairing = np.hstack(left).T @ (outputs / unit) - np.hstack(transposed).T @ (inputs / unit)
    np.testing.assert_allclose(pairing, 0, atol=1e-8)
    np.testing.assert_allclose(layer.apply(inputs) / unit, outputs / unit, atol=1e-8)


def test_a_sampled_layer_asked_everywhere_has_independent_entries_of_its_variance() -> None:
    width, draws = 3, 4000
    generator = np.random.default_rng(0)
    found = np.empty((draws, width * width))
    for draw in range(draws):
        layer = SampledLayer(width, 0.5, generator)
        layer.apply_transposed(layer.apply(np.array([[1.0], [2.0], [-1.0]])))
        found[draw] = layer.apply(np.eye(width)).ravel()
    moments = found.T @ found / draws
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=5 * (0.5 / draws) ** 0.5)
    np.testing.assert_allclose(moments, 0.5 * np.eye(width * width), atol=5 * 0.5 * (2 / draws) ** 0.5)
    kurtosis = np.mean(found**4) / np.mean(found**2) ** 2
    assert kurtosis == pytest.approx(3, abs=0.25)


def test_zero_vectors_have_zero_images_and_draw_nothing() -> None:
    generator = np.random.default_rng(1)
    state = generator.bit_generator.state
    layer = SampledLayer(5, 0.2, generator)
    assert not layer.apply(np.zeros((5, 2))).any()
    assert generator.bit_generator.state == state


def test_sampled_and_dense_layers_have_optima_of_one_law() -> None:
    data, width, draws = example(3, 2), 6, 600
    quantiles = []
    for seed, layer in ((0, SampledLayer), (1, DenseLayer.draw)):
        generator = np.random.default_rng(seed)
        losses = [
            one_step_loss(data, draw_overlaps(data, 3, width, generator, layer), READINGS["ntp"])
            for _ in range(draws)
        ]
        quantiles.append(
            np.quantile(np.log([best_learning_rate(loss) for loss in losses]), (0.25, 0.5, 0.75))
        )
    np.testing.assert_allclose(quantiles[0], quantiles[1], atol=0.3)


@given(
    depth=st.integers(1, 4), samples=st.integers(1, 4), width=st.integers(1, 8), seed=st.integers(0, 10_000)
)
def test_no_rate_on_a_fine_grid_beats_the_best_one(depth: int, samples: int, width: int, seed: int) -> None:
    network = Network(example(3, samples, seed), depth, width, seed)
    loss = one_step_loss(network.data, network.overlaps(), READINGS["mup"])
    best = best_learning_rate(loss)
    grid = np.geomspace(1e-6 * best, 1e6 * best, 2000)
    values = np.array([loss.at(rate) for rate in grid])
    assert best > 0
    assert loss.at(best) < loss.at(0.0)
    assert loss.at(best) <= values.min() + 1e-9 * loss.at(0.0)


def test_the_slope_at_zero_is_minus_the_squared_gradient_by_finite_differences() -> None:
    network = Network(example(3, 2), depth=2, width=3, seed=5)
    table = READINGS["sp"]
    loss = one_step_loss(network.data, network.overlaps(), table)

    def value() -> float:
        return network.trained(table, 0.0)[1]

    square, step = 0.0, 1e-6
    for layer in network.layers:
        for entry in np.ndindex(layer.shape):
            kept = layer[entry]
            layer[entry] = kept + step
            above = value()
            layer[entry] = kept - step
            square += ((above - value()) / (2 * step)) ** 2
            layer[entry] = kept
    assert loss.polynomial[1] / loss.unit == pytest.approx(-square, rel=1e-6)


def test_a_zero_gradient_gives_the_rate_zero_and_no_nan() -> None:
    loss = OneStepLoss(np.zeros((4, 2)), 0.1)
    assert best_learning_rate(loss) == 0.0
    network = Network(example(2, 2), depth=2, width=3, seed=0)
    fitted = LinearData(network.data.inputs, network.trained(READINGS["sp"], 0.0)[0] + network.data.targets)
    residual = one_step_loss(fitted, network.overlaps(), READINGS["sp"])
    assert np.isfinite(best_learning_rate(residual))
    dead = LinearData(np.zeros((2, 3)), np.ones(3))
    assert best_learning_rate(one_step_loss(dead, network_of(dead), READINGS["mup"])) == 0.0


def network_of(data: LinearData) -> Overlaps:
    return draw_overlaps(data, 3, 4, np.random.default_rng(0))


def test_of_several_rates_that_fit_one_example_exactly_the_smallest_is_best() -> None:
    # (1 - t)(1 - t/3): the residual of one example vanishes at t = 1 and at t = 3.
    loss = OneStepLoss(np.array([[1.0], [-4 / 3], [1 / 3]]), 0.5)
    assert best_learning_rate(loss) == pytest.approx(0.5)


def test_a_bound_is_kept_and_can_be_the_best_rate() -> None:
    loss = OneStepLoss(np.array([[1.0], [-1.0]]), 2.0)
    assert best_learning_rate(loss) == pytest.approx(2.0)
    assert best_learning_rate(loss, 0.5) == 0.5
    with pytest.raises(InputError, match="largest rate is 0"):
        best_learning_rate(loss, 0)


@given(samples=st.integers(1, 4), depth=st.integers(1, 6), seed=st.integers(0, 1000))
def test_the_limit_minimises_the_quadratic_that_is_left(samples: int, depth: int, seed: int) -> None:
    data = example(5, samples, seed)
    outputs = np.random.default_rng(seed + 1).standard_normal(samples)
    kernel = data.inputs.T @ data.inputs / 5
    for start in (None, outputs):
        chi = (0 if start is None else start) - data.targets
        best = limit_learning_rate(data, depth, start)

        def loss(rate: float, chi: Array = chi) -> float:
            return float(np.sum((chi - rate * depth * kernel @ chi / samples) ** 2))

        assert loss(best) <= min(loss(0.999 * best), loss(1.001 * best))


def test_the_best_rate_tends_to_the_limit_of_its_parametrization() -> None:
    data, width = example(4, 3), 2**15
    for seed in range(3):
        overlaps = draw_overlaps(data, 3, width, np.random.default_rng(seed))
        mup, ntp = (one_step_loss(data, overlaps, READINGS[name]) for name in ("mup", "ntp"))
        limit = limit_learning_rate(data, 3)
        assert best_learning_rate(mup, 4 * limit) == pytest.approx(limit, rel=0.1)
        assert ntp.unit == pytest.approx(1)
        at_draw = limit_learning_rate(data, 3, ntp.residuals[0] + data.targets)
        assert best_learning_rate(ntp) == pytest.approx(at_draw, rel=0.1)


def test_one_example_has_one_limit_under_every_parametrization() -> None:
    data = LinearData(np.array([[1.0], [2.0]]), np.array([0.7]))
    expected = 1 / (2 * 2.5)
    assert limit_learning_rate(data, 2) == pytest.approx(expected)
    assert limit_learning_rate(data, 2, np.array([-3.0])) == pytest.approx(expected)


@pytest.mark.parametrize("targets", [np.zeros(2), np.array([1.0, -1.0])])
def test_a_target_that_the_kernel_does_not_see_has_no_limit(targets: Array) -> None:
    data = LinearData(np.ones((3, 2)), targets)  # K = [[1, 1], [1, 1]]
    with pytest.raises(InputError, match=re.escape("|K chi|")):
        limit_learning_rate(data, 2)


def test_first_order_coefficients_have_the_exact_moments_of_the_derivation() -> None:
    width, draws = 3, 60_000
    generator = np.random.default_rng(0)
    data = LinearData(np.array([[1.0, 0.5], [0.0, 1.0]]) * 2**0.5, np.ones(2))
    features = generator.standard_normal((draws, width, 2)) / 2**0.5 @ data.inputs
    readout = generator.standard_normal((draws, width)) / width
    found = np.sum(readout**2, axis=1) * np.einsum("dk,dk->d", features[:, :, 0], features[:, :, 1])
    kernel = data.kernel
    mean, variance = deep.coefficient_moments(width, kernel[0, 0], kernel[1, 1], kernel[0, 1])
    assert found.mean() == pytest.approx(mean, abs=5 * (variance / draws) ** 0.5)
    assert found.var() == pytest.approx(variance, rel=0.1)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.ones((2, 2)), np.ones(3), "shapes of inputs and targets"),
        (np.ones((0, 2)), np.ones(2), "shapes of inputs and targets"),
        (np.ones(2), np.ones(2), "shapes of inputs and targets"),
        (np.array([[1.0, np.nan]]), np.ones(2), "inputs is nan"),
        (np.ones((1, 1)), np.array([np.inf]), "targets is inf"),
    ],
)
def test_data_that_cannot_be_fitted_are_refused(inputs: Array, targets: Array, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LinearData(inputs, targets)


@pytest.mark.parametrize(("depth", "width"), [(0, 4), (1.5, 4), (2, 0), (2, 2.5)])
def test_depth_and_width_are_whole_numbers_from_one(depth: Any, width: Any) -> None:
    with pytest.raises(InputError, match="whole number"):
        draw_overlaps(example(2, 2), depth, width, np.random.default_rng(0))


@pytest.fixture(scope="module")
def derivation() -> Any:
    return deep.one_step_transfer()


def test_the_derivation_of_one_step_holds_and_reads_as_text(derivation: Any) -> None:
    assert derivation.holds
    assert all(step.text for step in derivation.steps)
    assert r"\begin{enumerate}" in derivation.latex
    powers = {name.removeprefix("power of n, "): power for name, power in derivation.result.items()}
    assert {name for name, power in powers.items() if power == 0} == {"mup", "ntp", "ntp-rescaled"}


WRONG: dict[str, tuple[str, Any]] = {
    "one-step-gradient": ("gradient", lambda f: lambda b, a, chi: 2 * f(b, a, chi)),
    "one-step": (
        "polynomial",
        lambda f: lambda i, q, s, n, eta: f(i, q, [[-x for x in r] for r in s], n, eta),
    ),
    "one-step-moments": (
        "moments",
        lambda f: lambda n, i, j, k: (f(n, i, j, k)[0], f(n, i, j, k)[1] + 1 / n),
    ),
    "one-step-order": ("order", lambda f: lambda name: f(name) + (name == "ntp")),
    "one-step-limit": ("limit", lambda f: lambda chi, kernel, depth: f(chi, kernel, 2 * depth)),
    "one-step-readings": ("readings", lambda f: lambda name: f(name) - (name == "ntp")),
    "one-step-second": ("second", lambda f: lambda n, phi: f(n, phi) / 2),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_derivation_rejects_a_wrong_formula_at_its_step_alone(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    label, change = WRONG[name]
    monkeypatch.setitem(deep.DEEP_FORMULAS, name, change(deep.DEEP_FORMULAS[name]))
    assert {step.label for step in deep.one_step_transfer().failing()} == {label}


def test_claims_can_fail_and_hold_with_few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "DEEP_DRAWS", 60)
    monkeypatch.setattr(claims, "DEEP_WIDTHS", (128, 256, 512, 1024))
    monkeypatch.setattr(claims, "ORDER_TOLERANCE", 0.4)
    monkeypatch.setattr(claims, "_draws", claims._draws.__wrapped__)
    monkeypatch.setitem(catalogue.DERIVATIONS, "one-step", deep.one_step_transfer)
    checks = {claim.id: claim.check for claim in claims.DEEP_CLAIMS}
    verdicts = {
        name: checks[name](Settings(), lambda _: None).verdict for name in checks if "all" not in name
    }
    assert verdicts == {
        "one-step-limit": Verdict.PROVED,
        "one-step-transfer-mup": Verdict.VERIFIED,
        "one-step-sp": Verdict.VERIFIED,
        "one-step-ntp": Verdict.CORRECTED,
    }
    monkeypatch.setattr(claims, "limit_learning_rate", lambda *given: 1.3 * limit_learning_rate(*given))
    assert checks["one-step-transfer-mup"](Settings(), lambda _: None).verdict is Verdict.REFUTED
    assert checks["one-step-sp"](Settings(), lambda _: None).verdict is Verdict.REFUTED
    sp_rate = Parametrization("ntp", "NTP", READINGS["sp"].hidden, READINGS["sp"].readout)
    monkeypatch.setattr(claims, "READINGS", {**READINGS, "ntp": sp_rate})
    assert checks["one-step-ntp"](Settings(), lambda _: None).verdict is Verdict.REFUTED


def test_the_second_valley_is_found_as_often_as_its_limit_law_says(monkeypatch: pytest.MonkeyPatch) -> None:
    data = claims.one_step_data(1)
    monkeypatch.setattr(claims, "SECOND_DRAWS", 400)
    found = claims._second_valley(data, 512, 0)
    share = claims.second_valley_share(data, np.random.default_rng(0), 50_000)
    assert len(found) / 400 == pytest.approx(share, abs=4 * (share * (1 - share) / 400) ** 0.5)
    assert np.median(found) == pytest.approx(1, abs=0.15)
    # With K a multiple of the identity the first valley reaches zero, and none is lower.
    whitened = LinearData(np.eye(3) * 3**0.5, np.ones(3))
    assert claims.second_valley_share(whitened, np.random.default_rng(0), 10_000) == 0.0


def test_scales_are_exact_exponents() -> None:
    assert effective_scales(READINGS["mup"]).readout_variance == Scale.of(width=-2)
