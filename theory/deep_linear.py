"""One gradient step of a deep linear network, exactly, as a polynomial in the learning rate.

`f(x) = V^T W_L ... W_1 W_0 x` with `W_0` (n, d), `W_l` (n, n) and `V` (n,); only `W_1 .. W_L` are trained,
on `sum_i (f(x_i) - y_i)^2 / (2 m)`. With `a_l = W_l .. W_0 X` (n, m), `b_l = W_{l+1}^T .. W_L^T V` and the
residual `chi = f - y`, the gradient in `W_l` is of rank one, `b_l c_l^T` with `c_l = a_{l-1} chi / m`. So the
network after the step follows from a few inner products of the `a` and `b`, which can be drawn without ever
forming an n x n matrix. Setting: Hayou, "A Proof of Learning Rate Transfer under muP" (2025).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from scipy.linalg import qr

from ..errors import invalid, require_whole
from .parametrization import HALF, PARAMETRIZATIONS, LayerRule, Parametrization, Scale
from .problem import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _reading(name: str, title: str, rule: LayerRule) -> Parametrization:
    return Parametrization(name, title, hidden=rule, readout=rule)


_VARIANCE, _MULTIPLIER = Scale.of(fan_in=-1), Scale.of(fan_in=-HALF)
_RESCALED = LayerRule(variance=_VARIANCE, learning_rate=Scale.of(width=-1))
_AT_MUP_RATE = LayerRule(_MULTIPLIER, learning_rate=Scale.of(width=1))

READINGS: Mapping[str, Parametrization] = MappingProxyType(
    {
        **PARAMETRIZATIONS,
        "ntp-rescaled": _reading("ntp-rescaled", "NTP, multipliers moved into the weights", _RESCALED),
        "ntp-start": _reading("ntp-start", "NTP as a start only", LayerRule(variance=_VARIANCE)),
        "ntp-mup-rate": _reading("ntp-mup-rate", "NTP at muP's rate", _AT_MUP_RATE),
    }
)
"""muP, SP and what NTP may mean: multipliers `1/sqrt(fan_in)` and rate `eta0` (`ntp`, Noci et al. 2024), the
same with the multipliers moved into the weights (`ntp-rescaled`), the start alone with an unscaled rate,
which is SP (`ntp-start`), and multipliers with muP's rate `eta0 n` (`ntp-mup-rate`)."""


class EffectiveScales(NamedTuple):
    """A parametrization in the form without multipliers, where each entry of `W_l` has variance 1/n."""

    readout_variance: Scale
    """Variance of each entry of `V`."""
    learning_rate: Scale
    """Learning rate of `W_l` over `eta0`."""


def effective_scales(table: Parametrization) -> EffectiveScales:
    """Multipliers moved into the weights: `W -> multiplier W` and hence rate `-> multiplier^2 rate`.

    Raises
    ------
    InputError
        If the hidden weights would not have variance 1/n.
    """
    hidden, readout = table.hidden, table.readout
    square = (hidden.multiplier**2).rename(fan_in="width")
    if square * hidden.variance.rename(fan_in="width") != Scale.of(width=-1):
        accepted = "multiplier^2 * variance = 1/fan_in in the hidden layers"
        raise invalid("parametrization", table.name, accepted=accepted, remedy="pass a row of READINGS")
    return EffectiveScales(
        (readout.multiplier**2 * readout.variance).rename(fan_in="width"),
        square * hidden.learning_rate.rename(fan_in="width"),
    )


@dataclass(frozen=True, eq=False)
class LinearData:
    """Examples to fit.

    Attributes
    ----------
    inputs
        `X`, shape (d, m): one example a column.
    targets
        `y`, shape (m,).

    Raises
    ------
    InputError
        If the shapes do not fit, there is no example or no input, or a number is not finite.
    """

    inputs: Array
    targets: Array

    def __post_init__(self) -> None:
        inputs, targets = (np.array(each, dtype=np.float64) for each in (self.inputs, self.targets))
        if inputs.ndim != 2 or inputs.size == 0 or targets.shape != inputs.shape[1:]:
            raise invalid(
                "shapes of inputs and targets",
                (inputs.shape, targets.shape),
                accepted="(d, m) and (m,) with d and m at least 1",
                remedy="pass one example a column and one target an example",
            )
        for name, values in (("inputs", inputs), ("targets", targets)):
            if not np.isfinite(values).all():
                bad = float(values[~np.isfinite(values)][0])
                raise invalid(name, bad, accepted="finite numbers", remedy="drop such examples")
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @property
    def kernel(self) -> Array:
        """`K = X^T X / d`, shape (m, m)."""
        return np.asarray(self.inputs.T @ self.inputs / len(self.inputs))


class Layer(Protocol):
    """An n x n matrix seen through its products."""

    def apply(self, vectors: Array) -> Array:
        """`W B`, shapes (n, k)."""

    def apply_transposed(self, vectors: Array) -> Array:
        """`W^T B`, shapes (n, k)."""


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A layer that holds its matrix."""

    matrix: Array
    """`W`, shape (n, n)."""

    @classmethod
    def draw(cls, width: int, variance: float, generator: np.random.Generator) -> DenseLayer:
        """All n^2 entries, independent Gaussians of the given variance."""
        return cls(math.sqrt(variance) * generator.standard_normal((width, width)))

    def apply(self, vectors: Array) -> Array:
        """`W B`, shapes (n, k)."""
        return np.asarray(self.matrix @ vectors)

    def apply_transposed(self, vectors: Array) -> Array:
        """`W^T B`, shapes (n, k)."""
        return np.asarray(self.matrix.T @ vectors)


class _Seen(NamedTuple):
    """What is known of a matrix from one side: an orthonormal basis and its images, both (n, k)."""

    basis: Array
    images: Array


class SampledLayer:
    """An n x n matrix of independent Gaussians, drawn only where it is looked at; exact in law.

    Given `W Q` and `W^T P`, Q and P orthonormal, a direction q orthogonal to Q has the image
    `P (W^T P)^T q + (I - P P^T) g`, g Gaussian of the entries' variance; likewise for the transpose. After k
    directions this cost O(n k^2) instead of O(n^2). Made from the width n, the variance of an entry and the
    generator, which every new direction draws from.
    """

    def __init__(self, width: int, variance: float, generator: np.random.Generator) -> None:
        self._deviation, self._generator = math.sqrt(variance), generator
        self._right = self._left = _Seen(np.empty((width, 0)), np.empty((width, 0)))

    def apply(self, vectors: Array) -> Array:
        """`W B`, shapes (n, k)."""
        self._right = self._extended(self._right, self._left, vectors)
        return _image(self._right, vectors)

    def apply_transposed(self, vectors: Array) -> Array:
        """`W^T B`, shapes (n, k)."""
        self._left = self._extended(self._left, self._right, vectors)
        return _image(self._left, vectors)

    def _extended(self, here: _Seen, there: _Seen, vectors: Array) -> _Seen:
        fresh = _new_directions(here.basis, vectors)
        noise = self._deviation * self._generator.standard_normal(fresh.shape)
        noise -= there.basis @ (there.basis.T @ noise)
        images = there.basis @ (there.images.T @ fresh) + noise
        return _Seen(np.hstack([here.basis, fresh]), np.hstack([here.images, images]))


def _image(seen: _Seen, vectors: Array) -> Array:
    return np.asarray(seen.images @ (seen.basis.T @ vectors))


def _new_directions(basis: Array, vectors: Array, negligible: float = 1e-10) -> Array:
    """Orthonormal directions that vectors (n, k) add to an orthonormal basis, shape (n, at most k)."""
    norms = np.linalg.norm(vectors, axis=0)
    rest = vectors[:, norms > 0] / norms[norms > 0]
    rest = rest - basis @ (basis.T @ rest)
    if rest.size == 0:
        return np.empty((len(vectors), 0))
    directions, triangle, _ = qr(rest, mode="economic", pivoting=True)
    fresh = directions[:, np.abs(np.diag(triangle)) > negligible]
    # Orthogonal again, since a small remainder has lost digits; once is enough.
    fresh = fresh - basis @ (basis.T @ fresh)
    return np.asarray(np.linalg.qr(fresh)[0])


class Overlaps(NamedTuple):
    """All that one step depends on, of a network whose readout has entries of variance one.

    L layers are trained; l and j count them from zero here, so `a_{l-1}` of the text belongs to row l.
    """

    width: int
    outputs: Array
    """`V^T a_L`, shape (m,)."""
    grams: Array
    """`a_{l-1}^T a_{l-1}`, shape (L, m, m)."""
    crossings: Array
    """`a_{l-1}^T W_{l-1} .. W_{j+1} b_j` for j < l, else zero; shape (L, L, m)."""
    norms: Array
    """`|b_l|^2`, shape (L,)."""


def overlaps_of(data: LinearData, first: Array, layers: Sequence[Layer], readout: Array) -> Overlaps:
    """Overlaps of given weights: `W_0` (n, d), `W_1 .. W_L`, `V` (n,) in units of its standard deviation."""
    depth, samples = len(layers), data.targets.size
    features = [np.asarray(first @ data.inputs)]
    for layer in layers:
        features.append(layer.apply(features[-1]))
    backward = [readout[:, None]]
    for layer in layers[:0:-1]:
        backward.append(layer.apply_transposed(backward[-1]))
    backward.reverse()
    crossings = np.zeros((depth, depth, samples))
    carried = np.empty((readout.size, 0))  # W_{l-1} .. W_{j+1} b_j, column j
    for place in range(1, depth):
        carried = np.hstack([layers[place - 1].apply(carried), backward[place - 1]])
        crossings[place, :place] = (features[place].T @ carried).T
    return Overlaps(
        readout.size,
        readout @ features[-1],
        np.array([feature.T @ feature for feature in features[:-1]]),
        crossings,
        np.array([float(vector[:, 0] @ vector[:, 0]) for vector in backward]),
    )


def draw_overlaps(
    data: LinearData,
    depth: int,
    width: int,
    generator: np.random.Generator,
    layer: Callable[[int, float, np.random.Generator], Layer] = SampledLayer,
) -> Overlaps:
    """Overlaps of a network at initialisation; one draw serves every parametrization.

    Parameters
    ----------
    data
        `X` and `y`.
    depth
        `L`, the number of trained layers, at least 1.
    width
        `n`, at least 1.
    generator
        Source of all weights.
    layer
        `SampledLayer`, at O(n (m + L)^2) a layer, or `DenseLayer.draw`, at O(n^2 (m + L)).

    Raises
    ------
    InputError
        If the depth or the width is not a whole number of at least 1.
    """
    require_whole("depth", depth, least=1, example=3)
    require_whole("width", width, least=1, example=64, most=2**24)
    inputs = len(data.inputs)
    first = generator.standard_normal((width, inputs)) / math.sqrt(inputs)
    readout = generator.standard_normal(width)
    return overlaps_of(data, first, [layer(width, 1 / width, generator) for _ in range(depth)], readout)


class OneStepLoss(NamedTuple):
    """The residual after one step as a polynomial in `t = eta0 / unit`; the loss has twice its degree."""

    residuals: Array
    """Coefficient of `t^k` of `f_1(x_i) - y_i` in row k, shape (L + 1, m)."""
    unit: float
    """`eta0` at `t = 1`: `1 / (Var(V_i) n^2 rate)`, the size of the best rate at every width."""

    def residual(self, learning_rate: float) -> Array:
        """`f_1 - y` after a step at rate `eta0`, shape (m,)."""
        powers = (learning_rate / self.unit) ** np.arange(len(self.residuals))
        return np.asarray(powers @ self.residuals)

    def at(self, learning_rate: float) -> float:
        """The loss `|f_1 - y|^2 / (2 m)` after a step at rate `eta0`."""
        return float(np.mean(self.residual(learning_rate) ** 2) / 2)

    @property
    def polynomial(self) -> Array:
        """Coefficients of the loss in `t`, constant first, shape (2 L + 1,)."""
        samples = self.residuals.shape[1]
        squares = [np.convolve(column, column) for column in self.residuals.T]
        return np.asarray(np.sum(squares, axis=0) / (2 * samples))


def one_step_loss(data: LinearData, overlaps: Overlaps, table: Parametrization) -> OneStepLoss:
    """The loss after one gradient step from initialisation, as an exact polynomial in the rate.

    With `g_l = c_l^T h_{l-1}`, `h` the features after the step, and `s_lj = c_l^T W_{l-1} .. W_{j+1} b_j`,

        g_l = c_l^T a_{l-1} - eta sum_{j<l} s_lj g_j,     f_1 = f_0 - eta sum_l |b_l|^2 g_l.

    Here `overlaps` was made with the same data, and `table` is a row of `READINGS`.
    """
    width, depth, samples = overlaps.width, len(overlaps.norms), data.targets.size
    variance, rate = (float(scale.at(width=float(width))) for scale in effective_scales(table))
    residual = math.sqrt(variance) * overlaps.outputs - data.targets
    # In t every coefficient is of order one or smaller: eta = t / (variance n^2).
    slopes = overlaps.grams @ residual / (samples * width)
    crossings = overlaps.crossings @ residual / (samples * math.sqrt(variance) * width**2)
    reach = np.zeros((depth, depth + 1, samples))
    residuals = np.zeros((depth + 1, samples))
    residuals[0] = residual
    for place in range(depth):
        reach[place, 0] = slopes[place]
        reach[place, 1:] -= np.einsum("j,jks->ks", crossings[place, :place], reach[:place, :-1])
        residuals[1:] -= overlaps.norms[place] / width * reach[place, :-1]
    return OneStepLoss(residuals, 1 / (variance * width**2 * rate))


def best_learning_rate(loss: OneStepLoss, most: float = math.inf) -> float:
    """The rate `eta0` in (0, most] with the lowest loss after one step; the smallest of several.

    The slope of the loss at zero is minus the squared gradient, so some positive rate lowers the loss unless
    the gradient is zero; then no rate changes the network, and 0.0 is returned.

    Parameters
    ----------
    loss
        The loss as a polynomial.
    most
        Largest rate considered. For L >= 2 the loss can have a second, lower minimum at a rate that grows
        like sqrt(n), so the optimum over all rates is not the one that has a limit.

    Raises
    ------
    InputError
        If `most` is not above 0.
    """
    if not most > 0:
        raise invalid("largest rate", most, accepted="numbers above 0", remedy="pass inf for no bound")
    coefficients = loss.polynomial
    if not coefficients[1] < 0:
        return 0.0
    slope = coefficients[1:] * np.arange(1, len(coefficients))
    # The real part of every root is tried: that adds candidates, and none is lower than the minimum.
    turning = np.real(np.roots(slope[::-1]))
    inside = turning[(turning > 0) & (turning * loss.unit <= most)] * loss.unit
    candidates = np.sort(np.append(inside, most) if math.isfinite(most) else inside)
    losses = np.array([loss.at(rate) for rate in candidates])
    lowest = losses <= losses.min() + 1e-12 * loss.at(0.0)
    return float(candidates[lowest][0])


def limit_learning_rate(data: LinearData, depth: int, outputs: Array | None = None) -> float:
    """Where the best rate tends to as the width grows, in units of `OneStepLoss.unit`.

    `m chi^T K chi / (L |K chi|^2)` with `chi = outputs - y`: a number under muP, whose outputs vanish; random
    where the outputs at initialisation stay random (SP, NTP), `outputs ~ N(0, K)`.

    Parameters
    ----------
    data
        `X` and `y`.
    depth
        `L`, at least 1.
    outputs
        Network at initialisation, shape (m,); zero if absent.

    Raises
    ------
    InputError
        If the outputs are not one an example, or if `K chi` is zero, for instance with a zero target under
        muP: then there is no limit.
    """
    require_whole("depth", depth, least=1, example=3)
    if outputs is not None and np.shape(outputs) != data.targets.shape:
        accepted = f"that of the targets, {data.targets.shape}"
        raise invalid(
            "shape of the outputs", np.shape(outputs), accepted=accepted, remedy="pass one an example"
        )
    residual = -data.targets if outputs is None else np.asarray(outputs, dtype=np.float64) - data.targets
    direction = data.kernel @ residual
    size = float(np.linalg.norm(direction))
    if not size > 1e-12 * np.linalg.norm(data.kernel) * np.linalg.norm(residual):
        accepted = "a residual with K chi different from zero"
        raise invalid("|K chi|", size, accepted=accepted, remedy="pass other targets, not all zero")
    return float(residual.size * (residual @ direction) / (depth * size**2))
