"""SimpleConvNet under muP trained by SGD in plain JAX: a compiled step, warm power iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import jax
    import jax.numpy as jnp
except ImportError:
    jax = None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ITERATIONS = 10
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def network(weights: Any, images: Any) -> Any:
    """Logits of images (batch, side, side, channels)."""
    width = weights[0].shape[-1]
    hidden = images
    for weight, stride in ((weights[0], 2), (weights[1], 4)):
        fan_in = weight.shape[0] * weight.shape[1] * weight.shape[2]
        hidden = jax.lax.conv_general_dilated(
            hidden, weight / fan_in**0.5, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=_LAYOUT
        )
        hidden = jax.nn.relu(hidden)
        window = (1, 2, 2, 1)
        hidden = jax.lax.reduce_window(hidden, -jnp.inf, jax.lax.max, window, window, "VALID")
    return hidden.reshape(len(hidden), -1) @ weights[2] / width


def loss(weights: Any, images: Any, labels: Any) -> Any:
    """Mean cross-entropy."""
    logs = jax.nn.log_softmax(network(weights, images))
    return -jnp.mean(jnp.take_along_axis(logs, labels[:, None], axis=1))


def _step(weights: Any, images: Any, labels: Any, rate: Any) -> Any:
    gradients = jax.grad(loss)(weights, images, labels)
    return [weight - rate * gradient for weight, gradient in zip(weights, gradients, strict=True)]


def _power(weights: Any, images: Any, labels: Any, vectors: Any) -> Any:
    def product(direction: Any) -> Any:
        return jax.jvp(lambda at: jax.grad(loss)(at, images, labels), (weights,), (direction,))[1]

    def body(_: Any, carried: Any) -> Any:
        vectors, _ = carried
        norm = jnp.sqrt(sum(jnp.vdot(part, part) for part in vectors))
        vectors = [part / norm for part in vectors]
        image = product(vectors)
        return image, sum(jnp.vdot(one, other) for one, other in zip(vectors, image, strict=True))

    return jax.lax.fori_loop(0, ITERATIONS, body, (vectors, 0.0))


def available() -> bool:
    """Whether JAX is installed."""
    return jax is not None


def runner(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], probe: slice) -> Callable[..., float]:
    """A function that trains one network and measures it, compiled once a width.

    Parameters
    ----------
    images, labels
        Shapes (examples, side, side, channels) and (examples,).
    probe
        Examples on which the sharpness is measured.
    """
    pixels, classes = jnp.asarray(images), jnp.asarray(labels)
    step, power = jax.jit(_step), jax.jit(_power)

    def run(
        width: int, rate: float, batches: Sequence[np.ndarray[Any, Any]], measured: frozenset[int]
    ) -> float:
        """The last sharpness, in units of 1/eta0."""
        keys = jax.random.split(jax.random.PRNGKey(width), 6)
        shapes = ((3, 3, images.shape[-1], width), (3, 3, width, width), (width, 10))
        weights = [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=False)]
        vectors = [jax.random.normal(key, shape) for key, shape in zip(keys[3:], shapes, strict=True)]
        value = jnp.zeros(())
        for index, rows in enumerate(batches):
            weights = step(weights, pixels[rows], classes[rows], rate * width)
            if index + 1 in measured:
                vectors, value = power(weights, pixels[probe], classes[probe], vectors)
        return float(value) * width

    return run
