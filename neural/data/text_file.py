"""Any text file as one stream of bytes or words cut into windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...errors import as_path, require_known, require_whole
from .files import bad_file, printable, read_bytes
from .text import BYTES, LEVELS, UNKNOWN, numbering, require_vocabulary, token_windows

if TYPE_CHECKING:
    from ...errors import PathText
    from .dataset import Dataset

TEXT_SUFFIXES = frozenset({".txt", ".text", ".tokens", ".md", ".rst", ".tex"})
"""By which a file is taken for text."""


def read_text(
    path: PathText, *, level: str = "byte", sequence: int = 35, vocabulary: int | None = None
) -> Dataset:
    """Read a UTF-8 text file as consecutive windows of its tokens, which do not overlap.

    Parameters
    ----------
    path
        The file.
    level
        `byte`: the bytes of the file, 256 outputs, so that any text works; `word`: what whitespace separates,
        numbered by frequency.
    sequence
        Tokens in a window. What is left at the end of the file is dropped.
    vocabulary
        The largest number of different words, the most frequent ones; the rest are `<unk>`. None is all.

    Returns
    -------
    Dataset
        A data set of kind `tokens`: inputs and targets int64 of shape (examples, sequence), the targets one
        token further on in the file.

    Raises
    ------
    InputError
        If a setting is out of range, or the file is missing, empty, not UTF-8 or shorter than one window.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from superconsistency.neural.data import read_text
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "poem.txt"
    >>> _ = path.write_text("to be or not to be")
    >>> data = read_text(path, level="word", sequence=5, vocabulary=3)
    >>> data.inputs.tolist(), data.targets.tolist(), data.outputs
    ([[1, 0, 2, 2, 1]], [[0, 2, 2, 1, 0]], 3)
    """
    path = as_path("text file", path)
    require_known("level of tokens", level, LEVELS)
    require_whole("sequence length", sequence, least=1, example=35)
    require_vocabulary(vocabulary, level)
    content = read_bytes(path, "a text file in UTF-8", "pass a text file, or save it as UTF-8")
    if level == "byte":
        stream, outputs = np.frombuffer(content, dtype=np.uint8).astype(np.int64), BYTES
    else:
        words = content.decode("utf-8").split()
        numbers = numbering(words, vocabulary)
        unknown, outputs = numbers[UNKNOWN], len(numbers)
        stream = np.array([numbers.get(word, unknown) for word in words], dtype=np.int64)
    if len(stream) <= sequence:
        why = f"it has {len(stream)} {level}s"
        raise bad_file(
            path, f"more than {sequence} of them", why, "pass a shorter sequence, or a longer text"
        )
    return token_windows(f"{printable(path.name)}, {level}s", stream, sequence, outputs)
