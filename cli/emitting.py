"""How a command hands over its result: the only place that keeps, draws and prints one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import xarray as xr
    from matplotlib.figure import Figure

    from ..records.tables import Table


class Result(Protocol):
    """What a command found."""

    @property
    def document(self) -> Any:
        """Everything, as plain values."""

    @property
    def parts(self) -> Sequence[Table | str]:
        """Tables and sentences, in the order in which they are read."""

    @property
    def record(self) -> xr.Dataset | None:
        """Kept at --output as NetCDF, in place of the document as JSON."""

    @property
    def draw(self) -> Callable[[], Figure] | None:
        """Draws the result; None where it has no picture."""


class Plain(NamedTuple):
    """A result that is made of its parts."""

    document: Any
    parts: Sequence[Table | str] = ()
    draw: Callable[[], Figure] | None = None
    record: xr.Dataset | None = None


def emit(
    result: Result,
    output: Path | None = None,
    figure: Path | None = None,
    *,
    as_json: bool = False,
    written: Sequence[Path] = (),
) -> None:
    """Keep a result, draw it, and print it.

    Parameters
    ----------
    result
        What was found.
    output
        Where to keep it: a record as NetCDF, a document as JSON. None keeps nothing.
    figure
        Where to draw it; None draws nothing.
    as_json
        Print one JSON document in place of tables and sentences.
    written
        Files that the command has written already.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    from .console import print_json, print_table, stdout

    if output is not None and output not in written:
        _keep(result, output)
    if figure is not None and figure not in written and result.draw is not None:
        save(result.draw, figure)
    if as_json:
        print_json(result.document)
        return
    for part in result.parts:
        if isinstance(part, str):
            stdout().print(part, soft_wrap=True)
        else:
            print_table(part)
    for path in dict.fromkeys((*written, output, figure)):
        if path is not None:
            stdout().print(f"written: {path}", soft_wrap=True)


def _keep(result: Result, output: Path) -> None:
    from ..records import save_record, to_json, write_atomically

    if result.record is not None:
        save_record(result.record, output)
        return
    text = json.dumps(to_json(result.document), allow_nan=False, indent=2) + "\n"
    write_atomically(output, lambda path: path.write_text(text))


def save(draw: Callable[[], Figure], path: Path) -> None:
    """Draw, without a screen and in the paper's style, into a file; for the commands with `--figure`."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    from ..figures import paper_style, save_picture

    with paper_style():
        drawn = draw()
    save_picture(drawn, path)
    plt.close(drawn)
