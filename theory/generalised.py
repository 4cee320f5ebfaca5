"""The one-line law of gradient descent beyond Theorem 5.1: any loss of the map, outputs, momentum, decay.

A two-layer linear network `W = m E V` with E (D, N), V (N, K) and `f(x) = W^T x`, trained on any
differentiable function of W, which may change from step to step (mini-batches). With `G = dL/dW`,
`Z = [E; V^T]` (D + K, N) and `M = [[0, G], [G^T, 0]]`, gradient descent is one product from the left,

    B+ = momentum B + (kappa M + gamma^2 weight_decay) Z,    Z+ = Z - eta0 B+,

where `B` is `gamma^2` times the momentum buffer. So the Gram matrix of `[Z; B]` gives its own successor by a
congruence, and holds W. Beyond Noci et al. 2024; with K = 1, the squared loss, whitened data and plain
gradient descent it is Theorem 5.1.

The product acts from the left, so a rotation of the neurons commutes with it: a network of any width is
exactly one of width at most D + K, which is what `Factors` holds. Iterating the Gram matrix is unstable where
N < D + K: rounding adds directions that no network of that width has, and `I - eta0 kappa M`, with an
eigenvalue above 1 wherever G is not zero, magnifies them until the matrix is no longer semidefinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import softmax

from ..errors import invalid, require_positive, require_whole
from .parametrization import parametrization as row_of
from .problem import LatentScales

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .parametrization import Parametrization
    from .problem import Array


@dataclass(frozen=True)
class LinearNetwork(LatentScales):
    """Sizes and parametrization of `W = multiplier * E V`.

    Attributes
    ----------
    parametrization
        A row of the table; its name may be passed.
    width, dimension, outputs
        `N`, `D` and `K`, whole numbers of at least 1.

    Raises
    ------
    InputError
        If a size is not a whole number of at least 1.
    """

    parametrization: Parametrization
    width: int
    dimension: int
    outputs: int = 1

    if TYPE_CHECKING:  # what may be passed, which is more than what is kept

        def __init__(
            self, parametrization: Parametrization | str, width: int, dimension: int, outputs: int = 1
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "parametrization", row_of(self.parametrization))
        for name, example in (("width", 64), ("dimension", 10), ("outputs", 3)):
            require_whole(name, getattr(self, name), least=1, example=example)
            object.__setattr__(self, name, int(getattr(self, name)))

    def _at(self, name: str) -> float:
        scale = getattr(self.parametrization, name)
        return float(scale.at(width=float(self.width), dimension=float(self.dimension)))


@dataclass(frozen=True)
class Descent:
    """Stochastic gradient descent as `torch.optim.SGD` does it (no Nesterov step, no dampening).

    Attributes
    ----------
    learning_rate
        `eta0`; the raw learning rate is `eta0 gamma^2`.
    momentum
        Factor of the buffer, from 0 to below 1.
    weight_decay
        Raw coefficient: `weight_decay` times the weights is added to their gradient. Under muP the laws hold
        no width if it is scaled as `1/gamma^2`.

    Raises
    ------
    InputError
        If one of them is outside its range.
    """

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        require_positive("learning rate", self.learning_rate, example=0.1)
        if not 0 <= self.momentum < 1:
            raise invalid(
                "momentum", self.momentum, accepted="from 0 to below 1", remedy="pass 0.9, for example"
            )
        if not 0 <= self.weight_decay < math.inf:
            raise invalid(
                "weight decay",
                self.weight_decay,
                accepted="a finite number from 0",
                remedy="pass 0.01, for example",
            )


class LayerWeights(NamedTuple):
    """Raw weights of a network with K outputs."""

    first: Array
    """`E`, shape (D, N)."""
    second: Array
    """`V`, shape (N, K)."""


class Factors(NamedTuple):
    """Stacked weights and buffers up to a rotation of the neurons, `R = min(N, D + K)` of which are enough.

    Their products are the Gram matrices, `weights weights^T = kappa m Z Z^T` and likewise with the buffers.
    """

    weights: Array
    """`sqrt(kappa m) Z`, shape (D + K, R)."""
    buffers: Array
    """`sqrt(kappa m) gamma^2` times the momentum buffers, shape (D + K, R)."""


class GeneralisedState(NamedTuple):
    """The latent state with K outputs."""

    w: Array
    """End-to-end map `W = m E V`, shape (D, K)."""
    e: Array
    """`kappa m E E^T`, shape (D, D)."""
    v: Array
    """`kappa m V^T V`, shape (K, K)."""


def gaussian_layers(network: LinearNetwork, generator: np.random.Generator) -> LayerWeights:
    """Draw the raw weights at initialisation."""
    sizes = {"fan_in": float(network.dimension), "width": float(network.width)}
    first = float(network.parametrization.input.variance.at(**sizes))
    second = float(network.parametrization.readout.variance.at(**sizes | {"fan_in": float(network.width)}))
    return LayerWeights(
        math.sqrt(first) * generator.standard_normal((network.dimension, network.width)),
        math.sqrt(second) * generator.standard_normal((network.width, network.outputs)),
    )


def initial_factors(network: LinearNetwork, layers: LayerWeights) -> Factors:
    """Start from raw weights, with empty buffers.

    Raises
    ------
    InputError
        If the weights do not have the network's shapes.
    """
    _require_shape("shape of E", layers.first, (network.dimension, network.width))
    _require_shape("shape of V", layers.second, (network.width, network.outputs))
    stacked = math.sqrt(network.gram) * np.vstack([layers.first, layers.second.T])
    if network.width > len(stacked):
        # Z = L Q with orthonormal rows in Q: once rotated, all but D + K neurons stay at zero for ever.
        _, triangle = np.linalg.qr(stacked.T)
        stacked = np.ascontiguousarray(triangle.T)
    return Factors(stacked, np.zeros_like(stacked))


def descent_step(
    state: Factors, network: LinearNetwork, gradient: Callable[[Array], Array], settings: Descent
) -> Factors:
    """One step of gradient descent.

    Parameters
    ----------
    state
        Weights and buffers.
    network
        Gives the scales.
    gradient
        `dL/dW`, shape (D, K), from W, shape (D, K); a new one every step with mini-batches.
    settings
        Learning rate, momentum and weight decay; they may change from step to step.

    Raises
    ------
    InputError
        If the gradient does not have the shape of W.

    Notes
    -----
    Source: the one-line law (derivation "generalised").
    """
    weights, buffers = state
    outer = gradient(readout(network, weights @ weights.T).w)
    _require_shape("shape of the gradient", outer, (network.dimension, network.outputs))
    first, second = weights[: network.dimension], weights[network.dimension :]
    mixed = np.vstack([outer @ second, outer.T @ first])  # M Z
    decay = network.learning_rate_scale * settings.weight_decay
    buffers = settings.momentum * buffers + network.kappa * mixed + decay * weights
    return Factors(weights - settings.learning_rate * buffers, buffers)


def joint_gram(state: Factors) -> Array:
    """Gram matrix of weights and buffers, shape (2 (D + K), 2 (D + K))."""
    stacked = np.vstack(state)
    return np.asarray(stacked @ stacked.T)


def step_matrix(network: LinearNetwork, gradient: Array, settings: Descent) -> Array:
    """The matrix `A` of a step, shape (2 (D + K), 2 (D + K)): `[Z; B]+ = A [Z; B]`, so `J+ = A J A^T`.

    Parameters
    ----------
    network
        Gives the scales.
    gradient
        `dL/dW` at the current W, shape (D, K).
    settings
        Learning rate, momentum and weight decay.

    Raises
    ------
    InputError
        If the gradient does not have the shape of W.
    """
    _require_shape("shape of the gradient", gradient, (network.dimension, network.outputs))
    size = network.dimension + network.outputs
    push = network.learning_rate_scale * settings.weight_decay * np.eye(size)
    push[: network.dimension, network.dimension :] += network.kappa * gradient
    push[network.dimension :, : network.dimension] += network.kappa * gradient.T
    kept = settings.momentum * np.eye(size)
    eta0 = settings.learning_rate
    return np.block([[np.eye(size) - eta0 * push, -eta0 * kept], [push, kept]])


def readout(network: LinearNetwork, gram: Array) -> GeneralisedState:
    """W, e and v from the Gram matrix of the weights, or from the joint one, whose first block it is."""
    inputs, end = network.dimension, network.dimension + network.outputs
    return GeneralisedState(
        gram[:inputs, inputs:end] / network.kappa, gram[:inputs, :inputs], gram[inputs:end, inputs:end]
    )


def squared_gradient(w: Array, inputs: Array, targets: Array) -> Array:
    """`dL/dW` of `mean |W^T x - y|^2 / 2`, shape (D, K).

    Parameters
    ----------
    w
        `W`, shape (D, K).
    inputs, targets
        A batch, shapes (n, D) and (n, K); `sqrt(D) I` and `sqrt(D) W*` are the problem of Sec. 5.

    Raises
    ------
    InputError
        If the shapes do not fit or the batch is empty.
    """
    _require_batch(w, inputs)
    _require_shape("shape of the targets", targets, (len(inputs), w.shape[1]))
    return np.asarray(inputs.T @ (inputs @ w - targets) / len(inputs))


def cross_entropy_gradient(w: Array, inputs: Array, labels: NDArray[np.int64]) -> Array:
    """`dL/dW` of the mean cross-entropy of `softmax(W^T x)`, shape (D, K).

    Parameters
    ----------
    w
        `W`, shape (D, K).
    inputs, labels
        A batch, shapes (n, D) and (n,); labels are whole numbers from 0 to K - 1.

    Raises
    ------
    InputError
        If the shapes do not fit, the batch is empty or a label is no class.
    """
    _require_batch(w, inputs)
    _require_shape("shape of the labels", labels, (len(inputs),))
    classes = w.shape[1]
    if not np.issubdtype(labels.dtype, np.integer):
        raise invalid(
            "type of the labels", str(labels.dtype), accepted="integers", remedy="pass whole numbers"
        )
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        accepted = f"classes from 0 to {classes - 1}"
        raise invalid("label", int(outside[0]), accepted=accepted, remedy="use more outputs")
    difference = softmax(inputs @ w, axis=1)
    difference[np.arange(len(labels)), labels] -= 1
    return np.asarray(inputs.T @ difference / len(inputs))


def _require_batch(w: Array, inputs: Array) -> None:
    if w.ndim != 2:
        raise invalid("shape of W", w.shape, accepted="(D, K)", remedy="pass w[:, None] for one output")
    if inputs.ndim != 2 or len(inputs) == 0 or inputs.shape[1] != len(w):
        accepted = f"(n, {len(w)}) with n at least 1"
        raise invalid("shape of the inputs", inputs.shape, accepted=accepted, remedy="pass rows of length D")


def _require_shape(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise invalid(name, array.shape, accepted=str(shape), remedy="use the network's own sizes")
