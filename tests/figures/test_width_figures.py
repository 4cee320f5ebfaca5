from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import typer
from superconsistency.cli.width import deviation, optimum, width_check
from superconsistency.errors import InputError
from superconsistency.figures import FigureSettings, save_drawing
from superconsistency.figures import width as width_figures
from superconsistency.figures.style import paper_style
from superconsistency.simulations.deviation import deviations
from superconsistency.simulations.optimum import best_rates
from superconsistency.stats.slopes import size_slopes
from superconsistency.theory import IsotropicTarget, parametrization
from typer.testing import CliRunner

FEW = (64, 65536, 10**6, 10**7)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(width_figures, "_WIDTHS", FEW)
    monkeypatch.setattr(width_figures, "_SEEDS", {"laptop": 4})
    yield
    plt.close("all")


def made(name: str) -> Any:
    calls: list[tuple[float, float]] = []
    with paper_style():
        drawing = getattr(width_figures, name)(FigureSettings(on_progress=lambda *call: calls.append(call)))
    assert calls
    assert calls[-1][0] == calls[-1][1]
    return drawing


def test_the_check_finds_mup_independent_and_the_others_not(tmp_path: Path) -> None:
    drawing = made("width_check")
    assert drawing.numbers["mup"]["verdict"] == "width-independent"
    assert drawing.numbers["ntp"]["verdict"] == drawing.numbers["sp"]["verdict"] == "depends on width"
    assert "change of sharpness" in drawing.numbers["ntp"]
    assert "μP: width-independent from N =" in drawing.verdict
    kept = json.loads(save_drawing(drawing, tmp_path / "check")[2].read_text())
    assert kept["configuration"]["widths"] == list(FEW)


def test_the_best_rate_stands_still_under_mup_and_falls_under_sp() -> None:
    drawing = made("optimum")
    rates = drawing.numbers["mup"]["best learning rate by width"]
    assert rates["64"] == pytest.approx(rates["inf"], rel=0.1)
    assert drawing.numbers["sp"]["distance to the limit"] is None
    assert drawing.numbers["sp"]["best learning rate by width"]["1e+07"] < 1e-5
    assert "SP: -8" in drawing.verdict


def test_the_distance_to_the_limit_falls_with_width() -> None:
    drawing = made("deviation")
    law = drawing.numbers["sharpness"]["g = a N^slope, by step"]["30"]
    assert law["exponent"] < -0.3
    assert f"N^{law['exponent']:.2f}" in drawing.verdict
    assert drawing.configuration["window of the fits in time"][0] == 1


def test_slopes_are_drawn_as_they_are_with_the_tolerance_as_a_band() -> None:
    rates = best_rates(parametrization("mup"), IsotropicTarget(5, 1.0), widths=(16, 64), seeds=(0, 1, 2))
    slopes = size_slopes(rates["best_rate"].expand_dims("step"), np.random.default_rng(0))
    axes = width_figures.draw_slopes(plt.subplots()[1], {"mup": slopes}, 0.03)
    line = next(line for line in axes.lines if str(line.get_label()).startswith("μP"))
    np.testing.assert_allclose(np.asarray(line.get_ydata()), slopes["slope"])
    assert axes.patches[0].get_extents().height > 0


def test_best_rates_are_drawn_where_they_are_and_without_a_limit_half_the_figure_stays_empty() -> None:
    rates = best_rates(parametrization("sp"), IsotropicTarget(5, 1.0), widths=(16, 64), seeds=(0, 1))
    axes = width_figures.draw_best_rates(plt.subplots()[1], {"sp": rates})
    container: Any = axes.containers[0]
    drawn = container.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, np.exp(np.log(rates["best_rate"].to_numpy()).mean(axis=1)))
    assert not width_figures.optimum_figure({"sp": rates}).axes[1].axison


def test_without_a_limit_the_widest_stands_for_it() -> None:
    found = deviations(
        parametrization("sp"), IsotropicTarget(5, 1.0), widths=(8, 16, 32), learning_rate=0.02,
        seeds=(0, 1), record_at=range(4), quantities=("loss",),
    )  # fmt: skip
    figure = width_figures.deviation_figure(found)
    drawn = np.asarray(figure.axes[0].lines[0].get_ydata())
    expected = found["loss"].sel(limit="widest", width=8).mean("seed").to_numpy()[1:]
    np.testing.assert_allclose(drawn, expected)


COMMANDS: dict[str, Any] = {"width-check": width_check, "optimum": optimum, "deviation": deviation}
SMALL = ["--dim", "5", "--widths", "32,128,512", "--seeds", "2"]
ONE = dict.fromkeys(COMMANDS, ("--parametrization", "mup"))


def run(name: str, *arguments: str) -> Any:
    app = typer.Typer(pretty_exceptions_enable=False)
    for command, function in COMMANDS.items():
        app.command(command)(function)
    return CliRunner().invoke(app, [name, *SMALL, *arguments])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_tables_and_keeps_its_result_and_picture(name: str, tmp_path: Path) -> None:
    kept, picture = tmp_path / "result.json", tmp_path / "picture.png"
    result = run(name, *ONE[name], "--output", str(kept), "--figure", str(picture))
    assert result.exit_code == 0, result.output
    assert picture.stat().st_size > 1000
    assert f"written: {kept}" in result.output
    assert json.loads(kept.read_text())


def test_the_document_of_a_check_holds_verdicts_slopes_and_rates() -> None:
    document = json.loads(run("width-check", "--json", "--parametrizations", "mup").stdout)
    assert set(document) == {"mup"}
    assert document["mup"]["verdict"] in {"width-independent", "depends on width", "undecided"}
    assert len(document["mup"]["sharpness"]["slopes"]["slope"]) == 21
    assert math.isfinite(document["mup"]["learning_rate"])


def test_windows_and_rates_are_as_given() -> None:
    arguments = ("--steps", "12", "--window", "2,9", "--learning-rate", "0.3", "--json")
    document = json.loads(run("deviation", *arguments).stdout)
    assert document["window"] == [2, 9]
    assert document["learning_rate"] == 0.3
    assert max(row["points"] for row in document["laws"] if row["law"] == "time" and row["points"]) == 8


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
        (("deviation", "--steps", "1"), "window"),
        (("optimum", "--figure", "a.txt"), "type of the picture"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)
