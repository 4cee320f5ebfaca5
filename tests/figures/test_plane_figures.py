from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from superconsistency.cli import plane as commands
from superconsistency.errors import InputError
from superconsistency.figures import FigureSettings, paper_style
from superconsistency.figures.bifurcation import DOUBLING, bifurcation_figure, landmarks
from superconsistency.figures.phase_plane import Layers, plane_portrait, portrait, portrait_universal
from superconsistency.figures.portrait import (
    PLANES,
    draw_basins,
    draw_cycle,
    draw_ellipse,
    draw_orbit,
    draw_portrait,
    legend_handles,
    plane_of,
)
from superconsistency.records import load_record
from superconsistency.simulations import Ensemble, iterate, schedule, simulate
from superconsistency.simulations.attractors import bifurcation_diagram
from superconsistency.simulations.basins import OrbitFate, find_outcomes
from superconsistency.theory import (
    OBSERVABLES,
    PlanarMap,
    PlanarState,
    Problem,
    parametrization,
    uniform_target,
)


@pytest.fixture
def axes() -> Axes:
    _, axes = plt.subplots()
    return axes


@pytest.fixture(autouse=True)
def _close() -> object:
    yield
    plt.close("all")


@pytest.fixture
def _no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlines take most of a portrait's time."""
    monkeypatch.setattr(Axes, "streamplot", lambda *_, **__: None)


def _at(factor: float, dimension: int = 3, norm: float = 1.0) -> PlanarMap:
    return PlanarMap(dimension, norm, factor * PlanarMap(dimension, norm, 1.0).edge)


def _labelled(axes: Axes, label: str) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    return [np.asarray(line.get_xydata()) for line in axes.lines if line.get_label() == label]


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("dimension", [1, 3, 50])
def test_a_point_on_the_branch_shown_comes_back_from_its_place(name: str, dimension: int) -> None:
    planar, plane = _at(0.8, dimension), plane_of(name)
    a = np.linspace(-0.5, 0.99, 40) * planar.target_norm
    for p in (1.1, 2.0, 5.0):
        state = PlanarState(a, p * math.sqrt(planar.coupling) * np.abs(a) + 1e-3)
        np.testing.assert_allclose(
            plane.states(planar, *plane.place(planar, state)), state, rtol=1e-9, atol=1e-12
        )


def test_the_plane_of_curvatures_is_that_of_the_latent_state() -> None:
    planar = _at(1.1, 5)
    orbit = iterate(planar, 20).states
    problem = Problem(parametrization("mup"), math.inf, uniform_target(5, 1.0))
    horizontal, vertical = plane_of("gr").place(planar, orbit)
    for k in range(21):
        state = planar.embed(PlanarState(orbit.a[k], orbit.p[k]))
        assert horizontal[k] == pytest.approx(
            float(OBSERVABLES["residual_sharpness"].compute(state, problem))
        )
        assert vertical[k] == pytest.approx(float(OBSERVABLES["ntk_sharpness"].compute(state, problem)))


@pytest.mark.parametrize("name", PLANES)
def test_a_very_wide_network_is_placed_where_the_limit_is(name: str) -> None:
    planar, plane = _at(0.8), plane_of(name)
    runs = Ensemble(parametrization("mup"), uniform_target(3, 1.0), (10**6,), (planar.learning_rate,), (0,))
    record = simulate(runs, record_at=schedule(10), quantities=plane.quantities).isel(
        width=0, learning_rate=0, seed=0
    )
    placed = plane.measured(planar, *(record[quantity].to_numpy() for quantity in plane.quantities))
    limit = plane.place(planar, iterate(planar, 10).states)
    np.testing.assert_allclose(placed, limit, atol=0.02)


@pytest.mark.usefixtures("_no_streams")
@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("factor", [0.5, 0.95, 1.3, 2.5])
def test_drawn_minimizers_are_minimizers_and_their_colours_tell_stability(
    axes: Axes, name: str, factor: float
) -> None:
    planar, plane = _at(factor), plane_of(name)
    assert draw_portrait(axes, planar, plane=name) is axes
    for label, stable in (("_stable", True), ("_unstable", False)):
        for points in _labelled(axes, label):
            inner = points[1:-1][np.isfinite(points[1:-1]).all(axis=1)]
            states = plane.states(planar, *inner.T)
            np.testing.assert_allclose(states.a, planar.target_norm, rtol=1e-9)
            assert (planar.minimizer_is_stable(states.p) == stable).all()
            low, high = axes.get_ylim()
            assert ((inner[:, 1] >= low) & (inner[:, 1] <= high)).all()
    assert bool(_labelled(axes, "_stable")) is (factor < 1)


@pytest.mark.usefixtures("_no_streams")
@pytest.mark.parametrize("name", PLANES)
def test_the_edge_is_where_the_ntk_along_the_target_is_two_over_the_learning_rate(
    axes: Axes, name: str
) -> None:
    planar = _at(0.8)
    draw_portrait(axes, planar, plane=name)
    (edge,) = _labelled(axes, "_edge")
    states = plane_of(name).states(planar, *edge[np.isfinite(edge).all(axis=1)].T)
    np.testing.assert_allclose(2 * states.p, 2 / planar.learning_rate, rtol=1e-9)
    assert len(states.p) > 50


@pytest.mark.usefixtures("_no_streams")
@pytest.mark.parametrize("name", PLANES)
def test_on_a_drawn_nullcline_a_step_leaves_the_coordinate(axes: Axes, name: str) -> None:
    planar, plane = _at(0.8), plane_of(name)
    draw_portrait(axes, planar, plane=name)
    seen = 0
    for index, label in enumerate(("_first", "_second")):
        for contour in (part for part in axes.collections if part.get_label() == label):
            for path in contour.get_paths():
                points = np.asarray(path.vertices)
                after = plane.place(planar, planar.step(plane.states(planar, *points.T)))
                size = np.ptp(np.array((axes.get_xlim(), axes.get_ylim())[index]))
                np.testing.assert_allclose(after[index], points[:, index], atol=0.01 * size)
                seen += len(points)
    assert seen > 20


@pytest.mark.parametrize("name", PLANES)
def test_the_background_is_what_each_start_comes_to(axes: Axes, name: str) -> None:
    planar, plane = _at(1.1), plane_of(name)
    limits = plane.window(planar)
    draw_basins(axes, planar, limits, plane=name)
    shown = axes.images[0].get_array()
    assert shown is not None
    rows, columns = shown.shape
    for row, column in (
        (10, 5),
        (rows // 2, columns // 3),
        (rows - 1, columns - 1),
        (rows // 4, columns // 2),
    ):
        place = (
            np.array(limits[0] + (column + 0.5) / columns * (limits[1] - limits[0])),
            np.array(limits[2] + (row + 0.5) / rows * (limits[3] - limits[2])),
        )
        outcome = find_outcomes(planar, plane.states(planar, *place), 4000).outcome
        if outcome == OrbitFate.NO_NETWORK:
            assert np.ma.getmaskarray(shown)[row, column]
        else:
            assert shown[row, column] == outcome


def test_the_ellipse_is_one_and_is_not_there_past_twice_the_edge(axes: Axes) -> None:
    planar = _at(0.7)
    draw_ellipse(axes, planar)
    x, y = np.asarray(axes.lines[0].get_xydata()).T
    np.testing.assert_allclose(x**2 / 2.7 + y**2 / 1.3, 2, rtol=1e-9)
    draw_ellipse(axes, _at(2.0))
    assert len(axes.lines) == 1


def test_a_legend_names_what_is_drawn_and_nothing_else(axes: Axes) -> None:
    draw_portrait(axes, _at(1.3))
    words = {str(handle.get_label()) for handle in legend_handles([axes])}
    assert "unstable minimizers" in words
    assert "stable minimizers" not in words
    assert "diverges" not in words
    assert "period of the limit" not in words
    draw_cycle(axes, (np.array([1.0]), np.array([1.0])))
    assert "period of the limit" in {str(handle.get_label()) for handle in legend_handles([axes])}


def test_an_orbit_is_drawn_point_by_point_from_a_square(axes: Axes) -> None:
    orbit = iterate(_at(0.8), 5).states
    draw_orbit(axes, orbit, "black", "orbit")
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), orbit.a)
    assert axes.lines[1].get_marker() == "s"


def test_an_unknown_plane_is_refused(axes: Axes) -> None:
    with pytest.raises(InputError, match="ap, xy, gr"):
        draw_portrait(axes, _at(0.5), plane="zz")


@pytest.mark.usefixtures("_no_streams")
def test_beyond_the_edge_the_portrait_rings_the_two_cycle() -> None:
    with paper_style():
        drawing = portrait(FigureSettings())
    panels = drawing.figure.axes
    assert [len(_labelled(panel, "_cycle")) for panel in panels] == [0, 0, 1]
    (cycle,) = _labelled(panels[2], "_cycle")
    planar = _at(1.15)
    after = planar.step(PlanarState(*cycle.T))
    np.testing.assert_allclose(np.transpose(after)[::-1], cycle, rtol=1e-6)
    assert drawing.numbers["near the edge: period"] == 1
    assert "period 2" in drawing.verdict


@pytest.mark.usefixtures("_no_streams")
def test_the_universal_portrait_finds_the_ellipse_to_bound_the_basin() -> None:
    with paper_style():
        drawing = portrait_universal(FigureSettings())
    shares = [value for name, value in drawing.numbers.items() if "the ellipse" in name]
    assert len(shares) == 6
    assert min(shares) == 1


@pytest.mark.parametrize("name", PLANES)
def test_a_portrait_past_divergence_with_diverging_networks_is_drawn(name: str, tmp_path: Path) -> None:
    with paper_style():
        drawing = plane_portrait(_at(2.2), Layers(name, (8, 64), steps=30, basins=False, ellipse=True))
        drawing.figure.savefig(tmp_path / "portrait.pdf")
    assert "past divergence" in drawing.verdict
    assert math.isnan(drawing.numbers["final loss"])


@pytest.mark.usefixtures("_no_streams")
@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize(("dimension", "norm"), [(1, 0.01), (1, 3.0), (2000, 30.0)])
def test_a_portrait_of_an_unusual_target_is_drawn(name: str, dimension: int, norm: float) -> None:
    with paper_style():
        drawing = plane_portrait(_at(0.5, dimension, norm), Layers(name, steps=1, basins=False))
        drawing.figure.draw_without_rendering()
    assert drawing.numbers["mu"] == pytest.approx(0.5)


def test_a_diagram_shows_the_attractor_and_both_exponents_with_its_marks() -> None:
    planar = PlanarMap(20, 3.0, 1.0)
    record = bifurcation_diagram(20, 3.0, factors=np.linspace(0.5, 2.0, 61).tolist(), settle=20_000)
    with paper_style():
        drawing = bifurcation_figure(record, planar)
        drawing.figure.draw_without_rendering()
    above, below = drawing.figure.axes
    shown = np.asarray(above.lines[0].get_ydata()).reshape(61, -1)
    np.testing.assert_allclose(shown[:20, -1], np.linspace(0.5, 1, 21)[:20], atol=0.01)
    marks = {float(np.asarray(line.get_xdata())[0]) for line in below.lines if line.get_linestyle() == ":"}
    assert marks == {1.0, DOUBLING, planar.divergence / planar.edge}
    numbers = drawing.numbers
    assert 1 <= numbers["first period two"] < numbers["first period four"] < numbers["first chaos"]
    assert numbers["first divergence"] > numbers["divergence in closed form"]
    assert "chaos" in drawing.verdict


def test_a_diagram_below_the_edge_or_of_diverging_starts_only_is_drawn() -> None:
    planar = PlanarMap(20, 3.0, 1.0)
    for factors in ([0.3, 0.5], [2.5, 3.0]):
        record = bifurcation_diagram(20, 3.0, factors=factors, settle=1000)
        with paper_style():
            bifurcation_figure(record, planar).figure.draw_without_rendering()
    assert landmarks(record)["first divergence"] == 2.5
    assert math.isnan(landmarks(record)["first chaos"])


def test_the_portrait_command_draws_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.portrait(plane="gr", widths="8,inf", steps=5, figure=tmp_path / "p.png", as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["numbers"]["mu"] == pytest.approx(0.8)
    assert (tmp_path / "p.png").stat().st_size > 0
    commands.portrait(widths="inf", steps=5, basins=False, figure=tmp_path / "p.svg")
    assert "below the edge" in capsys.readouterr().out


def test_the_bifurcation_command_keeps_draws_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, picture = tmp_path / "d.nc", tmp_path / "d.pdf"
    commands.bifurcation(points=7, output=record, figure=picture, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["diagram"]["data_vars"]["period"]["data"][:2] == [1, 1]
    assert load_record(record).sizes["learning_rate"] == 7
    assert picture.stat().st_size > 0
    commands.bifurcation(low=0.5, high=2.5, points=2)
    assert "diverged" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_norm": 0.0},
        {"learning_rate": -1.0},
        {"plane": "zz"},
        {"widths": "0"},
        {"steps": 0},
        {"dim": 0},
    ],
)
def test_the_portrait_command_refuses_bad_input_in_one_line(wrong: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        commands.portrait(figure=tmp_path / "p.png", **wrong)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong", [{"low": 2.0, "high": 1.0}, {"points": 1}, {"target_norm": -1.0}, {"dim": 0}]
)
def test_the_bifurcation_command_refuses_bad_input_in_one_line(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as error:
        commands.bifurcation(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
