"""Formulas as stated, in the paper or by this toolkit: only ever what a derivation is compared with.

Each is written once and evaluated on whatever algebra it is given: SymPy matrix symbols for every D and N at
once, explicit matrices of symbols, or numbers. `v` is a 1x1 matrix where the others are matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sympy as sp

if TYPE_CHECKING:
    from collections.abc import Callable


class Law(NamedTuple):
    """The three updated quantities, in one matrix algebra."""

    w: Any
    """`w+`, (D, 1)."""
    e: Any
    """`e+`, (D, D)."""
    v: Any
    """`v+`, (1, 1)."""


def theorem_5_1_formula(state: Law, target: Any, eta0: Any, coupling: Any) -> Law:
    """Theorem 5.1 in the paper's order of terms, with `coupling` for its `gamma^2 / (N D)`."""
    w, e, v = state
    t = target
    first, second = eta0 * coupling, eta0**2 * coupling
    return Law(
        w=w - eta0 * ((w - t) * v + e * (w - t)) + second * (w * w.T - t * w.T) * (w - t),
        e=e
        + first * (-2 * w * w.T + t * w.T + w * t.T)
        + second * (w * v * w.T - t * v * w.T - w * v * t.T + t * v * t.T),
        v=v + first * (-2 * w.T * w + 2 * t.T * w) + second * (w.T * e * w - 2 * t.T * e * w + t.T * e * t),
    )


def corollary_5_4_formula(name: str) -> bool:
    """Whether the width stands in the laws: under NTP, not under muP (Corollary 5.4) or SP (App. C.3)."""
    return name == "ntp"


def ntp_limit_formula(state: Law, target: Any, eta0: Any) -> Law:
    """The NTP limit of Sec. 5.1: linear in w; e and v frozen."""
    return Law(
        w=state.w - eta0 * ((state.w - target) * state.v + state.e * (state.w - target)), e=state.e, v=state.v
    )


def standard_laws_formula(state: Law, target: Any, eta0: Any) -> Law:
    """App. C.3.1 as printed: Theorem 5.1 with its coupling at 1."""
    return theorem_5_1_formula(state, target, eta0, 1)


class Lemma52(NamedTuple):
    """What Lemma 5.2 and its proof state."""

    ntk: Callable[[Any], Any]
    """`Theta q`, (D, 1), from q."""
    multiplicities: dict[str, Any]
    """Multiplicities of the eigenvalues of R, which the proof calls symmetric."""
    bound_squared: Callable[[Any, Any], Any]
    """Square of the bound on `|lambda_max(gamma^2 H) - lambda_max(Theta)|`, from the coupling and r."""


def lemma_5_2_formula(state: Law, dimension: Any, width: Any) -> Lemma52:
    """Lemma 5.2."""
    return Lemma52(
        lambda q: state.e * q + q * state.v,
        {"rho": width, "-rho": width, "0": width * (dimension - 1)},
        lambda coupling, r: coupling * r.T * r,
    )


def exact_sharpness_formula(
    state: Law, r: Any, coupling: Any, value: Any
) -> tuple[Callable[[Any, Any], Any], Any]:
    """The scalar side, from v and rho^2, and the matrix of the sharpness equation."""
    w, e, v = state
    matrix = e + coupling / value * (r * w.T + w * r.T) + coupling / value**2 * r * v * r.T
    return lambda v, rho_squared: (value - v) * (1 - rho_squared / value**2), matrix


def invariant_subspace_formula(
    state: Law, r: Any, kappa: Any, parameters: tuple[Any, Any, Any, Any]
) -> tuple[Any, ...]:
    """Image of a direction (a, p, y, beta) of the invariant subspace under `gamma^2 H`."""
    w, e, v = state
    a, p, y, beta = parameters
    q = a * v + kappa * r * w.T * p + e * y + kappa * w * beta
    return q + kappa * r * beta, kappa * y, q + kappa * p * r.T * r, kappa * a.T * r


class Observed(NamedTuple):
    """Closed forms of observables."""

    trace: Callable[[Any, Any], Any]
    """Hessian trace from tr e and v."""
    gradient_square: Any
    """Squared gradient norm, (1, 1)."""
    gradient_form: Any
    """Hessian form along the gradient, (1, 1)."""


def observed(state: Law, r: Any, coupling: Any, dimension: Any) -> Observed:
    """Trace, squared gradient norm and curvature along the gradient."""
    w, e, v = state
    ntk_r = e * r + r * v
    return Observed(
        lambda trace, second: trace + dimension * second,
        r.T * ntk_r,
        ntk_r.T * ntk_r + 2 * coupling * r.T * r * w.T * r,
    )


def minimizer_jacobian(state: Law, change: Law, target: Any, eta0: Any, coupling: Any) -> Law:
    """Image of a change (dw, de, dv) under the Jacobian at a minimizer."""
    dw = change.w
    return Law(
        w=dw - eta0 * (dw * state.v + state.e * dw),
        e=change.e - eta0 * coupling * (dw * target.T + target * dw.T),
        v=change.v - 2 * eta0 * coupling * target.T * dw,
    )


def published_jacobian_row(state: Law, change: Law, target: Any, eta0: Any, coupling: Any) -> Any:
    """Eq. 21 as printed: image of dw under the block of w."""
    dw = change.w
    return dw - eta0 * (dw * state.v + state.e * dw) + eta0**2 * coupling * target * target.T * dw


def marginal_sharpness_formula(eta0: Any) -> Any:
    """Sharpness of a marginally stable minimizer."""
    return 2 / eta0


def largest_stable_rate_formula(kappa: Any, norm: Any) -> tuple[Any, Any]:
    """Smallest sharpness of a minimizer, and the largest learning rate at which one is stable."""
    return 2 * kappa * norm, 1 / (kappa * norm)


def planar_map(a: Any, p: Any, s: Any, eta0: Any, coupling: Any) -> tuple[Any, Any]:
    """`a+` and `p+`."""
    first, second, r = 2 * eta0, eta0**2 * coupling, a - s
    return a - first * p * r + second * a * r**2, p - first * coupling * a * r + second * p * r**2


def planar_sharpness(a: Any, p: Any, s: Any, coupling: Any, value: Any) -> tuple[Any, Any, Any]:
    """Sharpness along the target, the polynomial in `value` of the sector across it, and rho squared."""
    rho_squared = coupling * (a - s) ** 2
    across = (value - p) * (value**2 - rho_squared) - coupling * value**2
    return p + sp.sqrt(p**2 + coupling * (a - s) * (3 * a - s)), across, rho_squared


def universal_map(x: Any, y: Any, mu: Any) -> tuple[Any, Any]:
    """`x+` and `y+`."""
    m = (x**2 - y**2) / 2 - mu
    return x * (1 - m), y * (1 + m)


def bounded_region(x: Any, y: Any, mu: Any, size: Any) -> tuple[Any, Any, Any]:
    """What a point lacks of the ellipse, its factor in a step, and the last mu of a bounded start."""
    m = (x**2 - y**2) / 2 - mu
    lack = 2 - x**2 / (2 + mu) - y**2 / (2 - mu)
    return lack, 1 + mu * m + m**2, sp.sqrt(4 + 1 / size**2) - 1 / size


def cubic_cycles(mu: Any) -> dict[str, Any]:
    """What is stated of `x+ = (1 + mu) x - x^3/2`."""
    return {
        "map": lambda x: (1 + mu) * x - x**3 / 2,
        "multiplier": 1 - 2 * mu,
        "product": 2,
        "squares": 2 * (1 + mu),
        "cycle multiplier": 9 - 2 * (1 + mu) ** 2,
        "doubling": sp.sqrt(5) - 1,
        "transverse": 3 - 2 * mu,
        "bound": sp.sqrt(2 * (2 + mu)),
        "last": 2,
    }


PUBLISHED_FORMULAS: dict[str, Callable[..., Any]] = {
    "5.1": theorem_5_1_formula,
    "5.2": lemma_5_2_formula,
    "5.3": minimizer_jacobian,
    "5.3-published": published_jacobian_row,
    "5.3-sharpness": marginal_sharpness_formula,
    "5.4": corollary_5_4_formula,
    "ntp-limit": ntp_limit_formula,
    "C.3": standard_laws_formula,
    "exact-sharpness": exact_sharpness_formula,
    "invariant-subspace": invariant_subspace_formula,
    "observables": observed,
    "eta-max": largest_stable_rate_formula,
    "planar": planar_map,
    "planar-sharpness": planar_sharpness,
    "universal": universal_map,
    "bounded": bounded_region,
    "cubic": cubic_cycles,
}
"""Stated formulas by statement."""
