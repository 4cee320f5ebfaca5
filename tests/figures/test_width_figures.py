"""Drawings of width are of the data, and the commands about width tell, keep and draw what they find."""

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
from superconsistency.cli.width import deviation, optimum, width_check
from superconsistency.errors import InputError
from superconsistency.figures import width as width_figures
from superconsistency.simulations.optimum import best_rates
from superconsistency.stats.over_time import growth
from superconsistency.stats.power_laws import no_law, power_law_fit
from superconsistency.stats.slopes import size_slopes
from superconsistency.stats.windows import Steps
from superconsistency.theory import IsotropicTarget
from typer.testing import CliRunner


@pytest.fixture(autouse=True)
def _closed() -> Any:
    yield
    plt.close("all")


def rates(name: str, *widths: float) -> xr.DataArray:
    return best_rates(name, IsotropicTarget(5, 1.0), widths=widths, seeds=(0, 1, 2))["best_rate"]


def distances() -> xr.DataArray:
    steps, widths = np.arange(6.0), np.array([8.0, 16.0, 32.0])
    values = (1 + steps) * widths[:, None, None] ** -0.5 * np.array([1.0, 1.1])[:, None]
    return xr.DataArray(
        values, {"width": widths, "seed": [0, 1], "step": steps.astype(int)}, ("width", "seed", "step")
    )


def test_slopes_are_drawn_as_they_are_with_the_tolerance_as_a_band() -> None:
    slopes = size_slopes(rates("mup", 16, 64).expand_dims("step"), np.random.default_rng(0))
    axes = width_figures.draw_slopes(plt.subplots()[1], {"μP": slopes}, 0.03)
    line = next(line for line in axes.lines if str(line.get_label()).startswith("μP"))
    np.testing.assert_allclose(np.asarray(line.get_ydata()), slopes["slope"])
    assert axes.patches[0].get_extents().height > 0


def test_best_rates_are_drawn_where_they_are_and_infinite_width_is_a_line() -> None:
    found = rates("mup", 16, 64, math.inf)
    axes = width_figures.draw_best_rates(plt.subplots()[1], {"μP": found})
    container: Any = axes.containers[0]
    drawn = container.lines[0].get_ydata()
    finite = found.sel(width=[16, 64]).to_numpy()
    np.testing.assert_allclose(drawn, np.exp(np.log(finite).mean(axis=1)))
    assert np.asarray(axes.lines[-1].get_ydata())[0] == pytest.approx(float(found.sel(width=math.inf).mean()))


def test_rates_that_are_not_known_are_left_out_of_the_drawing() -> None:
    found = rates("mup", 16, 64, math.inf) * np.nan
    axes = plt.subplots()[1]
    width_figures.draw_best_rates(axes, {"μP": found})
    width_figures.draw_rate_approach(axes, {"μP": found}, {"μP": no_law("nothing ran")})
    assert axes.get_legend_handles_labels()[1] == []


def test_the_approach_to_the_limit_is_drawn_with_its_law() -> None:
    found = rates("mup", 16, 64, math.inf)
    law = power_law_fit([16, 64], [0.2, 0.1])
    axes = width_figures.draw_rate_approach(plt.subplots()[1], {"μP": found}, {"μP": law})
    logs = np.log(found.to_numpy())
    points, line = axes.lines
    np.testing.assert_allclose(np.asarray(points.get_ydata()), np.abs(logs[:2] - logs[2].mean()).mean(axis=1))
    np.testing.assert_allclose(np.asarray(line.get_ydata()), [0.2, 0.1])


def test_distances_are_drawn_against_time_with_the_laws_over_their_window() -> None:
    values, window = distances(), Steps(2, 4)
    laws = growth(values, np.random.default_rng(0), window=window, span=1)
    axes = width_figures.draw_time_laws(plt.subplots()[1], values, laws, window)
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), values[0].mean("seed")[1:])
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), [2, 3, 4])
    assert len(axes.lines) == 6


def test_distances_are_drawn_against_width_at_the_steps_of_the_laws() -> None:
    values = distances()
    laws = {1: power_law_fit(values["width"], values.sel(step=1).mean("seed")), 4: no_law("no points")}
    axes = width_figures.draw_width_laws(plt.subplots()[1], values, laws)
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), values.sel(step=1).mean("seed"))
    assert axes.get_legend_handles_labels()[1] == ["$t = 1$: $N^{-0.50}$", "$t = 4$"]


COMMANDS: dict[str, Any] = {"width-check": width_check, "optimum": optimum, "deviation": deviation}
SMALL = ["--dim", "5", "--widths", "32,128,512", "--seeds", "2"]
ONE = dict.fromkeys(COMMANDS, ("--parametrization", "mup"))


def run(name: str, *arguments: str) -> Any:
    app = typer.Typer(pretty_exceptions_enable=False)
    for command, function in COMMANDS.items():
        app.command(command)(function)
    return CliRunner().invoke(app, [name, *SMALL, *arguments])


def table(document: Any, start: str) -> list[dict[str, Any]]:
    """The rows of a table of a document, by column."""
    found = next(part for part in document["tables"] if part["title"].startswith(start))
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_tables_and_keeps_its_result_and_picture(name: str, tmp_path: Path) -> None:
    kept, picture = tmp_path / "result.json", tmp_path / "picture.png"
    result = run(name, *ONE[name], "--output", str(kept), "--figure", str(picture))
    assert result.exit_code == 0, result.output
    assert picture.stat().st_size > 1000
    assert f"written: {kept}" in result.output
    assert json.loads(kept.read_text())["experiment"] == name


def test_the_document_of_a_check_holds_verdicts_slopes_and_the_rate() -> None:
    document = json.loads(run("width-check", "--json", "--parametrizations", "mup").stdout)
    assert set(document["arms"]) == {"μP", "μP, best rate"}
    assert set(document["verdicts"].values()) <= {"as published", "not as published", "undecided"}
    slopes = table(document, "slopes of logs")
    mine = [row for row in slopes if row["quantity"] == "sharpness" and row["widths"] == "all"]
    assert [row["step"] for row in mine] == list(range(0, 41, 2))
    (rate,) = document["arms"]["μP"]["axes"]["learning_rate"]
    assert math.isfinite(rate)


def test_the_document_of_an_optimum_holds_the_rate_of_every_network() -> None:
    document = json.loads(run("optimum", "--json", "--parametrizations", "sp", "--seed", "3").stdout)
    networks = table(document, "best learning rate of every network")
    assert [(row["N"], row["seed"]) for row in networks[:3]] == [(32, 3), (32, 4), (128, 3)]
    (about,) = document["arms"].values()
    assert json.loads(about["configuration"])["dimension"] == 5


def test_windows_and_rates_are_as_given() -> None:
    arguments = ("--steps", "12", "--window", "2,9", "--learning-rate", "0.3", "--json")
    document = json.loads(run("deviation", *arguments).stdout)
    assert document["arms"]["μP"]["axes"]["learning_rate"] == [0.3]
    laws = table(document, "distance to the limit, g = a t^beta over steps 2 to 9")
    assert {row["points"] for row in laws} == {8}
    distances = table(document, "mean distance to the limit")
    assert {row["step"] for row in distances} == set(range(13))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("width-check", "--parametrizations", "mup,mup"), "parametrizations"),
        (("width-check", "--parametrizations", "adam"), "parametrization"),
        (("width-check", "--widths", "8"), "number of widths"),
        (("width-check", "--widths", "8,inf"), "width"),
        (("width-check", "--tolerance", "0"), "tolerance"),
        (("optimum", "--objective", "best"), "objective"),
        (("deviation", "--window", "3"), "window"),
        (("deviation", "--learning-rate", "0"), "learning rate"),
        (("deviation", "--steps", "1"), "number of steps"),
        (("optimum", "--figure", "a.txt"), "type of the picture"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
