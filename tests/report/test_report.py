"""The report: what is on the page, what is refused, and how it behaves in a browser."""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from superconsistency import open_results
from superconsistency.claims import CLAIMS, Settings, verify
from superconsistency.cli import main
from superconsistency.errors import InputError
from superconsistency.records import to_json
from superconsistency.records.results import export_results
from superconsistency.report import LARGEST, Contents, read_figures, read_ledger, render, summarise
from superconsistency.runner import LatentModel, make_sweep, results_of

from ..figures import chromium

ROOT = Path(__file__).parent.parent.parent

HOSTILE = "<script>alert(1)</script>"


def ledger() -> dict[str, Any]:
    """Some claims of each verdict that there is, quick to check, and made-up ones that fail."""
    chosen = {"lemma-5.2-ntk", "corollary-5.4", "sp-laws", "sp-moments", "wishart-start", "eq-26-shapes"}
    entries = verify([claim for claim in CLAIMS if claim.id in chosen], Settings())
    claims = [to_json(entry.to_json()) for entry in entries]
    claims.append(claims[0] | {"id": "made-up", "statement": HOSTILE, "verdict": "refuted", "seconds": 123.0})
    return {"claims": claims}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "latent"
    grid = {
        "parametrization": ["mup", "ntp"],
        "width": [64, 256, 1024],
        "learning_rate": [0.2, 0.4, 0.8],
        "seed": [0, 1, 2],
    }
    results_of(make_sweep(LatentModel(dimension=5, steps=20), [grid]), folder)
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, sweep: Path) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "ledger.json").write_text(json.dumps(ledger()))
    with pytest.raises(SystemExit) as stop:
        main(["report", str(sweep), "--ledger", str(folder / "ledger.json"), "--figures",
              str(ROOT / "docs" / "figures"), "--output", str(folder / "report.html")])  # fmt: skip
    assert stop.value.code == 0
    return folder / "report.html"


def test_the_page_has_every_claim_figure_and_verdict_and_stays_small(page: Path) -> None:
    text = page.read_text()
    assert page.stat().st_size < LARGEST
    for claim in ("lemma-5.2-ntk", "eq-26-shapes", "made-up"):
        assert f'id="claim-{claim}"' in text
    names = [path.stem for path in (ROOT / "docs" / "figures").glob("figure-*.json")]
    assert len(names) > 10
    for name in names:
        assert f'id="{name}"' in text
        assert f"superconsistency figure {name.removeprefix('figure-')}" in text
    assert "parametrization ntp" in text
    assert "torch 2." in text


def test_nothing_on_the_page_is_taken_for_markup_or_fetched(page: Path) -> None:
    text = page.read_text()
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text)
    assert "default-src 'none'" in html.unescape(text)


def test_pictures_that_are_too_large_together_are_made_smaller(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), dtype=np.uint8)
    for number in (1, 2):
        Image.fromarray(noise).save(tmp_path / f"figure-{number}.png")
        (tmp_path / f"figure-{number}.json").write_text('{"verdict": "noise"}')
    text = render(Contents(None, read_figures(tmp_path, {})))
    assert len(text.encode()) < LARGEST


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("figure-1.json", "{", "figure is .*accepted: a JSON file"),
        ("figure-1.json", "[]", "accepted: a JSON object"),
        ("figure-1.png", "no picture", "picture is .*accepted: a PNG"),
        ("figure-1.png", None, "picture is .*No such file"),
    ],
)
def test_figures_that_cannot_be_read_are_said_in_one_line(
    name: str, content: str | None, words: str, tmp_path: Path
) -> None:
    (tmp_path / "figure-1.json").write_text('{"verdict": "fine"}')
    Image.new("RGB", (4, 4)).save(tmp_path / "figure-1.png")
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        read_figures(tmp_path, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"claims": 3}', '{"claims": [{"id": "x"}]}'])
def test_a_ledger_that_is_none_is_said_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_text(text)
    with pytest.raises(InputError, match="ledger is ") as caught:
        read_ledger(path)
    assert "\n" not in str(caught.value)


def test_a_report_of_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["report"])
    assert stop.value.code == 2
    assert "report is empty" in capsys.readouterr().err
    assert not (tmp_path / "results" / "report.html").exists()


def test_verify_ends_with_the_report_and_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.html"
    with pytest.raises(SystemExit) as stop:
        main(["verify", "--only", "lemma-5.2-ntk", "--report", str(path)])
    assert stop.value.code == 0
    assert f"report: {path} (" in capsys.readouterr().out
    assert 'id="claim-lemma-5.2-ntk"' in path.read_text()
    assert "make verify" not in path.read_text()


def test_groups_of_results_have_verdicts_or_the_reason_why_there_is_none(sweep: Path) -> None:
    summary = summarise(sweep)
    assert summary.runs == "54 of 54 runs complete"
    assert [group.title for group in summary.groups] == ["parametrization mup", "parametrization ntp"]
    for group in summary.groups:
        sentences = group.sentences
        assert str(group.picture).startswith("data:image/png;base64,")
        assert len(sentences) == 7
        assert all(re.match(r"(no verdict|transfers|does not|eta0 = )", words) for words in sentences)


def test_runs_that_differ_in_depth_are_judged_over_depth(sweep: Path, tmp_path: Path) -> None:
    results = open_results(sweep).load().isel(parametrization=[0])
    deeper = results.rename(width="depth").expand_dims(width=[4.0, 8.0])
    deeper = deeper.transpose("parametrization", "depth", "width", "learning_rate", "seed", "step").copy(
        deep=True
    )
    deeper["completed"][0, -1, 0] = 0  # at the greatest depth and width 4
    export_results(deeper.assign_attrs(results.attrs), tmp_path / "all.nc")
    over_width, over_depth = summarise(sweep), summarise(tmp_path / "all.nc")
    titles = [group.title for group in over_depth.groups]
    depths = results["width"].to_numpy().tolist()
    assert [title for title in titles if title.endswith("over width")] == [
        f"parametrization mup, depth {depth:g}, over width" for depth in depths[:-1]
    ]
    missing = f" (without depth {depths[-1]:g}, where runs are missing)"
    whole = "parametrization mup, width 8, over depth"
    assert titles[-2:] == [f"parametrization mup, width 4, over depth{missing}", whole]
    said = over_depth.groups[-1].sentences
    expected = [
        words.replace("N = ", "L = ").replace("width", "depth") for words in over_width.groups[0].sentences
    ]
    assert said == expected


# --- in a browser -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    reason = chromium.missing()
    if reason is not None:
        if os.environ.get(chromium.REQUIRED) == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with chromium.browser(tmp_path_factory.mktemp("downloads")) as found:
        yield found


@pytest.fixture
def opened(driver: Chrome, page: Path) -> Iterator[Chrome]:
    """The page from file://, in a wide window, after which the console must have stayed silent."""
    chromium.resize(driver, 1300, 900)
    chromium.prefer(driver, "light")
    driver.get("about:blank")
    chromium.console_messages(driver)
    driver.get(page.as_uri())
    yield driver
    assert chromium.console_messages(driver) == []


def rows(driver: Chrome) -> list[str]:
    """Ids of the claims that are shown, in their order."""
    found = driver.find_elements(By.CSS_SELECTOR, "#ledger > tbody > tr")
    return [str(row.get_attribute("id")) for row in found if row.is_displayed()]


def test_the_table_sorts_both_ways(opened: Chrome) -> None:
    before = rows(opened)
    heading = opened.find_element(By.XPATH, "//th[button[text()='seconds']]")
    heading.find_element(By.TAG_NAME, "button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert rows(opened)[-1] == "claim-made-up"  # 123 s, not sorted as text
    heading.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "descending"
    assert rows(opened)[0] == "claim-made-up"
    assert sorted(rows(opened)) == sorted(before)


def test_the_table_is_filtered_by_words_verdict_and_room(opened: Chrome) -> None:
    total = len(rows(opened))
    opened.find_element(By.ID, "filter").send_keys("wishart freedom")
    assert 0 < len(rows(opened)) < total
    opened.find_element(By.ID, "filter").send_keys(" nowhere to be found")
    assert rows(opened) == []
    assert opened.find_element(By.ID, "shown").text == f"0 of {total} shown"
    opened.find_element(By.ID, "filter").clear()
    opened.find_element(By.ID, "filter").send_keys(Keys.SPACE)
    Select(opened.find_element(By.ID, "verdict")).select_by_visible_text("refuted")
    assert rows(opened) == ["claim-made-up"]


def test_evidence_opens_by_keyboard_and_all_at_once(opened: Chrome) -> None:
    summary = opened.find_element(By.CSS_SELECTOR, "#claim-eq-26-shapes summary")
    summary.send_keys(Keys.ENTER)
    assert "Published" in opened.find_element(By.ID, "claim-eq-26-shapes").text
    opened.find_element(By.ID, "expand").click()
    parts = opened.find_elements(By.CSS_SELECTOR, "#ledger details")
    assert all(part.get_attribute("open") for part in parts)


def test_figures_are_enlarged_zoomed_and_left_by_keyboard(opened: Chrome) -> None:
    button = opened.find_elements(By.CLASS_NAME, "zoom")[0]
    button.send_keys(Keys.ENTER)
    viewer = opened.find_element(By.ID, "viewer")
    picture = opened.find_element(By.ID, "viewer-picture")
    assert viewer.is_displayed()
    first, width = picture.get_attribute("alt"), picture.size["width"]
    opened.switch_to.active_element.send_keys("+")
    assert picture.size["width"] > width
    opened.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert picture.get_attribute("alt") != first
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not viewer.is_displayed()
    assert str(opened.switch_to.active_element.get_attribute("aria-label")).startswith("Enlarge: ")


def test_every_control_is_reached_by_tab_and_has_a_name(opened: Chrome) -> None:
    named = opened.execute_script(
        "return [...document.querySelectorAll('button, input, select, summary, a')]"
        ".filter(e => e.closest('dialog') === null).every(e => (e.getAttribute('aria-label') || e.textContent"
        " || e.labels?.[0]?.textContent || '').trim() !== '' && e.tabIndex >= 0)"
    )
    assert named
    opened.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert opened.switch_to.active_element.text == "Skip to the content"


def test_dark_and_light_follow_the_system_until_one_is_chosen(opened: Chrome) -> None:
    def background() -> str:
        body = opened.find_element(By.TAG_NAME, "body")
        return str(body.value_of_css_property("background-color"))

    light = background()
    chromium.prefer(opened, "dark")
    assert background() != light
    opened.find_element(By.ID, "theme").click()
    assert background() == light


@pytest.mark.parametrize("width", [360, 1300])
def test_the_page_does_not_scroll_sideways(width: int, opened: Chrome) -> None:
    chromium.resize(opened, width, 800)
    over = opened.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert over <= 0
