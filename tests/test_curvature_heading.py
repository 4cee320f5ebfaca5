"""What the command and its document say of data, loss and optimizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from superconsistency.cli import main

from .user_file import USER_FILE

MODELS = f"""{USER_FILE}
def first_adam():
    made = model()
    return made, torch.optim.AdamW(made.parameters(), lr=0.01)

def rmsprop():
    made = model()
    return made, torch.optim.RMSprop(made.parameters(), lr=0.01)

def decaying():
    made = model()
    return made, torch.optim.SGD(made.parameters(), lr=0.1, weight_decay=0.5)

def language():
    return Language(256)

loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(torch.randn(20, 5), torch.arange(20) % 3), batch_size=8, shuffle=True
)

def data():
    return torch.randn(20, 5), torch.arange(20) % 3
"""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with models.py and a text in it."""
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "book.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints."""
    data = [] if "--data" in arguments else ["--data", "models.py:data"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["curvature", *arguments, *data])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    return out


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What the command prints with --json."""
    found: dict[str, Any] = json.loads(run(capsys, *arguments, "--json"))
    return found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["models.py:first_adam"],
         "without AdamW's weight decay, which is not part of the loss; in the metric of AdamW's first step"),
        (["models.py:rmsprop"], "cross-entropy; optimizer RMSprop: its metric is not known, plain Hessian"),
        (["models.py:decaying"], "cross-entropy with SGD's weight decay of 0.5; in the metric of SGD"),
        (["models.py:decaying", "--weight-decay", "0"], "cross-entropy; in the metric of SGD"),
        (["models.py:decaying", "--plain", "--weight-decay", "2"], "with weight decay 2; plain Hessian"),
        (["models.py:warming", "--learning-rate", "0.1"], "metric of SGD, whose learning rates are all 0"),
        (["models.py:warming", "--learning-rate", "0.1"], "it does not move"),
        (["models.py:model", "--data", "models.py:loader", "--examples", "9"],
         "; the first 9 examples of models.py:loader, cross"),
        (["models.py:model", "--data", "models.py:loader"], "; 20 of 20 examples of models.py:loader, cross"),
        (["models.py:language", "--data", "book.txt", "--sequence", "8", "--output-key", "logits"],
         "109 of 109 examples of book.txt, bytes, cross-entropy of output logits; plain"),
        (["models.py:language", "--data", "book.txt", "--level", "word", "--vocabulary", "5"],
         "5 of 5 examples of book.txt, words, cross-entropy; plain"),
        (["models.py:model", "--loss", "torch.nn:CrossEntropyLoss"], "torch.nn:CrossEntropyLoss; plain"),
    ],
)  # fmt: skip
def test_the_heading_says_what_is_measured(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in run(capsys, *arguments, "--quantities", "loss,sharpness")


def test_the_table_bounds_the_probability_that_a_larger_eigenvalue_was_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = run(capsys, "models.py:model", "--quantities", "loss,sharpness")
    assert "missed" in out
    assert "that an eigenvalue further out was overlooked" in " ".join(out.split())
    found = document(capsys, "models.py:model", "--quantities", "loss,sharpness")["estimates"]
    assert found["loss"]["missed"] is None
    assert 0 < found["sharpness"]["missed"] < 1


def test_the_document_says_which_metric_decay_and_batch(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "models.py:decaying", "--quantities", "loss")
    assert set(found["weight_decay"].values()) == {0.5}
    assert (found["optimizer"], found["metric"]) == ("SGD", "in the metric of SGD")
    assert (found["inputs"], found["targets"]) == ("float64 (20, 5)", "int64 (20,)")
    foreign = document(capsys, "models.py:rmsprop", "--quantities", "loss")
    assert foreign["metric"] == "optimizer RMSprop: its metric is not known, plain Hessian"
    assert foreign["edge_of_stability"] is None
