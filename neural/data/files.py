"""What the readers of files share: how a folder is found, and how what is wrong with a file is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import InputError, as_path, invalid

if TYPE_CHECKING:
    from pathlib import Path

    from ...errors import PathText

_LONGEST = 120


def inner_folder(folder: Path, official: str) -> Path:
    """The folder of an official name inside a folder, or the folder itself where it holds none such."""
    return folder / official if (folder / official).is_dir() else folder


def require_folder(folder: PathText, holding: str) -> Path:
    """The path of a folder that exists; `InputError` if it does not."""
    path = as_path("data folder", folder)
    if not path.is_dir():
        raise bad_folder(path, f"an existing folder with {holding}", "check the path")
    return path


def bad_folder(folder: Path, accepted: str, remedy: str) -> InputError:
    """Describe a folder that cannot be read."""
    return invalid("data folder", printable(str(folder)), accepted=accepted, remedy=remedy)


def bad_file(path: str | Path, accepted: str, why: str | BaseException, remedy: str) -> InputError:
    """Describe a file that cannot be read, by its path and the reason."""
    reason = printable(why) if isinstance(why, str) else file_error_text(why)
    return invalid("data file", printable(str(path)), accepted=f"{accepted} ({reason})", remedy=remedy)


def file_error_text(error: BaseException) -> str:
    """What an error says, on one short line without control characters."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(said.split())[:_LONGEST] or type(error).__name__)


def printable(text: str) -> str:
    """The text with what could move a terminal's cursor or colour it replaced."""
    return "".join(character if character.isprintable() else "?" for character in text)


def read_bytes(path: Path, accepted: str, remedy: str) -> bytes:
    """The contents of a UTF-8 text file, as bytes.

    Raises
    ------
    InputError
        If there is no such file, or it cannot be read, is empty or is not UTF-8.
    """
    if not path.is_file():
        raise bad_file(path, accepted, "it is missing" if not path.exists() else "it is not a file", remedy)
    try:
        content = path.read_bytes()
        blank = not content.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise bad_file(path, accepted, error, remedy) from error
    if blank:
        raise bad_file(path, accepted, "it is empty", remedy)
    return content
