from __future__ import annotations

import math
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from superconsistency.neural.curvature.line_search import LIMIT, CriticalRate, critical_rate
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

EPS = float(np.finfo(np.float64).eps)


def polynomial(*coefficients: float, start: float = 0.0) -> Callable[[float], float]:
    """`start + eta (c_0 + c_1 eta + ...)`."""
    return lambda eta: float(start + eta * np.polyval(coefficients[::-1], eta))


def first_rise(*coefficients: float) -> tuple[float, float]:
    """Where the polynomial with these coefficients becomes positive, by its roots, and how close two come."""
    roots = np.roots(coefficients[::-1])
    gap = min((abs(one - other) / abs(one) for one, other in permutations(roots, 2)), default=1.0)
    real = np.sort(roots[(np.abs(roots.imag) < 1e-9 * np.abs(roots)) & (roots.real > 0)].real)
    ends = [*real, 2 * real[-1] + 1 if len(real) else 1.0]
    for root, end in zip(real, ends[1:], strict=True):
        if np.polyval(coefficients[::-1], 0.5 * (root + end)) > 0:
            return float(root), gap
    return math.inf, gap


def contains(found: CriticalRate, rate: float) -> bool:
    """Whether the bracket does, but for the rounding of a loss that is computed with terms that cancel."""
    return found.bracket[0] * (1 - 1e-9) <= rate <= found.bracket[1] * (1 + 1e-9)


@pytest.mark.parametrize("curvature", [1e-6, 1.0, 3e5])
@pytest.mark.parametrize("slope", [1e-8, 1.0, 1e4])
@pytest.mark.parametrize("known", [True, False])
def test_on_a_quadratic_the_critical_sharpness_is_the_curvature_along_the_update(
    curvature: float, slope: float, known: bool
) -> None:
    found = critical_rate(
        lambda eta: -slope * eta + 0.5 * curvature * eta**2,
        start=0.0,
        slope=slope,
        curvature=curvature if known else None,
        guess=None if known else 3 * slope / curvature,
    )
    assert found.sharpness == pytest.approx(curvature / slope, rel=1e-12)
    assert found.passes <= 6
    assert found.note == ""
    assert contains(found, 2 * slope / curvature)


def test_the_start_is_found_without_a_hint_of_its_scale() -> None:
    for scale in np.geomspace(1e-6, 1e6, 13):
        loss = polynomial(-scale, 0.5 * scale**2, start=0.5)
        found = critical_rate(loss, start=0.5, slope=scale)
        assert found.rate == pytest.approx(2 / scale, rel=1e-12)


@given(
    st.tuples(*[st.integers(-10_000, 10_000).map(lambda value: value / 1000)] * 3),
    st.floats(0.1, 10),
    st.integers(-20, 20),
    st.booleans(),
    st.floats(-2, 2),
)
def test_on_a_quartic_it_is_the_first_rise_to_rounding(
    coefficients: tuple[float, ...], slope: float, exponent: int, known: bool, off: float
) -> None:
    scale = 2.0**exponent
    scaled = (-slope / scale, *(value / scale ** (k + 2) for k, value in enumerate(coefficients)))
    rate, gap = first_rise(*scaled)
    assume(gap > 1e-2)
    assume(rate == math.inf or 1e-2 < rate / scale < 1e2)
    found = critical_rate(
        polynomial(*scaled),
        start=0.0,
        slope=-scaled[0],
        curvature=2 * scaled[1] if known else None,
        guess=scale * 10**off,
    )
    assert found.passes < LIMIT
    if rate == math.inf:
        assert found.rate == math.inf
        assert found.sharpness == 0
        assert "does not rise" in found.note
    else:
        assert found.rate == pytest.approx(rate, rel=1e-9)
        assert contains(found, rate)
        assert found.error <= 2e-3 * rate or found.note


@pytest.mark.parametrize("first", [0.05, 0.2, 0.9])
@pytest.mark.parametrize("guess", [0.1, 1.0, 2.9, 3.5, 20.0])
def test_of_several_rises_it_is_the_first_wherever_the_search_begins(first: float, guess: float) -> None:
    """f = eta (eta - first)(eta - 1)(eta - 3), up to its scale."""
    coefficients = np.poly([first, 1.0, 3.0])[::-1] / (3 * first)
    found = critical_rate(polynomial(*coefficients), start=0.0, slope=1.0, guess=guess)
    assert found.rate == pytest.approx(first, rel=1e-9)


def test_a_rise_half_way_to_the_rate_found_is_seen() -> None:
    def loss(eta: float) -> float:
        return -eta + 0.5 * eta**2 + 3 * math.exp(-(((eta - 1) / 0.05) ** 2))

    found = critical_rate(loss, start=0.0, slope=1.0, curvature=1.0)
    assert 0.85 < found.rate < 1
    assert loss(found.bracket[0]) < 0 < loss(found.bracket[1])


@pytest.mark.parametrize(
    "loss", [lambda eta: math.exp(-eta), lambda eta: 1 - eta, lambda eta: 1 - min(eta, 0.1), lambda _eta: 1.0]
)
@pytest.mark.parametrize("curvature", [None, 1.0, 0.0, -1.0])
def test_a_loss_that_never_rises_has_no_critical_rate(
    loss: Callable[[float], float], curvature: float | None
) -> None:
    found = critical_rate(loss, start=1.0, slope=1.0, curvature=curvature)
    assert found.rate == math.inf
    assert found.sharpness == 0
    assert "the loss does not rise up to a rate of" in found.note
    assert found.sharpness_error == 2 / found.bracket[0] < 1e-5
    assert found.passes <= 14


@pytest.mark.parametrize("beyond", [math.inf, math.nan, -math.inf])
@pytest.mark.parametrize("guess", [0.01, 1.0, 50.0, 1e6])
def test_a_loss_that_is_not_finite_is_above_its_start(beyond: float, guess: float) -> None:
    found = critical_rate(lambda eta: 1 - eta if eta < 0.7 else beyond, start=1.0, slope=1.0, guess=guess)
    assert contains(found, 0.7)
    assert found.rate == pytest.approx(0.7, rel=1e-3)
    assert found.note == ""


def test_a_loss_that_overflows_soon_is_searched_all_the_same() -> None:
    def loss(eta: float) -> float:
        return float(np.cosh(min(400 * eta, 700.0)) - eta)

    found = critical_rate(loss, start=1.0, slope=1.0, guess=1.0)
    assert found.rate == pytest.approx(1.25e-5 * (1 - 0.005**2 / 12), rel=1e-9)


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_an_update_that_does_not_lower_the_loss_has_no_critical_rate(slope: float) -> None:
    found = critical_rate(lambda _eta: 0.0, start=0.0, slope=slope)
    assert math.isnan(found.rate)
    assert math.isnan(found.sharpness)
    assert found.note == "the update does not lower the loss to first order"


@pytest.mark.parametrize(("start", "slope"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_a_start_that_is_not_finite_has_no_critical_rate(start: float, slope: float) -> None:
    found = critical_rate(lambda _eta: 0.0, start=start, slope=slope)
    assert math.isnan(found.rate)
    assert found.note == "the loss or its gradient is not finite"


@given(st.integers(0, 10_000), st.sampled_from([1e-12, 1e-9, 1e-7, 1e-5, 1e-3]), st.booleans())
def test_rounding_of_the_loss_is_within_the_error(seed: int, noise: float, known: bool) -> None:
    """f = -eta + eta^2/2, at most 1/2 below the start, with values off by up to `noise`."""
    generator = np.random.default_rng(seed)

    def loss(eta: float) -> float:
        return 1 - eta + 0.5 * eta**2 + noise * generator.uniform(-1, 1)

    found = critical_rate(loss, start=1.0, slope=1.0, curvature=1.0 if known else None, noise=noise)
    assert contains(found, 2.0)
    assert abs(found.rate - 2) <= found.error <= max(2e-3, 50 * noise)
    assert bool(found.note) == (found.bracket[1] - found.bracket[0] > 1e-3 * found.bracket[1])
    assert abs(found.sharpness - 1) <= found.sharpness_error


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("depth", [0.0, 0.1, 1.0])
def test_a_descent_smaller_than_the_rounding_is_said_to_be_lost(seed: int, depth: float) -> None:
    generator = np.random.default_rng(seed)

    def loss(eta: float) -> float:
        return 1 + 1e-6 * (depth * (-2 * eta + eta**2) + generator.uniform(-1, 1))

    found = critical_rate(loss, start=1.0, slope=1e-6 * max(depth, 1e-3), curvature=2e-6 * depth, noise=1e-6)
    assert "lost in its rounding" in found.note
    assert not found.sharpness_error < 1
    assert found.passes <= 12


@given(st.integers(-30, 30), st.integers(-30, 30))
def test_the_rate_scales_with_the_update_and_not_with_the_loss(one: int, other: int) -> None:
    long, large = 2.0**one, 2.0**other
    plain = polynomial(-1.0, 0.3, 0.2, 0.1, start=1.0)
    want = critical_rate(plain, start=1.0, slope=1.0, curvature=0.6)
    found = critical_rate(
        lambda eta: large * plain(long * eta),
        start=large,
        slope=large * long,
        curvature=0.6 * large * long**2,
    )
    assert found.rate * long == pytest.approx(want.rate, rel=1e-12)
    assert found.passes == want.passes


def line(
    model: nn.Module, criterion: nn.Module, inputs: torch.Tensor, targets: torch.Tensor
) -> tuple[Callable[[float], float], float, float, float]:
    """The loss along the gradient, its start, slope and curvature."""
    parameters = list(model.parameters())
    loss = criterion(model(inputs), targets)
    gradient = torch.autograd.grad(loss, parameters, create_graph=True)
    update = [piece.detach() for piece in gradient]
    slope = sum((one * other).sum() for one, other in zip(gradient, update, strict=True))
    assert isinstance(slope, torch.Tensor)
    products = torch.autograd.grad(slope, parameters)
    curvature = sum(float((one * other).sum()) for one, other in zip(products, update, strict=True))
    here = [value.detach().clone() for value in parameters]

    def along(eta: float) -> float:
        with torch.no_grad():
            for value, start, piece in zip(parameters, here, update, strict=True):
                value.copy_(start - eta * piece)
            found = float(criterion(model(inputs), targets))
            for value, start in zip(parameters, here, strict=True):
                value.copy_(start)
        return found

    return along, float(loss.detach()), float(slope.detach()), curvature


def bisected(loss: Callable[[float], float], start: float, end: float) -> float:
    """The first rise on a grid of 400 rates up to a factor beyond `end`, and then by halving."""
    grid = np.linspace(0, 1.5 * end, 400)
    high = next(float(rate) for rate in grid[1:] if loss(rate) > start)
    low = high - grid[1]
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if loss(middle) > start else (middle, high)
    return high


def test_networks_along_a_run_take_six_values(record_property: Callable[[str, object], None]) -> None:
    passes, errors = [], []
    for seed, activation in enumerate((nn.ReLU, nn.Tanh, nn.GELU)):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 16), activation(), nn.Linear(16, 3)).double()
        inputs, targets = torch.randn(64, 6, dtype=torch.float64), torch.randint(0, 3, (64,))
        guess = None
        for _ in range(12):
            along, start, slope, curvature = line(model, nn.CrossEntropyLoss(), inputs, targets)
            found = critical_rate(
                along, start=start, slope=slope, curvature=curvature, guess=guess, noise=4 * EPS * start
            )
            passes.append(found.passes)
            errors.append(abs(found.rate / bisected(along, start, found.rate) - 1))
            guess = found.rate
            optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(model(inputs), targets).backward()
            optimizer.step()
    record_property(
        "measured",
        f"critical rate of {len(passes)} networks: median {np.median(passes):.0f} values of the loss, "
        f"largest relative error {max(errors):.1e}",
    )
    assert np.median(passes) <= 6
    assert max(errors) < 1e-6
