"""Exceptions in one short line."""

from __future__ import annotations


def error_text(error: BaseException, *, first_line: bool = False, longest: int = 160) -> str:
    """An error's class and its message, on one line.

    Parameters
    ----------
    error
        Any exception; one whose message cannot be printed is named by its class.
    first_line
        Whether to leave out all but the message's first line.
    longest
        Characters after which the text is cut.
    """
    try:
        message = str(error).strip()
    except Exception:  # an exception of somebody else's may not be printable
        message = ""
    if first_line:
        message = message.partition("\n")[0]
    text = " ".join(f"{type(error).__name__}: {message}".split()).removesuffix(":")
    return text if len(text) <= longest else text[: longest - 1] + "…"
