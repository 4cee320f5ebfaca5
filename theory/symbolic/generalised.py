"""The one-line law beyond Theorem 5.1: any loss of the map, K outputs, weight decay, momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy as sp
from sympy.matrices.expressions.blockmatrix import block_collapse

from ..parametrization import PARAMETRIZATIONS
from .core import ETA0, KAPPA, MULTIPLIER, D, Derivation, K, N, Step
from .laws import RESIDUAL, STATE, TARGET
from .noncommutative import normal_form, words_left
from .published_formulas import PUBLISHED_FORMULAS, Law

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY_SIZES = ((1, 1, 1), (2, 1, 2), (1, 2, 2), (2, 3, 1), (2, 2, 2))
"""Sizes (D, N, K) of the entry-by-entry check of the gradient; N < D + K, N = 1 and N >= D + K all occur."""

FIRST_K, SECOND_K = sp.MatrixSymbol("E", D, N), sp.MatrixSymbol("V", N, K)
"""Raw weights."""
FIRST_BUFFER, SECOND_BUFFER = sp.MatrixSymbol("P", D, N), sp.MatrixSymbol("Q", N, K)
"""Momentum buffers of E and V."""
GRADIENT = sp.MatrixSymbol("G", D, K)
"""`dL/dW`."""
STATE_K = Law(sp.MatrixSymbol("W", D, K), sp.MatrixSymbol("e", D, D), sp.MatrixSymbol("v", K, K))
"""The latent state with K outputs."""
DECAY, MOMENTUM = sp.Symbol("delta", nonnegative=True), sp.Symbol("beta", nonnegative=True)
"""Raw weight-decay coefficient and momentum."""
RATE_SCALE = KAPPA / MULTIPLIER
"""`gamma^2`."""


def weight_gradients(gradient: Any, first: Any, second: Any, multiplier: Any) -> tuple[Any, Any]:
    """Gradients in E and V, from `G = dL/dW`."""
    return multiplier * gradient * second.T, multiplier * first.T * gradient


def generalised_law(state: Law, gradient: Any, eta0: Any, kappa: Any, scaled_decay: Any) -> Law:
    """The step of (W, e, v); `scaled_decay` is `gamma^2` times the raw coefficient."""
    w, e, v = state
    g, kept = gradient, 1 - eta0 * scaled_decay
    return Law(
        w=kept**2 * w - eta0 * kept * (e * g + g * v) + eta0**2 * kappa**2 * g * w.T * g,
        e=kept**2 * e - eta0 * kappa**2 * kept * (w * g.T + g * w.T) + eta0**2 * kappa**2 * g * v * g.T,
        v=kept**2 * v - eta0 * kappa**2 * kept * (g.T * w + w.T * g) + eta0**2 * kappa**2 * g.T * e * g,
    )


def momentum_coefficients(
    eta0: Any, kappa: Any, scaled_decay: Any, momentum: Any
) -> tuple[tuple[Any, ...], ...]:
    """A step of [Z; B], as coefficients of I and M in each block of its matrix.

    Rows are Z and B, columns (I, M) of Z and (I, M) of B; `B = gamma^2` times the buffer.
    """
    return (
        (1 - eta0 * scaled_decay, -eta0 * kappa, -eta0 * momentum, 0),
        (scaled_decay, kappa, momentum, 0),
    )


def width_in_generalised(name: str) -> dict[str, bool]:
    """Whether the width stands in the coupling and in the scaled decay `gamma^2 delta`."""
    return {"coupling": name == "ntp", "decay": name == "mup"}


GENERALISED_FORMULAS: dict[str, Callable[..., Any]] = {
    "generalised-gradient": weight_gradients,
    "generalised": generalised_law,
    "generalised-momentum": momentum_coefficients,
    "generalised-width": width_in_generalised,
}
"""Stated formulas by statement."""


def generalised_derivation() -> Derivation:
    """`Z+ = (I - eta0 kappa M) Z` and its Gram matrix for any loss, K outputs, weight decay and momentum."""
    law = GENERALISED_FORMULAS["generalised"](STATE_K, GRADIENT, ETA0, KAPPA, RATE_SCALE * DECAY)
    return Derivation(
        "generalised",
        "The one-line law for any loss of W, K outputs, weight decay and momentum",
        "beyond the paper; contains Theorem 5.1",
        (*_gradient_steps(), *_product_steps(), *_law_steps(law), *_momentum_steps(), *_width_steps()),
        law._asdict(),
    )


def _gradient_steps() -> tuple[Step, ...]:
    stated = GENERALISED_FORMULAS["generalised-gradient"](GRADIENT, FIRST_K, SECOND_K, MULTIPLIER)
    linear = sp.Trace(GRADIENT.T * MULTIPLIER * FIRST_K * SECOND_K)
    entries = [_entries_that_differ(*size) for size in ENTRY_SIZES]
    return (
        Step(
            "W = m E V with E (D, N), V (N, K); the loss is any differentiable function of W, with the "
            "gradient G. By definition dL = tr(G^T dW): the gradient of L in the weights is that of "
            "tr(G^T W) with G held.",
            sp.Eq(sp.Symbol("dL"), linear, evaluate=False),
        ),
        Step(
            "So the gradient in E, by matrix calculus.",
            stated[0],
            normal_form(linear.diff(FIRST_K) - stated[0]),
        ),
        Step("And in V.", stated[1], normal_form(linear.diff(SECOND_K) - stated[1])),
        Step(
            "The same from losses whose gradient SymPy takes through W itself, tr(A^T W) and tr(W^T C "
            "W)/2 with G = A and G = (C + C^T) W / 2.",
            left_over=_through_losses(),
            label="gradient",
        ),
        Step(
            "Independently: entry by entry for an undefined function L of all entries of W, at (D, N, K) = "
            f"{', '.join(map(str, ENTRY_SIZES))}; the number of entries that differ is checked to be zero.",
            left_over=entries,
            label="gradient",
        ),
    )


def _through_losses() -> list[Any]:
    """Gradients of two losses by matrix calculus, minus the stated ones."""
    w = MULTIPLIER * FIRST_K * SECOND_K
    linear, quadratic = sp.MatrixSymbol("A", D, K), sp.MatrixSymbol("C", D, D)
    losses = (
        (sp.Trace(linear.T * w), linear),
        (sp.Trace(w.T * quadratic * w) / 2, (quadratic + quadratic.T) * w / 2),
    )
    return [
        words_left(normal_form(loss.diff(weight)), normal_form(stated))
        for loss, g in losses
        for weight, stated in zip(
            (FIRST_K, SECOND_K),
            GENERALISED_FORMULAS["generalised-gradient"](g, FIRST_K, SECOND_K, MULTIPLIER),
            strict=True,
        )
    ]


def _entries_that_differ(dimension: int, width: int, outputs: int) -> int:
    """Entries where the chain rule for an undefined loss disagrees with the stated gradients."""
    first = sp.Matrix(dimension, width, lambda i, k: sp.Symbol(f"E_{i}{k}"))
    second = sp.Matrix(width, outputs, lambda k, j: sp.Symbol(f"V_{k}{j}"))
    entries = sp.Matrix(dimension, outputs, lambda i, j: sp.Symbol(f"W_{i}{j}"))
    values = dict(zip(entries, MULTIPLIER * first * second, strict=True))
    loss = sp.Function("L")(*entries)
    gradient = entries.applyfunc(lambda entry: loss.diff(entry).subs(values, simultaneous=True))
    found = loss.subs(values, simultaneous=True)
    stated = GENERALISED_FORMULAS["generalised-gradient"](gradient, first, second, MULTIPLIER)
    gaps = [
        found.diff(weight) - formula
        for weights, formulas in zip((first, second), stated, strict=True)
        for weight, formula in zip(weights, formulas, strict=True)
    ]
    return sum(sp.expand(gap) != 0 for gap in gaps)


def _mixing() -> Any:
    return sp.BlockMatrix([[sp.ZeroMatrix(D, D), GRADIENT], [GRADIENT.T, sp.ZeroMatrix(K, K)]])


def _identity() -> Any:
    return sp.BlockMatrix([[sp.Identity(D), sp.ZeroMatrix(D, K)], [sp.ZeroMatrix(K, D), sp.Identity(K)]])


def _stacked(first: Any, second: Any) -> Any:
    return sp.BlockMatrix([[first], [second.T]])


def _raw_gradients() -> tuple[Any, Any]:
    """Gradients in E and V with weight decay, as `torch.optim.SGD` forms them."""
    first, second = GENERALISED_FORMULAS["generalised-gradient"](GRADIENT, FIRST_K, SECOND_K, MULTIPLIER)
    return first + DECAY * FIRST_K, second + DECAY * SECOND_K


def _product_steps() -> tuple[Step, ...]:
    rate, kept = ETA0 * RATE_SCALE, 1 - ETA0 * RATE_SCALE * DECAY
    in_first, in_second = _raw_gradients()
    weights = _stacked(FIRST_K, SECOND_K)
    product = block_collapse(kept * weights - ETA0 * KAPPA * _mixing() * weights)
    raw = (FIRST_K - rate * in_first, (SECOND_K - rate * in_second).T)
    return (
        Step(
            "Weight decay adds delta times the weights to their gradient. On the stacked weights Z = [E; "
            "V^T], (D + K, N), a step of the size eta0 gamma^2 = eta0 kappa / m is one product, Z+ = T Z "
            "with T = (1 - eta0 gamma^2 delta) I - eta0 kappa M, M = [[0, G], [G^T, 0]].",
            product,
            [normal_form(raw[row] - product.blocks[row, 0]) for row in range(2)],
        ),
        Step(
            "T multiplies from the left and so commutes with every rotation of the neurons, Z -> Z O: "
            "with Z = L Q, Q of orthonormal rows, a network of any width is exactly one of width at most "
            "D + K."
        ),
    )


def _in_weights() -> dict[Any, Any]:
    gram = KAPPA * MULTIPLIER
    return {
        STATE_K.w: MULTIPLIER * FIRST_K * SECOND_K,
        STATE_K.e: gram * FIRST_K * FIRST_K.T,
        STATE_K.v: gram * SECOND_K.T * SECOND_K,
    }


def _law_steps(law: Law) -> tuple[Step, ...]:
    w, e, v = STATE_K
    kept = 1 - ETA0 * RATE_SCALE * DECAY
    gram = sp.BlockMatrix([[e, KAPPA * w], [KAPPA * w.T, v]])
    factor = block_collapse(kept * _identity() - ETA0 * KAPPA * _mixing())
    image = block_collapse(factor * gram * factor)
    found = {"w": image.blocks[0, 1] / KAPPA, "e": image.blocks[0, 0], "v": image.blocks[1, 1]}
    stepped = block_collapse(factor * _stacked(FIRST_K, SECOND_K))
    square = block_collapse(KAPPA * MULTIPLIER * stepped * stepped.T)
    left = [
        normal_form(square.blocks[i, j] - image.blocks[i, j].subs(_in_weights()))
        for i in range(2)
        for j in range(2)
    ]
    single = GENERALISED_FORMULAS["generalised"](STATE, RESIDUAL, ETA0, KAPPA, 0)
    published = PUBLISHED_FORMULAS["5.1"](STATE, TARGET, ETA0, KAPPA**2)
    return (
        Step(
            "The Gram matrix S = kappa m Z Z^T holds e, kappa W and v. S+ = T S T, for every D, N and K.",
            image,
            left,
        ),
        *(
            Step(
                f"Its block: the law of {name}.",
                sp.Eq(sp.Symbol(f"{name}^+"), getattr(law, name), evaluate=False),
                normal_form(block - getattr(law, name)),
                label=name,
            )
            for name, block in found.items()
        ),
        Step(
            "With K = 1, G = r = w - w* and no decay these are Theorem 5.1 as published.",
            left_over=[
                normal_form((ours - theirs).subs(RESIDUAL, STATE.w - TARGET))
                for ours, theirs in zip(single, published, strict=True)
            ],
            label="theorem-5.1",
        ),
    )


def _momentum_matrix() -> Any:
    """Matrix of a step of [Z; B] in blocks of size D, K, D, K, from the stated coefficients."""
    rows = GENERALISED_FORMULAS["generalised-momentum"](ETA0, KAPPA, RATE_SCALE * DECAY, MOMENTUM)
    blocks = [
        [block_collapse(a * _identity() + b * _mixing()) for a, b in ((row[0], row[1]), (row[2], row[3]))]
        for row in rows
    ]
    return sp.BlockMatrix(
        [[blocks[i // 2][j // 2].blocks[i % 2, j % 2] for j in range(4)] for i in range(4)],
    )


def _momentum_steps() -> tuple[Step, ...]:
    matrix = _momentum_matrix()
    joint = sp.BlockMatrix(
        [[FIRST_K], [SECOND_K.T], [RATE_SCALE * FIRST_BUFFER], [RATE_SCALE * SECOND_BUFFER.T]]
    )
    product = block_collapse(matrix * joint)
    in_first, in_second = _raw_gradients()
    buffers = (MOMENTUM * FIRST_BUFFER + in_first, MOMENTUM * SECOND_BUFFER + in_second)
    rate = ETA0 * RATE_SCALE
    raw = (
        FIRST_K - rate * buffers[0],
        (SECOND_K - rate * buffers[1]).T,
        RATE_SCALE * buffers[0],
        RATE_SCALE * buffers[1].T,
    )
    image, square = matrix * (joint * joint.T) * matrix.T, product * product.T
    gaps = _block_gaps(block_collapse(square), block_collapse(image))
    return (
        Step(
            "Heavy-ball momentum keeps buffers P of E and Q of V: buffer = beta buffer + gradient, from "
            "zero, and the weights move by -eta0 gamma^2 buffer. With B = gamma^2 [P; Q^T] the pair [Z; "
            "B] is multiplied by one matrix A = [[(1 - eta0 gamma^2 delta) I - eta0 kappa M, -eta0 beta "
            "I], [gamma^2 delta I + kappa M, beta I]].",
            matrix,
            [normal_form(raw[row] - product.blocks[row, 0]) for row in range(4)],
            label="momentum",
        ),
        Step(
            "So the joint Gram matrix J = kappa m [Z; B][Z; B]^T, of size 2 (D + K) at every width, gives "
            "its own successor, J+ = A J A^T; W, and with it G, is read from its first block.",
            left_over=gaps,
            label="momentum",
        ),
    )


def _block_gaps(left: Any, right: Any) -> list[Any]:
    size = range(left.blocks.shape[0])
    return [
        words_left(normal_form(left.blocks[i, j]), normal_form(right.blocks[i, j]))
        for i in size
        for j in size
    ]


def _width_steps() -> tuple[Step, ...]:
    steps = []
    for table in PARAMETRIZATIONS.values():
        kappa, scale = (part.at(width=N, dimension=D) for part in (table.kappa, table.learning_rate))
        found = {"coupling": sp.sympify(kappa).has(N), "decay": sp.sympify(scale).has(N)}
        wrong = [
            name
            for name, has in found.items()
            if has != GENERALISED_FORMULAS["generalised-width"](table.name)[name]
        ]
        steps.append(
            Step(
                f"Under {table.title} the laws hold kappa = {kappa} and, with weight decay, gamma^2 delta "
                f"with gamma^2 = {scale}. The width stands in: "
                f"{', '.join(n for n, h in found.items() if h) or 'neither'}. Momentum adds no width.",
                left_over="" if not wrong else f"stated otherwise of {', '.join(wrong)} for {table.title}",
                label=f"width-{table.name}",
            )
        )
    return tuple(steps)
