"""The loss seen from the outputs: the softmax Hessian, the generalised Gauss-Newton matrix, the NTK (App. D).

Per example the Hessian of the cross-entropy in the logits is `H_L = diag(p) - p p^T`, `p = softmax(f)`
(Eq. 27), whatever the label. Its form is `q^T H_L q = sum_(i<j) p_i p_j (q_i - q_j)^2`, so it is positive
semidefinite and maps (1, ..., 1) to zero; its trace is `1 - |p|^2`. It vanishes as p becomes one-hot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import invalid

if TYPE_CHECKING:
    from .problem import Array


def softmax_hessian(probabilities: Array) -> Array:
    """`diag(p) - p p^T`, shape (..., K, K), from probabilities, shape (..., K) (Eq. 27).

    Raises
    ------
    InputError
        If the last axis does not hold probabilities that sum to one.
    """
    _require_probabilities(probabilities)
    outer = probabilities[..., :, None] * probabilities[..., None, :]
    return np.asarray(probabilities[..., :, None] * np.eye(probabilities.shape[-1]) - outer)


def softmax_curvature_bound(probabilities: Array) -> Array:
    """The least upper bound of `lambda_max(H_L)` that the largest probability P gives, shape (...).

    It is P up to P = 1/2 and `2 P (1 - P)` from there on, hence never above 1/2. Subtracting `p p^T` from
    diag(p) raises no eigenvalue, which gives P; the disc of row i (Gershgorin) ends at `2 p_i (1 - p_i)`,
    which is largest for the largest p. Two probabilities P, or P and 1 - P, attain it.

    Parameters
    ----------
    probabilities
        Shape (..., K).

    Raises
    ------
    InputError
        If the last axis does not hold probabilities that sum to one.
    """
    _require_probabilities(probabilities)
    largest = probabilities.max(axis=-1)
    return np.asarray(np.where(largest <= 0.5, largest, 2 * largest * (1 - largest)))


def gauss_newton(jacobian: Array, output_hessian: Array) -> Array:
    """Generalised Gauss-Newton matrix `sum_i J_i^T H_i J_i`, shape (P, P) (Eq. 26 with dimensions that fit).

    Parameters
    ----------
    jacobian
        Jacobian of the outputs in the P parameters, shape (n, K, P).
    output_hessian
        Hessian of the loss in each example's outputs, shape (n, K, K); K x K identities for the squared loss.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    _require_jacobian(jacobian)
    examples, outputs, _ = jacobian.shape
    if output_hessian.shape != (examples, outputs, outputs):
        raise invalid(
            "shape of the output Hessians",
            output_hessian.shape,
            accepted=str((examples, outputs, outputs)),
            remedy="pass one K x K matrix an example",
        )
    weighted = np.einsum("nij,njp->nip", output_hessian, jacobian).reshape(examples * outputs, -1)
    return np.asarray(jacobian.reshape(examples * outputs, -1).T @ weighted)


def neural_tangent_kernel(jacobian: Array) -> Array:
    """NTK `K K^T`, shape (n K, n K), of the Jacobian of n examples and K outputs, shape (n, K, P).

    Raises
    ------
    InputError
        If the Jacobian does not have three axes.
    """
    _require_jacobian(jacobian)
    stacked = jacobian.reshape(jacobian.shape[0] * jacobian.shape[1], -1)
    return np.asarray(stacked @ stacked.T)


def _require_probabilities(probabilities: Array) -> None:
    sums = np.atleast_1d(probabilities.sum(axis=-1))
    if not (np.all(probabilities >= 0) and np.all(np.abs(sums - 1) <= 1e-6)):
        accepted = "numbers of at least 0 that sum to 1"
        raise invalid("probabilities", probabilities, accepted=accepted, remedy="apply softmax to the logits")


def _require_jacobian(jacobian: Array) -> None:
    if jacobian.ndim != 3:
        raise invalid(
            "shape of the Jacobian",
            jacobian.shape,
            accepted="(n, K, P)",
            remedy="keep one axis for the outputs",
        )
