"""Claims about the reduced method: one law with the full system, and one path where the network is given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from ..records.tables import Table
from ..simulations import Ensemble, schedule, simulate
from ..theory import initial_state, parametrization, uniform_target, wishart_state
from .checks import compared
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr

    from ..theory import Array


class LawCase(NamedTuple):
    """Networks whose law is compared."""

    dimension: int
    width: int
    parametrization: str
    learning_rate: float


LAW_CASES = (
    LawCase(1, 1, "mup", 0.2),
    LawCase(1, 50, "ntp", 0.3),
    LawCase(2, 1, "ntp", 0.3),
    LawCase(2, 2, "sp", 0.2),
    LawCase(5, 3, "mup", 0.8),
    LawCase(12, 6, "ntp", 2.0),
    LawCase(3, 64, "sp", 0.02),
    LawCase(10, 1000, "mup", 2.0),
    LawCase(24, 200, "mup", 4.0),
    LawCase(40, 20, "ntp", 4.0),
    LawCase(150, 60, "mup", 4.0),
)
"""D = 1, N = 1, D = 2, N < D, N = D, heads and, in the last, a chain that leave coordinates out."""

DRAWS_A_SIDE = 2000
TIMES = (0, 2, 8, 25, 60)
COMPARED_QUANTITIES = ("loss", "sharpness", "second_layer", "alignment")
SIGNIFICANCE = 0.01

_FLOOR = 1e-20
"""Losses below this are rounding, which has no law."""

_DECIMALS = 11
"""Decimals of everything else: a map that has converged is the target's to rounding."""


def _law(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """Two-sample Kolmogorov-Smirnov tests between networks drawn weight by weight and drawn chains."""
    rows = []
    for done, case in enumerate(LAW_CASES, start=1):
        full, reduced = (_drawn(case, settings.seed + shift, full=shift == 0) for shift in (0, DRAWS_A_SIDE))
        for name in COMPARED_QUANTITIES:
            for step in TIMES:
                one, two = (_sample(record[name].sel(step=step)) for record in (full, reduced))
                test = stats.ks_2samp(one, two)
                place = (case.parametrization, case.dimension, case.width, name, step)
                rows.append((*place, float(test.statistic), float(test.pvalue)))
        report(done / len(LAW_CASES))
    corrected = holm(np.array([row[-1] for row in rows]))
    smallest = float(corrected.min())
    columns = ("parametrization", "D", "N", "quantity", "step", "KS statistic", "p-value")
    least = sorted(rows, key=lambda row: row[-1])[:10]
    evidence = Evidence(
        f"{len(rows)} tests, {DRAWS_A_SIDE} draws a side: smallest p-value after Holm's correction "
        f"{smallest:.2g}",
        {
            "smallest corrected p-value": smallest,
            "tests": len(rows),
            "draws a side": DRAWS_A_SIDE,
            "level": SIGNIFICANCE,
        },
        seeds=(settings.seed,),
        tables=(Table("The ten smallest p-values", columns, tuple(least)),),
    )
    return CheckResult(Verdict.VERIFIED if smallest >= SIGNIFICANCE else Verdict.REFUTED, evidence)


def _drawn(case: LawCase, seed: int, *, full: bool) -> xr.Dataset:
    ensemble = Ensemble(
        parametrization(case.parametrization),
        uniform_target(case.dimension, 1.0),
        (case.width,),
        (case.learning_rate,),
        tuple(range(seed, seed + DRAWS_A_SIDE)),
    )
    if not full:
        return simulate(ensemble, record_at=TIMES, quantities=COMPARED_QUANTITIES, method="reduced")
    method = "factored" if case.width <= case.dimension else "full"
    return simulate(
        ensemble, record_at=TIMES, quantities=COMPARED_QUANTITIES, start=initial_state, method=method
    )


def _sample(values: xr.DataArray) -> Array:
    """Values of one time, diverged runs as the largest, what differs by rounding as one value."""
    sample = values.to_numpy().ravel()
    known = np.maximum(sample, _FLOOR) if values.name == "loss" else np.round(sample, _DECIMALS)
    return np.asarray(np.where(np.isnan(known), np.finfo(float).max, known))


def holm(pvalues: Array) -> Array:
    """Holm's step-down correction: the corrected p-value of each test, shape as given (one axis)."""
    order = np.argsort(pvalues)
    stepped = np.maximum.accumulate(pvalues[order] * np.arange(pvalues.size, 0, -1))
    corrected = np.empty_like(pvalues)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


GIVEN = ((400, 800, 1.0), (400, 200, 3.0), (1000, 2000, 1.0))
"""(D, N, |w*|) of given networks."""
PATH_STEPS = 3000
PATH_TOLERANCE = 1e-12


def _given(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """The loss of given networks, full against reduced, relative to the initial one."""
    rows = []
    for done, (dimension, width, norm) in enumerate(GIVEN, start=1):
        ensemble = Ensemble(
            parametrization("mup"),
            uniform_target(dimension, norm),
            (width,),
            (0.3 * math.sqrt(dimension) / norm,),
            (settings.seed,),
        )
        full = "factored" if width <= dimension else "full"
        losses = [
            simulate(ensemble, record_at=schedule(PATH_STEPS, 20), start=wishart_state, method=method)
            for method in (full, "reduced")
        ]
        scale = float(losses[0]["loss"].isel(step=0).item())
        error = float(np.abs(losses[0]["loss"] - losses[1]["loss"]).max()) / scale
        estimated = float(losses[1]["truncation_error"].max())
        rows.append((dimension, width, norm, error, estimated))
        report(done / len(GIVEN))
    largest = max(row[3] for row in rows)
    table = Table(
        f"Given networks under muP, {PATH_STEPS} steps at 0.3 of the edge",
        ("D", "N", "|w*|", "largest error over the initial loss", "estimated"),
        tuple(rows),
    )
    figures = {f"D = {row[0]}, N = {row[1]}": row[3] for row in rows}
    summary = f"largest error of the loss over {PATH_STEPS} steps {largest:.1e} of the initial loss"
    return compared(Evidence(summary, figures, largest, PATH_TOLERANCE, (settings.seed,), tables=(table,)))


REDUCED_CLAIMS = (
    Claim(
        id="reduced-law",
        room="simulations",
        statement="Drawn by chi variables, one cost a step for all N and D, runs have the networks' law",
        source="beyond the paper",
        kind=Kind.NUMERIC,
        method="Kolmogorov-Smirnov, 2000 networks a side, eleven (D, N, rule), five times; Holm at 1%",
        check=_law,
    ),
    Claim(
        id="reduced-path",
        room="simulations",
        statement="A given network's loss is that of a system of a few dozen dimensions, for ever",
        source="beyond the paper",
        kind=Kind.NUMERIC,
        method="full system against its Krylov projection, D = 400 and 1000, N < D too, 3000 steps",
        check=_given,
    ),
)
