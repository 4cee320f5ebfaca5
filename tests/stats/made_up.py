"""Made-up runs whose slopes, laws in time and best learning rates are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

WIDE = np.array([64.0, 256.0, 1024.0, 4096.0])
WIDTHS = np.array([16.0, 32.0, 64.0, 128.0])
STEPS = np.array([0, 1, 2, 4, 8, 16])
RATES = 2.0 ** np.arange(-4, 5)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def powers(
    exponents: Any, *, noise: float = 0.0, seeds: int = 8, widths: Any = WIDE, seed: int = 0
) -> xr.DataArray:
    """`N^exponent`, one exponent a step, with noise that falls as N^(-1/2), correlated between steps."""
    widths, exponents = np.asarray(widths, dtype=float), np.atleast_1d(np.asarray(exponents, dtype=float))
    draws = generator(seed).standard_normal((2, len(widths), seeds, len(exponents)))
    errors = noise * (widths[0] / widths[:, None, None]) ** 0.5 * (draws[0] + draws[1, :, :, :1]) / 2**0.5
    logs = np.log(widths)[:, None, None] * exponents + errors
    coordinates = {"width": widths, "seed": np.arange(seeds), "step": np.arange(len(exponents))}
    return xr.DataArray(np.exp(logs), dims=("width", "seed", "step"), coords=coordinates)


def curves(slope: float, *, noise: float, seeds: int = 8, seed: int = 0, over: str = "width") -> xr.DataArray:
    """`(1 + t) N^slope` with independent noise of the logarithm."""
    draws = generator(seed).standard_normal((len(WIDTHS), seeds, len(STEPS)))
    logs = slope * np.log(WIDTHS)[:, None, None] + np.log1p(STEPS) + noise * draws
    return xr.DataArray(
        np.exp(logs), {over: WIDTHS, "seed": range(seeds), "step": STEPS}, (over, "seed", "step")
    )


def losses(
    drift: float, *, noise: float, seeds: int, seed: int = 0, start: float = 1.0, widths: Any = WIDTHS
) -> xr.DataArray:
    """Losses whose best rate is `start` at first and moves by `drift` factors of two a doubling."""
    return bowls(start * (widths / widths[0]) ** drift, noise=noise, seeds=seeds, seed=seed, widths=widths)


def bowls(
    optima: Any, *, noise: float = 0.02, seeds: int = 6, seed: int = 0, widths: Any = None, rates: Any = RATES
) -> xr.DataArray:
    """`exp((log rate - log optimum)^2 / 2)` with independent noise of the logarithm."""
    optima = np.asarray(optima, dtype=float)
    widths = 16.0 * 2.0 ** np.arange(len(optima)) if widths is None else widths
    draws = generator(seed).standard_normal((len(widths), len(rates), seeds))
    logs = (np.log(rates) - np.log(optima)[:, None]) ** 2 / 2
    return xr.DataArray(
        np.exp(logs[..., None] + noise * draws),
        {"width": widths, "learning_rate": rates, "seed": range(seeds)},
        ("width", "learning_rate", "seed"),
    )
