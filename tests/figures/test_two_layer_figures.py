"""What the drawings of the edge, of Figure 5 and of the error bars show; and the commands that draw them."""

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
from superconsistency.figures.edge import draw_approach, draw_final
from superconsistency.figures.fluctuations import draw_bands, draw_deviations, draw_ratio, name_deviations
from superconsistency.figures.two_layer import draw_hessian_parts
from superconsistency.records import load_record
from superconsistency.simulations.edge import approach_edge
from superconsistency.simulations.error_bars import sample_error_bars
from superconsistency.theory import IsotropicTarget
from typer.testing import CliRunner


@pytest.fixture
def axes() -> Axes:
    _, axes = plt.subplots()
    return axes


@pytest.fixture(autouse=True)
def _close() -> object:
    yield
    plt.close("all")


def test_an_arrow_is_the_mean_displacement_of_a_step(axes: Axes) -> None:
    dims = ("width", "seed", "step")
    runs = xr.Dataset(
        {
            "gauss_newton": (dims, [[[1.0, 2.0, 4.0], [3.0, 4.0, 6.0]]]),
            "residual": (dims, [[[1.0, 0.1, 0.01], [4.0, 0.4, 0.04]]]),
        },
        coords={"width": [8.0]},
    )
    assert draw_hessian_parts(axes, runs) is axes
    arrows: Any = axes.collections[0]
    np.testing.assert_allclose(arrows.X, [2, 3])
    np.testing.assert_allclose(arrows.U, [1, 2])
    np.testing.assert_allclose(arrows.Y, [2, 0.2])
    np.testing.assert_allclose(arrows.V, [-1.8, -0.18])
    assert axes.get_yscale() == "log"


def test_runs_that_did_not_converge_are_hollow(axes: Axes) -> None:
    runs = approach_edge(
        "mup", IsotropicTarget(2, 1.0), widths=(50, math.inf), relative_rates=(0.5, 1.1), seeds=(0, 1),
        steps=200,
    )  # fmt: skip
    assert draw_final(axes, runs, flow_share=1.2) is axes
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    places = [np.asarray(line.get_xdata()).tolist() for line in hollow]
    assert [place for place in places if place] == [[pytest.approx(1.1)], [pytest.approx(1.1)]]


@pytest.mark.parametrize("widths", [(50,), (50, 200, math.inf)])
def test_the_approach_has_a_curve_a_width_and_the_range_of_its_seeds(
    axes: Axes, widths: tuple[float, ...]
) -> None:
    runs = approach_edge(
        "mup", IsotropicTarget(2, 1.0), widths=widths, relative_rates=(0.9,), seeds=(0, 1), steps=20
    )
    relative = runs["relative_sharpness"].isel(learning_rate=0)
    assert draw_approach(axes, relative) is axes
    curves = axes.lines[: len(widths)]
    for curve, width in zip(curves, widths, strict=True):
        means = relative.sel(width=width).mean("seed")
        np.testing.assert_allclose(np.asarray(curve.get_ydata(), dtype=float), means)
    assert len(axes.collections) == len(widths)


@pytest.fixture(scope="module")
def bars() -> xr.Dataset:
    found = sample_error_bars(
        IsotropicTarget(3, 1.0), 0.3, widths=(8, 64, 4096), seeds=range(12), record_at=(0, 2, 4, 8)
    )
    return found.sel(quantity="loss")


def test_a_width_has_one_colour_in_every_panel(axes: Axes, bars: xr.Dataset) -> None:
    among = [8.0, 64.0, 4096.0]
    draw_bands(axes, bars.sel(width=[64.0]), among)
    draw_deviations(axes, bars.sel(width=[64.0]), among)
    colours = {str(line.get_color()) for line in axes.lines if line.get_label() != "$N = \\infty$"}
    assert len(colours - {"black"}) == 1


def test_lines_are_solid_where_first_order_holds_only(axes: Axes, bars: xr.Dataset) -> None:
    name_deviations(draw_deviations(axes, bars, [8.0, 64.0, 4096.0]))
    solid = [line for line in axes.lines if line.get_linestyle() == "-" and len(np.asarray(line.get_xdata()))]
    for line, holds in zip(solid, bars["holds"].to_numpy(), strict=True):
        np.testing.assert_array_equal(np.isfinite(np.asarray(line.get_ydata(), dtype=float)), holds)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["$N = 8$", "$N = 64$", "$N = 4096$"]


@pytest.mark.parametrize("count", [1, 3])
def test_ratios_have_a_colour_a_step(axes: Axes, bars: xr.Dataset, count: int) -> None:
    draw_ratio(axes, bars.isel(step=slice(count)))
    marked = {str(line.get_color()) for line in axes.lines if line.get_marker() == "o"}
    assert len(marked) == count
    assert [text.get_text() for text in axes.get_xticklabels()] == ["8", "64", "4096"]


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
    kept = load_record(record)
    assert kept.sizes["width"] == 2
    assert set(kept.data_vars) & {"predicted", "final_relative_sharpness"}
    assert json.loads(kept.attrs["versions"])["superconsistency"]


@pytest.mark.parametrize("name", FAST)
def test_a_command_prints_one_json_document(name: str) -> None:
    code, out, _ = command(name, *FAST[name], "--json")
    document = json.loads(out)
    assert code == 0
    (arm,) = document["arms"].values()
    assert arm["axes"]["width"][0] == 64.0
    assert arm["completed"] == arm["runs"]
    assert {finding["claim"] for finding in document["findings"]} == set(document["verdicts"])
    assert document["tables"][0]["rows"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("error-bars", "--widths", "inf"), "width is inf"),
        (("error-bars", "--seeds", "1"), "number of seeds is 1"),
        (("error-bars", "--figure", "x.txt"), "type of the picture"),
        (("edge-of-stability", "--target-norm", "0"), "target norm is 0"),
        (("edge-of-stability", "--relative-rates", "-1"), "learning rate over the edge is -1"),
        (("edge-of-stability", "--relative-rates", "0.5,0.5"), "learning rates over the edge"),
        (("edge-of-stability", "--steps", "7"), "number of steps is 7"),
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
