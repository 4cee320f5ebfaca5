from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from superconsistency.neural.curvature import (
    Batch,
    DenseOperator,
    NotConvergedWarning,
    Objective,
    SpectrumTracker,
    measure,
)
from superconsistency.neural.curvature.eigenpair import Aim, largest_pair
from superconsistency.neural.curvature.lanczos import LanczosSpace
from superconsistency.neural.curvature.missed import RandomStart, Recurrence, combined
from superconsistency.tests.neural.curvature.spectra import Diagonal, with_spectrum
from torch import nn


def searched(
    values: Any, start: torch.Tensor, products: int, *, rows: int = 40, dtype: torch.dtype = torch.float64
) -> LanczosSpace:
    """A search from a start, of so many products unless the space is complete."""
    memory = torch.zeros(min(rows, len(values) + 1), len(values), dtype=dtype)
    memory[0] = start
    space = LanczosSpace(Diagonal(values, dtype), memory, torch.Generator(), found=0, end=len(memory))
    largest_pair(space, Aim(1e-15, products, 0.0))
    return space


def bound(space: LanczosSpace, value: float) -> float:
    return space.recurrence.largest_part(value, space.unit * space.scale)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(2, 120),
    products=st.integers(2, 60),
    rows=st.sampled_from([4, 7, 40]),
    hidden=st.floats(1e-12, 1),
    above=st.floats(1e-3, 3),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_the_start_holds_no_more_of_a_larger_eigenvector_than_the_bound(
    seed: int, size: int, products: int, rows: int, hidden: float, above: float, dtype: torch.dtype
) -> None:
    """Through any number of restarts, in both precisions, also for a part far below rounding."""
    generator = np.random.default_rng(seed)
    values = np.append(generator.uniform(-1, 1, size - 1), 1 + above)
    start = torch.tensor(np.append(generator.standard_normal(size - 1), hidden)).to(dtype)
    space = searched(values, start, products, rows=rows, dtype=dtype)
    part = float(start[-1].double() / torch.linalg.vector_norm(start.double()))
    assert part <= bound(space, float(torch.tensor(values).to(dtype)[-1])) + space.unit


@pytest.mark.parametrize("rows", [4, 8, 40])
def test_the_bound_is_the_product_of_links_over_the_polynomial_of_all_ritz_values(rows: int) -> None:
    """Written out: `prod beta / prod(mu - theta)`, the Ritz values dropped at restarts included."""
    values, start = np.linspace(-1, 1, 300), torch.tensor(np.random.default_rng(0).standard_normal(300))
    memory = torch.zeros(rows, 300, dtype=torch.float64)
    memory[0] = start
    space = LanczosSpace(Diagonal(values), memory, torch.Generator(), found=0, end=rows)
    links, dropped, mu = [], [], 1.3
    for _ in range(24):
        space.expand()
        links.append(space.couplings[-1, -1])
        found, vectors = space.ritz()
        if space.full:
            kept = max(1, rows // 2 - 1)
            dropped += list(found[:-kept])
            space.restart(vectors[:, -kept:])
            found = found[-kept:]
        expected = math.exp(np.log(links).sum() - np.log(mu - np.array([*dropped, *found])).sum())
        assert space.recurrence.largest_part(mu, 0.0) == pytest.approx(expected, rel=1e-6)
        space.advance()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.sampled_from([4, 12, 60]), above=st.floats(1e-3, 2))
def test_the_bound_falls_with_every_product_and_with_the_distance(seed: int, rows: int, above: float) -> None:
    generator = np.random.default_rng(seed)
    values = generator.standard_normal(50)
    largest = values.max()
    start = torch.tensor(generator.standard_normal(50))
    bounds = [
        bound(searched(values, start, products, rows=rows), largest + above) for products in range(2, 30)
    ]
    assert all(0 <= one <= 1 for one in bounds)
    # What rounding adds differs with the norm that a search has seen.
    assert all(later <= earlier + 1e-11 for earlier, later in itertools.pairwise(bounds))
    space = searched(values, start, 10, rows=rows)
    further = [bound(space, largest + above * factor) for factor in (1, 2, 4, 8)]
    assert further == sorted(further, reverse=True)


@pytest.mark.parametrize("size", [3, 4, 10, 10**3, 10**6])
@pytest.mark.parametrize("part", [1e-9, 1e-4, 1e-2, 0.3])
def test_a_random_start_holds_less_than_that_with_at_most_the_probability(size: int, part: float) -> None:
    """The square of a component of a random unit vector is Beta(1/2, (n - 1)/2)."""
    recurrence = Recurrence()
    recurrence.extend(0.0, part, 0.0)  # one product: `beta / mu` at `mu = 1`
    start = RandomStart(recurrence, size, 1.0, 0.0, 0.0, complete=False)
    exact = float(beta.cdf(part**2, 0.5, (size - 1) / 2))
    assert start.missed(1.0) >= exact * (1 - 1e-9)
    if part * math.sqrt(size) < 0.1:
        assert start.missed(1.0) == pytest.approx(exact, rel=1e-2)


def test_two_searches_miss_together_no_more_often_than_their_combined_bound() -> None:
    """The product of two uniform numbers, each the bound of a search that is no better than it says."""
    one, other = np.random.default_rng(0).uniform(size=(2, 100_000))
    found = np.array([combined(*pair) for pair in zip(one, other, strict=True)])
    for level in (0.001, 0.01, 0.1, 0.5):
        assert np.mean(found <= level) == pytest.approx(level, rel=5 / math.sqrt(level * len(found)))
    assert combined(0.0, 1.0) == 0
    assert combined(1.0, 1.0) == 1


SIZE, SEARCHES = 1000, 600
BULK = np.linspace(-0.1, 0.1, SIZE - 1)


@pytest.mark.parametrize(
    ("largest", "products"), [(0.2, 6), (0.2, 8), (0.4, 4), (1.0, 3), (1.0, 4), (4.0, 2), (4.0, 3)]
)
def test_an_eigenvalue_is_missed_at_most_as_often_as_stated(largest: float, products: int) -> None:
    """An isolated eigenvalue in a large space, and fewer products than are needed to see it always."""
    operator = Diagonal(np.r_[BULK, largest])
    stated, missed = np.zeros(SEARCHES), np.zeros(SEARCHES, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        for seed in range(SEARCHES):
            found = SpectrumTracker(tolerance=0.05, max_products=products, seed=seed)(operator)
            stated[seed], missed[seed] = found.missed, found.value + found.error_bound < largest
    assert missed.any()
    for level in (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9):
        seen = np.sum(missed & (stated <= level))
        assert seen <= level * SEARCHES + 3 * math.sqrt(level * SEARCHES)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 60),
    count=st.integers(1, 4),
    copies=st.integers(1, 4),
    end=st.sampled_from(["largest", "smallest"]),
    max_products=st.integers(2, 60),
)
def test_what_is_stated_to_be_all_but_impossible_does_not_happen(
    seed: int, size: int, count: int, copies: int, end: str, max_products: int
) -> None:
    """Several eigenvalues, with multiplicity, at both ends, the second call from a warm start."""
    spectrum = np.repeat(np.random.default_rng(seed).standard_normal(size), copies)
    count = min(count, len(spectrum))
    track = SpectrumTracker(count=count, end=end, seed=seed, max_products=max_products)
    sign = 1 if end == "largest" else -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        for _ in range(2):
            found = track(Diagonal(spectrum))
            assert (found.misses >= 0).all()
            assert (found.misses <= 1).all()
            beyond = (
                sign * (np.sort(sign * spectrum)[::-1][:count] * sign - found.values) > found.error_bounds
            )
            assert not (beyond & (found.misses < 1e-6)).any()


def test_what_a_warm_start_cannot_have_seen_is_not_excluded() -> None:
    """An eigenvalue rises out of the bulk, orthogonally to all that the tracker knows."""
    values = np.r_[BULK, 1.0]
    track = SpectrumTracker()
    assert track(Diagonal(values)).missed < 1e-6
    risen = np.r_[2.0, values[1:]]
    found = track(Diagonal(risen))
    assert found.value + found.error_bound < 2
    assert found.missed == 1
    assert SpectrumTracker()(Diagonal(risen)).missed < 1e-6


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_missed_where_every_direction_was_taken(size: int, count: int) -> None:
    if count > size:
        return
    matrix = with_spectrum(np.random.default_rng(size).standard_normal(size))
    found = SpectrumTracker(count=count)(DenseOperator(matrix))
    assert (found.misses == 0).all()


def test_single_precision_excludes_no_more_than_its_rounding_allows() -> None:
    values = np.r_[np.linspace(-0.1, 0.1, 10**4), 1.0]
    single, double = (
        SpectrumTracker()(Diagonal(values, dtype)).missed for dtype in (torch.float32, torch.float64)
    )
    assert double < 1e-8
    assert 1e-8 < single < 1e-2


def test_estimates_of_outermost_eigenvalues_state_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    batch = Batch(torch.randn(12, 8, dtype=torch.float64), torch.randint(3, (12,)))
    found = measure(Objective(model), batch, ["loss", "sharpness", "smallest_eigenvalue"], count=2).estimates
    assert math.isnan(found["loss"].missed)
    for name in ("sharpness", "eigenvalue_2", "smallest_eigenvalue"):
        assert 0 <= found[name].missed <= 1
    assert found["sharpness"].missed < 0.1


def test_a_value_that_is_not_finite_has_no_such_probability() -> None:
    found = SpectrumTracker()(DenseOperator(torch.full((4, 4), math.nan)))
    assert np.isnan(found.misses).all()
