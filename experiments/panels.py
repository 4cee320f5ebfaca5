"""What an experiment shows, as data: each panel names its series, and draws them with `figures`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from matplotlib.axes import Axes

    from .criteria import Criterion
    from .series import Series

    Runs = Mapping[str, xr.Dataset]

_NAMES = {
    "loss": "loss",
    "sharpness": "sharpness",
    "sharpness_over_edge": "sharpness over the edge",
    "distance_of_loss": "distance of the loss",
    "distance_of_sharpness": "distance of the sharpness",
    "distance_of_kernel": "distance of the kernel",
}
"""What a quantity is called on an axis; others by their names with spaces."""

AXES = ("width", "depth", "learning_rate", "seed")
"""Axes that a panel of curves can show at once."""


def quantity_words(name: str) -> str:
    """What a quantity is called on an axis."""
    return _NAMES.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Panel(ABC):
    """One pair of axes of a figure.

    Attributes
    ----------
    series
        What it shows.
    title
        Above it; empty is the first series' arm and quantity.
    """

    series: tuple[Series, ...]
    title: str = ""

    @abstractmethod
    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """Draw the panel into axes, which are returned; `InputError` if the data do not fit."""

    @property
    def heading(self) -> str:
        """The title, or what stands for it."""
        first = self.series[0]
        return self.title or f"{first.words}: {quantity_words(first.quantity)}"


@dataclass(frozen=True)
class Curves(Panel):
    """Quantities against steps: colours are sizes, line styles learning rates, or several quantities.

    Attributes
    ----------
    log
        Whether the vertical axis is logarithmic.
    edge
        Whether the edge of stability is drawn.
    """

    log: bool = True
    edge: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ..figures.curves import draw_curves, draw_edges, draw_quantities  # noqa: PLC0415 - loads matplotlib

        found = [one.runs(runs, keep=AXES) for one in self.series]
        values = {one.quantity: part[one.quantity] for one, part in zip(self.series, found, strict=True)}
        if len(values) > 1:
            draw_quantities(axes, values, log=self.log)
        else:
            (only,) = values.values()
            draw_curves(axes, only, log=self.log, band=True)
        if self.edge:
            draw_edges(axes, found[0]["edge_of_stability"])
        axes.set_ylabel(quantity_words(self.series[0].quantity))
        return axes


@dataclass(frozen=True)
class BestRate(Panel):
    """The final loss against the learning rate, a curve a size, with the best rate of each."""

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ..figures.curves import draw_transfer  # noqa: PLC0415 - loads matplotlib
        from ..stats import settled  # noqa: PLC0415

        (one,) = self.series
        losses = settled(one.runs(runs, keep=AXES)[one.quantity])
        return _labelled(draw_transfer(axes, losses.mean("seed", skipna=False)), f"final {one.quantity}")


@dataclass(frozen=True)
class AgainstSize(Panel):
    """A quantity against width or depth, a line a step.

    Attributes
    ----------
    count
        Number of steps shown, evenly spaced.
    edge
        Whether the edge of stability is drawn.
    """

    count: int = 5
    edge: bool = False

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ..figures.curves import draw_against_size, draw_edges  # noqa: PLC0415 - loads matplotlib

        (one,) = self.series
        found = one.runs(runs, keep=("width", "depth", "seed"))
        values = found[one.quantity]
        chosen = np.unique(np.linspace(0, values.sizes["step"] - 1, self.count).round().astype(int))
        draw_against_size(axes, values.isel(step=chosen))
        if self.edge:
            draw_edges(axes, found["edge_of_stability"])
        return _labelled(axes, quantity_words(one.quantity))


@dataclass(frozen=True)
class Laws(Panel):
    """Distances to the limit against time, a colour a width, with the power law of each that has one.

    Attributes
    ----------
    criterion
        How the exponents are fitted, as in the claim about them.
    """

    criterion: Criterion | None = None

    def draw(self, axes: Axes, runs: Runs) -> Axes:
        """See `Panel`."""
        from ..figures.curves import draw_laws  # noqa: PLC0415 - loads matplotlib
        from .measuring import laws_of  # noqa: PLC0415

        (one,) = self.series
        values = one.runs(runs, keep=("width", "seed"))[one.quantity]
        return draw_laws(axes, values, {} if self.criterion is None else laws_of(one, self.criterion, runs))


def _labelled(axes: Axes, words: str) -> Axes:
    axes.set_ylabel(words)
    return axes
