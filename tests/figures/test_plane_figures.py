from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from superconsistency.cli import plane as commands
from superconsistency.errors import InputError
from superconsistency.experiments import SMOKE
from superconsistency.experiments.answering import Answer, ask
from superconsistency.experiments.latent.bifurcation import BIFURCATION
from superconsistency.experiments.latent.portrait import PORTRAIT, PORTRAIT_UNIVERSAL, portrait_of
from superconsistency.experiments.running import Circumstances
from superconsistency.figures import paper_style
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
from superconsistency.simulations.attractors import DOUBLING
from superconsistency.simulations.basins import OrbitFate, find_outcomes
from superconsistency.stats.verdicts import UNDECIDED
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
    panels = ask(PORTRAIT, SMOKE).draw().axes
    assert [len(_labelled(panel, "_cycle")) for panel in panels] == [0, 0, 1]
    (cycle,) = _labelled(panels[2], "_cycle")
    planar = _at(1.15)
    after = planar.step(PlanarState(*cycle.T))
    np.testing.assert_allclose(np.transpose(after)[::-1], cycle, rtol=1e-6)


@pytest.mark.usefixtures("_no_streams")
def test_a_portrait_has_one_legend_of_the_runs_and_of_all_that_is_drawn() -> None:
    figure = ask(PORTRAIT_UNIVERSAL, SMOKE).draw()
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words[:3] == ["$N = 16$", "$N = 64$", "$N = \\infty$"]
    assert {"invariant ellipse", "stable minimizers", "unstable minimizers", "diverges"} <= set(words)
    assert all(panel.get_legend() is None for panel in figure.axes)


def _alone(
    planar: PlanarMap, widths: tuple[int, ...] = (), *, plane: str = "ap", steps: int = 1
) -> tuple[dict[str, Any], Figure]:
    answer = ask(portrait_of(planar, widths, plane=plane, steps=steps, basins=False))
    with paper_style():
        figure = answer.draw()
        figure.draw_without_rendering()
    return {row[0]: row[1] for row in answer.document["tables"][0]["rows"]}, figure


@pytest.mark.parametrize("name", PLANES)
def test_a_portrait_past_divergence_with_diverging_networks_is_drawn(name: str) -> None:
    numbers, _ = _alone(_at(2.2), (8, 64), plane=name, steps=30)
    assert "past divergence" in numbers["place"]
    assert "diverges at step" in numbers["comes to"]
    assert math.isnan(numbers["final loss"])
    assert "bounded share inside the ellipse" not in numbers


@pytest.mark.usefixtures("_no_streams")
@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize(("dimension", "norm"), [(1, 0.01), (1, 3.0), (2000, 30.0)])
def test_a_portrait_of_an_unusual_target_is_drawn(name: str, dimension: int, norm: float) -> None:
    numbers, _ = _alone(_at(0.5, dimension, norm), plane=name)
    assert numbers["mu"] == pytest.approx(0.5)


def _diagram_figure(**given: float) -> tuple[Answer, Figure]:
    settings = {"settle": 20_000, "average": 1024} | given
    answer = ask(BIFURCATION, SMOKE, circumstances=Circumstances(given=settings))
    with paper_style():
        figure = answer.draw()
        figure.draw_without_rendering()
    return answer, figure


def test_a_diagram_shows_the_attractor_and_both_exponents_with_its_marks() -> None:
    planar = PlanarMap(20, 3.0, 1.0)
    _, figure = _diagram_figure(points=61)
    above, below = figure.axes
    shown = np.asarray(above.lines[0].get_ydata()).reshape(61, -1)
    np.testing.assert_allclose(shown[:20, -1], np.linspace(0.5, 1, 21)[:20], atol=0.01)
    marks = {float(np.asarray(line.get_xdata())[0]) for line in below.lines if line.get_linestyle() == ":"}
    assert marks == {1.0, DOUBLING, planar.divergence / planar.edge}


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.5), (2.5, 3.0)])
def test_a_diagram_below_the_edge_or_of_diverging_starts_only_is_drawn(low: float, high: float) -> None:
    answer, _ = _diagram_figure(low=low, high=high, points=2, settle=1000)
    rows = {row[0]: row[1] for row in answer.document["tables"][1]["rows"]}
    assert rows["first divergence"] == ("not met" if low < 1 else 2.5)
    assert rows["first chaos"] == "not met"
    assert {finding.verdict for finding in answer.findings} == {UNDECIDED}


def test_the_portrait_command_draws_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.portrait(plane="gr", widths="8,inf", steps=5, figure=tmp_path / "p.png", as_json=True)
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert dict(table["rows"])["mu"] == pytest.approx(0.8)
    assert (tmp_path / "p.png").stat().st_size > 0
    commands.portrait(widths="inf", steps=5, basins=False, figure=tmp_path / "p.svg")
    assert "below the edge" in capsys.readouterr().out


def test_the_bifurcation_command_keeps_draws_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, picture = tmp_path / "d.nc", tmp_path / "d.pdf"
    commands.bifurcation(points=7, output=record, figure=picture, as_json=True)
    periods, _ = json.loads(capsys.readouterr().out)["tables"]
    assert [row[2] for row in periods["rows"]][:2] == [1, 1]
    kept = load_record(record)
    assert kept.sizes["factor"] == 7
    assert kept.sizes["sample"] == 256
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
