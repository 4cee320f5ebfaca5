from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from superconsistency.errors import InputError
from superconsistency.neural.data import Dataset, read_wikitext2
from superconsistency.neural.data.text import END_OF_LINE, FILES, UNKNOWN

TRAIN = " \n = A lobster = \n \n the lobster , the crab and the <unk> \n a b c d e f g h \n"
VALID = " the lobster saw a whale \n"
TEST = " the whale saw the crab \n and the end \n"


def write(root: Path, **splits: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for split, text in splits.items():
        (root / FILES[split]).write_bytes(text.encode())
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "wikitext-2", train=TRAIN, valid=VALID, test=TEST)


def stream(data: Dataset) -> list[int]:
    """The tokens that the windows cover, from both ends of each."""
    return [*data.inputs.flatten().tolist(), int(data.targets[-1, -1])]


def words(text: str) -> list[str]:
    found: list[str] = []
    for line in text.split("\n")[:-1]:
        found += [*line.split(), END_OF_LINE]
    return found


def vocabulary(text: str) -> dict[str, int]:
    """Most frequent first, then by text, with a place for unknown words."""
    counts = Counter(words(text)) + Counter()
    pairs = sorted((-count, word) for word, count in ({UNKNOWN: 0} | dict(counts)).items())
    return {word: number for number, (_, word) in enumerate(pairs)}


@pytest.mark.parametrize("inside", [True, False])
def test_words_are_numbered_by_frequency_and_lines_end_in_a_token(folder: Path, inside: bool) -> None:
    data = read_wikitext2(folder if inside else folder.parent, sequence=1)
    numbers = vocabulary(TRAIN)
    assert stream(data) == [numbers[word] for word in words(TRAIN)]
    assert data.outputs == len(numbers)
    assert (data.name, data.kind) == ("wikitext-2, words", "tokens")


@pytest.mark.parametrize("level", ["word", "byte"])
@pytest.mark.parametrize("sequence", [1, 2, 3, 7, 20])
def test_targets_are_the_next_tokens_of_windows_that_do_not_overlap(
    folder: Path, level: str, sequence: int
) -> None:
    data = read_wikitext2(folder, level=level, sequence=sequence)
    tokens = torch.tensor(stream(read_wikitext2(folder, level=level, sequence=1)))
    assert data.inputs.dtype == data.targets.dtype == torch.int64
    assert data.inputs.shape == data.targets.shape == ((len(tokens) - 1) // sequence, sequence)
    for window in range(data.examples):
        start = window * sequence
        assert torch.equal(data.inputs[window], tokens[start : start + sequence])
        assert torch.equal(data.targets[window], tokens[start + 1 : start + 1 + sequence])


def test_words_the_training_file_does_not_have_are_unknown(folder: Path) -> None:
    data = read_wikitext2(folder, sequence=1, split="test")
    numbers = vocabulary(TRAIN)
    assert stream(data) == [numbers.get(word, numbers[UNKNOWN]) for word in words(TEST)]
    assert data.outputs == len(numbers)
    assert data.name == "wikitext-2 (test), words"


def test_bytes_are_those_of_the_file(folder: Path) -> None:
    (folder / FILES["valid"]).write_bytes("naïve – ☃\n".encode())
    data = read_wikitext2(folder, level="byte", sequence=1, split="valid")
    assert bytes(stream(data)) == "naïve – ☃\n".encode()
    assert (data.name, data.outputs) == ("wikitext-2 (valid), bytes", 256)


@pytest.mark.parametrize("level", ["word", "byte"])
def test_without_a_training_file_the_validation_file_is_trained_on_and_the_name_says_so(
    tmp_path: Path, level: str
) -> None:
    root = write(tmp_path, valid=TRAIN, test=TEST)
    as_training = write(tmp_path / "other", train=TRAIN, test=TEST)
    data = read_wikitext2(root, level=level, sequence=2)
    assert data.name == f"wikitext-2 (valid), {level}s"
    assert data.hash == read_wikitext2(as_training, level=level, sequence=2).hash
    assert data.hash == read_wikitext2(root, level=level, sequence=2, split="valid").hash
    tested = (read_wikitext2(place, split="test", sequence=2).hash for place in (root, as_training))
    assert len(set(tested)) == 1


@pytest.mark.parametrize("size", [2, 3, 5, 1000])
def test_a_small_vocabulary_keeps_the_most_frequent_words_and_makes_the_rest_unknown(
    folder: Path, size: int
) -> None:
    data = read_wikitext2(folder, sequence=1, vocabulary=size)
    ranked = sorted(vocabulary(TRAIN), key=lambda word: vocabulary(TRAIN)[word])
    kept = ranked[:size] if UNKNOWN in ranked[:size] else [*ranked[: size - 1], UNKNOWN]
    numbers = {word: number for number, word in enumerate(kept)}
    assert data.outputs == len(kept)
    assert stream(data) == [numbers.get(word, numbers[UNKNOWN]) for word in words(TRAIN)]


@given(
    text=st.text(alphabet="ab \n\t\r\u2028\x85\u3000é", min_size=1).filter(lambda text: bool(text.strip()))
)
def test_every_token_is_one_of_the_outputs(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = write(tmp_path_factory.mktemp("text"), train=text + "\n")
    data = read_wikitext2(root, sequence=1)
    assert stream(data) == [vocabulary(text + "\n")[word] for word in words(text + "\n")]
    assert max(stream(data)) < data.outputs


def test_what_ends_a_line_elsewhere_does_not_end_one_here(tmp_path: Path) -> None:
    root = write(tmp_path, train="a\u2028b\x85c\r\nd\n")
    assert words("a\u2028b\x85c\r\nd\n").count(END_OF_LINE) == 2
    assert len(stream(read_wikitext2(root, sequence=1))) == 6


def test_the_last_line_need_not_be_ended(tmp_path: Path) -> None:
    ended, open_ended = write(tmp_path / "a", train="a b\nc\n"), write(tmp_path / "b", train="a b\nc")
    assert read_wikitext2(ended, sequence=1).hash == read_wikitext2(open_ended, sequence=1).hash


def test_the_hash_tells_levels_windows_and_vocabularies_apart(folder: Path) -> None:
    settings: tuple[dict[str, Any], ...] = (
        {},
        {"level": "byte"},
        {"sequence": 3},
        {"vocabulary": 3},
        {"split": "test"},
    )
    hashes = [read_wikitext2(folder, **({"sequence": 2} | chosen)).hash for chosen in settings]
    assert len(set(hashes)) == len(hashes)
    assert hashes[0] == read_wikitext2(folder, sequence=2).hash


BAD = {
    "empty": (b"", "it is empty"),
    "blank": (b" \n \n", "it is empty"),
    "not UTF-8": (b"caf\xe9 \n", "utf-8"),
    "too short": (b"a b\n", "it has 3 tokens"),
}


@pytest.mark.parametrize(("content", "why"), [pytest.param(*bad, id=name) for name, bad in BAD.items()])
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / FILES["train"]).write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        read_wikitext2(tmp_path, sequence=3)
    assert "\n" not in str(caught.value)
    assert FILES["train"] in str(caught.value)


def test_missing_folders_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data folder is"):
        read_wikitext2(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"wiki\.train\.tokens; accepted: this file, or wiki\.valid\.tokens"):
        read_wikitext2(tmp_path)
    write(tmp_path, train=TRAIN)
    with pytest.raises(InputError, match=r"wiki\.test\.tokens; accepted: .* \(it is missing\)"):
        read_wikitext2(tmp_path, split="test")
    (tmp_path / FILES["valid"]).mkdir()
    with pytest.raises(InputError, match="it is not a file"):
        read_wikitext2(tmp_path, split="valid")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "character"}, "level of tokens is character; accepted: word, byte"),
        ({"split": "val"}, "split of WikiText-2 is val; accepted: train, valid, test"),
        ({"sequence": 0}, "sequence length is 0"),
        ({"sequence": 2.5}, "sequence length is 2.5"),
        ({"vocabulary": 1}, "vocabulary is 1"),
        ({"vocabulary": 100, "level": "byte"}, "vocabulary is 100; accepted: None for bytes"),
    ],
)
def test_settings_out_of_range_are_refused(folder: Path, settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_wikitext2(folder, **settings)  # type: ignore[arg-type]


def test_windows_do_not_share_memory(folder: Path) -> None:
    data = read_wikitext2(folder, sequence=2)
    before = data.targets.clone()
    data.inputs.zero_()
    np.testing.assert_array_equal(data.targets, before)
