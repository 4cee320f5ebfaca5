"""Figure 1: sharpness, loss and learning-rate transfer of SimpleConvNet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt

from ..neural import Augmentation, TrainingConfig
from ..records import learning_rate_transfer, settled, width_dependence
from ..theory import parametrization
from .curves import draw_curves, draw_edge, draw_transfer
from .drawing import Drawing
from .style import PAGE
from .training import Workshop

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from .drawing import FigureSettings


class _Recipe(NamedTuple):
    """Figure 1 at one scale."""

    widths: tuple[int, ...]
    steps: Mapping[str, int]
    """Of the curves, by data set."""
    transfer: float
    """Steps of the transfer runs over those of the curves."""
    seeds: int
    """Of the curves."""
    rates: Mapping[str, tuple[float, ...]]
    """Of the transfer, by parametrization; the first is that of the curves."""
    augmentation: Augmentation | None = None


_EPOCHS = 50 * (50_000 // 128)

_RECIPES = {
    "laptop": _Recipe(
        (32, 64, 128, 256, 512),
        {"cifar-10": 512, "digits": 192},
        0.5,
        2,
        {"mup": (0.5, 1.0, 2.0, 4.0, 8.0), "ntp": (7.0, 14.0, 28.0, 56.0, 112.0)},
    ),
    "paper": _Recipe(
        (64, 128, 256, 512, 1024, 2048, 4096, 8192),
        {"cifar-10": _EPOCHS, "digits": 1000},
        1.0,
        3,
        {"mup": (0.53, 0.19, 0.32, 0.88, 1.47, 2.44, 4.06), "ntp": (6.81, 11.4, 18.9, 31.6, 52.75, 87.9)},
        Augmentation(),
    ),
}
_TITLES = {"mup": "μP", "ntp": "NTP"}


def figure_1(settings: FigureSettings) -> Drawing:
    """Sharpness, loss and learning-rate transfer, muP above NTP (Figure 1)."""
    recipe = _RECIPES[settings.scale]
    work = Workshop(settings, (1.0, 1.0, 1.0, 1.0))
    steps = recipe.steps.get(work.data.name, max(recipe.steps.values()))
    figure, panels = plt.subplots(2, 3, figsize=(PAGE, 4.0))
    numbers: dict[str, Any] = {}
    for row, (name, rates) in zip(panels, recipe.rates.items(), strict=True):
        config = TrainingConfig(
            parametrization(name),
            steps=steps,
            measure_every=max(1, steps // 16),
            evaluation_examples=512,
            augmentation=recipe.augmentation,
        )
        curves = work.train(config, recipe.widths, rates[:1], recipe.seeds)
        short = round(steps * recipe.transfer)
        quick = TrainingConfig(
            config.parametrization,
            steps=short,
            measure_every=max(1, short // 8),
            quantities=(),
            evaluation_examples=512,
            augmentation=recipe.augmentation,
        )
        transfer = work.train(quick, recipe.widths, sorted(rates), 1)
        numbers |= _draw_row(row, curves, transfer, _TITLES[name])
    panels[0, 1].legend(loc="lower left")
    configuration = work.provenance(
        widths=recipe.widths, steps=steps, learning_rates=dict(recipe.rates), seeds_of_curves=recipe.seeds
    )
    return Drawing(figure, f"{work.data.name}: {_verdict(numbers)}", numbers, configuration)


def _draw_row(row: Any, curves: xr.Dataset, transfer: xr.Dataset, title: str) -> dict[str, Any]:
    """Draw one parametrization's three panels; give its numbers."""
    sharpness, loss = curves["sharpness"], curves["loss"]
    rate = float(curves["learning_rate"][0])
    draw_edge(draw_curves(row[0], sharpness, band=True), rate).set_ylabel("sharpness")
    draw_curves(row[1], loss, log=False, band=True).set_ylabel("loss")
    final = settled(transfer["loss"]).isel(seed=0)
    draw_transfer(row[2], final).set_ylabel("final loss")
    for panel, words in zip(row, ("sharpness", "loss", "transfer"), strict=True):
        panel.set_title(f"{title}: {words}" + ("" if words == "transfer" else f", $\\eta_0 = {rate:g}$"))
    dependence = width_dependence(settled(sharpness).isel(learning_rate=0))
    moved = learning_rate_transfer(final)
    return {
        f"{title}: slope of log final sharpness on log width": dependence.slope,
        f"{title}: 95% interval of the slope": dependence.interval,
        f"{title}: final sharpness by width": dependence.means,
        f"{title}: final sharpness over 2/eta0 by width": tuple(mean * rate / 2 for mean in dependence.means),
        f"{title}: best learning rate by width": moved.optima,
        f"{title}: best learning rate may lie beyond the grid": moved.at_edge,
        f"{title}: drift of the best learning rate, factors of two a doubling": moved.drift,
        f"{title}: 95% interval of the drift": moved.interval,
        f"{title}: transfer in words": moved.words,
    }


def _verdict(numbers: Mapping[str, Any]) -> str:
    words = []
    for title in _TITLES.values():
        slope = numbers[f"{title}: slope of log final sharpness on log width"]
        low, high = numbers[f"{title}: 95% interval of the slope"]
        over = numbers[f"{title}: final sharpness over 2/eta0 by width"]
        words.append(
            f"under {title} the final sharpness goes as width^{slope:.3f} (95% {low:.3f} to {high:.3f}), "
            f"{over[0]:.2f} of 2/eta0 at the narrowest and {over[-1]:.2f} at the widest; "
            f"{numbers[f'{title}: transfer in words']}"
        )
    return "; ".join(words)
