"""What the experiments on the two-layer linear network find: the edge, error bars, Figures 5 and 10."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency.experiments import LAPTOP, SMOKE, Arm, Experiment, Setup, over
from superconsistency.experiments.answering import Answer, ask
from superconsistency.experiments.base import StableShare
from superconsistency.experiments.judging import claim_verdicts, judge
from superconsistency.experiments.latent.edge import EDGE_APPROACH, edge_of
from superconsistency.experiments.latent.error_bars import ERROR_BARS
from superconsistency.experiments.paper.two_layer import FIGURE_5, FIGURE_10
from superconsistency.experiments.running import Circumstances, empty, run
from superconsistency.experiments.series import DERIVED
from superconsistency.records.paired_steps import edge_schedule
from superconsistency.simulations import Ensemble, simulate
from superconsistency.simulations.edge import approach_edge, random_data, sharpening_on_data
from superconsistency.stats.verdicts import REFUTED, SHOWN
from superconsistency.theory import IsotropicTarget, final_sharpness_mup, uniform_target


def asked(experiment: Experiment, **given: Any) -> Answer:
    return ask(experiment, LAPTOP, circumstances=Circumstances(given=given))


def near_edge(name: str = "mup", **changes: Any) -> Experiment:
    settings: dict[str, Any] = {
        "dimension": 3, "target_norm": 1.0, "widths": (64, math.inf), "shares": (0.5, 0.9, 1.05),
        "steps": 300, "seeds": 2,
    }  # fmt: skip
    return edge_of(name, **settings | changes)


@pytest.mark.parametrize("name", ["mup", "ntp", "sp"])
def test_the_experiments_runs_are_those_of_approach_edge_to_the_bit(name: str) -> None:
    widths = (40, 160)
    runs = run(near_edge(name, widths=widths), LAPTOP)
    (found,) = runs.values()
    plain = approach_edge(
        name, IsotropicTarget(3, 1.0), widths=widths, relative_rates=(0.5, 0.9, 1.05), seeds=(0, 1), steps=300
    )
    for variable in ("learning_rate", "loss", "sharpness", "diverged_step"):
        np.testing.assert_array_equal(found[variable].squeeze(), plain[variable])


def test_figure_10_runs_the_target_of_ones() -> None:
    (found,) = (run(FIGURE_10, SMOKE)[name] for name in ("NTP",))
    ensemble = Ensemble("ntp", np.ones(100), (300, 1000), (2.5, 5.0, 10.0), (0, 1, 2))
    whole = simulate(ensemble, record_at=range(41))["loss"]
    np.testing.assert_allclose(found["loss"].squeeze(), whole, rtol=1e-9)


def test_figure_5_runs_the_data_of_its_own_seed() -> None:
    data = random_data(100, uniform_target(20, 2.0), np.random.default_rng(0))
    plain = sharpening_on_data("mup", data, widths=(50,), learning_rate=0.75, seeds=(3, 4), steps=30)
    few = {"width": over(50), "seed": over(0, 1)}
    found = run(FIGURE_5, SMOKE, circumstances=Circumstances(given=few, first_seed=3))["μP"]
    np.testing.assert_array_equal(found["gauss_newton"].squeeze(), plain["gauss_newton"].squeeze())
    other = run(FIGURE_5, SMOKE, circumstances=Circumstances(given=few | {"data_seed": 1}, first_seed=3))
    assert not np.allclose(other["μP"]["loss"], found["loss"])


def test_learning_rates_are_shares_of_the_narrowest_edge_or_of_the_largest_stable_rate() -> None:
    def rates(at: str) -> list[float]:
        settings = {
            "parametrization": "ntp", "dimension": 4, "target_norm": 2.0, "width": over(25, 100),
            "learning_rate": over(StableShare(0.25, at), StableShare(0.5, at)), "seed": over(0, 1),
        }  # fmt: skip
        one = replace(near_edge(), arms=(Arm("μP", settings, "latent"),), scales={LAPTOP: Setup()})
        found: list[float] = empty(one, LAPTOP)["μP"]["learning_rate"].to_numpy().tolist()
        return found

    assert rates("edge") == pytest.approx([1.25, 2.5])
    assert rates("start")[1] == pytest.approx(2 * rates("start")[0])
    assert rates("start")[0] < 1.25
    with pytest.raises(Exception, match="largest stable learning rate is middle; accepted: start, edge"):
        rates("middle")


def test_the_edge_is_found_at_every_width_under_mup_and_not_by_wide_networks_under_ntp() -> None:
    answer = ask(EDGE_APPROACH, SMOKE)
    assert set(claim_verdicts(answer.findings).values()) == {SHOWN}
    rows = {table.title.partition(":")[0]: table.rows for table in answer.tables}
    ends = {name: [row[3] for row in rows[name]] for name in ("μP", "NTP")}
    assert ends["μP"] == pytest.approx([0.97] * 4, abs=0.01)
    assert ends["NTP"][0] > 0.9
    assert ends["NTP"][-1] < 0.4
    assert [row[6] for row in rows["μP"]] == [4] * 4
    assert [row[6] for row in rows["NTP"]] == [2, "never", "never", "never"]


@pytest.mark.parametrize(("name", "claims"), [("mup", 3), ("ntp", 1)])
def test_a_persons_own_rates_are_judged_as_far_as_the_theory_reaches(name: str, claims: int) -> None:
    answer = asked(near_edge(name, target_norm=5.0, widths=(64, math.inf) if name == "mup" else (64, 256)))
    assert [finding.verdict for finding in answer.findings] == [SHOWN] * claims
    assert len(answer.tables[0].rows) == 6
    assert len(answer.experiment.panels[0]) == 3


def test_where_no_run_converges_nothing_is_said_of_where_they_end() -> None:
    (found,) = asked(near_edge("sp", widths=(64, 256))).findings
    assert found.open == "no run converged"


@pytest.mark.parametrize(("shares", "claims"), [((0.5,), 2), ((1.1, 1.2), 1), ((1.0,), 0)])
def test_claims_below_and_beyond_the_edge_need_rates_there(shares: tuple[float, ...], claims: int) -> None:
    assert len(near_edge(shares=shares).claims) == claims
    assert len(asked(near_edge(shares=shares)).findings) == claims


def test_a_sharpness_outside_its_range_is_refuted() -> None:
    """The flattest minimizer of a larger target is sharper than where the runs end."""
    experiment = near_edge(shares=(0.5,))
    (name, runs), *_ = run(experiment, LAPTOP).items()
    wrong = runs.assign_attrs(configuration=runs.attrs["configuration"].replace('"norm": 1.0', '"norm": 1.2'))
    verdicts = claim_verdicts(judge(experiment, {name: wrong}))
    assert list(verdicts.values()) == [REFUTED, REFUTED]


def test_places_between_the_ends_are_exact() -> None:
    (runs,) = run(near_edge(), LAPTOP).values()
    runs = runs.squeeze("parametrization", drop=True)
    flow, flattest = final_sharpness_mup(3, 1.0), 2 / math.sqrt(3)
    edge = 2 / runs["learning_rate"]
    for name, top in (("above_flattest", edge), ("below_flow", xr.full_like(edge, flow))):
        found = DERIVED[name].of(runs)
        np.testing.assert_allclose(found["learning_rate"], runs["learning_rate"][:2])
        part = runs["sharpness"].sel(width=found["width"], learning_rate=found["learning_rate"])
        whole = flattest + found * (top.sel(learning_rate=found["learning_rate"]) - flattest)
        np.testing.assert_allclose(whole.transpose(*part.dims), part)
    assert DERIVED["below_flow"].of(runs)["width"].to_numpy().tolist() == [math.inf]
    assert DERIVED["loss_left_beyond_edge"].of(runs).sizes["learning_rate"] == 1


def test_figure_10_finds_the_curves_aligned_under_mup_and_not_under_ntp() -> None:
    findings = {finding.of: finding for finding in asked(FIGURE_10).findings}
    assert {finding.verdict for finding in findings.values()} == {SHOWN}
    assert findings["μP"].value < 0.6
    assert findings["NTP"].value > 2


def test_figure_5_finds_g_sharpening_at_every_width_under_mup_and_less_and_less_under_ntp() -> None:
    answer = asked(FIGURE_5, width=over(50, 200, 1000), seed=over(*range(6)))
    rises, alike, falls = answer.findings
    assert (rises.verdict, falls.verdict) == (SHOWN, SHOWN)
    assert rises.value > 4
    assert abs(alike.value) < 0.1  # six seeds do not decide whether it is within 0.05
    assert -1.2 < falls.value < -0.6
    rows = {row[:2]: row[4] for row in answer.tables[0].rows}
    assert rows["μP", 1000.0] > 4
    assert 1 < rows["NTP", 1000.0] < 1.05


def test_the_error_bars_say_how_many_predictions_are_covered() -> None:
    answer = asked(ERROR_BARS, width=over(64, 1024, 16384), seed=over(*range(60)))
    (found,) = answer.findings
    assert found.value > 0.5
    wide = [row for row in answer.tables[0].rows if row[1] == 16384]
    assert [row[0] for row in wide] == ["sharpness", "loss", "second_layer", "alignment"]
    for row in wide:
        assert row[8] == pytest.approx(1, abs=4.5 / math.sqrt(120))
    cells = sum(row[7] for row in answer.tables[0].rows if row[0] != "alignment")
    assert f"of {cells} cells" in found.words


def test_the_alignment_is_no_trial_beside_the_loss() -> None:
    runs = run(ERROR_BARS, SMOKE)["μP"]
    assert "alignment" in runs["quantity"]
    assert "alignment" not in DERIVED["covered"].of(runs)["quantity"]
    alone = runs.sel(quantity=["sharpness", "alignment"])
    assert "alignment" in DERIVED["covered"].of(alone)["quantity"]


def test_the_edges_schedule_is_the_experiments() -> None:
    (runs,) = empty(near_edge(steps=50), LAPTOP).values()
    assert tuple(runs["step"].to_numpy().tolist()) == edge_schedule(50)
