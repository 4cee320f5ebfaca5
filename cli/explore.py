"""Command `explore`: the phase portrait as a page to play with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import invalid
from . import options
from .emitting import Plain, emit
from .options import Json, Seed


def explore(
    *,
    dim: Annotated[int, typer.Option(help="Input dimension D.")] = 3,
    target_norm: options.TargetNorm = 1.0,
    learning_rate: Annotated[
        float | None, typer.Option(help="Base rate eta0; default: just below the edge.")
    ] = None,
    width: Annotated[str, typer.Option(help="Width of the finite network, or inf.")] = "64",
    steps: Annotated[int, typer.Option(help="Gradient-descent steps shown.")] = 60,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option(help="Where to write the page (.html).")] = Path("portrait.html"),
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML page: phase portrait, loss and sharpness under sliders."""
    import webbrowser

    from ..figures.interactive import PortraitDefaults, near_edge, write_portrait

    widths = options.numbers(width, "width")
    if len(widths) != 1:
        raise invalid("width", width, accepted="one width", remedy="pass 64; the page's slider has the rest")
    if output.suffix not in {".html", ".htm"}:
        raise invalid("output", str(output), accepted="a name ending in .html", remedy="pass portrait.html")
    rate = near_edge(dim, target_norm) if learning_rate is None else learning_rate
    write_portrait(output, PortraitDefaults(dim, target_norm, rate, widths[0], steps, seed))
    address = output.resolve().as_uri()
    opened = open_page and webbrowser.open(address)
    unopened = [f"no browser could be started; open {address}"] if open_page and not opened else []
    document = {"page": str(output), "address": address, "opened": opened}
    emit(Plain(document, unopened), as_json=as_json, written=[output])
