from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.neural.curvature.reductions import inner_product, inner_products, norm


@pytest.mark.parametrize("size", [1, 2**14, 2**14 + 1, 10**7])
def test_sums_of_single_precision_are_those_of_double_precision_to_its_rounding(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    rows = torch.randn(3, size, generator=generator).abs()
    exact = rows.double() @ rows[0].double()
    torch.testing.assert_close(inner_products(rows, rows[0]), exact, rtol=1e-6, atol=0)
    assert norm(rows[0]) == pytest.approx(math.sqrt(float(exact[0])), rel=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20))
def test_short_vectors_have_the_usual_products(values: list[float]) -> None:
    vector = torch.tensor(values, dtype=torch.float64)
    assert inner_product(vector, vector.flip(0)) == pytest.approx(float(vector @ vector.flip(0)), abs=1e-6)
    assert norm(vector) ** 2 == pytest.approx(inner_product(vector, vector), rel=1e-9, abs=1e-12)


def test_norms_that_are_not_numbers_are_passed_on() -> None:
    assert math.isnan(norm(torch.tensor([1.0, math.nan])))
    assert math.isinf(norm(torch.tensor([1.0, math.inf])))
