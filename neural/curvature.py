"""Sharpness of a network by Hessian-vector products and SciPy's Lanczos solver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..theory import Array

_KRYLOV = (6, 32)
"""Lanczos vectors kept, at first and if that fails; few, because a warm start needs few."""

_FRESH = 3.0
"""Norm of the random part of a warm start: with 1, one start in eight stayed on an overtaken eigenvector."""

_DENSE = 40
"""Up to this many parameters the Hessian is formed, one product a column."""


class SharpnessEstimate(NamedTuple):
    """The largest eigenvalue of `P^1/2 H P^1/2`, `P` the learning rates over eta0."""

    value: float
    residual: float
    """Residual norm of the eigenpair: some eigenvalue lies within this distance of `value`."""
    products: int
    """Hessian-vector products taken."""
    converged: bool
    """Whether the solver met its tolerance; if not, `value` is NaN."""
    vector: Array
    """Unit eigenvector, shape (parameters,)."""


class HessianOperator:
    """Products with `P^1/2 H P^1/2` of a loss, from one gradient graph that is kept until it is dropped.

    Parameters
    ----------
    loss
        Scalar, with a graph that allows two derivatives.
    parameters
        What the Hessian is taken in.
    scales
        Each parameter's learning rate over eta0, at least zero.
    """

    def __init__(
        self, loss: torch.Tensor, parameters: Sequence[torch.Tensor], scales: Sequence[float]
    ) -> None:
        self.parameters = list(parameters)
        self.roots = [math.sqrt(scale) for scale in scales]
        self.gradients = torch.autograd.grad(loss, self.parameters, create_graph=True)
        self.size = sum(parameter.numel() for parameter in self.parameters)
        self.products = 0

    def __call__(self, vector: Array) -> Array:
        """One product, shape (size,)."""
        self.products += 1
        first = self.parameters[0]
        flat = torch.from_numpy(np.ascontiguousarray(vector.reshape(-1))).to(first.device, first.dtype)
        pieces = torch.split(flat, [parameter.numel() for parameter in self.parameters])
        scaled = [
            root * piece.view_as(parameter)
            for root, piece, parameter in zip(self.roots, pieces, self.parameters, strict=True)
        ]
        product = torch.autograd.grad(self.gradients, self.parameters, scaled, retain_graph=True)
        parts = [root * part.reshape(-1) for root, part in zip(self.roots, product, strict=True)]
        return torch.cat(parts).cpu().double().numpy()


def sharpness(
    operator: HessianOperator,
    generator: np.random.Generator,
    *,
    tolerance: float = 1e-3,
    start: Array | None = None,
) -> SharpnessEstimate:
    """Largest (not largest in modulus) eigenvalue, with its residual.

    Parameters
    ----------
    operator
        The Hessian.
    generator
        Draws the starting vector if none is given.
    tolerance
        Relative accuracy asked of the solver.
    start
        Unit vector to start near, usually the last measurement's eigenvector. A random vector is added, so
        that an eigenvector that has since been overtaken is left again.
    """
    if operator.size <= _DENSE:
        return _dense(operator)
    linear = LinearOperator((operator.size, operator.size), matvec=operator, dtype=np.float64)
    guess = generator.standard_normal(operator.size)
    if start is not None:
        guess = start + _FRESH * guess / np.linalg.norm(guess)
    for vectors_kept in _KRYLOV:
        try:
            values, vectors = eigsh(linear, k=1, which="LA", tol=tolerance, v0=guess, ncv=vectors_kept)
        except ArpackError:
            continue
        value, vector = float(values[0]), vectors[:, 0]
        residual = float(np.linalg.norm(operator(vector) - value * vector))
        return SharpnessEstimate(value, residual, operator.products, True, vector)
    return SharpnessEstimate(math.nan, math.inf, operator.products, False, guess)


def _dense(operator: HessianOperator) -> SharpnessEstimate:
    matrix = np.stack([operator(column) for column in np.eye(operator.size)], axis=1)
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    value, vector = float(values[-1]), vectors[:, -1]
    residual = float(np.linalg.norm(matrix @ vector - value * vector))
    return SharpnessEstimate(value, residual, operator.products, True, vector)
