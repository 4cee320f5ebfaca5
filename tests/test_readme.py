from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from superconsistency.experiments import EXPERIMENTS
from superconsistency.stats.verdicts import Judgement, spoken

ROOT = Path(__file__).parent.parent
README = " ".join((ROOT / "README.md").read_text().split())
PICTURES = re.findall(r"docs/[\w./-]+\.(?:png|json)", README)


def figure(number: int | str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / f"docs/figures/figure-{number}.json").read_text())
    return document


def caption(number: int | str) -> str:
    """The text in italics below a figure."""
    found = re.search(rf"figures/figure-{number}\.png\) \*(.*?)\* ", README.replace(r"\*", "'"))
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", PICTURES)
def test_a_picture_of_the_readme_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


def test_the_caption_of_figure_24_says_what_was_measured() -> None:
    numbers, words = figure(24)["numbers"], caption(24)
    for title in ("μP", "NTP"):
        times = numbers[f"{title}: steps to 0.9 of 2/eta0 by width"].values()
        assert f"{min(times):.0f} to {max(times):.0f} steps" in words
        assert f"width^{numbers[f'{title}: exponent of these steps in width']:.2f}" in words


def shown_and_scored() -> list[str]:
    """Figures that the README shows and whose kept results hold verdicts."""
    names = re.findall(r"!\[[^]]*\]\(docs/figures/figure-([\w-]+)\.png\)", README)
    return [name for name in names if "verdicts" in figure(name)["numbers"]]


@pytest.mark.parametrize("name", shown_and_scored())
def test_a_caption_gives_every_claim_of_the_figure_with_its_verdict(name: str) -> None:
    verdicts = figure(name)["numbers"]["verdicts"]
    assert set(verdicts) == {claim.name for claim in EXPERIMENTS[name].claims}
    claims = "; ".join(
        f"{claim.sentence} ({spoken(Judgement(verdicts[claim.name]), claim.published)})"
        for claim in EXPERIMENTS[name].claims
    )
    assert caption(name).endswith(f"Claims: {claims}.")
