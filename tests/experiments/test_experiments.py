"""Every experiment plans, judges, draws and tells without a run; what does not fit is refused before it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.experiments import (
    EXPERIMENTS,
    FIRST,
    LAST,
    PAPER,
    SMOKE,
    Arm,
    Experiment,
    Series,
    Setup,
    Statement,
    experiment,
    over,
)
from superconsistency.experiments.criteria import GROWS, TRANSFERS, Criterion, free_of_width
from superconsistency.experiments.drawing import draw
from superconsistency.experiments.judging import claim_verdicts, judge
from superconsistency.experiments.panels import Curves
from superconsistency.experiments.running import Circumstances, empty, run
from superconsistency.experiments.telling import caption, document
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED

NAMES = pytest.mark.parametrize("name", list(EXPERIMENTS))
Runs = Mapping[str, xr.Dataset]


@NAMES
@pytest.mark.parametrize("scale", [SMOKE, PAPER])
def test_every_experiment_is_judged_undecided_drawn_and_told_before_anything_has_run(
    name: str, scale: str
) -> None:
    one = EXPERIMENTS[name]
    runs = empty(one, scale)
    findings = judge(one, runs)
    assert set(claim_verdicts(findings).values()) == {UNDECIDED}
    assert all("runs are missing" in finding.sentence for finding in findings)
    assert {finding.claim for finding in findings} == {claim.name for claim in one.claims}
    told = document(one, findings, runs, scale)
    assert told["caption"] == caption(one, findings)
    assert all(about["completed"] == 0 < about["runs"] for about in told["arms"].values())
    plt.close(draw(one, runs))


@NAMES
def test_every_claim_says_what_is_claimed_and_every_panel_what_it_shows(name: str) -> None:
    one = EXPERIMENTS[name]
    assert len({claim.name for claim in one.claims}) == len(one.claims) > 0
    assert all(panel.heading for row in one.panels for panel in row)
    assert set(one.scales) == {"smoke", "laptop", "paper"}
    assert one.source.startswith(("Noci et al. 2024, ", "beyond the paper"))


FREE = free_of_width(0)

TOY = Experiment(
    "toy", "A latent system", "Theorem 5.1",
    arms=(Arm("μP", {"parametrization": "mup", "dimension": 4}, "latent"),),
    scales={
        SMOKE: Setup(
            {
                "width": over(64, 256, 1024), "learning_rate": over(0.2, 0.4), "seed": over(0, 1, 2),
                "steps": 8,
            }
        )
    },
    claims=(Statement("sharpness", FREE, (Series("μP", "sharpness", {"learning_rate": FIRST}),)),),
    panels=((Curves((Series("μP", "loss"),)),),),
)  # fmt: skip


def claiming(*series: Series, criterion: Criterion = FREE, each: str | None = None) -> Experiment:
    return replace(TOY, claims=(Statement("claim", criterion, series, each),))


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (Series("μP", "sharpness", {"learning_rate": 0.3}), "learning_rate of μP is 0.3; accepted: 0.2, 0.4"),
        (Series("μP", "sharpness", {"warmup": 3}), "axis of μP is warmup; accepted: parametrization"),
        (Series("μP", "sharpness"), "axis of μP is learning_rate; accepted: places on every axis but"),
        (Series("μP", "colour"), "recorded quantity is colour; accepted: "),
    ],
)
def test_what_the_runs_do_not_have_is_refused_before_anything_runs(series: Series, words: str) -> None:
    one = claiming(series)
    with pytest.raises(InputError, match=words):
        judge(one, empty(one, SMOKE))


def test_an_arm_that_does_not_exist_is_refused_when_the_experiment_is_made() -> None:
    with pytest.raises(InputError, match="arm of experiment toy is NTP; accepted: μP"):
        claiming(Series("NTP", "loss"))
    with pytest.raises(InputError, match="claims of experiment toy"):
        replace(TOY, claims=TOY.claims * 2)
    with pytest.raises(InputError, match="scale of experiment toy is paper; accepted: smoke"):
        TOY.at(PAPER)
    with pytest.raises(InputError, match="experiment is 99; accepted: 1, 2, 3"):
        experiment("99")


def test_settings_of_a_person_go_before_the_scale_which_goes_before_the_arm() -> None:
    one = Experiment(
        "x", "", "", (Arm("a", {"depth": 1, "k": 1, "width": 1, "seed": 1}), Arm("b", {"depth": 1})),
        {
            SMOKE: Setup(
                {"k": 2, "width": 2, "seed": 2}, {"a": {"width": 3, "seed": 3}}, {"digits": {"seed": 4}}
            )
        },
        (), ((Curves((Series("a", "loss"),)),),),
    )  # fmt: skip
    a, b = one.at(SMOKE)
    assert a.settings == {"depth": 1, "k": 2, "width": 3, "seed": 3}
    assert b.settings == {"depth": 1, "k": 2, "width": 2, "seed": 2}
    a, _ = one.at(SMOKE, "digits", width=9)
    assert a.settings == {"depth": 1, "k": 2, "width": 9, "seed": 4}


def test_quantities_follow_from_claims_and_panels() -> None:
    assert TOY.quantities("μP") == ("loss", "sharpness")
    assert EXPERIMENTS["3"].quantities("μP") == ("loss", "ntk_sharpness", "sharpness")
    assert "eigenvalue_10" in EXPERIMENTS["2"].quantities("μP")
    assert claiming(Series("μP", "loss", {"learning_rate": LAST})).quantities("μP") == ("loss", "sharpness")


def test_an_experiment_resumes_from_its_folder_and_is_judged_again_without_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(TOY, SMOKE, tmp_path)
    findings = judge(TOY, first)

    def forbidden(*_arguments: object, **_settings: object) -> None:
        raise AssertionError("it ran again")

    monkeypatch.setattr("superconsistency.runner.latent_model.simulate", forbidden)
    again = run(TOY, SMOKE, tmp_path)
    assert all(first[name].identical(again[name]) for name in first)
    assert repr(judge(TOY, again)) == repr(findings)
    assert len(list(tmp_path.iterdir())) == len(TOY.arms)


def test_the_same_seed_gives_the_same_findings_and_claims_do_not_share_randomness() -> None:
    runs = run(TOY, SMOKE)
    assert repr(judge(TOY, runs, 1)) == repr(judge(TOY, runs, 1))
    two = replace(TOY, claims=(*TOY.claims, replace(TOY.claims[0], name="again")))
    one, other = judge(two, runs)
    assert repr(one) == repr(judge(TOY, runs)[0])
    assert repr(one.value) == repr(other.value)


def planted(exponent: float, *, spread: float = 0.01) -> Runs:
    """Runs whose sharpness is above the edge and goes as a power of the width."""
    runs = {name: part.copy(deep=True).load() for name, part in empty(TOY, SMOKE).items()}
    part = runs["μP"]
    noise = np.exp(spread * np.random.default_rng(0).standard_normal(part["sharpness"].shape))
    edge = 2 / part["learning_rate"]
    sharpness = 4.0 * edge * (part["width"] / 256.0) ** exponent
    part["sharpness"] = sharpness.broadcast_like(part["loss"]).transpose(*part["loss"].dims) * noise
    part["edge_of_stability"] = edge.broadcast_like(part["completed"]).transpose(*part["completed"].dims)
    part["loss"] = part["sharpness"] * 0 + 1.0
    part["completed"] = part["completed"] * 0 + 1
    return runs


@pytest.mark.parametrize(("exponent", "expected"), [(0.0, SHOWN), (-0.5, REFUTED), (0.3, REFUTED)])
def test_a_planted_dependence_on_width_is_found(exponent: float, expected: str) -> None:
    (found,) = judge(TOY, planted(exponent, spread=0.005))
    assert found.verdict == expected


def test_a_claim_is_scored_along_an_axis_and_holds_if_it_holds_at_every_value() -> None:
    one = claiming(Series("μP", "sharpness"), each="learning_rate")
    findings = judge(one, planted(0.0, spread=0.005))
    assert [finding.of for finding in findings] == ["μP (learning rate 0.2)", "μP (learning rate 0.4)"]
    assert claim_verdicts(findings) == {"claim": SHOWN}


def test_missing_runs_leave_a_claim_open_and_diverged_ones_are_not_missing() -> None:
    runs = planted(0.0)
    runs["μP"]["completed"][{"seed": 0, "width": 0}] = 0
    (found,) = judge(TOY, runs)
    assert found.verdict == UNDECIDED
    assert found.open == "1 of 9 runs are missing"
    runs = planted(0.0)
    part = runs["μP"]
    part["diverged_step"][{"width": 0}] = 4
    part["sharpness"] = part["sharpness"].where((part["diverged_step"] < 0) | (part["step"] < 4))
    (found,) = judge(TOY, runs)
    assert "missing" not in found.open


def test_one_seed_never_decides_whether_a_learning_rate_transfers() -> None:
    for one in EXPERIMENTS.values():
        for claim in one.claims:
            if claim.criterion is TRANSFERS:
                for arm in one.at("laptop"):
                    if arm.name in {series.arm for series in claim.series}:
                        assert len(arm.settings["seed"]) > 1


def test_a_power_law_needs_a_span_of_time() -> None:
    one = claiming(Series("μP", "distance_of_loss", {"learning_rate": FIRST}), criterion=GROWS)
    (found,) = judge(one, run(one, SMOKE))
    assert found.verdict == UNDECIDED


def test_listing_experiments_loads_neither_torch_nor_matplotlib_nor_sympy() -> None:
    code = (
        "import sys, superconsistency.experiments as e; print(len(e.EXPERIMENTS), "
        "{'torch', 'matplotlib', 'sympy', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{len(EXPERIMENTS)} set()"


@pytest.mark.parametrize("given", [{"width": over(4, 8)}, {"steps": 4}])
def test_circumstances_change_what_is_planned(given: dict[str, Any]) -> None:
    runs = empty(TOY, SMOKE, Circumstances(given=given))
    name = "step" if "steps" in given else "width"
    assert runs["μP"].sizes[name] != empty(TOY, SMOKE)["μP"].sizes[name]


@pytest.mark.parametrize("one", EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_an_experiment_beyond_the_paper_says_of_no_claim_that_it_was_published(one: Experiment) -> None:
    if one.source == "beyond the paper":
        assert {claim.published for claim in one.claims} == {""}
