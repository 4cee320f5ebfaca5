"""The recipes of CONTRIBUTING.md, each carried out in a copy of the package."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCK = re.compile(
    r"<!-- (?P<how>new|after): (?P<file>[\w/.]+)(?:: (?P<line>.*?))? -->\n```python\n(?P<code>.*?)```\n", re.S
)
COMMANDS = re.compile(r"```sh\n(.*?)```", re.S)
SECTIONS = {part.partition("\n")[0]: part for part in TEXT.split("\n## ")[1:]}
LEFT_OUT = {"tests", ".venv", ".git", "docs", "notebooks", "build", "dist", "results", "__pycache__"}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package, to be changed."""
    copy = tmp_path / "superconsistency"

    def left_out(_folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name in LEFT_OUT or name.endswith(".egg-info")}

    shutil.copytree(ROOT, copy, ignore=left_out)
    return copy


def carry_out(section: str, package: Path) -> list[str]:
    """Apply a section's blocks, and run its commands; returns what they print."""
    blocks = list(BLOCK.finditer(section))
    assert blocks
    for block in blocks:
        path = package / block["file"]
        if block["how"] == "new":
            assert not path.exists()
            path.write_text(block["code"])
            continue
        lines = path.read_text().splitlines(keepends=True)
        places = [index for index, line in enumerate(lines) if line.strip() == block["line"]]
        assert len(places) == 1, (block["file"], block["line"])
        lines.insert(places[0] + 1, block["code"])
        path.write_text("".join(lines))
    (commands,) = COMMANDS.findall(section)
    return [run(["-m", *shlex.split(command)], package) for command in commands.strip().splitlines()]


def run(arguments: list[str], package: Path) -> str:
    """Run Python with a copy of the package; returns what it prints."""
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=package.parent,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("A new parametrization", "final loss"),
        ("A new network", "final loss"),
        ("A new quantity", "ntk_trace"),
        ("A new claim", "1 claims: 1 verified"),
    ],
)
def test_a_recipe_works_in_a_copy_of_the_package(title: str, words: str, package: Path) -> None:
    assert words in carry_out(SECTIONS[title], package)[0]


def test_a_new_figure_is_in_the_list_of_figures_the_report_the_ledger_and_the_smoke_tests(
    package: Path,
) -> None:
    section = SECTIONS["A new figure"].replace("--scale smoke", "--scale smoke --json")
    carry_out(section, package)
    assert "Sharpness of SimpleConvNet under μP" in (package.parent / "report.html").read_text()
    assert "momentum" in run(["-m", "superconsistency", "figure"], package)
    listed = (
        "from pathlib import Path\n"
        "from superconsistency.claims import experiment_entries\n"
        "from superconsistency.experiments import EXPERIMENTS\n"
        "found = [one for one in experiment_entries(Path('figures')) if one.experiment == 'momentum']\n"
        "print('momentum' in EXPERIMENTS, len(found), 'not run' in {one.verdict for one in found})\n"
    )
    assert run(["-c", listed], package) == "True 2 False\n"  # the smoke tests go through EXPERIMENTS


def test_every_recipe_is_tested_and_a_figure_takes_at_most_sixty_lines() -> None:
    titles = [title for title in SECTIONS if title.startswith("A new")]
    assert len(titles) == 5
    code = [block["code"] for block in BLOCK.finditer(SECTIONS["A new figure"])]
    assert sum(len(part.splitlines()) for part in code) <= 60
