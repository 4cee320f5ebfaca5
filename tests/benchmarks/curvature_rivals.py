"""The largest Hessian eigenvalue by other programs, as they come, and the reference all are held against.

PyHessian and hessian-eigenthings know no learning-rate metric: they are given a copy of the network whose
weights are `u = theta / sqrt(P)`, the same function of other variables, so that its plain Hessian is ours in
the metric. The copy, and what PyHessian leaves behind in it, are not timed.
"""

from __future__ import annotations

import copy
import math
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from superconsistency.neural import Batch, Hessian, Metric, Objective
from superconsistency.neural.curvature import linear_operator
from superconsistency.neural.networks import parameter_scales, scaled_layers
from torch.nn import functional

try:
    import pyhessian
except ImportError:
    pyhessian = None
try:
    import hessian_eigenthings
except ImportError:
    hessian_eigenthings = None

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Work = Callable[[], "Found"]
    Side = Callable[[torch.nn.Module, int], Work]
    """Work to be timed, of the weights to measure and a seed; what comes before it is not timed."""

_CREATES_A_CYCLE = r"Using backward\(\) with create_graph=True"


class Found(NamedTuple):
    """A side's answer."""

    value: float
    """NaN if it gave none."""
    products: int
    bound: float = math.nan
    """Error claimed, if any."""


def hessian(model: torch.nn.Module, batch: Batch, *, differentiation: str = "reverse") -> Hessian:
    """The Hessian of the cross-entropy in the learning-rate metric."""
    metric = Metric.from_scales([scales.sgd for scales in parameter_scales(model).values()])
    return Hessian(Objective(model), batch, metric, differentiation=differentiation)


def contestants(batch: Batch) -> dict[str, Side]:
    """Every rival, by name; those that are not installed are left out. To add one is to add an entry."""
    sides: dict[str, Side] = {"SciPy eigsh, cold": partial(_eigsh, batch)}
    if pyhessian is not None:
        sides["PyHessian"] = partial(_pyhessian, batch)
    if hessian_eigenthings is not None:
        sides["hessian-eigenthings"] = partial(_eigenthings, batch)
    return sides


def missing() -> list[str]:
    """Distributions that are not installed."""
    packages = {"PyHessian": pyhessian, "hessian-eigenthings": hessian_eigenthings}
    return [name for name, package in packages.items() if package is None]


def in_the_metric(model: torch.nn.Module) -> torch.nn.Module:
    """A copy, the same function, whose plain Hessian is the model's in the learning-rate metric."""
    other = copy.deepcopy(model)
    for _, layer in scaled_layers(other):
        for name, scales in layer.scales.items():
            root = math.sqrt(scales.sgd)
            layer.scales[name] = scales._replace(multiplier=scales.multiplier * root)
            layer.get_parameter(name).data.div_(root)
    return other


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """The function's result."""
        self.calls += 1
        return self.function(*arguments, **options)


def _pyhessian(batch: Batch, model: torch.nn.Module, seed: int) -> Work:
    """Power iteration from one random start, maxIter=100, tol=1e-3, on the value; the largest in modulus."""
    own = in_the_metric(model)
    # The package's name for the module is taken by the class in it.
    module = sys.modules["pyhessian.hessian"]

    def work() -> Found:
        product = Counted(module.hessian_vector_product)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", _CREATES_A_CYCLE, UserWarning)
            torch.manual_seed(seed)
            with patch.object(module, "hessian_vector_product", product):
                computed = pyhessian.hessian(own, functional.cross_entropy, data=tuple(batch), cuda=False)
                values, _ = computed.eigenvalues()
        own.zero_grad(set_to_none=True)  # else each call's graph stays: the gradients left behind hold it
        return Found(float(values[0]), product.calls)

    return work


def _eigenthings(batch: Batch, model: torch.nn.Module, seed: int) -> Work:
    """Lanczos for k=10 with which="LM", its defaults: 20 products; the first is the largest in modulus."""
    own = in_the_metric(model)
    loss = hessian_eigenthings.supervised_loss(functional.cross_entropy)

    def work() -> Found:
        operator = hessian_eigenthings.HessianOperator(own, [tuple(batch)], loss)
        operator.matvec = product = Counted(operator.matvec)
        found = hessian_eigenthings.lanczos(operator, seed=seed)
        return Found(float(found.eigenvalues[0]), product.calls)

    return work


def _eigsh(batch: Batch, model: torch.nn.Module, seed: int) -> Work:
    """ARPACK on our products from a random start, asked for the largest."""

    def work() -> Found:
        operator = hessian(model, batch)
        start = np.random.default_rng(seed).standard_normal(operator.size)
        value, _ = arpack(operator, start, 1e-3)
        return Found(value, operator.matvecs)

    return work


def arpack(
    operator: Hessian, start: NDArray[np.float64], tolerance: float
) -> tuple[float, NDArray[np.float64]]:
    """The largest eigenvalue and its vector, shape (n,); NaN and the start where ARPACK does not converge."""

    wrapped = linear_operator(operator)
    try:
        values, vectors = eigsh(wrapped, k=1, which="LA", tol=tolerance, v0=start.astype(wrapped.dtype))
    except ArpackNoConvergence:
        return math.nan, start
    return float(values[0]), np.asarray(vectors[:, 0], dtype=np.float64)


class Reference:
    """The largest eigenvalue by ARPACK along a run, independently of ours.

    In float64 to 1e-8, or in float32 to a residual of 1e-5, whose square over the gap is the error; the
    rounding of float32 products, about 1e-6, is then what limits it.

    Parameters
    ----------
    double
        Whether in float64.
    warm
        Whether it starts from its last vector plus a random one of the same norm, else from a random one.
    """

    def __init__(self, *, double: bool, warm: bool, seed: int = 0) -> None:
        self.double, self.warm = double, warm
        self._generator = np.random.default_rng(seed)
        self._last: NDArray[np.float64] | None = None

    @property
    def words(self) -> str:
        """What it is."""
        precision = "float64, tol 1e-8" if self.double else "float32, tol 1e-5"
        return f"eigsh, {precision}, {'warm' if self.warm else 'cold'} starts"

    def __call__(self, model: torch.nn.Module, batch: Batch) -> float:
        """The eigenvalue; NaN if ARPACK does not converge."""
        if self.double:
            model = copy.deepcopy(model).double()
            batch = Batch(batch.inputs.double(), batch.targets)
        operator = hessian(model, batch)
        start = self._generator.standard_normal(operator.size)
        start /= np.linalg.norm(start)
        if self.warm and self._last is not None:
            start += self._last
        value, self._last = arpack(operator, start, 1e-8 if self.double else 1e-5)
        return value
