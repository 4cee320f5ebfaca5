"""Estimates from random vectors, with standard errors: the trace and the spectral density."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from scipy.linalg import solve_triangular

from ...errors import require_positive, require_whole
from .evaluation import own_context
from .lanczos import LanczosSpace
from .reductions import inner_product

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...theory import Array
    from .symmetric import SymmetricOperator

_COPIES = 4
"""Times the test vectors that XTrace holds at its peak: they, their images, a basis, and its making."""


LEAST_TRACE_PRODUCTS = 4
"""Two test vectors of XTrace, so that one can be left out."""


class TraceEstimate(NamedTuple):
    """A trace and how far off it can be."""

    value: float
    """NaN if a product is not finite."""
    standard_error: float
    """0 if every direction was taken."""
    matvecs: int
    """Products taken."""


@own_context()
def estimate_trace(
    operator: SymmetricOperator, *, products: int = 32, seed: int = 0, memory: int = 2**30
) -> TraceEstimate:
    """The trace: exact in few dimensions, else by XTrace, or by Hutchinson's method where memory is short.

    XTrace splits off the range of the operator on all test vectors but one, estimates what is left with that
    one, and averages over the choices. Since these share vectors, the standard error is the jackknife's over
    whole vectors, which errs on the large side; the spread of the choices, published with it, is too small.

    Parameters
    ----------
    operator
        Symmetric; definite or not.
    products
        To be spent, at least 4; two for each test vector of XTrace.
    seed
        Seed of the vectors.
    memory
        Bytes that XTrace may take; beyond them Hutchinson's method is used, whose error is larger.

    Raises
    ------
    InputError
        If a setting is out of range.

    Notes
    -----
    Source: Epperly, Tropp and Webber 2024, XTrace: making the most of every sample in stochastic trace
    estimation, Section 2.
    """
    require_whole("products", products, least=LEAST_TRACE_PRODUCTS, example=32)
    require_whole("seed", seed, least=0, example=0)
    require_positive("memory", memory, example=2**30)
    if operator.size <= products:
        return _exact(operator)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    draws = products // 2
    fits = _COPIES * draws * operator.size * operator.dtype.itemsize <= memory
    method = partial(_xtrace, draws=draws) if fits else partial(_hutchinson, draws=products)
    value, error = method(operator, generator=generator)
    finite = math.isfinite(value)
    spent = 2 * draws if fits else products
    return TraceEstimate(value if finite else math.nan, error if finite else math.inf, spent)


def _exact(operator: SymmetricOperator) -> TraceEstimate:
    total = 0.0
    for index in range(operator.size):
        unit = torch.zeros(operator.size, dtype=operator.dtype, device=operator.device)
        unit[index] = 1
        total += float(operator(unit)[index])
    finite = math.isfinite(total)
    return TraceEstimate(total if finite else math.nan, 0.0 if finite else math.inf, operator.size)


def _drawn(operator: SymmetricOperator, generator: torch.Generator, *shape: int) -> torch.Tensor:
    """Standard normal numbers, the same on every device."""
    return torch.randn(*shape, generator=generator, dtype=operator.dtype, device="cpu").to(operator.device)


def _hutchinson(
    operator: SymmetricOperator, *, draws: int, generator: torch.Generator
) -> tuple[float, float]:
    """Mean and standard error from random signs."""
    found = []
    for _ in range(draws):
        signs = _drawn(operator, generator, operator.size).sign()
        found.append(inner_product(signs, operator(signs)))
    samples = np.array(found)
    return float(samples.mean()), _standard_error(samples) if np.isfinite(samples).all() else math.inf


def _xtrace(operator: SymmetricOperator, *, draws: int, generator: torch.Generator) -> tuple[float, float]:
    """Value and standard error."""
    tests = _drawn(operator, generator, operator.size, draws)
    images = torch.empty_like(tests)
    for index in range(draws):
        images[:, index] = operator(tests[:, index].contiguous())
    if not torch.isfinite(images).all():
        return math.nan, math.inf
    basis, triangle = (factor.double() for factor in torch.linalg.qr(images))
    del images
    couplings = (basis.T @ tests.double()).cpu().numpy()
    norms = tests.double().square().sum(0).cpu().numpy()
    inner = np.empty((draws, draws))
    for index in range(draws):
        image = operator(basis[:, index].to(operator.dtype).contiguous())
        inner[:, index] = (basis.T @ image.double()).cpu().numpy()
    if not np.isfinite(inner).all():
        return math.nan, math.inf
    small = _Small(inner, couplings, triangle.cpu().numpy(), norms, operator.size)
    without = np.array([small.without(index).trace() for index in range(draws)])
    error = math.sqrt((draws - 1) * float(without.var()))
    return small.trace(), error


class _Small(NamedTuple):
    """What XTrace needs of m test vectors Omega, with Q R their images."""

    inner: Array
    """`Q^T A Q`, shape (m, m)."""
    couplings: Array
    """`Q^T Omega`, shape (m, m)."""
    triangle: Array
    """R, shape (m, m)."""
    norms: Array
    """Squared norms of the test vectors, shape (m,)."""
    size: int
    """Dimensions of the operator."""

    def without(self, index: int) -> _Small:
        """The same without one test vector."""
        others = np.delete(np.arange(len(self.norms)), index)
        rotation, triangle = np.linalg.qr(self.triangle[:, others])
        return _Small(
            rotation.T @ self.inner @ rotation,
            rotation.T @ self.couplings[:, others],
            triangle,
            self.norms[others],
            self.size,
        )

    def trace(self) -> float:
        """The mean over the choices of the vector left out.

        With s_i the unit vector orthogonal to all columns of R but the i-th, the basis without the i-th image
        is that of `Q (1 - s_i s_i^T)`. What is left of test vector i outside it is uniform in direction, so
        the rest of the trace is its Rayleigh quotient times the dimensions left.
        """
        draws = len(self.inner)
        scale = np.abs(self.triangle).max()
        if scale == 0:
            return 0.0
        # A direction that is missing from the range may be any: a tiny one of its own keeps R invertible.
        missing = np.abs(np.diag(self.triangle)) < 1e-30 * scale
        regular = self.triangle + np.diag(np.where(missing, 1e-30 * scale, 0.0))
        apart = solve_triangular(regular, np.eye(draws), trans="T")
        apart /= np.linalg.norm(apart, axis=0)
        kept = np.trace(self.inner) - _forms(apart, self.inner)
        inside = self.couplings - apart * (apart * self.couplings).sum(0)
        rest = ((self.couplings - 2 * inside) * self.triangle).sum(0) + _forms(inside, self.inner)
        outside = self.norms - (inside**2).sum(0)
        return float(np.mean(kept + (self.size - draws + 1) * rest / outside))


def _forms(columns: Array, matrix: Array) -> Array:
    """`c^T M c` of every column c."""
    found: Array = np.einsum("ji,jk,ki->i", columns, matrix, columns)
    return found


def _standard_error(samples: Array) -> float:
    return float(samples.std(ddof=1) / math.sqrt(len(samples)))


class SpectralDensity(NamedTuple):
    """A spectrum as Gauss quadratures, one a random vector; smoothed or counted when asked for."""

    nodes: Array
    """Ritz values, ascending, shape (draws, steps)."""
    weights: Array
    """Part of the spectrum that each stands for, shape (draws, steps), sum 1 over steps."""
    size: int
    """Number of eigenvalues n."""
    matvecs: int
    """Products taken."""

    def density(self, at: Array, width: float) -> tuple[Array, Array]:
        """Part of the spectrum per unit at given values, and its standard error over draws.

        Parameters
        ----------
        at
            Values, shape (k,).
        width
            Standard deviation of the normal density that stands for a Ritz value; the standard error knows
            nothing of the smoothing.

        Returns
        -------
        tuple
            Mean and standard error, shape (k,) each.
        """
        require_positive("width", width, example=0.01)
        distances = (np.asarray(at, dtype=float)[:, None, None] - self.nodes) / width
        heights = np.exp(-0.5 * distances**2) / (math.sqrt(2 * math.pi) * width)
        samples = (heights * self.weights).sum(2)
        return samples.mean(1), samples.std(1, ddof=1) / math.sqrt(samples.shape[1])


@own_context()
def spectral_density(
    operator: SymmetricOperator,
    *,
    draws: int = 8,
    steps: int = 64,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> SpectralDensity:
    """The distribution of the operator's eigenvalues by stochastic Lanczos quadrature.

    Lanczos vectors are kept orthogonal, so no eigenvalue is counted twice; `steps` of them are held.

    Parameters
    ----------
    operator
        Symmetric.
    draws
        Random vectors, at least 2, from whose spread the standard errors come.
    steps
        Products for each; as many as dimensions if there are fewer, when nodes are the eigenvalues.
    seed
        Seed of the vectors.
    on_progress
        Called with the products taken and all of them.

    Raises
    ------
    InputError
        If a setting is out of range.

    Notes
    -----
    Source: Golub and Welsch 1969; Ubaru, Chen and Saad 2017, Fast estimation of tr(f(A)) via stochastic
    Lanczos quadrature. If a product is not finite, nodes and weights are NaN.
    """
    require_whole("draws", draws, least=2, example=8)
    require_whole("steps", steps, least=1, example=64)
    require_whole("seed", seed, least=0, example=0)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    steps = min(steps, operator.size)
    rows = torch.zeros(steps, operator.size, dtype=operator.dtype, device=operator.device)
    nodes, weights = np.full((draws, steps), math.nan), np.full((draws, steps), math.nan)
    products = 0
    for draw in range(draws):
        rows[0] = _drawn(operator, generator, operator.size)
        space = LanczosSpace(operator, rows, generator, found=0, end=steps)
        finite = space.expand()
        while finite and space.dimension < steps:
            space.advance()
            finite = space.expand()
            on_progress(products + space.matvecs, draws * steps)
        products += space.matvecs
        if not finite:
            nodes[:], weights[:] = math.nan, math.nan
            break
        values, vectors = space.ritz()
        nodes[draw], weights[draw] = values, vectors[0] ** 2
    return SpectralDensity(nodes, weights, operator.size, products)
