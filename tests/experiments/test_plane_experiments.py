"""The infinite-width map as experiments, and Figure 28."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from superconsistency.errors import InputError
from superconsistency.experiments import EXPERIMENTS, SMOKE, over
from superconsistency.experiments.answering import ask
from superconsistency.experiments.judging import claim_verdicts, judge
from superconsistency.experiments.latent.portrait import portrait_of
from superconsistency.experiments.running import Circumstances, empty, run
from superconsistency.neural import TrainingConfig, load_images, network
from superconsistency.neural.coordinates import CoordinateCheck, coordinate_check
from superconsistency.runner import DataChoice
from superconsistency.runner.analysis_model import analysis
from superconsistency.simulations.attractors import DOUBLING, bifurcation_diagram
from superconsistency.simulations.basins import OrbitFate, find_outcomes
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED
from superconsistency.theory import PlanarMap, parametrization

SETTINGS: dict[str, dict[str, Any]] = {
    "bifurcation": {"points": 4, "settle": 500, "average": 128},
    "phase-plane": {"width": (8, 4), "seed": (3, 4), "steps": 5},
    "coordinates": {"width": (2, 4), "seed": (0, 1), "steps": (1, 3), "examples": 8},
}


def values(name: str, **given: Any) -> dict[str, Any]:
    about = analysis(name)
    axes = {axis: labels[0] for axis, (_, labels) in about.axes.items()}
    return {**about.defaults, **axes, **SETTINGS[name], **given}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("bifurcation", {}),
        ("coordinates", {}),
        *(("phase-plane", {"plane": plane}) for plane in ("ap", "xy", "gr")),
        ("phase-plane", {"width": ()}),
        ("phase-plane", {"learning_rate": 9.0}),
    ],
)
def test_a_plan_is_its_dataset_without_the_values(name: str, given: dict[str, Any]) -> None:
    about = analysis(name)
    chosen = values(name, **given)
    planned, done = about.plan(chosen), about.run(chosen, lambda *_: None)
    assert planned.attrs == done.attrs
    assert set(planned.variables) == set(done.variables)
    for key, part in planned.variables.items():
        assert (part.dims, part.dtype, part.attrs) == (done[key].dims, done[key].dtype, done[key].attrs)
    for key in planned.coords:
        np.testing.assert_array_equal(planned[key], done[key])


def test_a_diagram_along_factors_is_the_diagram_along_rates() -> None:
    done = analysis("bifurcation").run(values("bifurcation"), lambda *_: None)
    record = bifurcation_diagram(20, 3.0, factors=np.linspace(0.5, 2, 4).tolist(), settle=500, average=128)
    for name in ("sharpness", "period", "lyapunov", "diverged_step"):
        np.testing.assert_array_equal(done[name], record[name])
    np.testing.assert_allclose(done["factor"], record["factor"], rtol=1e-14)
    assert float(done["second_doubling"]) == DOUBLING


def test_bifurcations_are_found_where_they_are_predicted_as_far_as_the_grid_resolves() -> None:
    fine = {"low": 0.98, "high": 1.02, "points": 21, "settle": 20_000, "average": 128}
    verdicts = claim_verdicts(asked("bifurcation", fine))
    assert verdicts["period two begins at the edge"] == SHOWN
    assert verdicts["period two doubles where it is predicted to"] == UNDECIDED
    fine = {"low": 1.91, "high": 1.94, "points": 16, "settle": 1000, "average": 128}
    assert claim_verdicts(asked("bifurcation", fine))["the start diverges where it is predicted to"] == SHOWN
    coarse = {"low": 0.5, "high": 2.0, "points": 16, "settle": 1000, "average": 1024}
    assert set(claim_verdicts(asked("bifurcation", coarse)).values()) == {UNDECIDED}
    fine = {"low": 1.2, "high": 1.4, "points": 101, "settle": 1000, "average": 1024}
    assert claim_verdicts(asked("bifurcation", fine))["chaos begins beyond the second doubling"] == SHOWN


def test_a_bifurcation_elsewhere_is_refuted() -> None:
    one = EXPERIMENTS["bifurcation"]
    runs = dict(run(one, SMOKE, None, Circumstances(given={"points": 181, "settle": 1000, "average": 128})))
    (name,) = runs
    assert claim_verdicts(judge(one, runs))["the start diverges where it is predicted to"] == UNDECIDED
    moved = runs[name].assign(divergence=runs[name]["divergence"] - 0.1)
    assert claim_verdicts(judge(one, {name: moved}))["the start diverges where it is predicted to"] == REFUTED


def asked(name: str, given: dict[str, Any]) -> Any:
    return ask(EXPERIMENTS[name], SMOKE, circumstances=Circumstances(given=given)).findings


def plane(**given: Any) -> xr.Dataset:
    return analysis("phase-plane").run(values("phase-plane", **given), lambda *_: None)


@pytest.mark.parametrize(("factor", "period"), [(0.5, 1), (1.15, 2), (1.24, 4), (1.9, 0), (2.1, 0)])
def test_the_fate_of_the_start_is_that_of_the_map(factor: float, period: int) -> None:
    edge = PlanarMap(20, 3.0, 1.0).edge
    found = plane(dimension=20, target_norm=3.0, learning_rate=factor * edge)
    planar = PlanarMap(20, 3.0, factor * edge)
    assert int(found["fate"]) == find_outcomes(planar, planar.start, 20_000).outcome
    assert int(found["period"]) == period
    assert float(found["bounded"]) == (factor < 1.92)
    assert np.isfinite(found["fate_sharpness"]) == (factor < 1)
    assert int(np.isfinite(found["cycle_alignment"]).sum()) == period
    assert int(found["fate"]) == OrbitFate.DIVERGED or float(found["fate_steps"]) > 0
    assert float(found["share"].sum()) == pytest.approx(1)


def test_networks_of_a_plane_are_sorted_and_end_with_the_limit() -> None:
    found = plane(width=(64, 8), plane="gr")
    assert found["width"].to_numpy().tolist() == [8, 64, np.inf]
    assert {"residual_sharpness", "ntk_sharpness", "alignment", "loss"} <= set(found.data_vars)
    limit = found.isel(width=-1)
    assert (limit["loss"].isel(seed=0) == limit["loss"].isel(seed=1)).all()


def claims_at(factor: float, widths: tuple[int, ...] = (64, 1024)) -> dict[str, str]:
    planar = PlanarMap(3, 1.0, factor * PlanarMap(3, 1.0, 1.0).edge)
    return {
        name: str(verdict)
        for name, verdict in claim_verdicts(ask(portrait_of(planar, widths)).findings).items()
    }


def test_the_claims_about_one_rate_are_those_of_its_place() -> None:
    stable, wide = "the limit comes to a stable minimizer", "wide networks end where the limit does"
    assert claims_at(0.5) == dict.fromkeys(("the start stays bounded", stable, wide), SHOWN)
    assert claims_at(0.5, (64,)) == dict.fromkeys(("the start stays bounded", stable), SHOWN)
    assert claims_at(1.2) == {"the start stays bounded": SHOWN}
    assert claims_at(2.5) == {"the start diverges": SHOWN}


def test_a_map_that_leaves_its_minimizer_is_refuted() -> None:
    one = EXPERIMENTS["portrait"]
    runs = dict(run(one, SMOKE))
    runs["below the edge"] = runs["beyond the edge"]
    assert claim_verdicts(judge(one, runs))["the limit comes to a stable minimizer below the edge"] == REFUTED


@pytest.mark.parametrize(
    "wrong",
    [
        {"plane": "zz"},
        {"steps": 0},
        {"width": (0,)},
        {"seed": (-1,)},
        {"learning_rate": -1.0},
        {"factor": 0.0},
    ],
)
def test_a_plane_refuses_what_it_cannot_follow_before_it_runs(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        analysis("phase-plane").plan(values("phase-plane", **wrong))


def planned(data: DataChoice) -> dict[str, Any]:
    (runs,) = empty(EXPERIMENTS["28"], SMOKE, Circumstances(data, device="cpu")).values()
    return dict(runs.attrs)


def test_figure_28_is_planned_with_the_data_and_the_device_of_the_circumstances() -> None:
    whole, part = planned(DataChoice()), planned(DataChoice(examples=100))
    assert whole["data_hash"] == load_images().hash != part["data_hash"]
    assert '"device": "cpu"' in whole["configuration"]
    with pytest.raises(InputError, match="kind of the data is vectors; accepted: images"):
        planned(DataChoice("random"))


def test_figure_28_has_the_activations_of_the_coordinate_check() -> None:
    found = analysis("coordinates").run(values("coordinates"), lambda *_: None)
    config = TrainingConfig(parametrization("mup"), architecture=network("convnet"))
    check = CoordinateCheck(config, 0.7, sizes=(2, 4), steps=(1, 3), seeds=(0, 1))
    record = coordinate_check(check, load_images(), examples=8).record
    later = record["later_activation"].sel(seed=[0, 1]).transpose("layer", "size", "seed", "step")
    whole = np.concatenate([found["activation"], found["readout_activation"].to_numpy()[None]])
    np.testing.assert_allclose(whole, later, rtol=1e-5)
    start = record["activation"].isel(step=0).sel(layer="readout").transpose("size", "seed")
    np.testing.assert_allclose(found["readout_start_activation"], start, rtol=1e-5)
    assert found.sizes["initialization"] == 8


@pytest.mark.parametrize(("exponent", "verdict"), [(0.0, SHOWN), (0.3, REFUTED)])
def test_figure_28_finds_a_planted_dependence_on_width(exponent: float, verdict: str) -> None:
    one = EXPERIMENTS["28"]
    given = {"width": over(64, 128, 256), "seed": over(*range(8))}
    (runs,) = empty(one, SMOKE, Circumstances(given=given)).values()
    runs = runs.copy(deep=True).load()
    generator = np.random.default_rng(0)
    for name, power in (("activation", exponent), ("readout_start_activation", -0.5)):
        noise = np.exp(0.01 * generator.standard_normal(runs[name].shape))
        runs[name] = runs[name].fillna(1.0) * noise * runs["width"] ** power
    runs["completed"] = runs["completed"] * 0 + 1
    verdicts = claim_verdicts(judge(one, {"μP": runs}))
    assert verdicts["no hidden activation depends on width"] == verdict
    assert verdicts["the readout starts as predicted"] == SHOWN


@pytest.mark.parametrize(
    "arguments",
    [
        ["portrait", "--widths", "8", "--steps", "2", "--no-basins"],
        ["bifurcation", "--points", "3"],
        ["figure"],
    ],
)
def test_the_commands_of_the_plane_load_neither_torch_nor_sympy(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom superconsistency.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print({'torch', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip().splitlines()[-1] == "set()"
