"""The best rate of one step in a deep linear network: exact polynomial, orders in the width, limit.

Notation: `a_l = W_l .. W_0 X` (n, m), `b_l = W_{l+1}^T .. W_L^T V`, `chi = f_0 - y`, `c_l = a_{l-1} chi / m`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import sympy as sp

from ..deep_linear import READINGS, effective_scales
from .core import Derivation, Step
from .moments import gaussian_mean

if TYPE_CHECKING:
    from collections.abc import Callable

DEEP_WIDTH = sp.Symbol("n", integer=True, positive=True)
"""Width of the deep network."""
DEEP_ENTRY_SIZES = ((1, 2, 2), (2, 2, 2), (3, 2, 1))
"""Sizes (L, n, m) of the entry-by-entry checks."""

ETA = sp.Symbol("eta", positive=True)
"""Effective rate of the trained layers."""
LAYERS, SAMPLES = sp.symbols("L m", integer=True, positive=True)
"""Number of trained layers, and of examples."""


def gradient(backward: Any, features: Any, residual: Any) -> Any:
    """Gradient in one layer: `b_l (a_{l-1} chi / m)^T`, of rank one."""
    return backward * (features * residual).T / residual.shape[0]


def one_step(initial: Any, slopes: Any, crossings: Any, norms: Any, eta: Any) -> Any:
    """`f_1 = f_0 - eta sum_l |b_l|^2 g_l` with `g_l = c_l^T a_{l-1} - eta sum_{j<l} s_lj g_j`."""
    reach: list[Any] = []
    for slope, row in zip(slopes, crossings, strict=True):
        reach.append(slope - eta * sum((s * g for s, g in zip(row, reach, strict=True)), 0 * slope))
    return initial - eta * sum((norm * g for norm, g in zip(norms, reach, strict=True)), 0 * initial)


def coefficient_moments(width: Any, i: Any, j: Any, ij: Any) -> tuple[Any, Any]:
    """Mean and variance of `|V|^2 (a_0^T a_0)_ij` under muP, from `K_ii`, `K_jj` and `K_ij`."""
    return ij, (i * j + 3 * ij**2) / width + 2 * (i * j + ij**2) / width**2


def coefficient_order(name: str) -> Fraction:
    """Power of n that each degree beyond the first costs, in units of the best rate."""
    return Fraction(-1, 2) if name == "mup" else Fraction(-1)


def limit_rate(residual: Any, kernel: Any, depth: Any) -> Any:
    """`m chi^T K chi / (L |K chi|^2)`."""
    direction = kernel * residual
    return residual.shape[0] * residual.dot(direction) / (depth * direction.dot(direction))


def optimum_order(name: str) -> Fraction:
    """Power of n of the best `eta0`: -1 under SP and two readings of NTP, 0 under muP and the other two."""
    return Fraction(-1) if name in {"sp", "ntp-start", "ntp-mup-rate"} else Fraction(0)


def second_rate(width: Any, overlap: Any) -> Any:
    """Where the loss of two layers has its second valley: `2 sqrt(n) / phi`, `phi = sqrt(n) chi.f_0 / m`."""
    return 2 * sp.sqrt(width) / overlap


DEEP_FORMULAS: dict[str, Callable[..., Any]] = {
    "one-step-gradient": gradient,
    "one-step": one_step,
    "one-step-moments": coefficient_moments,
    "one-step-order": coefficient_order,
    "one-step-limit": limit_rate,
    "one-step-readings": optimum_order,
    "one-step-second": second_rate,
}
"""Stated formulas by statement."""


class _Network(NamedTuple):
    """Explicit symbols of a small network."""

    layers: list[Any]
    features: list[Any]
    """`a_0 .. a_L`."""
    backward: list[Any]
    """`b_1 .. b_L`."""
    outputs: Any
    """`f_0`, (m, 1)."""


def _network(depth: int, width: int, samples: int) -> _Network:
    layers = [sp.Matrix(width, width, sp.symbols(f"w{k}_:{width**2}")) for k in range(1, depth + 1)]
    features = [sp.Matrix(width, samples, sp.symbols(f"a_:{width * samples}"))]
    for layer in layers:
        features.append(layer * features[-1])
    backward = [sp.Matrix(sp.symbols(f"v_:{width}"))]
    for layer in layers[:0:-1]:
        backward.append(layer.T * backward[-1])
    return _Network(layers, features, backward[::-1], features[-1].T * backward[0])


def _differing(matrix: Any) -> int:
    """Number of entries that are not the zero polynomial."""
    return sum(sp.expand(entry) != 0 for entry in matrix)


def _gradient_gap(size: tuple[int, int, int]) -> int:
    network, samples = _network(*size), size[2]
    residual = network.outputs - sp.Matrix(sp.symbols(f"y_:{samples}"))
    loss = residual.dot(residual) / (2 * samples)
    stated = DEEP_FORMULAS["one-step-gradient"]
    pairs = zip(network.layers, network.backward, network.features, strict=False)
    return sum(
        _differing(layer.applyfunc(lambda entry: sp.diff(loss, entry)) - stated(back, before, residual))
        for layer, back, before in pairs
    )


def _step_gap(size: tuple[int, int, int]) -> int:
    """`f_1` by stepping every layer against the formula; `chi` may be any vector, so it is left free."""
    network, (depth, _, samples) = _network(*size), size
    layers, features, backward, outputs = network
    residual = sp.Matrix(sp.symbols(f"chi_:{samples}"))
    inward = [features[k] * residual / samples for k in range(depth)]
    stepped = features[0]
    for layer, back, forward in zip(layers, backward, inward, strict=True):
        stepped = (layer - ETA * back * forward.T) * stepped
    crossings: list[list[Any]] = []
    carried: list[Any] = []
    for k in range(depth):
        crossings.append([inward[k].dot(vector) for vector in carried])
        carried = [*(layers[k] * vector for vector in carried), backward[k]]
    slopes = [features[k].T * inward[k] for k in range(depth)]
    norms = [vector.dot(vector) for vector in backward]
    stated = DEEP_FORMULAS["one-step"](outputs, slopes, crossings, norms, ETA)
    return _differing(stepped.T * backward[-1] - stated)


def _neighbour_gap(size: tuple[int, int, int]) -> int:
    network = _network(*size)
    pairs = zip(network.backward, network.features[1:], strict=True)
    return sum(_differing(after.T * back - network.outputs) for back, after in pairs)


def _exact_steps() -> tuple[Step, ...]:
    eta, f0, f1 = ETA, sp.Symbol("f_0"), sp.Symbol("f_1")
    beta, q, g, s = (sp.IndexedBase(name) for name in ("beta", "q", "g", "s"))
    index, other = sp.symbols("l j", integer=True)
    ahead = q[index] - eta * sp.Sum(s[index, other] * g[other], (other, 1, index - 1))
    sizes = ", ".join(map(str, DEEP_ENTRY_SIZES))
    return (
        Step(
            "The network is f = V^T W_L .. W_1 W_0 X and its loss sum_i (f_i - y_i)^2 / (2 m); W_1 .. W_L "
            "are trained. With a_l = W_l .. W_0 X, b_l = W_(l+1)^T .. W_L^T V and chi = f_0 - y the "
            "gradient in W_l is b_l c_l^T with c_l = a_(l-1) chi / m: rank one. Entry by entry at (L, n, "
            f"m) = {sizes}; the number of entries that differ is checked to be zero.",
            left_over=[_gradient_gap(size) for size in DEEP_ENTRY_SIZES],
            label="gradient",
        ),
        Step(
            "So one step gives f_1 = V^T prod_l (W_l - eta b_l c_l^T) W_0 X. Write g_l for c_l^T times the "
            "features below layer l after the step, q_l = c_l^T a_(l-1) for the same before it, and "
            "s_lj = c_l^T W_(l-1) .. W_(j+1) b_j. Below layer l the step of layer j < l has added "
            "-eta W_(l-1) .. W_(j+1) b_j g_j, which gives g_l.",
            sp.Eq(g[index], ahead, evaluate=False),
        ),
        Step(
            "Above layer l the added part meets V^T W_L .. W_(l+1) = b_l^T, so with beta_l = |b_l|^2 f_1 "
            "is a polynomial of degree L in eta, and the loss one of degree 2 L. Stepped minus stated, "
            "checked at the same sizes.",
            sp.Eq(f1, f0 - eta * sp.Sum(beta[index] * g[index], (index, 1, LAYERS)), evaluate=False),
            [_step_gap(size) for size in DEEP_ENTRY_SIZES],
            label="polynomial",
        ),
        Step(
            "Since b_l^T a_l = f_0 for every l, checked at the same sizes, neighbouring layers cross by "
            "s_(l,l-1) = chi.f_0 / m.",
            left_over=[_neighbour_gap(size) for size in DEEP_ENTRY_SIZES],
            label="crossing",
        ),
    )


def _moment_step() -> Step:
    """`|V|^2 (a_0^T a_0)_ij`, a product of two independent sums over neurons."""
    x, z, v = sp.symbols("x z v", real=True)
    p, q, r = sp.symbols("p q r", real=True)
    pair, unit = p * x * (q * x + r * z), {x: sp.Integer(1), z: sp.Integer(1)}
    means, squares = [], []
    for summand, variances in ((pair, unit), (v**2, {v: DEEP_WIDTH**-2})):
        mean, square = (gaussian_mean(power, variances) for power in (summand, summand**2))
        means.append(DEEP_WIDTH * mean)
        squares.append(DEEP_WIDTH * square + DEEP_WIDTH * (DEEP_WIDTH - 1) * mean**2)
    mean, variance = means[0] * means[1], squares[0] * squares[1] - (means[0] * means[1]) ** 2
    stated = DEEP_FORMULAS["one-step-moments"](DEEP_WIDTH, p**2, q**2 + r**2, p * q)
    kernel = sp.symbols("K_ii K_jj K_ij")
    shown = coefficient_moments(DEEP_WIDTH, *kernel)[1]
    return Step(
        "How large are they? Take L = 1 under muP, V_k of variance 1/n^2. Rows of a_0 are independent with "
        "covariance K = X^T X / d: a_ki = p x and a_kj = q x + r z with p^2 = K_ii, p q = K_ij, "
        "q^2 + r^2 = K_jj. By Gaussian moments |V|^2 (a_0^T a_0)_ij has the mean K_ij and, exactly, this "
        "variance, of order 1/n.",
        shown,
        [sp.simplify(derived - claimed) for derived, claimed in zip((mean, variance), stated, strict=True)],
        label="moments",
    )


def _order_steps() -> list[Step]:
    """Powers of n, by parametrization."""
    steps = [
        Step(
            "For any L: E|W x|^2 = |x|^2, as each of n entries has variance |x|^2 / n. So, with V_k of "
            "variance sigma^2, |b_l|^2 is of order sigma^2 n, a^T a of order n (n K to relative order "
            "n^(-1/2)), and f_0 has covariance sigma^2 n K. In s_lj = chi^T (a_(l-1)^T W_(l-1) .. W_(j+1) "
            "b_j) / m the bracket is linear in V: given the other weights Gaussian of mean zero and of "
            "order sigma sqrt(n), as for f_0. The coefficient of eta^k is a sum of |b|^2 times k - 1 "
            "crossings times c^T a, of order sigma^2 n^2 (sigma sqrt(n))^(k-1). In units of 1/(sigma^2 "
            "n^2) each degree beyond the first costs 1/(sigma n^(3/2))."
        )
    ]
    for name, table in READINGS.items():
        variance = Fraction(effective_scales(table).readout_variance.exponent("width"))
        cost = -variance / 2 - Fraction(3, 2)
        gap = cost - DEEP_FORMULAS["one-step-order"](name)
        steps.append(
            Step(
                f"{table.title}: sigma^2 has the exponent {variance}, so that cost is this power of n "
                "(checked: the exponent); it vanishes, and the loss tends to a quadratic on every bounded "
                "interval.",
                DEEP_WIDTH ** sp.Rational(cost.numerator, cost.denominator),
                gap,
                label="order",
            )
        )
    return steps


def _limit_steps() -> tuple[Step, ...]:
    rate = sp.Symbol("t", positive=True)
    chi = sp.Matrix(sp.symbols("chi_1:3", real=True))
    k11, k12, k22 = sp.symbols("K_11 K_12 K_22", real=True)
    kernel = sp.Matrix([[k11, k12], [k12, k22]])
    after = chi - rate * LAYERS * kernel * chi / 2
    slope = sp.diff(after.dot(after) / 4, rate)
    best = sp.solve(slope, rate, dict=True)[0][rate] if slope.has(rate) else sp.nan
    form, square = sp.symbols("a b", positive=True)
    stated = DEEP_FORMULAS["one-step-limit"](chi, kernel, LAYERS)
    overlap, direction = sp.symbols("phi k", positive=True)
    valley = DEEP_FORMULAS["one-step-second"](DEEP_WIDTH, overlap)
    moved = -2 * valley * direction + valley**2 * overlap / sp.sqrt(DEEP_WIDTH) * direction
    return (
        Step(
            "Let t = eta sigma^2 n^2 be the step in that unit. Each of L layers adds -t K chi / m, so the "
            "residual becomes chi - t L K chi / m. If K chi is not zero, the derivative of its square "
            "vanishes at one t alone, the limit of the best rate, with a = chi^T K chi and b = |K chi|^2; "
            "checked with all symbols of m = 2. Under muP f_0 -> 0 and chi -> -y, a number; otherwise f_0 "
            "stays random, N(0, K), and so does the limit, unless K is a multiple of the identity, as for "
            "m = 1.",
            sp.Eq(rate, SAMPLES * form / (LAYERS * square), evaluate=False),
            sp.simplify(best - stated),
            label="limit",
        ),
        Step(
            "Under muP chi = f_0 - y differs from -y by order n^(-1/2), as do |b|^2 n, a^T a / n and the "
            "coefficients of degree two from their limits; the best rate nearest to the limit is smooth in "
            "them, as the second derivative of the quadratic is positive, so sqrt(n) times its error has a "
            "limit in law: the rate n^(-1/2) in probability, not for each draw with one constant."
        ),
        Step(
            "Only on bounded intervals: at L = 2 the residual along K chi moves by -2 t + t^2 phi / "
            "sqrt(n), phi = sqrt(n) chi.f_0 / m, which is back at zero at this t where phi > 0: around "
            "there is a second valley, as deep to leading order. There fluctuations of relative order "
            "n^(-1/2) have grown to order one and decide, draw by draw, which valley is lower.",
            valley,
            sp.expand(moved),
            label="second",
        ),
    )


def _reading_steps() -> list[Step]:
    multiplier, raw, rate, weight = sp.symbols("m_l w r W", positive=True)
    loss = sp.Function("F")
    inner = loss(multiplier * raw)
    moved = multiplier * (raw - rate * sp.diff(inner, raw).doit()) - multiplier * raw
    expected = -rate * multiplier**2 * sp.diff(loss(weight), weight)
    gap = (moved - expected.subs(weight, multiplier * raw)).doit()
    steps = [
        Step(
            "A multiplier m_l in front of a raw weight, W = m_l w, makes a step of size r on w a step of "
            "size r m_l^2 on W: with F' the derivative of the loss in W, W moves by this.",
            -rate * multiplier**2 * sp.Symbol("F'"),
            sp.simplify(gap),
            label="readings",
        )
    ]
    for name, table in READINGS.items():
        variance, scale = (each.exponent("width") for each in effective_scales(table))
        order = -2 - variance - scale
        steps.append(
            Step(
                f"{table.title}: the effective rate is eta0 n^({scale}) and sigma^2 is n^({variance}), so "
                "the best eta0, t over eta sigma^2 n^2 / eta0, is the limit of t times this power of n.",
                DEEP_WIDTH ** sp.Rational(order.numerator, order.denominator),
                order - DEEP_FORMULAS["one-step-readings"](name),
                label="readings",
            )
        )
    return steps


def one_step_transfer() -> Derivation:
    """The best rate of one step: its polynomial, its limit under muP, SP and four readings of NTP."""
    steps = (*_exact_steps(), _moment_step(), *_order_steps(), *_limit_steps(), *_reading_steps())
    orders = {name: DEEP_FORMULAS["one-step-readings"](name) for name in READINGS}
    return Derivation(
        "one-step",
        "On bounded intervals the best rate of one step in a deep linear network tends to a constant under "
        "muP",
        "Hayou 2025, one step; derived anew",
        steps,
        {
            f"power of n, {name}": sp.Rational(order.numerator, order.denominator)
            for name, order in orders.items()
        },
    )
