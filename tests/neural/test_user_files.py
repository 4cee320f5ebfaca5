"""Data by name: functions and objects in the user's code, files of arrays, folders of images, text files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from superconsistency.errors import InputError
from superconsistency.neural.loading import DataReading, Drawn, load_batch
from torch.utils.data import TensorDataset

X = torch.arange(60.0).reshape(20, 3)
Y = torch.arange(20) % 4
TEXT = "the quick brown fox jumps over the lazy dog and the cat sees the fox\n" * 8

CODE = """
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset
import random

inputs = torch.arange(60.0).reshape(20, 3)
labels = torch.arange(20) % 4
loader = DataLoader(TensorDataset(inputs, labels), batch_size=8)
arrays = {"x": inputs, "labels": labels}
batches = [(inputs, labels)]
number = 5

class Mine(Dataset):
    def __len__(self): return 20
    def __getitem__(self, index): return inputs[index], index % 4

def make_loader(): return loader
def make_set(): return Mine()
def make_pair(): return inputs, labels
def make_batches():
    yield inputs, labels
def make_noise():
    return inputs + random.random() + np.random.rand() + torch.rand(1), labels
def late():
    import neighbour
    return neighbour.DATA
def stop(): raise SystemExit("enough")
def needs(what): return what
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text(CODE)
    (tmp_path / "code" / "neighbour.py").write_text(
        "import torch\nDATA = torch.ones(20, 3), torch.zeros(20)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "neighbour", raising=False)
    return tmp_path / "code" / "mine.py"


@pytest.mark.parametrize(
    "name",
    ["loader", "arrays", "batches", "Mine", "make_loader", "make_set", "make_pair", "make_batches", "late"],
)
def test_a_name_stands_for_the_data_or_for_what_returns_them(name: str, code: Path) -> None:
    drawn = load_batch(f"{code}:{name}", 20)
    assert drawn.batch.examples == 20
    assert drawn.name == f"{code}:{name}"
    if name != "late":
        inputs = drawn.batch.inputs
        assert torch.equal(inputs["x"] if isinstance(inputs, dict) else inputs, X)


def test_a_seed_fixes_every_kind_of_random_data(code: Path) -> None:
    one, same, other = (load_batch(f"{code}:make_noise", 20, seed).batch.inputs for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("number", "number is of type int"),
        ("absent", "has no absent"),
        ("stop", "SystemExit: enough"),
        ("needs", "missing 1 required positional argument"),
    ],
)
def test_a_name_that_gives_no_data_is_one_line(name: str, words: str, code: Path) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load_batch(f"{code}:{name}")
    assert "\n" not in str(caught.value)


def test_files_of_several_arrays_give_inputs_by_name(tmp_path: Path) -> None:
    arrays = {"input_ids": Y.numpy(), "attention_mask": (Y > 0).numpy(), "labels": Y.numpy().astype(np.int8)}
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
    np.savez_compressed(tmp_path / "small.npz", **arrays)  # type: ignore[arg-type]
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, tmp_path / "data.pt")
    for name in ("data.npz", "small.npz", "data.pt"):
        drawn = load_batch(tmp_path / name)
        assert drawn.batch.inputs["input_ids"].equal(Y)
        assert drawn.batch.inputs["attention_mask"].equal(Y > 0)
        assert drawn.batch.targets.equal(Y)
        assert drawn.batch.targets.dtype == torch.int64
        assert (drawn.name, drawn.available) == (name, 20)
    torch.save([(X, Y), (X, Y)], tmp_path / "batches.pth")
    assert load_batch(str(tmp_path / "batches.pth")).available == 40


def test_a_folder_of_images_gives_classes(tmp_path: Path) -> None:
    for index, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (9, 7), (80 * index, 255, 0)).save(tmp_path / name / f"{number}.png")
    drawn = load_batch(tmp_path, reading=DataReading(side=8))
    assert drawn.batch.inputs.shape == (6, 3, 8, 8)
    assert drawn.batch.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert drawn.batch.inputs[3, :, 0, 0].tolist() == pytest.approx([80 / 127.5 - 1, 1.0, -1.0])


def windows(drawn: Drawn, stream: list[int], sequence: int) -> None:
    """Inputs are windows of a stream, and targets are one token on."""
    kept = (len(stream) - 1) // sequence
    assert drawn.available == kept
    assert drawn.batch.inputs.tolist() == [stream[i * sequence : (i + 1) * sequence] for i in range(kept)]
    assert drawn.batch.targets.tolist() == [
        stream[i * sequence + 1 : (i + 1) * sequence + 1] for i in range(kept)
    ]


@pytest.mark.parametrize("suffix", ["txt", "md", "tokens", "TXT"])
@pytest.mark.parametrize("sequence", [None, 1, 7])
def test_a_text_file_gives_windows_of_bytes_and_the_next_ones(
    suffix: str, sequence: int | None, tmp_path: Path
) -> None:
    path = tmp_path / f"book.{suffix}"
    path.write_text("é" + TEXT[:150], encoding="utf-8")
    windows(load_batch(path, reading=DataReading(sequence)), list(path.read_bytes()), sequence or 35)


def test_words_are_numbered_by_frequency_up_to_the_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text(TEXT)
    words = TEXT.split()
    everything = load_batch(str(path), reading=DataReading(5, "word"))
    ranked = sorted(set(words) | {"<unk>"}, key=lambda word: (-words.count(word), word))
    windows(everything, [ranked.index(word) for word in words], 5)
    few = load_batch(path, reading=DataReading(5, "word", 3))
    known = [*ranked[:2], "<unk>"]
    windows(few, [known.index(word) if word in known else 2 for word in words], 5)


@pytest.mark.parametrize(
    ("content", "reading", "words"),
    [
        (TEXT.encode(), DataReading(sequence=0), "sequence length is 0"),
        (TEXT.encode(), DataReading(sequence=5000), "it has 552 bytes"),
        (TEXT.encode(), DataReading(level="letter"), "level of tokens is letter; accepted: word, byte"),
        (TEXT.encode(), DataReading(vocabulary=9), "vocabulary is 9; .* or choose the level word"),
        (TEXT.encode(), DataReading(side=9), "side is 9; accepted: none, as book.txt is text"),
        (b"", DataReading(), "it is empty"),
        (b"\xff\xfe", DataReading(), "codec can't decode"),
        (None, DataReading(), "it is missing"),
    ],
)
def test_a_text_that_cannot_be_read_so_is_one_line(
    content: bytes | None, reading: DataReading, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "book.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        load_batch(path, reading=reading)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["sequence", "level", "vocabulary", "side"])
def test_settings_of_text_and_images_are_refused_for_other_data(setting: str, tmp_path: Path) -> None:
    reading = DataReading(**{setting: "byte" if setting == "level" else 9})  # type: ignore[arg-type]
    np.savez(tmp_path / "data.npz", inputs=X.numpy(), targets=Y.numpy())
    for data in (None, (X, Y), tmp_path / "data.npz", TensorDataset(X, Y)):
        with pytest.raises(InputError, match=rf"{setting} is .*accepted: .*remedy: leave it out"):
            load_batch(data, reading=reading)
    assert load_batch(None, 2, reading=DataReading(side=32)).batch.inputs.shape[-1] == 32


@pytest.mark.parametrize("data", ["data.csv", "nowhere/at/all", "a" * 400, "\0", ""])
def test_a_name_of_nothing_is_one_line(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="data") as caught:
        load_batch(data)
    assert "\n" not in str(caught.value)
