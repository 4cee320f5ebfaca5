from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from scipy.stats import chi2, ks_2samp, kstest
from selenium.webdriver.common.keys import Keys
from superconsistency.figures.interactive import (
    INTERACTIVE_PLANES,
    LONGEST,
    PortraitDefaults,
    interactive_portrait,
    write_portrait,
)
from superconsistency.figures.style import PALETTE
from superconsistency.theory import (
    OBSERVABLES,
    LatentState,
    PlanarMap,
    PlanarState,
    Problem,
    evolve,
    initial_state,
    parametrization,
    uniform_target,
)

from . import chromium
from .portrait_page import (
    along_first,
    assert_infinite_width_agrees,
    assert_network_agrees,
    data,
    end_of,
    latent_state,
    pixels,
    show,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver import Chrome

CANVASES = ("plane-picture", "loss-picture", "sharpness-picture")
SLIDERS = ("learning_rate", "target_norm", "dimension", "width", "steps")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(downloads: Path) -> Iterator[Chrome]:
    reason = chromium.missing()
    if reason is not None:
        if os.environ.get(chromium.REQUIRED) == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium.browser(downloads) as driver:
        write_portrait(downloads / "portrait.html")
        yield driver


@pytest.fixture
def page(driver: Chrome, downloads: Path) -> Chrome:
    """The page as it opens, in a wide window."""
    chromium.resize(driver, 1300, 900)
    chromium.prefer(driver, "light")
    driver.get("about:blank")
    driver.get((downloads / "portrait.html").as_uri())
    return driver


SETTINGS = {
    "below the edge": {"learning_rate": 0.5},
    "near the edge": {"learning_rate": 1.64},
    "beyond the edge": {"learning_rate": 1.95, "steps": 40},
    "past divergence": {"learning_rate": 3.0},
    "far past divergence": {"learning_rate": 40},
    "dimension one": {"dimension": 1, "learning_rate": 0.9},
    "a zero target": {"target_norm": 0, "learning_rate": 2},
    "one neuron": {"width": 1, "learning_rate": 0.7},
    "one neuron in one dimension": {"dimension": 1, "width": 1, "learning_rate": 0.3},
    "fewer neurons than dimensions": {"dimension": 12, "width": 5, "learning_rate": 2.0, "steps": 40},
    "more dimensions than are kept": {"dimension": 40, "width": 60, "learning_rate": 3.0, "target_norm": 2.0},
    "a target far away": {"dimension": 7, "target_norm": 40, "learning_rate": 0.06},
    "one step": {"steps": 1},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_curves_shown_are_those_of_the_theory(page: Chrome, settings: dict[str, Any]) -> None:
    shown = show(page, **settings)
    assert settings.items() <= shown["state"].items()
    assert_infinite_width_agrees(shown)
    assert_network_agrees(shown)


def test_at_infinite_width_there_is_no_network_and_chaos_obeys_the_map_at_every_step(page: Chrome) -> None:
    shown = show(page, width="inf", dimension=20, target_norm=3, learning_rate=2.75, steps=200)
    assert shown["state"]["width"] == "inf"
    assert shown["network"] is None
    assert shown["mu"] > 1.8
    assert_infinite_width_agrees(shown, whole_orbit=False)


def test_edge_and_divergence_are_those_of_the_planar_map(page: Chrome) -> None:
    shown, planar = show(page, dimension=20, target_norm=3, learning_rate=0.7), PlanarMap(20, 3.0, 0.7)
    np.testing.assert_allclose(
        [shown["mu"], shown["edge"], shown["divergence"]], [planar.mu, planar.edge, planar.divergence], 1e-14
    )
    assert show(page, target_norm=0)["edge"] == "inf"


@pytest.mark.parametrize(
    ("rate", "words"), [(4.0, "some minimizers"), (4.8, "across the target"), (5.2, "beyond")]
)
def test_the_page_knows_when_minimizers_are_unstable_across_the_target(
    page: Chrome, rate: float, words: str
) -> None:
    shown = show(page, dimension=4, target_norm=0.4, learning_rate=rate)
    planar = PlanarMap(4, 0.4, rate)
    assert shown["highest_stable"] == pytest.approx(planar.highest_stable)
    stable = bool(planar.minimizer_is_stable(np.asarray(0.4 / 2)))  # the flattest, p = kappa s
    assert stable is (shown["highest_stable"] > 0.2) is (rate < planar.largest_safe)
    assert words in page.find_element("id", "regime").text


def test_a_wide_network_follows_the_limit(page: Chrome) -> None:
    shown = show(page, width=10**12, dimension=100, target_norm=3, learning_rate=1.0)
    for name in ("p", "sharpness"):
        np.testing.assert_allclose(shown["network"][name][5:], shown["infinite"][name][5:], rtol=1e-4)


@pytest.mark.parametrize(
    ("dimension", "width"), [(1, 1), (1, 7), (5, 2), (6, 1), (5, 40), (24, 20), (30, 60)]
)
def test_networks_are_drawn_with_the_law_of_gaussian_weights(
    page: Chrome, dimension: int, width: int
) -> None:
    script = "return JSON.stringify([...Array(300).keys()].map((s) => portrait.network(s, ...arguments)))"
    drawn = latent_state(json.loads(page.execute_script(script, dimension, width)), dimension)
    problem = along_first({"dimension": dimension, "target_norm": 1.5, "width": width})
    states = [initial_state(problem, np.random.default_rng(seed)) for seed in range(300)]
    full = LatentState(*(np.stack(part) for part in zip(*states, strict=True)))
    rate = 0.4 * math.sqrt(dimension) / 1.5
    for _ in range(4):
        for name in ("loss", "alignment", "second_layer", "gradient_norm"):
            compute = OBSERVABLES[name].compute
            assert ks_2samp(compute(drawn, problem), compute(full, problem)).pvalue > 1e-4, name
        drawn, full = evolve(drawn, problem, rate), evolve(full, problem, rate)


@pytest.mark.parametrize(("dimension", "width"), [(1, 1), (1, 7), (5, 2), (15, 400), (24, 12), (1000, 3)])
def test_rotations_keep_the_sum_of_squares_of_all_weights(page: Chrome, dimension: int, width: int) -> None:
    script = """const sum = (total, z) => total + z * z;
    const size = (seed) => portrait.network(seed, ...args).flat().reduce(sum, 0);
    const args = arguments; return JSON.stringify([...Array(1000).keys()].map(size));"""
    sizes = np.array(json.loads(page.execute_script(script, dimension, width))) * width * dimension
    assert kstest(sizes, chi2(width * (dimension + 1)).cdf).pvalue > 1e-4


EXTREMES: tuple[dict[str, Any], ...] = (
    {"learning_rate": 1e308},
    {"learning_rate": 1e-300},
    {"target_norm": 1e100},
    {"target_norm": 1e-300},
    {"dimension": 2**53, "width": 2**53},
    {"learning_rate": 1e308, "target_norm": 1e100},
)


@pytest.mark.parametrize("settings", EXTREMES, ids=str)
def test_extreme_settings_are_drawn_or_end_in_divergence(page: Chrome, settings: dict[str, Any]) -> None:
    for plane in INTERACTIVE_PLANES:
        shown = show(page, plane=plane, **settings)
        for run in (shown["infinite"], shown["network"]):
            assert np.isfinite([run[name][: end_of(run)] for name in ("loss", "sharpness")]).all()
    assert chromium.console_messages(page) == []


def test_the_planes_coordinates_are_those_of_the_planar_map_and_lead_back(page: Chrome) -> None:
    planar, points = PlanarMap(7, 2.0, 0.6), [(0.3, 0.4), (-0.5, 0.9), (1.9, 0.8)]
    script = """const map = mathematics.planarMap(7, 2, 0.6), view = drawing.plane(arguments[0], map);
    const there = arguments[1].map((point) => view.to(...point));
    return JSON.stringify(there.map((point) => [point, view.from(...point)]));"""
    for name in INTERACTIVE_PLANES:
        for point, (there, back) in zip(
            points, json.loads(page.execute_script(script, name, points)), strict=True
        ):
            state = PlanarState(*map(np.asarray, point))
            np.testing.assert_allclose(back, point, rtol=1e-12)
            if name == "universal":
                np.testing.assert_allclose(there, planar.to_universal(state), rtol=1e-12)
            if name == "curvature":
                latent, problem = (
                    planar.embed(state),
                    Problem(parametrization("mup"), 9, uniform_target(7, 2.0)),
                )
                parts = [
                    OBSERVABLES[f"{part}_sharpness"].compute(latent, problem) for part in ("ntk", "residual")
                ]
                np.testing.assert_allclose(there, parts, rtol=1e-12)


def test_every_slider_moves_by_keys_and_the_curves_follow(page: Chrome) -> None:
    for name in SLIDERS:
        before = data(page)["state"]
        page.find_element("id", f"{name}-slider").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        shown = data(page)
        assert shown["state"][name] > before[name]
        assert {**shown["state"], name: 0} == {**before, name: 0}
        assert float(str(page.find_element("id", name).get_attribute("value"))) == shown["state"][name]
        assert_infinite_width_agrees(shown)
        assert_network_agrees(shown)


def test_sliders_reach_their_ends_and_the_last_width_is_infinity(page: Chrome) -> None:
    script = """const slider = document.getElementById(arguments[0]); slider.value = slider[arguments[1]];
    slider.dispatchEvent(new Event("input", {bubbles: true}));"""
    for name in SLIDERS:
        for end in ("min", "max"):
            page.execute_script(script, f"{name}-slider", end)
    state = data(page)["state"]
    assert (state["width"], state["dimension"], state["target_norm"], state["steps"]) == (
        "inf",
        10**6,
        5,
        LONGEST,
    )
    assert state["learning_rate"] == pytest.approx(1.25 * PlanarMap(3, 1.0, 1.0).divergence, rel=1e-5)
    for name in SLIDERS:
        page.execute_script(script, f"{name}-slider", "min")
    state = data(page)["state"]
    assert (state["width"], state["dimension"], state["target_norm"], state["steps"]) == (1, 1, 0, 1)


def test_number_boxes_take_values_and_refuse_others_in_words(page: Chrome) -> None:
    box = page.find_element("id", "width")
    box.clear()
    box.send_keys("inf", Keys.TAB)
    assert data(page)["state"]["width"] == "inf"
    box.clear()
    box.send_keys("2.5", Keys.TAB)
    assert data(page)["state"]["width"] == "inf"
    assert box.get_attribute("aria-invalid") == "true"
    assert (
        page.find_element("id", "problem").text
        == "width is 2.5; accepted: a whole number of at least 1, or inf"
    )
    refused = "try { portrait.set(arguments[0]) } catch (error) { return error.name }"
    for wrong in (
        {"learning_rate": 0},
        {"dimension": 0},
        {"steps": LONGEST + 1},
        {"plane": "x"},
        {"toString": 1},
    ):
        assert page.execute_script(refused, wrong) == "RangeError"


def test_another_network_is_drawn_on_request_and_the_same_seed_draws_the_same(page: Chrome) -> None:
    first = data(page)
    page.find_element("id", "reseed").click()
    second = data(page)
    assert second["state"]["seed"] == first["state"]["seed"] + 1
    assert not np.array_equal(second["network"]["start"], first["network"]["start"])
    np.testing.assert_array_equal(second["infinite"]["a"], first["infinite"]["a"])
    again = show(page, seed=first["state"]["seed"])
    np.testing.assert_array_equal(again["network"]["start"], first["network"]["start"])


def test_divergence_ends_the_curves_and_the_page_says_at_which_step(page: Chrome) -> None:
    shown = show(page, learning_rate=3)
    for run, place in (("infinite", "infinite-fate"), ("network", "network-fate")):
        step = shown[run]["diverged_step"]
        assert 0 < step < 60
        assert f"at step {step}." in page.find_element("id", place).text
    assert "beyond divergence" in page.find_element("id", "regime").text
    assert np.nanmax(shown["infinite"]["p"]) < 1e100


def test_redrawing_keeps_up_with_a_moving_slider(page: Chrome, record_property: Any) -> None:
    times = {}
    cases: dict[str, dict[str, Any]] = {
        "converging": {"dimension": 1000, "width": 10**6, "learning_rate": 30},
        "period two": {"dimension": 100, "target_norm": 3, "width": 10, "learning_rate": 3.9},
    }
    for words, settings in cases.items():
        shown = [show(page, steps=200, **settings)["redraw_ms"] for _ in range(7)]
        times[words] = float(np.median(shown))
    measured = ", ".join(f"{words} {value:.1f} ms" for words, value in times.items())
    record_property("measured", f"interactive portrait, redrawing of 200 steps: {measured}")
    assert max(times.values()) < 50


def test_the_page_asks_for_nothing_and_its_policy_lets_no_other_script_run(page: Chrome) -> None:
    for plane in INTERACTIVE_PLANES:
        show(page, plane=plane)
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert chromium.console_messages(page) == []
    inject = """const script = document.createElement("script");
    script.textContent = "window.injected = true";
    document.head.append(script); return window.injected === true;"""
    assert page.execute_script(inject) is False
    fetch = "fetch('data:,x').then(() => arguments[0]('fetched'), () => arguments[0]('refused'))"
    assert page.execute_async_script(fetch) == "refused"
    chromium.console_messages(page)
    assert not re.search(r"https?://", interactive_portrait())


def test_the_address_keeps_the_settings(page: Chrome) -> None:
    wanted = {
        "learning_rate": 0.123456789, "target_norm": 2.5, "dimension": 17, "width": "inf", "steps": 33,
        "seed": 5, "plane": "universal",
    }  # fmt: skip
    show(page, **wanted)
    link = page.execute_script("return portrait.link()")
    assert wait_until(lambda: page.current_url == link)
    page.get("about:blank")
    page.get(link)
    assert data(page)["state"] == wanted
    page.get(link.replace("width=inf", "width=9").replace("steps=33", "steps=none"))
    assert data(page)["state"] == wanted | {"width": 9}
    assert "steps is none" in page.find_element("id", "problem").text
    page.find_element("id", "copy").click()
    field = page.find_element("id", "link")
    assert "copied" in wait_until(lambda: page.find_element("id", "done").text).lower()
    assert field.get_attribute("value") == page.execute_script("return portrait.link()")


def test_a_moving_slider_changes_every_panel(page: Chrome) -> None:
    names = [f"document.getElementById('{name}')" for name in CANVASES]
    before = [pixels(page, name) for name in names]
    page.find_element("id", "learning_rate-slider").send_keys(*[Keys.ARROW_LEFT] * 40)
    for name, old in zip(names, before, strict=True):
        new = pixels(page, name)
        assert (new != old).any(axis=-1).mean() > 0.002, name


def test_the_saved_picture_holds_all_panels_in_the_palette(page: Chrome, downloads: Path) -> None:
    picture = pixels(page, "portrait.picture()")
    expected = [pixels(page, f"document.getElementById('{name}')") for name in CANVASES]
    assert picture.shape[1] == expected[0].shape[1] + expected[1].shape[1]
    colours = {tuple(colour) for colour in picture.reshape(-1, 3)}
    for colour in (PALETTE[0], PALETTE[1], PALETTE[2]):
        assert tuple(bytes.fromhex(colour[1:])) in colours
    page.find_element("id", "save").click()
    saved = downloads / "portrait.png"
    assert wait_until(lambda: saved.exists() and saved.stat().st_size > 0, 60)
    np.testing.assert_array_equal(np.asarray(Image.open(saved).convert("RGB")), picture)


def test_the_dark_scheme_darkens_page_and_panels(page: Chrome) -> None:
    for scheme, dark in (("dark", True), ("light", False)):
        chromium.prefer(page, scheme)
        wait_until(lambda: False, 0.05)
        for name in CANVASES:
            median = float(np.median(pixels(page, f"document.getElementById('{name}')")))
            assert (median < 100) is dark


@pytest.mark.parametrize("width", [320, 360, 800, 1300])
def test_no_window_makes_the_page_scroll_sideways(page: Chrome, width: int) -> None:
    chromium.resize(page, width, 700)
    page.execute_script("document.querySelector('details').open = true")
    page.find_element("id", "copy").click()
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    for canvas in CANVASES:
        assert page.find_element("id", canvas).size["width"] > 0.3 * min(width, 900)


def test_every_control_has_a_name_and_pictures_are_described(page: Chrome) -> None:
    controls = page.find_elements("css selector", "form input:not([hidden]), form button")
    assert len(controls) > 20
    for control in controls:
        assert control.accessible_name
    label = page.find_element("id", "plane-picture").get_attribute("aria-label")
    assert "infinite width: loss" in str(label).lower()


def test_the_page_opens_with_the_defaults_it_was_made_with(driver: Chrome, tmp_path: Path) -> None:
    defaults = PortraitDefaults(9, 2.5, 0.4, math.inf, 12, 3, "curvature")
    write_portrait(tmp_path / "other.html", defaults)
    driver.get((tmp_path / "other.html").as_uri())
    assert data(driver)["state"] == {
        "dimension": 9, "target_norm": 2.5, "learning_rate": 0.4, "width": "inf", "steps": 12, "seed": 3,
        "plane": "curvature",
    }  # fmt: skip
