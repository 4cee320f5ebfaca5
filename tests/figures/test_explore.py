from __future__ import annotations

import json
import math
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from superconsistency.cli.explore import explore
from superconsistency.errors import InputError
from superconsistency.figures.interactive import LONGEST, PortraitDefaults, near_edge


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"dimension": 0}, "dimension"), ({"target_norm": -1.0}, "target norm"),
        ({"learning_rate": 0.0}, "rate"), ({"width": 0.5}, "width"), ({"steps": LONGEST + 1}, "steps"),
        ({"seed": 2**32}, "seed"), ({"plane": "</script>"}, "plane"),
    ],
)  # fmt: skip
def test_defaults_that_cannot_be_shown_are_refused(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(InputError, match=name):
        PortraitDefaults(**wrong)


def test_the_default_rate_is_below_the_edge_and_below_divergence_without_one() -> None:
    assert near_edge(3, 1.0) == pytest.approx(0.95 * math.sqrt(3), rel=1e-5)
    assert near_edge(3, 0.0) == pytest.approx(0.95 * 6)  # where orbits diverge, 2 D


def test_explore_writes_the_page_and_opens_it_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def open_browser(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", open_browser)
    page = tmp_path / "page.html"
    explore(dim=5, width="inf", output=page)
    assert f"written: {page}" in capsys.readouterr().out
    assert '"dimension": 5' in page.read_text(encoding="utf-8")
    assert opened == []
    explore(output=page, open_page=True, as_json=True)
    assert json.loads(capsys.readouterr().out)["opened"] is True
    assert opened == [page.as_uri()]
    for wrong in ({"width": "4,8"}, {"output": tmp_path / "page.png"}, {"learning_rate": -1.0}):
        with pytest.raises(InputError):
            explore(**({"output": page} | wrong))
