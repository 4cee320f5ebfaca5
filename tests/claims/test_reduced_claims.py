from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from superconsistency.claims import Settings, Verdict, reduced
from superconsistency.claims.reduced import REDUCED_CLAIMS, LawCase, holm
from superconsistency.simulations.reduced import ReducedMethod
from superconsistency.theory import krylov_chain

LAW, PATH = REDUCED_CLAIMS


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduced, "DRAWS_A_SIDE", 600)
    monkeypatch.setattr(reduced, "TIMES", (0, 8))
    monkeypatch.setattr(reduced, "LAW_CASES", (LawCase(5, 3, "mup", 0.8), LawCase(2, 6, "ntp", 0.3)))
    monkeypatch.setattr(reduced, "GIVEN", ((40, 80, 1.0), (40, 20, 1.0)))


def verdict(claim: Any) -> Verdict:
    return Verdict(claim.check(Settings(), lambda _: None).verdict)


def more_degrees(width: float, dimension: float, rows: int, generator: np.random.Generator) -> Any:
    """One neuron too many, in the degrees of freedom only."""
    diagonal, below, twice = ORIGINAL(width + 1, dimension, rows, generator)
    return diagonal * np.sqrt((width + 1) / width), below, twice


ORIGINAL: Callable[..., Any] = krylov_chain._draw_diagonals


@pytest.mark.usefixtures("quick")
def test_the_law_is_upheld_and_one_degree_of_freedom_too_many_refutes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert verdict(LAW) is Verdict.VERIFIED
    monkeypatch.setattr(krylov_chain, "_draw_diagonals", more_degrees)
    assert verdict(LAW) is Verdict.REFUTED


@pytest.mark.usefixtures("quick")
def test_the_path_is_upheld_and_a_wrong_coupling_refutes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict(PATH) is Verdict.VERIFIED
    advance = ReducedMethod.advance

    def stronger(self: ReducedMethod, *arguments: Any) -> None:
        self.coupling = np.full_like(self.coupling, 1.01 * self.problem.kappa)
        advance(self, *arguments)

    monkeypatch.setattr(ReducedMethod, "advance", stronger)
    assert verdict(PATH) is Verdict.REFUTED


def test_holms_correction_is_step_down() -> None:
    # The smallest is multiplied by the number of tests, the next by one less; never falling.
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.005])), [0.06, 0.03, 0.06, 0.02])
    assert holm(np.array([0.9]))[0] == 0.9
