"""Fluctuations about the infinite-width trajectory of muP: the laws linearised, for every D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sympy as sp

from ..fluctuations import across_jacobian, plane_jacobian, sharpness_gradient
from ..parametrization import PARAMETRIZATIONS
from . import moments
from .core import ETA0, KAPPA, LAMBDA, A, D, Derivation, N, Step, T, U, coefficient
from .laws import STATE, TARGET, congruence
from .noncommutative import normal_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BASE_P, TARGET_NORM = sp.symbols("p s", real=True)
"""The base: `w = a u`, `e = c I + (p - c) u u^T`, `v = p`, `w* = s u`, with `c = kappa^2 = 1/D`."""
ACROSS, ACROSS_2 = (sp.MatrixSymbol(name, D, 1) for name in ("d", "d_2"))
"""Directions across the target: with the target's, U, they are orthonormal."""
ALONG = sp.symbols("x g y", real=True)
"""Perturbations in the plane: of w.u, u.e u and v."""
SIDEWAYS = sp.symbols("X G", real=True)
"""Perturbations across it: of w.d and d.e u."""
REST, REST_SAME = sp.symbols("F F_d", real=True)
"""Perturbations of e across the target on both sides: of d_2.e d and d.e d."""


def start_variances_as_stated(width: Any, dimension: Any) -> dict[str, Any]:
    """Variances of w_i, e_ii, e_ij and v at initialisation under muP."""
    unit = 1 / (width * dimension**2)
    return {"w_i": dimension * unit, "e_ii": 2 * unit, "e_ij": unit, "v": 2 * unit}


FLUCTUATION_FORMULAS: dict[str, Callable[..., Any]] = {
    "fluctuations-plane": plane_jacobian,
    "fluctuations-across": across_jacobian,
    "fluctuations-sharpness": sharpness_gradient,
    "fluctuations-start": start_variances_as_stated,
}
"""Stated formulas by statement; the Jacobians are those that the predictions use."""


class Components(NamedTuple):
    """A step's coefficients by word in the orthonormal directions, such as ("d", "u'")."""

    w: Mapping[tuple[str, ...], Any]
    e: Mapping[tuple[str, ...], Any]
    v: Mapping[tuple[str, ...], Any]


def fluctuations_derivation() -> Derivation:
    """Sectors, Jacobians, start and what becomes of the sharpness."""
    plane, across = (
        sp.Matrix(FLUCTUATION_FORMULAS[f"fluctuations-{name}"](A, BASE_P, TARGET_NORM, ETA0, KAPPA**2))
        for name in ("plane", "across")
    )
    steps = (*_sector_steps(plane, across), *_consequences(plane, across), _start_step(), _sharpness_step())
    return Derivation(
        "fluctuations",
        "Fluctuations at finite width under muP, to first order",
        "beyond the paper; theory of super consistency",
        steps,
        {"plane": plane, "across": across},
    )


def linearised_step() -> tuple[Components, Components]:
    """One step of Theorem 5.1 about a planar state: the base's image and the image of every perturbation."""
    x, g, y = ALONG
    w = (A + T * x) * U + T * SIDEWAYS[0] * ACROSS
    e = KAPPA**2 * sp.Identity(D) + (BASE_P - KAPPA**2 + T * g) * U * U.T
    e += T * SIDEWAYS[1] * (ACROSS * U.T + U * ACROSS.T)
    e += T * REST * (ACROSS * ACROSS_2.T + ACROSS_2 * ACROSS.T) + T * REST_SAME * ACROSS * ACROSS.T
    state = {STATE.w: w, STATE.e: e, STATE.v: (BASE_P + T * y) * sp.Identity(1), TARGET: TARGET_NORM * U}
    laws = {name: _orthonormal(law.subs(state)) for name, law in congruence().result.items()}
    base = {name: coefficient(words, 0) for name, words in laws.items()}
    image = {name: coefficient(words, 1) for name, words in laws.items()}
    return Components(**base), Components(**image)


def _orthonormal(expression: Any) -> dict[tuple[str, ...], Any]:
    """Normal form with products of the directions u, d and d_2 replaced by 0 or 1."""
    found: dict[tuple[str, ...], Any] = {}
    for word, value in normal_form(expression).items():
        if all(left.removesuffix("'") == right for left, right in word.scalars):
            found[word.rest] = sp.expand(found.get(word.rest, 0) + value)
    return found


def _sector_steps(plane: Any, across: Any) -> list[Step]:
    base, image = linearised_step()
    in_plane, sideways = plane * sp.Matrix(ALONG), across * sp.Matrix(SIDEWAYS)
    stays: dict[tuple[str, ...], Any] = {("d", "d'"): REST_SAME, ("d", "d_2'"): REST, ("d_2", "d'"): REST}
    mixed: dict[tuple[str, ...], Any] = {("d", "u'"): sideways[1], ("u", "d'"): sideways[1]}
    wanted = Components(
        {("u",): in_plane[0], ("d",): sideways[0]},
        {("u", "u'"): in_plane[1], **mixed, **stays},
        {(): in_plane[2]},
    )
    text = (
        "The base is infinite width under muP (derivation planar): with w* = s u and |u| = 1 it is w = a u, "
        "e = I/D + (p - 1/D) u u^T, v = p, kappa^2 = 1/D, r = a - s. It stays planar: w+ lies along u, e+ "
        "changes along u u^T only, and u.e+ u equals v+. Perturb it by t in w.u, u.e u, v; in w.d, d.e u "
        "for a unit vector d across, d^T u = 0; in e across it on both sides."
    )
    image_text = (
        "{} The coefficient of t in the law of {}, for every D, minus the image under the stated Jacobians "
        "is checked to be zero."
    )
    first = base.w.keys() - {("u",)}, base.e.keys() - {("u", "u'"), ()}
    same = sp.expand(base.e[("u", "u'")] + base.e[()] - base.v[()])
    return [
        Step(text, None, [*(str(word) for words in first for word in words), base.e[()] - KAPPA**2, same]),
        Step(
            image_text.format("The Jacobian in (w.u, u.e u, v), the sector along the target.", "w"),
            plane,
            _gaps(image.w, wanted.w),
        ),
        Step(
            image_text.format("The Jacobian in (w.d, d.e u), the sector across.", "e"),
            across,
            _gaps(image.e, wanted.e),
        ),
        Step(
            image_text.format("So no sector feeds another, and e across on both sides stands still.", "v"),
            None,
            _gaps(image.v, wanted.v),
        ),
    ]


def _gaps(found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> list[Any]:
    """Found minus wanted, word by word, at `c = kappa^2`."""
    return [sp.expand(found.get(word, 0) - wanted.get(word, 0)) for word in {*found, *wanted}]


def _consequences(plane: Any, across: Any) -> list[Step]:
    r, c = A - TARGET_NORM, KAPPA**2
    imbalance = sp.Matrix([[0, 1, -1]])
    alone = (imbalance * plane - (1 - ETA0**2 * c * r**2) * imbalance).expand()
    rest = {A: TARGET_NORM}
    still = [plane.subs(rest)[i, j] - int(i == j) for i in range(3) for j in (1, 2)]
    still += [across.subs(rest)[i, 1] - i for i in range(2)]
    rates = [
        plane.subs(rest)[0, 0] - (1 - 2 * ETA0 * BASE_P),
        across.subs(rest)[0, 0] - (1 - ETA0 * (BASE_P + c)),
    ]
    return [
        Step(
            "The imbalance u.e u - v evolves by itself, times this a step: it contracts where eta0 kappa |r| "
            "is below sqrt(2) and stands still once the residual is gone.",
            1 - ETA0**2 * c * r**2,
            alone,
        ),
        Step(
            "At a minimizer, r = 0: the step multiplies w.u by 1 - 2 eta0 p along the target and w.d by "
            "1 - eta0 (p + 1/D) across it, one minus eta0 times the NTK's eigenvalues; e and v stand still "
            "and keep what they have accumulated.",
            sp.Tuple(1 - 2 * ETA0 * BASE_P, 1 - ETA0 * (BASE_P + c)),
            [*(sp.expand(entry) for entry in still), *(sp.expand(rate) for rate in rates)],
        ),
    ]


def _start_step() -> Step:
    """The start's variances; by the derivation "wishart" distinct entries are uncorrelated."""
    exact = moments.initial_moments(PARAMETRIZATIONS["mup"])
    stated = FLUCTUATION_FORMULAS["fluctuations-start"](N, D)
    gaps = [sp.simplify(exact[entry].variance - variance) for entry, variance in stated.items()]
    text = (
        "The start: w.u, u.e u, v, w.d, d.e u are entries of the Wishart matrix in a basis that holds u; "
        "its law is that of any basis, so they are uncorrelated, with these variances: of w.u and w.d, of "
        "u.e u, of d.e u, of v. Neither the laws nor the Jacobians hold N, so to first order every "
        "deviation is N^(-1/2) times a function of D, |w*|, eta0 and the step."
    )
    return Step(text, sp.Tuple(*stated.values()), gaps)


def _sharpness_step() -> Step:
    """Implicit derivative of the sharpness equation along the simple eigenvector u."""
    first, second = sp.symbols("e_u v", real=True)
    c, r = KAPPA**2, A - TARGET_NORM
    top = first + 2 * c * A * r / LAMBDA + c * second * r**2 / LAMBDA**2
    equation = (LAMBDA - second) * (1 - c * r**2 / LAMBDA**2) - top
    # On the base the eigenvalue solves lambda^2 = 2 p lambda + c r (r + 2 a): eliminate p, not lambda.
    base = (LAMBDA**2 - c * r * (r + 2 * A)) / (2 * LAMBDA)
    on_base = {first: base, second: base}
    stated = FLUCTUATION_FORMULAS["fluctuations-sharpness"](LAMBDA, A, TARGET_NORM, c)
    gaps = [sp.simplify(equation.subs(on_base))]
    for symbol, numerator in zip((A, first, second), (stated[0], stated[1], stated[1]), strict=True):
        slope = -sp.diff(equation, symbol) / sp.diff(equation, LAMBDA)
        gaps.append(sp.simplify(slope.subs(on_base) - numerator / (2 * (LAMBDA - base))))
    text = (
        "Where u is the simple top eigenvector in the sharpness equation, first order moves its eigenvalue "
        "by u.(change) u alone, so the sharpness lambda has as derivatives in w.u, u.e u and v this list "
        "divided by 2 (lambda - p), lambda > p. The derivative of the loss in w.u is r: zero at a "
        "minimizer, where the loss changes to second order only."
    )
    return Step(text, sp.Tuple(*stated, stated[1]), gaps)
