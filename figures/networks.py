"""Figure 1: sharpness, loss and learning-rate transfer of SimpleConvNet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt

from ..neural import Augmentation, TrainingConfig
from ..stats.power_laws import settled, width_dependence
from ..stats.transfer import learning_rate_transfer
from ..stats.verdicts import SHOWN, UNDECIDED, above, below, within
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
    shown: Mapping[str, tuple[float, ...]]
    """Learning rates of the curves by parametrization; claims are scored at the last."""
    rates: Mapping[str, tuple[float, ...]]
    """Of the transfer."""
    examples: int = 128
    """Of the Hessian."""
    augmentation: Augmentation | None = None


_EPOCHS = 50 * (50_000 // 128)

_RECIPES = {
    "laptop": _Recipe(
        (32, 64, 128, 256, 512),
        {"cifar-10": 512, "digits": 192},
        0.25,
        2,
        {"mup": (0.5, 1.5), "ntp": (7.0,)},
        {"mup": (1.0, 2.0, 4.0, 8.0), "ntp": (14.0, 28.0, 56.0, 112.0, 224.0)},
    ),
    "paper": _Recipe(
        (64, 128, 256, 512, 1024, 2048, 4096, 8192),
        {"cifar-10": _EPOCHS, "digits": 1000},
        1.0,
        3,
        {"mup": (0.19, 0.53, 1.47), "ntp": (6.81, 52.75)},
        {
            "mup": (0.19, 0.32, 0.53, 0.88, 1.47, 2.44, 4.06),
            "ntp": (6.81, 11.4, 18.9, 31.6, 52.75, 87.9, 146.0),
        },
        1024,
        Augmentation(),
    ),
}
_TITLES = {"mup": "μP", "ntp": "NTP"}
_FLAT, _FALLING, _STILL = 0.05, -0.3, 0.25
"""Log-log slopes of the sharpness that count as none and as falling, and factors of two a doubling of the
width that the best learning rate may move by: a quarter of the grid's spacing."""


def figure_1(settings: FigureSettings) -> Drawing:
    """Sharpness, loss and learning-rate transfer, muP above NTP (Figure 1)."""
    recipe = _RECIPES[settings.scale]
    work = Workshop(settings, _parts(recipe))
    steps = recipe.steps.get(work.data.name, max(recipe.steps.values()))
    figure, panels = plt.subplots(2, 3, figsize=(PAGE, 4.0))
    numbers: dict[str, Any] = {}
    for row, (name, rates) in zip(panels, recipe.rates.items(), strict=True):
        config = TrainingConfig(
            parametrization(name),
            steps=steps,
            measure_every=max(1, steps // 16),
            evaluation_examples=512,
            hessian_examples=recipe.examples,
            augmentation=recipe.augmentation,
        )
        curves = work.train(config, recipe.widths, recipe.shown[name], recipe.seeds)
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
    panels[1, 1].legend(loc="upper right")
    styles, names = (kept[len(recipe.widths) :] for kept in panels[0, 1].get_legend_handles_labels())
    panels[0, 1].legend(styles, names, loc="upper right")
    configuration = work.provenance(
        widths=recipe.widths, steps=steps, steps_of_transfer=short, learning_rates=dict(recipe.rates),
        seeds_of_curves=recipe.seeds, shown=dict(recipe.shown),
    )  # fmt: skip
    return Drawing(figure, f"{work.data.name}: {_verdict(numbers)}", numbers, configuration)


def _parts(recipe: _Recipe) -> list[float]:
    """Weights of the grids in the progress, in their order: runs times steps."""
    pairs = (
        (recipe.seeds * len(recipe.shown[name]), recipe.transfer * len(rates))
        for name, rates in recipe.rates.items()
    )
    return [float(part) for pair in pairs for part in pair]


def _draw_row(row: Any, curves: xr.Dataset, transfer: xr.Dataset, title: str) -> dict[str, Any]:
    """Draw one parametrization's three panels; give its numbers."""
    sharpness, loss = curves["sharpness"], curves["loss"]
    rates = [float(rate) for rate in curves["learning_rate"]]
    draw_curves(row[0], sharpness, band=True).set_ylabel("sharpness")
    for rate in rates:
        draw_edge(row[0], rate, among=len(rates) > 1)
    draw_curves(row[1], loss, log=False, band=True).set_ylabel("loss")
    final = settled(transfer["loss"]).isel(seed=0)
    draw_transfer(row[2], final).set_ylabel("final loss")
    for panel, words in zip(row, ("sharpness", "loss", "transfer"), strict=True):
        shown = f"$\\eta_0 = {', '.join(f'{rate:g}' for rate in rates)}$"
        after = f"{int(transfer['step'][-1])} steps"
        panel.set_title(f"{title}: {words}, {after if words == 'transfer' else shown}")
    dependence = width_dependence(settled(sharpness).isel(learning_rate=-1))
    moved = learning_rate_transfer(final)
    return {
        f"{title}: learning rate of what follows": rate,
        f"{title}: slope and 95% interval at every rate shown": {
            str(one): _slope(settled(sharpness).sel(learning_rate=one)) for one in rates
        },
        f"{title}: slope of log final sharpness on log width": dependence.slope,
        f"{title}: 95% interval of the slope": dependence.fair_interval,
        f"{title}: final sharpness by width": dependence.means,
        f"{title}: final sharpness over 2/eta0 by width": tuple(mean * rate / 2 for mean in dependence.means),
        f"{title}: best learning rate by width": moved.optima,
        f"{title}: best learning rate may lie beyond the grid": moved.at_edge,
        f"{title}: drift of the best learning rate, factors of two a doubling": moved.drift,
        f"{title}: 95% interval of the drift": moved.interval,
        f"{title}: transfer in words": moved.words,
    } | ({f"{title}: diverged runs": dependence.left_out} if dependence.left_out else {})


def _slope(final: xr.DataArray) -> tuple[float, tuple[float, float]]:
    found = width_dependence(final)
    return found.slope, found.fair_interval


def _verdict(numbers: Mapping[str, Any]) -> str:
    words = []
    for title in _TITLES.values():
        slope = numbers[f"{title}: slope of log final sharpness on log width"]
        low, high = numbers[f"{title}: 95% interval of the slope"]
        over = numbers[f"{title}: final sharpness over 2/eta0 by width"]
        rate = numbers[f"{title}: learning rate of what follows"]
        reach = f"95% {low:.3f} to {high:.3f}" if math.isfinite(low) else "no interval"
        diverged = numbers.get(f"{title}: diverged runs", 0)
        aside = f", {diverged} runs having diverged" if diverged else ""
        words.append(
            f"under {title} at eta0 = {rate:g} the final sharpness goes as width^{slope:.3f} "
            f"({reach}){aside}, {over[0]:.2f} of 2/eta0 at the narrowest and {over[-1]:.2f} at "
            f"the widest; {numbers[f'{title}: transfer in words']}"
        )
    scored = ", ".join(f"{claim}: {verdict}" for claim, verdict in scores(numbers).items())
    return f"{'; '.join(words)}; {scored}"


def scores(numbers: Mapping[str, Any]) -> dict[str, str]:
    """The paper's claims, each with what the intervals say."""
    mup, ntp = _TITLES.values()
    stays = within(numbers[f"{mup}: 95% interval of the drift"], _STILL)
    if any(numbers[f"{mup}: best learning rate may lie beyond the grid"]) and stays == SHOWN:
        stays = UNDECIDED  # the drift is that of the other widths
    return {
        f"sharpness free of width under {mup}": within(numbers[f"{mup}: 95% interval of the slope"], _FLAT),
        f"sharpness falls under {ntp}": below(numbers[f"{ntp}: 95% interval of the slope"], _FALLING),
        f"best learning rate stays under {mup}": stays,
        f"best learning rate moves under {ntp}": above(numbers[f"{ntp}: 95% interval of the drift"], 0.0),
    }
