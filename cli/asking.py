"""How the commands of analyses ask an experiment with a person's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..experiments.answering import Answer
    from ..experiments.base import Experiment


def answered(experiment: Experiment, given: Mapping[str, Any], seed: int, words: str) -> Answer:
    """Carry out an experiment at laptop scale with some settings changed, with progress on stderr.

    Parameters
    ----------
    experiment
        What is asked.
    given
        Settings by name, each for the arms that have it.
    seed
        First seed, also that of the statistics' resamples.
    words
        What the progress bar says.

    Raises
    ------
    InputError
        If a setting is not possible, or a run failed.
    """
    from ..experiments.answering import ask
    from ..experiments.running import Circumstances
    from .console import progress_bar

    with progress_bar(words) as progress:
        return ask(
            experiment, circumstances=Circumstances(first_seed=seed, given=given), seed=seed,
            on_progress=progress,
        )  # fmt: skip
