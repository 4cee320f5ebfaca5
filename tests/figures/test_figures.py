from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from superconsistency.errors import InputError
from superconsistency.experiments.gallery import FigureSettings, draw_figure, figure_list, save_drawing
from superconsistency.figures import (
    draw_curves,
    draw_edge,
    draw_portrait,
    draw_transfer,
)
from superconsistency.simulations import Ensemble, schedule, simulate
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


def test_a_figure_is_the_same_twice(tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        paths = save_drawing(draw_figure("10", FigureSettings("smoke")), tmp_path / name)
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]


def test_an_unknown_figure_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=", ".join(figure_list())):
        draw_figure("99", FigureSettings())
