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
from ..records.origin import array_hash, provenance
from ..records.paired_steps import FINAL_STEPS, edge_schedule
from ..stats.extremes import CONVERGED
from ..stats.reach import arrival_steps
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
    require_whole("number of steps", steps, least=FINAL_STEPS, example=2000)
    shares = checked_shares(relative_rates)
    ensemble = Ensemble(parametrization, target, tuple(widths), (1.0,), tuple(seeds))
    edge = edge_rate(parametrization, target, min(ensemble.widths))
    ensemble = replace(ensemble, learning_rates=tuple(share * edge for share in shares))
    record = simulate(
        ensemble, record_at=edge_schedule(steps), quantities=("loss", "sharpness"), on_progress=on_progress
    )
    return against_the_edge(record, edge)


def checked_shares(relative_rates: Sequence[float]) -> tuple[float, ...]:
    """Learning rates over the edge in ascending order; `InputError` unless they are positive and differ."""
    require_distinct("learning rates over the edge", relative_rates)
    for rate in relative_rates:
        require_positive("learning rate over the edge", rate, example=0.9)
    return tuple(sorted(relative_rates))


def edge_rate(parametrization: Parametrization | str, target: Array | IsotropicTarget, width: float) -> float:
    """The edge `1/(kappa |w*|)`, beyond which no minimizer is stable, at one width.

    Raises
    ------
    InputError
        If the target is zero, or there are no such networks.
    """
    ensemble = Ensemble(parametrization, target, (width,), (1.0,), (0,))
    edge = largest_stable_learning_rate(ensemble.compact_problem(width))
    if math.isinf(edge):
        raise invalid(
            "target norm",
            0.0,
            accepted="above 0, since the edge is 1/(kappa |w*|)",
            remedy="pass 1.0, for example",
        )
    return edge


def against_the_edge(record: xr.Dataset, edge: float) -> xr.Dataset:
    """A record of loss and sharpness with what `approach_edge` adds to it.

    Parameters
    ----------
    record
        With the steps of `edge_schedule`.
    edge
        The learning rate that relative ones refer to.
    """
    relative = record["sharpness"] * record["learning_rate"] / 2
    loss = record["loss"]
    found = {
        "relative_sharpness": (relative, "sharpness over 2/eta0"),
        "final_relative_sharpness": (
            settled(relative, FINAL_STEPS, after=0.0),
            "sharpness over 2/eta0, mean of the last steps",
        ),
        "converged": (loss.isel(step=-1) < CONVERGED * loss.isel(step=0), "whether the run converged"),
        "reached_step": (
            arrival_steps(relative, 1.0, EDGE_SHARE).fillna(NEVER).astype(np.int64),
            f"first step at {EDGE_SHARE:g} of 2/eta0, {NEVER} if none",
        ),
    }
    return record.assign(
        {name: values.assign_attrs(long_name=words) for name, (values, words) in found.items()}
    ).assign_coords(relative_rate=("learning_rate", record["learning_rate"].to_numpy() / edge))


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
    result = plan_sharpening(
        parametrization, data, widths=widths, learning_rate=learning_rate, seeds=seeds, steps=steps
    )
    settings = Descent(learning_rate)
    networks = list(np.ndindex(len(widths), len(seeds)))
    for done, index in enumerate(networks, start=1):
        width, seed = widths[index[0]], seeds[index[1]]
        out = np.full((len(_ON_DATA), steps + 1), np.nan)
        result["diverged_step"][index] = _run_on_data(
            LinearNetwork(parametrization, width, data.inputs.shape[1]),
            data, settings, np.random.default_rng([seed, width]), out,
        )  # fmt: skip
        for name, values in zip(_ON_DATA, out, strict=True):
            result[name][index] = values
        if on_progress is not None:
            on_progress(done, len(networks))
    return result


_ON_DATA = ("gauss_newton", "residual", "loss")


def plan_sharpening(
    parametrization: Parametrization | str,
    data: RegressionData,
    *,
    widths: Sequence[int],
    learning_rate: float,
    seeds: Sequence[int],
    steps: int,
) -> xr.Dataset:
    """The dataset that `sharpening_on_data` fills, before any run; arguments as there."""
    require_whole("number of steps", steps, least=1, example=40)
    require_distinct("widths", widths)
    require_distinct("seeds", seeds)
    dims, shape = ("width", "seed", "step"), (len(widths), len(seeds))
    result = xr.Dataset(
        {name: (dims, np.full((*shape, steps + 1), np.nan)) for name in _ON_DATA},
        coords={"width": np.asarray(widths, dtype=float), "seed": list(seeds), "step": np.arange(steps + 1)},
    )
    result["diverged_step"] = (dims[:2], np.full(shape, NEVER, dtype=np.int64))
    configuration = {
        "parametrization": row_of(parametrization).name,
        "learning_rate": learning_rate,
        "examples": len(data.inputs),
        "dimension": data.inputs.shape[1],
    }
    data_hash = array_hash(data.inputs, data.targets)
    result.attrs = provenance(configuration, seeds=seeds, data_hash=data_hash, producer=__name__)
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
