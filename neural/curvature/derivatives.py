"""Whether the derivatives of a scalar function are those of its values: symmetry and finite differences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch

from .evaluation import operations
from .graph import gradients_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    Pieces = Sequence[torch.Tensor]
    Scalar = Callable[[list[torch.Tensor]], torch.Tensor]
    Product = Callable[[list[torch.Tensor], Pieces], list[torch.Tensor]]
    Inside = Callable[[list[torch.Tensor]], AbstractContextManager[None]]

_SHRINKS = 0.5
"""Part of itself to which a difference of slopes shrinks at least with the step where there is no kink."""

_NEARER = 0.5
"""Part of that distance to which smaller steps may bring a difference and not speak against the evidence."""

_AGREE = 0.1
"""Part of their distance from a derivative that two differences may differ by to be evidence against it."""


@dataclass(frozen=True)
class Precision:
    """How closely derivatives can be compared in a floating-point type.

    Attributes
    ----------
    steps
        Steps of the finite differences, relative to the parameters, the best first.
    tolerance
        Relative distance between a difference and a derivative that is not counted.
    symmetry
        The same, between `u.Hv` and `v.Hu`.
    unit
        Rounding unit.
    """

    steps: tuple[float, ...]
    tolerance: float
    symmetry: float
    unit: float


DOUBLE = Precision((1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-4), 1e-7, 1e-8, 2.0**-52)
SINGLE = Precision((1e-2, 3e-3, 3e-2, 1e-3), 5e-2, 1e-3, 2.0**-23)


@dataclass
class Sizes:
    """The largest loss and gradient met, of which rounding is a part also where both are zero."""

    value: float = 0.0
    gradient: float = 0.0


class Difference(NamedTuple):
    """A central difference along a direction."""

    step: float
    slope: float
    """Slope of the function's values."""
    gradient: list[torch.Tensor]
    """Difference quotient of the gradients."""
    bend: float
    """Difference of the slopes on the two sides: it goes to zero with the step unless there is a kink."""
    bend_of_gradient: float
    """The same of the gradient, its norm."""


class Defect(NamedTuple):
    """What is wrong with a derivative."""

    words: str
    """In a few words, with the numbers that show it."""

    @classmethod
    def of(cls, what: str, derivative: float, difference: float) -> Defect:
        """A derivative that is not what differences of the function give."""
        return cls(f"{what} is {derivative:.6g} by differentiation, {difference:.6g} by differences")


UNRESOLVED = Defect("differences do not agree")
"""Neither right nor wrong: jumps of the derivative or rounding hide it."""


def defect(
    scalar: Scalar,
    point: Pieces,
    precision: Precision,
    generator: torch.Generator,
    *,
    product: Product | None = None,
    jumps: Callable[[], bool] = lambda: False,
    inside: Inside = lambda _leaves: operations(),
    sizes: Sizes | None = None,
) -> Defect | None:
    """What is wrong with the first or second derivative of a function at a point; None if they agree.

    Differences count against a derivative only if those of two steps agree: at a jump of the derivative, or
    below rounding, they do not. If no difference agrees with it either, it is `UNRESOLVED`.

    Parameters
    ----------
    scalar
        The function of leaves, one number.
    point
        Where; every tensor of the same precision.
    precision
        How to compare.
    generator
        Draws the two random directions.
    product
        The second derivative along a direction; None is by two reverse passes.
    jumps
        Whether the function, which has been evaluated, has derivatives that jump. Differences of gradients
        in single precision are then not looked at: they average over the jumps.
    inside
        What derivatives at leaves are taken in.
    sizes
        The largest loss and gradient met elsewhere; this call updates them.
    """
    leaves = _leaves(point)
    value = scalar(leaves)
    with inside(leaves):
        gradient = gradients_of(value, leaves)
    one, other = (_direction(point, generator) for _ in range(2))
    along = _products(leaves, gradient, product, inside)
    curved, also = along(one), along(other)
    if not all(torch.isfinite(piece).all() for piece in (value, *gradient, *curved, *also)):
        return None
    asymmetry = _asymmetry(one, curved, other, also, precision)
    if asymmetry is not None:
        return asymmetry
    plain, start = [piece.detach() for piece in gradient], float(value.detach())
    sizes = sizes or Sizes()
    sizes.value, sizes.gradient = max(sizes.value, abs(start)), max(sizes.gradient, _norm(plain))
    skip = precision is SINGLE and jumps()
    evidence = _Evidence(one, start, plain, curved, precision, sizes, skip_second=skip)
    return _weighed(evidence, scalar, point, inside)


def _weighed(evidence: _Evidence, scalar: Scalar, point: Pieces, inside: Inside) -> Defect | None:
    """What differences of smaller and smaller steps say of the derivatives."""
    for step in evidence.precision.steps:
        difference = _difference(scalar, point, evidence.direction, step, inside, middle=evidence)
        if difference is None:
            continue
        evidence.add(difference)
        if evidence.agrees:
            return UNRESOLVED if evidence.skip_second else None
    return evidence.defect() or UNRESOLVED


def _products(
    leaves: list[torch.Tensor], gradient: Pieces, product: Product | None, inside: Inside
) -> Callable[[Pieces], list[torch.Tensor]]:
    """The second derivative along a direction."""

    def reverse(direction: Pieces) -> list[torch.Tensor]:
        kept = [index for index, piece in enumerate(gradient) if piece.requires_grad]
        if not kept:
            return [torch.zeros_like(leaf) for leaf in leaves]
        with inside(leaves):
            found = torch.autograd.grad(
                [gradient[index] for index in kept],
                leaves,
                [direction[index] for index in kept],
                retain_graph=True,
                materialize_grads=True,
            )
        # Copies, because the next product may put its own in the same place (`functions`).
        return [piece.clone() for piece in found]

    if product is None:
        return reverse
    return lambda direction: product(leaves, direction)


def _leaves(point: Pieces, direction: Pieces | None = None, step: float = 0.0) -> list[torch.Tensor]:
    """New leaves at a point, moved along a direction."""
    moved = point if direction is None else [x + step * d for x, d in zip(point, direction, strict=True)]
    return [value.detach().clone().requires_grad_() for value in moved]


def _direction(point: Pieces, generator: torch.Generator) -> list[torch.Tensor]:
    """A random direction, in each tensor of the size of its entries."""
    return [scale_of(value) * drawn_like(value, generator) for value in point]


def scale_of(value: torch.Tensor) -> float:
    """Root mean square of a tensor's entries, a tenth for one that is zero."""
    size = float(value.detach().double().square().mean().sqrt())
    return size if math.isfinite(size) and size > 0 else 0.1


def drawn_like(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers in a tensor's shape, the same on every device."""
    return _standard(value.shape, generator).to(value.device, value.dtype)


def _standard(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")


def _dot(one: Pieces, other: Pieces) -> float:
    return float(sum(float((a.double() * b.double()).sum()) for a, b in zip(one, other, strict=True)))


def _norm(pieces: Pieces) -> float:
    return math.sqrt(_dot(pieces, pieces))


def _asymmetry(
    one: Pieces, curved: Pieces, other: Pieces, also: Pieces, precision: Precision
) -> Defect | None:
    """That `u.Hv` and `v.Hu` differ."""
    left, right = _dot(other, curved), _dot(one, also)
    size = _norm(other) * _norm(curved) + _norm(one) * _norm(also)
    if abs(left - right) <= precision.symmetry * size:
        return None
    return Defect(f"u.Hv is {left:.6g} and v.Hu {right:.6g}, which have to be equal")


def _difference(
    scalar: Scalar, point: Pieces, direction: Pieces, step: float, inside: Inside, *, middle: _Evidence
) -> Difference | None:
    """The central difference; None if it is not finite."""
    values, gradients = [], []
    for sign in (1.0, -1.0):
        leaves = _leaves(point, direction, sign * step)
        value = scalar(leaves)
        with inside(leaves):
            pieces = (
                torch.autograd.grad(value, leaves, materialize_grads=True)
                if value.requires_grad
                else [torch.zeros_like(leaf) for leaf in leaves]
            )
        values.append(float(value.detach()))
        gradients.append(pieces)
    (up, down), (above, below) = values, gradients
    slope = (up - down) / (2 * step)
    gradient = [(one - other) / (2 * step) for one, other in zip(above, below, strict=True)]
    bent = [a + b - 2 * m for a, b, m in zip(above, below, middle.gradient, strict=True)]
    found = Difference(step, slope, gradient, abs(up + down - 2 * middle.value) / step, _norm(bent) / step)
    finite = math.isfinite(slope) and all(torch.isfinite(piece).all() for piece in gradient)
    return found if finite else None


@dataclass
class _Evidence:
    """Differences against derivatives along one direction."""

    direction: Pieces
    value: float
    gradient: Pieces
    curved: Pieces
    precision: Precision
    sizes: Sizes
    skip_second: bool
    seen: list[Difference] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    """How far each difference is from the gradient, beyond what is allowed."""
    second: list[float] = field(default_factory=list)
    """The same of the second derivative."""

    def add(self, found: Difference) -> None:
        """Take a difference into account."""
        rounding = self._rounding(found)
        slope = _dot(self.gradient, self.direction)
        size = max(abs(slope), abs(found.slope))
        allowed = self.precision.tolerance * size + rounding * self.sizes.value
        self.first.append(max(0.0, abs(found.slope - slope) - allowed))
        distance = _distance(found.gradient, self.curved)
        size = max(_norm(self.curved), _norm(found.gradient))
        allowed = self.precision.tolerance * size + rounding * self.sizes.gradient
        self.second.append(0.0 if self.skip_second else max(0.0, distance - allowed))
        self.seen.append(found)

    @property
    def agrees(self) -> bool:
        """Whether the last difference is that of both derivatives."""
        return not (self.first[-1] or self.second[-1])

    def defect(self) -> Defect | None:
        """What two differences agree to be wrong, where there is no kink and no smaller step disagrees."""
        order = sorted(range(len(self.seen)), key=lambda index: self.seen[index].step)
        for i, j in pairwise(order):
            one, other = self.seen[i], self.seen[j]
            smaller = order[: order.index(i)]
            if self._stands(i, j, self.first, smaller, abs(one.slope - other.slope)) and self._smooth(
                one.bend, other.bend, self._rounding(one) * self.sizes.value
            ):
                slope = _dot(self.gradient, self.direction)
                return Defect.of("the gradient along a direction", slope, one.slope)
            between = _distance(one.gradient, other.gradient)
            if self._stands(i, j, self.second, smaller, between) and self._smooth(
                one.bend_of_gradient, other.bend_of_gradient, self._rounding(one) * self.sizes.gradient
            ):
                values = (_dot(pieces, self.direction) for pieces in (self.curved, one.gradient))
                return Defect.of("the second derivative along a direction", *values)
        return None

    def _stands(self, i: int, j: int, apart: list[float], smaller: list[int], between: float) -> bool:
        """Whether two differences agree, but not with the derivative, and no smaller step is nearer to it."""
        least = min(apart[i], apart[j])
        return between < _AGREE * least and all(apart[index] > _NEARER * least for index in smaller)

    def _rounding(self, found: Difference) -> float:
        return 1e2 * self.precision.unit / found.step

    @staticmethod
    def _smooth(bend: float, wider: float, rounding: float) -> bool:
        """Whether the slopes on the two sides come together as the step shrinks."""
        return bend <= max(_SHRINKS * wider, rounding)


def _distance(one: Pieces, other: Pieces) -> float:
    return _norm([a - b for a, b in zip(one, other, strict=True)])
