"""Infinite width under muP: the planar map, its sharpness, its universal form, and the cubic beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy as sp

from .core import ETA0, KAPPA, LAMBDA, A, D, Derivation, P, S, Step, U
from .hessian import RHO
from .laws import RESIDUAL, STATE, TARGET, congruence
from .noncommutative import Word, normal_form
from .published_formulas import PUBLISHED_FORMULAS
from .sharpness_equation import exact_sharpness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

X, Y = sp.symbols("x y", real=True)
"""Universal coordinates."""
MU = sp.Symbol("mu", positive=True)
"""Universal parameter."""

_SOURCE = "beyond the paper"
_IDENTITY, _ALONG, _UNIT = Word((), ()), Word((), ("u", "u'")), Word((), ("u",))


def planar_derivation() -> Derivation:
    """From `e = I/D`, `v = 1/D`, `w = 0` under muP the laws keep a form of two numbers, for every D."""
    premise = congruence()
    image = {name: _on_plane(law) for name, law in premise.result.items()}
    a_next, p_next = PUBLISHED_FORMULAS["planar"](A, P, S, ETA0, 1 / D)
    a_found, p_found = image["w"].get(_UNIT, 0), image["v"].get(_IDENTITY, 0)
    form = {**image["e"], _IDENTITY: image["e"].get(_IDENTITY, 0) - 1 / D}
    form[_ALONG] = sp.expand(form.get(_ALONG, 0) - (p_found - 1 / D))
    steps = (
        *premise.steps,
        Step(
            "Under muP the coupling is kappa^2 = 1/D at every width. Let u = w*/|w*| and s = |w*| (any unit "
            "vector u if w* = 0), and insert w = a u, e = I/D + (p - 1/D) u u^T, v = p into the laws, with "
            "u^T u = 1. At a = 0, p = 1/D that is the start at infinite width.",
            sp.Tuple(*_ansatz()),
        ),
        Step(
            "w+ is a multiple of u, e+ - I/D is p+ - 1/D times u u^T and v+ = p+ with one and the same p+: "
            "the form is kept. What is not of it is checked to be zero.",
            left_over=(_without(image["w"], _UNIT), form, _without(image["v"], _IDENTITY)),
            label="form",
        ),
        *(
            Step(
                f"The law of {name}, the coefficient of {where}.",
                sp.Eq(sp.Symbol(f"{name}^+"), law, evaluate=False),
                sp.expand(found - law),
                label=name,
            )
            for name, where, found, law in (
                ("a", "u in w+", a_found, a_next),
                ("p", "1 in v+", p_found, p_next),
            )
        ),
    )
    return Derivation(
        "planar",
        "Infinite width under muP is a map of the plane",
        _SOURCE,
        steps,
        {"a": a_found, "p": p_found},
    )


def _ansatz() -> tuple[Any, Any, Any]:
    return A * U, sp.Identity(D) / D + (P - 1 / D) * U * U.T, P * sp.Identity(1)


def _on_plane(expression: Any) -> dict[Any, Any]:
    """Words of an expression in w, e, v, w* and r on the plane, at `u^T u = 1` and `kappa^2 = 1/D`."""
    w, e, v = _ansatz()
    values = {STATE.w: w, STATE.e: e, STATE.v: v, TARGET: S * U, RESIDUAL: (A - S) * U}
    terms: dict[Any, Any] = {}
    for word, value in normal_form(expression.subs(values)).items():
        kept = Word(tuple(number for number in word.scalars if number != ("u'", "u")), word.rest)
        terms[kept] = sp.expand(terms.get(kept, 0) + value.subs(KAPPA, 1 / sp.sqrt(D)))
    return terms


def _without(words: Mapping[Any, Any], word: Any) -> dict[Any, Any]:
    return {other: value for other, value in words.items() if other != word}


def planar_sharpness_derivation() -> Derivation:
    """The sharpness on the plane, from the sharpness equation along and across the target."""
    premise = exact_sharpness()
    along, across, rho2 = PUBLISHED_FORMULAS["planar-sharpness"](A, P, S, 1 / D, LAMBDA)
    matrix = _on_plane(premise.result["matrix"])
    scalar = premise.result["factor"].subs({sp.Symbol("v"): P, RHO: sp.sqrt(rho2)})
    rest = matrix.get(_IDENTITY, 0)
    quadratic = sp.expand(LAMBDA * (scalar - rest - matrix.get(_ALONG, 0)))
    squared = sp.expand((along - P) ** 2)
    steps = (
        *premise.steps,
        Step(
            "The plane of infinite width (derivation planar): w* = s u with |u| = 1, w = a u, v = p, e = "
            "I/D + (p - 1/D) u u^T and kappa^2 = 1/D; S = [[e, kappa w], [kappa w^T, v]], the Gram matrix "
            "of the weights, is positive semidefinite: p >= |a|/sqrt(D). There r = (a - s) u, and the "
            "matrix of the sharpness equation is diagonal along and across u; what is neither I nor u u^T "
            "is checked to be zero, and rho^2 = |r|^2/D.",
            sp.Eq(sp.Symbol("rho") ** 2, rho2, evaluate=False),
            (_without(_without(matrix, _IDENTITY), _ALONG), sp.expand(rho2 - (A - S) ** 2 / D)),
        ),
        Step(
            "Along u the equation times lambda^2 is lambda times a quadratic, whose larger root is this: "
            "its distance from half the sum of the roots squares to the discriminant over four, which is at "
            "least (2 a - s)^2/D as p >= |a|/sqrt(D).",
            sp.Eq(LAMBDA, along, evaluate=False),
            # at the start the root is real and positive: the larger of the two, not the smaller
            (
                sp.expand(quadratic - ((LAMBDA - P) ** 2 - squared)),
                sp.simplify((along - P).subs({A: 0, P: 1 / D}) - sp.sqrt(1 / D**2 + S**2 / D)),
            ),
            label="along",
        ),
        Step(
            "Across u (D > 1) the matrix is 1/D, which leaves a cubic.",
            sp.Eq(across, 0, evaluate=False),
            sp.expand(LAMBDA**2 * (scalar - rest) - across),
            label="across",
        ),
        *_sector_steps(quadratic, across, rho2),
    )
    return Derivation(
        "planar-sharpness",
        "The sharpness of the plane in closed form: along the target, across it; rho is never larger",
        _SOURCE,
        steps,
        {"along": along, "across": across, "rho squared": rho2},
    )


def _sector_steps(quadratic: Any, across: Any, rho2: Any) -> tuple[Step, ...]:
    """Which of the sectors can be the largest, and that rho cannot."""
    distances = [sign * (A - S) / sp.sqrt(D) for sign in (1, -1)]
    at_rho = [quadratic.subs(LAMBDA, d) + 2 * d * (P + d * A / (A - S)) for d in distances]
    start = {A: 0, P: 1 / D}
    minimum = across.subs(A, S).subs(LAMBDA, 2 * P)
    return (
        Step(
            "rho is never the larger. For rho > 0, at lambda = rho = +-(a - s)/sqrt(D), the cubic is "
            "-rho^2/D (checked), so its largest root is above rho (at rho = 0 it is p + 1/D). There the "
            "quadratic is -2 rho (p +- a/sqrt(D)), not positive as S is positive semidefinite, p >= "
            "|a|/sqrt(D): its larger root is at least rho, for D = 1 too. So the sharpness is the larger "
            "of the two roots, for D = 1 the first.",
            left_over=(
                [sp.expand(across.subs(LAMBDA, d) + rho2 / D) for d in distances],
                list(map(sp.simplify, at_rho)),
            ),
            label="rho",
        ),
        Step(
            "The cubic is p rho^2 >= 0 at 0, -rho^2/D at rho and positive for large lambda: one root is "
            "above rho, and its sign tells on which side of it a point above rho lies. So both sectors are "
            "needed. At the start (a = 0, p = 1/D, s > 0) the cubic at a root of the quadratic is s^2/D^2 "
            "> 0: the sector along the target is the larger. At a minimizer, a = s, the cubic at the root "
            "2p is 4p^2 (p - 1/D), negative for p < 1/D: the sector across it is. Since p >= s/sqrt(D) "
            "there, that can happen only if s < 1/sqrt(D).",
            left_over=(
                sp.expand((across - LAMBDA * quadratic).subs(start) - S**2 / D**2),
                sp.expand(minimum - 4 * P**2 * (P - 1 / D)),
            ),
            label="needed",
        ),
    )


def universal() -> Derivation:
    """The planar map with one parameter; its fixed points and their stability."""
    premise = planar_derivation()
    stated = PUBLISHED_FORMULAS["universal"](X, Y, MU)
    scaled = {A: (X**2 - Y**2) * sp.sqrt(D) / 2, P: (X**2 + Y**2) / 2, S: MU * sp.sqrt(D)}
    inside = {name: value / ETA0 for name, value in scaled.items()}
    before, after = (
        [sp.expand((ETA0 * (p + sign * a / sp.sqrt(D))).subs(inside)) for sign in (1, -1)]
        for a, p in ((A, P), (premise.result["a"], premise.result["p"]))
    )
    steps = (
        *premise.steps,
        Step(
            "Let x^2 = eta0 (p + a/sqrt(D)), y^2 = eta0 (p - a/sqrt(D)), which are not negative, and mu = "
            "eta0 s/sqrt(D). Solved for a, p and s:",
            sp.Tuple(*(sp.Eq(name, value, evaluate=False) for name, value in inside.items())),
            (before[0] - X**2, before[1] - Y**2),
            label="map",
        ),
        Step(
            "The planar map in these coordinates: the squares of x+ and y+ are those of this map, which "
            "holds one parameter. The signs of x and y are free, and kept.",
            sp.Tuple(*stated),
            [sp.expand(square - image**2) for square, image in zip(after, stated, strict=True)],
            label="map",
        ),
        *_fixed_steps(stated),
        *_bounded_steps(stated),
    )
    return Derivation(
        "universal",
        "The planar map holds one parameter, mu = eta0 |w*|/sqrt(D); stable minimizers exist only for mu < 1",
        _SOURCE,
        steps,
        {"x": stated[0], "y": stated[1]},
    )


def _fixed_steps(stated: tuple[Any, Any]) -> tuple[Step, ...]:
    """Fixed points of the universal map and their stability."""
    m = (X**2 - Y**2) / 2 - MU
    jacobian = sp.Matrix(stated).jacobian([X, Y])
    at_minimum = jacobian.subs(MU, (X**2 - Y**2) / 2)
    number = sp.Symbol("z")
    spectrum = at_minimum.charpoly(number).as_expr()
    return (
        Step(
            "With m = (x^2 - y^2)/2 - mu the map moves a point by (-x m, y m). So it is fixed where m = "
            "0, the hyperbola x^2 - y^2 = 2 mu of the minimizers, or at the origin, unstable, of "
            "eigenvalues 1 + mu and 1 - mu.",
            sp.Eq(X**2 - Y**2, 2 * MU, evaluate=False),
            (
                [sp.expand(stated[0] - X + X * m), sp.expand(stated[1] - Y - Y * m)],
                jacobian.subs({X: 0, Y: 0}) - sp.diag(1 + MU, 1 - MU),
            ),
            label="fixed",
        ),
        Step(
            "The Jacobian at a minimizer has the eigenvalues 1, along the hyperbola, and 1 - (x^2 + y^2): "
            "it is stable where x^2 + y^2 = 2 eta0 p < 2. There x^2 + y^2 = 2 mu + 2 y^2, so stable "
            "minimizers exist only for mu < 1, the edge eta0 = sqrt(D)/|w*|.",
            sp.Eq(sp.Symbol("J"), sp.Matrix([[1 - X**2, X * Y], [X * Y, 1 - Y**2]]), evaluate=False),
            (
                at_minimum - sp.Matrix([[1 - X**2, X * Y], [X * Y, 1 - Y**2]]),
                sp.expand(spectrum - (number - 1) * (number - 1 + X**2 + Y**2)),
            ),
            label="stability",
        ),
    )


def _bounded_steps(stated: tuple[Any, Any]) -> tuple[Step, ...]:
    """The invariant ellipse, and when it holds the start."""
    size = sp.Symbol("sigma", positive=True)
    lack, factor, last = PUBLISHED_FORMULAS["bounded"](X, Y, MU, size)
    after = lack.subs({X: stated[0], Y: stated[1]}, simultaneous=True)
    start = lack.subs({X: sp.sqrt(MU / size), Y: sp.sqrt(MU / size)})
    square = ((X**2 - Y**2) / 2 - MU / 2) ** 2 + 1 - MU**2 / 4
    return (
        Step(
            "What a point lacks of the ellipse x^2/(2 + mu) + y^2/(2 - mu) = 2 is multiplied by 1 + mu m "
            "+ m^2 in a step, positive for mu < 2: no orbit crosses the ellipse, and orbits inside are "
            "bounded.",
            sp.Eq(lack, 0, evaluate=False),
            (sp.cancel(after - lack * factor), sp.expand(factor - square)),
            label="bounded",
        ),
        Step(
            "The start x^2 = y^2 = mu/sigma, sigma = |w*| sqrt(D), is inside up to this mu, below 2 and "
            "below 2 sigma.",
            sp.Le(MU, last),
            (sp.simplify(start.subs(MU, last)), sp.expand((last + 1 / size) ** 2 - 1 / size**2 - 4)),
            label="bounded",
        ),
    )


def cubic() -> Derivation:
    """On `y = 0` the universal map is an odd cubic; its bifurcations up to the last bounded parameter."""
    stated = PUBLISHED_FORMULAS["cubic"](MU)
    premise = universal()
    on_axis, aside = (premise.result[name].subs(Y, 0) for name in "xy")
    minimizer, slope = sp.sqrt(2 * MU), sp.diff(on_axis, X)

    def f(x: Any) -> Any:
        return on_axis.subs(X, x)

    steps = (
        *premise.steps,
        Step(
            "The line y = 0, that is p = a/sqrt(D), is invariant; on it the map is an odd cubic.",
            sp.Eq(sp.Symbol("x^+"), stated["map"](X), evaluate=False),
            (sp.expand(on_axis - stated["map"](X)), aside),
            label="map",
        ),
        Step(
            "The minimizer x = sqrt(2 mu) has this multiplier; -1 at mu = 1, where period two begins.",
            stated["multiplier"],
            (
                sp.simplify(f(minimizer) - minimizer),
                sp.simplify(slope.subs(X, minimizer) - stated["multiplier"]),
                stated["multiplier"].subs(MU, 1) + 1,
            ),
            label="edge",
        ),
        *_cycle_steps(stated, f),
        *_bound_steps(stated, f),
    )
    return Derivation(
        "cubic",
        "Beyond the edge: period two from mu = 1, period four from mu = sqrt(5) - 1, bounded up to mu = 2",
        _SOURCE,
        steps,
        {name: value for name, value in stated.items() if name != "map"},
    )


def _cycle_steps(stated: Mapping[str, Any], f: Callable[[Any], Any]) -> tuple[Step, ...]:
    """The two-cycle and where it loses stability."""
    first, second, total, product = sp.symbols("x_1 x_2 sigma pi")
    gap, both = (f(first) - second) - (f(second) - first), (f(first) - second) + (f(second) - first)
    linear = (sp.cancel(gap / (first - second)), sp.cancel(both / (first + second)))
    equations = [_by_power_sums(value, first, second, total, product) for value in linear]
    found = sp.solve(equations, [total, product])
    slopes = sp.diff(f(first), first) * sp.diff(f(second), second)
    aside = (1 + first**2 / 2 - MU) * (1 + second**2 / 2 - MU)
    slope, turn = (
        _by_power_sums(value, first, second, found[total], found[product]) for value in (slopes, aside)
    )
    schwarzian = sp.diff(f(X), X) * sp.diff(f(X), X, 3) - sp.Rational(3, 2) * sp.diff(f(X), X, 2) ** 2
    return (
        Step(
            "Let f(x1) = x2, f(x2) = x1, x1 != +-x2. The difference of the two equations over x1 - x2 and "
            "their sum over x1 + x2 are linear in x1 x2 and x1^2 + x2^2, which gives these: real where "
            "(x1 - x2)^2 = 2 (mu - 1) > 0, from mu = 1 on.",
            sp.Tuple(stated["product"], stated["squares"]),
            (
                sp.expand(found[product] - stated["product"]),
                sp.expand(found[total] - stated["squares"]),
                sp.expand(stated["squares"] - 2 * stated["product"] - 2 * (MU - 1)),
            ),
            label="cycle",
        ),
        Step(
            "Its multiplier f'(x1) f'(x2) is 1 at mu = 1 and -1 at mu = sqrt(5) - 1: period four begins.",
            stated["cycle multiplier"],
            (
                sp.expand(slope - stated["cycle multiplier"]),
                stated["cycle multiplier"].subs(MU, 1) - 1,
                sp.expand(stated["cycle multiplier"].subs(MU, stated["doubling"]) + 1),
                "" if stated["doubling"] > 1 else "the period doubles before the two-cycle exists",
            ),
            label="doubling",
        ),
        Step(
            "Off the line y is multiplied by (1 + m1)(1 + m2), m = x^2/2 - mu, in a round: less than 1 in "
            "size for 1 < mu < 2, so the cycle draws the plane to the line.",
            stated["transverse"],
            sp.expand(turn - stated["transverse"]),
            label="cycle",
        ),
        Step(
            "f' f''' - (3/2) f''^2 is negative everywhere: the Schwarzian derivative is negative, so both "
            "period doublings are supercritical, into stable cycles.",
            sp.expand(schwarzian),
            sp.expand(schwarzian + 3 * (1 + MU) + 9 * X**2),
            label="doubling",
        ),
    )


def _by_power_sums(value: Any, first: Any, second: Any, total: Any, product: Any) -> Any:
    """A symmetric even polynomial in two symbols, from their sum of squares and product."""
    in_sums, rest, names = sp.symmetrize(sp.expand(value), [first, second], formal=True)
    (one, _), (two, _) = names
    # (x1 + x2)^2 = total + 2 product; only even powers of the sum occur in an even polynomial
    return sp.expand(sp.expand(in_sums).subs(one**2, total + 2 * product).subs(two, product)) + rest


def _bound_steps(stated: Mapping[str, Any], f: Callable[[Any], Any]) -> tuple[Step, ...]:
    """Up to which parameter the cubic keeps an interval, and what lies outside of it."""
    bound, last = stated["bound"], stated["last"]
    extremum = sp.sqrt(2 * (1 + MU) / 3)
    return (
        Step(
            "The points +-b are a two-cycle, f(b) = -b; beyond them |f(x)/x| = x^2/2 - 1 - mu > 1: every "
            "orbit that leaves [-b, b] diverges. The interval is kept if the extremum f(sqrt(2(1 + "
            "mu)/3)) is in it. Its square minus b^2 is a positive multiple of (mu - 2)(2 mu + 5)^2: so "
            "exactly for mu <= 2.",
            sp.Eq(sp.Symbol("b"), bound, evaluate=False),
            (
                sp.simplify(f(bound) + bound),
                sp.expand(f(X) / X + X**2 / 2 - 1 - MU),
                sp.simplify(sp.diff(f(X), X).subs(X, extremum)),
                sp.expand(27 * (f(extremum) ** 2 - bound**2) - 2 * (MU - last) * (2 * MU + 5) ** 2),
            ),
            label="bound",
        ),
    )
