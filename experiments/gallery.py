"""Experiments as figures: made by name, with what they found, and kept as files."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import as_path, require_flag, require_instance, require_known, require_whole
from ..records import to_json, versions, write_atomically
from .base import SCALES
from .registry import EXPERIMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from ..errors import PathText
    from ..records.tables import Table


class FigureEntry(NamedTuple):
    """A figure that can be made."""

    title: str
    scales: tuple[str, ...]


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
        require_known("scale", self.scale, SCALES)
        require_whole("seed", self.seed, least=0, example=0)
        require_flag("download", self.download)
        for name in ("data_dir", "keep"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_path(name, getattr(self, name)))


class Drawing(NamedTuple):
    """A finished figure and what it shows."""

    figure: Figure
    verdict: str
    """The caption: what the numbers say about the paper's claims, in words."""
    numbers: dict[str, Any]
    """Verdicts, findings and tables."""
    configuration: dict[str, Any]
    parts: tuple[Table | str, ...] = ()
    """Tables and sentences for the terminal."""


def figure_list() -> Mapping[str, FigureEntry]:
    """Every figure by its number in the paper or its name: numbers first, ascending."""
    order = sorted(EXPERIMENTS, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0))
    return {name: FigureEntry(EXPERIMENTS[name].title, tuple(EXPERIMENTS[name].scales)) for name in order}


def draw_figure(name: str, settings: FigureSettings) -> Drawing:
    """Make a figure by name: run what it shows, score what it claims, and draw it.

    Parameters
    ----------
    name
        As `figure_list` has it.
    settings
        Scale, data, device and the folder that keeps its runs.

    Raises
    ------
    InputError
        If there is no such figure, or not at that scale, or a run fails.
    """
    require_known("figure", name, tuple(figure_list()))
    accepted, remedy = "FigureSettings", 'pass FigureSettings(scale="laptop"), for example'
    require_instance("settings", settings, FigureSettings, accepted=accepted, remedy=remedy)
    experiment = EXPERIMENTS[name]
    require_known(f"scale of figure {name}", settings.scale, tuple(experiment.scales))
    from ..runner import data_choice, local  # noqa: PLC0415 - loads Dask
    from .answering import ask  # noqa: PLC0415
    from .running import Circumstances  # noqa: PLC0415

    data: dict[str, Any] = {"dataset": "auto", "download": settings.download}
    data |= {} if settings.data_dir is None else {"folder": str(settings.data_dir.resolve())}
    with local(settings.workers) as executor:
        answer = ask(
            experiment,
            settings.scale,
            folder=None if settings.keep is None else settings.keep / name,
            circumstances=Circumstances(data_choice(data), device=settings.device, first_seed=settings.seed),
            seed=settings.seed,
            executor=executor,
            on_progress=settings.on_progress,
        )
    told = answer.document
    numbers = {part: told[part] for part in ("verdicts", "findings", "tables")}
    configuration = {part: told[part] for part in ("experiment", "title", "source", "scale", "arms")}
    return Drawing(answer.draw(), told["caption"], numbers, configuration, tuple(answer.parts))


def save_drawing(drawing: Drawing, stem: PathText) -> list[Path]:
    """Write a figure as PDF and PNG, with its numbers, configuration and versions beside it as JSON."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    from ..figures import save_picture  # noqa: PLC0415 - loads matplotlib

    place = as_path("figure", stem)
    paths = [place.with_name(place.name + suffix) for suffix in (".pdf", ".png", ".json")]
    document = {
        "verdict": drawing.verdict,
        "numbers": drawing.numbers,
        "configuration": drawing.configuration,
        "versions": versions(),
    }
    text = json.dumps(to_json(document), indent=2, sort_keys=True, allow_nan=False) + "\n"
    for path in paths[:2]:
        save_picture(drawing.figure, path)
    write_atomically(paths[2], lambda path: path.write_text(text))
    plt.close(drawing.figure)
    return paths
