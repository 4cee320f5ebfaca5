"""Claims about the parametrization table: regimes, equivalent forms, and how far layers move."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..neural import Dataset, Optimizer, TrainingConfig, load_dataset, network, resolve_device
from ..neural.coordinates import (
    PASSED,
    UNDECIDED,
    CoordinateCheck,
    CoordinateReport,
    coordinate_check,
    default_rate,
    default_steps,
)
from ..neural.training import Measurement, Probe, Run, RunGroup
from ..records.tables import Table
from ..theory import (
    ADAM,
    SGD,
    TABLE,
    BranchRule,
    LayerRule,
    Parametrization,
    Scale,
    depth_exponents,
    parametrization,
    regime,
    width_exponents,
)
from ..theory.parametrization import HALF
from .checks import compared, corrected
from .ledger import CheckResult, Claim, Correction, Evidence, Kind, Settings, Verdict, not_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..theory import Array

SCALED_WIDTHS, SCALED_DEPTHS, SCALED_SEEDS = (64, 128, 256, 512), (3, 6, 12, 24), 16
_ROOT = Scale.of(fan_in=-HALF)
_WIDTH = Scale.of(width=1)

REGIMES = {
    ("mup", SGD): "feature learning, every layer maximally",
    ("mup", ADAM): "feature learning, every layer maximally",
    ("depth-mup", SGD): "feature learning, every layer maximally",
    ("depth-mup", ADAM): "feature learning, every layer maximally",
    ("ntp", SGD): "kernel regime",
    ("sp", SGD): "unstable",
}
"""How the words of each row's regime begin."""

EQUATION_1 = Parametrization(
    "equation-1",
    "Eq. 1",
    hidden=LayerRule(_ROOT, learning_rate=_WIDTH),
    readout=LayerRule(Scale.of(width=-HALF), learning_rate=_WIDTH),
)
"""Eq. 1 and the muP of Section 2 as printed: the readout divided by gamma = sqrt(N) and by nothing else."""

TABLE_1 = Parametrization(
    "table-1",
    "Table 1",
    hidden=LayerRule(_ROOT, adam=Scale.of(width=-HALF)),
    readout=LayerRule(_ROOT * Scale.of(width=-HALF), adam=Scale.of(width=-HALF)),
    branch=BranchRule(Scale.of(depth=-HALF), adam=Scale.of(depth=-HALF)),
)
"""Table 1's row for Adam: eta0 (N L)^(-1/2) for all weights, the first and the last layer's multiplier and
deviation changed by L^(1/2) only, which at fixed depth is nothing; the readout with its 1/sqrt(fan-in)."""


@dataclass(frozen=True)
class _Case:
    """One coordinate check."""

    name: str
    table: str
    optimizer: str = SGD

    def check(
        self, settings: Settings, size: str, table: Parametrization | None = None, seeds: int = SCALED_SEEDS
    ) -> CoordinateReport:
        """Do it."""
        row = parametrization(self.table) if table is None else table
        config = TrainingConfig(row, architecture=network(self.name), optimizer=Optimizer(self.optimizer))
        first = settings.seed
        asked = CoordinateCheck(
            config,
            default_rate(row, self.optimizer),
            size=size,
            sizes=SCALED_WIDTHS if size == "width" else SCALED_DEPTHS,
            steps=default_steps(row, self.optimizer),
            seeds=tuple(range(first, first + seeds)),
        )
        return coordinate_check(asked, _data(self.name, settings))


_WIDTH_CASES = (
    _Case("mlp", "mup"),
    _Case("mlp", "mup", ADAM),
    _Case("simple-convnet", "mup"),
    _Case("transformer", "mup", ADAM),
    _Case("mlp", "ntp"),
    _Case("mlp", "sp"),
)
_DEPTH_CASES = (
    _Case("residual-mlp", "depth-mup"),
    _Case("residual-mlp", "depth-mup", ADAM),
    _Case("transformer", "depth-mup", ADAM),
)


def _data(name: str, settings: Settings) -> Dataset:
    data = load_dataset("random-tokens" if name.startswith("transformer") else "digits")
    return data.to(resolve_device(settings.device))


def _regimes(_settings: Settings, _report: Callable[[float], None]) -> CheckResult:
    """Every row's regime in width, and what Depth-muP keeps in depth, from exact exponents."""
    rows = tuple((name, optimizer, regime(TABLE[name], optimizer).words) for name, optimizer in REGIMES)
    right = all(words.startswith(REGIMES[name, optimizer]) for name, optimizer, words in rows)
    for optimizer in (SGD, ADAM):
        table = TABLE["depth-mup"]
        inside = depth_exponents(table, "hidden", optimizer, in_branch=True)
        stream = depth_exponents(table, "readout", optimizer)
        right &= inside.own_change == -HALF and stream.activation == stream.change == 0
    evidence = Evidence(
        "exponents of input, hidden and readout layers in width; under Depth-muP branches move as L^-1/2, "
        "their stream as L^0",
        tables=(Table("regimes at large width", ("row", "optimizer", "regime"), rows),),
    )
    return CheckResult(Verdict.PROVED if right else Verdict.REFUTED, evidence)


def _equivalence(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """Losses of one network in two equivalent forms, SGD and Adam, in double precision."""
    data = load_dataset("digits", examples=64)
    data = data._replace(inputs=data.inputs.double())
    factors = {"hidden": _WIDTH**HALF, "readout": Scale.of(width=-1), "first": _WIDTH}
    cases = [("mup", SGD, 1.0), ("ntp", SGD, 1.0), ("sp", SGD, 0.05), ("mup", ADAM, 0.05)]
    worst = 0.0
    for index, (name, optimizer, eta0) in enumerate(cases):
        table = parametrization(name)
        config = TrainingConfig(table, architecture=network("mlp"), optimizer=Optimizer(optimizer))
        config = replace(config, steps=30, batch_size=None, measure_every=1, quantities=())
        rows = (table, table.rescaled(**factors))
        losses = _losses([replace(config, parametrization=row) for row in rows], eta0, data, settings.seed)
        if not abs(losses[0][-1] - losses[0][0]) > 0.01 * losses[0][0]:
            return not_run(f"{name}, {optimizer}: the losses do not move, which would show nothing")
        worst = max(worst, float((np.abs(losses[0] - losses[1]) / losses[0]).max()))
        report((index + 1) / len(cases))
    return compared(
        Evidence(
            f"{len(cases)} rows and optimizers, 30 steps: losses differ by a relative {worst:.1e} at most",
            {"largest relative difference": worst},
            largest_error=worst,
            tolerance=1e-11,
            seeds=(settings.seed,),
        )
    )


def _losses(configs: Sequence[TrainingConfig], eta0: float, data: Dataset, seed: int) -> list[Array]:
    """Losses along runs in double precision that begin with the same function."""
    run_groups = [RunGroup(config, data, Probe(config, data), (Run(24, eta0, seed),)) for config in configs]
    for group in run_groups[1:]:
        pairs = zip(group.parameters, group.rows, run_groups[0].parameters, run_groups[0].rows, strict=True)
        for parameter, row, given, rule in pairs:
            with torch.no_grad():
                parameter.copy_(given * (rule.multiplier / row.multiplier))
    found = []
    for group in run_groups:
        events = (event for event in group.train() if isinstance(event, Measurement))
        found.append(np.array([event.values["loss"] for event in events]))
    return found


def _equation_1(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """The readout of Eq. 1 under muP's learning rate."""
    fits, table = _fitted(_Case("mlp", "mup"), EQUATION_1, settings, report)
    predicted = width_exponents(EQUATION_1, "hidden").own_change
    found = fits["hidden.0"]
    correction = Correction(
        published="f = W_L phi(h_L) / gamma with gamma = gamma0 sqrt(N), eta = eta0 gamma^2 is muP",
        instead="the readout needs its 1/sqrt(N) as every other layer: f = W_L phi(h_L)/(gamma sqrt(N)), as "
        "in Section 5; without it hidden features change as sqrt(N)",
        counterexample=f"an MLP at widths 64 to 512: hidden features change as N^{found:.2f} in a step "
        f"(derived: N^{predicted}), with the factor as N^{fits['corrected hidden.0']:.2f}",
    )
    return corrected(
        published_fails=abs(found - float(predicted)) < 0.1 and not regime(EQUATION_1).stable,
        instead_holds=abs(fits["corrected hidden.0"]) < 0.1 and regime(parametrization("mup")).maximal,
        evidence=Evidence(
            "unstable as printed, maximal with the factor", fits, correction=correction, tables=(table,),
            seeds=tuple(range(settings.seed, settings.seed + SCALED_SEEDS)),
        ),
    )  # fmt: skip


def _table_1(settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """Table 1's learning rates for Adam, in the first and the last layer."""
    fits, table = _fitted(_Case("mlp", "mup", ADAM), TABLE_1, settings, report)
    predicted = {kind: width_exponents(TABLE_1, kind, ADAM).own_change for kind in ("input", "readout")}
    correction = Correction(
        published="Adam at eta0 N^(-1/2) L^(-1/2), the layers outside of blocks rescaled by L^(1/2)",
        instead="by (N L)^(1/2), with the variance divided by N L: the rate is that of hidden weights, whose "
        "fan-in grows, and slows the first and the last layer down as N^(-1/2)",
        counterexample=f"an MLP at widths 64 to 512: the first layer's own change goes as "
        f"N^{fits['first']:.2f}, the readout's as N^{fits['readout']:.2f} (derived: "
        f"N^{predicted['input']} and N^{predicted['readout']}), with the factor as "
        f"N^{fits['corrected first']:.2f} and N^{fits['corrected readout']:.2f}",
    )
    layers = ("first", "readout")
    return corrected(
        published_fails=all(abs(fits[name] + 0.5) < 0.1 for name in layers)
        and set(predicted.values()) == {-HALF},
        instead_holds=all(abs(fits[f"corrected {name}"]) < 0.1 for name in layers)
        and regime(parametrization("mup"), ADAM).maximal,
        evidence=Evidence(
            "as printed the first and the last layer stop learning as the network widens", fits,
            correction=correction, tables=(table,),
            seeds=tuple(range(settings.seed, settings.seed + SCALED_SEEDS)),
        ),
    )  # fmt: skip


def _fitted(
    case: _Case, published: Parametrization, settings: Settings, report: Callable[[float], None]
) -> tuple[dict[str, float], Table]:
    """Exponents of layers' own changes, as published and under muP."""
    fits: dict[str, float] = {}
    rows = []
    for index, (prefix, row) in enumerate((("", published), ("corrected ", parametrization("mup")))):
        found = case.check(settings, "width", row)
        for fit in found.fits:
            if fit.quantity == "own_change":
                fits[prefix + fit.layer] = fit.exponent
                rows.append((row.title, fit.layer, fit.exponent, *fit.interval, fit.predicted[0]))
        report((index + 1) / 2)
    columns = ("row", "layer", "exponent", "from", "to", "derived")
    return fits, Table("exponents in width of a layer's own change in a step", columns, tuple(rows))


def _coordinates(
    size: str, cases: Sequence[_Case], settings: Settings, report: Callable[[float], None]
) -> CheckResult:
    """Coordinate checks of several networks."""
    rows = []
    for index, case in enumerate(cases):
        found = case.check(settings, size)
        if found.verdict == UNDECIDED:
            found = case.check(settings, size, seeds=3 * SCALED_SEEDS)
        rows.append((case.name, case.table, case.optimizer, len(found.fits), found.sentence))
        report((index + 1) / len(cases))
    passed = sum(row[-1].startswith(PASSED) for row in rows)
    undecided = sum(row[-1].startswith(UNDECIDED) for row in rows)
    columns = ("network", "row", "optimizer", "exponents", "result")
    evidence = Evidence(
        f"{passed} of {len(rows)} checks passed, {sum(row[3] for row in rows)} exponents in {size}",
        tables=(Table("coordinate checks", columns, tuple(rows)),),
        seeds=tuple(range(settings.seed, settings.seed + SCALED_SEEDS)),
    )
    if passed + undecided < len(rows):
        return CheckResult(Verdict.REFUTED, evidence)
    return CheckResult(Verdict.NOT_RUN if undecided else Verdict.VERIFIED, evidence)


SCALING_CLAIMS = (
    Claim(
        id="table-regimes",
        room="theory",
        statement="muP and Depth-muP move every layer maximally under SGD and Adam; NTP is lazy, SP unstable",
        source="Section 2; Yang and Hu 2021",
        kind=Kind.SYMBOLIC,
        method="exponents of changes derived from the table as exact fractions, in width and in depth",
        check=_regimes,
    ),
    Claim(
        id="equation-1-readout",
        room="neural",
        statement="f = W_L phi(h_L)/gamma with gamma = gamma0 sqrt(N) and eta = eta0 gamma^2 is muP",
        source="Eq. 1 and Section 2",
        kind=Kind.NUMERIC,
        method="exponents derived; MLPs of widths 64 to 512 measured for a step",
        check=_equation_1,
    ),
    Claim(
        id="table-1-adam",
        room="neural",
        statement="Depth-muP for Adam: eta0 N^(-1/2) L^(-1/2), layers outside of blocks rescaled by L^(1/2)",
        source="Table 1, Appendix K",
        kind=Kind.NUMERIC,
        method="exponents derived; MLPs of widths 64 to 512 measured for a step",
        check=_table_1,
    ),
    Claim(
        id="abc-equivalence",
        room="neural",
        statement="Multiplier, variance and learning rate can be traded without changing any loss",
        source="Appendix J.2; Yang et al. 2022, Lemma J.1",
        kind=Kind.NUMERIC,
        method="an MLP in two forms from the same weights, SGD and Adam, double precision",
        check=_equivalence,
    ),
    Claim(
        id="coordinates-width",
        room="neural",
        statement="Every layer moves with the width as the table says, under muP, NTP and SP",
        source="Appendix J.5, Figure 28",
        kind=Kind.EMPIRICAL,
        method=(
            f"coordinate checks at widths {', '.join(map(str, SCALED_WIDTHS))}, {SCALED_SEEDS} seeds, "
            "tolerance 0.1"
        ),
        check=partial(_coordinates, "width", _WIDTH_CASES),
    ),
    Claim(
        id="coordinates-depth",
        room="neural",
        statement="Under Depth-muP every layer moves with the depth as the table says",
        source="Section 2, infinite depth",
        kind=Kind.EMPIRICAL,
        method=(
            f"coordinate checks at depths {', '.join(map(str, SCALED_DEPTHS))}, {SCALED_SEEDS} seeds, "
            "tolerance 0.1"
        ),
        check=partial(_coordinates, "depth", _DEPTH_CASES),
    ),
)
