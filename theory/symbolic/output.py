"""Appendix D: Gauss-Newton and NTK with several outputs, the softmax Hessian and its limit, Eq. 25 and 26."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.matrices.expressions.blockmatrix import block_collapse

from .core import Derivation, K, N, Step
from .noncommutative import normal_form

if TYPE_CHECKING:
    from collections.abc import Callable

CLASS_COUNTS = (2, 3, 4)
"""Numbers of classes at which the softmax is differentiated."""
SPECTRUM_SIZES = ((1, 1), (1, 3), (2, 2), (3, 2))
"""Sizes (rows, parameters) of the determinant identity."""

BLOCK_EXAMPLES = 2
PARAMETERS = sp.Symbol("P", integer=True, positive=True)
"""Number of parameters."""
JACOBIAN = sp.MatrixSymbol("J", N * K, PARAMETERS)
"""Jacobian of all outputs on all data, one row an output and example (N is the number of examples)."""
EIGENVALUE, GROWTH = sp.symbols("mu s", positive=True)


def softmax_hessian_formula(probabilities: Any) -> Any:
    """Eq. 27."""
    return sp.diag(*probabilities) - probabilities * probabilities.T


def residual_coefficient(output: Any, target: Any) -> Any:
    """Coefficient of the model's Hessian in R for the squared loss."""
    return output - target


def published_residual_coefficient(output: Any, target: Any) -> Any:
    """The same as printed in Sec. 4.1 and Eq. 25."""
    return target - output


def softmax_limit(classes: int) -> Any:
    """Limit of the softmax Hessian as one logit grows; App. D prints the identity."""
    return sp.zeros(classes, classes)


def published_softmax_limit(classes: int) -> Any:
    """The same as printed."""
    return sp.eye(classes)


def output_shapes(examples: Any, classes: Any, parameters: Any) -> dict[str, tuple[Any, Any]]:
    """Shapes in `G = K^T H K` (Eq. 26)."""
    rows = examples * classes
    return {"jacobian": (rows, parameters), "output Hessian": (rows, rows)}


def published_output_shapes(examples: Any, classes: Any, parameters: Any) -> dict[str, tuple[Any, Any]]:
    """The same as printed."""
    size = classes * parameters
    return {"jacobian": (examples, size), "output Hessian": (size, size)}


OUTPUT_FORMULAS: dict[str, Callable[..., Any]] = {
    "25": residual_coefficient,
    "25-published": published_residual_coefficient,
    "26": output_shapes,
    "26-published": published_output_shapes,
    "27": softmax_hessian_formula,
    "D-limit": softmax_limit,
    "D-limit-published": published_softmax_limit,
}
"""Stated formulas by statement."""


def appendix_d() -> Derivation:
    """What Appendix D states, as it holds."""
    return Derivation(
        "D",
        "Gauss-Newton matrix and NTK with several outputs; the softmax Hessian, which tends to zero",
        "App. D, corrected",
        (*_sign_steps(), *_shape_steps(), *_spectrum_steps(), *_softmax_steps(), *_limit_steps()),
        {"limit": OUTPUT_FORMULAS["D-limit"](3)},
    )


def residual_left_over(coefficient: Callable[[Any, Any], Any]) -> Any:
    """Hessian of `(f - y)^2 / 2` in two parameters minus Gauss-Newton minus a stated residual part."""
    a, b, y = sp.symbols("a b y", real=True)
    output = sp.Function("f")(a, b)
    slope = sp.Matrix([output.diff(a), output.diff(b)])
    loss = (output - y) ** 2 / 2
    rest = sp.hessian(loss, (a, b)) - slope * slope.T - coefficient(output, y) * sp.hessian(output, (a, b))
    return rest.applyfunc(sp.expand)


def _sign_steps() -> tuple[Step, ...]:
    f, y = sp.symbols("f y")
    return (
        Step(
            "Differentiate (f - y)^2 / 2 twice, for an unspecified output f of two parameters with target y: "
            "beside the Gauss-Newton term the Hessian of f stands with this coefficient. (Eq. 25 prints its "
            "negative.)",
            OUTPUT_FORMULAS["25"](f, y),
            residual_left_over(OUTPUT_FORMULAS["25"]),
            label="sign",
        ),
    )


def gauss_newton_of(jacobian: tuple[Any, Any], output_hessian: tuple[Any, Any]) -> tuple[Any, Any] | None:
    """Shape of `J^T H J` from the shapes of J and H; None where the product is not defined."""
    if jacobian[0] != output_hessian[0] or jacobian[0] != output_hessian[1]:
        return None
    return jacobian[1], jacobian[1]


def _shape_steps() -> tuple[Step, ...]:
    stated = OUTPUT_FORMULAS["26"](N, K, PARAMETERS)
    shape = gauss_newton_of(stated["jacobian"], stated["output Hessian"])
    blocks = [sp.MatrixSymbol(f"J_{i}", K, PARAMETERS) for i in range(BLOCK_EXAMPLES)]
    hessians = [sp.MatrixSymbol(f"H_{i}", K, K) for i in range(BLOCK_EXAMPLES)]
    stacked = sp.BlockMatrix([[block] for block in blocks])
    zero = sp.ZeroMatrix(K, K)
    diagonal = sp.BlockMatrix([[hessians[0], zero], [zero, hessians[1]]])
    product = block_collapse(stacked.T * diagonal * stacked)
    product = product.blocks[0, 0] if isinstance(product, sp.BlockMatrix) else product
    terms = [block.T * middle * block for block, middle in zip(blocks, hessians, strict=True)]
    return (
        Step(
            "With one row an output and example, the Jacobian J (K in the paper) of N examples with K "
            "outputs and P parameters is (N K, P), and the Hessian H of the loss in the outputs has N "
            "blocks K x K, a different one for each example: G = J^T H J is (P, P) (shapes checked).",
            sp.Tuple(*stated["jacobian"]),
            "" if shape == (PARAMETERS, PARAMETERS) else f"the product has the shape {shape}",
            label="shapes",
        ),
        Step(
            "Block by block (shown and checked for two examples) that is the sum over examples of J_i^T "
            "H_i J_i.",
            sum(terms[1:], terms[0]),
            normal_form(product - sum(terms[1:], terms[0])),
            label="shapes",
        ),
    )


def _spectrum_steps() -> tuple[Step, ...]:
    q = sp.MatrixSymbol("q", N * K, 1)
    image = JACOBIAN.T * q
    kernel_q = JACOBIAN * JACOBIAN.T * q
    return (
        Step(
            "For the squared loss H is the identity: G = J^T J, and the NTK is J J^T. If J J^T q = mu q, "
            "then J^T q is an eigenvector of G to the same mu, for every number of examples, outputs and "
            "parameters.",
            sp.Eq(JACOBIAN.T * JACOBIAN * image, EIGENVALUE * image, evaluate=False),
            normal_form(JACOBIAN.T * JACOBIAN * image - JACOBIAN.T * kernel_q),
            label="mse",
        ),
        Step(
            "Its squared norm is q^T J J^T q = mu |q|^2, so J^T q is not zero if mu is not, and "
            "eigenvectors that are orthogonal stay so; the same with J and J^T exchanged. Non-zero "
            "eigenvalues agree with multiplicity.",
            sp.Eq(image.T * image, EIGENVALUE * q.T * q, evaluate=False),
            normal_form(image.T * image - q.T * kernel_q),
            label="mse",
        ),
        Step(
            "Independently: mu^P det(mu - J J^T) = mu^R det(mu - J^T J) with J of R rows and P columns of "
            f"symbols, at (R, P) = {', '.join(map(str, SPECTRUM_SIZES))}.",
            left_over=[_determinant_gap(*size) for size in SPECTRUM_SIZES],
            label="mse",
        ),
    )


def _determinant_gap(rows: int, parameters: int) -> Any:
    jacobian = sp.Matrix(rows, parameters, lambda i, j: sp.Symbol(f"J_{i}{j}"))
    kernel = (EIGENVALUE * sp.eye(rows) - jacobian * jacobian.T).det(method="berkowitz")
    newton = (EIGENVALUE * sp.eye(parameters) - jacobian.T * jacobian).det(method="berkowitz")
    return sp.expand(EIGENVALUE**parameters * kernel - EIGENVALUE**rows * newton)


def _probabilities(logits: Any) -> Any:
    weights = logits.applyfunc(sp.exp)
    return weights / sum(weights)


def _softmax_gap(classes: int) -> Any:
    """Second derivatives of log-sum-exp minus Eq. 27."""
    logits = sp.Matrix(sp.symbols(f"z0:{classes}", real=True))
    loss = sp.log(sum(logits.applyfunc(sp.exp)))
    return (sp.hessian(loss, list(logits)) - OUTPUT_FORMULAS["27"](_probabilities(logits))).applyfunc(
        sp.simplify
    )


def _on_simplex(classes: int) -> Any:
    """Probabilities that sum to one, (K, 1), the last eliminated."""
    free = sp.symbols(f"p0:{classes - 1}", positive=True)
    return sp.Matrix([*free, 1 - sum(free)])


def _form_gaps(classes: int) -> list[Any]:
    """The quadratic form as a sum of squares, the null vector, and the trace, on the simplex."""
    p, q = _on_simplex(classes), sp.Matrix(sp.symbols(f"q0:{classes}", real=True))
    hessian = OUTPUT_FORMULAS["27"](p)
    squares = sum(p[i] * p[j] * (q[i] - q[j]) ** 2 for i, j in combinations(range(classes), 2))
    null = (hessian * sp.ones(classes, 1)).applyfunc(sp.expand)
    trace = sp.expand(hessian.trace() - (1 - (p.T * p)[0]))
    return [sp.expand((q.T * hessian * q)[0] - squares), *null, trace]


def _disc_gaps(classes: int) -> list[Any]:
    """Right ends of the Gershgorin discs minus `2 p_i (1 - p_i)`."""
    p = _on_simplex(classes)
    hessian = OUTPUT_FORMULAS["27"](p)
    ends = [
        hessian[i, i] - sum(hessian[i, j] for j in range(classes) if j != i) - 2 * p[i] * (1 - p[i])
        for i in range(classes)
    ]
    return [sp.expand(end) for end in ends]


def _softmax_steps() -> tuple[Step, ...]:
    sizes = ", ".join(map(str, CLASS_COUNTS))
    p, rest = sp.symbols("p_1 p_2", positive=True)
    pair = OUTPUT_FORMULAS["27"](sp.Matrix([p, p, 1 - 2 * p]))
    two = OUTPUT_FORMULAS["27"](sp.Matrix([p, 1 - p, 0]))
    twin, lone = pair * sp.Matrix([1, -1, 0]), two * sp.Matrix([1, -1, 0])
    gaps = [twin - p * sp.Matrix([1, -1, 0]), lone - 2 * p * (1 - p) * sp.Matrix([1, -1, 0])]
    return (
        Step(
            "The cross-entropy is log-sum-exp of the logits minus the right one; the latter is linear, so "
            f"the label does not matter to the Hessian. Differentiated twice for K = {sizes}, it is Eq. "
            "27, diag(p) - p p^T.",
            OUTPUT_FORMULAS["27"](sp.Matrix([p, rest])),
            [_softmax_gap(classes) for classes in CLASS_COUNTS],
        ),
        Step(
            "Its form is the sum over i < j of p_i p_j (q_i - q_j)^2: positive semidefinite, zero on (1, "
            f"..., 1); its trace is 1 - |p|^2. (K = {sizes}.)",
            left_over=[_form_gaps(classes) for classes in CLASS_COUNTS],
        ),
        Step(
            "So at every p one eigenvalue is 0: the distance from the identity, in the operator norm, is "
            "never below 1."
        ),
        Step(
            f"Gershgorin: the disc of row i ends at 2 p_i (1 - p_i) (K = {sizes}), never above 1/2: "
            "1/2 - 2 p (1 - p) = (1 - 2 p)^2 / 2.",
            sp.Rational(1, 2) - 2 * p * (1 - p),
            (
                [_disc_gaps(classes) for classes in CLASS_COUNTS],
                sp.expand(1 - 4 * p * (1 - p) - (1 - 2 * p) ** 2),
            ),
        ),
        Step(
            "Since p p^T is positive semidefinite, no eigenvalue is above the largest probability, p_max. "
            "So lambda_max is at most p_max for p_max <= 1/2 and 2 p_max (1 - p_max) beyond (others are at "
            "most 1 - p_max there). The first is attained by (p_max, p_max, ...), the second approached by "
            "(p_max, 1 - p_max, 0, ...), whose zeros a softmax takes only in the limit; both with the "
            "eigenvector (1, -1, 0, ...).",
            left_over=[gap.applyfunc(sp.expand) for gap in gaps],
        ),
    )


def limit_left_over(stated: Callable[[int], Any]) -> list[Any]:
    """Limit of Eq. 27 as one logit grows minus a stated one, for each number of classes."""
    left = []
    for classes in CLASS_COUNTS:
        others = sp.symbols(f"z1:{classes}", real=True)
        hessian = OUTPUT_FORMULAS["27"](_probabilities(sp.Matrix([GROWTH, *others])))
        limit = hessian.applyfunc(lambda entry: sp.limit(entry, GROWTH, sp.oo))
        left.append((limit - stated(classes)).applyfunc(sp.simplify))
    return left


def _limit_steps() -> tuple[Step, ...]:
    return (
        Step(
            "As the right logit grows p tends to a one-hot vector and the trace 1 - |p|^2 to zero, so the "
            "whole matrix does, being positive semidefinite; entry by entry by limits for K = "
            f"{', '.join(map(str, CLASS_COUNTS))}. (App. D prints the identity.)",
            OUTPUT_FORMULAS["D-limit"](3),
            limit_left_over(OUTPUT_FORMULAS["D-limit"]),
            label="cross-entropy",
        ),
        Step(
            "Where the right logits of all examples grow, G = J^T H J is at most max_i lambda_max(H_i) "
            "times J^T J: beside the NTK it vanishes, and the two spectra part instead of meeting."
        ),
    )
