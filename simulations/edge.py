"""How the sharpness climbs: towards `2/eta0` over learning rates and widths, and with it G and R on data."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from ..errors import invalid, require_distinct, require_positive, require_whole
from ..records import NEVER
from ..records.origin import provenance
from ..stats.windows import settled
from ..theory import Array, Descent, IsotropicTarget, LinearNetwork, largest_stable_learning_rate
from ..theory import parametrization as row_of
from ..theory.generalised import (
    GeneralisedState,
    descent_step,
    gaussian_layers,
    initial_factors,
    joint_gram,
    readout,
    squared_gradient,
)
from .ensemble import simulate
from .grid import Ensemble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..theory import Parametrization
    from .ensemble import Progress

EDGE_SHARE = 0.9
"""Share of `2/eta0` at which the sharpness counts as having reached the edge."""

CONVERGED = 1e-8
"""Loss over the initial one below which a run has converged."""

_LAST = 8
"""Last steps, all recorded, whose mean is the final value; even, for orbits of period two beyond the edge."""

_PAIRS = 50
"""Pairs of steps recorded on the way, evenly spaced in their logarithm."""


class HessianParts(NamedTuple):
    """Largest eigenvalues of the two parts of `gamma^2 H = G + R`; units of 1/eta0."""

    gauss_newton: float
    residual: float


class RegressionData(NamedTuple):
    """A batch for linear regression with one output."""

    inputs: Array
    """Shape (n, D)."""
    targets: Array
    """Shape (n, 1)."""


def approach_edge(
    parametrization: Parametrization | str,
    target: Array | IsotropicTarget,
    *,
    widths: Sequence[float],
    relative_rates: Sequence[float],
    seeds: Sequence[int],
    steps: int = 2000,
    on_progress: Progress | None = None,
) -> xr.Dataset:
    """Gradient descent at learning rates relative to the edge, its sharpness measured against `2/eta0`.

    Parameters
    ----------
    parametrization, target
        The network's row of the table and its target; `w*` of shape (D,), or its norm alone, not zero.
    widths
        `math.inf` is one where the parametrization has a limit.
    relative_rates
        `eta0` over the edge `1/(kappa |w*|)` of the narrowest width; under muP every width has that edge.
    seeds
        One network per width and seed.
    steps
        At least 8.
    on_progress
        See `simulate`.

    Returns
    -------
    xarray.Dataset
        The common record of `loss` and `sharpness`, and

        `relative_rate` (learning_rate)
            as given;
        `relative_sharpness` (width, learning_rate, seed, step)
            `sharpness eta0 / 2`, 1 at the edge of stability;
        `final_relative_sharpness` (width, learning_rate, seed)
            its mean over the last 8 steps;
        `converged` (width, learning_rate, seed)
            whether the loss fell below 1e-8 of the initial one;
        `reached_step` (width, learning_rate, seed)
            first recorded step with a relative sharpness of at least 0.9, -1 if there is none.

    Raises
    ------
    InputError
        If the target is zero, there are too few steps, or a setting makes no sense.
    """
    require_whole("number of steps", steps, least=_LAST, example=2000)
    ensemble = _relative_to_the_edge(
        Ensemble(parametrization, target, tuple(widths), (1.0,), tuple(seeds)), relative_rates
    )
    relative_rates = sorted(relative_rates)  # as the ensemble's rates are
    schedule = edge_schedule(steps)
    record = simulate(ensemble, record_at=schedule, quantities=("loss", "sharpness"), on_progress=on_progress)
    record = record.assign_coords(relative_rate=("learning_rate", np.asarray(relative_rates, dtype=float)))
    return record.assign(_against_the_edge(record))


def _relative_to_the_edge(ensemble: Ensemble, relative_rates: Sequence[float]) -> Ensemble:
    """The ensemble at these shares of its narrowest width's edge."""
    require_distinct("learning rates over the edge", relative_rates)
    for rate in relative_rates:
        require_positive("learning rate over the edge", rate, example=0.9)
    edge = largest_stable_learning_rate(ensemble.compact_problem(min(ensemble.widths)))
    if math.isinf(edge):
        raise invalid(
            "target norm",
            0.0,
            accepted="above 0, since the edge is 1/(kappa |w*|)",
            remedy="pass 1.0, for example",
        )
    return replace(ensemble, learning_rates=tuple(rate * edge for rate in relative_rates))


def edge_schedule(steps: int) -> tuple[int, ...]:
    """The first twelve and the last eight steps, and between them pairs of an even and an odd one.

    The pairs are spaced evenly in their logarithm. Orbits of period two show both their values in each.
    """
    even = 2 * np.geomspace(1, max(steps // 2, 1), _PAIRS).round().astype(int)
    wanted = {*range(12), *even.tolist(), *(even + 1).tolist(), *range(max(steps - _LAST + 1, 0), steps + 1)}
    return tuple(sorted(step for step in wanted if step <= steps))


def _against_the_edge(record: xr.Dataset) -> dict[str, xr.DataArray]:
    relative = record["sharpness"] * record["learning_rate"] / 2
    above = relative >= EDGE_SHARE
    first = above.argmax("step")
    reached = record["step"].isel(step=first).where(above.any("step"), NEVER)
    loss = record["loss"]
    found = {
        "relative_sharpness": (relative, "sharpness over 2/eta0"),
        "final_relative_sharpness": (
            settled(relative, _LAST, after=0.0),
            "sharpness over 2/eta0, mean of the last steps",
        ),
        "converged": (loss.isel(step=-1) < CONVERGED * loss.isel(step=0), "whether the run converged"),
        "reached_step": (
            reached.drop_vars("step"),
            f"first step at {EDGE_SHARE:g} of 2/eta0, {NEVER} if none",
        ),
    }
    return {name: values.assign_attrs(long_name=words) for name, (values, words) in found.items()}


def random_data(examples: int, target: Array, generator: np.random.Generator) -> RegressionData:
    """Gaussian inputs, entries of variance 1, labelled by `w*` without noise."""
    require_whole("number of examples", examples, least=1, example=100)
    inputs = generator.standard_normal((examples, len(target)))
    return RegressionData(inputs, (inputs @ target)[:, None])


def hessian_parts(network: LinearNetwork, state: GeneralisedState, data: RegressionData) -> HessianParts:
    """Largest eigenvalues of G and R for `mean |w.x - y|^2 / 2`, at a cost free of the width.

    `G` shares its non-zero eigenvalues with `C^(1/2) (e + v I) C^(1/2)`, `C = X^T X / n`. Output `i` has
    second derivatives between E and V only, `gamma^2 m x_i (x) I_N`; with the residuals as weights they sum
    to `kappa g (x) I_N`, `g = dL/dw`, whose singular value is `kappa |g|`. With whitened data these are
    `ntk_sharpness` and `residual_sharpness` of the observables.

    Raises
    ------
    InputError
        If the network has several outputs, or shapes do not fit.
    """
    require_whole("number of outputs", network.outputs, least=1, most=1, example=1)
    gradient = squared_gradient(state.w, *data)
    # The non-zero eigenvalues of C^(1/2) A C^(1/2) are those of B A B^T with B^T B = C: B from X = Q B.
    _, triangle = np.linalg.qr(data.inputs)
    root = triangle / math.sqrt(len(data.inputs))
    kernel = root @ (state.e + state.v[0, 0] * np.eye(network.dimension)) @ root.T
    return HessianParts(
        float(np.linalg.eigvalsh(kernel)[-1]), network.kappa * float(np.linalg.norm(gradient))
    )


def sharpening_on_data(
    parametrization: Parametrization | str,
    data: RegressionData,
    *,
    widths: Sequence[int],
    learning_rate: float,
    seeds: Sequence[int],
    steps: int,
    on_progress: Progress | None = None,
) -> xr.Dataset:
    """Largest eigenvalues of G and R at every step of gradient descent on a batch.

    Parameters
    ----------
    parametrization, data, learning_rate
        What to run: full-batch gradient descent on `mean |w.x - y|^2 / 2` at `eta0`.
    widths, seeds
        One network per width and seed.
    steps
        At least 1.
    on_progress
        Called with (networks done, in all).

    Returns
    -------
    xarray.Dataset
        `gauss_newton`, `residual` and `loss` with dimensions (width, seed, step); units of 1/eta0 and of the
        loss. A run that overflowed is NaN from there on, with the step in `diverged_step`, else -1.
    """
    require_whole("number of steps", steps, least=1, example=40)
    require_distinct("widths", widths)
    require_distinct("seeds", seeds)
    shape = (len(widths), len(seeds))
    values = np.full((3, *shape, steps + 1), np.nan)
    diverged = np.full(shape, NEVER, dtype=np.int64)
    settings = Descent(learning_rate)
    for index in np.ndindex(*shape):
        width, seed = widths[index[0]], seeds[index[1]]
        network = LinearNetwork(parametrization, width, data.inputs.shape[1])
        diverged[index] = _run_on_data(
            network, data, settings, np.random.default_rng([seed, width]), values[(slice(None), *index)]
        )
        if on_progress is not None:
            on_progress(int(np.ravel_multi_index(index, shape)) + 1, diverged.size)
    dims = ("width", "seed", "step")
    result = xr.Dataset(
        {name: (dims, part) for name, part in zip(("gauss_newton", "residual", "loss"), values, strict=True)},
        coords={"width": np.asarray(widths, dtype=float), "seed": list(seeds), "step": np.arange(steps + 1)},
    )
    result["diverged_step"] = (dims[:2], diverged)
    configuration = {"parametrization": row_of(parametrization).name, "learning_rate": learning_rate}
    result.attrs = provenance(configuration, seeds=seeds, data_hash=None, producer=__name__)
    return result


def _run_on_data(
    network: LinearNetwork,
    data: RegressionData,
    settings: Descent,
    generator: np.random.Generator,
    out: Array,
) -> int:
    """Fill `out` (3, steps + 1) with G's and R's eigenvalues and the loss; the step of divergence, or -1."""
    gradient = partial(squared_gradient, inputs=data.inputs, targets=data.targets)
    weights = initial_factors(network, gaussian_layers(network, generator))
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(out.shape[1]):
            state = readout(network, joint_gram(weights))
            loss = float(np.mean((data.inputs @ state.w - data.targets) ** 2) / 2)
            if not loss < _OVERFLOW:
                return step
            out[:, step] = (*hessian_parts(network, state, data), loss)
            weights = descent_step(weights, network, gradient, settings)
    return NEVER


_OVERFLOW = 1e100
"""A loss beyond this counts as divergence."""
