"""Every figure by name: experiments, and the figures of the latent system that are drawn by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import require_instance, require_known
from .registry import EXPERIMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..figures import Drawing, FigureSettings
    from .base import Experiment


class FigureEntry(NamedTuple):
    """A figure that can be made."""

    title: str
    scales: tuple[str, ...]


def figure_list() -> Mapping[str, FigureEntry]:
    """Every figure by its number in the paper or its name: numbers first, ascending."""
    from ..figures import FIGURES  # noqa: PLC0415 - loads matplotlib

    known = {name: FigureEntry(spec.title, spec.scales) for name, spec in FIGURES.items()}
    known |= {name: FigureEntry(one.title, tuple(one.scales)) for name, one in EXPERIMENTS.items()}
    order = sorted(known, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0))
    return {name: known[name] for name in order}


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
    from ..figures import FIGURES, FigureSettings, paper_style  # noqa: PLC0415 - loads matplotlib

    known = figure_list()
    require_known("figure", name, tuple(known))
    accepted, remedy = "FigureSettings", 'pass FigureSettings(scale="laptop"), for example'
    require_instance("settings", settings, FigureSettings, accepted=accepted, remedy=remedy)
    require_known(f"scale of figure {name}", settings.scale, known[name].scales)
    if name in EXPERIMENTS:
        return _scored(EXPERIMENTS[name], settings)
    with paper_style():
        return FIGURES[name].make(settings)


def _scored(experiment: Experiment, settings: FigureSettings) -> Drawing:
    """Run, judge and draw an experiment."""
    from ..figures import Drawing  # noqa: PLC0415 - loads matplotlib
    from ..runner import data_choice, local  # noqa: PLC0415 - loads PyTorch
    from . import drawing, judging, running, telling  # noqa: PLC0415

    data: dict[str, Any] = {"dataset": "auto", "download": settings.download}
    data |= {} if settings.data_dir is None else {"folder": str(settings.data_dir.resolve())}
    circumstances = running.Circumstances(data_choice(data), device=settings.device, first_seed=settings.seed)
    folder = None if settings.keep is None else settings.keep / experiment.name
    with local(settings.workers) as executor:
        runs = running.run(
            experiment, settings.scale, folder, circumstances, executor=executor,
            on_progress=settings.on_progress,
        )  # fmt: skip
    told = telling.document(experiment, judging.judge(experiment, runs, settings.seed), runs, settings.scale)
    numbers = {name: told[name] for name in ("verdicts", "findings")}
    configuration = {name: told[name] for name in ("experiment", "title", "source", "scale", "arms")}
    return Drawing(drawing.draw(experiment, runs), told["caption"], numbers, configuration)
