"""The start: Proposition C.1, the moments and the first step under SP, and the Wishart law behind them."""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy as sp

from ..parametrization import PARAMETRIZATIONS
from . import moments
from .core import ETA0, KAPPA, D, Derivation, N, Step
from .laws import RESIDUAL, STATE, TARGET, congruence
from .noncommutative import normal_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

WITH_LIMIT = ("ntp", "mup")
"""Parametrizations whose start has a limit (Proposition C.1)."""

BARTLETT_SIZES = ((2, 1), (2, N), (3, 1), (3, 2), (3, N))
"""Rows and degrees of freedom of the decomposition that is checked; symbolic N stands for any from 3 on."""


class StatedStart(NamedTuple):
    """Proposition C.1 for one parametrization."""

    limit: Any
    """Limit of `v` and `e_ii`; that of `e_ij` and the mean of `w_i` are zero."""
    map_variance: Any
    """`Var w_i`."""
    bound: Any
    """On `E|v - limit|^2` and `E|e_ij - delta_ij limit|^2`."""


def proposition_c_1_as_stated(name: str) -> StatedStart:
    """Proposition C.1 as printed."""
    return StatedStart(1 / D, 1 / D if name == "ntp" else 1 / (N * D), 2 / (N * D))


def sharp_variances() -> dict[str, Any]:
    """Variances at initialisation under NTP and muP."""
    return {"v": 2 / (N * D**2), "e_ii": 2 / (N * D**2), "e_ij": 1 / (N * D**2)}


def standard_order_as_stated() -> dict[str, int]:
    """App. C.3.2 as printed: powers of N in the variances of e and v under SP."""
    return {"e_ii": 1, "e_ij": 1, "v": -2}


def standard_moments() -> dict[str, moments.Moments]:
    """Means and variances at initialisation under SP."""
    return {
        "w_i": moments.Moments(sp.Integer(0), 1 / D),
        "e_ii": moments.Moments(N / D, 2 * N / D**2),
        "e_ij": moments.Moments(sp.Integer(0), N / D**2),
        "v": moments.Moments(sp.Integer(1), 2 / N),
    }


def standard_first_step(eta0: Any, residual: Any, dimension: Any) -> Any:
    """What `w_1 / N` tends to under SP, by the residual `w_0 - w*`."""
    return -eta0 * residual / dimension


def wishart_covariance(deltas: tuple[int, int, int, int]) -> Any:
    """`N D^2 Cov(S_ij, S_kl)` under NTP and muP, by delta_ik, delta_jl, delta_il, delta_jk."""
    ik, jl, il, jk = deltas
    return ik * jl + il * jk


START_FORMULAS: dict[str, Callable[..., Any]] = {
    "C.1": proposition_c_1_as_stated,
    "C.1-sharp": sharp_variances,
    "C.3.2": standard_order_as_stated,
    "C.3.2-sharp": standard_moments,
    "sp-first-step": standard_first_step,
    "wishart": wishart_covariance,
}
"""Stated formulas by statement."""


def proposition_c_1() -> Derivation:
    """Proposition C.1: the published bounds (label `bounds`) and the variances themselves (label `sharp`)."""
    sharp = START_FORMULAS["C.1-sharp"]()
    steps, result = [_sum_step()], dict[str, Any]()
    for name in WITH_LIMIT:
        exact = moments.initial_moments(PARAMETRIZATIONS[name])
        steps += _published_steps(name, exact)
        for entry, variance in sharp.items():
            gap = sp.simplify(exact[entry].variance - variance)
            text = f"Under {PARAMETRIZATIONS[name].title}, the exact variance of {entry} at every N and D."
            steps.append(Step(text, sp.Eq(sp.Symbol(f"Var_{entry}"), variance), gap, label="sharp"))
        result |= {f"{name}: {entry}": moment.variance for entry, moment in exact.items()}
    return Derivation(
        "C.1", "The start: limits, variances and bounds", "Proposition C.1", tuple(steps), result
    )


def _sum_step() -> Step:
    return Step(
        "Every entry of the start is a sum over N independent, identical neurons of a polynomial f in their "
        "Gaussian weights, so its variance is N (E[f^2] - E[f]^2); E[x^(2k)] = (2k - 1)!! sigma^(2k)."
    )


def _published_steps(name: str, exact: Mapping[str, moments.Moments]) -> list[Step]:
    """The published statement about w, and about e and v entry by entry."""
    stated, title = START_FORMULAS["C.1"](name), PARAMETRIZATIONS[name].title
    gaps = [exact["w_i"].mean, sp.simplify(exact["w_i"].variance - stated.map_variance)]
    text = f"Under {title}, w has mean zero and this variance in every entry."
    steps = [Step(text, sp.Eq(sp.Symbol("Var_w_i"), stated.map_variance), gaps, label="bounds")]
    for entry, limit in {"v": stated.limit, "e_ii": stated.limit, "e_ij": sp.Integer(0)}.items():
        off = sp.simplify(exact[entry].mean - limit)
        square = sp.simplify(exact[entry].variance + off**2)
        held = never_negative(sp.simplify(stated.bound - square))
        reason = "" if held else f"mean square {square} can exceed {stated.bound}"
        text = (
            f"Under {title}, {entry} has the stated mean, and its mean square about it is at most the stated "
            "bound for all D, N >= 1: their difference has no negative coefficient in D - 1 and N - 1."
        )
        steps.append(Step(text, sp.Le(square, stated.bound, evaluate=False), [off, reason], label="bounds"))
    return steps


def never_negative(expression: Any) -> bool:
    """Whether a rational expression is at least zero for all D, N >= 1, seen as one in D - 1 and N - 1."""
    shift = sp.symbols("x y", nonnegative=True)
    shifted = sp.together(expression.subs({D: 1 + shift[0], N: 1 + shift[1]}))
    return bool(sp.expand(sp.numer(shifted)).is_nonnegative and sp.expand(sp.denom(shifted)).is_positive)


def standard_start() -> Derivation:
    """App. C.3.2: moments under SP (labels `published`, `sharp`) and the first step (label `first-step`)."""
    exact = moments.initial_moments(PARAMETRIZATIONS["sp"])
    steps = [_sum_step()]
    for entry, stated in START_FORMULAS["C.3.2-sharp"]().items():
        gaps = [sp.simplify(found - said) for found, said in zip(exact[entry], stated, strict=True)]
        text = f"Mean and variance of {entry} under SP, exact in N and D."
        steps.append(Step(text, sp.Tuple(*stated), gaps, label="sharp"))
    for entry, order in START_FORMULAS["C.3.2"]().items():
        ratio = sp.limit(exact[entry].variance / N**order, N, sp.oo)
        wrong = entry == "v"
        said = f"the variance of {entry} over N^{order} tends to {ratio}"
        text = f"Published: Var {entry} = O(N^{order}). As N grows, {said}" + (
            ": the published order is wrong, Var v being 2/N." if wrong else "."
        )
        reason = "" if (ratio == sp.oo) is wrong else said
        steps.append(Step(text, ratio, reason, label="published" if wrong else "sharp"))
    steps += _first_step(exact)
    return Derivation(
        "C.3.2",
        "The start under SP, and why its first step grows like the width",
        "App. C.3.2 and C.3.3",
        tuple(steps),
        {name: moment.variance for name, moment in exact.items()},
    )


def _first_step(exact: Mapping[str, moments.Moments]) -> list[Step]:
    """`w_1` in powers of `sqrt(N)`, with `e = (N/D) I + sqrt(N) f` and `f` of a law without growth."""
    root = sp.Symbol("s", positive=True)  # sqrt(N)
    scaled = [sp.simplify(exact[entry].variance / N) for entry in ("e_ii", "e_ij")]
    law = congruence().result["w"].subs(KAPPA, 1).subs(STATE.w, TARGET + RESIDUAL)
    stepped = normal_form(law.subs(STATE.e, root**2 / D * sp.Identity(D) + root * STATE.e))
    leading = {word: sp.Poly(value, root).coeff_monomial(root**2) for word, value in stepped.items()}
    expected = normal_form(START_FORMULAS["sp-first-step"](ETA0, RESIDUAL, D))
    words = set(leading) | set(expected)
    gap = {word: sp.expand(leading.get(word, 0) - expected.get(word, 0)) for word in words}
    degree = max(sp.Poly(value, root).degree() for value in stepped.values())
    moving = [exact["w_i"].variance, exact["v"].variance]
    return [
        Step(
            "Write e = (N/D) I + sqrt(N) f: by the moments above f has mean zero and these variances, on and "
            "off the diagonal, free of N; w_0 and v_0 do not grow with N either.",
            sp.Tuple(*scaled),
            [
                sp.simplify(exact["e_ii"].mean - N / D),
                exact["e_ij"].mean,
                *(sp.diff(value, N) for value in scaled),
                *(sp.limit(value, N, sp.oo) == sp.oo for value in moving),
            ],
            label="first-step",
        ),
        Step(
            "In powers of sqrt(N) the law of w_1 then ends at the second, whose coefficient this is, with "
            "r = w_0 - w*: to leading order w_1 = -eta0 (N/D) (w_0 - w*), so one step blows up linearly in "
            "N; what is left is smaller by N^(-1/2).",
            START_FORMULAS["sp-first-step"](ETA0, RESIDUAL, D),
            [gap, degree - 2],
            label="first-step",
        ),
    ]


def wishart_derivation() -> Derivation:
    """The Gram matrix of N Gaussian columns: mean and covariance, and Bartlett's factor with the same."""
    return Derivation(
        "wishart",
        "The start is a Wishart matrix, drawn from O(D^2) numbers by Bartlett's decomposition",
        "beyond the paper; implies Proposition C.1",
        (*_covariance_steps(), *_bartlett_steps()),
        {"covariance": 1 / (N * D**2)},
    )


def _covariance_steps() -> list[Step]:
    variances = sp.symbols("sigma_:4", positive=True)
    weights = sp.symbols("x_:4", real=True)
    law = dict(zip(weights, variances, strict=True))
    gaps = []
    for i, j, k, m in _index_patterns():
        left, right = weights[i] * weights[j], weights[k] * weights[m]
        means = moments.gaussian_mean(left, law) * moments.gaussian_mean(right, law)
        deltas = (int(i == k), int(j == m), int(i == m), int(j == k))
        stated = variances[i] * variances[j] * START_FORMULAS["wishart"](deltas)
        gaps.append(sp.simplify(moments.gaussian_mean(left * right, law) - means - stated))
    text = (
        "One neuron's weights z, (D + 1,), are independent Gaussians of variance sigma_i. In each of the 15 "
        "ways in which four indices can coincide, so for every D, Cov(z_i z_j, z_k z_l) = sigma_i sigma_j "
        "(delta_ik delta_jl + delta_il delta_jk); the sum over N neurons multiplies it by N."
    )
    return [Step(text, None, gaps), *(_scale_step(name) for name in WITH_LIMIT)]


def _index_patterns() -> list[tuple[int, ...]]:
    """Four indices up to renaming: each is one that occurred or the next new one."""
    indices = product(range(4), repeat=4)
    return [four for four in indices if all(four[i] <= max(four[:i], default=-1) + 1 for i in range(4))]


def _scale_step(name: str) -> Step:
    """All of S has one scale: `Cov S` is `N (gram sigma)^2` for e, for v, and for kappa w alike."""
    table, sizes = PARAMETRIZATIONS[name], {"width": N, "dimension": D}
    first, second, variance = (sp.sympify(scale.at(**sizes)) for scale in table.start)
    stated = 1 / (N * D**2)
    found = [first**2 / N, second**2 / N, first * second / N, table.kappa.at(**sizes) ** 2 * variance]
    text = f"Under {table.title} every entry of S_0, kappa w included, has this scale: N D S_0 is Wishart."
    return Step(text, stated, [sp.simplify(value - stated) for value in found])


def _bartlett_steps() -> list[Step]:
    steps = [
        Step(
            "Rotating the neurons leaves their Gaussian law alone. Gram-Schmidt from the first row on turns "
            "Z into a triangle L: row i keeps its i products with the unit vectors before it, all standard "
            "normal, and the length of the rest, which has N - i dimensions: a chi variable. All are "
            "independent, Z Z^T = L L^T, and after min(N, D + 1) columns no dimension is left."
        )
    ]
    for size, width in BARTLETT_SIZES:
        text = f"L L^T has the mean N I and the covariance above, at {size} rows and N = {width}."
        steps.append(Step(text, None, bartlett_gaps(size, width)))
    return steps


def bartlett_gaps(size: int, width: Any) -> list[Any]:
    """Mean and covariances of `L L^T` minus those of `Z Z^T` for standard Gaussians."""
    columns = size if width == N else min(size, width)
    lengths = {sp.Symbol(f"chi_{i}", positive=True): width - i for i in range(columns)}
    diagonal = list(lengths)
    below = {(i, j): sp.Symbol(f"g_{i}{j}", real=True) for i in range(size) for j in range(min(i, columns))}
    factor = sp.Matrix(
        size, columns, lambda i, j: diagonal[i] if i == j else below.get((i, j), sp.Integer(0))
    )
    gram = factor * factor.T
    normals = list(below.values())
    entries = list(combinations_with_replacement(range(size), 2))
    gaps = [_mean(gram[i, j], normals, lengths) - (width if i == j else 0) for i, j in entries]
    for (i, j), (k, m) in combinations_with_replacement(entries, 2):
        deltas = (int(i == k), int(j == m), int(i == m), int(j == k))
        means = (width if i == j else 0) * (width if k == m else 0)
        gap = _mean(gram[i, j] * gram[k, m], normals, lengths) - means
        gaps.append(gap - width * START_FORMULAS["wishart"](deltas))
    return [sp.simplify(gap) for gap in gaps]


def _mean(polynomial: Any, normals: Sequence[Any], lengths: Mapping[Any, Any]) -> Any:
    """Mean over standard normal symbols, then over chi symbols of given degrees of freedom."""
    partial = moments.gaussian_mean(polynomial, dict.fromkeys(normals, sp.Integer(1)))
    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(partial, *lengths).terms():
        pairs = zip(powers, lengths.values(), strict=True)
        total += coefficient * sp.prod([_chi_power(power, degrees) for power, degrees in pairs])
    return sp.expand(total)


def _chi_power(power: int, degrees: Any) -> Any:
    """`E[chi^power]`: `k (k + 2) ... (k + power - 2)` for an even power, a ratio of gammas for an odd one."""
    if power % 2:
        half = sp.Rational(1, 2)
        return 2 ** (power * half) * sp.gamma((degrees + power) * half) / sp.gamma(degrees * half)
    return sp.prod([degrees + 2 * i for i in range(power // 2)])
