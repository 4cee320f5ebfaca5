from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from superconsistency.errors import InputError
from superconsistency.figures import (
    FIGURES,
    FigureSettings,
    coordinates,
    draw_curves,
    draw_edge,
    draw_figure,
    draw_portrait,
    draw_transfer,
    early,
    networks,
    save_drawing,
    spectra,
    training,
)
from superconsistency.neural import train_grid
from superconsistency.records import to_json
from superconsistency.simulations import Ensemble, schedule, simulate
from superconsistency.stats.power_laws import settled
from superconsistency.stats.verdicts import REFUTED, SHOWN, UNDECIDED
from superconsistency.theory import PlanarMap, parametrization, uniform_target


@pytest.fixture
def axes() -> Axes:
    _, axes = plt.subplots()
    return axes


@pytest.fixture(scope="module")
def record() -> xr.Dataset:
    runs = Ensemble(parametrization("mup"), uniform_target(3, 1.0), (4, 64), (0.2, 0.5), (0, 1, 2))
    return simulate(runs, record_at=schedule(20))


@pytest.fixture(autouse=True)
def _close() -> object:
    yield
    plt.close("all")


def test_a_curve_is_drawn_for_every_width_and_learning_rate(axes: Axes, record: xr.Dataset) -> None:
    assert draw_curves(axes, record["loss"]) is axes
    assert sum(len(np.asarray(line.get_xdata())) > 0 for line in axes.lines) == 4
    named = axes.get_legend_handles_labels()[1]
    assert named == ["$N = 4$", "$N = 64$", "$\\eta_0 = 0.2$", "$\\eta_0 = 0.5$"]
    first = record["loss"].isel(width=0, learning_rate=0).to_numpy()
    shown = np.asarray(axes.lines[0].get_ydata())
    np.testing.assert_allclose(shown, np.exp(np.log(first).mean(axis=0)))


def test_a_loss_of_zero_leaves_a_gap_on_a_logarithmic_axis(axes: Axes, record: xr.Dataset) -> None:
    loss = record["loss"].copy()
    loss[..., 5:] = 0.0
    draw_curves(axes, loss, band=True)
    assert np.isnan(np.asarray(axes.lines[0].get_ydata())[5:]).all()


def test_the_best_learning_rate_is_marked_and_diverged_ones_left_out(axes: Axes) -> None:
    values = xr.DataArray(
        [[3.0, 1.0, 2.0], [2.0, 3.0, np.nan]],
        dims=("width", "learning_rate"),
        coords={"width": [8.0, 16.0], "learning_rate": [0.1, 1.0, 10.0]},
    )
    draw_transfer(axes, values)
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    assert [float(np.asarray(star.get_xdata()).item()) for star in stars] == [1.0, 0.1]


def test_the_edge_is_two_over_the_learning_rate(axes: Axes) -> None:
    draw_edge(axes, 0.5)
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [4.0, 4.0]


@pytest.mark.parametrize("factor", [0.4, 0.95, 1.3])
def test_a_portrait_separates_stable_from_unstable_minimizers(axes: Axes, factor: float) -> None:
    planar = PlanarMap(3, 1.0, 1.0)
    planar = PlanarMap(3, 1.0, factor * planar.edge)
    assert draw_portrait(axes, planar) is axes
    solid = [line for line in axes.lines if line.get_linestyle() == "-" and line.get_linewidth() > 2]
    assert bool(solid) is (factor < 1)
    for line in solid:
        heights = np.asarray(line.get_ydata())
        assert planar.minimizer_is_stable(heights * (1 - 1e-9)).all()


def test_figure_10_finds_the_curves_aligned_under_mup_and_not_under_ntp(tmp_path: Path) -> None:
    drawing = draw_figure("10", FigureSettings())
    gaps = {name.split(":")[0]: gap for name, gap in drawing.numbers.items()}
    assert gaps["mup"] < 0.6
    assert gaps["ntp"] > 2
    paths = save_drawing(drawing, tmp_path / "figure")
    assert [path.stat().st_size > 0 for path in paths] == [True] * 3
    assert json.loads(paths[2].read_text())["configuration"]["dimension"] == 100


def test_figure_1_is_composed_of_both_parametrizations(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"mup": (0.25, 0.5, 1.0), "ntp": (3.5, 7.0, 14.0)}
    shown = {"mup": (0.25, 0.5), "ntp": (7.0,)}
    recipe = networks._Recipe((2, 4, 8), {"digits": 16}, 0.5, 1, shown, rates)
    monkeypatch.setitem(networks._RECIPES, "laptop", recipe)
    calls: list[tuple[float, float]] = []
    drawing = draw_figure("1", FigureSettings(on_progress=lambda *call: calls.append(call)))
    panels = drawing.figure.axes
    assert len(panels) == 6
    edges = [text.get_text() for text in panels[0].texts]
    assert edges == ["$2/\\eta_0$, $\\eta_0 = 0.25$", "$2/\\eta_0$, $\\eta_0 = 0.5$"]
    assert [text.get_text() for text in panels[3].texts] == ["$2/\\eta_0$"]
    named = panels[1].get_legend()
    assert named is not None
    assert [text.get_text() for text in named.get_texts()] == ["$\\eta_0 = 0.25$", "$\\eta_0 = 0.5$"]
    assert drawing.configuration["steps_of_transfer"] == 8
    assert "μP" in drawing.verdict
    assert "NTP" in drawing.verdict
    assert len(drawing.numbers["μP: 95% interval of the drift"]) == 2
    assert calls[-1][0] == pytest.approx(calls[-1][1])


SCORES: list[tuple[Any, dict[str, Any], str]] = [
    (spectra.score_spectra, {"Hessian, eigenvalue 1: interval": (-0.05, 0.06),
                             "tangent kernel, eigenvalue 1: interval": (0.3, 0.5)}, SHOWN),
    (spectra.score_spectra, {"Hessian, eigenvalue 1: interval": (0.35, 0.45),
                             "tangent kernel, eigenvalue 1: interval": (0.36, 0.46)}, REFUTED),
    (spectra.score_spectra, {"Hessian, eigenvalue 1: interval": (-1.0, 1.0),
                             "tangent kernel, eigenvalue 1: interval": (0.3, 0.5)}, UNDECIDED),
    (spectra.score_distances, {"sharpness, N = 8: interval": (-2.0, -0.5),
                               "loss, N = 8: interval": (0.4, 0.9)}, SHOWN),
    (spectra.score_distances, {"sharpness, N = 8: interval": (1.8, 2.0),
                               "loss, N = 8: interval": (1.9, 2.1)}, REFUTED),
    (early.score_early, {"μP: steps to 0.9 of 2/eta0 by width": {"8": 40.0, "64": 40.0},
                         "NTP: steps to 0.9 of 2/eta0 by width": {"8": 40.0, "64": math.nan},
                         "NTP: part of the runs that never are there by width": [0.0, 1.0],
                         "μP: interval of the exponent": (-0.1, 0.1),
                         "NTP: interval of the exponent": (-math.inf, math.inf)}, SHOWN),
    (early.score_early, {"NTP: part of the runs that never are there by width": [0.0, 1.0],
                         "μP: interval of the exponent": (-0.1, 0.1),
                         "NTP: interval of the exponent": (-0.5, -0.4)}, UNDECIDED),
    (early.score_early, {"NTP: part of the runs that never are there by width": [0.0, 0.25],
                         "μP: interval of the exponent": (-0.1, 0.1),
                         "NTP: interval of the exponent": (-0.5, -0.4)}, REFUTED),
    (early.score_early, {"NTP: runs that diverged before by width": [0, 1],
                         "μP: interval of the exponent": (-0.1, 0.1),
                         "NTP: interval of the exponent": (0.4, 0.5)}, UNDECIDED),
    (early.score_early, {"μP: steps to 0.9 of 2/eta0 by width": {"8": 20.0, "64": 30.0},
                         "NTP: steps to 0.9 of 2/eta0 by width": {"8": math.nan, "64": math.nan},
                         "μP: interval of the exponent": (-0.1, 0.1),
                         "NTP: interval of the exponent": (-math.inf, math.inf)}, UNDECIDED),
    (early.score_early, {"μP: part of the runs that never are there by width": [0.0, 0.5],
                         "μP: interval of the exponent": (-0.1, 0.1),
                         "NTP: interval of the exponent": (0.5, 0.9)}, UNDECIDED),
    (early.score_early, {"μP: steps to 0.9 of 2/eta0 by width": {"8": 20.0, "64": math.nan},
                         "μP: part of the runs that never are there by width": [0.0, 1.0],
                         "NTP: steps to 0.9 of 2/eta0 by width": {"8": 20.0, "64": 90.0},
                         "μP: interval of the exponent": (-0.1, 0.1),
                         "NTP: interval of the exponent": (0.5, 0.9)}, REFUTED),
    (early.score_features, {"random features: least and greatest over all runs": (0.9, 1.05),
                            "μP: least and greatest over all runs": (5.0, 9.0),
                            "NTP: interval of the slope": (-0.9, -0.5)}, SHOWN),
    (early.score_features, {"random features: least and greatest over all runs": (0.9, 1.05),
                            "μP: least and greatest over all runs": (5.0, 9.0),
                            "NTP: interval of the slope": (0.1, 0.3)}, REFUTED),
    (early.score_features, {"random features: least and greatest over all runs": (3.0, 4.0),
                            "μP: least and greatest over all runs": (5.0, 9.0),
                            "NTP: interval of the slope": (-0.9, -0.5)}, REFUTED),
    (coordinates.score, {"first, step 1: interval": (-0.05, 0.05), "readout, step 1: interval": (-0.6, -0.4)},
     SHOWN),
    (coordinates.score, {"first, step 1: interval": (0.2, 0.4)}, REFUTED),
    (coordinates.score, {"first, step 1: interval": (-0.4, 0.4)}, UNDECIDED),
]  # fmt: skip


@pytest.mark.parametrize(("score", "numbers", "verdict"), SCORES)
def test_a_verdict_follows_from_the_intervals(score: Any, numbers: dict[str, Any], verdict: str) -> None:
    assert score(numbers) == verdict


def test_figure_1_scores_four_claims() -> None:
    numbers = {
        "μP: 95% interval of the slope": (-0.2, 0.1),
        "NTP: 95% interval of the slope": (-0.5, -0.35),
        "μP: 95% interval of the drift": (0.4, 0.6),
        "NTP: 95% interval of the drift": (0.2, 0.8),
        "μP: best learning rate may lie beyond the grid": (False, False, False),
    }
    assert list(networks.scores(numbers).values()) == [UNDECIDED, SHOWN, REFUTED, SHOWN]


def test_a_best_rate_that_leaves_the_grid_does_not_stay() -> None:
    numbers = {
        "μP: 95% interval of the slope": (-0.01, 0.01),
        "NTP: 95% interval of the slope": (-0.5, -0.35),
        "μP: 95% interval of the drift": (-0.01, 0.01),
        "NTP: 95% interval of the drift": (0.2, 0.8),
        "μP: best learning rate may lie beyond the grid": (False, False, True),
    }
    assert list(networks.scores(numbers).values()) == [SHOWN, SHOWN, UNDECIDED, SHOWN]


def sharpening(exponent: float, broken: bool = False) -> xr.DataArray:
    """Four seeds at four widths, at 0.9 of an edge of 2 after 20 (width/8)^exponent steps."""
    steps, widths = np.arange(0, 200, 4), np.array([8, 16, 32, 64])
    arrival = 20 * (widths / 8.0) ** exponent
    values = 1.8 * steps / arrival[:, None, None] * np.array([1.0, 1.02, 0.98, 1.01])[None, :, None]
    if broken:
        values[-1, 0, 3:] = np.nan
    axes = {"width": widths, "seed": range(4), "step": steps}
    return xr.DataArray(values, axes, tuple(axes))


def test_a_run_that_diverged_does_not_count_as_one_that_comes_to_the_edge_late() -> None:
    for name in ("μP", "NTP"):
        for broken in (False, True):
            numbers = early._edge_numbers(sharpening(-0.4, broken), 1.0, name)
            assert (f"{name}: runs that diverged before by width" in numbers) is broken
    mup = early._edge_numbers(sharpening(0.0), 1.0, "μP")
    verdicts = [
        early.score_early(mup | early._edge_numbers(sharpening(exponent, broken), 1.0, "NTP"))
        for exponent, broken in ((0.4, False), (-0.4, False), (-0.4, True), (0.4, True))
    ]
    assert verdicts == [SHOWN, REFUTED, UNDECIDED, UNDECIDED]


def test_networks_at_the_edge_from_the_start_have_no_exponent() -> None:
    numbers = early._edge_numbers(sharpening(0.0) + 5, 1.0, "μP")
    assert math.isnan(numbers["μP: exponent of these steps in width"])


def test_the_slope_of_those_that_survive_is_no_verdict() -> None:
    final = sharpening(0.0).isel(step=slice(-3, None)).copy()
    final[1:, 0] = np.nan
    slope, interval = networks._slope(settled(final))
    assert math.isfinite(slope)
    assert interval == (-math.inf, math.inf)


SMALL = {
    "2": (spectra, "_SPECTRA", spectra._Recipe((4, 8), 4, 2, 2, 8)),
    "3": (spectra, "_DISTANCES", spectra._Recipe((2, 4, 8), 8, 4, 2, 16)),
    "24": (early, "_EARLY", early._Recipe((2, 4), 8, 4, 2, 16)),
    "26": (early, "_FEATURES", early._Recipe((2, 4), 8, 4, 2, 16)),
    "28": (coordinates, "_WIDTHS", (4, 8)),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_figure_of_networks_scores_the_papers_claim(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, recipes, recipe = SMALL[name]
    monkeypatch.setitem(getattr(module, recipes), "laptop", recipe)
    monkeypatch.setattr(spectra, "_SHOWN", (1, 2, 3))
    drawing = draw_figure(name, FigureSettings())
    assert drawing.verdict.startswith("digits: ")
    assert drawing.verdict.rsplit(": ", 1)[1] in {SHOWN, REFUTED, UNDECIDED}
    assert json.dumps(to_json(drawing.numbers), allow_nan=False)
    assert drawing.configuration["data_hash"]


def test_a_figure_of_networks_that_was_stopped_goes_on_and_drawn_again_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, recipes, recipe = SMALL["26"]
    monkeypatch.setitem(getattr(module, recipes), "laptop", recipe)
    expected = draw_figure("26", FigureSettings()).numbers

    def stop(done: float, total: float) -> None:
        if done > 0.4 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_figure("26", FigureSettings(keep=tmp_path, on_progress=stop))
    assert len(list(tmp_path.glob("*.nc"))) >= 1
    trained: list[int] = []
    train = train_grid

    def counted(*given: Any, **more: Any) -> Any:
        trained.append(1)
        return train(*given, **more)

    monkeypatch.setattr(training, "train_grid", counted)
    assert draw_figure("26", FigureSettings(keep=tmp_path)).numbers == expected
    assert len(trained) == 2  # of three grids, the first was whole
    assert draw_figure("26", FigureSettings(keep=tmp_path)).numbers == expected
    assert len(trained) == 2


def test_a_figure_is_the_same_twice(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        paths = save_drawing(draw_figure("portrait", FigureSettings()), tmp_path / name)
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]


def test_an_unknown_figure_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=", ".join(FIGURES)):
        draw_figure("99", FigureSettings())
