from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SHORTER = {
    "convnet_sharpness.ipynb": ("(8, 16, 32), (0, 1), 128", "(4, 8, 16), (0, 1), 24"),
    "verify_theorems.ipynb": ("if claim.id in names]", "if claim.id in names[:1]]"),
}
"""Parts of a notebook as it has them and as they are here: networks trained for a picture's sake, and of each
group of claims the first, since tests/test_package.py checks the symbolic ones and `make verify` all."""


def test_there_is_a_notebook_for_the_theorems() -> None:
    assert "verify_theorems.ipynb" in NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom_and_no_claim_fails_in_it(name: str, tmp_path: Path) -> None:
    """In a process of its own, which Jupyter's threads and warnings need."""
    target = tmp_path / name
    text = (FOLDER / name).read_text(encoding="utf-8")
    if name in SHORTER:
        usual, shorter = SHORTER[name]
        assert text.count(usual) == 1
        text = text.replace(usual, shorter)
    target.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "from nbclient.cli import main; main()", "--inplace", str(target)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    printed = _printed(target)
    assert not re.findall(r"^\S+: (?:refuted|not run)\..*$", printed, flags=re.MULTILINE)
    assert "✗" not in target.read_text()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_with_its_results_and_pictures(name: str) -> None:
    cells = [cell for cell in _cells(FOLDER / name) if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert sum("image/png" in str(cell.outputs) for cell in cells) >= 4
    assert "stderr" not in {output.get("name") for cell in cells for output in cell.outputs}


def _cells(path: Path) -> list[Any]:
    return list(nbformat.reads(path.read_text(), as_version=4).cells)  # type: ignore[no-untyped-call]


def _printed(path: Path) -> str:
    cells = _cells(path)
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(output.text for output in outputs if output.output_type == "stream")
