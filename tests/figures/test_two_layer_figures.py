from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import typer
import xarray as xr
from matplotlib.axes import Axes
from superconsistency.cli.ensembles import edge_of_stability, error_bars
from superconsistency.errors import InputError
from superconsistency.figures import FigureSettings, save_drawing, two_layer
from superconsistency.figures import edge as edge_figures
from superconsistency.figures import fluctuations as fluctuation_figures
from superconsistency.figures.style import paper_style
from superconsistency.records import load_record
from superconsistency.simulations.edge import approach_edge
from superconsistency.theory import parametrization, uniform_target
from typer.testing import CliRunner


@pytest.fixture
def axes() -> Axes:
    _, axes = plt.subplots()
    return axes


@pytest.fixture(autouse=True)
def _close() -> object:
    yield
    plt.close("all")


def test_figure_5_finds_g_sharpening_at_every_width_under_mup_and_less_and_less_under_ntp(
    tmp_path: Path,
) -> None:
    calls: list[tuple[float, float]] = []
    with paper_style():
        drawing = two_layer.figure_5(FigureSettings(on_progress=lambda *call: calls.append(call)))
    slope, rise = "log-log slope of the excess over 1 on width", "final over initial, N = 1000"
    assert abs(drawing.numbers["μP"][slope]) < 0.15
    assert drawing.numbers["μP"][rise] > 4
    assert -1.2 < drawing.numbers["NTP"][slope] < -0.6
    assert 1 < drawing.numbers["NTP"][rise] < 1.05
    assert f"{drawing.numbers['NTP'][rise]:.2f}-fold at N = 1000" in drawing.verdict
    done, total = calls[-1]
    assert done == total
    paths = save_drawing(drawing, tmp_path / "figure")
    kept = json.loads(paths[2].read_text())["configuration"]
    assert kept["widths"] == [50, 100, 200, 500, 1000]
    assert "Gaussian" in kept["data"]


def test_an_arrow_is_the_mean_displacement_of_a_step(axes: Axes) -> None:
    dims = ("width", "seed", "step")
    runs = xr.Dataset(
        {
            "gauss_newton": (dims, [[[1.0, 2.0, 4.0], [3.0, 4.0, 6.0]]]),
            "residual": (dims, [[[1.0, 0.1, 0.01], [4.0, 0.4, 0.04]]]),
        },
        coords={"width": [8.0]},
    )
    assert two_layer.draw_hessian_parts(axes, runs) is axes
    arrows: Any = axes.collections[0]
    np.testing.assert_allclose(arrows.X, [2, 3])
    np.testing.assert_allclose(arrows.U, [1, 2])
    np.testing.assert_allclose(arrows.Y, [2, 0.2])
    np.testing.assert_allclose(arrows.V, [-1.8, -0.18])
    assert axes.get_yscale() == "log"


def test_a_width_whose_g_does_not_rise_leaves_the_slope_unstated() -> None:
    falling = xr.Dataset(
        {"gauss_newton": (("width", "seed", "step"), np.array([[[2.0, 1.0]], [[2.0, 1.5]]]))},
        coords={"width": [8.0, 16.0]},
    )
    found = two_layer._rise(falling)
    assert found == {"final over initial, N = 8": 0.5, "final over initial, N = 16": 0.75}


def test_the_edge_figure_finds_mup_at_the_edge_at_every_width_and_ntp_falling_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_figures, "_SEEDS", {"laptop": 2})
    monkeypatch.setattr(edge_figures, "_SHARES", (0.5, 0.99, 1.05))
    with paper_style():
        drawing = edge_figures.edge(FigureSettings())
    ends = {
        title: [drawing.numbers[f"{title}, N = {width}"] for width in (32, 2048)] for title in ("μP", "NTP")
    }
    final, step = "final sharpness times eta0/2", "median step at which they do"
    assert [end[final] for end in ends["μP"]] == pytest.approx([0.97, 0.97], abs=0.01)
    assert abs(ends["μP"][0][step] - ends["μP"][1][step]) <= 1
    assert ends["NTP"][1][final] < 0.4
    assert ends["NTP"][0][final] > 0.9
    assert ends["NTP"][1][step] is None
    assert "none" in drawing.verdict
    least, most = drawing.numbers["muP: final sharpness times eta0/2 there, least and most"]
    assert 0.98 < least <= most < 1
    assert all(path.stat().st_size > 0 for path in save_drawing(drawing, tmp_path / "figure"))


def test_runs_that_did_not_converge_are_hollow(axes: Axes) -> None:
    runs = approach_edge(
        parametrization("mup"), uniform_target(2, 1.0), widths=(50, math.inf), relative_rates=(0.5, 1.1),
        seeds=(0, 1), steps=200,
    )  # fmt: skip
    assert edge_figures.draw_final(axes, runs, flow_share=1.2) is axes
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    places = [np.asarray(line.get_xdata()).tolist() for line in hollow]
    assert [place for place in places if place] == [[1.1], [1.1]]


def test_the_error_bar_figure_says_how_many_predictions_are_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fluctuation_figures, "_WIDTHS", (64, 1024, 16384))
    monkeypatch.setattr(fluctuation_figures, "_SEEDS", {"laptop": 60})
    with paper_style():
        drawing = fluctuation_figures.error_bars(FigureSettings())
    assert len(drawing.figure.axes) == 9
    wide = [drawing.numbers[f"{name}, N = 16384"] for name in ("sharpness", "loss", "second_layer")]
    cells = sum(found["cells where first order holds"] for found in wide)
    assert f"of the {cells} cells" in drawing.verdict
    for found in wide:
        assert found["median of sampled over predicted"] == pytest.approx(1, abs=4.5 / math.sqrt(120))


def command(*arguments: str) -> tuple[int, str, BaseException | None]:
    app = typer.Typer()
    app.command()(error_bars)
    app.command()(edge_of_stability)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.exception


FAST = {
    "error-bars": ("--dim", "3", "--widths", "64,4096", "--seeds", "20", "--steps", "6"),
    "edge-of-stability": ("--dim", "3", "--widths", "64,inf", "--seeds", "2", "--steps", "60"),
}


@pytest.mark.parametrize("name", FAST)
def test_a_command_prints_a_table_and_keeps_what_it_is_told_to(name: str, tmp_path: Path) -> None:
    record, picture = tmp_path / "run.nc", tmp_path / "run.png"
    code, out, _ = command(name, *FAST[name], "--output", str(record), "--figure", str(picture))
    assert code == 0
    assert "4096" in out or "inf" in out
    assert f"written: {picture}" in out.replace("\n", "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert load_record(record).sizes["width"] == 2


@pytest.mark.parametrize("name", FAST)
def test_a_command_prints_one_json_document(name: str) -> None:
    code, out, _ = command(name, *FAST[name], "--json")
    document = json.loads(out)
    assert code == 0
    assert document["attrs"]["versions"]["superconsistency"]
    assert document["coords"]["width"]["data"][0] == 64.0
    assert set(document["data_vars"]) & {"predicted", "final_relative_sharpness"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("error-bars", "--widths", "inf"), "width is inf"),
        (("error-bars", "--seeds", "1"), "number of seeds is 1"),
        (("error-bars", "--figure", "x.txt"), "type of the picture"),
        (("edge-of-stability", "--target-norm", "0"), "target norm is 0"),
        (("edge-of-stability", "--relative-rates", "-1"), "learning rate over the edge is -1"),
        (("edge-of-stability", "--parametrization", "sp", "--widths", "inf"), "SP"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, out, error = command(*arguments)
    assert isinstance(error, InputError)
    assert words in str(error)
    assert (out, "\n" in str(error)) == ("", False)
    assert not list(tmp_path.iterdir())


def test_a_diverged_run_is_a_result() -> None:
    code, out, _ = command("edge-of-stability", *FAST["edge-of-stability"], "--relative-rates", "0.5,9")
    assert code == 0
    assert "diverged" in out
