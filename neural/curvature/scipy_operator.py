"""Operators for SciPy's sparse linear algebra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator

if TYPE_CHECKING:
    from ...theory import Array
    from .symmetric import SymmetricOperator


def linear_operator(operator: SymmetricOperator) -> LinearOperator[Any]:
    """A symmetric operator as SciPy's, its own adjoint; vectors are moved to its device and back.

    Parameters
    ----------
    operator
        Any operator of this package, such as a Hessian, or a `DenseOperator`.

    Returns
    -------
    LinearOperator
        An operator of shape (n, n) for `scipy.sparse.linalg.eigsh`, `lobpcg` and the like, in double
        precision if the given one is, otherwise in single precision. The given one counts the products.

    Examples
    --------
    >>> import torch
    >>> from scipy.sparse.linalg import eigsh
    >>> from superconsistency.neural.curvature import DenseOperator
    >>> matrix = torch.diag(torch.arange(1.0, 7.0, dtype=torch.float64))
    >>> found = eigsh(linear_operator(DenseOperator(matrix)), k=1, return_eigenvectors=False)
    >>> round(float(found[0]), 9)
    6.0
    """
    precision = torch.float64 if operator.dtype == torch.float64 else torch.float32
    kind = np.float64 if precision == torch.float64 else np.float32

    def product(vector: Array) -> Array:
        # A copy: SciPy's own vector may be read-only.
        given = torch.tensor(vector.reshape(-1), dtype=operator.dtype, device=operator.device)
        return np.asarray(operator(given).to("cpu", precision).numpy().reshape(vector.shape))

    shape = (operator.size, operator.size)
    return LinearOperator(shape, matvec=product, rmatvec=product, dtype=kind)
