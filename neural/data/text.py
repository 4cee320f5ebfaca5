"""WikiText-2 in its official layout, as one stream of words or bytes cut into windows.

Source: Merity et al., Pointer Sentinel Mixture Models, ICLR 2017.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...errors import invalid, require_known, require_whole
from ...records import array_hash
from .dataset import TOKENS, Dataset
from .files import bad_file, inner_folder, read_bytes, require_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ...errors import PathText

WIKITEXT_FOLDER = "wikitext-2"
FILES = {"train": "wiki.train.tokens", "valid": "wiki.valid.tokens", "test": "wiki.test.tokens"}
"""File of each split."""

LEVELS = ("word", "byte")
UNKNOWN, END_OF_LINE = "<unk>", "<eos>"
BYTES = 256
"""Tokens there are, byte by byte."""
_REMEDY = "restore it from the official archive"


def read_wikitext2(
    folder: PathText,
    *,
    level: str = "word",
    sequence: int = 35,
    split: str = "train",
    vocabulary: int | None = None,
) -> Dataset:
    """Read one split as consecutive windows of the stream, which do not overlap.

    Parameters
    ----------
    folder
        `wikitext-2` itself or the folder that holds it. Where it has no `wiki.train.tokens`, the validation
        file is trained on, and the data set's name says so.
    level
        `word`: the official tokens, separated by whitespace, and one `<eos>` at the end of each line;
        `byte`: the bytes of the file, 256 outputs.
    sequence
        Tokens in a window. What is left at the end of the stream is dropped.
    split
        `train`, `valid` or `test`.
    vocabulary
        At most so many words, the most frequent ones of the training file; None is all of them. The rest,
        and words that the training file does not have, are `<unk>`, which always has a place.

    Returns
    -------
    Dataset
        A data set of kind `tokens`: inputs and targets int64 of shape (examples, sequence), the targets one
        token further on in the stream. Words are numbered by frequency, ties in the order of their text.

    Raises
    ------
    InputError
        If a setting is out of range, or a file is missing, empty, not UTF-8 or shorter than one window.
    """
    require_known("level of tokens", level, LEVELS)
    require_known("split of WikiText-2", split, FILES)
    require_whole("sequence length", sequence, least=1, example=35)
    require_vocabulary(vocabulary, level)
    root = inner_folder(require_folder(folder, f"{WIKITEXT_FOLDER}/"), WIKITEXT_FOLDER)
    source = _training_split(root) if split == "train" else split
    if level == "byte":
        stream, outputs = np.frombuffer(_content(root, source), dtype=np.uint8).astype(np.int64), BYTES
    else:
        stream, outputs = _word_stream(root, source, vocabulary)
    if len(stream) <= sequence:
        why = f"it has {len(stream)} tokens"
        raise bad_file(root / FILES[source], f"more than {sequence} tokens", why, "pass a shorter sequence")
    shown = WIKITEXT_FOLDER if source == "train" else f"{WIKITEXT_FOLDER} ({source})"
    return token_windows(f"{shown}, {level}s", stream, sequence, outputs)


def require_vocabulary(vocabulary: int | None, level: str) -> None:
    """Raise `InputError` unless words are to be limited to at least two."""
    if vocabulary is None:
        return
    if level == "byte":
        remedy = "leave it out, or choose the level word"
        raise invalid("vocabulary", vocabulary, accepted="None for bytes", remedy=remedy)
    require_whole("vocabulary", vocabulary, least=2, example=2_000)


def _training_split(root: Path) -> str:
    """The split that is trained on: the validation file where there is no other."""
    train, valid = (root / FILES[split] for split in ("train", "valid"))
    if not train.exists() and not valid.exists():
        why = "neither is there"
        raise bad_file(train, f"this file, or {valid.name} in its place", why, _REMEDY)
    return "train" if train.exists() else "valid"


def _content(root: Path, split: str) -> bytes:
    return read_bytes(root / FILES[split], f"WikiText-2's {split} file", _REMEDY)


def _words(root: Path, split: str) -> list[str]:
    """Tokens of a file with the ends of its lines; only a line feed ends one, as in the official counts."""
    lines = _content(root, split).decode("utf-8").removesuffix("\n").split("\n")
    return [word for line in lines for word in (*line.split(), END_OF_LINE)]


def _word_stream(root: Path, split: str, size: int | None) -> tuple[NDArray[np.int64], int]:
    """The numbers of a split's words, shape (tokens,), and how many words there are."""
    trained_on = _training_split(root)
    training = _words(root, trained_on)
    numbers = numbering(training, size)
    words = training if split == trained_on else _words(root, split)
    unknown = numbers[UNKNOWN]
    stream = np.fromiter((numbers.get(word, unknown) for word in words), dtype=np.int64, count=len(words))
    return stream, len(numbers)


def numbering(words: list[str], size: int | None) -> dict[str, int]:
    """A number for each of the `size` most frequent words, `<unk>` among them; None is all of them."""
    counts = Counter(words)
    counts.setdefault(UNKNOWN, 0)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:size]
    if UNKNOWN not in ranked:
        ranked[-1] = UNKNOWN
    return {word: number for number, word in enumerate(ranked)}


def token_windows(name: str, stream: NDArray[np.int64], sequence: int, outputs: int) -> Dataset:
    """Consecutive windows of a stream of tokens; the targets are one token further on."""
    kept = (len(stream) - 1) // sequence * sequence
    inputs, targets = (stream[start : start + kept].reshape(-1, sequence) for start in (0, 1))
    return Dataset(
        name,
        TOKENS,
        torch.from_numpy(inputs.copy()),
        torch.from_numpy(targets.copy()),
        outputs,
        array_hash(inputs, targets),
    )
