"""What the commands share: the types of their options, and how an option's text becomes a value."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import invalid, require_known, require_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

FIGURES_FOLDER = Path("docs/figures")
"""Where the figures are, by default."""

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
Name = Annotated[str, typer.Option(help="One of {parametrizations}.")]
NetworkName = Annotated[
    str,
    typer.Option(
        help="One of {networks}.",
    ),
]
OptimizerName = Annotated[str, typer.Option("--optimizer", help="One of {optimizers}.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="NAME=VALUE of any setting of network, optimizer or training, such as depth=12, momentum=0.9, "
        "warmup=200 or quantities=sharpness,ntk_sharpness; an unknown name lists them. Repeatable.",
    ),
]
OverAxes = Annotated[
    list[str] | None,
    typer.Option(
        "--over",
        help="NAME=VALUE,VALUE,... of any setting that --set knows, as an axis: warmup=0,200 or "
        "frozen=none,first+second; parts of one value are joined by a plus. Repeatable.",
    ),
]
Load = Annotated[
    list[str] | None,
    typer.Option(
        "--load",
        help="NAME=VALUE of how a data set is read: split, limit (images of a class), side (pixels), and for "
        "text level (word or byte), sequence and vocabulary. Repeatable.",
    ),
]
Threads = Annotated[
    int, typer.Option(help="Threads of each run; the bits of a result depend on them, not on --workers.")
]
Workers = Annotated[
    int | None, typer.Option(help="Processes on this machine; default: as many as the cores allow.")
]
DatasetName = Annotated[
    str,
    typer.Option(
        "--dataset",
        help="auto, which recognises a folder, or one of {datasets}.",
    ),
]
Widths = Annotated[str, typer.Option("--widths", "--width", help="Widths, comma-separated.")]
Rates = Annotated[
    str, typer.Option("--learning-rate", "--learning-rates", help="Base rates eta0, comma-separated.")
]
Dimension = Annotated[int, typer.Option(help="Input dimension D.")]
TargetNorm = Annotated[float, typer.Option(help="Norm of the target w*.")]
Every = Annotated[int | None, typer.Option(help="Steps between measurements; default: 16 intervals.")]


def numbers(text: str, name: str, example: str = "64,256,1024") -> tuple[float, ...]:
    """Numbers separated by commas; `inf` is one."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    overflown = any(map(math.isinf, values)) and "inf" not in text.lower()
    if overflown or any(map(math.isnan, values)):
        raise invalid(
            name, text, accepted="numbers separated by commas", remedy=f"write {example}, for example"
        )
    return values


def pairs(texts: Sequence[str] | None, label: str, example: str) -> dict[str, str]:
    """Values by name from texts `NAME=VALUE`, each name once."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise invalid(label, text, accepted="NAME=VALUE", remedy=f"pass {example}, for example")
        if name in found:
            raise invalid(
                label, text, accepted=f"each name once, and {name} was given already", remedy="choose one"
            )
        found[name.strip()] = value
    return found


def axis_values(texts: Sequence[str] | None) -> dict[str, list[str | float]]:
    """Values of every axis that `--over` names; texts that are numbers as such."""
    given = pairs(texts, "--over", "warmup=0,200")
    return {name: [plain(part.strip()) for part in text.split(",")] for name, text in given.items()}


def plain(text: str) -> str | float:
    """A text as a number, if it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


_DATA_OPTIONS = {
    "dataset": "--dataset", "folder": "--data-dir", "examples": "--examples", "download": "--download",
}  # fmt: skip
"""What has an option of its own, by the name that `--load` would have for it."""


def data_options(
    dataset: str, folder: Path | None, examples: int | None, texts: Sequence[str] | None, *, download: bool
) -> dict[str, object]:
    """Options that choose the data, as `runner.data_choice` takes them."""
    found: dict[str, object] = {"dataset": dataset, "download": download}
    if folder is not None:
        found["folder"] = str(folder.resolve())
    if examples is not None:
        found["examples"] = examples
    for name, text in pairs(texts, "--load", "sequence=64").items():
        if name in _DATA_OPTIONS:
            remedy = f"pass {_DATA_OPTIONS[name]}"
            raise invalid("--load", name, accepted="names without an option of their own", remedy=remedy)
        found[name] = plain(text)
    return found


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
