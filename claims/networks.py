"""Claims about real networks on real images: findings of an experiment."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import torch

from ..experiments.answering import ask
from ..experiments.paper.trained import FALLS, STAYS, TRAINED_SHARPNESS
from ..experiments.running import Circumstances
from ..neural import load_images
from ..runner import DataChoice
from ..stats.verdicts import REFUTED, SHOWN
from .ledger import CheckResult, Claim, Evidence, Kind, Settings, Verdict, not_run

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def _data_name(settings: Settings) -> str:
    return load_images(settings.data_dir, download=settings.download).name


def _finding(name: str, settings: Settings, report: Callable[[float], None]) -> CheckResult:
    """What the experiment finds about one of its claims."""
    folder = None if settings.data_dir is None else str(settings.data_dir)
    circumstances = Circumstances(
        DataChoice(folder=folder, download=settings.download),
        torch.get_num_threads(),
        settings.device,
        settings.seed,
    )
    answer = ask(
        TRAINED_SHARPNESS.about(name),
        circumstances=circumstances,
        seed=settings.seed,
        on_progress=lambda done, whole: report(done / whole),
    )
    (finding,) = answer.findings
    if finding.open:
        return not_run(f"{_data_name(settings)}: {finding.open}")
    verdicts = {SHOWN: Verdict.VERIFIED, REFUTED: Verdict.REFUTED}
    if finding.verdict not in verdicts:
        return not_run(f"{_data_name(settings)}: undecided: {finding.words}")
    (runs,) = answer.runs.values()
    tables = tuple(one.table(answer.runs) for one in answer.experiment.tables)
    means = ", ".join(f"{row[2]:.3g} at {row[1]:g}" for one in tables for row in one.rows)
    figures = finding.document() | {"data_hash": runs.attrs["data_hash"], "steps": int(runs["step"][-1])}
    summary = f"{_data_name(settings)}: final sharpness {means}; {finding.words}"
    seeds = tuple(int(seed) for seed in runs["seed"])
    return CheckResult(verdicts[finding.verdict], Evidence(summary, figures, seeds=seeds, tables=tables))


def _claim(identity: str, statement: str, source: str, name: str) -> Claim:
    method = f"experiment {TRAINED_SHARPNESS.name}: {TRAINED_SHARPNESS.title}"
    return Claim(identity, "neural", statement, source, Kind.EMPIRICAL, method, partial(_finding, name))


NETWORK_CLAIMS = (
    _claim(
        "mup-sharpness-width-free",
        "Trained on images under muP, the sharpness is the same at every width, to 15%",
        "Figure 1, top",
        STAYS,
    ),
    _claim(
        "ntp-sharpness-falls",
        "Trained on images under NTP, the sharpness falls with width, log-log slope below -0.3",
        "Figure 1, bottom",
        FALLS,
    ),
)
