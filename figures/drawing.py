"""How pictures are written, and records drawn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt

from ..errors import as_path
from ..records import write_atomically
from .curves import draw_curves, draw_edge
from .style import COLUMN, paper_style

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.figure import Figure

    from ..errors import PathText


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
