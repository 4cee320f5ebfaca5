from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sympy as sp
from superconsistency.theory.symbolic import plane
from superconsistency.theory.symbolic.published_formulas import PUBLISHED_FORMULAS, cubic_cycles

if TYPE_CHECKING:
    from collections.abc import Callable

    from superconsistency.theory.symbolic import Derivation

DERIVATIONS: dict[str, Callable[[], Derivation]] = {
    "planar": plane.planar_derivation,
    "planar-sharpness": plane.planar_sharpness_derivation,
    "universal": plane.universal,
    "cubic": plane.cubic,
}


@pytest.mark.parametrize("name", DERIVATIONS)
def test_a_derivation_of_the_plane_holds_and_can_be_printed(name: str) -> None:
    found = DERIVATIONS[name]()
    assert found.name == name
    assert found.failing() == []
    assert found.holds
    assert found.latex.count(r"\item") == len(found.steps)


def _wrong_entry(name: str, position: int) -> Callable[..., Any]:
    right = PUBLISHED_FORMULAS[name]

    def formula(*symbols: Any) -> Any:
        parts = list(right(*symbols))
        parts[position] = parts[position] * sp.Rational(101, 100)
        return tuple(parts)

    return formula


@pytest.mark.parametrize(
    ("derivation", "stated", "position", "label"),
    [
        ("planar", "planar", 0, "a"),
        ("planar", "planar", 1, "p"),
        ("planar-sharpness", "planar-sharpness", 0, "along"),
        ("planar-sharpness", "planar-sharpness", 1, "across"),
        ("universal", "universal", 0, "map"),
        ("universal", "universal", 1, "map"),
        ("universal", "bounded", 1, "bounded"),
        ("universal", "bounded", 2, "bounded"),
    ],
)
def test_a_derivation_rejects_a_wrong_formula(
    monkeypatch: pytest.MonkeyPatch, derivation: str, stated: str, position: int, label: str
) -> None:
    monkeypatch.setitem(PUBLISHED_FORMULAS, stated, _wrong_entry(stated, position))
    failing = DERIVATIONS[derivation]().failing()
    assert label in {step.label for step in failing}


def test_a_planar_law_that_is_wrong_leaves_the_form_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED_FORMULAS, "planar", _wrong_entry("planar", 0))
    found = plane.planar_derivation()
    assert [step.label for step in found.failing()] == ["a"]
    assert found.failing("form") == []


def test_a_wrong_distance_to_the_target_fails_every_sector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHED_FORMULAS, "planar-sharpness", _wrong_entry("planar-sharpness", 2))
    labels = {step.label for step in plane.planar_sharpness_derivation().failing()}
    assert {"", "along", "across", "rho"} <= labels


CUBIC = cubic_cycles(plane.MU)


@pytest.mark.parametrize("name", CUBIC)
def test_every_statement_about_the_cubic_can_fail(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def wrong(mu: Any) -> dict[str, Any]:
        stated = cubic_cycles(mu)
        right = stated[name]
        stated[name] = (lambda x: right(x) + x**2 / 100) if name == "map" else right + sp.Rational(1, 100)
        return stated

    monkeypatch.setitem(PUBLISHED_FORMULAS, "cubic", wrong)
    assert not plane.cubic().holds


def test_a_law_that_leaves_the_plane_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def ansatz() -> tuple[Any, Any, Any]:
        w, e, v = right()
        return w, e, 2 * v

    right = plane._ansatz  # the one place where the form is written
    monkeypatch.setattr(plane, "_ansatz", ansatz)
    assert "form" in {step.label for step in plane.planar_derivation().failing()}
