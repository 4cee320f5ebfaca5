"""What a figure is asked for with, what comes of it, and how it is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt

from ..errors import as_path, require_flag, require_known, require_whole
from ..records import to_json, versions, write_atomically
from .curves import draw_curves, draw_edge
from .style import COLUMN, paper_style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import xarray as xr
    from matplotlib.figure import Figure

    from ..errors import PathText


@dataclass(frozen=True)
class FigureSettings:
    """What a person may choose about a figure.

    Attributes
    ----------
    scale
        `smoke`: seconds, for tests, of experiments only; `laptop`: at most fifteen minutes on two cores,
        thirty for Figure 1; `paper`: as published, or with more seeds.
    seed
        First seed.
    device
        Device that networks train on.
    data_dir, download
        CIFAR-10 from a folder or the official archive, instead of the built-in digits.
    on_progress
        Called with (done, in all).
    keep
        Folder in which runs are kept: a figure that was killed resumes, and one that is drawn or scored again
        runs nothing. None keeps nothing.
    workers
        Processes that runs are done in; None is as many as the cores allow.
    """

    scale: str = "laptop"
    seed: int = 0
    device: str = "auto"
    data_dir: Path | None = None
    download: bool = False
    on_progress: Callable[[float, float], None] = field(default=lambda done, total: None)  # noqa: ARG005
    keep: Path | None = None
    workers: int | None = 1

    if TYPE_CHECKING:  # what may be passed, which is more than what is kept

        def __init__(  # noqa: PLR0917 - as many as there are fields
            self,
            scale: str = ...,
            seed: int = ...,
            device: str = ...,
            data_dir: PathText | None = ...,
            download: bool = ...,  # noqa: FBT001
            on_progress: Callable[[float, float], None] = ...,
            keep: PathText | None = ...,
            workers: int | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        require_known("scale", self.scale, FIGURE_SCALES)
        require_whole("seed", self.seed, least=0, example=0)
        require_flag("download", self.download)
        for name in ("data_dir", "keep"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_path(name, getattr(self, name)))


LAPTOP_AND_PAPER = ("laptop", "paper")
FIGURE_SCALES = ("smoke", *LAPTOP_AND_PAPER)


class Drawing(NamedTuple):
    """A finished figure and what it shows."""

    figure: Figure
    verdict: str
    """What the numbers say about the paper's claim, in words."""
    numbers: dict[str, Any]
    configuration: dict[str, Any]


def save_drawing(drawing: Drawing, stem: PathText) -> list[Path]:
    """Write a figure as PDF and PNG, with its numbers, configuration and versions beside it as JSON."""
    provenance = {
        "verdict": drawing.verdict,
        "numbers": drawing.numbers,
        "configuration": drawing.configuration,
        "versions": versions(),
    }
    place = as_path("figure", stem)
    paths = [place.with_name(place.name + suffix) for suffix in (".pdf", ".png", ".json")]
    text = json.dumps(to_json(provenance), indent=2, sort_keys=True, allow_nan=False) + "\n"
    for path in paths[:2]:
        save_picture(drawing.figure, path)
    write_atomically(paths[2], lambda path: path.write_text(text))
    plt.close(drawing.figure)
    return paths


def save_picture(figure: Figure, path: PathText) -> None:
    """Write one picture, the same bytes for the same figure: no date is kept."""
    path = as_path("picture", path)
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(path.suffix.lower())
    with paper_style():
        write_atomically(path, lambda place: figure.savefig(place, metadata=metadata))


def draw_record(record: xr.Dataset, quantities: Sequence[str]) -> Figure:
    """A record's quantities against steps, a panel each."""
    with paper_style():
        size = (COLUMN * len(quantities), 2.4)
        figure, panels = plt.subplots(1, len(quantities), figsize=size, squeeze=False)
        for panel, name in zip(panels[0], quantities, strict=True):
            draw_curves(panel, record[name], band=True).set_ylabel(name.replace("_", " "))
        if "sharpness" in quantities and record.sizes["learning_rate"] == 1:
            threshold = json.loads(record.attrs["configuration"]).get("stability_threshold", 2.0)
            panel = panels[0][list(quantities).index("sharpness")]
            if threshold is not None:
                draw_edge(panel, float(record["learning_rate"][0]), threshold)
        panels[0][0].legend()
        return figure
