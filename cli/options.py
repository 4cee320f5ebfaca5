"""What the commands share: the types of their options, and how an option's text becomes a value."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from ..errors import invalid, require_known, require_whole

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
Seed = Annotated[int, typer.Option(help="First seed of everything random.")]
Seeds = Annotated[int, typer.Option(help="Number of seeds.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or mps. Networks only; simulations run on the CPU.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder with a data set in its official layout; default: digits.")
]
Download = Annotated[bool, typer.Option("--download", help="Fetch the official archive (checksum verified).")]
Examples = Annotated[int | None, typer.Option(help="Train on a stratified subset of so many.")]
Output = Annotated[Path | None, typer.Option(help="Where to write the result.")]
Picture = Annotated[
    Path | None, typer.Option("--figure", help="Also draw the curves into this file (.png, .pdf).")
]
Name = Annotated[str, typer.Option(help="ntp, mup, sp; depth-mup and 1/l for residual networks.")]
Network = Annotated[
    str,
    typer.Option(
        help="simple-convnet, convnet, resnet, vit, transformer, transformer-post, mlp, residual-mlp, "
        "two-layer-linear or deep-linear."
    ),
]
OptimizerName = Annotated[str, typer.Option("--optimizer", help="sgd, adam or adamw.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="NAME=VALUE of any setting of network, optimizer or training, such as depth=12, momentum=0.9, "
        "warmup=200 or quantities=sharpness,ntk_sharpness; an unknown name lists them. Repeatable.",
    ),
]
DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="auto recognises a folder; digits, cifar-10, tiny-imagenet, image-folder, wikitext-2, "
        "wikitext-2-bytes, random, random-tokens.",
    ),
]
Widths = Annotated[str, typer.Option("--widths", "--width", help="Widths, comma-separated.")]
Rates = Annotated[
    str, typer.Option("--learning-rate", "--learning-rates", help="Base rates eta0, comma-separated.")
]
Every = Annotated[int | None, typer.Option(help="Steps between measurements; default: 16 intervals.")]


def numbers(text: str, name: str, example: str = "64,256,1024") -> tuple[float, ...]:
    """Numbers separated by commas; `inf` is one."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    overflown = any(map(math.isinf, values)) and "inf" not in text.lower()
    if overflown or any(map(math.isnan, values)):
        raise invalid(name, text, accepted="numbers separated by commas", remedy=f"write {example}, say")
    return values


def whole(width: float) -> int:
    """A width as a whole number."""
    require_whole("width", width, least=1, example=64)
    return int(width)


def seeds(first: int, count: int) -> tuple[int, ...]:
    """Consecutive seeds."""
    require_whole("seed", first, least=0, example=0)
    require_whole("number of seeds", count, least=1, most=10**6, example=3)
    return tuple(range(first, first + count))


def check_outputs(output: Path | None, picture: Path | None) -> None:
    """Refuse places that cannot be written to before any work is done."""
    from ..records import require_writable

    if picture is not None:
        require_known("type of the picture", picture.suffix.lower(), (".png", ".pdf", ".svg"))
    if picture is not None and picture == output:
        raise invalid(
            "--figure", str(picture), accepted="a path other than --output", remedy="name another file"
        )
    for path in (output, picture):
        if path is not None:
            require_writable(path)
