"""The proportional limit: width and dimension to infinity at a fixed ratio, a deterministic system.

With `Z_ii = chi(N - i)` and `Z_i,i-2 = chi(D + 1 - i)` (`theory.krylov_chain`), each over `sqrt(N)`, the
entries of a drawn chain tend to 1 and to `sqrt(phi)`, `phi = D/N`, and the normal ones vanish. Measured in
units of the second layer's norm at the start, `v_0`, nothing is random and no size is left but `phi`:

    e_00 = beta,   e_ii = beta (1 + phi),   e_i,i+2 = beta sqrt(phi),   kappa w = sqrt(beta phi) q_1,   v = 1,

where `beta` is the ratio of the layers' scales (1 under muP and NTP, 1/phi under SP), the target is
`sigma = kappa |w*| / v_0` and the learning rate `eta0 v_0`. Under muP and NTP this is one and the same
system: at proportional sizes they differ in the scale of the target alone.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..errors import invalid, require_positive
from ..records import NEVER, empty_record, require_schedule, with_run_variable
from ..theory import OBSERVABLES, Problem
from ..theory.krylov_chain import Chain, stack
from ..theory.observables import EigenvalueTail, residual_sharpness
from ..theory.parametrization import LayerRule, Parametrization
from ..theory.planar import largest_root_across
from .reduced import FIRST_SIZE, TOLERANCE, ReducedMethod

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr


_UNITS: Mapping[str, tuple[float, int]] = {
    "loss": (2, 2),
    "alignment": (1, 1),
    "residual_norm": (1, 1),
    "gradient_norm": (1.5, 1),
    "second_layer": (1, 0),
    "sharpness": (1, 0),
    "ntk_sharpness": (1, 0),
    "residual_sharpness": (1, 0),
    "directional_sharpness": (1, 0),
    "critical_sharpness": (1, 0),
}
"""What is observed, and its unit: a power of `v_0` over one of `kappa`. Traces grow with the dimension."""

_WITHOUT_SCALES = Parametrization("unit", "unit scales", hidden=LayerRule(), readout=LayerRule())
"""`kappa = 1`, as in the limit's own units."""

_MANY = 2**50
"""Stands for an infinite size."""


def proportional_limit(
    problem: Problem, learning_rate: float, *, record_at: Sequence[int], quantities: Sequence[str] = ("loss",)
) -> xr.Dataset:
    """What networks of a problem's width, dimension and target would do if both sizes were infinite.

    Parameters
    ----------
    problem
        Its ratio of dimension to width is kept; its sizes give the units of what is returned.
    learning_rate
        `eta0`.
    record_at
        Steps at which to record, ascending.
    quantities
        Names from the common record; no traces.

    Returns
    -------
    xarray.Dataset
        The common record with one run, in the problem's own units, to be held against `simulate`.

    Raises
    ------
    InputError
        If a quantity has no limit, the steps do not ascend, the width is infinite (use the planar map), or
        the rate is not positive.
    """
    require_positive("learning rate", learning_rate, example=0.5)
    record_at = require_schedule(record_at)
    width, dimension = problem.sizes.values()
    if not np.isfinite(width):
        raise invalid("width", width, accepted="finite widths", remedy="use the planar map at infinite width")
    for name in quantities:
        if name not in _UNITS:
            raise invalid("quantity", name, accepted=", ".join(_UNITS), remedy="choose one of these")
    first, second, _ = (float(scale.at(**problem.sizes)) for scale in problem.parametrization.start)
    ratio, imbalance = dimension / width, first / second
    target = problem.kappa * float(np.linalg.norm(problem.target)) / second
    record = with_run_variable(
        empty_record(
            widths=[width],
            learning_rates=[learning_rate],
            seeds=[0],
            steps=record_at,
            quantities=quantities,
            configuration=_configuration(problem, ratio, target, learning_rate * second),
            producer=__name__,
            threshold=2.0,
        ),
        "truncation_error",
    )
    _run(record, _Limit(ratio, imbalance, target, (problem.kappa / second) ** 2), learning_rate * second)
    for name in quantities:
        of_norm, of_coupling = _UNITS[name]
        record[name].values *= second**of_norm / problem.kappa**of_coupling
    return record


class _Limit:
    """The limit's chain, as long as is asked for."""

    def __init__(self, ratio: float, imbalance: float, target: float, loss_unit: float) -> None:
        self.ratio, self.imbalance, self.target = ratio, imbalance, target
        self.loss_unit = loss_unit
        """A loss of 1 of the problem, in the limit's units."""
        self.edge = imbalance * (1 + np.sqrt(ratio)) ** 2
        """Upper edge of the spectrum of `e` (Marchenko and Pastur)."""

    def method(self, learning_rate: float, size: int) -> ReducedMethod:
        """The head of some size, with a tail of the same."""
        length = 2 * size
        bands = np.zeros((3, length))
        bands[0] = self.imbalance * (1 + self.ratio)
        bands[0, 0] = self.imbalance
        bands[2, :-2] = self.imbalance * np.sqrt(self.ratio)
        w = np.array([0.0, np.sqrt(self.imbalance * self.ratio)])
        diagonals = np.zeros((3, length + 1))
        diagonals[0], diagonals[2, :-2] = np.sqrt(self.imbalance), np.sqrt(self.imbalance * self.ratio)
        diagonals[0, 0] = 1.0
        chain = stack([Chain(w, bands, np.asarray(1.0), np.asarray(0.0), diagonals)])
        problem = Problem(_WITHOUT_SCALES, _MANY, np.array([self.target]), _MANY)
        return ReducedMethod(problem, np.array([learning_rate]), chain, size, self.loss_unit)

    def observe(self, name: str, method: ReducedMethod) -> float:
        """An observable in the limit's units; eigenvalues include the edge, which no finite tail reaches."""
        alive = np.ones(1, dtype=np.bool_)
        value = float(method.observe(name, alive)[0])
        v = method.states().v
        tail = OBSERVABLES[name].tail
        if not isinstance(tail, EigenvalueTail):
            return value
        if tail.of_hessian:
            rho = residual_sharpness(method.states(), method.problem)
            return max(value, float(largest_root_across(v, rho, float(self.edge))[0]))
        return max(value, float(v[0]) + float(self.edge))


def _run(record: xr.Dataset, limit: _Limit, learning_rate: float) -> None:
    """Fill a record of one run, on a head that is long enough."""
    size, steps = FIRST_SIZE, record["step"].to_numpy().tolist()
    while True:
        method, diverged_step = limit.method(learning_rate, size), np.full(1, NEVER, dtype=np.int64)
        for index, (before, after) in enumerate(pairwise((0, *steps))):
            method.advance(before, after, diverged_step)
            for name in _UNITS.keys() & set(map(str, record.data_vars)):
                alive = diverged_step[0] == NEVER
                record[name].values[0, 0, 0, index] = limit.observe(name, method) if alive else np.nan
        error = float(method.truncation_error()[0])
        if error <= TOLERANCE or size >= _LARGEST:
            break
        size *= 2
    record["diverged_step"].values[...] = diverged_step
    record["truncation_error"].values[...] = error
    record["completed"].values[...] = 1


_LARGEST = 512
"""Coordinates of the largest head; what it leaves out is in `truncation_error`."""


def _configuration(problem: Problem, ratio: float, target: float, rate: float) -> dict[str, object]:
    return {
        "model": "two-layer linear network, proportional limit",
        "parametrization": problem.parametrization.name,
        "dimension over width": ratio,
        "kappa |w*| / v_0": target,
        "eta0 v_0": rate,
    }
