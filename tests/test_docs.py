"""The examples of the documentation run, and print what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from superconsistency.cli.program import app
from superconsistency.neural.curvature import CURVATURE_QUANTITIES
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/curvature.md").read_text()
EXECUTED = re.findall(r"<!-- executed -->\n```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^ {4}superconsistency (curvature .*)$", PAGE, re.MULTILINE)


QUICK = ("loss", "gradient_norm", "sharpness", "directional_sharpness", "critical_sharpness")


def rows(text: str) -> dict[str, list[str]]:
    """The cells of a table's rows, by the first; lines that go on with a row's last cell are left out."""
    found = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    return {cells[0]: cells for cells in found if cells[0]}


def test_the_python_examples_run_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    for block in EXECUTED:
        exec(compile(block, "docs/curvature.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "not differentiated rightly" in printed
    assert "call eval() on the model, for 1 (Dropout)" in printed
    assert "targets.unsqueeze(-1)" in printed
    assert "its .module" in printed
    assert len(EXECUTED) == 5


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_and_prints_what_the_page_says(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = [str(tmp_path / "x.png") if word.endswith(".png") else word for word in command.split()]
    whole = "--quantities" not in arguments
    if whole:  # all of them, and the picture, take a minute
        arguments = [*arguments[: arguments.index("--figure")], "--quantities", ",".join(QUICK)]
    found = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert found.exit_code == 0, found.output
    if not whole:
        return
    shown, printed = rows(PAGE), rows(found.output)
    assert printed.keys() == set(QUICK)
    assert shown.keys() == set(CURVATURE_QUANTITIES)
    for name, cells in printed.items():
        assert float(cells[1]) == pytest.approx(float(shown[name][1]), rel=2e-2, abs=1e-3), name
        assert cells[4] == shown[name][4]
