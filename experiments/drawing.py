"""Draws an experiment from its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt

from ..figures.style import PAGE, paper_style

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.figure import Figure

    from .base import Experiment


def draw(experiment: Experiment, runs: Mapping[str, xr.Dataset], *, width: float = PAGE) -> Figure:
    """A figure with all panels of an experiment.

    Parameters
    ----------
    experiment
        What is shown.
    runs
        By arm, as `running.run` gives them.
    width
        Width of the figure, inches.

    Raises
    ------
    InputError
        If a panel refers to an axis, a value or a quantity that the runs do not have.
    """
    rows, columns = len(experiment.panels), max(map(len, experiment.panels))
    with paper_style():
        figure, places = plt.subplots(
            rows, columns, figsize=(width, experiment.row_height * rows), squeeze=False
        )
        for row, panels in zip(places, experiment.panels, strict=True):
            for place, panel in zip(row, panels, strict=False):
                panel.draw(place, runs).set_title(panel.heading)
            for place in row[len(panels) :]:
                place.set_axis_off()
        lines, words = places[0][0].get_legend_handles_labels()
        if lines and places[0][0].get_legend() is None and not figure.legends:
            places[0][0].legend(lines, words)
    return figure
