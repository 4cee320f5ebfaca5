"""Quantities of latent runs relative to the edge `1/(kappa |w*|)`, beyond which no minimizer is stable."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ..theory import IsotropicTarget, final_sharpness_mup

if TYPE_CHECKING:
    from numpy.typing import NDArray


def edges_of(runs: xr.Dataset) -> xr.DataArray:
    """The edge at every width of some latent runs under one parametrization."""
    from ..simulations.edge import edge_rate  # noqa: PLC0415 - loads Numba

    rates = [edge_rate(row_name(runs), target_of(runs), width) for width in runs["width"].to_numpy().tolist()]
    return xr.DataArray(np.asarray(rates), {"width": runs["width"].to_numpy()}, ("width",))


def row_name(runs: xr.Dataset) -> str:
    """Name of the parametrization of some latent runs."""
    return str(json.loads(runs.attrs["configuration"])["parametrization"])


def target_of(runs: xr.Dataset) -> IsotropicTarget:
    """The target of some latent runs."""
    target = json.loads(runs.attrs["configuration"])["target"]
    return IsotropicTarget(target["dimension"], target["norm"])


def above_flattest(runs: xr.Dataset) -> xr.DataArray:
    """Sharpness below the edge of every width: 0 is the flattest minimizer's, 1 is `2/eta0`."""
    below, edges = _below(runs), edges_of(runs)
    found: xr.DataArray = (below["sharpness"] - 2 / edges) / (below["edge_of_stability"] - 2 / edges)
    return found


def below_flow(runs: xr.Dataset) -> xr.DataArray:
    """Sharpness of infinite width under muP below the edge: 0 is the flattest minimizer's, 1 the flow's."""
    below, target = _below(runs), target_of(runs)
    wide = below["sharpness"].isel(width=np.isinf(below["width"].to_numpy()))
    flattest = 2 * target.norm / np.sqrt(target.dimension)
    found: xr.DataArray = (wide - flattest) / (final_sharpness_mup(target.dimension, target.norm) - flattest)
    return found


def loss_left_below_edge(runs: xr.Dataset) -> xr.DataArray:
    """Loss over that at the start, below the edge of every width."""
    return _loss_left(_below(runs))


def loss_left_beyond_edge(runs: xr.Dataset) -> xr.DataArray:
    """Loss over that at the start, beyond the edge of every width."""
    rates = runs["learning_rate"].to_numpy()
    return _loss_left(_at_rates(runs, rates > float(edges_of(runs).max())))


def _loss_left(runs: xr.Dataset) -> xr.DataArray:
    return runs["loss"] / runs["loss"].isel(step=0)


def _below(runs: xr.Dataset) -> xr.Dataset:
    return _at_rates(runs, runs["learning_rate"].to_numpy() < float(edges_of(runs).min()))


def _at_rates(runs: xr.Dataset, chosen: NDArray[np.bool_]) -> xr.Dataset:
    return runs.isel(learning_rate=chosen)
